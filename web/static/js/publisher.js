/**
 * What this participant sends: one RTCPeerConnection, offered by us. A source that is added later is
 * negotiated on the same connection under the same peer name; a changed device only replaces the
 * track. When the connection fails, a new one with a new peer name carries the same sources.
 */

import { inOrder } from "./codecs.js";

/** @import { Published, Source, Welcome } from "./types.js" */
/** @import { Signalling } from "./signalling.js" */

/**
 * @typedef {object} Sending
 * @property {MediaStreamTrack|null} track null while the source is not sent
 * @property {RTCRtpTransceiver|null} transceiver of the present connection
 * @property {string|null} trackId as the server named it
 */

/** How long a connection may be broken before another one is made, and how long that may take. */
const PATIENCE_MS = 3_000;
const CONNECT_MS = 10_000;
/** The same when the server has just been heard again. */
const REVIVE_MS = 1_000;
const RESTART_MIN_MS = 2_000;
/** Sources whose small print has to be legible; they are no part of a person's picture and sound. */
const SHOWN = new Set(["evidence_display", "document_camera"]);

/** The sizes of a camera's picture (RFC 8853), and what each may use of the whole bitrate. */
const LAYERS = [
  { rid: "l", scaleResolutionDownBy: 4, share: 0.06 },
  { rid: "m", scaleResolutionDownBy: 2, share: 0.2 },
  { rid: "h", scaleResolutionDownBy: 1, share: 0.74 },
];

export class Publisher {
  /** @type {RTCPeerConnection|null} */
  connection = null;
  /** @type {Map<Source, Sending>} */
  sources = new Map();
  #peer = "";
  #count = 0;
  #queue = Promise.resolve();
  /** @type {RTCIceCandidate[]|null} candidates that wait until the server knows the connection */
  #early = null;
  /** @type {any} */
  #patience = null;
  #lastStart = 0;
  /** Camera and microphone belong to one stream, so that receivers keep them in step. */
  #together = new MediaStream();

  /**
   * @param {Signalling} signalling
   * @param {Pick<Welcome, "ice_servers"|"codecs"|"video_max_kbps"|"simulcast">} terms
   * @param {{changed: () => void, failed: (cause: unknown) => void}} listener
   */
  constructor(signalling, terms, listener) {
    this.signalling = signalling;
    this.terms = terms;
    this.listener = listener;
  }

  /** The track id of a source, once the server has named it. @param {Source} source */
  trackId(source) {
    return this.sources.get(source)?.trackId ?? null;
  }

