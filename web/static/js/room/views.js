/**
 * Tells the server how large each received picture is shown, so that it sends no more than that:
 * when the layout, the window, the screen or what is visible of it has changed.
 */

import { codeOf } from "../http.js";

/** @import { Call } from "./call.js" */
/** @import { MediaElements } from "./media_elements.js" */

/** @typedef {Record<string, number>} Heights pixels of the screen by track id; 0: not shown */

/** At most twice a second. */
export const EVERY_MS = 500;
/** A window that is being dragged larger does not ask anew for each pixel. */
const STEP_PX = 16;

/**
 * The height of a picture in pixels of the screen, rounded up, as it is fitted into its place.
 * @param {{width: number, height: number}} box in CSS pixels
 * @param {{width: number, height: number}} picture as it was last received, or 0 by 0
 * @param {number} ratio pixels of the screen for each CSS pixel
 */
export function heightOf(box, picture, ratio) {
  const aspect = picture.width && picture.height ? picture.height / picture.width : 9 / 16;
  const shown = Math.min(box.height, box.width * aspect) * ratio;
  return Math.ceil(Math.max(shown, 0) / STEP_PX) * STEP_PX;
}

/** When to say what: changes only, and not too often. Pure: time is an argument. */
export class ViewPace {
  /** @type {string|null} */
  #said = null;
  #said_ms = -Infinity;

  /** The server knows nothing any more. */
  forget() {
    this.#said = null;
  }

  /**
   * @param {Heights} heights as they are now
   * @param {number} now_ms
   * @returns {{send: boolean, again_ms: number|null}} again_ms: how long to wait before asking anew
   */
  take(heights, now_ms) {
    const text = JSON.stringify(Object.entries(heights).sort());
    // Nothing received is nothing to say, as long as nothing was said.
    if (text === this.#said || (this.#said === null && text === "[]")) return { send: false, again_ms: null };
    const wait_ms = this.#said_ms + EVERY_MS - now_ms;
    if (wait_ms > 0) return { send: false, again_ms: wait_ms };
    this.#said = text;
    this.#said_ms = now_ms;
    return { send: true, again_ms: null };
  }
}

export class Views {
  #pace = new ViewPace();
  /** @type {Map<Element, boolean>} videos, and whether they are within the window */
  #watched = new Map();
  /** @type {any} */
  #timer = null;
  /** @type {string|null} the connection to which it was said */
  #to = null;

  /**
   * @param {Call} call
   * @param {MediaElements} elements
   */
  constructor(call, elements) {
    this.call = call;
    this.elements = elements;
    this.observer = new IntersectionObserver((entries) => {
      for (const { target, isIntersecting } of entries) this.#watched.set(target, isIntersecting);
      this.look();
    });
    this.look = () => this.#look();
    document.addEventListener("visibilitychange", this.look);
    addEventListener("resize", this.look);
  }

  stop() {
    clearTimeout(this.#timer);
    this.observer.disconnect();
    document.removeEventListener("visibilitychange", this.look);
    removeEventListener("resize", this.look);
  }

  #look() {
    clearTimeout(this.#timer);
    const { welcome } = this.call;
    if (!welcome || this.call.link !== "open" || this.call.over) return;
    // After a lost connection the server may be another one, or hold another connection of ours.
    if (welcome.resume !== this.#to) this.#pace.forget();
    this.#to = welcome.resume;
    const heights = this.#heights();
    const { send, again_ms } = this.#pace.take(heights, performance.now());
    if (send) {
      this.call.ask({ type: "view", heights }).catch((cause) => {
        // What the server refused it would refuse again.
        if (codeOf(cause) === "network") this.#pace.forget();
      });
    }
    if (again_ms !== null) this.#timer = setTimeout(this.look, again_ms);
  }

  /** @returns {Heights} of every picture that is received */
  #heights() {
    /** @type {Heights} */
    const heights = {};
    const shown = new Set();
    for (const { track_id, media } of this.call.subscriber?.tracks.values() ?? []) {
      if (media.kind !== "video") continue;
      const video = this.elements.shown(track_id);
      heights[track_id] = video ? this.#heightOf(video) : 0;
      if (video) shown.add(video);
    }
    for (const video of this.#watched.keys()) {
      if (shown.has(video)) continue;
      this.observer.unobserve(video);
      this.#watched.delete(video);
    }
    return heights;
  }

  /** @param {HTMLVideoElement} video on the page */
  #heightOf(video) {
    if (!this.#watched.has(video)) {
      this.#watched.set(video, true);
      this.observer.observe(video);
    }
    if (document.hidden || !this.#watched.get(video)) return 0;
    const box = video.getBoundingClientRect();
    return heightOf(box, { width: video.videoWidth, height: video.videoHeight }, devicePixelRatio);
  }
}
