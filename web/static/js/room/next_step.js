/**
 * The one next step of the session: what it is called, what blocks it, and what is going on while
 * nothing can be done.
 */

import { t, errorText } from "../texts.js";

/** @import { Call } from "./call.js" */

/** @typedef {"open"|"pause"|"resume"|null} Step */

/**
 * @param {Call} call
 * @returns {{step: Step, blocked: boolean, words: string, mayClose: boolean}}
 *   blocked: the step is shown and cannot be taken yet; words: why, or what is going on
 */
export function nextStep(call) {
  const { room } = call;
  /** @param {string} words */
  const going = (words) => ({
    step: /** @type {Step} */ (null), blocked: false, words, mayClose: false,
  });
  if (!room) return going(t("step.connecting"));
  const starting = room.recording.state === "starting";
  const failed = room.recording.state === "failed" && room.recording.reason
    ? errorText(room.recording.reason) : "";
  switch (room.phase) {
    case "scheduled":
    case "waiting": {
      if (starting) return going(t("step.starting"));
      if (!call.may("open")) return going(t("step.wait_open", { name: host(call) }));
      const why = blockOfOpening(call);
      return { step: "open", blocked: why !== "", words: why || failed, mayClose: false };
    }
    case "live":
      return {
        step: call.may("pause") ? "pause" : null,
        blocked: false,
        words: failed || (call.may("pause") ? "" : t("step.live")),
        mayClose: call.may("close"),
      };
    case "paused": {
      if (starting) return going(t("step.starting"));
      const step = call.may("resume") ? "resume" : null;
      const words = failed || (step ? "" : t("step.wait_resume", { name: host(call) }));
      return { step, blocked: false, words, mayClose: call.may("close") };
    }
    default:
      return going(t(`step.${room.phase}`));
  }
}

/** @param {Call} call */
function host(call) {
  return call.room?.participants.find(({ role }) => role === "questioner")?.name ?? "";
}

/** What stands in the way of opening, in words. @param {Call} call */
function blockOfOpening(call) {
  const participants = call.room?.participants ?? [];
  const subjects = participants.filter(({ role }) => role === "subject");
  if (subjects.length && subjects.every(({ present }) => present !== "yes")) {
    return t("step.wait_for", { name: subjects.map(({ name }) => name).join(t("list_separator")) });
  }
  if (participants.every(({ tracks }) => tracks.length === 0)) return errorText("nothing_to_record");
  return "";
}