  /** Whether the connection can be kept as it is: negotiated to the end and not failed. */
  get #intact() {
    const { connection } = this;
    return connection !== null && connection.signalingState === "stable"
      && ["connected", "disconnected"].includes(connection.connectionState);
  }

  /**
   * Goes on after a loss of the signalling connection.
   * @param {string|null} kept name of the sending connection that the server still has
   */
  revive(kept) {
    if (kept !== this.#peer || !this.#intact) this.restart();
    else this.#watch(REVIVE_MS);
  }

  /** The server has no such connection any more. @param {string} peer */
  dropped(peer) {
    if (peer === this.#peer) this.restart();
  }

  /**
   * Sends these sources from now on. Negotiates only when a source is new to the connection.
   * @param {Partial<Record<Source, MediaStreamTrack>>} tracks
   */
  send(tracks) {
    return this.#inTurn(async () => {
      let isNew = false;
      for (const [name, track] of Object.entries(tracks)) {
        const source = /** @type {Source} */ (name);
        const known = this.sources.get(source);
        isNew ||= !known?.track;
        if (SHOWN.has(source)) track.contentHint = "detail";
        this.sources.set(source, {
          track, transceiver: known?.transceiver ?? null, trackId: known?.trackId ?? null,
        });
        await known?.transceiver?.sender.replaceTrack(track);
      }
      if (!this.connection) this.#connect();
      else if (isNew) this.#addTransceivers();
      if (isNew) await this.#negotiate();
    });
  }

  /**
   * Takes a source back; its place on the connection is kept for the next time.
   * @param {Source} source
   */
  withdraw(source) {
    return this.#inTurn(async () => {
      const sending = this.sources.get(source);
      if (!sending?.track) return;
      sending.track = null;
      await sending.transceiver?.sender.replaceTrack(null);
      if (sending.trackId) {
        await this.signalling.request({ type: "unpublish", track_id: sending.trackId });
      }
      sending.trackId = null;
    });
  }

  /**
   * Builds the connection anew under a new peer name, for the same sources. Without a way to the
   * server the old one stays: it may come back by itself, and is looked at when the way is there.
   */
  restart() {
    const { connection } = this;
    return this.#inTurn(async () => {
      const wait = this.#lastStart + RESTART_MIN_MS - Date.now();
      if (wait > 0) await new Promise((resolve) => { setTimeout(resolve, wait); });
      // Two may have asked for it.
      if (!this.signalling.open || this.connection !== connection) return;
      this.#connect();
      await this.#negotiate();
    });
  }

  close() {
    clearTimeout(this.#patience);
    this.connection?.close();
    this.connection = null;
  }

  /**
   * One negotiation after the other; a failure is reported and does not stop the next.
   * @param {() => Promise<void>} step
   */
  #inTurn(step) {
    this.#queue = this.#queue.then(step).catch((cause) => this.listener.failed(cause));
    return this.#queue;
  }

  #connect() {
    this.close();
    this.#lastStart = Date.now();
    this.#peer = `p${++this.#count}`;
    this.#early = [];
    const connection = new RTCPeerConnection({
      iceServers: this.terms.ice_servers, bundlePolicy: "max-bundle",
    });
    this.connection = connection;
    for (const sending of this.sources.values()) sending.transceiver = null;
    this.#addTransceivers();
    connection.onicecandidate = ({ candidate }) => {
      if (!candidate) return;
      if (this.#early) this.#early.push(candidate);
      else this.#trickle(candidate);
    };
    connection.onconnectionstatechange = () => this.#stateChanged(connection);
  }

  /**
   * A camera goes out in three sizes, for receivers of every kind; what is shown, in one.
   * @param {Source} source
   * @returns {RTCRtpEncodingParameters[]}
   */
  #encodings(source) {
    const whole = this.terms.video_max_kbps * 1000;
    if (SHOWN.has(source) || !this.terms.simulcast) return [{ maxBitrate: whole }];
    return LAYERS.map(({ rid, scaleResolutionDownBy, share }) => ({
      rid, scaleResolutionDownBy, maxBitrate: Math.round(whole * share),
    }));
  }

  #addTransceivers() {
    for (const [source, sending] of this.sources) {
      if (!sending.track || sending.transceiver || !this.connection) continue;
      const video = sending.track.kind === "video";
      sending.transceiver = this.connection.addTransceiver(sending.track, {
        direction: "sendonly",
        streams: [SHOWN.has(source) ? new MediaStream() : this.#together],
        sendEncodings: video ? this.#encodings(source) : [{}],
      });
      if (video) {
        const codecs = RTCRtpReceiver.getCapabilities("video")?.codecs ?? [];
        sending.transceiver.setCodecPreferences(inOrder(codecs, this.terms.codecs));
      }
    }
  }

  async #negotiate() {
    const connection = this.connection;
    if (!connection || !this.signalling.open) return;
    await connection.setLocalDescription(await connection.createOffer());
    const sent = [...this.sources].filter(([, sending]) => sending.track && sending.transceiver);
    const reply = this.signalling.request({
      type: "publish",
      peer: this.#peer,
      sdp: connection.localDescription?.sdp,
      tracks: sent.map(([source, { transceiver }]) => ({ mid: transceiver?.mid, source })),
    });
    for (const candidate of this.#early ?? []) this.#trickle(candidate);
    this.#early = null;
    /** @type {Published} */
    const published = await reply;
    await connection.setRemoteDescription({ type: "answer", sdp: published.sdp });
    for (const [, sending] of sent) {
      const named = published.tracks.find(({ mid }) => mid === sending.transceiver?.mid);
      sending.trackId = named?.track_id ?? null;
    }
    this.listener.changed();
  }

  /** @param {RTCIceCandidate} candidate */
  #trickle(candidate) {
    this.signalling.send({
      type: "candidate", peer: this.#peer, candidate: candidate.candidate, mid: candidate.sdpMid,
    });
  }

  /** @param {RTCPeerConnection} connection */
  #stateChanged(connection) {
    if (connection !== this.connection) return;
    this.#watch();
    this.listener.changed();
  }

  /**
   * Makes another connection when this one has been broken, or has not come about, for too long.
   * @param {number} [patience_ms] with one that is broken
   */
  #watch(patience_ms = PATIENCE_MS) {
    clearTimeout(this.#patience);
    const state = this.connection?.connectionState;
    if (!state || state === "connected") return;
    if (state === "failed") {
      this.restart();
    } else {
      // Perhaps the whole line is broken: the signalling connection shall not wait to be told.
      if (state === "disconnected" && patience_ms === PATIENCE_MS) this.signalling.doubt();
      const wait = state === "disconnected" ? patience_ms : CONNECT_MS;
      this.#patience = setTimeout(() => this.restart(), wait);
    }
  }
}
