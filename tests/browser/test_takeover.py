"""The media process of a session dies under two real browsers: they come back by themselves."""

from __future__ import annotations

import asyncio
import os
import signal
import time
from typing import Any

import pytest
from in_page import HEARS, MOVES, REMOTE, close_session, enter, eventually, lamp, open_session
from in_page import sealed as sealed_archive
from session_in_hand import gaps, ledger, tracks

from server.keys import MEDIA_PROCESSES

pytestmark = [pytest.mark.browser, pytest.mark.timeout(180)]


@pytest.fixture
def overrides() -> dict[str, Any]:
    return {"media.processes": 2}


async def test_a_media_process_dies(window: Any, installation: Any) -> None:
    processes = installation.app[MEDIA_PROCESSES]
    officer, detention = await enter(window, installation)
    await open_session(officer.page)
    async with asyncio.timeout(20):
        while len(processes.to_json()) < 2:
            await asyncio.sleep(0.1)
    await asyncio.sleep(3)
    dead = next(one for one in processes.to_json() if one["sessions"])
    os.kill(dead["pid"], signal.SIGKILL)
    killed_s = time.monotonic()
    # Nothing is recorded, and the page says so, until pictures are on disk again.
    await lamp(officer.page, "stalled")
    await lamp(officer.page, "recording")
    back_s = time.monotonic() - killed_s
    print(f"recorded again after {back_s:.2f} s")
    for one in (officer, detention):
        await eventually(lambda page=one.page: page.evaluate(MOVES, REMOTE))
        assert await one.page.evaluate(HEARS)
    assert installation.session_id in processes.running()
    await asyncio.sleep(4)
    await close_session(officer.page)
    await lamp(detention.page, "sealed")
    lines = ledger(sealed_archive(installation))
    assert set(tracks(lines)) == {"cam-1", "cam-2", "mic-1", "mic-2"}
    for track in tracks(lines).values():
        told = gaps(lines, track["track"])
        assert [gap["cause"] for gap in told] == ["recorder"], told
        lasted_s = (told[0]["to_us"] - told[0]["from_us"]) / 1e6
        print(f"{track['track']}: a gap of {lasted_s:.2f} s")
        assert lasted_s < 15, told
        assert track["captured_us"] + track["gap_us"] == track["expected_us"]
