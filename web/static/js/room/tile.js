/** One place on the stage: a picture with its name plate, or what stands there while there is none. */

import { html, nothing } from "/vendor/lit-html/lit-html.js";
import { placeName, t } from "../texts.js";

/** @import { Participant, Source } from "../types.js" */
/** @import { Call } from "./call.js" */
/** @import { Health } from "./health.js" */
/** @import { MediaElements } from "./media_elements.js" */

/** @typedef {{call: Call, elements: MediaElements, health: Health}} Scene */

/** Phases in which picture and sound are no longer passed on. */
const ENDED = new Set(["closing", "closed", "sealed"]);

/** @param {Call} call */
const isOver = (call) => ENDED.has(call.room?.phase ?? "");

/**
 * Everybody present except one, who therefore hear and see that one.
 * @param {Call} call
 * @param {string} participantId
 */
export function audienceOf(call, participantId) {
  return (call.room?.participants ?? [])
    .filter(({ id, present }) => id !== participantId && present !== "no")
    .map(({ name }) => name);
}

/**
 * Who hears and sees somebody: all names, or in a small tile how many, with the names in the title.
 * @param {Call} call
 * @param {string} participantId
 * @param {boolean} small
 */
function audience(call, participantId, small) {
  const people = audienceOf(call, participantId);
  const names = people.join(t("list_separator"));
  const text = names ? t("tile.audience", { names }) : t("tile.audience_none");
  return html`<span class="audience" title=${text}>${small && names
    ? t("tile.audience_count", { count: people.length }) : text}</span>`;
}

/**
 * What is said instead of a picture.
 * @param {Call} call
 * @param {Participant} participant
 * @param {{hasTrack: boolean, covered: boolean}} picture
 */
function absence(call, participant, { hasTrack, covered }) {
  if (isOver(call)) return t("tile.ended");
  if (participant.present === "no") return t("tile.not_here");
  if (participant.present === "reconnecting") return t("tile.reconnecting");
  if (covered) return t("tile.covered");
  return hasTrack ? t("tile.connecting") : t("tile.no_camera");
}

/**
 * A participant's seat with one of their pictures.
 * @param {Scene} scene
 * @param {Participant} participant
 * @param {{source?: Source, name: string, own?: boolean}} place name: CSS class of the place
 */
export function seat(scene, participant, { source = "camera", name, own = false }) {
  const { call, elements, health } = scene;
  const track = participant.tracks.find((each) => each.source === source);
  const microphone = participant.tracks.find((each) => each.source === "microphone");
  const key = own ? `self-${source}` : track?.track_id ?? "";
  const media = own ? call.tracks[source] : call.subscriber?.tracks.get(key)?.media;
  const gone = participant.present === "no";
  const covered = track?.muted || (own && call.muted.has(source));
  const showing = media && !covered && !gone;
  const words = own || gone || isOver(call) ? null : health.words(participant);
  const away = participant.present === "reconnecting" ? t("tile.reconnecting") : null;
  const problem = away ?? (name === "large" ? words?.whole : words?.short);
  return html`
    <section class="tile ${name}" data-testid="tile" data-track-id=${track?.track_id ?? ""}
      data-participant-id=${participant.id} data-present=${participant.present}
      aria-label=${participant.name}>
      <div class="picture">
        ${showing ? elements.video(key, media) : nothing}
        ${showing && elements.hasPicture(key) ? nothing : html`
          <p class="absence">${absence(call, participant, { hasTrack: Boolean(track), covered: Boolean(covered) })}</p>`}
      </div>
      <footer class="plate">
        <p class="who"><strong>${own ? t("tile.self") : participant.name}</strong>
          <span class="soft">${own ? participant.name : t(`role.${participant.role}`)}</span>
          ${microphone?.muted ? html`<span class="tag attention">${t("tile.muted")}</span>` : nothing}
          ${!gone && participant.present === "yes" && !microphone && participant.role !== "observer"
            ? html`<span class="tag">${t("tile.no_microphone")}</span>` : nothing}</p>
        ${problem ? html`<p class="weak small" role="status" title=${away ?? words?.whole ?? ""}>${problem}</p>` : nothing}
        <p class="small soft where">${gone || isOver(call) ? nothing : audience(call, participant.id, name !== "large")}
          <span class="site">${placeName(participant.site_id, participant.site_name)}</span></p>
      </footer>
    </section>`;
}

/**
 * What is on the evidence display, or that nothing is. Its place stays the same.
 * @param {Scene} scene
 * @param {{name: string, actions?: unknown}} place
 */
export function evidence({ call, elements }, { name, actions = nothing }) {
  const shown = evidenceTrack(call);
  const key = shown?.own ? "self-evidence_display" : shown?.track.track_id ?? "";
  const media = shown?.own ? call.exhibit?.track : call.subscriber?.tracks.get(key)?.media;
  const names = shown ? audienceOf(call, shown.owner.id).join(t("list_separator")) : "";
  return html`
    <section class="tile evidence ${name}" data-testid="evidence"
      data-track-id=${shown?.track.track_id ?? ""} aria-label=${t("evidence.title")}>
      <div class="picture">
        ${media ? elements.video(key, media) : nothing}
        ${media && elements.hasPicture(key) ? nothing : html`
          <p class="absence">${shown ? t("tile.connecting") : t("evidence.none")}</p>`}
      </div>
      <footer class="plate">
        <p class="who"><strong>${t("evidence.title")}</strong> ${actions}</p>
        <p class="small soft where">${shown
          ? html`<span class="audience" title=${names}>
              ${t("evidence.shown", { name: shown.owner.name, names: names || t("evidence.nobody") })}</span>`
          : html`<span class="audience">${t("evidence.hint")}</span>`}</p>
      </footer>
    </section>`;
}

/**
 * The track on the evidence display, if any: evidence display before document camera.
 * @param {Call} call
 */
export function evidenceTrack(call) {
  if (isOver(call)) return null;
  for (const source of /** @type {Source[]} */ (["evidence_display", "document_camera"])) {
    for (const owner of call.room?.participants ?? []) {
      const track = owner.tracks.find((each) => each.source === source);
      const own = owner.id === call.welcome?.participant_id;
      if (track) return { track, owner, own };
    }
  }
  return null;
}
