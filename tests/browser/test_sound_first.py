"""Sound survives first (F36): a real browser receives over a line that is too narrow and bad."""

from __future__ import annotations

import asyncio
from typing import Any

import pytest
from bad_line import BadLine, Trouble
from in_page import received, take_seats

from bench.chromium import see

pytestmark = [pytest.mark.browser, pytest.mark.timeout(120)]

TROUBLE, SEED = Trouble(delay_s=0.03), 36
LARGE = 601
"""Lines of a picture that is as large as it was sent."""

SETTLES_S = 8
SECONDS = 15
COMES_BACK_S = 45
"""What the line carries is found out step by step, each of them after a wait."""


@pytest.fixture
def overrides(line: BadLine) -> dict[str, Any]:
    return line.overrides


async def test_sound_goes_on_and_the_picture_gives_way(
    window: Any, installation: Any, line: BadLine
) -> None:
    path = f"/sessions/{installation.session_id}"
    officer = await window("officer", path, width=1920, height=1080)
    detention = await window("detention", path)
    await take_seats(officer, detention)
    for one in (officer, detention):
        await see(one.page, LARGE)
    line.change(publishing=False, loss=0.15, rate_bps=300_000)
    await asyncio.sleep(SETTLES_S)
    before = await received(officer.page)
    await asyncio.sleep(SECONDS)
    after = await received(officer.page)

    def more(kind: str, name: str) -> float:
        return float(after[kind].get(name, 0) - before[kind].get(name, 0))

    # Of 15 % lost, repair leaves next to nothing to be concealed.
    assert more("audio", "concealedSamples") < 0.05 * more("audio", "totalSamplesReceived")
    assert more("audio", "packetsReceived") > 0.9 * 50 * SECONDS
    # The picture is small now, or none, and what it takes leaves room.
    assert after["video"]["frameHeight"] <= 360 or not more("video", "framesDecoded")
    assert more("video", "bytesReceived") * 8 / SECONDS < 250_000
    line.change(publishing=False, loss=0.0, rate_bps=0.0)
    await see(officer.page, LARGE, COMES_BACK_S)
