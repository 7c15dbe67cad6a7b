/** The stage: who stands where, who is on it, and what the server is told of it. */

import assert from "node:assert/strict";
import test from "node:test";
import { arrange, emptySeat } from "../static/js/room/arrange.js";
import { HOLD_MS, RETURN_MS, StageChoice } from "../static/js/room/stage_choice.js";
import { EVERY_MS, ViewPace, heightOf } from "../static/js/room/views.js";

const WINDOWS = [[1256, 560], [1896, 912], [3800, 1960], [1032, 1640], [1000, 600], [800, 1200]];
const people = (count) => Array.from({ length: count }, (_, n) => `p${n}`);
const scene = (count, changes = {}) => ({
  width: 1256, height: 560, rem: 16, mode: "stage", seats: people(count), large: ["p1"],
  alternatives: count > 2, showing: false, kiosk: false, ...changes,
});

function* scenes() {
  for (const [width, height] of WINDOWS) {
    for (const mode of ["stage", "grid", "evidence"]) {
      for (const kiosk of [false, true]) {
        if (kiosk && mode === "grid") continue;
        for (let count = 1; count <= 16; count++) {
          for (const large of count === 1 ? [[]] : count === 2 ? [["p1"]] : [["p1"], ["p1", "p2"]]) {
            yield scene(count, { width, height, mode, kiosk, large, showing: mode === "evidence" });
          }
        }
      }
    }
  }
}

test("everybody has one place, within the stage and over nobody else's", () => {
  for (const each of scenes()) {
    const name = JSON.stringify(each);
    const places = arrange(each);
    for (const id of each.seats) assert.ok(places.has(id), `${id} in ${name}`);
    places.delete("wide");
    const all = [...places];
    for (const [key, { x, y, width, height }] of all) {
      assert.ok(x >= -0.01 && y >= -0.01, `${key} in ${name}`);
      assert.ok(x + width <= each.width + 0.01 && y + height <= each.height + 0.01, `${key} in ${name}`);
    }
    for (const [n, [key, a]] of all.entries()) {
      for (const [other, b] of all.slice(n + 1)) {
        const apart = a.x + a.width <= b.x + 0.01 || b.x + b.width <= a.x + 0.01
          || a.y + a.height <= b.y + 0.01 || b.y + b.height <= a.y + 0.01;
        assert.ok(apart, `${key} over ${other} in ${name}`);
      }
    }
  }
});

test("a change on the stage moves nobody who does not go there or come from there", () => {
  for (const each of scenes()) {
    if (each.seats.length < 4 || each.large.length !== 1) continue;
    const before = arrange(each);
    const after = arrange({ ...each, large: ["p3"] });
    for (const [key, place] of before) {
      if (["p1", "p3", emptySeat("p1"), emptySeat("p3")].includes(key)) continue;
      assert.deepEqual(after.get(key), place, `${key} in ${JSON.stringify(each)}`);
    }
    if (each.mode !== "grid") {
      assert.deepEqual(after.get("p3"), before.get("p1"));
      assert.deepEqual(after.get(emptySeat("p3")), before.get("p3"));
      assert.deepEqual(after.get("p1"), before.get(emptySeat("p1")));
    }
  }
});

test("seats are in order, row by row", () => {
  for (const each of scenes()) {
    const places = arrange(each);
    const seats = each.seats.map((id) => places.get(emptySeat(id)) ?? (each.large.includes(id) ? null : places.get(id)))
      .filter(Boolean);
    for (let n = 1; n < seats.length; n++) {
      const [a, b] = [seats[n - 1], seats[n]];
      assert.ok(b.y > a.y + 1 || (Math.abs(b.y - a.y) < 1 && b.x > a.x), JSON.stringify(each));
    }
  }
});

test("in a grid all are equal, and what is on the stage has the most room", () => {
  for (const count of [2, 5, 12]) {
    const grid = arrange(scene(count, { mode: "grid" }));
    const sizes = new Set(people(count).map((id) => `${grid.get(id).width}x${grid.get(id).height}`));
    assert.equal(sizes.size, 1);
    const stage = arrange(scene(count));
    const area = ({ width, height }) => width * height;
    for (const [key, place] of stage) if (key !== "p1") assert.ok(area(place) < area(stage.get("p1")), key);
  }
});

test("two people: the other large, oneself beside, as it always was", () => {
  const places = arrange(scene(2, { seats: ["me", "p1"] }));
  assert.deepEqual([...places.keys()].sort(), ["evidence", "me", "p1", "side", "wide"]);
  assert.deepEqual(places.get("p1").height, 560);
  assert.equal(places.get("evidence").x, places.get("me").x);
  assert.ok(places.get("me").width < places.get("evidence").width / 2);
});

test("twelve in the smallest window: faces in a strip that can be told apart", () => {
  const places = arrange(scene(12));
  assert.ok(places.get("p1").height > 400);
  for (const id of people(12).slice(2)) assert.ok(places.get(id).width >= 96, id);
  assert.ok(arrange(scene(12, { mode: "grid" })).get("p5").width > 200);
});

