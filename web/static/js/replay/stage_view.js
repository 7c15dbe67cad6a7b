/** The pictures of a replay: one large, the others beside it; a pause or gap is said, never hidden. */

import { html, nothing } from "/vendor/lit-html/lit-html.js";
import { repeat } from "/vendor/lit-html/directives/repeat.js";
import { duration } from "../format.js";
import { t } from "../texts.js";
import { missingWords, trackName, trackPlace } from "./words.js";

/** @import { Replay } from "../types.js" */
/** @import { Player } from "./player.js" */
/** @import { TrackPlayer } from "./track_player.js" */

/**
 * The pause at a moment: from where to where, and why.
 * @param {Replay} replay
 * @param {number} at_us
 * @returns {{from_us: number, to_us: number, reason: string|null}|null}
 */
export function pauseAt(replay, at_us) {
  for (let i = 1; i < replay.live.length; i++) {
    const from_us = replay.live[i - 1][1];
    const to_us = replay.live[i][0];
    if (from_us > at_us || at_us >= to_us) continue;
    const paused = replay.events
      .filter(({ type, t_us }) => type === "session_paused" && (t_us ?? 0) <= at_us).at(-1);
    return { from_us, to_us, reason: paused?.reason ?? null };
  }
  return null;
}

/**
 * The track that is large at first: the subject's camera, or any picture.
 * @param {Replay} replay
 */
export function firstLarge(replay) {
  const subject = replay.session.participants.find(({ role }) => role === "subject")?.id;
  const pictures = replay.tracks.filter(({ source }) => source !== "microphone");
  return (pictures.find(({ source, participant_id }) => source === "camera" && participant_id === subject)
    ?? pictures[0])?.track_id ?? null;
}

/**
 * @param {Player} player
 * @param {{large: string|null, enlarge: (trackId: string) => void}} options
 */
export function stageView(player, { large, enlarge }) {
  const at_us = player.position_us;
  const pictures = player.tracks.filter(({ track }) => track.source !== "microphone");
  const pause = pauseAt(player.replay, at_us);
  return html`
    <div class="replay-stage" data-testid="stage">
      ${pictures.length ? repeat(pictures, ({ track }) => track.track_id, (picture) => tile(
          player.replay, picture, at_us, picture.track.track_id === large, enlarge))
        : html`<p class="absence">${t("replay.no_pictures")}</p>`}
      ${pause ? html`
        <div class="pause-card" role="status">
          <p><strong>${pause.reason ? t("lamp.paused_reason", { reason: t(`pause_reason.${pause.reason}`) })
            : t("lamp.paused")}</strong></p>
          <p class="figures">${duration(pause.from_us / 1000)} – ${duration(pause.to_us / 1000)}</p>
          <button type="button" class="button primary" @click=${() => player.seek(pause.to_us)}
            data-testid="skip-pause">${t("replay.skip_pause")}</button>
        </div>` : nothing}
    </div>`;
}

/**
 * @param {Replay} replay
 * @param {TrackPlayer} picture
 * @param {number} at_us
 * @param {boolean} isLarge
 * @param {(trackId: string) => void} enlarge
 */
function tile(replay, picture, at_us, isLarge, enlarge) {
  const { track } = picture;
  const missing = missingWords(picture, at_us);
  const name = trackName(replay, track);
  return html`
    <section class="tile ${isLarge ? "large" : ""}" data-testid="tile" data-track-id=${track.track_id}
      data-drift-ms=${picture.drift_ms.toFixed(1)} data-missing=${missing !== null} aria-label=${name}>
      <div class="picture ${missing === null ? "" : "missing"}">
        ${picture.element}
        ${missing === null ? nothing : html`<p class="absence">${missing}</p>`}
      </div>
      <button type="button" class="plate-button" aria-pressed=${isLarge}
        title=${t("evidence.large")} @click=${() => enlarge(track.track_id)}>
        <strong>${name}</strong> <span class="soft small">${trackPlace(track)}</span></button>
    </section>`;
}
