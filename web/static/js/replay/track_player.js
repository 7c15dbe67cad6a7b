/**
 * Plays one track of an archive: fetches segments around the play position, checks each against the
 * ledger, appends what holds to a MediaSource, lets go of what is far, and keeps the element in step
 * with the master clock.
 */

import { fetchVerified } from "./verified_fetch.js";
import { gapAt, segmentAt, wanted } from "./track_times.js";

/** @import { ReplaySegment, ReplayTrack } from "../types.js" */
/** @import { SegmentState } from "./track_times.js" */
/** @import { Mismatch } from "./verified_fetch.js" */

const AHEAD_US = 12_000_000;
const KEEP_BEHIND_US = 15_000_000;
const KEEP_AHEAD_US = 45_000_000;
/** Off by more than this the element is set anew. */
const SEEK_S = 0.25;
/** Off by more than the first its speed is corrected, until it is off by less than the second. */
const OUT_OF_STEP_S = 0.02;
const IN_STEP_S = 0.006;
/** Few and steady corrections: each change of speed costs the browser a hiccup of sound. */
const SLIGHT = 0.03;
const STRONG = 0.12;
/** After its data is there, a track may keep the others waiting for so long. */
const PATIENCE_MS = 1_500;
const RETRY_MS = 1_000;

export class TrackPlayer {
  /** @type {"loading"|"ready"|"empty"|"unsupported"|"failed"} empty: nothing was ever recorded */
  status = "loading";
  /** @type {Map<number, SegmentState>} by segment number; not in it: open */
  states = new Map();
  /** @type {Mismatch[]} */
  mismatches = [];
  /** Element minus master in ms, when last compared while playing. */
  drift_ms = 0;
  #source = new MediaSource();
  /** @type {SourceBuffer|null} */
  #buffer = null;
  /** @type {Set<number>} segment numbers whose media the buffer holds */
  #appended = new Set();
  #position_us = 0;
  #pumping = false;
  /** @type {{segment: ReplaySegment, abort: AbortController}|null} */
  #loading = null;
  #closed = new AbortController();
  #waitingSince_ms = 0;
  #correction = 0;

