/** How far the server is and whether the clocks agree, found out before joining. */

import { t } from "../texts.js";

const SAMPLES = 5;
const BETWEEN_MS = 230;

/**
 * The server's clock says whole seconds only (HTTP Date). Each answer bounds the difference from
 * both sides; several at different moments of a second bound it closely.
 * @param {{sent_ms: number, received_ms: number, server_s: number}[]} samples times of our clock
 *   in ms, of the server's in whole seconds
 * @returns {number} our clock minus the server's, in ms: the middle of what is possible
 */
export function clockOffset_ms(samples) {
  let least = -Infinity;
  let most = Infinity;
  for (const { sent_ms, received_ms, server_s } of samples) {
    least = Math.max(least, sent_ms - (server_s + 1) * 1000);
    most = Math.min(most, received_ms - server_s * 1000);
  }
  return (least + most) / 2;
}

/**
 * What was measured; null where it could not be. Positive offsets: our clock is ahead.
 * @typedef {{trip_ms: number|null, offset_ms: number|null}} Reach
 */

/** @returns {Promise<Reach>} */
export async function measureReach() {
  const samples = [];
  const trips = [];
  try {
    for (let i = 0; i < SAMPLES; i++) {
      const sent_ms = Date.now();
      const begun = performance.now();
      const response = await fetch("/healthz", { cache: "no-store" });
      trips.push(performance.now() - begun);
      const date = response.headers.get("date");
      if (date) samples.push({ sent_ms, received_ms: Date.now(), server_s: Date.parse(date) / 1000 });
      await new Promise((resolve) => { setTimeout(resolve, BETWEEN_MS); });
    }
  } catch {
    return { trip_ms: null, offset_ms: null };
  }
  const trip_ms = trips.sort((a, b) => a - b)[Math.floor(trips.length / 2)];
  return { trip_ms, offset_ms: samples.length ? clockOffset_ms(samples) : null };
}

/**
 * The network in words, and whether it is good enough.
 * @param {Reach|null} reach null while it is being measured
 * @returns {{words: string, good: boolean|null}}
 */
export function networkWords(reach) {
  if (!reach) return { words: t("reach.measuring"), good: null };
  if (reach.trip_ms === null) return { words: t("reach.none"), good: false };
  const quality = reach.trip_ms < 60 ? "good" : reach.trip_ms < 250 ? "fair" : "slow";
  return { words: t(`reach.${quality}`), good: quality !== "slow" };
}

/**
 * The clock in words, and whether it is good enough.
 * @param {Reach|null} reach null while it is being measured
 * @returns {{words: string, good: boolean|null}}
 */
export function clockWords(reach) {
  if (!reach) return { words: t("reach.clock_measuring"), good: null };
  if (reach.offset_ms === null) return { words: t("reach.clock_unknown"), good: false };
  const off_ms = Math.abs(reach.offset_ms);
  if (off_ms < 1_000) return { words: t("reach.clock_good"), good: true };
  return { words: t("reach.clock_off", { seconds: Math.round(off_ms / 1000) }), good: false };
}
