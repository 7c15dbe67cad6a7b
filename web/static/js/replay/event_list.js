/** The session's events as a list that follows the time; each is a way to jump there. */

import { html } from "/vendor/lit-html/lit-html.js";
import { duration } from "../format.js";
import { eventText } from "../event_text.js";
import { t } from "../texts.js";
import { nameOf } from "./words.js";

/** @import { Player } from "./player.js" */

/** @param {Player} player */
export function eventList(player) {
  const { replay } = player;
  const at_us = player.position_us;
  const events = replay.events.filter(({ t_us }) => typeof t_us === "number");
  const current = events.filter(({ t_us }) => (t_us ?? 0) <= at_us).at(-1);
  return html`
    <section class="events" aria-label=${t("replay.events")}>
      <h2>${t("replay.events")}</h2>
      <ol data-testid="events">
        ${events.map((event) => html`<li>
          <button type="button" class="event-button" aria-current=${event === current}
            data-event-type=${event.type} @click=${() => player.seek(event.t_us ?? 0)}>
            <span class="figures soft">${duration((event.t_us ?? 0) / 1000)}</span>
            <span>${eventText(event, (id) => nameOf(replay, id))}</span></button></li>`)}
      </ol>
    </section>`;
}
