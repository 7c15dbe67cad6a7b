/** Times, dates and sizes as they are written everywhere on the pages. No texts, no page. */

/** @param {number} value */
const two = (value) => String(value).padStart(2, "0");

/**
 * mm:ss, or h:mm:ss from an hour on.
 * @param {number} duration_ms
 */
export function duration(duration_ms) {
  const seconds = Math.max(0, Math.floor(duration_ms / 1000));
  const hours = Math.floor(seconds / 3600);
  const rest = `${two(Math.floor(seconds / 60) % 60)}:${two(seconds % 60)}`;
  return hours > 0 ? `${hours}:${rest}` : rest;
}

/**
 * 2026-11-23, in the time zone of the viewer.
 * @param {Date} date
 */
export function day(date) {
  return `${date.getFullYear()}-${two(date.getMonth() + 1)}-${two(date.getDate())}`;
}

/**
 * 14:05, in the time zone of the viewer.
 * @param {Date} date
 */
export function clock(date) {
  return `${two(date.getHours())}:${two(date.getMinutes())}`;
}

/**
 * 14:05:07, in the time zone of the viewer.
 * @param {Date} date
 */
export function second(date) {
  return `${clock(date)}:${two(date.getSeconds())}`;
}

/**
 * 2026-11-23 14:05:07, in the time zone of the viewer.
 * @param {Date} date
 */
export function moment(date) {
  return `${day(date)} ${second(date)}`;
}

/**
 * Reads "2026-11-23 14:05" as a moment in the time zone of the viewer.
 * @param {string} text
 * @returns {Date|null} null when it is not such a moment
 */
export function readMoment(text) {
  const match = /^(\d{4})-(\d{2})-(\d{2})[ T](\d{2}):(\d{2})$/.exec(text.trim());
  if (!match) return null;
  const [year, month, dayOfMonth, hour, minute] = match.slice(1).map(Number);
  const date = new Date(year, month - 1, dayOfMonth, hour, minute);
  const same = date.getMonth() === month - 1 && date.getDate() === dayOfMonth
    && date.getHours() === hour && date.getMinutes() === minute;
  return same ? date : null;
}

/**
 * A share in percent: 0.4%, from 10% on without decimals.
 * @param {number|null} value 0 to 1
 * @returns {string|null} null where there is none
 */
export function share(value) {
  return value === null ? null : `${(value * 100).toFixed(value < 0.0995 ? 1 : 0)}%`;
}

/**
 * @param {number|null} value in kbit/s
 * @returns {string|null} null where there is none
 */
export function bitrate(value) {
  if (value === null) return null;
  return value < 1_000 ? `${Math.round(value)} kbit/s` : `${(value / 1_000).toFixed(1)} Mbit/s`;
}

/**
 * @param {number|null} value
 * @returns {string|null} null where there is none
 */
export function milliseconds(value) {
  return value === null ? null : `${value < 9.95 ? value.toFixed(1) : Math.round(value)} ms`;
}
