/**
 * The stage at the detention site: the faces of those who ask, large; the evidence display; whether
 * one's own microphone is on; that this is recorded. Nothing else.
 */

import { html } from "/vendor/lit-html/lit-html.js";
import { t } from "../texts.js";
import { icons } from "../ui/icons.js";
import { faces, observers } from "./stage.js";
import { evidence } from "./tile.js";

/** @import { Staging } from "./staging.js" */
/** @import { Scene } from "./tile.js" */

/**
 * @param {Scene} scene
 * @param {Staging} staging
 */
export function kiosk(scene, staging) {
  return html`
    <div class="stage kiosk" data-testid="stage" data-mode=${staging.mode}>
      ${faces(scene, staging)}
      ${evidence(scene)}
      <div class="side" data-place="side">${observers(scene.call.room?.participants ?? [])}</div>
    </div>`;
}

/**
 * @param {Scene} scene
 */
export function kioskControls({ call }) {
  const state = call.recording?.state;
  const muted = call.muted.has("microphone");
  const hasMicrophone = Boolean(call.tracks.microphone);
  return html`
    <footer class="controls kiosk-controls">
      <p class="recording-notice" role="status" data-testid="recording-notice">
        ${t(state === "recording" ? "kiosk.recorded" : "kiosk.not_recorded")}</p>
      ${hasMicrophone ? html`<button type="button" class="button ${muted ? "off" : ""}"
          aria-pressed=${muted} @click=${() => call.toggleMute("microphone")} data-testid="microphone">
          ${muted ? icons.microphoneOff() : icons.microphone()}
          ${t(muted ? "kiosk.unheard" : "kiosk.heard")}</button>`
        : html`<p>${t("tile.no_microphone")}</p>`}
    </footer>`;
}
