/** A button for what cannot be undone: it acts after being held for a second, by pointer or key. */

import { html } from "/vendor/lit-html/lit-html.js";
import { t } from "../texts.js";

const HOLD_MS = 1_000;

export class HoldButton {
  #holding = false;
  /** @type {any} */
  #timer = null;

  /**
   * @param {() => void} changed
   * @param {() => void} held called once the second is over
   */
  constructor(changed, held) {
    this.changed = changed;
    this.held = held;
  }

  /** @param {Event} event */
  #begin = (event) => {
    const button = /** @type {HTMLButtonElement} */ (event.currentTarget);
    if (this.#holding || button.disabled) return;
    if (event instanceof KeyboardEvent) {
      if (event.key !== " " && event.key !== "Enter") return;
      event.preventDefault();
      if (event.repeat) return;
    }
    this.#holding = true;
    this.#timer = setTimeout(() => { this.#end(); this.held(); }, HOLD_MS);
    this.changed();
  };

  #end = () => {
    if (!this.#holding) return;
    clearTimeout(this.#timer);
    this.#holding = false;
    this.changed();
  };

  /**
   * @param {string} label
   * @param {{disabled: boolean, testid: string}} options
   */
  view(label, { disabled, testid }) {
    return html`
      <button type="button" class="button danger hold ${this.#holding ? "holding" : ""}"
        ?disabled=${disabled} data-testid=${testid}
        @pointerdown=${this.#begin} @pointerup=${this.#end} @pointerleave=${this.#end}
        @pointercancel=${this.#end} @keydown=${this.#begin} @keyup=${this.#end} @blur=${this.#end}>
        <span>${this.#holding ? t("hold.keep") : label}</span></button>`;
  }
}
