/**
 * The stage of the room: the subject large, the evidence display and the other seats beside, the
 * journal below them. Seats belong to people and stay theirs whether they are there or not.
 */

import { html, nothing } from "/vendor/lit-html/lit-html.js";
import { repeat } from "/vendor/lit-html/directives/repeat.js";
import { duration } from "../format.js";
import { eventText } from "../event_text.js";
import { t } from "../texts.js";
import { icons } from "../ui/icons.js";
import { evidence, evidenceTrack, seat } from "./tile.js";

/** @import { Participant, RoomEvent } from "../types.js" */
/** @import { Call } from "./call.js" */
/** @import { Scene } from "./tile.js" */

/** Events that the journal leaves out: they show on the stage by themselves. */
const QUIET = new Set(["track_published", "track_unpublished", "track_muted"]);

/**
 * @param {Scene} scene
 * @param {{evidenceLarge: boolean, toggleEvidence: () => void, stopShowing: () => void}} options
 */
export function stage(scene, { evidenceLarge, toggleEvidence, stopShowing }) {
  const { call } = scene;
  const everybody = call.room?.participants ?? [];
  const me = call.me;
  const large = everybody.find(({ role, id }) => role === "subject" && id !== me?.id)
    ?? everybody.find(({ id }) => id !== me?.id);
  const seats = everybody.filter(
    (person) => person !== large && person.id !== me?.id && person.role !== "observer",
  );
  const wide = large?.tracks.find(({ source }) => source === "wide_camera");
  const shown = evidenceTrack(call);
  const actions = html`
    ${shown ? html`<button type="button" class="button compact" @click=${toggleEvidence}
      aria-pressed=${evidenceLarge} title=${t(evidenceLarge ? "evidence.small" : "evidence.large")}
      aria-label=${t("evidence.large")} data-testid="enlarge-evidence">${icons.enlarge()}</button>` : nothing}
    ${shown?.own ? html`<button type="button" class="button compact" @click=${stopShowing}
      data-testid="stop-evidence">${t("evidence.stop")}</button>` : nothing}`;
  return html`
    <div class="stage ${evidenceLarge && shown ? "evidence-large" : ""}" data-testid="stage">
      ${large ? seat(scene, large, { name: "large" }) : nothing}
      ${large && wide ? seat(scene, large, { name: "wide", source: "wide_camera" }) : nothing}
      ${evidence(scene, { name: "", actions })}
      <div class="side">
        <div class="seats">
          ${repeat(seats, ({ id }) => id, (person) => seat(scene, person, { name: "small" }))}
          ${me && me.role !== "observer" ? seat(scene, me, { name: "small self", own: true }) : nothing}
        </div>
        ${observers(everybody)}
        ${journal(call)}
      </div>
    </div>`;
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
