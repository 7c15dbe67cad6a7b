/**
 * How well picture and sound arrive, in words: loss of packets over the last seconds, for each
 * received track. Under 10 % is good, under 15 % weak, more is poor.
 */

import { t } from "../texts.js";

/** @import { Participant } from "../types.js" */
/** @import { ReceivedTrack } from "../subscriber.js" */

/** @typedef {"good"|"weak"|"poor"} Quality */

const EVERY_MS = 4_000;

/**
 * @param {number} lost packets
 * @param {number} received packets
 * @returns {Quality}
 */
export function qualityOf(lost, received) {
  const share = lost / Math.max(1, lost + received);
  if (share < 0.1) return "good";
  return share < 0.15 ? "weak" : "poor";
}

export class Health {
  /** @type {Map<string, Quality>} by track id */
  qualities = new Map();
  /** @type {Map<string, {lost: number, received: number}>} counters of the sample before, by mid */
  #before = new Map();

  /**
   * @param {() => {connection: RTCPeerConnection|null, tracks: Map<string, ReceivedTrack>}|null} source
   * @param {() => void} changed
   */
  constructor(source, changed) {
    this.source = source;
    this.changed = changed;
    this.timer = setInterval(() => this.#sample(), EVERY_MS);
  }

  stop() {
    clearInterval(this.timer);
  }

  /**
   * What is to be said of a participant's connection; nothing when all is well.
   * @param {Participant} participant
   * @returns {string|null}
   */
  words(participant) {
    /** @param {string} kind */
    const worst = (kind) => participant.tracks
      .filter(({ source }) => (source === "microphone") === (kind === "sound"))
      .map(({ track_id }) => this.qualities.get(track_id) ?? "good")
      .sort((a, b) => ["poor", "weak", "good"].indexOf(a) - ["poor", "weak", "good"].indexOf(b))[0] ?? "good";
    const picture = worst("picture");
    const sound = worst("sound");
    if (picture === "good" && sound === "good") return null;
    if (sound === "good") return t(`health.picture_${picture}`);
    return picture === "good" ? t(`health.sound_${sound}`) : t("health.both");
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
