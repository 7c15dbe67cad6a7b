import assert from "node:assert/strict";
import { test } from "node:test";
import { Patience } from "../static/js/playout.js";

const GOOD = { asked: 0, packets: 100, freezes: 0 };
const BAD = { asked: 5, packets: 100, freezes: 0 };
const FROZEN = { asked: 5, packets: 100, freezes: 1 };

test("on a good line pictures do not wait", () => {
  const patience = new Patience();
  for (let second = 0; second < 60; second++) assert.equal(patience.look(GOOD, 100, second * 1000), 0);
});

test("on a bad line they wait for what is sent again, longer where they freeze, up to a limit", () => {
  const patience = new Patience();
  assert.equal(patience.look(BAD, 50, 0), 300);
  assert.equal(patience.look(BAD, 50, 1000), 300);
  assert.equal(patience.look(FROZEN, 50, 2000), 400);
  assert.equal(patience.look(FROZEN, 50, 3000), 500);
  assert.equal(patience.look(FROZEN, 50, 4000), 500);
});

test("when the line has been good for a while they wait less, step by step", () => {
  const patience = new Patience();
  patience.look(BAD, 50, 0);
  assert.equal(patience.look(GOOD, 50, 19_000), 300);
  assert.equal(patience.look(GOOD, 50, 21_000), 200);
  assert.equal(patience.look(GOOD, 50, 22_000), 200);
  assert.equal(patience.look(GOOD, 50, 42_000), 0);
  assert.equal(patience.look(GOOD, 50, 63_000), 0);
});
