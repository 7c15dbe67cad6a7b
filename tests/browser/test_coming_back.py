"""A browser whose line is really cut comes back by itself: the same tracks, one declared gap each.

The detention site's Chromium is at a place of its own (:mod:`namespaces`), the officer's headless
terminal and the server are here. Cuts of 30 and 60 s are marked ``long`` and are not run by
``./check``: ``pytest -m long -s tests/browser/test_coming_back.py`` prints the figures.
"""

from __future__ import annotations

import asyncio
import contextlib
import os
import signal
import time
from collections.abc import AsyncIterator, Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pytest
from in_page import CASE_NUMBER, sealed, trusting
from namespaces import Lines, Place, ip, lines
from playwright.async_api import async_playwright, expect
from session_in_hand import gaps, ledger, phase, tracks

from bench.chromium import ARGUMENTS, CHROMIUM, KEEP_CONNECTIONS, REMOTE
from server.agent.picture import ClockPicture
from server.agent.sources import SoundSource, SourceClock, Tone, VideoSource
from server.agent.terminal import Terminal
from server.keys import CONDUCTORS
from server.sfu import seam

__all__ = ["lines"]

pytestmark = [pytest.mark.browser, pytest.mark.timeout(180)]

HEARD_AND_SEEN = """async (selector) => {
  const video = document.querySelector(selector);
  let packets = 0;
  for (const connection of window.connections) {
    if (connection.connectionState === 'closed') continue;
    for (const report of (await connection.getStats()).values()) {
      if (report.type !== 'inbound-rtp' || report.kind !== 'audio') continue;
      packets = report.packetsReceived;
    }
  }
  return {
    heard: packets,
    seen: video?.readyState >= 2 ? video.getVideoPlaybackQuality().totalVideoFrames : 0,
    words: document.querySelector('.connection')?.textContent.trim() ?? '',
  };
}"""


@pytest.fixture
def overrides(lines: Lines) -> dict[str, Any]:
    return {
        "server.host": lines.address,
        "media.bind_address": lines.address,
        "media.processes": 0,
    }


@dataclass
class Watch:
    """What arrives of the detention site at the server, and of the officer at its page."""

    silences: dict[str, list[tuple[float, float]]] = field(default_factory=dict)
    """By track: from its last packet to its next one, in seconds of the monotonic clock."""
    moments: dict[str, float] = field(default_factory=dict)
    """When the page last heard and saw something new."""
    words: list[tuple[float, str]] = field(default_factory=list)
    """What the page said of its connection, and since when."""

    LEAST_S = 0.6

    async def server(self, ups: dict[str, Any]) -> None:
        """Look every 20 ms."""
        newest: dict[str, int] = {}
        while True:
            for name, up in list(ups.items()):
                last = up.last_packet_ns
                before = newest.get(name, last)
                if (last - before) / 1e9 > self.LEAST_S:
                    self.silences.setdefault(name, []).append((before / 1e9, last / 1e9))
                newest[name] = max(last, before)
            await asyncio.sleep(0.02)

    async def page(self, browser: Profile) -> None:
        """Look as often as the page can be asked."""
        before: dict[str, Any] = {}
        while True:
            with contextlib.suppress(Exception):
                found = await browser.page.evaluate(HEARD_AND_SEEN, REMOTE)
                now = time.monotonic()
                for name in ("heard", "seen"):
                    if found[name] != before.get(name):
                        self.moments.setdefault(f"{name} first", now)
                        self.moments[name] = now
                if found["words"] != before.get("words"):
                    self.words.append((now, found["words"]))
                before = found
            await asyncio.sleep(0.1)


@dataclass
class Site:
    """A session in progress: the detention site's page behind a line, the officer's terminal."""

    place: Place
    browser: Profile
    officer: Terminal
    watch: Watch
    installation: Any

    async def line(self, act: Callable[[], object]) -> float:
        """Do something to the line; returns when it was done."""
        await asyncio.to_thread(act)
        return time.monotonic()

    async def flows(self, since: float, seconds: float = 30.0) -> dict[str, float]:
        """Wait until everything flows in both directions; how long after ``since`` it began to."""
        ups = await self.ups()
        own = [up for name, up in ups.items() if up.participant_id != self.officer_id]
        assert {up.source for up in own} == {"camera", "microphone"}
        back: dict[str, float] = {}
        for name in ("heard", "seen"):
            self.watch.moments.pop(name, None)
        async with asyncio.timeout(seconds):
            while len(back) < 4:
                for up in own:
                    if up.last_packet_ns / 1e9 > since:
                        back.setdefault(str(up.source), up.last_packet_ns / 1e9 - since)
                for name in ("heard", "seen"):
                    if self.watch.moments.get(name, 0) > since:
                        back.setdefault(name, self.watch.moments[name] - since)
                await asyncio.sleep(0.02)
        return back

    @property
    def officer_id(self) -> str:
        return str(self.officer.welcome["participant_id"])

    async def ups(self) -> dict[str, Any]:
        conductor = await self.installation.app[CONDUCTORS].get(self.installation.session_id)
        return conductor._forwarding.ups  # type: ignore[no-any-return]

    async def seal(self) -> tuple[list[dict[str, Any]], dict[str, dict[str, Any]]]:
        """Close; the verified archive's ledger, and what it says of the site's two tracks."""
        await self.officer.close(CASE_NUMBER)
        await self.officer.wait_for("sealed", phase("sealed"), timeout_s=30)
        lines = ledger(sealed(self.installation))
        return lines, {
            name: track
            for name, track in tracks(lines).items()
            if track["participant"] != self.officer_id
        }