test("a second picture stands on the first", () => {
  const places = arrange(scene(4));
  const [wide, large] = [places.get("wide"), places.get("p1")];
  assert.ok(wide.x > large.x && wide.x + wide.width < large.x + large.width && wide.y + wide.height < large.y + large.height);
  assert.equal(arrange(scene(4, { large: ["p1", "p2"] })).has("wide"), false);
});

const others = (...absent) => ["a", "b", "sub"].map((id) => ({ id, here: !absent.includes(id) }));

test("the one whom it is about, until somebody speaks; back after silence", () => {
  const choice = new StageChoice();
  const home = "sub";
  assert.deepEqual(choice.take(others(), { speaker: null, home }, 0), ["sub"]);
  assert.deepEqual(choice.take(others(), { speaker: "a", home }, 100), ["sub"], "held");
  assert.deepEqual(choice.take(others(), { speaker: "a", home }, HOLD_MS), ["a"]);
  assert.deepEqual(choice.take(others(), { speaker: null, home }, 10_000), ["a"]);
  assert.deepEqual(choice.take(others(), { speaker: null, home }, 10_000 + RETURN_MS), ["sub"]);
});

test("never oneself, and one's own question takes no face away", () => {
  const choice = new StageChoice();
  choice.take(others(), { speaker: "a", home: "sub" }, 0);
  for (let at = 0; at < 60_000; at += 500) {
    assert.deepEqual(choice.take(others(), { speaker: "me", home: "sub" }, at), ["a"]);
  }
});

test("who leaves is replaced at once, and where nobody is, the place stays", () => {
  const choice = new StageChoice();
  choice.take(others(), { speaker: "a", home: "sub" }, 0);
  assert.deepEqual(choice.take(others("a"), { speaker: null, home: "sub" }, 1), ["sub"]);
  assert.deepEqual(choice.take(others("a", "sub"), { speaker: null, home: "sub" }, 2), ["b"]);
  assert.deepEqual(choice.take(others("a", "b", "sub"), { speaker: null, home: "sub" }, 3), ["b"]);
  assert.deepEqual(new StageChoice().take(others("a", "b", "sub"), { speaker: null, home: "sub" }, 0), ["sub"]);
  assert.deepEqual(new StageChoice().take([], { speaker: null, home: null }, 0), []);
});

test("who was put there stays, whoever speaks; at most two, in seat order", () => {
  const choice = new StageChoice();
  choice.toggle("sub");
  choice.toggle("a");
  assert.deepEqual(choice.take(others(), { speaker: "b", home: "sub" }, 0), ["a", "sub"]);
  choice.toggle("b");
  assert.deepEqual(choice.take(others(), { speaker: null, home: "sub" }, 1), ["a", "b"]);
  choice.toggle("a");
  assert.deepEqual(choice.take(others("b"), { speaker: null, home: "sub" }, 2), ["b"]);
  choice.release();
  assert.deepEqual(choice.take(others(), { speaker: null, home: "sub" }, 9_000), ["sub"]);
});

test("whatever is said, the picture changes no oftener than it may while all are there", () => {
  let seed = 7;
  const random = (count) => (seed = (seed * 16807) % 2147483647) % count;
  const choice = new StageChoice();
  let [before, changed_ms] = ["", -Infinity];
  for (let at_ms = 0; at_ms < 600_000; at_ms += 200) {
    const speaker = [null, "a", "b", "sub", "me"][random(5)];
    const [shown] = choice.take(others(), { speaker, home: "sub" }, at_ms);
    assert.notEqual(shown, "me");
    if (shown === before) continue;
    assert.ok(at_ms - changed_ms >= HOLD_MS);
    [before, changed_ms] = [shown, at_ms];
  }
});

test("the height of a picture on the screen", () => {
  const picture = { width: 1280, height: 720 };
  assert.equal(heightOf({ width: 320, height: 400 }, picture, 1), 192);
  assert.equal(heightOf({ width: 320, height: 400 }, picture, 2), 368);
  assert.equal(heightOf({ width: 320, height: 90 }, { width: 0, height: 0 }, 1), 96);
  assert.equal(heightOf({ width: 0, height: 0 }, picture, 1), 0);
});

test("the server is told of changes only, at most twice a second", () => {
  const pace = new ViewPace();
  assert.deepEqual(pace.take({}, 0), { send: false, again_ms: null });
  assert.deepEqual(pace.take({ "cam-1": 160 }, 10), { send: true, again_ms: null });
  assert.deepEqual(pace.take({ "cam-1": 160 }, 5_000), { send: false, again_ms: null });
  assert.deepEqual(pace.take({ "cam-1": 0, "cam-2": 16 }, 5_000), { send: true, again_ms: null });
  assert.deepEqual(pace.take({ "cam-2": 16, "cam-1": 0 }, 5_001), { send: false, again_ms: null });
  assert.deepEqual(pace.take({ "cam-1": 0 }, 5_100), { send: false, again_ms: EVERY_MS - 100 });
  assert.deepEqual(pace.take({ "cam-1": 0 }, 5_500), { send: true, again_ms: null });
  pace.forget();
  assert.equal(pace.take({ "cam-1": 0 }, 6_000).send, true);
});
