/**
 * The stage of the room: who is on it, large; the evidence display; everybody's seat; the journal.
 * Seats belong to people and stay theirs whether they are there or not. Everything is a child of the
 * one stage and in the order of the seats, whatever the layout: a picture that is moved within the
 * document would stop. Where each stands is set by `Staging.place`.
 */

import { html, nothing } from "/vendor/lit-html/lit-html.js";
import { repeat } from "/vendor/lit-html/directives/repeat.js";
import { duration } from "../format.js";
import { eventText } from "../event_text.js";
import { t } from "../texts.js";
import { icons } from "../ui/icons.js";
import { emptySeat } from "./arrange.js";
import { evidence, evidenceTrack, seat } from "./tile.js";

/** @import { Participant, RoomEvent } from "../types.js" */
/** @import { Call } from "./call.js" */
/** @import { Staging } from "./staging.js" */
/** @import { Scene } from "./tile.js" */

/** Events that the journal leaves out: they show on the stage by themselves. */
const QUIET = new Set(["track_published", "track_unpublished", "track_muted"]);

/**
 * @param {Scene} scene
 * @param {Staging} staging
 */
export function stage(scene, staging) {
  const { call } = scene;
  const shown = evidenceTrack(call);
  const enlarged = staging.mode === "evidence";
  const actions = html`
    ${shown ? html`<button type="button" class="button compact" @click=${() => staging.toggleEvidence()}
      aria-pressed=${enlarged} title=${t(enlarged ? "evidence.small" : "evidence.large")}
      aria-label=${t("evidence.large")} data-testid="enlarge-evidence">${icons.enlarge()}</button>` : nothing}
    ${shown?.own ? html`<button type="button" class="button compact" @click=${() => call.stopShowing()}
      data-testid="stop-evidence">${t("evidence.stop")}</button>` : nothing}`;
  return html`
    <div class="stage" data-testid="stage" data-mode=${staging.mode}>
      ${faces(scene, staging)}
      ${evidence(scene, actions)}
      <div class="side" data-place="side">
        ${observers(call.room?.participants ?? [])}
        ${journal(call)}
      </div>
    </div>`;
}

/**
 * Everybody's picture, in the order of the seats.
 * @param {Scene} scene
 * @param {Staging} staging
 */
export function faces(scene, staging) {
  const { call } = scene;
  const [first] = staging.large;
  const wide = staging.seats.find(({ id, tracks }) => id === first && staging.isLarge(id)
    && tracks.some(({ source }) => source === "wide_camera"));
  return html`
    ${repeat(staging.seats, ({ id }) => id, (person) => {
      const large = staging.isLarge(person.id);
      return html`${seat(scene, person, {
        place: person.id,
        own: person.id === call.welcome?.participant_id,
        onStage: large,
        large: large && staging.mode === "stage",
        speaking: staging.isSpeaking(person.id),
        number: staging.numberOf(person.id),
        overlay: staging.pin(person),
      })}
      ${large && staging.isChoice ? html`<p class="empty-seat small soft" data-place=${emptySeat(person.id)}>
        <strong>${person.name}</strong> ${t("stage.is_on")}</p>` : nothing}`;
    })}
    ${wide ? seat(scene, wide, { place: "wide", source: "wide_camera" }) : nothing}`;
}

/** @param {Participant[]} everybody */
export function observers(everybody) {
  const names = everybody.filter(({ role, present }) => role === "observer" && present !== "no")
    .map(({ name }) => name);
  return html`<p class="observers small" role="status">${names.length
    ? t("room.observers", { names: names.join(t("list_separator")) }) : t("room.observers_none")}</p>`;
}

/** @param {Call} call */
function journal(call) {
  const events = call.events.filter(({ type }) => !QUIET.has(type)).reverse();
  return html`
    <p class="visually-hidden" role="status">${events.length
      ? eventText(events[0], (id) => call.nameOf(id)) : nothing}</p>
    <section class="journal" aria-label=${t("room.journal")} tabindex="0">
      <h2 class="small soft">${t("room.journal")}</h2>
      <ol class="small">
        ${events.length ? events.map((event) => html`<li>${moment(event)}
            <span>${eventText(event, (id) => call.nameOf(id))}</span></li>`)
          : html`<li class="soft">${t("room.journal_empty")}</li>`}
      </ol>
    </section>`;
}

/** @param {RoomEvent} event */
function moment(event) {
  return html`<span class="figures soft">${typeof event.t_us === "number"
    ? duration(event.t_us / 1000) : "—"}</span>`;
}
