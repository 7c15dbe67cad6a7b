/** Names of tracks and of what is missing, in words. */

import { placeName, t } from "../texts.js";

/** @import { Replay, ReplayTrack } from "../types.js" */
/** @import { TrackPlayer } from "./track_player.js" */

/**
 * @param {Replay} replay
 * @param {string} participantId
 */
export function nameOf(replay, participantId) {
  return replay.session.participants.find(({ id }) => id === participantId)?.name ?? participantId;
}

/**
 * @param {Replay} replay
 * @param {ReplayTrack} track
 */
export function trackName(replay, track) {
  return t("replay.track", {
    name: nameOf(replay, track.participant_id) || track.label, source: t(`source.${track.source}`),
  });
}

/** @param {ReplayTrack} track */
export function trackPlace(track) {
  return placeName(track.site, track.site);
}

/**
 * What stands in place of picture or sound at a moment; null when there is media.
 * @param {TrackPlayer} player
 * @param {number} at_us
 * @returns {string|null}
 */
export function missingWords(player, at_us) {
  if (player.status === "unsupported") return t("replay.unsupported", { codec: player.track.codec });
  if (player.status === "failed") return t("replay.segment_failed", { file: player.track.init?.file ?? "" });
  const there = player.at(at_us);
  switch (there.kind) {
    case "media": return null;
    case "failed": return t("replay.segment_failed", { file: there.file });
    case "gap": return t(`gap.${there.cause}`);
    default: return t("replay.nothing_here");
  }
}
