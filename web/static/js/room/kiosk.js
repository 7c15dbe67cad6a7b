/**
 * The stage at the detention site: the faces of those who ask, large; the evidence display; whether
 * one's own microphone is on; that this is recorded. Nothing else.
 */

import { html, nothing } from "/vendor/lit-html/lit-html.js";
import { repeat } from "/vendor/lit-html/directives/repeat.js";
import { t } from "../texts.js";
import { icons } from "../ui/icons.js";
import { observers } from "./stage.js";
import { evidence, evidenceTrack, seat } from "./tile.js";

/** @import { Scene } from "./tile.js" */

/**
 * @param {Scene} scene
 */
export function kiosk(scene) {
  const { call } = scene;
  const everybody = call.room?.participants ?? [];
  const me = call.me;
  const [large, ...seats] = everybody.filter(({ id, role }) => id !== me?.id && role !== "observer");
  return html`
    <div class="stage kiosk ${evidenceTrack(call) ? "evidence-large" : ""}" data-testid="stage">
      ${large ? seat(scene, large, { name: "large" }) : nothing}
      ${evidence(scene, { name: "" })}
      <div class="side">
        <div class="seats">
          ${repeat(seats, ({ id }) => id, (person) => seat(scene, person, { name: "small" }))}
          ${me ? seat(scene, me, { name: "small self", own: true }) : nothing}
        </div>
        ${observers(everybody)}
      </div>
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
