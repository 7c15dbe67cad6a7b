/**
 * How everybody's picture, sound and line are: in words, and the figures behind them. Opened by a
 * button in the header. The figures draw themselves: no other part of the page is drawn for them.
 */

import { html, nothing, render } from "/vendor/lit-html/lit-html.js";
import { ref } from "/vendor/lit-html/directives/ref.js";
import { bitrate, milliseconds, share } from "../format.js";
import { placeName, t } from "../texts.js";
import { Panel } from "../ui/panel.js";
import { awayWords } from "./tile.js";
import { Statistics } from "./statistics.js";

/** @import { Participant } from "../types.js" */
/** @import { Call } from "./call.js" */
/** @import { Health } from "./health.js" */
/** @import { Figures } from "./statistics.js" */

const NAME = "statistics";

/** What is shown where there is no figure. */
const NONE = "–";

/** A server that is later than this makes sound and picture wait so that it is noticed. */
const BUSY_MS = 50;

const TRACK_COLUMNS = [
  "statistics.track", "statistics.packets", "statistics.lost", "statistics.loss_now", "statistics.bitrate",
  "statistics.layer", "statistics.picture", "statistics.freezes", "statistics.dropped", "statistics.jitter",
  "statistics.trip",
];
const LINE_COLUMNS = [
  "statistics.person", "statistics.line", "statistics.up_loss", "statistics.down_loss", "statistics.trip",
];

export class StatisticsPanel {
  /** @type {HTMLElement|null} */
  #host = null;

