/**
 * One person's part in one session: signalling, what they send, what they receive, and the newest
 * state of the room. Views read it and are told when something changed.
 */

import { Publisher } from "../publisher.js";
import { Signalling } from "../signalling.js";
import { Subscriber } from "../subscriber.js";
import { FlowWatch } from "./flow_watch.js";
import { RequestError, codeOf, request } from "../http.js";
import { openDevice } from "../devices.js";

/** @import { Layer, Line, Participant, Recording, RoomEvent, RoomState, Source, Welcome } from "../types.js" */
/** @import { Exhibit } from "../evidence.js" */
/** @import { Device } from "../devices.js" */

const MAX_EVENTS = 200;
/** Older news of the recording than this is no news: the lamp then shows that it does not know. */
const RECORDING_NEWS_MS = 4_000;

/**
 * What suggests that the network is there again, or gone, or another one: no need to wait until it
 * is noticed by silence.
 * @type {[EventTarget, string][]}
 */
const HINTS = [
  [window, "online"], [window, "offline"], [window, "pageshow"], [document, "resume"],
  [document, "visibilitychange"],
];

export class Call {
  /** @type {Welcome|null} */
  welcome = null;
  /** @type {RoomState|null} */
  room = null;
  /** @type {RoomEvent[]} newest last */
  events = [];
  /** @type {"connecting"|"open"|"lost"} */
  link = "connecting";
  /** @type {{offset_ms: number, round_trip_ms: number}|null} */
  clock = null;
  /** @type {Record<string, Line>} everybody's line by participant id, as the server sees it */
  lines = {};
  /** @type {{lag_ms: number}|null} how late the server was in the last seconds */
  server = null;
  /** @type {string|null} who is speaking, of those whom we hear and ourselves */
  speaker = null;
  /** @type {Record<string, Layer>} what of a picture is received, by track id, where it was told */
  layers = {};
  /** @type {Publisher|null} */
  publisher = null;
  /** @type {Subscriber|null} */
  subscriber = null;
  /** @type {Exhibit|null} */
  exhibit = null;
  /** @type {string|null} code of what last went wrong with picture and sound */
  mediaProblem = null;
  #recordingHeard = 0;
  /** @type {FlowWatch|null} */
  #flow = null;

  /**
   * @param {string} sessionId
   * @param {Partial<Record<Source, MediaStreamTrack>>} tracks what to send from the beginning
   * @param {{changed: () => void, happened: (event: RoomEvent) => void,
   *   ended: (code: string|null) => void}} listener
   */
  constructor(sessionId, tracks, listener) {
    this.tracks = tracks;
    this.listener = listener;
    /** @type {Set<Source>} */
    this.muted = new Set();
    const scheme = location.protocol === "https:" ? "wss" : "ws";
    this.signalling = new Signalling(`${scheme}://${location.host}/ws/sessions/${sessionId}`, {
      welcomed: (welcome) => this.#welcomed(welcome),
      stated: (room) => this.#stated(room),
      recorded: (recording) => this.#recorded(recording),
      happened: (event) => this.#happened(event),
      networked: (lines, server) => { this.lines = lines; this.server = server; listener.changed(); },
      spoke: (participantId) => { this.speaker = participantId; listener.changed(); },
      layered: (layers) => { Object.assign(this.layers, layers); listener.changed(); },
      relayed: (servers) => this.#relayed(servers),
      offered: (offer) => this.subscriber?.take(offer),
      dropped: (peer) => this.publisher?.dropped(peer),
      linked: (link) => { this.link = link; listener.changed(); },
      ended: (code) => this.#ended(code),
      clocked: (clock) => { this.clock = clock; listener.changed(); },
    }, () => request(`/api/sessions/${sessionId}`).then(() => null, codeOf));
    this.lookAgain = () => { if (!document.hidden) this.signalling.lookAgain(); };
    for (const [target, name] of HINTS) target.addEventListener(name, this.lookAgain);
    this.signalling.start();
  }

  /** Whether nothing comes from the server now: what is shown of the others is old. */
  get cutOff() {
    return this.link === "lost" && this.subscriber?.connection?.connectionState !== "connected";
  }

  /** @returns {Participant|null} */
  get me() {
    return this.room?.participants.find(({ id }) => id === this.welcome?.participant_id) ?? null;
  }

  /** Everybody assigned but me, in seat order. */
  get others() {
    return this.room?.participants.filter(({ id }) => id !== this.welcome?.participant_id) ?? [];
  }

  /** Whether the session has ended and nothing is sent any more. */
  get over() {
    return ["closed", "sealed"].includes(this.room?.phase ?? "");
  }

  /** @param {string} permission */
  may(permission) {
    return this.welcome?.permissions.includes(permission) ?? false;
  }

  /**
   * What is known of the recording now; null when the news of it is too old to be trusted.
   * @returns {Recording|null}
   */
  get recording() {
    const recording = this.room?.recording ?? null;
    if (!recording || this.link !== "open") return null;
    const fresh = performance.now() - this.#recordingHeard < RECORDING_NEWS_MS;
    return recording.state === "recording" && !fresh ? null : recording;
  }

  /**
   * What the server says of somebody's line; null where it says nothing, or cannot be heard.
   * @param {string} participantId
   */
  lineOf(participantId) {
    return this.link === "open" && !this.over ? this.lines[participantId] ?? null : null;
  }

  /** Whether a picture is not sent to us, so that the sound gets through. @param {string} trackId */
  isHeld(trackId) {
    const layer = this.layers[trackId];
    return layer?.rid === null && layer.reason !== null && layer.reason !== "view";
  }

  /** Whether a picture comes smaller than it could because of our line. @param {string} trackId */
  isReduced(trackId) {
    const layer = this.layers[trackId];
    return layer?.rid !== null && layer?.reason === "line";
  }

