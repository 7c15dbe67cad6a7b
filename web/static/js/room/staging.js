/**
 * How the stage is arranged on this page: the layout, who is on the stage, and the keys for both.
 * Layout and pinning are this person's own; nothing of it is told to others.
 */

import { html, nothing } from "/vendor/lit-html/lit-html.js";
import { t } from "../texts.js";
import { Panel } from "../ui/panel.js";
import { arrange } from "./arrange.js";
import { StageChoice } from "./stage_choice.js";
import { evidenceTrack } from "./tile.js";

/** @import { Participant } from "../types.js" */
/** @import { Mode } from "./arrange.js" */
/** @import { Call } from "./call.js" */

const NAME = "layout";
const KEYS_OFF = "tingxun.keys_off";
const STEPS = { ArrowLeft: -1, ArrowUp: -1, ArrowRight: 1, ArrowDown: 1 };
/** Where a key means something else. */
const TAKEN = "input, select, textarea, .panel, .journal, .figures-scroll";

export class Staging {
  /** @type {"stage"|"grid"} */
  #layout = "stage";
  #evidenceLarge = false;
  /** Single keys can be a hindrance to those who dictate: they can be turned off. */
  #keys = localStorage.getItem(KEYS_OFF) === null;
  #choice = new StageChoice();
  /** @type {string|null} whose picture the keyboard is at */
  #at = null;
  /** @type {HTMLElement|null} */
  #stage = null;
  /** @type {string[]} */
  large = [];

  /**
   * @param {Call} call
   * @param {() => void} changed
   */
  constructor(call, changed) {
    this.call = call;
    this.changed = changed;
    this.panel = new Panel(changed);
    this.resized = new ResizeObserver(() => this.place());
    document.addEventListener("keydown", this.#pressed);
  }

  stop() {
    this.resized.disconnect();
    document.removeEventListener("keydown", this.#pressed);
  }

  /** Whether this is the screen at the detention site, where nothing can be chosen. */
  get kiosk() {
    return this.call.me?.role === "subject";
  }

  /** Everybody who has a seat, in order. */
  get seats() {
    return this.call.room?.participants.filter(({ role }) => role !== "observer") ?? [];
  }

  /** Who can be on the stage: never oneself. */
  get others() {
    const own = this.call.welcome?.participant_id;
    return this.seats.filter(({ id }) => id !== own);
  }

  /** Whether there is anything to choose: with one other there is not. */
  get isChoice() {
    return this.others.length > 1;
  }

  /** @returns {Mode} */
  get mode() {
    if (evidenceTrack(this.call) && (this.kiosk || this.#evidenceLarge)) return "evidence";
    return this.kiosk ? "stage" : this.#layout;
  }

  /** Decides who is on the stage now; before each drawing. */
  look() {
    if (!evidenceTrack(this.call)) this.#evidenceLarge = false;
    const { others } = this;
    const subject = others.find(({ role, present }) => role === "subject" && present !== "no")
      ?? others.find(({ role }) => role === "subject");
    const home = (this.kiosk ? others[0] : subject)?.id ?? null;
    this.large = this.#choice.take(others.map(({ id, present }) => ({ id, here: present !== "no" })),
      { speaker: this.isChoice ? this.call.speaker : null, home }, performance.now());
  }

  /** @param {string} id of a participant */
  isLarge(id) {
    return this.mode !== "grid" && this.large.slice(0, this.mode === "evidence" ? 1 : 2).includes(id);
  }

  /** @param {string} id of a participant */
  isSpeaking(id) {
    return this.isChoice && this.call.speaker === id;
  }

  /** Puts everything in its place; after each drawing, and when the window changes. */
  place() {
    const stage = /** @type {HTMLElement|null} */ (document.querySelector(".stage"));
    if (stage !== this.#stage) {
      this.resized.disconnect();
      if (stage) this.resized.observe(stage);
      this.#stage = stage;
    }
    if (!stage) return;
    const places = arrange({
      width: stage.clientWidth,
      height: stage.clientHeight,
      rem: parseFloat(getComputedStyle(document.documentElement).fontSize),
      mode: this.mode,
      seats: this.seats.map(({ id }) => id),
      large: this.large,
      alternatives: this.isChoice,
      showing: evidenceTrack(this.call) !== null,
      kiosk: this.kiosk,
    });
    for (const each of stage.children) {
      const element = /** @type {HTMLElement} */ (each);
      const place = places.get(element.dataset.place ?? "");
      element.hidden = !place;
      if (!place) continue;
      element.dataset.size = place.size;
      for (const [name, of] of /** @type {const} */ ([["left", "x"], ["top", "y"], ["width", "width"], ["height", "height"]])) {
        element.style[name] = `${place[of].toFixed(1)}px`;
      }
    }
  }

  toggleEvidence() {
    this.#evidenceLarge = !this.#evidenceLarge;
    this.changed();
  }

  /** @param {Mode} mode */
  #choose(mode) {
    this.#evidenceLarge = mode === "evidence";
    if (mode !== "evidence") this.#layout = mode;
    this.changed();
  }

  /** Puts somebody on the stage or takes them off it. @param {string} id */
  #toggle(id) {
    if (this.mode === "grid") {
      this.#layout = "stage";
      this.#choice.release();
    }
    this.#choice.toggle(id);
    this.changed();
  }

  #release() {
    this.#choice.release();
    this.changed();
  }

