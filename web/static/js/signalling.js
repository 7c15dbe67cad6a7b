/**
 * The client's end of the signalling protocol (docs/PROTOCOL.md), version 1: JSON messages over one
 * WebSocket. A socket on which nothing comes any more is given up, whatever TCP thinks of it, and
 * opened again with growing pauses; it says `hello` with the resume token. Media connections are not
 * touched by that. Errors that no new attempt can mend end the client.
 */

import { RequestError } from "./http.js";

/** @import { Layer, Line, Offer, Recording, RoomEvent, RoomState, Welcome } from "./types.js" */

/**
 * What a page does with what the server says.
 * @typedef {object} Listener
 * @property {(welcome: Welcome) => void} welcomed after each hello, the first and every later one
 * @property {(state: RoomState) => void} stated
 * @property {(recording: Recording) => void} recorded
 * @property {(event: RoomEvent) => void} happened
 * @property {(lines: Record<string, Line>, server: {lag_ms: number}|null) => void} networked lines by
 *   participant id; how late the server's loop is
 * @property {(participantId: string|null) => void} spoke who speaks now, nobody
 * @property {(layers: Record<string, Layer>) => void} layered what of a picture is received, by track id
 * @property {(offer: Offer) => void} offered
 * @property {(peer: string) => void} dropped our sending connection has ended at the server
 * @property {(servers: RTCIceServer[]) => void} relayed relays with new credentials
 * @property {(link: "open"|"lost") => void} linked
 * @property {(code: string|null) => void} ended for good; null when the page itself left
 * @property {(clock: {offset_ms: number, round_trip_ms: number}) => void} clocked
 */

const VERSION = 1;
const REPLY_TIMEOUT_MS = 20_000;
const PING_EVERY_MS = 10_000;
const TICK_MS = 1_000;
/** Silence after which the server is asked for a sign of life, and after which it counts as lost. */
const QUIET_MS = 3_000;
const LOST_MS = 8_000;
/** How long that takes when something suggests that the network has changed. */
const DOUBT_MS = 2_000;
/** A tick that comes so late: the computer was asleep. */
const ASLEEP_MS = 5_000;
/** From opening a socket to the welcome; a system that dials into the void would try for minutes. */
const CONNECT_MS = 8_000;
/** Errors after which connecting again with the same credentials is pointless. */
const FINAL = new Set([
  "replaced", "not_signed_in", "not_assigned", "not_permitted", "session_unknown", "origin_refused",
  "version_unsupported", "session_closed",
]);

/**
 * How long to wait before the next attempt: 0.25 s, doubled up to 2 s, and up to half of it more so
 * that a restarted server is not met by everybody at once.
 * @param {number} attempt from 0
 * @param {number} random between 0 and 1
 */
export function backoff_ms(attempt, random) {
  return Math.min(250 * 2 ** attempt, 2_000) * (1 + random / 2);
}

export class Signalling {
  /** @type {WebSocket|null} */
  #socket = null;
  #welcomed = false;
  #stopped = false;
  #attempt = 0;
  #lastId = 0;
  /** @type {string|null} */
  #resume = null;
  /** @type {Map<string, {resolve: (reply: any) => void, reject: (cause: unknown) => void, timer: any}>} */
  #waiting = new Map();
  /** @type {any[]} what came before the welcome, for after it */
  #early = [];
  /** @type {any} */
  #retryTimer = null;
  /** @type {any} */
  #ticks = null;
  #ticked_ms = 0;
  /** When something last came from the server, and when it was last asked for something. */
  #heard_ms = 0;
  #pinged_ms = 0;

  /**
   * @param {string} url
   * @param {Listener} listener
   * @param {() => Promise<string|null>} whyRefused asked when no socket can be opened at all: the
   *   browser hides the reason, so the code of it has to be found out in another way
   * @param {(url: string) => WebSocket} [openSocket]
   * @param {() => number} [now] wall clock in ms: it goes on while the computer is asleep
   */
  constructor(url, listener, whyRefused, openSocket = (address) => new WebSocket(address), now = Date.now) {
    this.url = url;
    this.listener = listener;
    this.whyRefused = whyRefused;
    this.openSocket = openSocket;
    this.now = now;
  }

  /** Whether messages reach the server now. */
  get open() {
    return this.#welcomed;
  }

