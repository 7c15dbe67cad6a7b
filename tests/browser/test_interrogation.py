"""One interrogation in two real browsers: held, recorded, sealed, verified, replayed."""

from __future__ import annotations

import asyncio
import os
import signal
import subprocess
from pathlib import Path
from typing import Any

import aiohttp
import pytest
from in_page import (
    HEARS,
    MOVES,
    REMOTE,
    accounts,
    close_session,
    enter,
    eventually,
    lamp,
    open_session,
    sealed,
)
from playwright.async_api import expect

from server.keys import RECORDS

pytestmark = [pytest.mark.browser, pytest.mark.timeout(180)]


async def test_an_interrogation_from_joining_to_replay(window: Any, installation: Any) -> None:
    officer, detention = await enter(window, installation)
    assert await officer.page.evaluate(HEARS)
    assert await detention.page.evaluate(HEARS)
    await lamp(officer.page, "off")
    await open_session(officer.page)
    await lamp(detention.page, "recording")
    await asyncio.sleep(8)
    await officer.page.get_by_test_id("pause").click()
    await officer.page.get_by_test_id("pause-rest").click()
    for one in (officer, detention):
        await lamp(one.page, "paused")
    await asyncio.sleep(1)
    await officer.page.get_by_test_id("resume").click()
    await lamp(detention.page, "recording")
    await asyncio.sleep(11)
    for one in (officer, detention):
        await eventually(lambda page=one.page: page.evaluate(MOVES, REMOTE))
    await close_session(officer.page)
    await lamp(detention.page, "sealed")

    archive = sealed(installation)
    tracks = accounts(archive)
    assert sorted(tracks) == ["cam-1", "cam-2", "mic-1", "mic-2"]
    for track in tracks.values():
        assert track["expected_us"] > 19_000_000
        assert track["captured_us"] > 0.99 * track["expected_us"], track
    for command in (
        ["sha256sum", "--strict", "--quiet", "-c", "tagmanifest-sha256.txt"],
        ["sha256sum", "--strict", "--quiet", "-c", "manifest-sha256.txt"],
    ):
        subprocess.run(command, cwd=archive, check=True, timeout=30)

    await replayed(window, installation, ["cam-1", "cam-2"])
    assert officer.problems == []
    assert detention.problems == []


async def replayed(window: Any, installation: Any, cameras: list[str]) -> None:
    """The replay page plays moving pictures of each camera and verifies what it shows."""
    replay = await window("reviewer", f"/replay/{installation.session_id}")
    await replay.page.get_by_test_id("play").click()
    for camera in cameras:
        selector = f"[data-track-id={camera}] video"
        await eventually(lambda s=selector: replay.page.evaluate(MOVES, s))
    await expect(replay.page.get_by_test_id("verdict")).to_have_attribute(
        "data-sealed", "true", timeout=20_000
    )
    assert replay.problems == []


async def test_a_killed_recorder_loses_nothing(window: Any, installation: Any) -> None:
    officer, _ = await enter(window, installation)
    await open_session(officer.page)
    await asyncio.sleep(3)
    first = installation.recorder_pid()
    os.kill(first, signal.SIGKILL)

    async def replaced() -> bool:
        return installation.recorder_pid() not in (None, first)

    await eventually(replaced)
    await asyncio.sleep(4)
    await lamp(officer.page, "recording")
    await close_session(officer.page)
    for track in accounts(sealed(installation)).values():
        assert track["gaps"] == 0, track
        assert track["captured_us"] > 0.98 * track["expected_us"], track


async def test_a_lost_signalling_connection_comes_back_and_media_goes_on(
    window: Any, installation: Any
) -> None:
    officer, detention = await enter(window, installation)
    await open_session(officer.page)
    await detention.page.context.set_offline(True)
    await asyncio.sleep(2)
    await eventually(lambda: officer.page.evaluate(MOVES, REMOTE))
    await detention.page.context.set_offline(False)
    tile = officer.page.locator("[data-testid=tile]:not(.self)").first
    await expect(tile).to_have_attribute("data-present", "yes", timeout=20_000)
    await eventually(lambda: detention.page.evaluate(MOVES, REMOTE))
    await close_session(officer.page)
    for track in accounts(sealed(installation)).values():
        assert track["gaps"] == 0, track


async def test_evidence_is_a_track_of_its_own(
    window: Any, installation: Any, tmp_path: Path
) -> None:
    exhibit = tmp_path / "exhibit.png"
    subprocess.run(
        f"ffmpeg -loglevel error -f lavfi -i testsrc=size=800x600 -frames:v 1 {exhibit}".split(),
        check=True,
        timeout=30,
    )
    officer, detention = await enter(window, installation)
    await open_session(officer.page)
    await officer.page.get_by_test_id("show-evidence").click()
    async with officer.page.expect_file_chooser() as chooser:
        await officer.page.get_by_test_id("evidence-file").click()
    await (await chooser.value).set_files(exhibit)
    shown = detention.page.locator("[data-testid=evidence] video")

    async def visible() -> bool:
        return await shown.count() > 0 and await shown.evaluate("video => video.videoWidth") >= 640

    await eventually(visible, 20)
    await asyncio.sleep(3)
    await officer.page.get_by_test_id("stop-evidence").click()
    await asyncio.sleep(1)
    await close_session(officer.page)
    tracks = accounts(sealed(installation))
    assert tracks["evidence-1"]["captured_us"] > 2_500_000
    assert tracks["evidence-1"]["source"] == "evidence_display"


async def test_a_stranger_reaches_nothing(window: Any, installation: Any) -> None:
    stranger = await window("stranger", f"/sessions/{installation.session_id}")
    await expect(stranger.page.get_by_test_id("join")).to_have_count(0)
    token = installation.people["stranger"].token
    url = f"{installation.url}/ws/sessions/{installation.session_id}"
    async with aiohttp.ClientSession(headers={"Authorization": f"Bearer {token}"}) as client:
        with pytest.raises(aiohttp.WSServerHandshakeError) as refused:
            await client.ws_connect(url)
        assert refused.value.status == 403
    assert await installation.app[RECORDS].events(installation.session_id) == []