  /** @param {string} participantId */
  nameOf(participantId) {
    return this.room?.participants.find(({ id }) => id === participantId)?.name ?? participantId;
  }

  /**
   * Asks the server for a change of the session; the new state comes by itself.
   * @param {object} message
   * @returns {Promise<any>}
   */
  ask(message) {
    return this.signalling.request(message);
  }

  /** @param {Source} source */
  toggleMute(source) {
    const muted = !this.muted.has(source);
    if (muted) this.muted.add(source);
    else this.muted.delete(source);
    const track = this.tracks[source];
    if (track) track.enabled = !muted;
    this.#tellMuted();
    this.listener.changed();
  }

  /**
   * Sends from another camera or microphone.
   * @param {Device} device
   * @param {string} deviceId
   */
  async changeDevice(device, deviceId) {
    const { track } = await openDevice(device, deviceId);
    if (!track) return;
    this.tracks[device]?.stop();
    this.tracks[device] = track;
    track.enabled = !this.muted.has(device);
    await this.publisher?.send({ [device]: track });
    this.listener.changed();
  }

  /** @param {Exhibit} exhibit */
  async show(exhibit) {
    await this.stopShowing();
    this.exhibit = exhibit;
    exhibit.track.onended = () => this.stopShowing();
    this.tracks.evidence_display = exhibit.track;
    this.listener.changed();
    await this.publisher?.send({ evidence_display: exhibit.track });
  }

  async stopShowing() {
    if (!this.exhibit) return;
    const { exhibit } = this;
    this.exhibit = null;
    delete this.tracks.evidence_display;
    await this.publisher?.withdraw("evidence_display");
    exhibit.stop();
    this.listener.changed();
  }

  leave() {
    this.signalling.leave();
  }

  /** @param {Welcome} welcome */
  #welcomed(welcome) {
    this.welcome = welcome;
    this.speaker = null;
    this.#stated(welcome.state);
    if (this.over) return;
    if (!this.publisher || !this.subscriber) {
      this.#startMedia(welcome);
    } else {
      this.#relayed(welcome.ice_servers);
      this.subscriber.revive(welcome.receiving);
      if (this.#allPublished()) this.publisher.revive(welcome.publishing);
      else this.publisher.restart();
    }
    this.#withdrawUnsent();
    this.#tellMuted();
  }

  /** Whether the server still lists every source that we send. */
  #allPublished() {
    const known = new Set(this.me?.tracks.map(({ source }) => source));
    return Object.keys(this.tracks).every((source) => known.has(/** @type {Source} */ (source)));
  }

  /** What the server still expects, but this page does not send (any more), is taken back. */
  #withdrawUnsent() {
    for (const { source, track_id } of this.me?.tracks ?? []) {
      if (!this.tracks[source]) this.signalling.send({ type: "unpublish", track_id });
    }
  }

  /** @param {Welcome} welcome */
  #startMedia(welcome) {
    const listener = {
      changed: () => { this.mediaProblem = null; this.#tellMuted(); this.listener.changed(); },
      /** @param {unknown} cause */
      failed: (cause) => {
        const code = cause instanceof RequestError ? cause.code : "sdp_invalid";
        // A lost connection mends itself; anything else is said.
        this.mediaProblem = code === "network" ? null : code;
        this.listener.changed();
      },
    };
    // What was muted before this page was loaded again stays so.
    for (const { source, muted } of this.me?.tracks ?? []) {
      const track = this.tracks[source];
      if (muted && track) {
        this.muted.add(source);
        track.enabled = false;
      }
    }
    this.publisher = new Publisher(this.signalling, welcome, listener);
    this.subscriber = new Subscriber(this.signalling, welcome, listener);
    if (Object.keys(this.tracks).length) this.publisher.send(this.tracks);
    this.#flow = new FlowWatch(this);
  }

  /** Tells the server of every mute that it does not know yet. */
  #tellMuted() {
    for (const track of this.me?.tracks ?? []) {
      const muted = this.muted.has(track.source);
      if (track.muted !== muted && this.publisher?.trackId(track.source) === track.track_id) {
        track.muted = muted;
        this.signalling.send({ type: "mute", track_id: track.track_id, muted });
      }
    }
  }

  /**
   * Credentials of relays expire: a connection that is made from now on takes the new ones.
   * @param {RTCIceServer[]} servers
   */
  #relayed(servers) {
    for (const end of [this.publisher, this.subscriber]) {
      if (end) end.terms.ice_servers = servers;
    }
  }

  /** @param {RoomState} room */
  #stated(room) {
    this.room = room;
    this.#recordingHeard = performance.now();
    if (this.over) this.#stopMedia();
    else this.#tellMuted();
    this.listener.changed();
  }

  /** @param {Recording} recording */
  #recorded(recording) {
    if (this.room) this.room.recording = recording;
    this.#recordingHeard = performance.now();
    this.listener.changed();
  }

  /** @param {RoomEvent} event */
  #happened(event) {
    this.events = [...this.events, event].slice(-MAX_EVENTS);
    this.listener.happened(event);
    this.listener.changed();
  }

  /** @param {string|null} code */
  #ended(code) {
    for (const [target, name] of HINTS) target.removeEventListener(name, this.lookAgain);
    this.#stopMedia();
    this.listener.ended(code);
  }

  /** Lets go of camera and microphone and of what is shown. */
  #stopMedia() {
    this.#flow?.stop();
    this.publisher?.close();
    this.subscriber?.close();
    this.exhibit?.stop();
    this.exhibit = null;
    for (const track of Object.values(this.tracks)) track.stop();
    this.tracks = {};
  }
}
