/** Playing and its keys: space, J K L, arrows. */

import { html } from "/vendor/lit-html/lit-html.js";
import { duration } from "../format.js";
import { t } from "../texts.js";
import { icons } from "../ui/icons.js";

/** @import { Player } from "./player.js" */

const SKIP_US = 5_000_000;
const BACK_US = 10_000_000;
const FRAME_US = 40_000;

/**
 * What a key does, or nothing. Keys keep their own meaning in fields and on buttons (space, enter).
 * @param {Player} player
 * @param {KeyboardEvent} event
 */
export function key(player, event) {
  if (event.ctrlKey || event.metaKey || event.altKey) return;
  const target = /** @type {HTMLElement} */ (event.target);
  if (target.closest("input, select, textarea")) return;
  const step_us = event.shiftKey ? FRAME_US : SKIP_US;
  /** @type {Record<string, () => void>} */
  const actions = {
    " ": () => player.toggle(),
    k: () => player.toggle(),
    j: () => player.skip(-BACK_US),
    l: () => (player.playing ? player.changeRate(1) : player.toggle()),
    ArrowLeft: () => player.skip(-step_us),
    ArrowRight: () => player.skip(step_us),
    Home: () => player.seek(0),
    End: () => player.seek(player.replay.duration_us),
  };
  const name = event.key.length === 1 ? event.key.toLowerCase() : event.key;
  if (name === " " && target.closest("button, summary, a")) return;
  const action = actions[name];
  if (!action) return;
  event.preventDefault();
  action();
}

/** @param {Player} player */
export function transport(player) {
  const { playing, clock } = player;
  return html`
    <div class="transport" role="toolbar" aria-label=${t("replay.transport")}>
      <button type="button" class="button primary" @click=${() => player.toggle()} data-testid="play"
        aria-keyshortcuts="Space K">${playing ? icons.pause() : icons.play()}
        ${t(playing ? "replay.pause" : "replay.play")}</button>
      <p class="position figures"><span class="now" data-testid="position"></span>
        <span class="soft">/ ${duration(player.replay.duration_us / 1000)}</span></p>
      <p class="wall figures soft" data-testid="wall"></p>
      <div class="row speed">
        <button type="button" class="button" @click=${() => player.changeRate(-1)}
          aria-label=${t("replay.slower")}>−</button>
        <span class="figures" role="status" data-testid="speed">${clock.rate}×</span>
        <button type="button" class="button" @click=${() => player.changeRate(1)}
          aria-label=${t("replay.faster")}>+</button>
      </div>
      <p class="small soft waiting" role="status">${player.waiting ? t("replay.loading") : ""}</p>
      <p class="small soft keys">${t("replay.keys")}</p>
    </div>`;
}
