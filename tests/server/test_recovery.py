"""The server dies in the middle of a session: the next one goes on with it, or closes and seals."""

from __future__ import annotations

import asyncio
import contextlib
import os
import signal
import time
from collections.abc import AsyncIterator
from pathlib import Path

import pytest
from running import merged
from session_in_hand import Session, gaps, in_hand, ledger, phase, recording, tracks, verified

from server.agent import hosting
from server.config import Config

pytestmark = pytest.mark.timeout(90)


async def until_sealed(archive: Path) -> None:
    """Wait for the folder that only sealing makes."""
    async with asyncio.timeout(20):
        while not archive.is_dir():
            await asyncio.sleep(0.05)


@contextlib.asynccontextmanager
async def recorded(own: Config) -> AsyncIterator[tuple[hosting.HostedServer, Session]]:
    """A server in a process of its own, and a session on it of which 4 s are recorded."""
    name, password = await hosting.first_administrator(own)
    async with hosting.HostedServer(own) as server, in_hand(server.url, name, password) as session:
        await session.join()
        await session.go_live()
        await asyncio.sleep(4)
        yield server, session


@pytest.mark.parametrize("number", [signal.SIGKILL, signal.SIGTERM])
async def test_what_nobody_comes_back_to_is_sealed_by_the_next(
    config: Config, tmp_path: Path, number: signal.Signals
) -> None:
    short = Config.model_validate(merged(config, {"signalling.takeover_s": 2}))
    own = hosting.own_config(short, tmp_path, hosting.choose_port(0), None)
    async with recorded(own) as (server, session):
        os.kill(server.pid, number)
        await server.ended()
    archive = own.archive_dir / session.session_id
    assert not archive.exists()
    async with hosting.HostedServer(own):
        await until_sealed(archive)
        lines = ledger(verified(own, session.session_id))
    assert [line for line in lines if line["type"] == "recover"]
    events = [line["event"]["type"] for line in lines if line["type"] == "event"]
    assert "session_interrupted" in events
    for track in lines[-1]["tracks"]:
        assert track["captured_us"] > 3_000_000, track


async def test_a_live_session_goes_on_with_the_next_server(config: Config, tmp_path: Path) -> None:
    own = hosting.own_config(config, tmp_path, hosting.choose_port(0), None)
    async with recorded(own) as (server, session):
        os.kill(server.pid, signal.SIGKILL)
        killed_s = time.monotonic()
        await server.ended()
        await asyncio.sleep(1)
        async with hosting.HostedServer(own):
            # Nobody does anything: the terminals find the server and publish again.
            officer = session.officer
            await officer.wait_for("taken over", recording("stalled"), timeout_s=20)
            assert officer.state["phase"] == "live"
            assert officer.state["t_us"] > 5_000_000
            await officer.wait_for("recorded again", recording("recording"), timeout_s=20)
            back_s = time.monotonic() - killed_s
            await asyncio.sleep(3)
            assert phase("live")(officer.state)
            await session.close()
            lines = ledger(verified(own, session.session_id))
    assert len([line for line in lines if line["type"] == "recover"]) == 1
    events = [line["event"]["type"] for line in lines if line["type"] == "event"]
    assert events.count("session_taken_over") == 1
    assert "session_interrupted" not in events
    assert set(tracks(lines)) == {"cam-1", "mic-1"}
    for track in tracks(lines).values():
        told = gaps(lines, track["track"])
        assert [gap["cause"] for gap in told] == ["recorder"], told
        assert 1.0 < (told[0]["to_us"] - told[0]["from_us"]) / 1e6 < back_s + 1
        assert track["captured_us"] + track["gap_us"] == track["expected_us"]
        # The clock ran on while nobody was there to read it.
        assert track["expected_us"] > 7_000_000 + back_s * 1e6 - 500_000
