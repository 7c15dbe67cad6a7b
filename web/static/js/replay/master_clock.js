/**
 * The one clock of a replay. Tracks follow it; it waits when they cannot. Times are integers in µs on
 * the session clock; `now_ms` is the viewer's monotonic clock and is passed in.
 */

export class MasterClock {
  playing = false;
  held = false;
  rate = 1;
  #base_us = 0;
  #since_ms = 0;

  /** @param {number} duration_us */
  constructor(duration_us) {
    this.duration_us = duration_us;
  }

  /** @param {number} now_ms */
  position_us(now_ms) {
    const moved_us = this.#moving ? (now_ms - this.#since_ms) * 1000 * this.rate : 0;
    return Math.round(Math.min(this.duration_us, this.#base_us + moved_us));
  }

  get #moving() {
    return this.playing && !this.held;
  }

  /** @param {number} now_ms */
  #settle(now_ms) {
    this.#base_us = this.position_us(now_ms);
    this.#since_ms = now_ms;
  }

  /** @param {number} now_ms */
  play(now_ms) {
    this.#settle(now_ms);
    if (this.#base_us >= this.duration_us) this.#base_us = 0;
    this.playing = true;
  }

  /** @param {number} now_ms */
  pause(now_ms) {
    this.#settle(now_ms);
    this.playing = false;
  }

  /**
   * Stands still while `held`, for tracks that have nothing to show yet.
   * @param {boolean} held
   * @param {number} now_ms
   */
  hold(held, now_ms) {
    if (held === this.held) return;
    this.#settle(now_ms);
    this.held = held;
  }

  /**
   * @param {number} rate 1 is as it happened
   * @param {number} now_ms
   */
  setRate(rate, now_ms) {
    this.#settle(now_ms);
    this.rate = rate;
  }

  /**
   * @param {number} position_us
   * @param {number} now_ms
   */
  seek(position_us, now_ms) {
    this.#base_us = Math.round(Math.min(this.duration_us, Math.max(0, position_us)));
    this.#since_ms = now_ms;
  }
}
