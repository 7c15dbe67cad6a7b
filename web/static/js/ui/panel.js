/** A small panel above the button that opened it. Closing it gives the focus back to the button. */

import { html } from "/vendor/lit-html/lit-html.js";
import { t } from "../texts.js";

export class Panel {
  /** @type {string|null} name of the panel that is open */
  name = null;
  /** @type {HTMLElement|null} */
  #opener = null;

  /** @param {() => void} changed has the page drawn before the next task */
  constructor(changed) {
    this.changed = changed;
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
    this.name = name;
    this.#opener = /** @type {HTMLElement} */ (event.currentTarget);
    this.changed();
    queueMicrotask(() => {
      const first = document.querySelector(".panel :is(input, select), .panel .stack button");
      /** @type {HTMLElement|null} */ (first)?.focus();
    });
  }

  close = () => {
    if (!this.name) return;
    this.name = null;
    this.changed();
    this.#opener?.focus();
  };

  /**
   * @param {string} title
   * @param {unknown} content
   */
  view(title, content) {
    return html`
      <div class="panel" role="dialog" aria-label=${title}>
        <div class="row panel-top">
          <h2>${title}</h2>
          <button type="button" class="button compact" @click=${this.close}>${t("panel.back")}</button>
        </div>
        ${content}
      </div>`;
  }
}
