"""The server dies in the middle of a session: what was recorded is sealed by the next one."""

from __future__ import annotations

import asyncio
import json
import os
import signal
from collections.abc import Callable, Mapping
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest

from recorder.verify import Trust, verify
from server.agent import hosting
from server.agent.picture import ClockPicture
from server.agent.sources import SoundSource, SourceClock, Tone, VideoSource
from server.agent.terminal import Terminal
from server.config import Config
from server.sfu import seam

CASE_NUMBER = "2026-0501"

pytestmark = pytest.mark.timeout(90)


async def booked(admin: Terminal, officer: str, detainee: str) -> str:
    """Book an interrogation; returns its id."""
    session = await admin.call(
        "POST",
        "/api/sessions",
        {
            "case_number": CASE_NUMBER,
            "kind": "interrogation",
            "title": "Recovery",
            "starts_at": datetime.now(UTC).isoformat(),
            "room_id": "interrogation-1",
            "detention_room_id": "detention-1",
            "assignments": [
                {"account_id": officer, "role": "questioner"},
                {"account_id": detainee, "role": "subject"},
            ],
        },
    )
    return str(session["id"])


async def person(admin: Terminal, terminal: Terminal, name: str, role: str, site: str) -> str:
    """Make an account and sign the terminal in as it; returns the account's id."""
    body = {"name": name, "display_name": name, "role": role, "site_id": site}
    made = await admin.call("POST", "/api/people", body)
    account = await terminal.sign_in(made["account"]["name"], made["one_time_password"])
    return str(account["id"])


def phase(name: str) -> Callable[[Mapping[str, Any]], bool]:
    """Whether a state has this phase."""
    return lambda state: bool(state["phase"] == name)


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
    seam.bind_address(hosting.HOST)
    name, password = await hosting.first_administrator(own)
    async with hosting.HostedServer(own) as server:
        async with Terminal(server.url) as admin, Terminal(server.url) as room:
            async with Terminal(server.url) as site:
                await admin.sign_in(name, password)
                officer = await person(admin, room, "officer", "officer", "interrogation-centre")
                detainee = await person(admin, site, "cell", "terminal", "detention-centre")
                session_id = await booked(admin, officer, detainee)
                await room.join(session_id)
                await site.join(session_id)
                clock = SourceClock()
                await site.publish(
                    {
                        "camera": VideoSource(clock, ClockPicture("SITE", "CAMERA", 640, 360)),
                        "microphone": SoundSource(clock, Tone()),
                    },
                    ["H264"],
                )
                await room.open()
                await room.wait_for("live", phase("live"), timeout_s=15)
                await asyncio.sleep(5)
                os.kill(server.pid, number)
                await server.ended()
    assert not (own.archive_dir / session_id).exists()
    async with hosting.HostedServer(own):
        await until_sealed(own.archive_dir / session_id)
        report = verify(own.archive_dir / session_id, Trust.of_installation(own.certificates_dir))
    assert report.sealed, report.to_json()
    lines = [
        json.loads(line)
        for line in (own.archive_dir / session_id / "data/chain.jsonl").read_text().splitlines()
    ]
    assert [line for line in lines if line["type"] == "recover"]
    assert "session_interrupted" in [
        line["event"]["type"] for line in lines if line["type"] == "event"
    ]
    for track in lines[-1]["tracks"]:
        assert track["captured_us"] > 4_000_000, track
