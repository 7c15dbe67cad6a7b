/**
 * Notices by the packets themselves that a direction is dead although its connection says that it
 * stands: an address that has changed behind a translator, a server that has forgotten us. Then that
 * direction gets another connection.
 */

/** @import { Call } from "./call.js" */

const EVERY_MS = 2_000;
/** So long nothing has come, or nothing has arrived at the server. */
const DEAD_MS = 6_000;
/** Another connection is not tried more often than this. */
const AGAIN_MS = 15_000;

export class FlowWatch {
  #received = -1;
  /** Since when each direction is dead, and when it last got another connection. */
  #down = { since: 0, tried: 0 };
  #up = { since: 0, tried: 0 };

  /** @param {Call} call */
  constructor(call) {
    this.call = call;
    this.timer = setInterval(() => this.look(), EVERY_MS);
  }

  stop() {
    clearInterval(this.timer);
  }

  async look() {
    const { publisher, subscriber } = this.call;
    if (this.#dead(this.#up, this.#unheard())) publisher?.restart();
    if (this.#dead(this.#down, await this.#nothingComes())) subscriber?.renew();
  }

  /**
   * @param {{since: number, tried: number}} direction
   * @param {boolean} isDead now
   */
  #dead(direction, isDead) {
    const now = Date.now();
    if (!isDead) direction.since = 0;
    else direction.since ||= now;
    if (!isDead || now - direction.since < DEAD_MS || now - direction.tried < AGAIN_MS) return false;
    direction.since = 0;
    direction.tried = now;
    return true;
  }

  /** Whether the server hears nothing of us although our connection stands. */
  #unheard() {
    const { call } = this;
    return call.publisher?.connection?.connectionState === "connected"
      && call.lineOf(call.welcome?.participant_id ?? "")?.up_loss === 1;
  }

  /** Whether no packet has come since the last look, although somebody's sound reaches the server. */
  async #nothingComes() {
    const { call } = this;
    const connection = call.subscriber?.connection;
    if (connection?.connectionState !== "connected" || !this.#somebodySounds()) return false;
    let received = 0;
    (await connection.getStats()).forEach((entry) => {
      if (entry.type === "inbound-rtp") received += entry.packetsReceived;
    });
    const nothing = received === this.#received;
    this.#received = received;
    return nothing;
  }

  #somebodySounds() {
    const { call } = this;
    return call.others.some((person) => {
      const loss = call.lineOf(person.id)?.up_loss;
      return person.present === "yes" && typeof loss === "number" && loss < 1
        && person.tracks.some(({ source, track_id }) => source === "microphone"
          && call.subscriber?.tracks.has(track_id));
    });
  }
}
