"""What people do in a session's page, and what can be seen and heard in it: for browser tests."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import Any

from playwright.async_api import Page, expect
from session_in_hand import ledger, tracks, verified

from bench.chromium import KEEP_CONNECTIONS, RECEIVED, REMOTE

CASE_NUMBER = "2026-0412"

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


PATHS = """async () => {
  const paths = [];
  for (const connection of window.connections) {
    const reports = await connection.getStats();
    for (const report of reports.values()) {
      if (report.type !== "transport" || !report.selectedCandidatePairId) continue;
      const pair = reports.get(report.selectedCandidatePairId);
      const local = reports.get(pair.localCandidateId);
      const remote = reports.get(pair.remoteCandidateId);
      const way = `${local.candidateType} ${local.relayProtocol ?? local.protocol}`;
      paths.push({way, address: remote.address});
    }
  }
  return paths;
}"""
"""How each connection of the page gets through, and to which address of the server."""


def trusting(url: str) -> str:
    """Chromium's argument that lets a page of this address, not of this machine, use a camera."""
    return f"--unsafely-treat-insecure-origin-as-secure={url}"


async def eventually(
    check: Callable[[], Awaitable[bool]], seconds: float = 15.0, says: str = ""
) -> None:
    """Wait until ``check`` says yes, which means ``says``."""
    try:
        async with asyncio.timeout(seconds):
            while not await check():
                await asyncio.sleep(0.1)
    except TimeoutError:
        raise AssertionError(f"not within {seconds} s: {says}") from None


async def enter(window: Any, installation: Any) -> tuple[Any, Any]:
    """Both sites open the session's page and join."""
    path = f"/sessions/{installation.session_id}"
    officer = await window("officer", path)
    detention = await window("detention", path)
    await join(officer, detention)
    return officer, detention


async def take_seats(*windows: Any) -> None:
    """All press "Join"; their connections are then in ``window.connections``."""
    for one in windows:
        await one.page.evaluate(KEEP_CONNECTIONS)
        await one.page.get_by_test_id("join").click()


async def join(officer: Any, detention: Any) -> None:
    """Both join, and see the other move."""
    await take_seats(officer, detention)
    for one in (officer, detention):
        await eventually(lambda page=one.page: page.evaluate(MOVES, REMOTE))


async def received(page: Page) -> dict[str, dict[str, Any]]:
    """What the browser says of the one sound and the one picture that come, by kind."""
    reports = await page.evaluate(RECEIVED)
    found = {report["kind"]: report for report in reports}
    assert len(found) == len(reports), reports
    return found


async def open_session(page: Page) -> None:
    """Open, and wait for the lamp."""
    await page.get_by_test_id("open").click()
    await lamp(page, "recording")


async def lamp(page: Page, state: str) -> None:
    """Wait until the lamp shows ``state``."""
    await expect(page.get_by_test_id("lamp")).to_have_attribute("data-state", state, timeout=20_000)


async def close_session(page: Page) -> None:
    """Close as an officer does: type the case number, hold the button."""
    await page.get_by_test_id("close").click()
    await page.get_by_test_id("close-case-number").fill(CASE_NUMBER)
    await page.get_by_test_id("close-hold").hover()
    await page.mouse.down()
    await asyncio.sleep(1.3)
    await page.mouse.up()
    await lamp(page, "sealed")


def sealed(installation: Any) -> Path:
    """The sealed archive, after the verifier has passed it."""
    return verified(installation.config, installation.session_id)


def accounts(archive: Path) -> dict[str, dict[str, Any]]:
    """What the ledger's last line says of each track."""
    return tracks(ledger(archive))
