import assert from "node:assert/strict";
import { test } from "node:test";
import { FlowWatch } from "../static/js/room/flow_watch.js";
import { stayedIn } from "../static/js/room/stay.js";

/** A storage that holds one note. */
const holding = (text) => ({ getItem: () => text });

test("a page goes back to the session that it was in a moment ago, and to no other", () => {
  const note = JSON.stringify({ session_id: "s-1", at: 1_000_000 });
  assert.equal(stayedIn(holding(note), 1_000_000 + 60_000), "s-1");
  assert.equal(stayedIn(holding(note), 1_000_000 + 6 * 60_000), null);
  assert.equal(stayedIn(holding(note), 999_000), null);
  assert.equal(stayedIn(holding(null), 1_000_000), null);
  assert.equal(stayedIn(holding("not JSON"), 1_000_000), null);
});

/** A call whose packets and lines the test sets. */
function watched(t) {
  t.mock.timers.enable({ apis: ["setInterval", "Date"], now: 1_000_000 });
  const done = { restarted: 0, renewed: 0 };
  const line = { packets: 0, mine: 0, theirs: 0 };
  const call = {
    welcome: { participant_id: "me" },
    others: [{ id: "they", present: "yes", tracks: [{ source: "microphone", track_id: "mic-1" }] }],
    lineOf: (id) => ({ up_loss: id === "me" ? line.mine : line.theirs }),
    publisher: { connection: { connectionState: "connected" }, restart: () => { done.restarted += 1; } },
    subscriber: {
      connection: {
        connectionState: "connected",
        getStats: async () => [{ type: "inbound-rtp", packetsReceived: line.packets }],
      },
      tracks: new Map([["mic-1", {}]]),
      renew: () => { done.renewed += 1; },
    },
  };
  const watch = new FlowWatch(call);
  watch.stop();
  const pass = async (seconds, flowing) => {
    for (let i = 0; i < seconds; i += 2) {
      t.mock.timers.setTime(Date.now() + 2_000);
      if (flowing) line.packets += 100;
      await watch.look();
    }
  };
  return { call, line, done, pass };
}

test("what flows is left alone", async (t) => {
  const { done, pass } = watched(t);
  await pass(60, true);
  assert.deepEqual(done, { restarted: 0, renewed: 0 });
});

test("a connection that stands and brings nothing is renewed, now and then", async (t) => {
  const { line, done, pass } = watched(t);
  await pass(4, true);
  await pass(6, false);
  assert.equal(done.renewed, 0);
  await pass(4, false);
  assert.equal(done.renewed, 1);
  await pass(10, false);
  assert.equal(done.renewed, 1);
  await pass(12, false);
  assert.equal(done.renewed, 2);
  assert.equal(done.restarted, 0);
  // Nothing comes because nobody sends: no connection mends that.
  line.theirs = 1;
  await pass(60, false);
  assert.equal(done.renewed, 2);
});

test("a sending connection of which nothing reaches the server is made anew", async (t) => {
  const { call, line, done, pass } = watched(t);
  line.mine = 1;
  await pass(6, true);
  assert.equal(done.restarted, 0);
  await pass(4, true);
  assert.equal(done.restarted, 1);
  // One that is being made has its own patience.
  call.publisher.connection.connectionState = "connecting";
  await pass(60, true);
  assert.equal(done.restarted, 1);
});
