/**
 * The figures of picture and sound on this page, from getStats of both connections: for each track
 * what came or went, what was lost, how fast, how large. Sampled only while somebody looks.
 */

/** @import { Source } from "../types.js" */
/** @import { Call } from "./call.js" */

const EVERY_MS = 2_000;
/** Samples between which loss and bitrate are taken: ten seconds. */
const SPAN = 5;

/** @typedef {{packets: number, lost: number, bytes: number}} Counts */

/**
 * One track; null where there is nothing to say (a microphone has no size, a new track no rate yet).
 * @typedef {object} Figures
 * @property {string} key
 * @property {"in"|"out"} direction
 * @property {string|null} participantId whose it is; null for one's own
 * @property {Source} source
 * @property {string|null} trackId of what is received
 * @property {string|null} rid of a picture sent in several sizes: which of them
 * @property {Counts} counts since the connection was made
 * @property {number|null} loss share lost over the last seconds, 0 to 1
 * @property {number|null} kbps
 * @property {{width: number, height: number, rate: number|null}|null} picture
 * @property {{count: number, seconds: number}|null} freezes
 * @property {number|null} dropped pictures that came too late to be shown
 * @property {number|null} jitter_ms
 * @property {number|null} trip_ms
 */

/** @param {unknown} value @param {number} [factor] */
const number = (value, factor = 1) => (typeof value === "number" ? value * factor : null);

/**
 * Share lost and kbit/s between two samples of a track's counters.
 * @param {Counts} before
 * @param {Counts} now
 * @param {number} elapsed_ms
 * @param {"in"|"out"} direction a receiver counts what came, a sender what went
 * @returns {{loss: number|null, kbps: number|null}}
 */
export function rates(before, now, elapsed_ms, direction) {
  const packets = now.packets - before.packets;
  const lost = Math.max(0, now.lost - before.lost);
  const expected = direction === "in" ? packets + lost : packets;
  return {
    loss: expected > 0 ? Math.min(1, lost / expected) : null,
    kbps: elapsed_ms > 0 ? Math.max(0, (now.bytes - before.bytes) * 8 / elapsed_ms) : null,
  };
}

/**
 * @param {any} entry an inbound-rtp or outbound-rtp entry
 * @param {{get: (id: string) => any}} report the report that it is from
 * @param {{key: string, participantId: string|null, source: Source, trackId: string|null}} track
 * @returns {Figures}
 */
export function figuresOf(entry, report, track) {
  const inbound = entry.type === "inbound-rtp";
  const remote = inbound ? null : report.get(entry.remoteId);
  const pair = report.get(report.get(entry.transportId)?.selectedCandidatePairId);
  return {
    ...track,
    direction: inbound ? "in" : "out",
    rid: entry.rid ?? null,
    counts: {
      packets: (inbound ? entry.packetsReceived : entry.packetsSent) ?? 0,
      lost: (inbound ? entry.packetsLost : remote?.packetsLost) ?? 0,
      bytes: (inbound ? entry.bytesReceived : entry.bytesSent) ?? 0,
    },
    loss: null,
    kbps: null,
    picture: entry.frameWidth
      ? { width: entry.frameWidth, height: entry.frameHeight, rate: number(entry.framesPerSecond) } : null,
    freezes: inbound && entry.kind === "video"
      ? { count: entry.freezeCount ?? 0, seconds: entry.totalFreezesDuration ?? 0 } : null,
    dropped: inbound && entry.kind === "video" ? entry.framesDropped ?? 0 : null,
    jitter_ms: number(inbound ? entry.jitter : remote?.jitter, 1000),
    trip_ms: number(remote?.roundTripTime ?? pair?.currentRoundTripTime, 1000),
  };
}

export class Statistics {
  /** @type {Figures[]} newest; received first */
  tracks = [];
  /** @type {{at_ms: number, counts: Map<string, Counts>}[]} */
  #samples = [];
  /** @type {any} */
  #timer = null;

  /**
   * @param {Call} call
   * @param {() => void} changed
   */
  constructor(call, changed) {
    this.call = call;
    this.changed = changed;
  }

  start() {
    this.stop();
    this.#samples = [];
    this.#sample();
    this.#timer = setInterval(() => this.#sample(), EVERY_MS);
  }

  stop() {
    clearInterval(this.#timer);
  }

  async #sample() {
    const found = [...await this.#received(), ...await this.#sent()];
    const now = { at_ms: performance.now(), counts: new Map(found.map(({ key, counts }) => [key, counts])) };
    this.#samples = [...this.#samples, now].slice(-SPAN - 1);
    for (const figures of found) {
      const first = this.#samples.find(({ counts }) => counts.has(figures.key));
      const before = first?.counts.get(figures.key);
      if (!first || !before || first === now) continue;
      Object.assign(figures, rates(before, figures.counts, now.at_ms - first.at_ms, figures.direction));
    }
    this.tracks = found;
    this.changed();
  }

  async #received() {
    const { subscriber } = this.call;
    const report = await subscriber?.connection?.getStats();
    const tracks = new Map([...subscriber?.tracks.values() ?? []].map((track) => [track.mid, track]));
    return entries(report, "inbound-rtp", (entry) => {
      const track = tracks.get(entry.mid);
      if (!track) return null;
      return { key: `in-${entry.ssrc}`, participantId: track.participant_id, source: track.source, trackId: track.track_id };
    });
  }

  async #sent() {
    const { publisher } = this.call;
    const report = await publisher?.connection?.getStats();
    const sources = new Map([...publisher?.sources ?? []].filter(([, { track }]) => track)
      .map(([source, { transceiver }]) => [transceiver?.mid, source]));
    return entries(report, "outbound-rtp", (entry) => {
      const source = sources.get(entry.mid);
      return source ? { key: `out-${entry.ssrc}`, participantId: null, source, trackId: null } : null;
    });
  }
}

/**
 * @param {RTCStatsReport|undefined} report
 * @param {string} type
 * @param {(entry: any) => {key: string, participantId: string|null, source: Source, trackId: string|null}|null} trackOf
 */
function entries(report, type, trackOf) {
  /** @type {Figures[]} */
  const found = [];
  report?.forEach((entry) => {
    const track = entry.type === type ? trackOf(entry) : null;
    if (track) found.push(figuresOf(entry, /** @type {any} */ (report), track));
  });
  return found;
}
