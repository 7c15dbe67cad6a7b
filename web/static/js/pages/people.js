/** The people with an account, and the form that adds one. */

import { html, nothing, render } from "/vendor/lit-html/lit-html.js";
import { codeOf, detailOf, request } from "../http.js";
import { languageChanges, placeName, t } from "../texts.js";
import { startHeader } from "../ui/header.js";
import { problemNotice } from "../ui/notices.js";

/** @import { Account, SiteRoom } from "../types.js" */

const ROLES = ["officer", "terminal", "reviewer", "admin"];

const main = /** @type {HTMLElement} */ (document.getElementById("main"));
const content = /** @type {HTMLElement} */ (document.getElementById("content"));
const mayAdd = main.dataset.role === "admin";

/** @type {Account[]|null} */
let people = null;
/** @type {Map<string, string>} site id to name */
let sites = new Map();
/** @type {string|null} */
let problem = null;
let detail = "";
let missing = false;
/** @type {{account: Account, one_time_password: string}|null} */
let added = null;

async function refresh() {
  try {
    const [answer, rooms] = await Promise.all([
      request("/api/people"),
      /** @type {Promise<SiteRoom[]>} */ (request("/api/rooms")),
    ]);
    people = answer.people;
    sites = new Map(rooms.map(({ site_id, site_name }) => [site_id, site_name]));
  } catch (cause) {
    problem = codeOf(cause);
  }
  draw();
}

/** @param {SubmitEvent} event */
async function add(event) {
  event.preventDefault();
  const form = /** @type {HTMLFormElement} */ (event.target);
  const fields = new FormData(form);
  const body = {
    name: String(fields.get("name")).trim(),
    display_name: String(fields.get("display_name")).trim(),
    role: String(fields.get("role")),
    site_id: String(fields.get("site_id")) || null,
  };
  missing = !body.name || !body.display_name || (body.role === "terminal" && !body.site_id);
  problem = null;
  detail = "";
  if (!missing) {
    try {
      added = await request("/api/people", { body });
      form.reset();
      await refresh();
    } catch (cause) {
      problem = codeOf(cause);
      detail = detailOf(cause);
    }
  }
  draw();
}

/** @param {string|null} siteId */
const siteName = (siteId) => (siteId ? placeName(siteId, sites.get(siteId) ?? siteId) : "—");

function list() {
  if (!people) return problem ? nothing : html`<div class="skeleton"></div>`;
  return html`
    <table class="table" data-testid="people">
      <thead><tr>
        <th scope="col">${t("people.display_name")}</th><th scope="col">${t("people.name")}</th>
        <th scope="col">${t("people.role")}</th><th scope="col">${t("people.site")}</th>
      </tr></thead>
      <tbody>${people.map((account) => html`<tr>
        <td>${account.display_name}</td><td class="figures">${account.name}</td>
        <td>${t(`account_role.${account.role}`)}</td><td>${siteName(account.site_id)}</td></tr>`)}
      </tbody>
    </table>`;
}

/**
 * @param {string} name
 */
const textField = (name) => html`
  <div class="field"><label for="person-${name}">${t(`people.${name}`)}</label>
    <input class="input" id="person-${name}" name=${name} autocomplete="off" data-testid="person-${name}"></div>`;

function form() {
  if (!mayAdd) return html`<p class="soft">${t("people.admin_only")}</p>`;
  return html`
    ${added ? html`<div class="stack-tight one-time" role="status">
      <p>${t("people.password", { name: added.account.display_name })}</p>
      <p><span class="secret" data-testid="one-time-password">${added.one_time_password}</span></p>
      <p class="small soft">${t("people.password_hint")}</p></div>` : nothing}
    <form class="stack" @submit=${add} novalidate>
      <h2>${t("people.add")}</h2>
      ${missing ? html`<p class="notice problem" role="alert">${t("people.missing")}</p>` : nothing}
      ${textField("display_name")}${textField("name")}
      <div class="field"><label for="person-role">${t("people.role")}</label>
        <select class="input" id="person-role" name="role" data-testid="person-role">
          ${ROLES.map((role) => html`<option value=${role}>${t(`account_role.${role}`)}</option>`)}
        </select></div>
      <div class="field"><label for="person-site">${t("people.site")}</label>
        <select class="input" id="person-site" name="site_id" data-testid="person-site">
          <option value="">${t("people.no_site")}</option>
          ${[...sites.keys()].map((id) => html`<option value=${id}>${siteName(id)}</option>`)}
        </select></div>
      <button class="button primary" type="submit" data-testid="add-person">${t("people.action")}</button>
    </form>`;
}

function draw() {
  content.setAttribute("aria-busy", String(!people && !problem));
  render(html`${problemNotice(problem, detail)}
    <div class="columns"><section>${list()}</section><aside>${form()}</aside></div>`, content);
}

content.replaceChildren();
languageChanges.addEventListener("change", draw);
startHeader();
draw();
refresh();
