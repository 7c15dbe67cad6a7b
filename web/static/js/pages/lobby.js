/**
 * The lobby: today's sessions by time in the middle, rooms and their devices on the left, what needs
 * me on the right, and the form for a new session.
 */

import { html, nothing, render } from "/vendor/lit-html/lit-html.js";
import { BookingForm } from "../booking.js";
import { clock, day } from "../format.js";
import { codeOf, request } from "../http.js";
import { PasswordForm } from "../password.js";
import { languageChanges, placeName, t } from "../texts.js";
import { stayedIn } from "../room/stay.js";
import { startHeader } from "../ui/header.js";
import { problemNotice } from "../ui/notices.js";

/** @import { ListedSession, SiteRoom } from "../types.js" */

const REFRESH_MS = 10_000;
const main = /** @type {HTMLElement} */ (document.getElementById("main"));
const content = /** @type {HTMLElement} */ (document.getElementById("content"));
const me = { id: main.dataset.accountId ?? "", siteId: main.dataset.siteId ?? "" };
const role = main.dataset.role ?? "";
const mayBook = ["admin", "officer"].includes(role);

/** @type {ListedSession[]|null} */
let sessions = null;
/** @type {SiteRoom[]} */
let rooms = [];
/** @type {string|null} */
let problem = null;
/** @type {BookingForm|null} */
let booking = null;
const password = new PasswordForm(draw);

/**
 * A terminal whose browser was started again goes back to the session that it belongs in: nobody
 * sits there who could choose one. Whoever comes from another page has chosen to be here.
 */
function goBackIn() {
  if (role !== "terminal" || document.referrer.startsWith(location.origin)) return;
  const session = (sessions ?? []).find(({ id, my_role, phase }) => my_role
    && (["live", "paused"].includes(phase) || (phase === "waiting" && id === stayedIn())));
  if (session) location.replace(`/sessions/${session.id}`);
}

async function refresh() {
  try {
    [{ sessions }, rooms] = await Promise.all([request("/api/sessions"), request("/api/rooms")]);
    problem = null;
  } catch (cause) {
    problem = codeOf(cause);
  }
  draw();
}

function openBooking() {
  booking = new BookingForm({
    accountId: me.id,
    rooms,
    changed: draw,
    cancelled: () => { booking = null; draw(); },
    booked: () => { booking = null; refresh(); },
  });
  booking.start();
  draw();
}

/** @param {ListedSession} session */
function phaseTag(session) {
  const tone = { live: "recording", paused: "attention", sealed: "verified" };
  return html`<span class="tag ${tone[/** @type {keyof typeof tone} */ (session.phase)] ?? ""}">
    ${t(`phase.${session.phase}`)}</span>`;
}

/** @param {ListedSession} session */
function entry(session) {
  if (session.phase === "sealed") {
    const mayReplay = role === "admin" || (session.my_role && role !== "terminal");
    if (!session.archive_id || !mayReplay) return nothing;
    return html`<a class="button" href="/replay/${session.archive_id}" data-testid="replay">
      ${t("lobby.replay")}</a>`;
  }
  if (!session.my_role) return html`<span class="small soft">${t("lobby.not_assigned")}</span>`;
  return html`<a class="button primary" href="/sessions/${session.id}" data-testid="enter"
    aria-label=${t("lobby.enter_case", { case: session.case_number })}>${t("lobby.enter")}</a>`;
}

/** @param {SiteRoom} room */
function inPlace(room) {
  return `${placeName(room.site_id, room.site_name)} ${placeName(room.id, room.name)}`;
}

