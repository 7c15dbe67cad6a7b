/** The controls of the room: own devices, evidence, markers, and the session's one next step. */

import { html, nothing } from "/vendor/lit-html/lit-html.js";
import { live } from "/vendor/lit-html/directives/live.js";
import { showFile, showScreen } from "../evidence.js";
import { codeOf } from "../http.js";
import { errorText, t } from "../texts.js";
import { HoldButton } from "../ui/hold_button.js";
import { icons } from "../ui/icons.js";
import { Panel } from "../ui/panel.js";
import { DeviceChoice } from "./device_choice.js";
import { nextStep } from "./next_step.js";

/** @import { Call } from "./call.js" */

const PAUSE_REASONS = [
  "rest", "meal", "medical", "technical", "consult_counsel", "lawyer_request", "other",
];

export class Controls {
  /** @type {string|null} what the last action was refused for */
  #problem = null;
  #done = "";
  #asking = false;
  #typedCase = "";
  #note = "";

  /**
   * @param {Call} call
   * @param {() => void} changed
   * @param {string|null} replayAddress where the sealed session can be seen, once it is known
   */
  constructor(call, changed, replayAddress = null) {
    this.call = call;
    this.changed = changed;
    this.replayAddress = replayAddress;
    this.panel = new Panel(changed);
    this.devices = new DeviceChoice(changed, (device, id) => call.changeDevice(device, id));
    this.closing = new HoldButton(changed, () => this.#ask(
      { type: "close", case_number: this.#typedCase.trim() }));
  }

  /**
   * Asks for a change of the session and says here what came of it.
   * @param {object} message
   * @param {string} [done] what to say when it is done and nothing else shows it
   */
  async #ask(message, done = "") {
    this.#asking = true;
    this.#problem = null;
    this.#done = "";
    this.changed();
    try {
      await this.call.ask(message);
      this.#done = done;
      if (this.panel.name) this.panel.close();
      this.#note = "";
      this.#typedCase = "";
    } catch (cause) {
      this.#problem = codeOf(cause);
    } finally {
      this.#asking = false;
      this.changed();
    }
  }

  /** @param {() => Promise<import("../evidence.js").Exhibit|null>} choose */
  async #show(choose) {
    this.panel.close();
    this.#problem = null;
    try {
      const exhibit = await choose();
      if (exhibit) await this.call.show(exhibit);
    } catch {
      this.#problem = "media_file_broken";
      this.changed();
    }
  }

