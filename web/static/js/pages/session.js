/** The page of one session: before joining, in the room, and after it. */

import { html, nothing, render } from "/vendor/lit-html/lit-html.js";
import { codeOf, request } from "../http.js";
import { Call } from "../room/call.js";
import { Controls } from "../room/controls.js";
import { Health } from "../room/health.js";
import { kiosk, kioskControls } from "../room/kiosk.js";
import { alarm } from "../room/lamp.js";
import { MediaElements } from "../room/media_elements.js";
import { PreJoin } from "../room/prejoin.js";
import { stage } from "../room/stage.js";
import { Stay, isFree, stayedIn } from "../room/stay.js";
import { Staging } from "../room/staging.js";
import { StatisticsPanel } from "../room/statistics_panel.js";
import { top } from "../room/top.js";
import { Views } from "../room/views.js";
import { errorText, languageChanges, t } from "../texts.js";
import { problemNotice } from "../ui/notices.js";

/** @import { ListedSession, Phase, Recording, Source } from "../types.js" */

/** How often the lamp looks whether the news of the recording has become old. */
const LAMP_CHECK_MS = 1_000;
const RETRY_MS = 3_000;

/** Ends after which joining again is pointless. */
const FINAL = new Set(["session_closed", "not_assigned", "session_unknown"]);

const main = /** @type {HTMLElement} */ (document.getElementById("main"));
const content = /** @type {HTMLElement} */ (document.getElementById("content"));
const sessionId = main.dataset.sessionId ?? "";
const mayReplay = main.dataset.role !== "terminal";

/** @type {ListedSession|null} */
let session = null;
/** @type {string|null} why the page cannot be shown */
let problem = null;
/** @type {PreJoin|null} */
let preJoin = null;
/** @type {Call|null} */
let call = null;
/** @type {Controls|null} */
let controls = null;
/** @type {Health|null} */
let health = null;
/** @type {StatisticsPanel|null} */
let statistics = null;
/** @type {Stay|null} */
let stay = null;
/** @type {{code: string|null}|null} how the person's part in the session ended */
let ended = null;
/** @type {Staging|null} */
let staging = null;
/** @type {Views|null} */
let views = null;

const elements = new MediaElements(() => draw());

async function start() {
  try {
    session = await request(`/api/sessions/${sessionId}`);
  } catch (cause) {
    problem = codeOf(cause);
    if (problem === "not_signed_in") location.assign(`/sign-in?to=${location.pathname}`);
    if (problem === "network") setTimeout(start, RETRY_MS);
    draw();
    return;
  }
  if (!session) return;
  problem = null;
  const returns = !ended && await comesBack(session);
  ended = null;
  preJoin = new PreJoin(session, elements, { changed: draw, join });
  draw();
  await preJoin.start();
  // Nobody sits at a detention terminal who could press a button, even where a device is missing.
  if (returns && (preJoin.whole || session.my_role === "subject")) preJoin.join();
}

/**
 * Whether this page was in the session a moment ago and goes in again without being asked; the
 * subject's terminal belongs in its session as long as that is going on.
 * @param {ListedSession} session
 */
async function comesBack({ my_role, phase }) {
  const goesOn = ["live", "paused"].includes(phase);
  const wasIn = stayedIn() === sessionId && (goesOn || phase === "waiting");
  return (wasIn || (goesOn && my_role === "subject")) && isFree(sessionId);
}

/** @param {Partial<Record<Source, MediaStreamTrack>>} tracks */
function join(tracks) {
  preJoin = null;
  stay?.end(false);
  stay = new Stay(sessionId);
  call = new Call(sessionId, tracks, {
    changed: draw,
    happened: (event) => {
      if (event.type === "session_sealed" && controls && mayReplay) {
        controls.replayAddress = `/replay/${event.archive_id}`;
      }
    },
    ended: (code) => {
      ended = { code };
      stay?.end(code !== "not_signed_in");
      health?.stop();
      statistics?.stop();
      staging?.stop();
      views?.stop();
      elements.clear();
      call = controls = health = statistics = staging = views = null;
      draw();
    },
  });
  controls = new Controls(call, draw);
  health = new Health(
    () => call?.subscriber ?? null, (participantId) => call?.lineOf(participantId) ?? null, draw,
  );
  statistics = new StatisticsPanel(call, health, draw);
  staging = new Staging(call, draw);
  views = new Views(call, elements);
  draw();
}

