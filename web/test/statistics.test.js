/** The figures of the statistics panel: from what getStats says to what is shown. */

import assert from "node:assert/strict";
import test from "node:test";
import { bitrate, milliseconds, share } from "../static/js/format.js";
import { figuresOf, rates } from "../static/js/room/statistics.js";

test("loss counts what a receiver misses, and what a sender's receiver misses", () => {
  const before = { packets: 100, lost: 0, bytes: 0 };
  const now = { packets: 190, lost: 10, bytes: 125_000 };
  assert.deepEqual(rates(before, now, 1_000, "in"), { loss: 0.1, kbps: 1_000 });
  assert.equal(rates(before, now, 1_000, "out").loss, 10 / 90);
});

test("no packets, no loss; a repaired packet is no negative one; no time, no rate", () => {
  const counts = { packets: 5, lost: 3, bytes: 10 };
  assert.deepEqual(rates(counts, counts, 1_000, "in"), { loss: null, kbps: 0 });
  assert.equal(rates(counts, { packets: 9, lost: 1, bytes: 10 }, 1_000, "in").loss, 0);
  assert.equal(rates(counts, counts, 0, "in").kbps, null);
});

test("a received picture", () => {
  const report = new Map([["T", { selectedCandidatePairId: "P" }], ["P", { currentRoundTripTime: 0.08 }]]);
  const entry = {
    type: "inbound-rtp", kind: "video", transportId: "T", packetsReceived: 10, packetsLost: 2, bytesReceived: 99,
    frameWidth: 1280, frameHeight: 720, framesPerSecond: 25, freezeCount: 1, totalFreezesDuration: 0.4, jitter: 0.005,
    framesDropped: 3,
  };
  const track = { key: "in-1", participantId: "a", source: /** @type {const} */ ("camera"), trackId: "cam-1" };
  assert.deepEqual(figuresOf(entry, report, track), {
    ...track, direction: "in", counts: { packets: 10, lost: 2, bytes: 99 }, loss: null, kbps: null,
    picture: { width: 1280, height: 720, rate: 25 }, freezes: { count: 1, seconds: 0.4 }, jitter_ms: 5, trip_ms: 80,
    rid: null, dropped: 3,
  });
});

test("a sound that is sent, before and after its receiver has reported", () => {
  const entry = { type: "outbound-rtp", kind: "audio", remoteId: "R", packetsSent: 7, bytesSent: 70 };
  const track = { key: "out-1", participantId: null, source: /** @type {const} */ ("microphone"), trackId: null };
  const early = figuresOf(entry, new Map(), track);
  assert.deepEqual([early.counts.lost, early.jitter_ms, early.trip_ms, early.freezes], [0, null, null, null]);
  const report = new Map([["R", { packetsLost: 1, jitter: 0.002, roundTripTime: 0.03 }]]);
  const late = figuresOf(entry, report, track);
  assert.deepEqual([late.counts.lost, late.jitter_ms, late.trip_ms], [1, 2, 30]);
});

test("figures as they are written", () => {
  assert.deepEqual([0, 0.0042, 0.0994, 0.0996, 1, null].map(share), ["0.0%", "0.4%", "9.9%", "10%", "100%", null]);
  assert.deepEqual([24.4, 999, 1_250, null].map(bitrate), ["24 kbit/s", "999 kbit/s", "1.3 Mbit/s", null]);
  assert.deepEqual([0, 9.94, 9.96, 83.4, null].map(milliseconds), ["0.0 ms", "9.9 ms", "10 ms", "83 ms", null]);
});
