"""Media processes as they run: who dies, what goes on, and who goes on with the rest."""

from __future__ import annotations

import asyncio
import contextlib
import os
import signal
import time
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import aiohttp
import pytest
from running import merged
from session_in_hand import Session, gaps, in_hand, ledger, phase, recording, tracks, verified

from rooms.errors import NotAssigned, SessionUnknown
from server.agent import hosting
from server.agent.terminal import Terminal
from server.config import Config

pytestmark = pytest.mark.timeout(150)


@pytest.fixture
def own(config: Config, tmp_path: Path) -> Config:
    """A server with up to two media processes."""
    apart = Config.model_validate(merged(config, {"media.processes": 2}))
    return hosting.own_config(apart, tmp_path / "i", hosting.choose_port(0), None)


@pytest.fixture
async def administrator(own: Config) -> tuple[str, str]:
    """Name and password; the installation is made by it."""
    own.data_dir.mkdir()
    return await hosting.first_administrator(own)


@pytest.fixture(autouse=True)
async def _no_process_stays(own: Config) -> AsyncIterator[None]:
    yield
    left = media_processes(own)
    for pid in left:
        os.kill(pid, signal.SIGKILL)
    assert not left


def media_processes(own: Config) -> list[int]:
    return hosting.processes_of(["server.media_process", str(own.run_dir)])


def holder(session: Session) -> int:
    """The process that has started the session's recorder."""
    (recorder,) = hosting.processes_of(["recorder.worker", session.session_id])
    return int(Path(f"/proc/{recorder}/stat").read_text().rpartition(")")[2].split()[1])


async def figures(url: str, name: str) -> list[float]:
    """A metric under each of its labels."""
    async with aiohttp.ClientSession() as http, http.get(f"{url}/metrics") as response:
        text = await response.text()
    lines = [line for line in text.splitlines() if line.startswith((f"{name} ", f"{name}{{"))]
    return [float(line.rpartition(" ")[2]) for line in lines]


async def figure(url: str, name: str) -> float:
    """The sum of a metric over all its labels."""
    return sum(await figures(url, name))


async def until_ready(url: str, processes: int) -> None:
    """Wait until so many media processes answer, beside the server."""
    async with asyncio.timeout(30):
        while len(await figures(url, "tingxun_open_sockets")) < processes + 1:
            await asyncio.sleep(0.1)


async def until(check: Any, seconds: float = 30.0) -> None:
    async with asyncio.timeout(seconds):
        while not check():
            await asyncio.sleep(0.05)


async def goes_on(session: Session, frames: int = 20, seconds: float = 20.0) -> None:
    """Wait for so many more frames of every track at the officer's."""
    received = session.officer.received
    before = {name: track.frames for name, track in received.items()}
    await until(
        lambda: all(track.frames >= before[name] + frames for name, track in received.items()),
        seconds,
    )


async def sealed(own: Config, session: Session) -> list[dict[str, Any]]:
    """Close; the ledger of the verified archive."""
    await session.close()
    lines = ledger(verified(own, session.session_id))
    assert set(tracks(lines)) == {"cam-1", "mic-1"}
    return lines