class Profile:
    """A browser at a place that keeps cookies and storage when it is started again."""

    def __init__(self, playwright: Any, place: Place, folder: Path, installation: Any) -> None:
        self._playwright = playwright
        self._place = place
        self._folder = folder
        self._installation = installation
        self._context: Any = None

    async def start(self) -> Any:
        """Start the browser as its person, signed in; returns its page."""
        url = self._installation.url
        self._context = await self._playwright.chromium.launch_persistent_context(
            self._folder / "profile",
            executable_path=self._place.program(self._folder, CHROMIUM),
            args=[*ARGUMENTS, trusting(url)],
            headless=True,
            viewport={"width": 1280, "height": 720},
        )
        self._context.set_default_timeout(20_000)
        self.page = self._context.pages[0]
        await self.page.add_init_script(KEEP_CONNECTIONS)
        return self.page

    async def sign_in(self, who: str) -> None:
        """Get the cookie as the server gives it, good for some hours."""
        for name, value in (
            ("tingxun", self._installation.people[who].token), ("language", "en"),
        ):  # fmt: skip
            cookie = {"name": name, "value": value, "url": self._installation.url}
            await self._context.add_cookies([{**cookie, "expires": time.time() + 3600}])

    async def close(self) -> None:
        """End the browser in order."""
        async with asyncio.timeout(20):
            await self._context.close()

    async def kill(self) -> None:
        """End the browser at once, without a word to the page."""
        for pid in ip("netns", "pids", self._place.namespace).split():
            os.kill(int(pid), signal.SIGKILL)
        with contextlib.suppress(Exception):
            await self.close()


@pytest.fixture
async def profile(
    lines: Lines, tmp_path: Path, installation: Any
) -> AsyncIterator[tuple[Place, Profile]]:
    """The detention site's browser, running and signed in."""
    place = await asyncio.to_thread(lines.place, "site")
    async with async_playwright() as playwright:
        profile = Profile(playwright, place, tmp_path, installation)
        await profile.start()
        await profile.sign_in("detention")
        try:
            yield place, profile
        finally:
            await profile.close()


@pytest.fixture
async def site(
    lines: Lines, profile: tuple[Place, Profile], installation: Any
) -> AsyncIterator[Site]:
    """A live session that is being recorded; everything flows."""
    place, browser = profile
    page = browser.page
    seam.bind_address(lines.address)
    async with Terminal(installation.url) as officer:
        officer.use_token(installation.people["officer"].token)
        await officer.join(installation.session_id)
        clock = SourceClock()
        await officer.publish(
            {
                "camera": VideoSource(clock, ClockPicture("OFFICER", "CAMERA", 320, 180)),
                "microphone": SoundSource(clock, Tone()),
            },
            ["VP8"],
        )
        await page.goto(f"{installation.url}/sessions/{installation.session_id}")
        await page.get_by_test_id("join").click()
        await officer.wait_for_media(2, timeout_s=20)
        await officer.open()
        await officer.wait_for("live", phase("live"), timeout_s=20)
        watch = Watch()
        site = Site(place, browser, officer, watch, installation)
        watching = [
            asyncio.create_task(watch.server(await site.ups())),
            asyncio.create_task(watch.page(browser)),
        ]
        try:
            await site.flows(time.monotonic())
            yield site
        finally:
            for task in watching:
                task.cancel()
            await asyncio.gather(*watching, return_exceptions=True)


def told(
    site: Site,
    lines: list[dict[str, Any]],
    own: dict[str, Any],
    since: float,
    back: dict[str, float],
) -> None:
    """Print a row for each track."""
    print()
    print("  back after", {name: round(after, 2) for name, after in back.items()})
    for name, track in own.items():
        real = [round(to - since, 2) for since, to in site.watch.silences.get(name, [])]
        declared = [
            (round((gap["to_us"] - gap["from_us"]) / 1e6, 2), gap["cause"])
            for gap in gaps(lines, name)
        ]
        share = (track["captured_us"] + track["gap_us"]) / track["expected_us"]
        print(f"  {name}: silent {real}, declared {declared}, accounted {share:.4f}")
    print("  words", [(round(at - since, 1), words) for at, words in site.watch.words])
    kinds = [line["event"]["type"] for line in lines if line["type"] == "event"]
    print("  events", [kind for kind in kinds if kind.startswith(("participant", "track"))])


