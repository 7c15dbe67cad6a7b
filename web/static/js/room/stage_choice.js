/**
 * Who is on the stage: who was put there, else who speaks, else the one whom the session is about.
 * Calm: a change by itself waits, nobody sees themselves there, and a question by oneself does not
 * take away the face of the person who is asked. Pure: time is an argument.
 */

/** A picture stays for at least so long before another takes its place by itself. */
export const HOLD_MS = 3_000;
/** After so long without anybody speaking, the stage goes back to whom it belongs. */
export const RETURN_MS = 8_000;
const MOST_PINNED = 2;

export class StageChoice {
  /** @type {string[]} who was put on the stage, at most two, the newest last */
  pinned = [];
  /** @type {string|null} */
  #shown = null;
  #since_ms = -Infinity;
  /** @type {number|null} */
  #silent_ms = null;

  /** Puts somebody on the stage, or takes them off it again. @param {string} id */
  toggle(id) {
    this.pinned = this.pinned.includes(id)
      ? this.pinned.filter((each) => each !== id) : [...this.pinned, id].slice(-MOST_PINNED);
  }

  /** Leaves the choice to who speaks. */
  release() {
    this.pinned = [];
  }

  /**
   * @param {{id: string, here: boolean}[]} others who can be on the stage, in seat order
   * @param {{speaker: string|null, home: string|null}} now speaker may be oneself; home: to whom the
   *   stage belongs while nobody speaks
   * @param {number} now_ms
   * @returns {string[]} one or two in seat order; nobody where there are no others
   */
  take(others, { speaker, home }, now_ms) {
    this.#follow(others, speaker, home, now_ms);
    this.pinned = this.pinned.filter((pinned) => others.some(({ id }) => id === pinned));
    if (this.pinned.length) return others.map(({ id }) => id).filter((id) => this.pinned.includes(id));
    return this.#shown === null ? [] : [this.#shown];
  }

  /**
   * @param {{id: string, here: boolean}[]} others
   * @param {string|null} speaker
   * @param {string|null} home
   * @param {number} now_ms
   */
  #follow(others, speaker, home, now_ms) {
    const here = others.filter((other) => other.here).map(({ id }) => id);
    const speaking = speaker !== null && here.includes(speaker) ? speaker : null;
    const atHome = home !== null && here.includes(home) ? home : here[0] ?? home ?? others[0]?.id ?? null;
    this.#silent_ms = speaker === null ? this.#silent_ms ?? now_ms : null;
    const silent = this.#silent_ms !== null && now_ms - this.#silent_ms >= RETURN_MS;
    const shown = this.#shown;
    const lost = shown === null || (!here.includes(shown) && (here.length > 0 || !others.some(({ id }) => id === shown)));
    const wanted = speaking ?? (silent || lost ? atHome : shown);
    if (wanted === shown || (!lost && now_ms - this.#since_ms < HOLD_MS)) return;
    this.#shown = wanted;
    this.#since_ms = now_ms;
  }
}