async def test_one_dies_and_takes_only_its_own_session_with_it(
    own: Config, administrator: tuple[str, str]
) -> None:
    async with contextlib.AsyncExitStack() as owned:
        server = await owned.enter_async_context(hosting.HostedServer(own))
        first = await owned.enter_async_context(in_hand(server.url, *administrator))
        await first.join()
        await first.go_live()
        await until_ready(server.url, 2)
        second = await owned.enter_async_context(in_hand(server.url, *administrator, 1))
        await second.join()
        await second.go_live()
        assert holder(first) != holder(second)
        await first.officer.wait_for_media(2, timeout_s=15)
        await asyncio.sleep(2)
        packets = await figure(server.url, "tingxun_rtp_packets_total")
        dead = holder(first)
        os.kill(dead, signal.SIGKILL)
        killed_s = time.monotonic()
        officer = first.officer
        await officer.wait_for("it to be known", recording("stalled"), timeout_s=20)
        await officer.wait_for("recorded again", recording("recording"), timeout_s=20)
        back_s = time.monotonic() - killed_s
        assert phase("live")(officer.state)
        assert holder(first) != dead
        await goes_on(first)
        print(f"recorded again after {back_s:.2f} s")
        # The dead one is replaced, and its packets stay counted.
        await until_ready(server.url, 2)
        assert await figure(server.url, "tingxun_rtp_packets_total") >= packets
        untouched = await sealed(own, second)
        broken = await sealed(own, first)
    assert not [line for line in untouched if line["type"] in ("gap", "recover")]
    assert len([line for line in broken if line["type"] == "recover"]) == 1
    for track in tracks(broken).values():
        told = gaps(broken, track["track"])
        assert [gap["cause"] for gap in told] == ["recorder"], told
        assert (told[0]["to_us"] - told[0]["from_us"]) / 1e6 < back_s + 1
        assert track["captured_us"] + track["gap_us"] == track["expected_us"]


async def test_the_server_dies_or_starts_anew_and_no_packet_is_missing(
    own: Config, administrator: tuple[str, str]
) -> None:
    async with hosting.HostedServer(own) as first, in_hand(first.url, *administrator) as session:
        # Whoever comes first: the session is held once.
        await asyncio.gather(session.officer.join(session.session_id), *_knocks(session, first.url))
        await session.site.join(session.session_id)
        await session.join_media()
        await session.go_live()
        assert await figure(first.url, "tingxun_sessions") == 1
        await session.officer.wait_for_media(2, timeout_s=15)
        await _refusals(session, first.url, administrator)
        media = holder(session)
        os.kill(first.pid, signal.SIGKILL)
        await first.ended()
        await goes_on(session)
        async with hosting.HostedServer(own) as second:
            await until(lambda: session.site.reconnections == 1)
            # The same connections: nothing was published again.
            assert session.site.welcome["publishing"] is not None
            await goes_on(session)
            os.kill(second.pid, signal.SIGHUP)
            await until(lambda: session.site.reconnections == 2)
            assert session.site.welcome["publishing"] is not None
            await until(lambda: session.officer.reconnections == 2)
            await goes_on(session)
            assert holder(session) == media
            assert phase("live")(session.officer.state)
            assert recording("recording")(session.officer.state)
            lines = await sealed(own, session)
    assert not [line for line in lines if line["type"] in ("gap", "recover")]
    for track in tracks(lines).values():
        assert track["captured_us"] == track["expected_us"] > 3_000_000


def _knocks(session: Session, url: str) -> list[Any]:
    async def knock() -> None:
        # No hello: it asks for the session, and goes.
        async with (
            aiohttp.ClientSession(headers=session.officer._authorization()) as http,
            http.ws_connect(f"{url}/ws/sessions/{session.session_id}") as socket,
        ):
            await socket.close()

    return [knock() for _ in range(6)]


async def _refusals(session: Session, url: str, administrator: tuple[str, str]) -> None:
    """What is refused by the server, and what by the media process, with the same codes."""
    async with Terminal(url) as stranger, aiohttp.ClientSession(url) as http:
        await stranger.sign_in(*administrator)
        with pytest.raises(NotAssigned):
            await stranger.join(session.session_id)
        with pytest.raises(SessionUnknown):
            await stranger.join("s-none")
        for path, headers, code in (
            (session.session_id, {}, "not_signed_in"),
            (session.session_id, stranger._authorization(), "not_assigned"),
            ("s-none", stranger._authorization(), "session_unknown"),
            (session.session_id, session.site._authorization(), "sdp_invalid"),
        ):
            async with http.post(
                f"/whip/sessions/{path}",
                data="v=0",
                headers={"Content-Type": "application/sdp", **headers},
            ) as response:
                assert (await response.json(content_type=None))["code"] == code
