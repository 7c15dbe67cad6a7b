/**
 * A small panel beside the button that opened it; one on a page at a time, as they would cover each
 * other. Closing it gives the focus back to the button.
 */

import { html } from "/vendor/lit-html/lit-html.js";
import { t } from "../texts.js";

export class Panel {
  /** @type {Panel|null} */
  static #shown = null;
  /** @type {string|null} name of the panel that is open */
  name = null;
  /** @type {HTMLElement|null} */
  #opener = null;

  /**
   * @param {() => void} changed has the page drawn before the next task
   * @param {() => void} [closed]
   */
  constructor(changed, closed = () => {}) {
    this.changed = changed;
    this.closed = closed;
  }

  /**
   * Opens the panel of that name, or closes it when it is open.
   * @param {string} name
   * @param {Event} event the press of the button
   */
  toggle(name, event) {
    if (this.name === name) {
      this.close();
      return;
    }
    if (Panel.#shown) Panel.#shown.#dismiss();
    Panel.#shown = this;
    this.name = name;
    this.#opener = /** @type {HTMLElement} */ (event.currentTarget);
    this.changed();
    queueMicrotask(() => {
      const first = document.querySelector(".panel :is(input, select), .panel .stack button")
        ?? document.querySelector(".panel button");
      /** @type {HTMLElement|null} */ (first)?.focus();
    });
  }

  close = () => {
    if (!this.name) return;
    this.#dismiss();
    this.#opener?.focus();
  };

  #dismiss() {
    if (Panel.#shown === this) Panel.#shown = null;
    this.name = null;
    this.closed();
    this.changed();
  }

  /**
   * @param {string} title
   * @param {unknown} content
   * @param {{narrow?: boolean}} [options] narrow: no wider than what is beside a button of the header
   */
  view(title, content, { narrow = false } = {}) {
    return html`
      <div class="panel ${narrow ? "narrow" : ""}" role="dialog" aria-label=${title}>
        <div class="row panel-top">
          <h2>${title}</h2>
          <button type="button" class="button compact" @click=${this.close}>${t("panel.back")}</button>
        </div>
        ${content}
      </div>`;
  }
}
