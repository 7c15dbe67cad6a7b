/** The form with which a person changes their own password. */

import { html, nothing } from "/vendor/lit-html/lit-html.js";
import { codeOf, request } from "./http.js";
import { t } from "./texts.js";
import { problemNotice } from "./ui/notices.js";

export class PasswordForm {
  /** @type {string|null} */
  #problem = null;
  #done = false;

  /** @param {() => void} changed */
  constructor(changed) {
    this.changed = changed;
  }

  /** @param {SubmitEvent} event */
  #submitted = async (event) => {
    event.preventDefault();
    const form = /** @type {HTMLFormElement} */ (event.target);
    const fields = new FormData(form);
    this.#problem = null;
    try {
      await request("/api/password", { body: { old: fields.get("old"), new: fields.get("new") } });
      this.#done = true;
      form.reset();
    } catch (cause) {
      this.#problem = codeOf(cause);
      this.#done = false;
    }
    this.changed();
  };

  view() {
    return html`
      <details class="site-room">
        <summary>${t("password.title")}</summary>
        <form class="stack-tight password" @submit=${this.#submitted}>
          ${problemNotice(this.#problem)}
          <div class="field"><label for="old">${t("password.old")}</label>
            <input class="input" id="old" name="old" type="password" required autocomplete="current-password"></div>
          <div class="field"><label for="new">${t("password.new")}</label>
            <input class="input" id="new" name="new" type="password" required autocomplete="new-password"></div>
          <button class="button" type="submit">${t("password.action")}</button>
          ${this.#done ? html`<p class="notice verified" role="status">${t("password.done")}</p>` : nothing}
        </form>
      </details>`;
  }
}
