/**
 * The timeline: a lane for each track with its media, the check of each segment as a line under it,
 * gaps and pauses hatched, events as marks above. A press anywhere on it is a seek.
 */

import { html, nothing, svg } from "/vendor/lit-html/lit-html.js";
import { repeat } from "/vendor/lit-html/directives/repeat.js";
import { duration } from "../format.js";
import { t } from "../texts.js";
import { icons } from "../ui/icons.js";
import { runs } from "./track_times.js";
import { trackName } from "./words.js";

/** @import { Replay } from "../types.js" */
/** @import { Player } from "./player.js" */
/** @import { TrackPlayer } from "./track_player.js" */

const STEPS_S = [1, 2, 5, 10, 30, 60, 120, 300, 600, 1800, 3600];
const MAX_TICKS = 12;
/** Events that stand on the timeline as marks; the others are in the list alone. */
export const MARKED = new Set([
  "session_live", "session_paused", "session_resumed", "session_closing", "participant_joined",
  "participant_disconnected", "participant_returned", "participant_left", "marker_added",
  "recording_stalled", "recorder_replaced", "session_interrupted",
  "session_taken_over",
]);

/**
 * @param {number} at_us
 * @param {number} duration_us
 */
const percent = (at_us, duration_us) => `${((100 * at_us) / Math.max(1, duration_us)).toFixed(4)}%`;

/**
 * @param {number} from_us
 * @param {number} to_us
 * @param {number} duration_us
 */
function span(from_us, to_us, duration_us) {
  const start = Math.max(0, from_us);
  return { x: percent(start, duration_us), width: percent(Math.max(0, to_us - start), duration_us) };
}

/** @param {Player} player */
export function timelineView(player) {
  const { replay } = player;
  return html`
    <div class="timeline-scroll"><section class="timeline" aria-label=${t("replay.timeline")}>
      <svg class="patterns" aria-hidden="true"><defs>
        <pattern id="hatch" width="8" height="8" patternUnits="userSpaceOnUse" patternTransform="rotate(45)">
          <rect class="hatch-ground" width="8" height="8"/><rect class="hatch-line" width="3" height="8"/>
        </pattern></defs></svg>
      <div class="lane-head small soft">${t("replay.events")}</div>
      <div class="lane ruler" aria-hidden="true"><svg>${ticks(replay)}${marks(replay)}</svg></div>
      ${repeat(player.tracks, ({ track }) => track.track_id, (track) => lane(player, track))}
      ${slider(player)}
    </section></div>`;
}

/** @param {Replay} replay */
function ticks(replay) {
  const length_s = replay.duration_us / 1e6;
  const step_s = STEPS_S.find((step) => length_s / step <= MAX_TICKS) ?? 7200;
  const found = [];
  for (let at_s = 0; at_s < length_s; at_s += step_s) {
    const x = percent(at_s * 1e6, replay.duration_us);
    // A label that would not fit at the right edge is left out.
    const label = at_s < 0.96 * length_s ? duration(at_s * 1000) : "";
    found.push(svg`<line class="tick" x1=${x} x2=${x} y1="16" y2="24"/>
      <text class="tick-text" x=${x} dx="3" y="12">${label}</text>`);
  }
  return found;
}

/** @param {Replay} replay */
function marks(replay) {
  return replay.events.filter(({ type, t_us }) => MARKED.has(type) && typeof t_us === "number")
    .map(({ type, t_us }) => {
      const x = percent(t_us ?? 0, replay.duration_us);
      return svg`<line class="mark ${type}" x1=${x} x2=${x} y1="24" y2="40"/>
        <circle class="mark ${type}" cx=${x} cy="32" r=${type === "marker_added" ? 5 : 3}/>`;
    });
}

/**
 * @param {Player} player
 * @param {TrackPlayer} track
 */
