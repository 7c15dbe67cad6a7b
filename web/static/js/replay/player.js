/** All tracks of an archive on one clock: play, pause, seek, speed, which sounds are heard. */

import { MasterClock } from "./master_clock.js";
import { TrackPlayer } from "./track_player.js";

/** @import { Replay } from "../types.js" */

const FOLLOW_EVERY_MS = 80;
const RATES = [0.5, 1, 1.5, 2, 4];

export class Player {
  /** @type {Set<string>} */
  mutedTracks = new Set();
  /** @type {Set<string>} */
  soloTracks = new Set();

  /**
   * @param {Replay} replay
   * @param {() => void} changed
   */
  constructor(replay, changed) {
    this.replay = replay;
    this.changed = changed;
    this.clock = new MasterClock(replay.duration_us);
    this.clock.seek(replay.live[0]?.[0] ?? 0, performance.now());
    this.tracks = replay.tracks.map(
      (track) => new TrackPlayer(replay.archive_id, track, replay.duration_us, () => {
        // What has just come is used at once and not at the next turn of the timer.
        this.#follow();
        changed();
      }),
    );
    this.timer = setInterval(() => this.#follow(), FOLLOW_EVERY_MS);
  }

  get position_us() {
    return this.clock.position_us(performance.now());
  }

  get playing() {
    return this.clock.playing;
  }

  /** Whether playing waits for data. */
  get waiting() {
    return this.clock.held;
  }

  toggle() {
    if (this.playing) this.clock.pause(performance.now());
    else this.clock.play(performance.now());
    this.#follow();
    this.changed();
  }

  /** @param {number} position_us */
  seek(position_us) {
    this.clock.seek(position_us, performance.now());
    this.#follow();
    this.changed();
  }

  /** @param {number} by_us */
  skip(by_us) {
    this.seek(this.position_us + by_us);
  }

  /** The next slower or faster speed. @param {-1|1} direction */
  changeRate(direction) {
    const place = RATES.indexOf(this.clock.rate) + direction;
    this.clock.setRate(RATES[Math.max(0, Math.min(RATES.length - 1, place))], performance.now());
    this.changed();
  }

  /** @param {Set<string>} set @param {string} trackId */
  #flip(set, trackId) {
    if (!set.delete(trackId)) set.add(trackId);
    for (const { track, element } of this.tracks) {
      if (track.source !== "microphone") continue;
      element.muted = this.mutedTracks.has(track.track_id)
        || (this.soloTracks.size > 0 && !this.soloTracks.has(track.track_id));
    }
    this.changed();
  }

  /** @param {string} trackId */
  toggleMute(trackId) {
    this.#flip(this.mutedTracks, trackId);
  }

  /** @param {string} trackId */
  toggleSolo(trackId) {
    this.#flip(this.soloTracks, trackId);
  }

  close() {
    clearInterval(this.timer);
    for (const track of this.tracks) track.close();
  }

  #follow() {
    const now_ms = performance.now();
    const at_us = this.clock.position_us(now_ms);
    if (this.playing && at_us >= this.replay.duration_us) {
      this.clock.pause(now_ms);
      this.changed();
    }
    // Everyone is asked, so that each knows since when it has kept the others waiting.
    const waiting = this.tracks.map((track) => track.waits(at_us, now_ms)).includes(true);
    if (waiting !== this.clock.held) {
      this.clock.hold(waiting, now_ms);
      this.changed();
    }
    const running = this.playing && !waiting;
    for (const track of this.tracks) track.follow(at_us, running, this.clock.rate);
  }
}
