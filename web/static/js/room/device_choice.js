/** The two fields with which a person chooses camera and microphone, before joining and in the room. */

import { html } from "/vendor/lit-html/lit-html.js";
import { listDevices } from "../devices.js";
import { t } from "../texts.js";

/** @import { Device } from "../devices.js" */

export class DeviceChoice {
  /** @type {Record<Device, {id: string, name: string}[]>} */
  lists = { camera: [], microphone: [] };

  /**
   * @param {() => void} changed
   * @param {(device: Device, id: string) => void} chosen
   */
  constructor(changed, chosen) {
    this.changed = changed;
    this.chosen = chosen;
    this.refresh = async () => {
      const [camera, microphone] = await Promise.all([listDevices("camera"), listDevices("microphone")]);
      this.lists = { camera, microphone };
      this.changed();
    };
    navigator.mediaDevices?.addEventListener("devicechange", this.refresh);
  }

  /**
   * @param {Device} device
   * @param {MediaStreamTrack|null|undefined} track the one in use
   */
  view(device, track) {
    const list = this.lists[device];
    const current = track?.getSettings().deviceId;
    return html`
      <div class="field">
        <label for="device-${device}">${t(`source.${device}`)}</label>
        <select class="input" id="device-${device}" data-testid="device-${device}" ?disabled=${!list.length}
          @change=${(/** @type {Event} */ event) => this.chosen(
            device, /** @type {HTMLSelectElement} */ (event.target).value)}>
          ${list.length ? list.map(({ id, name }, index) => html`
              <option value=${id} .selected=${id === current}>
                ${name || `${t(`source.${device}`)} ${index + 1}`}</option>`)
            : html`<option>${t("devices.none")}</option>`}
        </select>
      </div>`;
  }
}
