/** Notices that several pages show. */

import { html, nothing } from "/vendor/lit-html/lit-html.js";
import { errorText } from "../texts.js";

/**
 * A notice that says an error code in words; nothing without a code.
 * @param {string|null} code
 */
export function problemNotice(code) {
  return code ? html`<p class="notice problem" role="alert">${errorText(code)}</p>` : nothing;
}