  /** Whether nothing can be asked of the server at the moment. */
  get #cut() {
    return this.call.link !== "open";
  }

  view() {
    return html`
      <footer class="controls" role="toolbar" aria-label=${t("controls.label")}
        @keydown=${(/** @type {KeyboardEvent} */ event) => { if (event.key === "Escape") this.panel.close(); }}>
        ${this.call.may("publish") && !this.call.over ? this.#own() : nothing}
        ${this.call.may("mark") && !this.call.over ? this.#marker() : nothing}
        ${this.#session()}
      </footer>`;
  }

  /** Own microphone, camera, devices, evidence. */
  #own() {
    return html`
      <div class="row">
        ${this.#toggle("microphone", icons.microphone, icons.microphoneOff)}
        ${this.#toggle("camera", icons.camera, icons.cameraOff)}
        <span class="anchor">
          <button type="button" class="button" aria-expanded=${this.panel.name === "devices"}
            @click=${(/** @type {Event} */ event) => { this.devices.refresh(); this.panel.toggle("devices", event); }}>
            ${t("controls.devices")}</button>
          ${this.panel.name === "devices" ? this.panel.view(t("controls.devices"), html`
            <div class="stack">
              ${this.devices.view("camera", this.call.tracks.camera)}
              ${this.devices.view("microphone", this.call.tracks.microphone)}
            </div>`) : nothing}
        </span>
        <span class="anchor">
          <button type="button" class="button" aria-expanded=${this.panel.name === "evidence"}
            @click=${(/** @type {Event} */ event) => this.panel.toggle("evidence", event)}
            data-testid="show-evidence">${icons.screen()} ${t("controls.evidence")}</button>
          ${this.panel.name === "evidence" ? this.#evidencePanel() : nothing}
        </span>
      </div>`;
  }

  /**
   * @param {"microphone"|"camera"} source
   * @param {() => unknown} on
   * @param {() => unknown} off
   */
  #toggle(source, on, off) {
    if (!this.call.tracks[source]) return nothing;
    const muted = this.call.muted.has(source);
    return html`<button type="button" class="button ${muted ? "off" : ""}" aria-pressed=${muted}
      @click=${() => this.call.toggleMute(source)} data-testid=${source}>
      ${muted ? off() : on()} ${t(`controls.${source}_${muted ? "off" : "on"}`)}</button>`;
  }

  #evidencePanel() {
    const player = this.call.exhibit?.player;
    return this.panel.view(t("controls.evidence"), html`
      <div class="stack">
        <button type="button" class="button" @click=${() => this.#show(showScreen)}
          data-testid="evidence-screen">${t("evidence.screen")}</button>
        <label class="button file" data-testid="evidence-file">${t("evidence.file")}
          <input class="visually-hidden" type="file" accept="image/*,video/*"
            @change=${(/** @type {Event} */ event) => {
              const file = /** @type {HTMLInputElement} */ (event.target).files?.[0];
              if (file) this.#show(() => showFile(file));
            }}></label>
        <p class="small soft">${t("evidence.file_hint")}</p>
        ${player ? html`<button type="button" class="button" @click=${() => {
            if (player.paused) player.play(); else player.pause();
            this.changed();
          }}>${t(player.paused ? "evidence.play" : "evidence.pause")}</button>` : nothing}
      </div>`);
  }

  #marker() {
    const live = ["live", "paused"].includes(this.call.room?.phase ?? "");
    /** @param {string} text */
    const set = (text) => this.#ask({ type: "mark", text: text.trim() || t("marker.plain") }, t("marker.set"));
    return html`
      <div class="row joined">
        <button type="button" class="button" ?disabled=${!live || this.#cut} @click=${() => set("")}
          data-testid="marker">${icons.marker()} ${t("controls.marker")}</button>
        <span class="anchor">
          <button type="button" class="button" ?disabled=${!live} aria-expanded=${this.panel.name === "marker"}
            aria-label=${t("marker.with_note")} title=${t("marker.with_note")} data-testid="marker-note"
            @click=${(/** @type {Event} */ event) => this.panel.toggle("marker", event)}>…</button>
          ${this.panel.name === "marker" ? this.panel.view(t("marker.with_note"), html`
            <form class="stack" @submit=${(/** @type {Event} */ event) => {
              event.preventDefault();
              set(this.#note);
            }}>
              ${this.#noteField("marker.note")}
              <button type="submit" class="button primary">${t("marker.action")}</button>
            </form>`) : nothing}
        </span>
      </div>`;
  }

  /** @param {string} label */
  #noteField(label) {
    return html`
      <div class="field">
        <label for="note">${t(label)}</label>
        <input class="input" id="note" maxlength="500" autocomplete="off" .value=${live(this.#note)}
          data-testid="note" @input=${(/** @type {Event} */ event) => {
            this.#note = /** @type {HTMLInputElement} */ (event.target).value;
          }}>
      </div>`;
  }

  /** What blocks the next step, the step itself, and closing. */
  #session() {
    const { step, blocked, words, mayClose } = nextStep(this.call);
    const phase = this.call.room?.phase;
    const problem = this.#problem ? errorText(this.#problem) : "";
    return html`
      <div class="row session-step">
        <p class="step-words small ${problem ? "problem" : ""}" role="status" data-testid="step-words">
          ${problem || words || this.#done}</p>
        ${phase === "sealed" && this.replayAddress ? html`
          <a class="button primary" href=${this.replayAddress} data-testid="replay">${t("lobby.replay")}</a>` : nothing}
        ${mayClose ? this.#close() : nothing}
        ${step === "pause" ? this.#pause() : nothing}
        ${step === "open" || step === "resume" ? html`
          <button type="button" class="button primary" ?disabled=${blocked || this.#asking || this.#cut}
            @click=${() => this.#ask({ type: step })} data-testid=${step}>${t(`controls.${step}`)}</button>` : nothing}
      </div>`;
  }

  #pause() {
    return html`
      <span class="anchor">
        <button type="button" class="button primary" aria-expanded=${this.panel.name === "pause"}
          @click=${(/** @type {Event} */ event) => this.panel.toggle("pause", event)}
          data-testid="pause">${t("controls.pause")}</button>
        ${this.panel.name === "pause" ? this.panel.view(t("pause.title"), html`
          <div class="stack">
            ${this.#noteField("pause.note")}
            <div class="reasons">
              ${PAUSE_REASONS.map((reason) => html`
                <button type="button" class="button" ?disabled=${this.#asking || this.#cut} data-testid="pause-${reason}"
                  @click=${() => this.#ask({ type: "pause", reason, note: this.#note.trim() })}>
                  ${t(`pause_reason.${reason}`)}</button>`)}
            </div>
          </div>`) : nothing}
      </span>`;
  }

  #close() {
    const wanted = this.call.welcome?.session.case_number ?? "";
    const right = this.#typedCase.trim() === wanted;
    return html`
      <span class="anchor">
        <button type="button" class="button danger" aria-expanded=${this.panel.name === "close"}
          @click=${(/** @type {Event} */ event) => this.panel.toggle("close", event)}
          data-testid="close">${t("controls.close")}</button>
        ${this.panel.name === "close" ? this.panel.view(t("close.title"), html`
          <div class="stack">
            <p>${t("close.meaning")}</p>
            <div class="field">
              <label for="close-case">${t("close.case_number", { case: wanted })}</label>
              <input class="input figures" id="close-case" autocomplete="off" spellcheck="false"
                .value=${live(this.#typedCase)} data-testid="close-case-number"
                @input=${(/** @type {Event} */ event) => {
                  this.#typedCase = /** @type {HTMLInputElement} */ (event.target).value;
                  this.changed();
                }}>
              <span class="hint">${right ? t("close.hold") : t("close.type_first")}</span>
            </div>
            ${this.closing.view(t("close.action"), { disabled: !right || this.#asking || this.#cut, testid: "close-hold" })}
          </div>`) : nothing}
      </span>`;
  }
}