  /**
   * @param {string} archiveId
   * @param {ReplayTrack} track
   * @param {number} duration_us
   * @param {() => void} changed
   */
  constructor(archiveId, track, duration_us, changed) {
    this.archiveId = archiveId;
    this.track = track;
    this.changed = changed;
    this.element = document.createElement(track.source === "microphone" ? "audio" : "video");
    this.element.dataset.trackId = track.track_id;
    this.element.muted = track.source !== "microphone";
    if (this.element instanceof HTMLVideoElement) this.element.playsInline = true;
    this.element.addEventListener("seeked", changed);
    if (!track.init || !MediaSource.isTypeSupported(track.mime)) {
      this.status = track.init ? "unsupported" : "empty";
      return;
    }
    const { init } = track;
    this.#source.addEventListener("sourceopen", () => this.#open(init, duration_us), { once: true });
    this.element.src = URL.createObjectURL(this.#source);
  }

  /** @param {ReplaySegment} segment @returns {SegmentState} */
  stateOf = (segment) => this.states.get(segment.n) ?? "open";

  /** Does not show segments that the server's check named. @param {Set<string>} files */
  distrust(files) {
    for (const { n, file } of this.track.segments) if (files.has(file)) this.states.set(n, "failed");
  }

  /**
   * What this track has at a moment: a picture or sound to play, a declared gap, a segment that did
   * not hold, or nothing.
   * @param {number} at_us
   * @returns {{kind: "media"}|{kind: "gap", cause: string}|{kind: "failed", file: string}|{kind: "none"}}
   */
  at(at_us) {
    const segment = segmentAt(this.track.segments, at_us);
    if (segment) {
      return this.stateOf(segment) === "failed" ? { kind: "failed", file: segment.file } : { kind: "media" };
    }
    const gap = gapAt(this.track.gaps, at_us);
    return gap ? { kind: "gap", cause: gap.cause } : { kind: "none" };
  }

  /**
   * Whether there is something to wait for: media that should be shown and is not there yet.
   * @param {number} at_us
   * @param {number} now_ms
   */
  waits(at_us, now_ms) {
    const segment = segmentAt(this.track.segments, at_us);
    const shows = this.status !== "unsupported" && this.status !== "failed"
      && segment !== null && this.stateOf(segment) !== "failed";
    if (!shows || this.#canShow(at_us)) {
      this.#waitingSince_ms = 0;
      return false;
    }
    if (!this.#appended.has(segment.n)) return true;
    // Its data is there and the browser does not show it yet: for a seek that takes a moment.
    this.#waitingSince_ms ||= now_ms;
    return now_ms - this.#waitingSince_ms < PATIENCE_MS;
  }

  /** @param {number} at_us */
  #canShow(at_us) {
    const { element } = this;
    return !element.seeking && element.readyState >= HTMLMediaElement.HAVE_CURRENT_DATA
      && Math.abs(element.currentTime - at_us / 1e6) < SEEK_S;
  }

  /**
   * Brings the element to where the master clock is. Called several times a second.
   * @param {number} at_us
   * @param {boolean} running whether the master clock moves
   * @param {number} rate
   */
  follow(at_us, running, rate) {
    this.#position_us = at_us;
    if (this.status !== "ready") return;
    this.#pump();
    const { element } = this;
    const segment = segmentAt(this.track.segments, at_us);
    if (!segment || !this.#appended.has(segment.n)) {
      if (!element.paused) element.pause();
      return;
    }
    const drift_s = element.currentTime - at_us / 1e6;
    if (Math.abs(drift_s) > (running ? SEEK_S : 0.001)) {
      if (!element.seeking) element.currentTime = at_us / 1e6;
    } else if (running) {
      this.drift_ms = drift_s * 1000;
      this.#correct(drift_s);
      const speed = rate * (1 + this.#correction);
      if (element.playbackRate !== speed) element.playbackRate = speed;
    }
    if (running && element.paused) element.play().catch(() => {});
    else if (!running && !element.paused) element.pause();
  }

  /** @param {number} drift_s */
  #correct(drift_s) {
    const off_s = Math.abs(drift_s);
    // Past the middle or near enough: enough corrected.
    const was = Math.abs(this.#correction);
    if (off_s < IN_STEP_S || drift_s * this.#correction > 0 || (was === STRONG && off_s < OUT_OF_STEP_S)) {
      this.#correction = 0;
    }
    if (off_s > OUT_OF_STEP_S && this.#correction === 0) {
      this.#correction = -Math.sign(drift_s) * (off_s > 2 * OUT_OF_STEP_S ? STRONG : SLIGHT);
    }
  }

  close() {
    this.#closed.abort();
    this.#loading?.abort.abort();
    URL.revokeObjectURL(this.element.src);
    this.element.removeAttribute("src");
  }

  /**
   * @param {import("./verified_fetch.js").Described} init
   * @param {number} duration_us
   */
  async #open(init, duration_us) {
    this.#source.duration = duration_us / 1e6;
    this.#buffer = this.#source.addSourceBuffer(this.track.mime);
    const bytes = await this.#fetch(init, this.#closed.signal);
    if (!bytes) {
      this.status = this.#closed.signal.aborted ? "loading" : "failed";
      this.changed();
      return;
    }
    await this.#change((buffer) => buffer.appendBuffer(bytes));
    this.status = "ready";
    this.changed();
    this.#pump();
  }

  /**
   * One after the other: fetches what is wanted next, appends it, lets go of what is far. A seek
   * gives up what is being fetched for the old place.
   */
  async #pump() {
    const segment = this.#next();
    if (this.#loading && !this.#isWanted(this.#loading.segment)) this.#loading.abort.abort();
    if (this.#pumping || !segment) return;
    this.#pumping = true;
    try {
      const abort = new AbortController();
      this.#loading = { segment, abort };
      const bytes = await this.#fetch(segment, abort.signal);
      this.#loading = null;
      if (bytes) {
        this.states.set(segment.n, "verified");
        await this.#append(segment, bytes);
      } else if (!abort.signal.aborted) {
        this.states.set(segment.n, "failed");
      }
      await this.#evict();
    } finally {
      this.#loading = null;
      this.#pumping = false;
    }
    this.changed();
    if (!this.#closed.signal.aborted) this.#pump();
  }

  #next() {
    return wanted(this.track.segments, this.#position_us, AHEAD_US)
      .find(({ n }) => !this.#appended.has(n) && this.states.get(n) !== "failed") ?? null;
  }

  /** @param {ReplaySegment} segment */
  #isWanted(segment) {
    return segment.end_us > this.#position_us && segment.t0_us < this.#position_us + AHEAD_US;
  }

  /**
   * The bytes of a file once they are known to be right; null when they are not, or not wanted any
   * more. An unreachable server is asked again.
   * @param {import("./verified_fetch.js").Described} described
   * @param {AbortSignal} signal
   * @returns {Promise<ArrayBuffer|null>}
   */
  async #fetch(described, signal) {
    while (!signal.aborted && !this.#closed.signal.aborted) {
      try {
        const answer = await fetchVerified(this.archiveId, described, signal);
        if ("bytes" in answer) return answer.bytes;
        this.mismatches = [...this.mismatches, answer.mismatch];
        return null;
      } catch {
        if (signal.aborted) return null;
        await new Promise((resolve) => { setTimeout(resolve, RETRY_MS); });
      }
    }
    return null;
  }

  /**
   * @param {ReplaySegment} segment
   * @param {ArrayBuffer} bytes
   */
  async #append(segment, bytes) {
    try {
      await this.#change((buffer) => {
        buffer.timestampOffset = segment.offset_us / 1e6;
        buffer.appendBuffer(bytes);
      });
      this.#appended.add(segment.n);
    } catch {
      // The browser cannot decode it although it is what was recorded: the bytes hold, the picture fails.
      this.status = "unsupported";
    }
  }

  /** Lets go of media that is far from the play position, in whole segments. */
  async #evict() {
    const from_us = this.#position_us - KEEP_BEHIND_US;
    const to_us = this.#position_us + KEEP_AHEAD_US;
    const far = this.track.segments.filter(
      ({ n, t0_us, end_us }) => this.#appended.has(n) && (end_us < from_us || t0_us > to_us),
    );
    // Of video the browser removes on to the next key frame by itself: asked to the very end it could
    // take the key frame of the segment after it.
    const short_us = this.element instanceof HTMLVideoElement ? 50_000 : 0;
    for (const { n, t0_us, end_us } of far) {
      const start_s = Math.max(0, t0_us / 1e6);
      await this.#change((buffer) => buffer.remove(start_s, Math.max(start_s + 0.001, (end_us - short_us) / 1e6)));
      this.#appended.delete(n);
    }
  }

  /**
   * Does one thing to the source buffer and waits until it is done.
   * @param {(buffer: SourceBuffer) => void} action
   * @returns {Promise<void>}
   */
  #change(action) {
    const buffer = this.#buffer;
    if (!buffer || this.#source.readyState === "closed") return Promise.reject(new Error("closed"));
    return new Promise((resolve, reject) => {
      buffer.addEventListener("updateend", () => (this.element.error ? reject(this.element.error) : resolve()),
        { once: true });
      try {
        action(buffer);
      } catch (cause) {
        reject(cause);
      }
    });
  }
}
