/** Questions about the segments and gaps of one track. Times in µs on the session clock. */

/** @import { ReplayGap, ReplaySegment } from "../types.js" */

/** @typedef {"open"|"verified"|"failed"} SegmentState */

/**
 * Index of the last segment that begins at or before a moment; -1 before the first. Segments are in
 * order of time.
 * @param {ReplaySegment[]} segments
 * @param {number} at_us
 */
export function lastBegun(segments, at_us) {
  let low = 0;
  let high = segments.length;
  while (low < high) {
    const middle = (low + high) >> 1;
    if (segments[middle].t0_us <= at_us) low = middle + 1;
    else high = middle;
  }
  return low - 1;
}

/**
 * The segment that is playing at a moment, if there is one.
 * @param {ReplaySegment[]} segments
 * @param {number} at_us
 * @returns {ReplaySegment|null}
 */
export function segmentAt(segments, at_us) {
  const segment = segments[lastBegun(segments, at_us)];
  return segment && at_us < segment.end_us ? segment : null;
}

/**
 * The segments to have at hand, most urgent first: from the moment on up to `ahead_us` later.
 * @param {ReplaySegment[]} segments
 * @param {number} at_us
 * @param {number} ahead_us
 */
export function wanted(segments, at_us, ahead_us) {
  const first = Math.max(0, lastBegun(segments, at_us));
  const found = [];
  for (let i = first; i < segments.length && segments[i].t0_us < at_us + ahead_us; i++) {
    if (segments[i].end_us > at_us) found.push(segments[i]);
  }
  return found;
}

/**
 * The gap at a moment, if one is declared.
 * @param {ReplayGap[]} gaps
 * @param {number} at_us
 * @returns {ReplayGap|null}
 */
export function gapAt(gaps, at_us) {
  return gaps.find(({ from_us, to_us }) => from_us <= at_us && at_us < to_us) ?? null;
}

/**
 * Neighbouring segments of the same state as one run, for drawing.
 * @param {ReplaySegment[]} segments
 * @param {(segment: ReplaySegment) => SegmentState} stateOf
 * @returns {{from_us: number, to_us: number, state: SegmentState}[]}
 */
export function runs(segments, stateOf) {
  /** @type {{from_us: number, to_us: number, state: SegmentState}[]} */
  const found = [];
  for (const segment of segments) {
    const state = stateOf(segment);
    const last = found.at(-1);
    // A fifth of a second between segments is no gap that could be seen; gaps are drawn on their own.
    if (last?.state === state && segment.t0_us - last.to_us < 200_000) last.to_us = segment.end_us;
    else found.push({ from_us: segment.t0_us, to_us: segment.end_us, state });
  }
  return found;
}
