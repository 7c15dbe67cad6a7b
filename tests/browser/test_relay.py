"""Chromium where media cannot pass directly: by a real relay (coturn), over UDP, TCP and TLS."""

from __future__ import annotations

import asyncio
import time
from typing import Any

import pytest
from in_page import (
    HEARS,
    MOVES,
    PATHS,
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
from relay import PLAIN_PORT, SECRET, TLS_PORT, WAYS, Relay, relay

__all__ = ["lines", "relay"]

pytestmark = [pytest.mark.browser, pytest.mark.timeout(180)]


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

    def __init__(self, lines: Lines, relay: Relay, launch_at: Any, window_in: Any) -> None:
        self._lines = lines
        self._relay = relay
        self._launch_at = launch_at
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
        return await self._launch_at(
            place, f"--ignore-certificate-errors-spki-list={self._relay.pin}"
        )

    def _block(self, place: Place, to: str, *which: str) -> None:
        ip("-4", "rule", "add", "from", f"{place.address}/32", "to", to, "ipproto", *which,
           "priority", "9", "blackhole", namespace=self._lines.router)  # fmt: skip

    async def window(self, browser: Any, who: str, session_id: str) -> Any:
        return await self._window_in(browser, who, f"/sessions/{session_id}")


@pytest.fixture
def sites(lines: Lines, relay: Relay, launch_at: Any, window_in: Any) -> Sites:
    return Sites(lines, relay, launch_at, window_in)


async def ways(one: Any) -> set[str]:
    """How the page's connections get through."""
    return {path["way"] for path in await one.page.evaluate(PATHS)}


async def test_an_interrogation_by_one_tls_port(sites: Sites, installation: Any) -> None:
    browser = await sites.browser("tls")
    officer = await sites.window(browser, "officer", installation.session_id)
    detention = await sites.window(browser, "detention", installation.session_id)
    await join(officer, detention)
    for one in (officer, detention):
        assert await one.page.evaluate(HEARS)
        assert await ways(one) == {"relay tls"}
    await open_session(officer.page)
    await lamp(detention.page, "recording")
    await asyncio.sleep(6)
    for one in (officer, detention):
        await eventually(lambda page=one.page: page.evaluate(MOVES, REMOTE))
    await close_session(officer.page)
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
    assert await ways(officer) == {"relay udp"}
    assert await ways(detention) == {"relay tcp"}
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
            assert all("relay" not in way for way in await ways(one))
        assert took_s < 8
