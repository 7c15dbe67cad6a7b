/**
 * Remembers that this browser is in a session, so that a page that is loaded again (a restarted
 * browser, a crashed page, a reload) comes back in by itself. Another window of the same browser that
 * is still in does not count as gone: it holds a lock that ends with its page.
 */

const KEY = "tingxun-stay";
const EVERY_MS = 30_000;
/** Who was away for longer is asked before camera and microphone are on again. */
const FOR_MS = 5 * 60_000;
/** How long a page that is being left may take to let go of its lock. */
const LEAVING_MS = 2_000;

/** @param {string} sessionId */
const lockOf = (sessionId) => `tingxun-call-${sessionId}`;

export class Stay {
  /** @type {() => void} */
  #release = () => {};

  /** @param {string} sessionId */
  constructor(sessionId) {
    this.sessionId = sessionId;
    const held = new Promise((resolve) => { this.#release = () => resolve(null); });
    navigator.locks?.request(lockOf(sessionId), () => held);
    this.#note();
    this.timer = setInterval(() => this.#note(), EVERY_MS);
  }

  /**
   * This page is no longer in.
   * @param {boolean} forGood whether it shall not come back by itself
   */
  end(forGood) {
    clearInterval(this.timer);
    this.#release();
    if (forGood) localStorage.removeItem(KEY);
  }

  #note() {
    localStorage.setItem(KEY, JSON.stringify({ session_id: this.sessionId, at: Date.now() }));
  }
}

/**
 * The session that a page of this browser was in a moment ago.
 * @param {Storage} [storage]
 * @param {number} [now]
 * @returns {string|null}
 */
export function stayedIn(storage = localStorage, now = Date.now()) {
  try {
    const { session_id, at } = JSON.parse(storage.getItem(KEY) ?? "{}");
    return typeof session_id === "string" && now - at < FOR_MS && at <= now ? session_id : null;
  } catch {
    return null;
  }
}

/**
 * Whether no window of this browser is in the session now.
 * @param {string} sessionId
 * @returns {Promise<boolean>}
 */
export async function isFree(sessionId) {
  if (!navigator.locks) return true;
  try {
    const signal = AbortSignal.timeout(LEAVING_MS);
    await navigator.locks.request(lockOf(sessionId), { signal }, () => {});
    return true;
  } catch {
    return false;
  }
}
