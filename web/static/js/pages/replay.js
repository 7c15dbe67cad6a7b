/** The replay page: the verdict on top, the pictures, the events, the timeline. */

import { html, render } from "/vendor/lit-html/lit-html.js";
import { duration, moment } from "../format.js";
import { codeOf, request } from "../http.js";
import { eventList } from "../replay/event_list.js";
import { Player } from "../replay/player.js";
import { firstLarge, stageView } from "../replay/stage_view.js";
import { timelineView } from "../replay/timeline_view.js";
import { key, transport } from "../replay/transport.js";
import { Verdict } from "../replay/verdict.js";
import { languageChanges, t } from "../texts.js";
import { startHeader } from "../ui/header.js";
import { problemNotice } from "../ui/notices.js";

/** @import { Replay, ReplayTrack } from "../types.js" */

/** How often pictures, list and slider are drawn anew while playing; the play head moves smoothly. */
const DRAW_EVERY_MS = 250;

const main = /** @type {HTMLElement} */ (document.getElementById("main"));
const content = /** @type {HTMLElement} */ (document.getElementById("content"));
const archiveId = main.dataset.archiveId ?? "";

/** @type {Replay|null} */
let replay = null;
/** @type {Player|null} */
let player = null;
/** @type {Verdict|null} */
let verdict = null;
/** @type {string|null} */
let problem = null;
/** @type {string|null} */
let large = null;

async function start() {
  if (!crypto.subtle) {
    problem = "insecure_context";
    draw();
    return;
  }
  try {
    replay = await request(`/api/archives/${encodeURIComponent(archiveId)}/replay`);
  } catch (cause) {
    problem = codeOf(cause);
    draw();
    return;
  }
  if (!replay) return;
  // What was still on its way at the end is in the segments, a little after the session's last moment.
  const ends = replay.tracks.map(({ segments }) => segments.at(-1)?.end_us ?? 0);
  replay.duration_us = Math.max(replay.duration_us, ...ends);
  replay.tracks.sort(inSeatOrder(replay));
  large = firstLarge(replay);
  player = new Player(replay, draw);
  verdict = new Verdict(replay, () => {
    for (const track of player?.tracks ?? []) track.distrust(verdict?.brokenFiles ?? new Set());
    draw();
  });
  draw();
  requestAnimationFrame(movePlayhead);
  setInterval(() => { if (player?.playing) draw(); }, DRAW_EVERY_MS);
  document.addEventListener("keydown", (event) => { if (player) key(player, event); });
  if (!replay.unsealed) await verdict.verify();
}

const SOURCES = ["camera", "wide_camera", "microphone", "evidence_display", "document_camera"];

/**
 * People in the order of their seats, the tracks of each in the order of sources.
 * @param {Replay} shown
 * @returns {(a: ReplayTrack, b: ReplayTrack) => number}
 */
function inSeatOrder({ session }) {
  /** @param {ReplayTrack} track */
  const place = ({ participant_id, source }) => session.participants
    .findIndex(({ id }) => id === participant_id) * SOURCES.length + SOURCES.indexOf(source);
  return (a, b) => place(a) - place(b);
}

/** Moves what must move smoothly, without drawing the whole page. */
function movePlayhead() {
  if (player && replay) {
    const at_us = player.position_us;
    const head = /** @type {HTMLElement|null} */ (content.querySelector(".playhead"));
    if (head) head.style.left = `${(100 * at_us) / Math.max(1, replay.duration_us)}%`;
    const now = content.querySelector(".now");
    if (now) now.textContent = duration(at_us / 1000);
    const wall = content.querySelector(".wall");
    const opened_ms = Date.parse(replay.opened_wall);
    if (wall) wall.textContent = moment(new Date(opened_ms + at_us / 1000));
  }
  requestAnimationFrame(movePlayhead);
}

function view() {
  if (!replay || !player || !verdict) {
    return html`${problemNotice(problem)}
      ${problem ? html`<p><a class="button" href="/archives">${t("replay.back")}</a></p>`
        : html`<div class="skeleton replay-skeleton"></div>`}`;
  }
  return html`
    <div class="replay-top">
      <p class="replay-case"><strong class="figures">${replay.session.case_number}</strong>
        ${t(`kind.${replay.session.kind}`)} <span class="soft">${replay.session.title}</span></p>
      ${verdict.view(player.tracks.flatMap(({ mismatches }) => mismatches))}
    </div>
    <div class="replay-middle">
      ${stageView(player, { large, enlarge: (trackId) => { large = trackId; draw(); } })}
      ${eventList(player)}
    </div>
    ${transport(player)}
    ${timelineView(player)}`;
}

let drawing = false;

function draw() {
  if (drawing) return;
  drawing = true;
  queueMicrotask(() => {
    drawing = false;
    content.setAttribute("aria-busy", String(!replay && !problem));
    render(view(), content);
  });
}

languageChanges.addEventListener("change", draw);
startHeader();
draw();
start();
