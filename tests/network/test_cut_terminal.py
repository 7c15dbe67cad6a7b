"""A headless terminal whose line is cut, or that gets another address, comes back by itself."""

from __future__ import annotations

import asyncio
import time
from collections.abc import AsyncIterator, Awaitable, Callable
from dataclasses import dataclass
from typing import Any

import aioice.ice
import ifaddr
import pytest
from namespaces import Lines, Loop, Place, lines
from running import Server
from session_in_hand import Session, gaps, in_hand, ledger, tracks, verified

from server.agent.picture import ClockPicture
from server.agent.sources import SoundSource, SourceClock, Tone, VideoSource
from server.agent.terminal import Terminal

__all__ = ["lines"]

pytestmark = pytest.mark.timeout(200)


def own_addresses(use_ipv4: bool, use_ipv6: bool) -> list[str]:
    """The IPv4 addresses of whichever place the thread is in."""
    found = [str(ip.ip) for adapter in ifaddr.get_adapters() for ip in adapter.ips if ip.is_IPv4]
    return [address for address in found if not address.startswith("127.")]


@dataclass
class Cell:
    """The detention site's terminal at a place of its own; the officer's is here."""

    place: Place
    loop: Loop
    site: Terminal
    session: Session
    server: Server

    def officer_frames(self) -> int:
        return min((one.frames for one in self.session.officer.received.values()), default=0)

    def site_frames(self) -> int:
        return max((one.frames for one in self.site.received.values()), default=0)

    async def both_ways(self, since: float, seconds: float) -> float:
        """Wait until picture and sound move in both directions; how long after ``since``."""
        mine, theirs = self.officer_frames(), self.site_frames()
        async with asyncio.timeout(seconds):
            while self.officer_frames() < mine + 5 or self.site_frames() < theirs + 5:
                await asyncio.sleep(0.02)
        return time.monotonic() - since

    async def seal(self) -> tuple[list[dict[str, Any]], dict[str, dict[str, Any]]]:
        """Close; the verified ledger, and what it says of the site's tracks."""
        await self.session.close()
        lines = ledger(verified(self.server.config, self.session.session_id))
        own = self.site.welcome["participant_id"]
        return lines, {n: t for n, t in tracks(lines).items() if t["participant"] == own}


def sources(name: str) -> dict[str, Any]:
    clock = SourceClock()
    return {
        "camera": VideoSource(clock, ClockPicture(name, "CAMERA", 320, 180)),
        "microphone": SoundSource(clock, Tone()),
    }


@pytest.fixture
def grace_s() -> float:
    return 300.0


@pytest.fixture
async def cell(
    lines: Lines,
    start_server: Callable[..., Awaitable[Server]],
    monkeypatch: pytest.MonkeyPatch,
    grace_s: float,
) -> AsyncIterator[Cell]:
    """A live session."""
    server = await start_server(
        {
            "server.host": lines.address,
            "media.bind_address": lines.address,
            "signalling.reconnect_grace_s": grace_s,
        }
    )
    _, password = await server.accounts.add("root", "root", "admin", None)
    async with in_hand(server.url, "root", password) as session:
        monkeypatch.setattr(aioice.ice, "get_host_addresses", own_addresses)
        await session.officer.join(session.session_id)
        await session.officer.publish(sources("OFFICER"), ["VP8"])
        place = lines.place("cell")
        with place.loop() as loop:

            async def come() -> Terminal:
                terminal = Terminal(server.url)
                terminal.use_token(session.site._token)
                await terminal.join(session.session_id)
                await terminal.publish(sources("SITE"), ["VP8"])
                return terminal

            site = await loop.do(come())
            try:
                await session.go_live()
                await session.officer.wait_for_media(2, timeout_s=15)
                await loop.do(site.wait_for_media(2, timeout_s=15))
                yield Cell(place, loop, site, session, server)
            finally:
                await loop.do(site.leave())


def told(cell: Cell, lines: list[dict[str, Any]], own: dict[str, Any], back_s: float) -> None:
    print(f"\n  back after {back_s:.2f} s, {cell.site.reconnections} reconnections")
    for name in own:
        found = gaps(lines, name)
        print(" ", name, [(round((g["to_us"] - g["from_us"]) / 1e6, 2), g["cause"]) for g in found])


def one_gap(
    lines: list[dict[str, Any]], own: dict[str, Any], least_s: float, most_s: float
) -> None:
    assert sorted(track["source"] for track in own.values()) == ["camera", "microphone"]
    for name, track in own.items():
        (gap,) = gaps(lines, name)
        assert gap["cause"] == "network"
        assert least_s <= (gap["to_us"] - gap["from_us"]) / 1e6 <= most_s, gap
        assert track["captured_us"] + track["gap_us"] > 0.99 * track["expected_us"], track


@pytest.mark.long
@pytest.mark.parametrize("seconds", [5, 30, 60])
async def test_a_cut(cell: Cell, seconds: float) -> None:
    await asyncio.sleep(2)
    await asyncio.to_thread(cell.place.cut)
    await asyncio.sleep(seconds)
    await asyncio.to_thread(cell.place.mend)
    back_s = await cell.both_ways(time.monotonic(), 60)
    await asyncio.sleep(4)
    lines, own = await cell.seal()
    told(cell, lines, own, back_s)
    one_gap(lines, own, 1.0 if seconds == 5 else seconds - 1, seconds + 10)
    assert back_s < 10


async def test_another_address(cell: Cell) -> None:
    await asyncio.sleep(1)
    changed = time.monotonic()
    await asyncio.to_thread(cell.place.readdress, 77)
    async with asyncio.timeout(30):
        while not cell.site.reconnections:
            await asyncio.sleep(0.05)
    back_s = await cell.both_ways(changed, 30)
    await asyncio.sleep(3)
    lines, own = await cell.seal()
    told(cell, lines, own, back_s)
    one_gap(lines, own, 1.0, back_s + 1)


class TestACutThatOutlastsTheGrace:
    """The person has left meanwhile; the same terminal is back with the same tracks."""

    @pytest.fixture
    def grace_s(self) -> float:
        return 1.0

    async def test_the_same_tracks(self, cell: Cell) -> None:
        officer = cell.session.officer
        await asyncio.to_thread(cell.place.cut)
        await officer.wait_for(
            "the site to have left",
            lambda state: (
                not any(
                    one["role"] == "subject" and one["present"] != "no"
                    for one in state["participants"]
                )
            ),
            timeout_s=40,
        )
        await asyncio.to_thread(cell.place.mend)
        back_s = await cell.both_ways(time.monotonic(), 40)
        await asyncio.sleep(3)
        lines, own = await cell.seal()
        told(cell, lines, own, back_s)
        assert sorted(track["source"] for track in own.values()) == ["camera", "microphone"]
        for name in own:
            # From the cut to the moment at which the person counted as gone: then nothing is
            # expected, up to the first packet; a picture counts from its key frame on.
            gone, *late = gaps(lines, name)
            assert gone["cause"] == "network"
            assert 1.0 < (gone["to_us"] - gone["from_us"]) / 1e6 < 25.0
            assert sum(gap["to_us"] - gap["from_us"] for gap in late) < 1_000_000, late
        events = [line["event"]["type"] for line in lines if line["type"] == "event"]
        assert events.count("participant_left") == 1
