import assert from "node:assert/strict";
import { test } from "node:test";
import { inOrder } from "../static/js/codecs.js";
import { day, duration, moment, readMoment } from "../static/js/format.js";

test("durations", () => {
  assert.equal(duration(0), "00:00");
  assert.equal(duration(59_999), "00:59");
  assert.equal(duration(3_599_000), "59:59");
  assert.equal(duration(3_661_000), "1:01:01");
});

test("moments are written and read the same, and what is no moment is refused", () => {
  const date = new Date(2026, 10, 23, 14, 5, 7);
  assert.equal(moment(date), "2026-11-23 14:05:07");
  assert.equal(day(date), "2026-11-23");
  assert.equal(readMoment(" 2026-11-23 14:05 ").getTime(), new Date(2026, 10, 23, 14, 5).getTime());
  for (const text of ["", "23.11.2026 14:05", "2026-02-30 10:00", "2026-11-23 25:00"]) {
    assert.equal(readMoment(text), null, text);
  }
});

test("codecs in the server's order, H.264 baseline in packetization mode 1 first", () => {
  const codec = (mimeType, sdpFmtpLine) => ({ mimeType, clockRate: 90000, sdpFmtpLine });
  const high = codec("video/H264", "packetization-mode=1;profile-level-id=640c1f");
  const single = codec("video/H264", "packetization-mode=0;profile-level-id=42e01f");
  const base = codec("video/H264", "packetization-mode=1;profile-level-id=42e01f");
  const vp8 = codec("video/VP8");
  const vp9 = codec("video/VP9");
  const rtx = codec("video/rtx");
  const all = [vp8, rtx, vp9, high, single, base];
  assert.deepEqual(inOrder(all, ["H264", "VP8"]), [base, high, vp8, rtx]);
  assert.deepEqual(inOrder(all, ["VP8"]), [vp8, rtx]);
});
