/** The header of a session's pages: which case, what it is, the lamp, the connection, the language. */

import { html, nothing } from "/vendor/lit-html/lit-html.js";
import { language, switchLanguage, t } from "../texts.js";
import { lamp } from "./lamp.js";

/** @import { Recording, RoomState } from "../types.js" */

/**
 * @param {{case_number: string, kind: string, title: string}} session
 * @param {{recording: Recording|null, room: RoomState|null, connection: string|null,
 *   weak?: boolean, leave: (() => void)|null, figures?: unknown}} shown connection: in words, when
 *   there is something to say; weak: whether that is a warning; figures: the way to what is behind it
 */
export function top(session, { recording, room, connection, weak = false, leave, figures = nothing }) {
  /** @param {"zh"|"en"} wanted */
  const button = (wanted) => html`<button type="button" lang=${wanted === "zh" ? "zh-CN" : "en"}
    aria-pressed=${language() === wanted} @click=${() => switchLanguage(wanted)}>
    ${wanted === "zh" ? "中文" : "English"}</button>`;
  return html`
    <header class="header top">
      <div class="case">
        <h1><span class="visually-hidden">${t("session.case")}</span>
          <span class="figures" data-testid="case-number">${session.case_number}</span>
          <span class="kind">${t(`kind.${session.kind}`)}</span></h1>
        <p class="small soft title">${session.title}</p>
      </div>
      ${lamp(recording, room?.pause_reason ?? null)}
      <p class="connection small ${weak ? "weak" : ""}" role="status">${connection ?? nothing}</p>
      ${figures}
      ${leave ? html`<button type="button" class="button" @click=${leave} data-testid="leave">
        ${t("session.leave")}</button>` : nothing}
      <div class="languages" role="group" aria-label=${t("language")}>${button("zh")}${button("en")}</div>
    </header>`;
}
