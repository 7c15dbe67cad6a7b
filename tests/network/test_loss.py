"""What a bad line leaves of a session held by headless terminals: in the archive, and live.

The sender keeps only its last 128 packets for retransmission, a second of picture.
"""

from __future__ import annotations

import asyncio
import time
from collections import defaultdict
from dataclasses import dataclass, field
from typing import Any

import pytest
from bad_line import Trouble
from session_in_hand import gaps, tracks

from bench.tracks import archived_percent, kept
from server.agent.sources import LATENCY_S, PacedTrack

pytestmark = pytest.mark.timeout(60)

SECONDS = 8


STEP_S = {"cam-1": 1 / 25, "mic-1": 1 / 50}


@dataclass
class Sent:
    """What the terminals' sources gave to be sent, on the wall clock, by kind."""

    at_s: dict[str, list[float]] = field(default_factory=lambda: defaultdict(list))

    def percent(self, lines: list[dict[str, Any]], track: str, until_s: float) -> float:
        """How much of it is in the archive, from its first one there on."""
        kind = "video" if track.startswith("cam") else "audio"
        return archived_percent(kept(lines)[track], self.at_s[kind], until_s, STEP_S[track])


@pytest.fixture
def sent(monkeypatch: pytest.MonkeyPatch) -> Sent:
    noted, recv = Sent(), PacedTrack.recv

    async def counted(self: PacedTrack) -> Any:
        packet = await recv(self)
        captured_s = float(packet.pts * packet.time_base)  # type: ignore[operator]
        noted.at_s[self.kind].append(self._clock.wall(captured_s + LATENCY_S).timestamp())
        return packet

    monkeypatch.setattr(PacedTrack, "recv", counted)
    return noted


def accounted(lines: list[dict[str, Any]]) -> None:
    """Captured and declared missing make up what was expected, of every track."""
    for track in tracks(lines).values():
        missing_us = sum(line["to_us"] - line["from_us"] for line in gaps(lines, track["track"]))
        assert track["gap_us"] == missing_us
        told_us = track["captured_us"] + track["gap_us"]
        assert abs(track["expected_us"] - told_us) <= 100_000, track


async def test_at_5_percent_nothing_is_missing(hold: Any, sent: Sent) -> None:
    async with hold(Trouble(loss=0.05, delay_s=0.05), seed=1) as held:
        before = {name: track.frames for name, track in held.session.officer.received.items()}
        await asyncio.sleep(SECONDS)
        ups = await held.ups()
        assert all(up.missed > 5 for up in ups.values())
        assert all(
            80e6 < up.layers[-1].repair.round_trip_ns < 400e6 for up in ups.values() if up.is_video
        )
        seen = held.session.officer.received["cam-1"].frames - before["cam-1"]
        # aiortc asks once for each packet, and not at all for sound.
        assert seen > 0.8 * 25 * SECONDS
        until_s = time.time() - 0.05
        lines = await held.sealed()
    accounted(lines)
    assert set(tracks(lines)) == {"cam-1", "mic-1"}
    for track in tracks(lines).values():
        assert track["expected_us"] > SECONDS * 1_000_000
        assert track["captured_us"] >= 0.999 * track["expected_us"], track
    for name in STEP_S:
        assert sent.percent(lines, name, until_s) >= 99.9


async def test_at_20_percent_sound_survives_and_what_is_missing_is_said(
    hold: Any, sent: Sent
) -> None:
    async with hold(Trouble(loss=0.2, delay_s=0.05), seed=2) as held:
        await asyncio.sleep(SECONDS)
        until_s = time.time() - 0.05
        lines = await held.sealed()
    accounted(lines)
    told = tracks(lines)
    assert told["mic-1"]["captured_us"] >= 0.99 * told["mic-1"]["expected_us"], told
    assert told["cam-1"]["captured_us"] >= 0.8 * told["cam-1"]["expected_us"], told
    assert sent.percent(lines, "mic-1", until_s) >= 99.0
