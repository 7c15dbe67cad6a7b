import assert from "node:assert/strict";
import { test } from "node:test";
import { Signalling, backoff_ms } from "../static/js/signalling.js";

class FakeSocket {
  sent = [];
  send(text) { this.sent.push(JSON.parse(text)); }
  say(message) { this.onmessage({ data: JSON.stringify(message) }); }
  close() { this.onclose(); }
}

function begin(whyRefused = async () => null, now = Date.now) {
  const sockets = [];
  const heard = [];
  const note = (what) => (value) => heard.push([what, value]);
  const listener = {
    welcomed: note("welcomed"), stated: note("stated"), recorded: note("recorded"),
    happened: note("happened"), offered: note("offered"), linked: note("linked"),
    dropped: note("dropped"), ended: note("ended"), clocked: note("clocked"),
  };
  const signalling = new Signalling("ws://here", listener, whyRefused, () => {
    sockets.push(new FakeSocket());
    return sockets.at(-1);
  }, now);
  signalling.start();
  return { signalling, sockets, heard, kinds: () => heard.map(([kind]) => kind) };
}

const WELCOME = { type: "welcome", participant_id: "a", resume: "token-1", state: {}, permissions: [] };

test("says hello, and hello again with the resume token after a loss", () => {
  const { signalling, sockets, kinds } = begin();
  sockets[0].onopen();
  assert.deepEqual(sockets[0].sent, [{ type: "hello", version: 1 }]);
  sockets[0].say(WELCOME);
  assert.equal(signalling.open, true);
  sockets[0].close();
  assert.equal(signalling.open, false);
  signalling.lookAgain();
  sockets[1].onopen();
  assert.deepEqual(sockets[1].sent, [{ type: "hello", version: 1, resume: "token-1" }]);
  assert.deepEqual(kinds(), ["linked", "welcomed", "linked"]);
  signalling.leave();
});

test("says which sending connection the server has dropped", () => {
  const { signalling, sockets, heard } = begin();
  sockets[0].onopen();
  sockets[0].say(WELCOME);
  sockets[0].say({ type: "lost", peer: "p1" });
  assert.deepEqual(heard.at(-1), ["dropped", "p1"]);
  signalling.leave();
});

test("what comes before the welcome is taken after it", () => {
  const { signalling, sockets, kinds } = begin();
  sockets[0].onopen();
  sockets[0].say({ type: "offer", peer: "s1", sdp: "", tracks: [] });
  sockets[0].say({ type: "state", state: {} });
  assert.deepEqual(kinds(), []);
  sockets[0].say(WELCOME);
  assert.deepEqual(kinds(), ["linked", "welcomed", "offered"]);
  signalling.leave();
});

test("replies are matched by id; a refusal carries its code; a loss rejects", async () => {
  const { signalling, sockets } = begin();
  sockets[0].onopen();
  sockets[0].say(WELCOME);
  const opened = signalling.request({ type: "open" });
  const closed = signalling.request({ type: "close", case_number: "x" });
  const [open, close] = sockets[0].sent.slice(-2);
  sockets[0].say({ type: "error", id: close.id, error: "case_number_mismatch", message: "" });
  sockets[0].say({ type: "ok", id: open.id });
  assert.equal((await opened).type, "ok");
  await assert.rejects(closed, { code: "case_number_mismatch" });
  const lost = signalling.request({ type: "resume" });
  sockets[0].close();
  await assert.rejects(lost, { code: "network" });
  signalling.leave();
});

test("a final bye ends it for good, another one does not", () => {
  const first = begin();
  first.sockets[0].onopen();
  first.sockets[0].say(WELCOME);
  first.sockets[0].say({ type: "bye", error: "replaced" });
  assert.deepEqual(first.heard.at(-1), ["ended", "replaced"]);
  first.signalling.lookAgain();
  assert.equal(first.sockets.length, 1);

  const second = begin();
  second.sockets[0].onopen();
  second.sockets[0].say(WELCOME);
  second.sockets[0].say({ type: "bye", error: "internal" });
  second.sockets[0].close();
  second.signalling.lookAgain();
  assert.equal(second.sockets.length, 2);
  second.signalling.leave();
});

test("a socket that never opens is asked about, and a final reason ends it", async () => {
  const { sockets, heard } = begin(async () => "not_signed_in");
  sockets[0].close();
  await new Promise((resolve) => { setImmediate(resolve); });
  assert.deepEqual(heard.at(-1), ["ended", "not_signed_in"]);
});

test("pauses between attempts grow and stay bounded", () => {
  assert.deepEqual([0, 1, 2, 3, 4, 9].map((n) => backoff_ms(n, 0)), [250, 500, 1000, 2000, 2000, 2000]);
  assert.equal(backoff_ms(0, 1), 375);
});

/** A line whose clock the test moves: `await line.pass(3)` are three seconds, tick by tick. */
function clocked(t) {
  t.mock.timers.enable({ apis: ["setInterval", "setTimeout", "Date"] });
  const line = begin(async () => null, Date.now);
  const pass = (seconds) => {
    for (let i = 0; i < seconds; i++) t.mock.timers.tick(1_000);
  };
  line.sockets[0].onopen();
  line.sockets[0].say(WELCOME);
  const asked = (socket) => socket.sent.filter(({ type }) => type === "ping").length;
  return { ...line, pass, asked };
}

test("a silent server is asked, and given up without waiting for TCP", (t) => {
  const { signalling, sockets, heard, pass, asked } = clocked(t);
  let closed = 0;
  sockets[0].close = () => { closed += 1; };
  assert.equal(asked(sockets[0]), 1);
  pass(3);
  assert.equal(asked(sockets[0]), 2);
  pass(4);
  assert.equal(signalling.open, true);
  pass(1);
  assert.equal(signalling.open, false);
  assert.equal(closed, 1);
  assert.deepEqual(heard.at(-1), ["linked", "lost"]);
  pass(1);
  assert.equal(sockets.length, 2);
  sockets[0].say({ type: "state", state: {} });
  assert.deepEqual(heard.at(-1), ["linked", "lost"]);
  signalling.leave();
});

test("whatever the server says is a sign of life", (t) => {
  const { signalling, sockets, pass } = clocked(t);
  for (let i = 0; i < 30; i++) {
    pass(2);
    sockets[0].say({ type: "recording", recording: {} });
  }
  assert.equal(signalling.open, true);
  assert.equal(sockets.length, 1);
  signalling.leave();
});

test("an attempt into the void is given up for another one, and at once when there is a hint", (t) => {
  const { signalling, sockets, pass } = clocked(t);
  pass(9);
  assert.equal(sockets.length, 2);
  pass(7);
  assert.equal(sockets.length, 2);
  pass(3);
  assert.equal(sockets.length, 3);
  signalling.lookAgain();
  assert.equal(sockets.length, 4);
  signalling.leave();
});

test("a hint, or waking up, makes an open connection show soon that it is one", (t) => {
  const { signalling, sockets, pass, asked } = clocked(t);
  signalling.lookAgain();
  assert.equal(asked(sockets[0]), 2);
  pass(1);
  sockets[0].say({ type: "state", state: {} });
  pass(4);
  assert.equal(signalling.open, true);
  signalling.lookAgain();
  pass(2);
  assert.equal(signalling.open, false);
  signalling.leave();
});

test("after a sleep the server has to answer soon", (t) => {
  const { signalling, pass } = clocked(t);
  pass(2);
  const slept_ms = 60_000;
  signalling.now = () => Date.now() + slept_ms;
  pass(3);
  assert.equal(signalling.open, false);
  signalling.leave();
});