  /**
   * What lies on somebody's picture: pressing it keeps them on the stage.
   * @param {Participant} participant
   */
  pin({ id, name }) {
    if (!this.isChoice || this.kiosk || !this.others.some((other) => other.id === id)) return nothing;
    const pinned = this.#choice.pinned.includes(id);
    const words = t(pinned ? "stage.let_go" : "stage.keep", { name });
    return html`<button type="button" class="pin" aria-pressed=${pinned} aria-label=${words} title=${words}
      tabindex=${(this.#at ?? this.others[0]?.id) === id ? 0 : -1} data-testid="pin" data-pin=${id}
      @focus=${() => { this.#at = id; }} @click=${() => this.#toggle(id)}>
      ${pinned ? html`<span class="tag">${t("stage.kept")}</span>` : nothing}</button>`;
  }

  /** The key that puts somebody on the stage. @param {string} id */
  numberOf(id) {
    const n = this.others.findIndex((other) => other.id === id);
    return this.#keys && this.isChoice && !this.kiosk && n >= 0 && n < 10 ? String((n + 1) % 10) : "";
  }

  /** The button in the header, and what it opens. */
  view() {
    if (!this.isChoice || this.kiosk) return nothing;
    const open = this.panel.name === NAME;
    return html`
      <span class="anchor" @keydown=${(/** @type {KeyboardEvent} */ event) => {
        if (event.key === "Escape") this.panel.close();
      }}>
        <button type="button" class="button" aria-expanded=${open} aria-haspopup="dialog" data-testid="layout"
          @click=${(/** @type {Event} */ event) => this.panel.toggle(NAME, event)}>${t("stage.layout")}</button>
        ${open ? this.panel.view(t("stage.layout"), this.#choices(), { narrow: true }) : nothing}
      </span>`;
  }

  #choices() {
    const showing = evidenceTrack(this.call) !== null;
    return html`
      <div class="stack">
        <fieldset class="stack-tight">
          <legend class="visually-hidden">${t("stage.layout")}</legend>
          ${/** @type {Mode[]} */ (["stage", "grid", "evidence"]).map((mode) => html`
            <label class="choice"><input type="radio" name="layout" .checked=${this.mode === mode}
              ?disabled=${mode === "evidence" && !showing} data-testid="layout-${mode}"
              @change=${() => this.#choose(mode)}> ${t(`stage.mode_${mode}`)}</label>`)}
        </fieldset>
        <p class="small soft">${t("stage.explain")}</p>
        <button type="button" class="button" ?disabled=${!this.#choice.pinned.length} data-testid="release"
          @click=${() => this.#release()}>${t("stage.release")}</button>
        <label class="choice"><input type="checkbox" .checked=${this.#keys} data-testid="layout-keys"
          @change=${(/** @type {Event} */ event) => this.#useKeys(/** @type {HTMLInputElement} */ (event.target).checked)}>
          ${t("stage.keys")}</label>
        <p class="small soft">${t("stage.keys_are")}</p>
      </div>`;
  }

  /** @param {boolean} wanted */
  #useKeys(wanted) {
    this.#keys = wanted;
    if (wanted) localStorage.removeItem(KEYS_OFF);
    else localStorage.setItem(KEYS_OFF, "1");
    this.changed();
  }

  /** @param {KeyboardEvent} event */
  #pressed = (event) => {
    const { key, target } = event;
    const taken = !(target instanceof Element) || target.closest(TAKEN) || event.ctrlKey || event.altKey || event.metaKey;
    if (taken || !this.isChoice || this.kiosk) return;
    const step = STEPS[/** @type {keyof typeof STEPS} */ (key)];
    if (step && (target === document.body || target.classList.contains("pin"))) this.#move(step);
    else if (!this.#keys) return;
    else if (key.toLowerCase() === "v") this.#nextMode();
    else if (key === "Escape") this.#release();
    else if (/^\d$/.test(key) && this.others[(Number(key) + 9) % 10]) this.#toggle(this.others[(Number(key) + 9) % 10].id);
    else return;
    event.preventDefault();
  };

  #nextMode() {
    /** @type {Mode[]} */
    const modes = evidenceTrack(this.call) ? ["stage", "grid", "evidence"] : ["stage", "grid"];
    this.#choose(modes[(modes.indexOf(this.mode) + 1) % modes.length]);
  }

  /** Moves the keyboard to the picture of the next seat, or of the one before. @param {number} step */
  #move(step) {
    const ids = this.others.map(({ id }) => id);
    const now = document.activeElement?.classList.contains("pin") ? ids.indexOf(this.#at ?? "") : step > 0 ? -1 : ids.length;
    const next = ids[Math.min(Math.max(now + step, 0), ids.length - 1)];
    /** @type {HTMLElement|null} */ (document.querySelector(`[data-pin="${CSS.escape(next)}"]`))?.focus();
    this.changed();
  }
}
