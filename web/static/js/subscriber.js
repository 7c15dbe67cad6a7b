/**
 * What this participant receives: one RTCPeerConnection, offered by the server and offered again at
 * each change. The offer says which section (mid) carries which track of whom.
 */

import { Playout } from "./playout.js";

/** @import { Offer, OfferedTrack, Welcome } from "./types.js" */
/** @import { Signalling } from "./signalling.js" */

/** @typedef {OfferedTrack & {media: MediaStreamTrack}} ReceivedTrack */

/** How long a connection may be broken before another one is asked for, and how long that may take. */
const PATIENCE_MS = 3_000;
const CONNECT_MS = 10_000;
/** The same when the server has just been heard again. */
const REVIVE_MS = 1_000;
const RENEW_MIN_MS = 3_000;

export class Subscriber {
  /** @type {RTCPeerConnection|null} */
  connection = null;
  /** @type {Map<string, ReceivedTrack>} by track id */
  tracks = new Map();
  #peer = "";
  #queue = Promise.resolve();
  /** @type {Playout|null} */
  #playout = null;
  /** @type {any} */
  #patience = null;
  #renewed = 0;

  /**
   * @param {Signalling} signalling
   * @param {Pick<Welcome, "ice_servers">} terms
   * @param {{changed: () => void, failed: (cause: unknown) => void}} listener
   */
  constructor(signalling, terms, listener) {
    this.signalling = signalling;
    this.terms = terms;
    this.listener = listener;
  }

  /** Takes an offer of the server; offers are answered one after the other. @param {Offer} offer */
  take(offer) {
    this.#queue = this.#queue
      .then(() => this.#answer(offer))
      .catch((cause) => this.listener.failed(cause));
    return this.#queue;
  }

  /** Asks the server to offer a new connection, at most every few seconds. */
  renew() {
    clearTimeout(this.#patience);
    const wait = this.#renewed + RENEW_MIN_MS - Date.now();
    if (wait > 0) {
      this.#patience = setTimeout(() => this.renew(), wait);
    } else if (this.signalling.open) {
      this.#renewed = Date.now();
      this.signalling.send({ type: "renew" });
    }
  }

  /**
   * Goes on after a loss of the signalling connection.
   * @param {string|null} kept name of the receiving connection that the server still has; it offers
   *   another one by itself where it has none, or does not know whether its last offer came
   */
  revive(kept) {
    if (kept === this.#peer) this.#watch(REVIVE_MS);
    else this.#peer = "";
  }

  close() {
    clearTimeout(this.#patience);
    this.#playout?.stop();
    this.connection?.close();
    this.connection = null;
    this.tracks.clear();
  }

  /** @param {Offer} offer */
  async #answer(offer) {
    let connection = this.connection;
    if (offer.peer !== this.#peer || !connection) connection = this.#connect(offer.peer);
    try {
      await connection.setRemoteDescription({ type: "offer", sdp: offer.sdp });
    } catch {
      // The server has begun anew under the same name (it was restarted): so do we.
      connection = this.#connect(offer.peer);
      await connection.setRemoteDescription({ type: "offer", sdp: offer.sdp });
    }
    await connection.setLocalDescription(await connection.createAnswer());
    if (connection !== this.connection) return;
    this.signalling.send({ type: "answer", peer: offer.peer, sdp: connection.localDescription?.sdp });
    this.tracks.clear();
    for (const offered of offer.tracks) {
      const transceiver = connection.getTransceivers().find(({ mid }) => mid === offered.mid);
      if (transceiver) {
        this.tracks.set(offered.track_id, { ...offered, media: transceiver.receiver.track });
      }
    }
    this.listener.changed();
  }

  /** @param {string} peer */
  #connect(peer) {
    this.close();
    this.#peer = peer;
    const connection = new RTCPeerConnection({
      iceServers: this.terms.ice_servers, bundlePolicy: "max-bundle",
    });
    this.connection = connection;
    this.#playout = new Playout(connection);
    connection.onicecandidate = ({ candidate }) => {
      if (!candidate) return;
      this.signalling.send({
        type: "candidate", peer, candidate: candidate.candidate, mid: candidate.sdpMid,
      });
    };
    connection.onconnectionstatechange = () => {
      if (connection !== this.connection) return;
      this.#watch();
      this.listener.changed();
    };
    return connection;
  }

  /**
   * Asks for another connection when this one has been broken, or not come about, for too long.
   * @param {number} [patience_ms] with one that is broken
   */
  #watch(patience_ms = PATIENCE_MS) {
    clearTimeout(this.#patience);
    const state = this.connection?.connectionState;
    if (!state || state === "connected") return;
    if (state === "failed") {
      this.renew();
    } else {
      const wait = state === "disconnected" ? patience_ms : CONNECT_MS;
      this.#patience = setTimeout(() => this.renew(), wait);
    }
  }
}
