/** Room events in words, for the journal of a session and for the replay. */

import { t } from "./texts.js";

/** @import { RoomEvent } from "./types.js" */

/** Sources by the first part of a track id ("cam-1"). */
const SOURCES = {
  cam: "camera", wide: "wide_camera", mic: "microphone", evidence: "evidence_display", doc: "document_camera",
};

/** @param {RoomEvent} event */
function sourceOf(event) {
  const prefix = (event.track_id ?? "").split("-")[0];
  return event.source ?? SOURCES[/** @type {keyof typeof SOURCES} */ (prefix)];
}

/**
 * @param {RoomEvent} event
 * @param {(participantId: string) => string} nameOf
 */
export function eventText(event, nameOf) {
  const name = event.name ?? (event.participant_id ? nameOf(event.participant_id) : "");
  const source = sourceOf(event) ? t(`source.${sourceOf(event)}`) : "";
  switch (event.type) {
    case "track_muted":
      return t(event.muted ? "event.track_muted" : "event.track_unmuted", { name, source });
    case "session_paused": {
      const reason = t(`pause_reason.${event.reason}`);
      return t("event.session_paused", { name, reason: event.note ? `${reason} — ${event.note}` : reason });
    }
    case "marker_added":
      return t("event.marker_added", { name, text: event.text ?? "" });
    default:
      return t(`event.${event.type}`, { name, source });
  }
}
