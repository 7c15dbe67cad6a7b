"""The server dies in the middle of a session: what was recorded is sealed by the next one."""

from __future__ import annotations

import asyncio
import os
import signal
from pathlib import Path

import pytest
from session_in_hand import in_hand, ledger

from recorder.verify import Trust, verify
from server.agent import hosting
from server.config import Config

pytestmark = pytest.mark.timeout(90)


async def until_sealed(archive: Path) -> None:
    """Wait for the folder that only sealing makes."""
    async with asyncio.timeout(20):
        while not archive.is_dir():
            await asyncio.sleep(0.05)


@pytest.mark.parametrize("number", [signal.SIGKILL, signal.SIGTERM])
async def test_what_a_server_left_is_sealed_by_the_next(
    config: Config, tmp_path: Path, number: signal.Signals
) -> None:
    own = hosting.own_config(config, tmp_path, hosting.choose_port(0), None)
    name, password = await hosting.first_administrator(own)
    async with hosting.HostedServer(own) as server, in_hand(server.url, name, password) as session:
        await session.join()
        await session.go_live()
        await asyncio.sleep(5)
        os.kill(server.pid, number)
        await server.ended()
    archive = own.archive_dir / session.session_id
    assert not archive.exists()
    async with hosting.HostedServer(own):
        await until_sealed(archive)
        report = verify(archive, Trust.of_installation(own.certificates_dir))
    assert report.sealed, report.to_json()
    lines = ledger(archive)
    assert [line for line in lines if line["type"] == "recover"]
    events = [line["event"]["type"] for line in lines if line["type"] == "event"]
    assert "session_interrupted" in events
    for track in lines[-1]["tracks"]:
        assert track["captured_us"] > 4_000_000, track
