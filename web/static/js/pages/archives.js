/** The list of archives: filtered as one types, each with a way to replay and to verify it. */

import { html, nothing, render } from "/vendor/lit-html/lit-html.js";
import { live } from "/vendor/lit-html/directives/live.js";
import { duration, moment } from "../format.js";
import { codeOf, request } from "../http.js";
import { languageChanges, t } from "../texts.js";
import { startHeader } from "../ui/header.js";
import { problemNotice } from "../ui/notices.js";

/** @import { ListedArchive, VerificationReport } from "../types.js" */

const content = /** @type {HTMLElement} */ (document.getElementById("content"));

/** @type {ListedArchive[]|null} */
let archives = null;
/** @type {string|null} */
let problem = null;
let filter = new URLSearchParams(location.search).get("filter") ?? "";
/** @type {Map<string, "running"|{problem: string}|VerificationReport>} by archive id */
const verifications = new Map();

async function start() {
  try {
    archives = (await request("/api/archives")).archives;
  } catch (cause) {
    problem = codeOf(cause);
  }
  draw();
}

/** @param {Event} event */
function filterTyped(event) {
  filter = /** @type {HTMLInputElement} */ (event.target).value;
  // The filter stays in the address, so that it can be kept and passed on.
  history.replaceState(null, "", filter ? `?filter=${encodeURIComponent(filter)}` : location.pathname);
  draw();
}

/** @param {ListedArchive} archive */
async function verify(archive) {
  verifications.set(archive.id, "running");
  draw();
  try {
    verifications.set(archive.id, await request(
      `/api/archives/${encodeURIComponent(archive.id)}/verify`, { method: "POST" }));
  } catch (cause) {
    verifications.set(archive.id, { problem: codeOf(cause) });
  }
  draw();
}

/** @param {ListedArchive} archive */
function outcome(archive) {
  const found = verifications.get(archive.id);
  if (!found) return nothing;
  if (found === "running") return html`<p class="small soft" role="status">${t("archives.verifying")}</p>`;
  if ("problem" in found) return problemNotice(found.problem);
  const key = !found.sealed ? "verdict.broken" : found.anchored ? "verdict.anchored" : "verdict.sealed";
  return html`<p class="notice small ${found.sealed ? "verified" : "problem"}" role="status">${t(key)}</p>`;
}

/** @param {ListedArchive} archive */
function row(archive) {
  return html`
    <tr data-archive-id=${archive.id}>
      <td class="figures">${archive.case_number}</td>
      <td>${archive.title}${outcome(archive)}</td>
      <td class="figures">${archive.opened_wall ? moment(new Date(archive.opened_wall)) : "—"}</td>
      <td class="figures">${archive.duration_ms === null ? "—" : duration(archive.duration_ms)}</td>
      <td class="figures">${archive.tracks}</td>
      <td><span class="tag ${archive.sealed ? "verified" : "attention"}">
        ${t(archive.sealed ? "archives.sealed" : "archives.unsealed")}</span></td>
      <td><span class="row actions">
        <button type="button" class="button" @click=${() => verify(archive)} data-testid="verify"
          ?disabled=${verifications.get(archive.id) === "running"}>${t("archives.verify")}</button>
        <a class="button primary" href="/replay/${archive.id}" data-testid="replay">${t("lobby.replay")}</a>
      </span></td>
    </tr>`;
}

function table() {
  if (!archives) return problem ? nothing : html`<div class="skeleton"></div>`;
  if (!archives.length) return html`<p class="notice">${t("archives.none")}</p>`;
  const words = filter.trim().toLowerCase();
  const found = archives.filter(({ case_number, title }) => `${case_number} ${title}`.toLowerCase().includes(words));
  return html`
    <div class="field filter">
      <label for="filter">${t("archives.filter")}</label>
      <input class="input" id="filter" type="search" .value=${live(filter)} @input=${filterTyped} autocomplete="off">
    </div>
    ${found.length ? html`<table class="table" data-testid="archives">
      <thead><tr>
        ${["case", "title_column", "opened", "duration", "tracks", "state", "actions"].map(
          (column) => html`<th scope="col">${t(`archives.${column}`)}</th>`)}
      </tr></thead>
      <tbody>${found.map(row)}</tbody>
    </table>` : html`<p class="notice" role="status">${t("archives.nothing_found")}</p>`}`;
}

function draw() {
  content.setAttribute("aria-busy", String(!archives && !problem));
  render(html`${problemNotice(problem)}${table()}`, content);
}

content.replaceChildren();
languageChanges.addEventListener("change", draw);
startHeader();
draw();
start();