  start() {
    const socket = this.openSocket(this.url);
    this.#socket = socket;
    let opened = false;
    socket.onopen = () => {
      opened = true;
      const hello = { type: "hello", version: VERSION };
      socket.send(JSON.stringify(this.#resume ? { ...hello, resume: this.#resume } : hello));
    };
    socket.onmessage = (event) => {
      if (socket === this.#socket) this.#receive(JSON.parse(event.data));
    };
    socket.onclose = async () => {
      if (socket !== this.#socket) return;
      this.#lost();
      const code = opened ? null : await this.whyRefused();
      if (code && FINAL.has(code)) this.#end(code);
    };
    this.#heard_ms = this.#ticked_ms = this.now();
    clearInterval(this.#ticks);
    this.#ticks = setInterval(() => this.#tick(), TICK_MS);
  }

  /**
   * Something suggests that the network has changed: an attempt that hangs is begun anew, and an
   * open connection has to show soon that it is one.
   */
  lookAgain() {
    if (this.#stopped) return;
    if (this.#welcomed) {
      this.doubt();
    } else {
      this.#abandon();
      clearTimeout(this.#retryTimer);
      this.start();
    }
  }

  /** An open connection has to show soon that it is one. */
  doubt() {
    if (!this.#welcomed) return;
    this.#heard_ms = Math.min(this.#heard_ms, this.now() - LOST_MS + DOUBT_MS);
    this.#ping();
  }

  /**
   * Sends a message that has no reply. Lost without trace when there is no connection.
   * @param {object} message
   */
  send(message) {
    if (this.#welcomed) this.#socket?.send(JSON.stringify(message));
  }

  /**
   * Sends a message and gives the server's reply to it.
   * @param {object} message
   * @returns {Promise<any>}
   * @throws {RequestError} with the server's code, or "network"
   */
  request(message) {
    if (!this.#welcomed) return Promise.reject(new RequestError("network", 0, "not connected"));
    const id = String(++this.#lastId);
    return new Promise((resolve, reject) => {
      const timer = setTimeout(() => {
        this.#waiting.delete(id);
        reject(new RequestError("network", 0, "no reply"));
      }, REPLY_TIMEOUT_MS);
      this.#waiting.set(id, { resolve, reject, timer });
      this.#socket?.send(JSON.stringify({ ...message, id }));
    });
  }

  /** Leaves the session for good. */
  leave() {
    this.send({ type: "leave" });
    this.#end(null);
  }

  /** @param {any} message */
  #receive(message) {
    this.#heard_ms = this.now();
    if (message.id && this.#waiting.has(message.id)) {
      this.#settle(message);
      return;
    }
    if (!this.#welcomed && !["welcome", "bye"].includes(message.type)) {
      this.#early.push(message);
      return;
    }
    switch (message.type) {
      case "welcome": this.#greeted(message); break;
      case "state": this.listener.stated(message.state); break;
      case "recording": this.listener.recorded(message.recording); break;
      case "event": this.listener.happened(message.event); break;
      case "network": this.listener.networked(message.participants, message.server ?? null); break;
      case "speaker": this.listener.spoke(message.participant_id); break;
      case "layers": this.listener.layered(message.tracks); break;
      case "ice_servers": this.listener.relayed(message.ice_servers); break;
      case "offer": this.listener.offered(message); break;
      case "lost": this.listener.dropped(message.peer); break;
      case "bye": this.#refused(message.error); break;
    }
  }

  /** @param {any} reply */
  #settle(reply) {
    const waiting = this.#waiting.get(reply.id);
    if (!waiting) return;
    this.#waiting.delete(reply.id);
    clearTimeout(waiting.timer);
    if (reply.type === "error") {
      waiting.reject(new RequestError(reply.error, 0, reply.message ?? ""));
    } else {
      waiting.resolve(reply);
    }
  }

  /** @param {Welcome} welcome */
  #greeted(welcome) {
    this.#welcomed = true;
    this.#attempt = 0;
    this.#resume = welcome.resume;
    this.listener.linked("open");
    this.listener.welcomed(welcome);
    const early = this.#early;
    this.#early = [];
    // The welcome holds the newest state; of what came before it only the rest still matters.
    for (const message of early) if (message.type !== "state") this.#receive(message);
    this.#ping();
  }

  /** @param {string} code */
  #refused(code) {
    if (FINAL.has(code)) {
      this.#end(code);
    } else if (!this.#welcomed) {
      // The hello was not taken, most likely because the resume token is too old: begin anew.
      this.#resume = null;
      this.#socket?.close();
    }
  }

  /** Once a second: whether the server is still heard. */
  #tick() {
    const now = this.now();
    const asleep = now - this.#ticked_ms > ASLEEP_MS;
    this.#ticked_ms = now;
    // The wall clock may have been set back meanwhile.
    this.#heard_ms = Math.min(this.#heard_ms, now);
    if (asleep) {
      this.lookAgain();
      return;
    }
    const silent_ms = now - this.#heard_ms;
    if (silent_ms >= (this.#welcomed ? LOST_MS : CONNECT_MS)) {
      this.#abandon();
      this.#lost();
    } else if (this.#welcomed && (now - this.#pinged_ms >= PING_EVERY_MS
        || (silent_ms >= QUIET_MS && this.#pinged_ms <= this.#heard_ms))) {
      this.#ping();
    }
  }

  /** Measures round trip and clock difference, and makes a silent server say something. */
  async #ping() {
    const sent = this.#pinged_ms = this.now();
    try {
      const pong = await this.request({ type: "ping" });
      const round_trip_ms = this.now() - sent;
      const offset_ms = sent + round_trip_ms / 2 - pong.server_wall_ms;
      this.listener.clocked({ offset_ms, round_trip_ms });
    } catch {
      // The connection went meanwhile; #lost has seen to it.
    }
  }

  /** Lets go of the socket at once: closing it in order can take as long as the cut. */
  #abandon() {
    const socket = this.#socket;
    this.#socket = null;
    socket?.close();
  }

  #lost() {
    this.#detach();
    if (this.#stopped) return;
    this.listener.linked("lost");
    this.#retryTimer = setTimeout(() => this.start(), backoff_ms(this.#attempt++, Math.random()));
  }

  /** @param {string|null} code */
  #end(code) {
    if (this.#stopped) return;
    this.#stopped = true;
    const socket = this.#socket;
    this.#detach();
    socket?.close();
    clearTimeout(this.#retryTimer);
    this.listener.ended(code);
  }

  #detach() {
    this.#socket = null;
    this.#welcomed = false;
    this.#early = [];
    clearInterval(this.#ticks);
    for (const { reject, timer } of this.#waiting.values()) {
      clearTimeout(timer);
      reject(new RequestError("network", 0, "connection lost"));
    }
    this.#waiting.clear();
  }
}
