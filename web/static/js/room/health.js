/**
 * How well picture and sound arrive, in words. Two sources: loss of packets over the last seconds
 * for each track received here, and the server's class for each person's line, which also knows what
 * this page cannot see: whether the others hear it. Under 10 % is good, under 15 % weak, more is bad.
 */

import { placeName, t } from "../texts.js";

/** @import { Line, NetworkClass, Participant } from "../types.js" */
/** @import { ReceivedTrack } from "../subscriber.js" */

const EVERY_MS = 4_000;

/** @type {NetworkClass[]} */
const WORST_FIRST = ["bad", "weak", "good"];

/**
 * @param {number} lost packets
 * @param {number} received packets
 * @returns {NetworkClass}
 */
export function qualityOf(lost, received) {
  const share = lost / Math.max(1, lost + received);
  if (share < 0.1) return "good";
  return share < 0.15 ? "weak" : "bad";
}

/**
 * Which way a line that is not good loses more; null while it is good or nothing is known of it.
 * @param {Line|null|undefined} line
 * @returns {`${"up"|"down"}_${"weak"|"bad"}`|null}
 */
export function trouble(line) {
  if (!line || line.class === null || line.class === "good") return null;
  return `${(line.up_loss ?? 0) >= (line.down_loss ?? 0) ? "up" : "down"}_${line.class}`;
}

export class Health {
  /** @type {Map<string, NetworkClass>} by track id */
  qualities = new Map();
  /** @type {Map<string, {lost: number, received: number}>} counters of the sample before, by mid */
  #before = new Map();

  /**
   * @param {() => {connection: RTCPeerConnection|null, tracks: Map<string, ReceivedTrack>}|null} source
   * @param {(participantId: string) => Line|null} lineOf what the server says of a person's line
   * @param {() => void} changed
   */
  constructor(source, lineOf, changed) {
    this.source = source;
    this.lineOf = lineOf;
    this.changed = changed;
    this.timer = setInterval(() => this.#sample(), EVERY_MS);
  }

  stop() {
    clearInterval(this.timer);
  }

  /**
   * What is to be said of somebody else's picture, sound and line: whole, and short for a small
   * place; null when all is well.
   * @param {Participant} participant
   * @returns {{whole: string, short: string}|null}
   */
  words(participant) {
    const place = { place: placeName(participant.site_id, participant.site_name) || participant.name };
    const picture = this.#worst(participant, (source) => source !== "microphone");
    const sound = this.#worst(participant, (source) => source === "microphone");
    if (picture !== "good" && sound !== "good") return { whole: t("health.both", place), short: t("health.short_both") };
    if (picture !== "good") {
      return { whole: t(`health.picture_${picture}`, place), short: t(`health.short_picture_${picture}`) };
    }
    if (sound !== "good") {
      return { whole: t(`health.sound_${sound}`, place), short: t(`health.short_sound_${sound}`) };
    }
    const line = trouble(this.lineOf(participant.id));
    return line && { whole: t(`health.line_${line}`, place), short: t(`health.short_line_${line}`) };
  }

  /**
   * What is to be said of one's own line; null when all is well.
   * @param {string} participantId one's own
   * @returns {string|null}
   */
  ownWords(participantId) {
    const line = trouble(this.lineOf(participantId));
    return line && t(`health.own_${line}`);
  }

  /**
   * @param {Participant} participant
   * @param {(source: string) => boolean} counts
   */
  #worst(participant, counts) {
    const found = participant.tracks.filter(({ source }) => counts(source))
      .map(({ track_id }) => this.qualities.get(track_id) ?? "good");
    return WORST_FIRST.find((quality) => found.includes(quality)) ?? "good";
  }

  async #sample() {
    const source = this.source();
    if (!source?.connection) return;
    const report = await source.connection.getStats();
    const byMid = new Map([...source.tracks.values()].map((track) => [track.mid, track.track_id]));
    let changed = false;
    report.forEach((entry) => {
      const trackId = entry.type === "inbound-rtp" ? byMid.get(entry.mid) : undefined;
      if (!trackId) return;
      const before = this.#before.get(entry.mid) ?? { lost: 0, received: 0 };
      this.#before.set(entry.mid, { lost: entry.packetsLost, received: entry.packetsReceived });
      const quality = qualityOf(
        Math.max(0, entry.packetsLost - before.lost), entry.packetsReceived - before.received,
      );
      changed ||= this.qualities.get(trackId) !== quality;
      this.qualities.set(trackId, quality);
    });
    if (changed) this.changed();
  }
}
