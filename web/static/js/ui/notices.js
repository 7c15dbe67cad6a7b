/** Notices that several pages show. */

import { html, nothing } from "/vendor/lit-html/lit-html.js";
import { errorText } from "../texts.js";

/**
 * A notice that says an error code in words; nothing without a code. `detail` is what the server says
 * of this one case, in English: worth showing where a field has to be corrected.
 * @param {string|null} code
 * @param {string} [detail]
 */
export function problemNotice(code, detail) {
  return code ? html`<p class="notice problem" role="alert">${errorText(code)}
    ${detail ? html`<br><span class="small" lang="en">${detail}</span>` : nothing}</p>` : nothing;
}