@pytest.mark.parametrize(
    ("way", "seconds"),
    [
        ("cut", 5),
        *(
            pytest.param(way, seconds, marks=pytest.mark.long)
            for way, seconds in (
                ("unplug", 5),
                ("cut", 30),
                ("unplug", 30),
                ("cut", 60),
                ("unplug", 60),
            )
        ),
    ],
)
async def test_a_cut(site: Site, way: str, seconds: float) -> None:
    await asyncio.sleep(4)
    cut, mend = (
        (site.place.cut, site.place.mend) if way == "cut" else (site.place.unplug, site.place.plug)
    )
    since = await site.line(cut)
    await asyncio.sleep(seconds)
    mended = await site.line(mend)
    back = await site.flows(mended, 60)
    await asyncio.sleep(6)
    lines, own = await site.seal()
    told(site, lines, own, since, back)
    one_gap(site, lines, own, kept=seconds == 5)
    assert max(back.values()) < 10, back


def one_gap(
    site: Site, lines: list[dict[str, Any]], own: dict[str, Any], *, kept: bool = False
) -> None:
    """Each of the two tracks has exactly one gap, about as long as nothing came of it."""
    assert sorted(track["source"] for track in own.values()) == ["camera", "microphone"]
    for name, track in own.items():
        found = gaps(lines, name)
        assert len(found) == track["gaps"] == 1, found
        assert found[0]["cause"] == "network", found
        ((began, ended),) = site.watch.silences[name]
        shorter_s = ended - began - (found[0]["to_us"] - found[0]["from_us"]) / 1e6
        # On the same connection the sender sends again what it still has.
        assert -1.0 < shorter_s < (4.0 if kept else 1.0)
        assert track["captured_us"] + track["gap_us"] > 0.99 * track["expected_us"], track


@pytest.mark.long
async def test_another_address(site: Site) -> None:
    """The place is given another address, as by another network; nothing is lost on the way."""
    await asyncio.sleep(4)
    since = await site.line(lambda: site.place.readdress(77))
    back = await site.flows(since, 60)
    await asyncio.sleep(6)
    lines, own = await site.seal()
    told(site, lines, own, since, back)
    one_gap(site, lines, own)


@pytest.mark.long
@pytest.mark.parametrize("seconds", [30, 60])
async def test_a_lid(site: Site, seconds: float) -> None:
    """The computer sleeps: every process of the browser stands still, and the line is off."""
    await asyncio.sleep(4)
    await asyncio.to_thread(site.place.unplug)
    pids = ip("netns", "pids", site.place.namespace).split()
    for pid in pids:
        os.kill(int(pid), signal.SIGSTOP)
    since = time.monotonic()
    await asyncio.sleep(seconds)
    woken = time.monotonic()
    for pid in pids:
        os.kill(int(pid), signal.SIGCONT)
    await asyncio.to_thread(site.place.plug)
    back = await site.flows(woken, 60)
    await asyncio.sleep(6)
    lines, own = await site.seal()
    told(site, lines, own, since, back)
    one_gap(site, lines, own)
    assert max(back.values()) < 10, back


@pytest.mark.parametrize(
    "killed", [False, pytest.param(True, marks=pytest.mark.long)], ids=["closed", "killed"]
)
async def test_a_restarted_browser(site: Site, killed: bool) -> None:
    """The kiosk opens its first page again, and nobody touches anything."""
    microphone = site.browser.page.get_by_test_id("microphone")
    await microphone.click()
    # A browser writes cookies down every half minute.
    await asyncio.sleep(35 if killed else 2)
    since = time.monotonic()
    await (site.browser.kill() if killed else site.browser.close())
    await asyncio.sleep(1)
    page = await site.browser.start()
    started = time.monotonic()
    await page.goto(site.installation.url)
    back = await site.flows(started, 60)
    await expect(page.get_by_test_id("microphone")).to_have_attribute("aria-pressed", "true")
    await asyncio.sleep(5)
    lines, own = await site.seal()
    told(site, lines, own, since, back)
    one_gap(site, lines, own)


async def test_the_camera_off_and_on_and_another_size(site: Site) -> None:
    """F39: one track, one timeline, whatever is done to its source."""
    page = site.browser.page
    await page.evaluate(
        """async () => {
          const sender = () => window.connections.flatMap((one) => one.getSenders())
            .find(({ track }) => track?.kind === 'video');
          const wait = (ms) => new Promise((done) => setTimeout(done, ms));
          const { track } = sender();
          track.enabled = false;
          await wait(2000);
          track.enabled = true;
          await wait(2000);
          await track.applyConstraints({ width: 640, height: 360 });
          await wait(3000);
          await track.applyConstraints({ width: 1280, height: 720 });
          await wait(3000);
        }"""
    )
    lines, own = await site.seal()
    assert sorted(track["source"] for track in own.values()) == ["camera", "microphone"]
    for track in own.values():
        assert track["gaps"] == 0, gaps(lines, track["track"])
        assert track["captured_us"] > 0.99 * track["expected_us"], track
