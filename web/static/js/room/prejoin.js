/**
 * Before joining: my own picture large, my microphone as a moving bar, the choice of both, network
 * and clock in words. Joining is possible as soon as the devices have been tried.
 */

import { html, nothing } from "/vendor/lit-html/lit-html.js";
import { Level, openDevice } from "../devices.js";
import { t } from "../texts.js";
import { DeviceChoice } from "./device_choice.js";
import { clockWords, measureReach, networkWords } from "./reach.js";

/** @import { ListedSession, Source } from "../types.js" */
/** @import { Device, DeviceProblem } from "../devices.js" */
/** @import { MediaElements } from "./media_elements.js" */
/** @import { Reach } from "./reach.js" */

/** Louder than this once, and the microphone is known to work. */
const HEARD_LEVEL = 0.25;

export class PreJoin {
  /** @type {Partial<Record<Device, MediaStreamTrack>>} */
  tracks = {};
  /** @type {Record<Device, DeviceProblem|"trying"|null>} */
  state = { camera: "trying", microphone: "trying" };
  /** @type {Reach|null} */
  reach = null;
  heard = false;
  /** @type {Level|null} */
  #level = null;

  /**
   * @param {ListedSession} session
   * @param {MediaElements} elements
   * @param {{changed: () => void, join: (tracks: Partial<Record<Source, MediaStreamTrack>>) => void}} listener
   */
  constructor(session, elements, listener) {
    this.session = session;
    this.elements = elements;
    this.listener = listener;
    this.watches = session.my_role === "observer";
    this.devices = new DeviceChoice(listener.changed, (device, id) => this.#open(device, id));
  }

  async start() {
    this.#measure();
    if (this.watches) return;
    await Promise.all([this.#open("camera"), this.#open("microphone")]);
    await this.devices.refresh();
  }

  async #measure() {
    this.reach = await measureReach();
    this.listener.changed();
  }

  /**
   * @param {Device} device
   * @param {string} [deviceId]
   */
  async #open(device, deviceId) {
    this.tracks[device]?.stop();
    const { track, problem } = await openDevice(device, deviceId);
    this.state[device] = problem;
    if (track) this.tracks[device] = track;
    else delete this.tracks[device];
    if (device === "microphone") this.#watchLevel(track);
    this.listener.changed();
  }

  /** @param {MediaStreamTrack|null} track */
  #watchLevel(track) {
    this.#level?.stop();
    this.#level = track && new Level(track, (level) => {
      const bar = /** @type {HTMLElement|null} */ (document.querySelector(".level-bar"));
      if (bar) bar.style.transform = `scaleX(${level.toFixed(3)})`;
      if (level > HEARD_LEVEL && !this.heard) {
        this.heard = true;
        this.listener.changed();
      }
    });
  }

  get ready() {
    return this.watches || (this.state.camera !== "trying" && this.state.microphone !== "trying");
  }

  /** Whether everything that is asked for works. */
  get whole() {
    return this.watches || Boolean(this.tracks.camera && this.tracks.microphone);
  }

  join = () => {
    this.#level?.stop();
    this.listener.join({ ...this.tracks });
  };

  view() {
    const network = networkWords(this.reach);
    const clock = clockWords(this.reach);
    return html`
      <div class="prejoin" data-testid="prejoin">
        ${this.watches ? this.#watcher() : this.#preview()}
        <div class="stack prejoin-side">
          <h2>${t("prejoin.title")}</h2>
          <p class="soft">${t("prejoin.as", { role: t(`role.${this.session.my_role}`) })}</p>
          ${this.watches ? nothing : html`
            ${this.devices.view("camera", this.tracks.camera)}
            ${this.devices.view("microphone", this.tracks.microphone)}
            <div class="level" role="img" aria-label=${t("prejoin.level")}><div class="level-bar"></div></div>`}
          <ul class="checks">
            ${this.watches ? nothing : html`
              ${check(this.state.camera === "trying" ? null : this.state.camera === null,
                this.#words("camera"))}
              ${check(this.state.microphone === "trying" ? null : this.state.microphone === null
                && (this.heard || null), this.#words("microphone"))}`}
            ${check(network.good, network.words)}
            ${check(clock.good, clock.words)}
          </ul>
          <button type="button" class="button primary large" ?disabled=${!this.ready}
            @click=${this.join} data-testid="join">${t("prejoin.join")}</button>
          <p class="small soft">${this.#consequence()}</p>
        </div>
      </div>`;
  }

  #preview() {
    const { camera } = this.tracks;
    return html`
      <div class="tile prejoin-picture"><div class="picture">
        ${camera ? this.elements.video("preview", camera) : html`
          <p class="absence">${this.#words("camera")}</p>`}
      </div></div>`;
  }

  #watcher() {
    return html`<div class="tile prejoin-picture"><div class="picture">
      <p class="absence">${t("prejoin.observer")}</p></div></div>`;
  }

  /** @param {Device} device */
  #words(device) {
    const state = this.state[device];
    if (state === null) return t(device === "microphone" && !this.heard ? "prejoin.speak" : `prejoin.${device}_good`);
    return t(state === "trying" ? "prejoin.trying" : `prejoin.${device}_${state}`);
  }

  /** What joining now would mean. */
  #consequence() {
    if (this.watches) return t("prejoin.named");
    if (!this.ready) return t("prejoin.trying");
    const { camera, microphone } = this.tracks;
    if (camera && microphone) return t("prejoin.all");
    if (camera) return t("prejoin.unheard");
    return t(microphone ? "prejoin.unseen" : "prejoin.neither");
  }
}

/**
 * @param {boolean|null} good null while it is not known
 * @param {string} words
 */
function check(good, words) {
  const mark = good === null ? "○" : good ? "✓" : "!";
  const state = good === null ? "open" : good ? "good" : "bad";
  return html`<li class="check" data-state=${state}><span aria-hidden="true">${mark}</span>
    <span role="status">${words}</span></li>`;
}
