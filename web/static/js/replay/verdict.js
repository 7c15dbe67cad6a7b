/**
 * The verdict on an archive in one sentence, and behind it how it is known: the server's verification
 * step by step, and what this browser found by hashing each segment that it showed.
 */

import { html, nothing } from "/vendor/lit-html/lit-html.js";
import { codeOf, request } from "../http.js";
import { errorText, t } from "../texts.js";

/** @import { Replay, VerificationReport, VerificationStep } from "../types.js" */
/** @import { Mismatch } from "./verified_fetch.js" */

export class Verdict {
  /** @type {VerificationReport|null} */
  report = null;
  /** @type {string|null} */
  problem = null;
  #running = false;

  /**
   * @param {Replay} replay
   * @param {() => void} changed
   */
  constructor(replay, changed) {
    this.replay = replay;
    this.changed = changed;
  }

  verify = async () => {
    if (this.#running) return;
    this.#running = true;
    this.problem = null;
    this.changed();
    try {
      this.report = await request(`/api/archives/${this.replay.archive_id}/verify`, { method: "POST" });
    } catch (cause) {
      this.problem = codeOf(cause);
    }
    this.#running = false;
    this.changed();
  };

  /** Files that the server's check found wrong. */
  get brokenFiles() {
    const failures = this.report?.steps.flatMap((step) => step.failures) ?? [];
    return new Set(failures.map(({ file }) => file));
  }

  /**
   * @param {Mismatch[]} mismatches
   * @returns {{state: "pending"|"good"|"unanchored"|"bad"|"unknown", text: string}}
   */
  #sentence(mismatches) {
    if (mismatches.length) {
      return { state: "bad", text: t("verdict.mismatch", { file: mismatches[0].file, count: mismatches.length }) };
    }
    if (this.replay.unsealed) return { state: "unknown", text: t("verdict.unsealed") };
    if (this.problem) return { state: "unknown", text: errorText(this.problem) };
    if (!this.report || this.#running) return { state: "pending", text: t("verdict.pending") };
    if (!this.report.sealed) {
      const failure = this.report.steps.find(({ ok }) => !ok)?.failure;
      return { state: "bad", text: failure?.file ? t("verdict.broken_file", { file: failure.file }) : t("verdict.broken") };
    }
    return this.report.anchored ? { state: "good", text: t("verdict.anchored") }
      : { state: "unanchored", text: t("verdict.sealed") };
  }

  /** @param {Mismatch[]} mismatches found by this browser */
  view(mismatches) {
    const { state, text } = this.#sentence(mismatches);
    const mark = { pending: "…", good: "✓", unanchored: "✓", bad: "✗", unknown: "?" }[state];
    return html`
      <section class="verdict" data-testid="verdict" data-state=${state}
        data-sealed=${this.report ? String(this.report.sealed) : "unknown"} aria-label=${t("verdict.label")}>
        <details>
          <summary>
            <span class="verdict-mark" aria-hidden="true">${mark}</span>
            <span class="verdict-text" role="status">${text}</span>
            <span class="how">${t("verdict.how")}</span>
          </summary>
          <div class="verdict-steps" data-testid="verdict-steps">
            ${this.#browserFindings(mismatches)}
            ${this.report ? this.#steps(this.report) : nothing}
            <p class="row"><button type="button" class="button" ?disabled=${this.#running}
              @click=${this.verify} data-testid="verify">${t("verdict.again")}</button></p>
          </div>
        </details>
      </section>`;
  }

  /** @param {Mismatch[]} mismatches */
  #browserFindings(mismatches) {
    return html`
      <p>${t("verdict.browser")}</p>
      ${mismatches.length ? html`<ul class="findings">
        ${mismatches.map((mismatch) => finding({ ...mismatch, place: "" }))}</ul>` : nothing}`;
  }

  /** @param {VerificationReport} report */
  #steps(report) {
    return html`
      <ol class="steps">${report.steps.map((step) => stepItem(step))}</ol>
      ${report.root_sha256 ? html`<p class="small">${t("verdict.root")}
        <code class="figures">${report.root_sha256}</code></p>` : nothing}`;
  }
}

/** The step that asks for more than the seal itself can give: without it the archive is still sealed. */
const ANCHORS = 10;

/** @param {VerificationStep} step */
function stepItem(step) {
  const absent = step.number === ANCHORS;
  return html`
    <li data-ok=${step.ok}>
      <span class="step-mark ${absent ? "absent" : ""}">${step.ok ? t("verdict.step_holds")
        : t(absent ? "verdict.step_absent" : "verdict.step_fails")}</span>
      <div>
        <p>${t(`verdict.step_${step.number}`)}</p>
        ${step.failures.length ? html`<ul class="findings">${step.failures.map(finding)}</ul>` : nothing}
        ${step.count > step.failures.length
          ? html`<p class="small">${t("verdict.more", { count: step.count - step.failures.length })}</p>` : nothing}
      </div>
    </li>`;
}

/** @param {{file: string, place: string, expected: string, found: string}} failure */
function finding({ file, place, expected, found }) {
  return html`<li class="small"><code>${file || t("verdict.whole")}</code> ${place}<br>
    ${t("verdict.expected")} <code>${expected}</code><br>${t("verdict.found")} <code>${found}</code></li>`;
}
