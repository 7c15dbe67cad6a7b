"""What a bad line leaves of a session held by headless terminals: in the archive, and live.

The sender keeps only its last 128 packets for retransmission, a second of picture.
"""

from __future__ import annotations

import asyncio
from typing import Any

import pytest
from bad_line import Trouble
from session_in_hand import gaps, tracks

pytestmark = pytest.mark.timeout(60)

SECONDS = 8


def accounted(lines: list[dict[str, Any]]) -> None:
    """Captured and declared missing make up what was expected, of every track."""
    for track in tracks(lines).values():
        missing_us = sum(line["to_us"] - line["from_us"] for line in gaps(lines, track["track"]))
        assert track["gap_us"] == missing_us
        told_us = track["captured_us"] + track["gap_us"]
        assert abs(track["expected_us"] - told_us) <= 100_000, track


async def test_at_5_percent_nothing_is_missing(hold: Any) -> None:
    async with hold(Trouble(loss=0.05, delay_s=0.05), seed=1) as held:
        before = {name: track.frames for name, track in held.session.officer.received.items()}
        await asyncio.sleep(SECONDS)
        ups = await held.ups()
        assert all(up.missed > 5 for up in ups.values())
        assert all(80e6 < up.round_trip_ns < 400e6 for up in ups.values() if up.is_video)
        seen = held.session.officer.received["cam-1"].frames - before["cam-1"]
        # aiortc asks once for each packet, and not at all for sound.
        assert seen > 0.8 * 25 * SECONDS
        lines = await held.sealed()
    accounted(lines)
    assert set(tracks(lines)) == {"cam-1", "mic-1"}
    for track in tracks(lines).values():
        assert track["expected_us"] > SECONDS * 1_000_000
        assert track["captured_us"] >= 0.999 * track["expected_us"], track


async def test_at_20_percent_sound_survives_and_what_is_missing_is_said(hold: Any) -> None:
    async with hold(Trouble(loss=0.2, delay_s=0.05), seed=2) as held:
        await asyncio.sleep(SECONDS)
        lines = await held.sealed()
    accounted(lines)
    told = tracks(lines)
    assert told["mic-1"]["captured_us"] >= 0.99 * told["mic-1"]["expected_us"], told
    assert told["cam-1"]["captured_us"] >= 0.8 * told["cam-1"]["expected_us"], told
