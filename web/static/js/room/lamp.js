/**
 * The recording lamp: text, shape and colour. It shows what the server says is durable on disk, and
 * says that it does not know when the server has not been heard.
 */

import { html, svg } from "/vendor/lit-html/lit-html.js";
import { duration } from "../format.js";
import { t } from "../texts.js";

/** @import { Recording, RecordingState } from "../types.js" */

/** @typedef {RecordingState|"unknown"} LampState */

/** @type {Record<LampState, unknown>} */
const SHAPES = {
  off: svg`<circle cx="12" cy="12" r="8" fill="none" stroke="currentColor" stroke-width="3"/>`,
  starting: svg`<circle cx="12" cy="12" r="8" fill="none" stroke="currentColor" stroke-width="3"/>
    <path d="M12 4a8 8 0 0 1 0 16z" fill="currentColor"/>`,
  recording: svg`<circle cx="12" cy="12" r="9" fill="currentColor"/>`,
  stalled: svg`<path d="M12 2l11 20H1z" fill="currentColor"/>`,
  paused: svg`<path d="M5 3h5v18H5zM14 3h5v18h-5z" fill="currentColor"/>`,
  sealing: svg`<path d="M4 2h16l-6 10 6 10H4l6-10z" fill="currentColor"/>`,
  sealed: svg`<path d="M3 12l6 7L21 5" fill="none" stroke="currentColor" stroke-width="4"/>`,
  failed: svg`<path d="M4 4l16 16M20 4L4 20" stroke="currentColor" stroke-width="5"/>`,
  unknown: svg`<path d="M7 8a5 5 0 1 1 7 5q-2 1-2 3M12 20v1" fill="none" stroke="currentColor"
    stroke-width="3" stroke-linecap="round"/>`,
};

/**
 * @param {Recording|null} recording null when the server has not been heard
 * @param {string|null} pauseReason
 */
export function lamp(recording, pauseReason) {
  const state = recording?.state ?? "unknown";
  const text = state === "paused" && pauseReason
    ? t("lamp.paused_reason", { reason: t(`pause_reason.${pauseReason}`) })
    : t(`lamp.${state}`);
  const copies = recording && state === "recording" && recording.copies > 0
    ? t(recording.copies === 1 ? "lamp.copy" : "lamp.copies", { count: recording.copies }) : "";
  return html`
    <div class="lamp" data-state=${state} data-testid="lamp">
      <svg viewBox="0 0 24 24" aria-hidden="true">${SHAPES[state]}</svg>
      <span role="status" class="lamp-text">${text}</span>
      <span class="figures lamp-time" data-testid="recorded-time">${recording && (recording.recorded_ms || state === "recording")
        ? duration(recording.recorded_ms) : ""}</span>
      <span class="lamp-copies">${copies}</span>
    </div>`;
}

/** States in which a session that is meant to be recorded is not. */
const ALARMS = new Set(["stalled", "failed", "unknown"]);

/**
 * A strip across the stage that nobody can overlook, when a live session is not being recorded.
 * @param {Recording|null} recording
 * @param {string|undefined} phase
 */
export function alarm(recording, phase) {
  const state = recording?.state ?? "unknown";
  const concerns = phase === "live" || state === "failed";
  return html`<div class="alarm" role="alert" ?hidden=${!concerns || !ALARMS.has(state)}>
    ${concerns && ALARMS.has(state) ? t(`alarm.${state}`) : ""}</div>`;
}