function lane(player, track) {
  const { replay } = player;
  const { segments, gaps, track_id, source } = track.track;
  const length = replay.duration_us;
  const states = runs(segments, track.stateOf);
  const failed = segments.filter((segment) => track.stateOf(segment) === "failed").length;
  const verified = segments.filter((segment) => track.stateOf(segment) === "verified").length;
  return html`
    <div class="lane-head" data-testid="lane-head" data-track-id=${track_id}>
      <span class="lane-name" title=${trackName(replay, track.track)}>${trackName(replay, track.track)}</span>
      ${source === "microphone" ? sound(player, track) : nothing}
    </div>
    <div class="lane" data-testid="segments" data-track-id=${track_id} data-count=${segments.length}
      data-verified=${verified} data-failed=${failed}>
      <svg role="img" aria-label=${t("replay.lane", { verified, failed, count: segments.length })}>
        ${gaps.map(({ from_us, to_us }) => {
          const { x, width } = span(from_us, to_us, length);
          return svg`<rect class="gap" x=${x} width=${width} y="3" height="15" fill="url(#hatch)"/>`;
        })}
        ${states.map(({ from_us, to_us, state }) => {
          const { x, width } = span(from_us, to_us, length);
          return svg`<rect class="media ${state}" x=${x} width=${width} y="3" height="15"/>
            <rect class="check ${state}" x=${x} width=${width} y="20" height="4"/>`;
        })}
        ${betweenLive(replay).map(([from_us, to_us]) => {
          const { x, width } = span(from_us, to_us, length);
          return svg`<rect class="pause" x=${x} width=${width} y="0" height="100%"/>`;
        })}
      </svg>
    </div>`;
}

/**
 * The times in which the session was not live.
 * @param {Replay} replay
 * @returns {[number, number][]}
 */
function betweenLive(replay) {
  /** @type {[number, number][]} */
  const found = [];
  let from_us = 0;
  for (const [start_us, end_us] of replay.live) {
    if (start_us > from_us) found.push([from_us, start_us]);
    from_us = end_us;
  }
  if (from_us < replay.duration_us) found.push([from_us, replay.duration_us]);
  return found;
}

/**
 * @param {Player} player
 * @param {TrackPlayer} track
 */
function sound(player, track) {
  const { track_id } = track.track;
  const muted = player.mutedTracks.has(track_id);
  return html`
    ${track.element}
    <button type="button" class="button compact" aria-pressed=${muted} data-testid="mute"
      title=${t("replay.mute")} aria-label=${t("replay.mute")} @click=${() => player.toggleMute(track_id)}>
      ${muted ? icons.soundOff() : icons.sound()}</button>
    <button type="button" class="button compact" aria-pressed=${player.soloTracks.has(track_id)}
      data-testid="solo" @click=${() => player.toggleSolo(track_id)}>${t("replay.solo")}</button>`;
}

/** @param {Player} player */
function slider(player) {
  /** @param {PointerEvent} event */
  const seek = (event) => {
    const area = /** @type {HTMLElement} */ (event.currentTarget);
    const box = area.getBoundingClientRect();
    player.seek(((event.clientX - box.left) / box.width) * player.replay.duration_us);
  };
  const at_ms = player.position_us / 1000;
  return html`
    <div class="slider" role="slider" tabindex="0" data-testid="timeline" aria-label=${t("replay.position")}
      aria-valuemin="0" aria-valuemax=${Math.round(player.replay.duration_us / 1e6)}
      aria-valuenow=${Math.round(at_ms / 1000)} aria-valuetext=${duration(at_ms)}
      @pointerdown=${(/** @type {PointerEvent} */ event) => {
        /** @type {HTMLElement} */ (event.currentTarget).setPointerCapture(event.pointerId);
        seek(event);
      }}
      @pointermove=${(/** @type {PointerEvent} */ event) => { if (event.buttons & 1) seek(event); }}>
      <div class="playhead"></div>
    </div>`;
}
