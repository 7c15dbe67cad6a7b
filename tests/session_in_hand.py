"""A booked interrogation with both of its terminals, for tests that hold a whole session."""

from __future__ import annotations

import contextlib
import json
from collections.abc import AsyncIterator, Callable, Mapping
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

from recorder.verify import Trust, verify
from server.agent.picture import ClockPicture
from server.agent.sources import SoundSource, SourceClock, Tone, VideoSource
from server.agent.terminal import Terminal
from server.config import Config
from server.sfu import seam

CASE_NUMBER = "2026-0501"


@dataclass
class Session:
    """The officer's and the detention site's terminal, signed in, and the session's id."""

    session_id: str
    officer: Terminal
    site: Terminal

    async def join(self, codec: str = "H264") -> None:
        """Both join; the detention site sends picture and sound."""
        await self.officer.join(self.session_id)
        await self.site.join(self.session_id)
        await self.join_media(codec)

    async def join_media(self, codec: str = "H264") -> None:
        """The detention site, which has joined, sends picture and sound."""
        clock = SourceClock()
        await self.site.publish(
            {
                "camera": VideoSource(clock, ClockPicture("SITE", "CAMERA", 640, 360)),
                "microphone": SoundSource(clock, Tone()),
            },
            [codec],
        )

    async def go_live(self) -> None:
        """Open, and wait until it is recorded."""
        await self.officer.open()
        await self.officer.wait_for("live", phase("live"), timeout_s=20)

    async def close(self) -> None:
        """Close, and wait until it is sealed."""
        await self.officer.close(CASE_NUMBER)
        await self.officer.wait_for("sealed", phase("sealed"), timeout_s=30)


def phase(name: str) -> Callable[[Mapping[str, Any]], bool]:
    """Whether a state has this phase."""
    return lambda state: bool(state["phase"] == name)


def recording(name: str) -> Callable[[Mapping[str, Any]], bool]:
    """Whether a state has its recording in this state."""
    return lambda state: bool(state["recording"]["state"] == name)


@contextlib.asynccontextmanager
async def in_hand(url: str, name: str, password: str, nth: int = 0) -> AsyncIterator[Session]:
    """Book an interrogation as this administrator, and sign both terminals in.

    Another one at the same time has another number, for people of its own.
    """
    seam.bind_address("127.0.0.1")
    async with Terminal(url) as admin, Terminal(url) as officer, Terminal(url) as site:
        await admin.sign_in(name, password)
        people = [
            await _person(admin, officer, f"officer{nth or ''}", "officer", "interrogation-centre"),
            await _person(admin, site, f"cell{nth or ''}", "terminal", "detention-centre"),
        ]
        booked = await admin.call(
            "POST",
            "/api/sessions",
            {
                "case_number": CASE_NUMBER,
                "kind": "interrogation",
                "title": "In hand",
                # The rooms are booked one after the other; nothing keeps people from being early.
                "starts_at": (datetime.now(UTC) + timedelta(hours=12 * nth)).isoformat(),
                "room_id": "interrogation-1",
                "detention_room_id": "detention-1",
                "assignments": [
                    {"account_id": account, "role": role}
                    for account, role in zip(people, ("questioner", "subject"), strict=True)
                ],
            },
        )
        yield Session(str(booked["id"]), officer, site)


async def _person(admin: Terminal, terminal: Terminal, name: str, role: str, site: str) -> str:
    body = {"name": name, "display_name": name, "role": role, "site_id": site}
    made = await admin.call("POST", "/api/people", body)
    account = await terminal.sign_in(made["account"]["name"], made["one_time_password"])
    return str(account["id"])


def verified(config: Config, session_id: str) -> Path:
    """The sealed archive of a session, after the verifier has passed all of it."""
    archive = config.archive_dir / session_id
    report = verify(archive, Trust.of_installation(config.certificates_dir))
    assert report.sealed, report.to_json()
    return archive


def ledger(archive: Path) -> list[dict[str, Any]]:
    """The lines of an archive's ledger."""
    return [json.loads(line) for line in (archive / "data/chain.jsonl").read_text().splitlines()]


def tracks(lines: list[dict[str, Any]]) -> dict[str, dict[str, Any]]:
    """What a ledger's last line says of each track."""
    assert lines[-1]["type"] == "close"
    return {track["track"]: track for track in lines[-1]["tracks"]}


def gaps(lines: list[dict[str, Any]], track_id: str) -> list[dict[str, Any]]:
    """The declared gaps of a track."""
    return [line for line in lines if line["type"] == "gap" and line["track"] == track_id]
