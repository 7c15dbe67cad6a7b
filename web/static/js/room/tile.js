/** One place on the stage: a picture with its name plate, or what stands there while there is none. */

import { html, nothing } from "/vendor/lit-html/lit-html.js";
import { second } from "../format.js";
import { placeName, t } from "../texts.js";

/** @import { Participant, Source, Track } from "../types.js" */
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
 * What is said of somebody whose line is broken.
 * @param {Participant} participant
 */
export function awayWords({ away_since }) {
  return t("tile.reconnecting", { time: away_since ? second(new Date(away_since)) : "" });
}

/**
 * What is said instead of a picture; in a tiny place, in fewer words.
 * @param {Call} call
 * @param {Participant} participant
 * @param {{hasTrack: boolean, covered: boolean, held: boolean}} picture
 */
function absence(call, participant, picture) {
  const { whole, short } = whyAbsent(call, participant, picture);
  return html`<p class="absence" title=${whole}><span class=${short ? "not-tiny" : ""}>${whole}</span>
    ${short ? html`<span class="only-tiny" aria-hidden="true">${short}</span>` : nothing}</p>`;
}

/**
 * @param {Call} call
 * @param {Participant} participant
 * @param {{hasTrack: boolean, covered: boolean, held: boolean}} picture
 * @returns {{whole: string, short?: string}}
 */
function whyAbsent(call, participant, { hasTrack, covered, held }) {
  if (isOver(call)) return { whole: t("tile.ended") };
  if (participant.present === "no") return { whole: t("tile.not_here") };
  if (participant.present === "reconnecting") {
    return { whole: awayWords(participant), short: t("tile.short_reconnecting") };
  }
  if (covered) return { whole: t("tile.covered") };
  if (held) return { whole: t("tile.held"), short: t("tile.short_held") };
  return { whole: t(hasTrack ? "tile.connecting" : "tile.no_camera") };
}

/**
 * What is to be said of somebody's picture, sound and line.
 * @param {Scene} scene
 * @param {Participant} participant
 * @param {Track|undefined} track the one that is shown
 * @returns {{whole: string, short: string}|null}
 */
function trouble({ call, health }, participant, track) {
  if (participant.present === "reconnecting") {
    return { whole: awayWords(participant), short: t("tile.short_reconnecting") };
  }
  const words = health.words(participant);
  if (words || !track || !call.isReduced(track.track_id)) return words;
  return { whole: t("tile.reduced"), short: t("tile.short_reduced") };
}

/**
 * A participant's seat with one of their pictures.
 * @param {Scene} scene
 * @param {Participant} participant
 * @param {{place: string, source?: Source, own?: boolean, onStage?: boolean, large?: boolean,
 *   speaking?: boolean, number?: string, overlay?: unknown}} options place: its key; large: there is
 *   room for whole sentences; number: the key that puts it on the stage; overlay: what lies on it
 */
export function seat(scene, participant, options) {
  const { place, source = "camera", own = false, onStage = false, large = false, speaking = false, number = "" } = options;
  const { call, elements } = scene;
  const track = participant.tracks.find((each) => each.source === source);
  const microphone = participant.tracks.find((each) => each.source === "microphone");
  const key = own ? `self-${source}` : track?.track_id ?? "";
  const media = own ? call.tracks[source] : call.subscriber?.tracks.get(key)?.media;
  const gone = participant.present === "no";
  const covered = Boolean(track?.muted || (own && call.muted.has(source)));
  const held = !own && Boolean(track) && call.isHeld(key);
  const showing = media && !covered && !gone;
  const said = participant.present === "reconnecting" && !media;
  const problem = own || gone || said || isOver(call) ? null : trouble(scene, participant, track);
  const words = problem ? html`<p class="weak small" role="status" title=${problem.whole}>
    ${large ? problem.whole : problem.short}</p>` : nothing;
  return html`
    <section class="tile ${own ? "self" : ""} ${held && showing ? "held" : ""} ${speaking ? "speaking" : ""}"
      data-testid="tile" data-place=${place} data-track-id=${track?.track_id ?? ""}
      data-participant-id=${participant.id} data-present=${participant.present}
      data-on-stage=${onStage} aria-label=${participant.name}>
      <div class="picture">
        ${showing ? elements.video(key, media) : nothing}
        ${showing && !held && elements.hasPicture(key) ? nothing
          : absence(call, participant, { hasTrack: Boolean(track), covered, held })}
        ${large ? nothing : words}
        ${options.overlay ?? nothing}
      </div>
      <footer class="plate">
        <p class="who">${number ? html`<kbd class="soft" aria-hidden="true">${number}</kbd>` : nothing}
          <strong title=${participant.name}>${own ? t("tile.self") : participant.name}</strong>
          ${speaking ? html`<span class="visually-hidden">${t("tile.speaking")}</span>` : nothing}
          <span class="role soft">${own ? participant.name : t(`role.${participant.role}`)}</span>
          ${microphone?.muted ? html`<span class="tag attention">${t("tile.muted")}</span>` : nothing}
          ${!gone && participant.present === "yes" && !microphone && participant.role !== "observer"
            ? html`<span class="tag">${t("tile.no_microphone")}</span>` : nothing}</p>
        ${large ? words : nothing}
        <p class="small soft where">${gone || isOver(call) ? nothing : audience(call, participant.id, !large)}
          <span class="site">${placeName(participant.site_id, participant.site_name)}</span></p>
      </footer>
    </section>`;
}

/**
 * What is on the evidence display, or that nothing is. Its place stays the same.
 * @param {Scene} scene
 * @param {unknown} [actions]
 */
export function evidence({ call, elements }, actions = nothing) {
  const shown = evidenceTrack(call);
  const key = shown?.own ? "self-evidence_display" : shown?.track.track_id ?? "";
  const media = shown?.own ? call.exhibit?.track : call.subscriber?.tracks.get(key)?.media;
  const held = Boolean(shown) && !shown?.own && call.isHeld(key);
  const names = shown ? audienceOf(call, shown.owner.id).join(t("list_separator")) : "";
  return html`
    <section class="tile evidence ${held && media ? "held" : ""}" data-testid="evidence" data-place="evidence"
      data-track-id=${shown?.track.track_id ?? ""} aria-label=${t("evidence.title")}>
      <div class="picture">
        ${media ? elements.video(key, media) : nothing}
        ${media && !held && elements.hasPicture(key) ? nothing : html`
          <p class="absence">${t(held ? "tile.held" : shown ? "tile.connecting" : "evidence.none")}</p>`}
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