/** What there is to say about the connections themselves; null while they stand. */
function connectionWords() {
  if (!call) return null;
  if (call.link === "lost") {
    const flows = call.subscriber?.connection?.connectionState === "connected";
    return t(flows ? "connection.lost" : "connection.all_lost");
  }
  if (call.link === "connecting") return t("connection.connecting");
  if (call.mediaProblem) return errorText(call.mediaProblem);
  const state = call.publisher?.connection?.connectionState;
  if (state === "failed" || state === "disconnected") return t("connection.media_lost");
  if (state === "new" || state === "connecting") return t("connection.media_connecting");
  return null;
}

function playSounds() {
  if (!call?.subscriber) return;
  const tracks = [...call.subscriber.tracks.values()];
  elements.hear(tracks.filter(({ source }) => source === "microphone")
    .map(({ track_id, media }) => ({ key: track_id, track: media })));
}

function inRoom() {
  if (!call || !controls || !health || !session || !staging) return nothing;
  staging.look();
  const scene = { call, elements, health };
  const broken = connectionWords();
  const weak = broken ?? health.ownWords(call.welcome?.participant_id ?? "");
  const isKiosk = call.me?.role === "subject";
  return html`
    ${top(session, { recording: call.recording, room: call.room, weak: weak !== null && call.link !== "connecting",
      connection: weak ?? t("connection.good"),
      leave: isKiosk ? null : () => call?.leave(), figures: isKiosk ? nothing : html`${staging.view()}${statistics?.view()}` })}
    ${alarm(call.recording, call.room?.phase)}
    ${elements.blocked ? html`<button type="button" class="button primary unblock"
      @click=${() => elements.unblock()} data-testid="unblock">${t("room.unblock")}</button>` : nothing}
    ${isKiosk ? kiosk(scene, staging) : stage(scene, staging)}
    ${isKiosk ? kioskControls(scene) : controls.view()}`;
}

/**
 * The lamp of somebody who has not joined: what the phase alone tells, otherwise that it is unknown.
 * @param {Phase} phase
 * @returns {Recording|null}
 */
function recordingFromOutside(phase) {
  const state = /** @type {const} */ ({ scheduled: "off", waiting: "off", sealed: "sealed" });
  const known = state[/** @type {keyof typeof state} */ (phase)];
  return known && !ended ? { state: known, recorded_ms: 0, copies: 0 } : null;
}

function outside() {
  if (!session) return problem ? html`<div class="end">${problemNotice(problem)}
    <a class="button" href="/">${t("problem.back")}</a></div>` : html`<div class="end">
    <p role="status">${t("step.connecting")}</p></div>`;
  return html`
    ${top(session, { recording: recordingFromOutside(session.phase), room: null, connection: null, leave: null })}
    ${ended ? html`<div class="end" data-testid="ended">
        <h2>${t("ended.title")}</h2>
        <p role="alert">${ended.code ? errorText(ended.code) : t("ended.left")}</p>
        <p class="row">${ended.code && FINAL.has(ended.code) ? nothing : html`
            <button type="button" class="button primary" @click=${start}>${t("ended.again")}</button>`}
          <a class="button" href="/">${t("problem.back")}</a></p>
      </div>` : preJoin?.view() ?? nothing}`;
}

let drawing = false;

/** Draws once, after everything that changed at the same time. */
function draw() {
  if (drawing) return;
  drawing = true;
  queueMicrotask(() => {
    drawing = false;
    playSounds();
    content.classList.toggle("cut-off", Boolean(call?.cutOff));
    content.setAttribute("aria-busy", String(!session && !problem));
    render(call ? inRoom() : outside(), content);
    staging?.place();
    elements.playShown();
    views?.look();
  });
}

languageChanges.addEventListener("change", draw);
setInterval(() => { if (call) draw(); }, LAMP_CHECK_MS);
draw();
start();
