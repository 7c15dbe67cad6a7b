/**
 * What this participant receives: one RTCPeerConnection, offered by the server and offered again at
 * each change. The offer says which section (mid) carries which track of whom.
 */

import { Playout } from "./playout.js";

/** @import { Offer, OfferedTrack, Welcome } from "./types.js" */
/** @import { Signalling } from "./signalling.js" */

/** @typedef {OfferedTrack & {media: MediaStreamTrack}} ReceivedTrack */

const PATIENCE_MS = 5_000;

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

  /** Asks the server to offer a new connection. */
  renew() {
    this.signalling.send({ type: "renew" });
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
      clearTimeout(this.#patience);
      if (["failed", "disconnected"].includes(connection.connectionState)) {
        // A short loss mends itself; after a longer one the server is asked for a new connection.
        this.#patience = setTimeout(() => this.renew(), PATIENCE_MS);
      }
      this.listener.changed();
    };
    return connection;
  }
}