/** @param {ListedSession} session */
function sessionItem(session) {
  const starts = new Date(session.starts_at);
  return html`
    <li class="session-item" data-session-id=${session.id}>
      <div class="when figures">
        <strong>${clock(starts)}</strong>
        ${day(starts) === day(new Date()) ? nothing
          : html`<span class="small soft">${day(starts)}</span>`}
      </div>
      <div class="what">
        <h3><span class="figures">${session.case_number}</span> ${session.title}</h3>
        <p>${t(`kind.${session.kind}`)} ${phaseTag(session)}</p>
        <p class="small soft">${inPlace(session.room)} — ${inPlace(session.detention_site)}</p>
        <ul class="people small">
          ${session.assignments.map((person) => html`<li>
            <span class="soft">${t(`role.${person.role}`)}</span> ${person.name}</li>`)}
        </ul>
      </div>
      <div class="act">${entry(session)}</div>
    </li>`;
}

function sessionList() {
  if (sessions === null) {
    return problem ? nothing : html`${[1, 2, 3].map(() => html`<div class="skeleton session-item"></div>`)}`;
  }
  if (sessions.length === 0) {
    return html`<p class="notice">${t(mayBook ? "lobby.empty_book" : "lobby.empty")}</p>`;
  }
  const byTime = [...sessions].sort((a, b) => a.starts_at.localeCompare(b.starts_at));
  return html`<ol class="session-list" data-testid="sessions">${byTime.map(sessionItem)}</ol>`;
}

/** @param {SiteRoom} room */
function roomItem(room) {
  return html`
    <details class="site-room">
      <summary>${placeName(room.id, room.name)}</summary>
      <dl class="small">
        ${room.devices.map((device) => html`<dt class="soft">${t(`slot.${device.slot}`)}</dt>
          <dd>${device.name || t("lobby.no_device")}</dd>`)}
      </dl>
    </details>`;
}

function roomList() {
  const mine = rooms.filter((room) => room.site_id === me.siteId);
  const ordered = [...mine, ...rooms.filter((room) => room.site_id !== me.siteId)];
  return ["interrogation", "detention"].map((kind) => html`
    <h3>${t(`room_kind.${kind}`)}</h3>
    ${ordered.filter((room) => room.kind === kind).map(roomItem)}`);
}

function needs() {
  const mine = (sessions ?? []).filter((session) => session.my_role);
  const items = [
    ...mine.filter(({ phase }) => phase === "live" || phase === "paused")
      .map((session) => html`<li class="notice attention">
        ${t("lobby.need_running", { case: session.case_number })}</li>`),
    ...mine.filter(({ phase }) => phase === "closed" || phase === "closing")
      .map((session) => html`<li class="notice attention">
        ${t("lobby.need_seal", { case: session.case_number })}</li>`),
  ];
  return items.length ? html`<ul class="stack-tight">${items}</ul>`
    : html`<p class="soft">${t("lobby.need_nothing")}</p>`;
}

function draw() {
  content.setAttribute("aria-busy", String(sessions === null && !problem));
  render(html`
    ${problemNotice(problem)}
    <div class="lobby-columns">
      <section class="lobby-rooms" aria-labelledby="rooms-title">
        <h2 id="rooms-title">${t("lobby.rooms")}</h2>
        ${roomList()}
        <h3>${t("lobby.account")}</h3>
        ${password.view()}
      </section>
      <section class="lobby-sessions" aria-labelledby="sessions-title">
        <div class="row lobby-top">
          <h2 id="sessions-title">${t("lobby.by_time")}</h2>
          ${mayBook && !booking ? html`<button type="button" class="button" @click=${openBooking}
            data-testid="new-session">${t("lobby.new")}</button>` : nothing}
        </div>
        ${booking?.view() ?? nothing}
        ${sessionList()}
      </section>
      <section class="lobby-needs" aria-labelledby="needs-title">
        <h2 id="needs-title">${t("lobby.needs")}</h2>
        ${needs()}
      </section>
    </div>`, content);
}

content.replaceChildren();
languageChanges.addEventListener("change", draw);
startHeader();
draw();
refresh().then(goBackIn);
setInterval(() => { if (!document.hidden) refresh(); }, REFRESH_MS);
