/**
 * The client's end of the signalling protocol (docs/PROTOCOL.md), version 1: JSON messages over one
 * WebSocket. A lost socket is opened again with growing pauses and says `hello` with the resume token;
 * media connections are not touched by that. Errors that no new attempt can mend end the client.
 */

import { RequestError } from "./http.js";

/** @import { Line, Offer, Recording, RoomEvent, RoomState, Welcome } from "./types.js" */

/**
 * What a page does with what the server says.
 * @typedef {object} Listener
 * @property {(welcome: Welcome) => void} welcomed after each hello, the first and every later one
 * @property {(state: RoomState) => void} stated
 * @property {(recording: Recording) => void} recorded
 * @property {(event: RoomEvent) => void} happened
 * @property {(lines: Record<string, Line>) => void} networked by participant id
 * @property {(offer: Offer) => void} offered
 * @property {(servers: RTCIceServer[]) => void} relayed relays with new credentials
 * @property {(link: "open"|"lost") => void} linked
 * @property {(code: string|null) => void} ended for good; null when the page itself left
 * @property {(clock: {offset_ms: number, round_trip_ms: number}) => void} clocked
 */

const VERSION = 1;
const REPLY_TIMEOUT_MS = 20_000;
const PING_EVERY_MS = 10_000;
const PONG_TIMEOUT_MS = 8_000;
/** Errors after which connecting again with the same credentials is pointless. */
const FINAL = new Set([
  "replaced", "not_signed_in", "not_assigned", "not_permitted", "session_unknown", "origin_refused",
  "version_unsupported", "session_closed",
]);

/**
 * How long to wait before the next attempt: 0.5 s, doubled up to 8 s, and up to a quarter more so
 * that a restarted server is not met by everybody at once.
 * @param {number} attempt from 0
 * @param {number} random between 0 and 1
 */
export function backoff_ms(attempt, random) {
  return Math.min(500 * 2 ** attempt, 8_000) * (1 + random / 4);
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
  #pingTimer = null;

  /**
   * @param {string} url
   * @param {Listener} listener
   * @param {() => Promise<string|null>} whyRefused asked when no socket can be opened at all: the
   *   browser hides the reason, so the code of it has to be found out in another way
   * @param {(url: string) => WebSocket} [openSocket]
   */
  constructor(url, listener, whyRefused, openSocket = (address) => new WebSocket(address)) {
    this.url = url;
    this.listener = listener;
    this.whyRefused = whyRefused;
    this.openSocket = openSocket;
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
    socket.onmessage = (event) => this.#receive(JSON.parse(event.data));
    socket.onclose = async () => {
      if (socket !== this.#socket) return;
      this.#lost();
      const code = opened ? null : await this.whyRefused();
      if (code && FINAL.has(code)) this.#end(code);
    };
  }

  /** Tries at once, when something suggests that the network is back. */
  retryNow() {
    if (this.#stopped || this.#socket) return;
    clearTimeout(this.#retryTimer);
    this.start();
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
      case "network": this.listener.networked(message.participants); break;
      case "ice_servers": this.listener.relayed(message.ice_servers); break;
      case "offer": this.listener.offered(message); break;
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
    clearInterval(this.#pingTimer);
    this.#pingTimer = setInterval(() => this.#ping(), PING_EVERY_MS);
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

  /** Measures round trip and clock difference; a silent server is taken for a lost connection. */
  async #ping() {
    const socket = this.#socket;
    const sent = Date.now();
    const watch = setTimeout(() => socket?.close(), PONG_TIMEOUT_MS);
    try {
      const pong = await this.request({ type: "ping" });
      const round_trip_ms = Date.now() - sent;
      const offset_ms = sent + round_trip_ms / 2 - pong.server_wall_ms;
      this.listener.clocked({ offset_ms, round_trip_ms });
    } catch {
      // The connection went meanwhile; #lost has seen to it.
    } finally {
      clearTimeout(watch);
    }
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
    clearInterval(this.#pingTimer);
    for (const { reject, timer } of this.#waiting.values()) {
      clearTimeout(timer);
      reject(new RequestError("network", 0, "connection lost"));
    }
    this.#waiting.clear();
  }
}
