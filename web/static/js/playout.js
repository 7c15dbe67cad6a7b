/**
 * How long received pictures wait before they are shown. A packet that a bad line loses comes again
 * a round trip later, or two where both people's lines are bad; a picture that does not wait for it
 * stands still. So the pictures of a connection that has to ask for packets wait a little, longer
 * where they still freeze, and not at all again when the line has been good for a while. The sound
 * of a person waits with the picture: the browser keeps them in step.
 */

const EVERY_MS = 1_000;
/** Packets asked for again, as a share of those that came, from which on pictures wait. */
const LOSSY = 0.005;
const LEAST_MS = 150;
/** At 5 % loss on both lines one packet in a thousand needs a third round trip. */
const ROUND_TRIPS = 3;
const STEP_MS = 100;
const MOST_MS = 500;
/** So long without a loss before pictures wait less again. */
const CALM_MS = 20_000;

/** @typedef {{asked: number, packets: number, freezes: number}} Counts what a connection has met so far */

/** The wait for pictures, from what was met since the last look. */
export class Patience {
  /** How long pictures wait now, ms. */
  wait_ms = 0;
  #lossyAt = -Infinity;

  /**
   * @param {Counts} met since the last look
   * @param {number} trip_ms round trip to the server
   * @param {number} now_ms
   */
  look(met, trip_ms, now_ms) {
    if (met.asked > LOSSY * met.packets) {
      this.#lossyAt = now_ms;
      const least = LEAST_MS + ROUND_TRIPS * trip_ms;
      const longer = met.freezes > 0 && this.wait_ms > 0 ? this.wait_ms + STEP_MS : this.wait_ms;
      this.wait_ms = Math.min(MOST_MS, Math.max(least, longer));
    } else if (now_ms - this.#lossyAt > CALM_MS && this.wait_ms > 0) {
      this.#lossyAt = now_ms;
      this.wait_ms = this.wait_ms - STEP_MS < LEAST_MS ? 0 : this.wait_ms - STEP_MS;
    }
    return this.wait_ms;
  }
}

export class Playout {
  #patience = new Patience();
  /** @type {Counts|null} */
  #before = null;
  /** @type {any} */
  #timer;

  /** @param {RTCPeerConnection} connection that receives */
  constructor(connection) {
    this.connection = connection;
    this.#timer = setInterval(() => this.#look(), EVERY_MS);
  }

  stop() {
    clearInterval(this.#timer);
  }

  async #look() {
    const now = { asked: 0, packets: 0, freezes: 0 };
    let trip_ms = 0;
    for (const entry of (await this.connection.getStats()).values()) {
      if (entry.type === "inbound-rtp" && entry.kind === "video") {
        now.asked += entry.nackCount ?? 0;
        now.packets += entry.packetsReceived ?? 0;
        now.freezes += entry.freezeCount ?? 0;
      } else if (entry.type === "candidate-pair" && entry.nominated) {
        trip_ms = Math.max(trip_ms, 1_000 * (entry.currentRoundTripTime ?? 0));
      }
    }
    const before = this.#before ?? now;
    this.#before = now;
    const wait_ms = this.#patience.look({
      asked: now.asked - before.asked,
      packets: now.packets - before.packets,
      freezes: now.freezes - before.freezes,
    }, trip_ms, performance.now());
    for (const receiver of this.connection.getReceivers()) {
      if (receiver.track.kind === "video" && "jitterBufferTarget" in receiver) {
        receiver.jitterBufferTarget = wait_ms || null;
      }
    }
  }
}