  /**
   * @param {Call} call
   * @param {Health} health
   * @param {() => void} changed
   */
  constructor(call, health, changed) {
    this.call = call;
    this.health = health;
    this.statistics = new Statistics(call, () => this.#draw());
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
    if (open) this.#draw();
    return html`
      <span class="anchor" @keydown=${(/** @type {KeyboardEvent} */ event) => {
        if (event.key === "Escape") this.panel.close();
      }}>
        <button type="button" class="button" aria-expanded=${open} aria-haspopup="dialog"
          aria-label=${t("statistics.open")} title=${t("statistics.open")}
          @click=${this.#toggle} data-testid="statistics">${t("statistics.button")}</button>
        ${open ? this.panel.view(t("statistics.title"), html`
          <div class="figures-scroll" role="region" tabindex="0" aria-label=${t("statistics.title")}
            data-testid="statistics-tables" ${ref(this.#housed)}></div>`) : nothing}
      </span>`;
  }

  /** @param {Element|undefined} host */
  #housed = (host) => {
    this.#host = /** @type {HTMLElement|undefined} */ (host) ?? null;
    this.#draw();
  };

  #draw() {
    if (this.#host) render(this.#content(), this.#host);
  }

  #content() {
    const people = this.call.room?.participants.filter(({ present }) => present !== "no") ?? [];
    const lag_ms = this.call.server?.lag_ms ?? null;
    return html`
      <ul class="well" data-testid="statistics-words">
        ${people.map((person) => this.#words(person))}
        ${lag_ms === null ? nothing : html`<li>
          <strong>${t("statistics.server")}</strong>
          <span class=${lag_ms > BUSY_MS ? "class-weak" : ""}>
            ${t(lag_ms > BUSY_MS ? "statistics.server_busy" : "statistics.server_good")}</span></li>`}
      </ul>
      <details>
        <summary class="button compact" data-testid="statistics-figures">${t("statistics.figures")}</summary>
        ${this.#tables(people, lag_ms)}
      </details>`;
  }

  /** One person's connection as one would say it. @param {Participant} person */
  #words(person) {
    const own = person.id === this.call.welcome?.participant_id;
    const words = person.present === "reconnecting" ? awayWords(person)
      : own ? this.health.ownWords(person.id) : this.health.words(person)?.whole ?? this.#layerWords(person);
    const line = this.call.lineOf(person.id);
    return html`<li><strong title=${person.name}>${own ? t("tile.self") : person.name}</strong>
      <span class=${words ? `class-${line?.class === "bad" ? "bad" : "weak"}` : ""}>
        ${words ?? t(line?.class ? "statistics.well" : "statistics.unknown")}</span></li>`;
  }

  /** @param {Participant} person */
  #layerWords({ tracks }) {
    if (tracks.some(({ track_id }) => this.call.isHeld(track_id))) return t("tile.held");
    return tracks.some(({ track_id }) => this.call.isReduced(track_id)) ? t("tile.reduced") : null;
  }

  /**
   * @param {Participant[]} people
   * @param {number|null} lag_ms
   */
  #tables(people, lag_ms) {
    const { tracks } = this.statistics;
    const lines = people.filter(({ id }) => this.call.lineOf(id));
    const seats = new Map(people.map(({ id }, n) => [id, n]));
    const received = tracks.filter(({ direction }) => direction === "in")
      .sort((a, b) => (seats.get(a.participantId ?? "") ?? 99) - (seats.get(b.participantId ?? "") ?? 99));
    const sent = tracks.filter(({ direction }) => direction === "out");
    return html`
      <table class="table small figures lines">
        <caption>${t("statistics.lines")}</caption>
        ${head(LINE_COLUMNS)}
        <tbody>${lines.length ? lines.map((person) => this.#line(person)) : empty(LINE_COLUMNS.length)}</tbody>
      </table>
      <p class="small figures">${t("statistics.lag", { lag: milliseconds(lag_ms) ?? NONE })}</p>
      <table class="table small figures">
        <caption>${t("statistics.here")}</caption>
        ${head(TRACK_COLUMNS)}
        ${this.#group(t("statistics.received"), received)}
        ${this.#group(t("statistics.sent"), sent)}
      </table>
      <p class="small soft">${t("statistics.explain")}</p>`;
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
      ${tracks.length ? tracks.map((track, n) => this.#track(track, tracks[n - 1]?.participantId))
        : empty(TRACK_COLUMNS.length)}
    </tbody>`;
  }

  /**
   * @param {Figures} track
   * @param {string|null|undefined} before whose the row above is
   */
  #track(track, before) {
    const { participantId, source, counts, loss, kbps, picture, freezes, dropped, jitter_ms, trip_ms } = track;
    const again = participantId === before;
    return html`<tr class=${again ? "again" : ""}>
      <th scope="row">${participantId ? html`<span class=${again ? "visually-hidden" : ""}>
        ${this.call.nameOf(participantId)}</span> <span class="soft">${t(`source.${source}`)}</span>`
        : t(`source.${source}`)}</th>
      <td>${counts.packets}</td>
      <td>${counts.lost}</td>
      <td>${share(loss) ?? NONE}</td>
      <td>${bitrate(kbps) ?? NONE}</td>
      <td>${this.#layer(track)}</td>
      <td>${picture ? `${picture.width}×${picture.height}` : NONE}${picture?.rate
        ? html` <span class="soft">${Math.round(picture.rate)}/s</span>` : nothing}</td>
      <td>${freezes ? freezes.count : NONE}${freezes?.count
        ? html` <span class="soft">${freezes.seconds.toFixed(1)} s</span>` : nothing}</td>
      <td>${dropped ?? NONE}</td>
      <td>${milliseconds(jitter_ms) ?? NONE}</td>
      <td>${milliseconds(trip_ms) ?? NONE}</td>
    </tr>`;
  }

  /** Which size of a picture it is, and why not a better one. @param {Figures} track */
  #layer({ trackId, rid }) {
    if (!trackId) return rid ? t(`statistics.layer_${rid}`) : NONE;
    const layer = this.call.layers[trackId];
    if (!layer) return NONE;
    return html`${t(layer.rid ? `statistics.layer_${layer.rid}` : "statistics.layer_none")}
      ${layer.reason ? html`<span class="soft">${t(`statistics.reason_${layer.reason}`)}</span>` : nothing}`;
  }
}

/** @param {string[]} columns text keys */
const head = (columns) => html`<thead><tr>${columns.map((key) => html`
  <th scope="col">${t(key)}</th>`)}</tr></thead>`;

/** @param {number} columns */
const empty = (columns) => html`<tr><td class="soft" colspan=${columns}>${t("statistics.nothing")}</td></tr>`;
