"""What people do in a session's page, and what can be seen and heard in it: for browser tests."""

from __future__ import annotations

import asyncio
import json
from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import Any

from playwright.async_api import Page, expect

from recorder.verify import Trust, verify

KEEP_CONNECTIONS = """(() => {
  const Original = RTCPeerConnection;
  window.connections = [];
  window.RTCPeerConnection = class extends Original {
    constructor(...terms) { super(...terms); window.connections.push(this); }
  };
})()"""
"""To be evaluated before joining: the page's connections are then in ``window.connections``."""

MOVES = """async (selector) => {
  const video = document.querySelector(selector);
  if (!video || !video.videoWidth) return false;
  const canvas = document.createElement('canvas');
  canvas.width = 160; canvas.height = 90;
  const context = canvas.getContext('2d', {willReadFrequently: true});
  const look = () => {
    context.drawImage(video, 0, 0, 160, 90);
    return context.getImageData(0, 0, 160, 90).data;
  };
  const before = look();
  await new Promise(done => setTimeout(done, 600));
  const after = look();
  let changed = 0;
  for (let i = 0; i < before.length; i += 4) {
    changed += [0, 1, 2].some(c => Math.abs(before[i + c] - after[i + c]) > 30);
  }
  return changed > 20;
}"""

REMOTE = "[data-testid=tile]:not(.self) video"

HEARS = """async () => {
  const audio = [...document.querySelectorAll('audio')].find(one => one.srcObject);
  if (!audio) return false;
  const context = new AudioContext();
  await context.resume();
  const analyser = context.createAnalyser();
  analyser.fftSize = 2048;
  context.createMediaStreamSource(audio.srcObject).connect(analyser);
  const samples = new Float32Array(analyser.fftSize);
  for (let i = 0; i < 150; i++) {
    analyser.getFloatTimeDomainData(samples);
    if (samples.some(value => Math.abs(value) > 0.02)) return true;
    await new Promise(done => setTimeout(done, 20));
  }
  return false;
}"""


async def eventually(check: Callable[[], Awaitable[bool]], seconds: float = 15.0) -> None:
    """Wait until ``check`` says yes."""
    async with asyncio.timeout(seconds):
        while not await check():
            await asyncio.sleep(0.1)


async def enter(window: Any, installation: Any) -> tuple[Any, Any]:
    """Both sites open the session's page and join."""
    path = f"/sessions/{installation.session_id}"
    officer = await window("officer", path)
    detention = await window("detention", path)
    await join(officer, detention)
    return officer, detention


async def join(officer: Any, detention: Any) -> None:
    """Both join, and see the other move."""
    for one in (officer, detention):
        await one.page.evaluate(KEEP_CONNECTIONS)
        await one.page.get_by_test_id("join").click()
    for one in (officer, detention):
        await eventually(lambda page=one.page: page.evaluate(MOVES, REMOTE))


async def open_session(page: Page) -> None:
    """Open, and wait for the lamp."""
    await page.get_by_test_id("open").click()
    await lamp(page, "recording")


async def lamp(page: Page, state: str) -> None:
    """Wait until the lamp shows ``state``."""
    await expect(page.get_by_test_id("lamp")).to_have_attribute("data-state", state, timeout=20_000)


async def close_session(page: Page, case_number: str) -> None:
    """Close as an officer does: type the case number, hold the button."""
    await page.get_by_test_id("close").click()
    await page.get_by_test_id("close-case-number").fill(case_number)
    await page.get_by_test_id("close-hold").hover()
    await page.mouse.down()
    await asyncio.sleep(1.3)
    await page.mouse.up()
    await lamp(page, "sealed")


def sealed(installation: Any) -> Path:
    """The sealed archive, after the verifier has passed it."""
    archive = installation.archive_dir / installation.session_id
    report = verify(archive, Trust.of_installation(installation.config.certificates_dir))
    assert report.sealed, report.to_json()
    assert isinstance(archive, Path)
    return archive


def accounts(archive: Path) -> dict[str, dict[str, Any]]:
    """What the ledger's last line says of each track."""
    last = (archive / "data" / "chain.jsonl").read_text().splitlines()[-1]
    closing = json.loads(last)
    assert closing["type"] == "close"
    return {track["track"]: track for track in closing["tracks"]}
