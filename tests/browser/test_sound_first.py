"""Sound survives first (F36): a real browser receives over a line that is too narrow and bad."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from typing import Any

import pytest
from bad_line import BadLine, Trouble, bad_line

pytestmark = [pytest.mark.browser, pytest.mark.timeout(120)]

KEEP_CONNECTIONS = """() => {
  const Original = RTCPeerConnection;
  window.connections = [];
  window.RTCPeerConnection = class extends Original {
    constructor(...terms) { super(...terms); window.connections.push(this); }
  };
}"""

RECEIVED = """async () => {
  const found = {};
  for (const connection of window.connections) {
    for (const report of (await connection.getStats()).values()) {
      if (report.type === 'inbound-rtp') found[report.kind] = report;
    }
  }
  return found;
}"""

SETTLES_S = 8
SECONDS = 15
COMES_BACK_S = 45
"""What the line carries is found out step by step, each of them after a wait."""


@pytest.fixture
async def line() -> AsyncIterator[BadLine]:
    async with bad_line(Trouble(delay_s=0.03), seed=36) as line:
        yield line


@pytest.fixture
def overrides(line: BadLine) -> dict[str, Any]:
    return {**line.overrides, "media.processes": 0}


async def test_sound_goes_on_and_the_picture_gives_way(
    window: Any, installation: Any, line: BadLine
) -> None:
    path = f"/sessions/{installation.session_id}"
    officer = await window("officer", path, width=1920, height=1080)
    detention = await window("detention", path)
    for one in (officer, detention):
        await one.page.evaluate(KEEP_CONNECTIONS)
        await one.page.get_by_test_id("join").click()
    for one in (officer, detention):
        await one.page.wait_for_function(
            "() => document.querySelector('[data-testid=tile]:not(.self) video')?.videoHeight > 600"
        )
    line.change(publishing=False, loss=0.15, rate_bps=300_000)
    await asyncio.sleep(SETTLES_S)
    before = await officer.page.evaluate(RECEIVED)
    await asyncio.sleep(SECONDS)
    after = await officer.page.evaluate(RECEIVED)

    def more(kind: str, name: str) -> float:
        return float(after[kind].get(name, 0) - before[kind].get(name, 0))

    # Of 15 % lost, repair leaves next to nothing to be concealed.
    assert more("audio", "concealedSamples") < 0.05 * more("audio", "totalSamplesReceived")
    assert more("audio", "packetsReceived") > 0.9 * 50 * SECONDS
    # The picture is small now, or none, and what it takes leaves room.
    assert after["video"]["frameHeight"] <= 360 or not more("video", "framesDecoded")
    assert more("video", "bytesReceived") * 8 / SECONDS < 250_000
    line.change(publishing=False, loss=0.0, rate_bps=0.0)
    await officer.page.wait_for_function(
        "() => document.querySelector('[data-testid=tile]:not(.self) video')?.videoHeight > 600",
        timeout=COMES_BACK_S * 1000,
    )
