/** The figures behind the words: a button in the header, and the panel that it opens. */

import { html, nothing } from "/vendor/lit-html/lit-html.js";
import { bitrate, milliseconds, share } from "../format.js";
import { placeName, t } from "../texts.js";
import { Panel } from "../ui/panel.js";
import { Statistics } from "./statistics.js";

/** @import { Participant } from "../types.js" */
/** @import { Call } from "./call.js" */
/** @import { Figures } from "./statistics.js" */

const NAME = "statistics";

/** What is shown where there is no figure. */
const NONE = "–";

const TRACK_COLUMNS = [
  "statistics.track", "statistics.packets", "statistics.lost", "statistics.loss_now", "statistics.bitrate",
  "statistics.picture", "statistics.freezes", "statistics.jitter", "statistics.trip",
];
const LINE_COLUMNS = [
  "statistics.person", "statistics.line", "statistics.up_loss", "statistics.down_loss", "statistics.trip",
];

export class StatisticsPanel {
  /**
   * @param {Call} call
   * @param {() => void} changed
   */
  constructor(call, changed) {
    this.call = call;
    this.statistics = new Statistics(call, changed);
    this.panel = new Panel(changed, () => this.statistics.stop());
  }

  stop() {
    this.statistics.stop();
  }

  /** @param {Event} event */
  #toggle = (event) => {
    this.panel.toggle(NAME, event);
    if (this.panel.name) this.statistics.start();
  };

  view() {
    const open = this.panel.name === NAME;
    return html`
      <span class="anchor" @keydown=${(/** @type {KeyboardEvent} */ event) => {
        if (event.key === "Escape") this.panel.close();
      }}>
        <button type="button" class="button" aria-expanded=${open} aria-haspopup="dialog"
          aria-label=${t("statistics.open")} title=${t("statistics.open")}
          @click=${this.#toggle} data-testid="statistics">${t("statistics.button")}</button>
        ${open ? this.panel.view(t("statistics.title"), this.#tables()) : nothing}
      </span>`;
  }

  #tables() {
    const { tracks } = this.statistics;
    const received = tracks.filter(({ direction }) => direction === "in");
    const sent = tracks.filter(({ direction }) => direction === "out");
    const lines = (this.call.room?.participants ?? []).filter(({ id }) => this.call.lineOf(id));
    return html`
      <div class="figures-scroll" role="region" tabindex="0" aria-label=${t("statistics.title")}
        data-testid="statistics-tables">
        <table class="table small figures lines">
          <caption>${t("statistics.lines")}</caption>
          ${head(LINE_COLUMNS)}
          <tbody>${lines.length ? lines.map((person) => this.#line(person)) : empty(LINE_COLUMNS.length)}</tbody>
        </table>
        <table class="table small figures">
          <caption>${t("statistics.here")}</caption>
          ${head(TRACK_COLUMNS)}
          ${this.#group(t("statistics.received"), received)}
          ${this.#group(t("statistics.sent"), sent)}
        </table>
        <p class="small soft">${t("statistics.explain")}</p>
      </div>`;
  }

  /** @param {Participant} person */
  #line(person) {
    const line = this.call.lineOf(person.id);
    if (!line) return nothing;
    return html`<tr>
      <th scope="row">${person.name}
        <span class="soft">${placeName(person.site_id, person.site_name)}</span></th>
      <td class=${`class-${line.class}`}>${line.class ? t(`statistics.class_${line.class}`) : NONE}</td>
      <td>${share(line.up_loss) ?? NONE}</td>
      <td>${share(line.down_loss) ?? NONE}</td>
      <td>${milliseconds(line.rtt_ms) ?? NONE}</td>
    </tr>`;
  }

  /**
   * @param {string} title
   * @param {Figures[]} tracks
   */
  #group(title, tracks) {
    return html`<tbody>
      <tr><th class="group" scope="rowgroup" colspan=${TRACK_COLUMNS.length}>${title}</th></tr>
      ${tracks.length ? tracks.map((track) => this.#track(track)) : empty(TRACK_COLUMNS.length)}
    </tbody>`;
  }

  /** @param {Figures} track */
  #track({ participantId, source, counts, loss, kbps, picture, freezes, jitter_ms, trip_ms }) {
    return html`<tr>
      <th scope="row">${participantId ? html`${this.call.nameOf(participantId)}
        <span class="soft">${t(`source.${source}`)}</span>` : t(`source.${source}`)}</th>
      <td>${counts.packets}</td>
      <td>${counts.lost}</td>
      <td>${share(loss) ?? NONE}</td>
      <td>${bitrate(kbps) ?? NONE}</td>
      <td>${picture ? `${picture.width}×${picture.height}` : NONE}${picture?.rate
        ? html` <span class="soft">${Math.round(picture.rate)}/s</span>` : nothing}</td>
      <td>${freezes ? freezes.count : NONE}${freezes?.count
        ? html` <span class="soft">${freezes.seconds.toFixed(1)} s</span>` : nothing}</td>
      <td>${milliseconds(jitter_ms) ?? NONE}</td>
      <td>${milliseconds(trip_ms) ?? NONE}</td>
    </tr>`;
  }
}

/** @param {string[]} columns text keys */
const head = (columns) => html`<thead><tr>${columns.map((key) => html`
  <th scope="col">${t(key)}</th>`)}</tr></thead>`;

/** @param {number} columns */
const empty = (columns) => html`<tr><td class="soft" colspan=${columns}>${t("statistics.nothing")}</td></tr>`;
