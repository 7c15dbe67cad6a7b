"""Chromium where media cannot pass directly: by a real relay (coturn), over UDP, TCP and TLS."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from in_page import (
    HEARS,
    MOVES,
    REMOTE,
    accounts,
    close_session,
    eventually,
    join,
    lamp,
    open_session,
    sealed,
)
from namespaces import Lines, Place, ip, lines
from relay import PLAIN_PORT, SECRET, TLS_PORT, Relay, relaying

__all__ = ["lines"]

pytestmark = [pytest.mark.browser, pytest.mark.timeout(180)]

CHROMIUM = "/usr/bin/chromium"

PATHS = """async () => {
  const paths = [];
  for (const connection of window.connections) {
    const reports = await connection.getStats();
    for (const report of reports.values()) {
      if (report.type !== "transport" || !report.selectedCandidatePairId) continue;
      const pair = reports.get(report.selectedCandidatePairId);
      const local = reports.get(pair.localCandidateId);
      paths.push(`${local.candidateType} ${local.relayProtocol ?? local.protocol}`);
    }
  }
  return paths;
}"""
"""How each connection of the page gets through."""


@pytest.fixture
def relay(lines: Lines, tmp_path: Path) -> Iterator[Relay]:
    """A relay at a place of its own."""
    with relaying(lines.place("relay"), tmp_path / "relay", lines.address) as relay:
        yield relay


WAYS = ("udp", "tcp", "tls")


@pytest.fixture
def overrides(lines: Lines, relay: Relay) -> dict[str, Any]:
    return {
        "server.host": lines.address,
        "media.bind_address": lines.address,
        "turn.urls": [relay.url(way) for way in WAYS],
        "turn.secret": SECRET,
    }


class Sites:
    """Browsers at places with lines of different kinds."""

    def __init__(
        self, lines: Lines, relay: Relay, folder: Path, url: str, launch: Any, window_in: Any
    ) -> None:
        self._lines = lines
        self._folder = folder
        self._relay = relay
        self._url = url
        self._launch = launch
        self._window_in = window_in

    async def browser(self, way: str) -> Any:
        """A browser on a line that lets through nothing else than this way to the relay."""
        place = self._lines.place(way)
        if way == "udp":
            self._block(place, self._lines.address, "udp")
            self._block(place, self._relay.address, "tcp")
        elif way in ("tcp", "tls"):
            place.block("udp")
        if way == "tcp":
            self._block(place, self._relay.address, "tcp", "dport", str(TLS_PORT))
        elif way == "tls":
            self._block(place, self._relay.address, "tcp", "dport", str(PLAIN_PORT))
        return await self._launch(
            f"--unsafely-treat-insecure-origin-as-secure={self._url}",
            f"--ignore-certificate-errors-spki-list={self._relay.pin}",
            executable=place.program(self._folder, CHROMIUM),
        )

    def _block(self, place: Place, to: str, *which: str) -> None:
        ip("-4", "rule", "add", "from", f"{place.address}/32", "to", to, "ipproto", *which,
           "priority", "9", "blackhole", namespace=self._lines.router)  # fmt: skip

    async def window(self, browser: Any, who: str, session_id: str) -> Any:
        return await self._window_in(browser, who, f"/sessions/{session_id}")


@pytest.fixture
def sites(
    lines: Lines, relay: Relay, tmp_path: Path, installation: Any, launch: Any, window_in: Any
) -> Sites:
    return Sites(lines, relay, tmp_path, installation.url, launch, window_in)


async def test_an_interrogation_by_one_tls_port(sites: Sites, installation: Any) -> None:
    browser = await sites.browser("tls")
    officer = await sites.window(browser, "officer", installation.session_id)
    detention = await sites.window(browser, "detention", installation.session_id)
    await join(officer, detention)
    for one in (officer, detention):
        assert await one.page.evaluate(HEARS)
        assert set(await one.page.evaluate(PATHS)) == {"relay tls"}
    await open_session(officer.page)
    await lamp(detention.page, "recording")
    await asyncio.sleep(6)
    for one in (officer, detention):
        await eventually(lambda page=one.page: page.evaluate(MOVES, REMOTE))
    await close_session(officer.page, "2026-0412")
    tracks = accounts(sealed(installation))
    assert sorted(tracks) == ["cam-1", "cam-2", "mic-1", "mic-2"]
    for track in tracks.values():
        assert track["expected_us"] > 5_000_000
        assert track["captured_us"] > 0.99 * track["expected_us"], track
    assert officer.problems == detention.problems == []


async def test_udp_and_tcp_to_the_relay(sites: Sites, installation: Any) -> None:
    officer, detention = [
        await sites.window(await sites.browser(way), who, installation.session_id)
        for way, who in (("udp", "officer"), ("tcp", "detention"))
    ]
    await join(officer, detention)
    assert set(await officer.page.evaluate(PATHS)) == {"relay udp"}
    assert set(await detention.page.evaluate(PATHS)) == {"relay tcp"}
    for one in (officer, detention):
        assert await one.page.evaluate(HEARS)


class TestWithoutARelay:
    """The relay is named but is not there."""

    @pytest.fixture
    def overrides(self, overrides: dict[str, Any], lines: Lines) -> dict[str, Any]:
        place = lines.place("nobody")
        place.cut()
        nobody = place.address
        urls = [f"turn:{nobody}:9?transport={way}" for way in ("udp", "tcp")]
        return {**overrides, "turn.urls": [*urls, f"turns:{nobody}:9"]}

    async def test_a_line_that_needs_none_is_not_kept_waiting(
        self, sites: Sites, installation: Any
    ) -> None:
        browser = await sites.browser("open")
        officer = await sites.window(browser, "officer", installation.session_id)
        detention = await sites.window(browser, "detention", installation.session_id)
        start = time.monotonic()
        await join(officer, detention)
        took_s = time.monotonic() - start
        for one in (officer, detention):
            assert all("relay" not in path for path in await one.page.evaluate(PATHS))
        assert took_s < 8
