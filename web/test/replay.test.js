import assert from "node:assert/strict";
import { test } from "node:test";
import { MasterClock } from "../static/js/replay/master_clock.js";
import { gapAt, lastBegun, runs, segmentAt, wanted } from "../static/js/replay/track_times.js";

const segment = (n, t0_s, end_s) => ({ n, t0_us: t0_s * 1e6, end_us: end_s * 1e6 });
const SEGMENTS = [segment(1, 1, 5), segment(2, 5, 9), segment(3, 13, 17)];

test("the clock runs, pauses, waits, changes speed and stops at the end", () => {
  const clock = new MasterClock(10_000_000);
  assert.equal(clock.position_us(500), 0);
  clock.play(1000);
  assert.equal(clock.position_us(2000), 1_000_000);
  clock.hold(true, 2000);
  assert.equal(clock.position_us(9000), 1_000_000);
  clock.hold(false, 9000);
  clock.setRate(2, 9500);
  assert.equal(clock.position_us(10_000), 2_500_000);
  clock.pause(10_000);
  assert.equal(clock.position_us(99_000), 2_500_000);
  clock.seek(20_000_000, 99_000);
  assert.equal(clock.position_us(99_000), 10_000_000);
  clock.play(100_000);
  assert.equal(clock.position_us(100_000), 0, "playing at the end begins again");
  assert.equal(clock.position_us(900_000), 10_000_000);
});

test("segments at a moment, at the edges and in holes", () => {
  assert.equal(segmentAt(SEGMENTS, 0), null);
  assert.equal(segmentAt(SEGMENTS, 1e6).n, 1);
  assert.equal(segmentAt(SEGMENTS, 5e6).n, 2);
  assert.equal(segmentAt(SEGMENTS, 10e6), null);
  assert.equal(segmentAt(SEGMENTS, 17e6), null);
  assert.equal(segmentAt([], 1e6), null);
  assert.deepEqual([0, 1e6, 8e6, 99e6].map((at) => lastBegun(SEGMENTS, at)), [-1, 0, 1, 2]);
});

test("what is wanted begins with what plays now", () => {
  const numbers = (at, ahead) => wanted(SEGMENTS, at, ahead).map(({ n }) => n);
  assert.deepEqual(numbers(6e6, 12e6), [2, 3]);
  assert.deepEqual(numbers(0, 2e6), [1]);
  assert.deepEqual(numbers(10e6, 4e6), [3]);
  assert.deepEqual(numbers(20e6, 4e6), []);
});

test("gaps are found by moment", () => {
  const gaps = [{ from_us: 9e6, to_us: 13e6, cause: "network" }];
  assert.equal(gapAt(gaps, 9e6).cause, "network");
  assert.equal(gapAt(gaps, 13e6), null);
});

test("neighbours of the same state are one run", () => {
  const states = { 1: "verified", 2: "verified", 3: "verified" };
  assert.deepEqual(runs(SEGMENTS, ({ n }) => states[n]), [
    { from_us: 1e6, to_us: 9e6, state: "verified" },
    { from_us: 13e6, to_us: 17e6, state: "verified" },
  ]);
  states[2] = "failed";
  assert.deepEqual(runs(SEGMENTS, ({ n }) => states[n]).map(({ state }) => state),
    ["verified", "failed", "verified"]);
});
