"""After every break the same tracks go on, with one declared gap, and nobody has to do anything."""

from __future__ import annotations

import asyncio
from typing import Any

import pytest
from bad_line import Trouble
from session_in_hand import gaps, tracks

from server.agent.picture import ClockPicture
from server.agent.sources import SoundSource, SourceClock, Tone, VideoSource
from server.agent.terminal import Terminal

pytestmark = pytest.mark.timeout(60)

NEAR = Trouble(delay_s=0.02)


def sources() -> dict[str, Any]:
    clock = SourceClock()
    return {
        "camera": VideoSource(clock, ClockPicture("SITE", "CAMERA", 640, 360)),
        "microphone": SoundSource(clock, Tone()),
    }


async def goes_on(terminal: Terminal, frames: int = 25, seconds: float = 15.0) -> None:
    """Wait until every remote track has so many more frames."""
    before = {name: track.frames for name, track in terminal.received.items()}
    async with asyncio.timeout(seconds):
        while any(
            track.frames < before.get(name, 0) + frames for name, track in terminal.received.items()
        ):
            await asyncio.sleep(0.05)


def one_gap(lines: list[dict[str, Any]], least_s: float, most_s: float) -> None:
    """Every track has exactly one gap of about that length, and no other track was made."""
    assert set(tracks(lines)) == {"cam-1", "mic-1"}
    for track in tracks(lines).values():
        told = gaps(lines, track["track"])
        assert track["gaps"] == len(told) == 1, told
        assert told[0]["cause"] in {"loss", "network"}
        assert least_s <= (told[0]["to_us"] - told[0]["from_us"]) / 1e6 <= most_s, told
        share = (track["captured_us"] + track["gap_us"]) / track["expected_us"]
        assert share > 0.99, track


async def test_media_cut_for_five_seconds(hold: Any) -> None:
    async with hold(NEAR, seed=21) as held:
        await asyncio.sleep(2)
        (flow,) = held.line.change(publishing=True, cut=True)
        await asyncio.sleep(5)
        held.line.change(publishing=True, cut=False)
        await goes_on(held.session.officer)
        assert flow.up.dropped > 500
        published = [e for e in held.session.officer.events if e["type"] == "track_published"]
        lines = await held.sealed()
    # What the sender still had when the line came back is no part of the gap.
    one_gap(lines, 1.5, 7.0)
    assert len(published) <= 2


async def test_a_receiver_cut_for_five_seconds_costs_the_archive_nothing(hold: Any) -> None:
    async with hold(NEAR, seed=22) as held:
        await asyncio.sleep(1)
        held.line.change(publishing=False, cut=True)
        await asyncio.sleep(5)
        held.line.change(publishing=False, cut=False)
        await goes_on(held.session.officer)
        lines = await held.sealed()
    assert all(track["gaps"] == 0 for track in tracks(lines).values())


async def test_a_new_connection_of_the_publisher_carries_the_same_tracks(hold: Any) -> None:
    async with hold(NEAR, seed=23) as held:
        await asyncio.sleep(2)
        before = await held.ups()
        again = await held.session.site.publish(sources(), ["VP8"])
        assert again == {"camera": "cam-1", "microphone": "mic-1"}
        after = await held.ups()
        assert all(after[name] is up for name, up in before.items())
        await goes_on(held.session.officer)
        lines = await held.sealed()
    assert set(tracks(lines)) == {"cam-1", "mic-1"}
    for track in tracks(lines).values():
        assert track["gaps"] <= 1, gaps(lines, track["track"])
        assert track["gap_us"] < 3_000_000, track


async def test_a_reloaded_page_carries_the_same_tracks(hold: Any) -> None:
    async with hold(NEAR, seed=24) as held:
        await asyncio.sleep(2)
        site = held.session.site
        async with Terminal(held.server.url) as reloaded:
            # As after F5: the old page is simply gone, the new one knows nothing of it.
            reloaded.use_token(site._token)
            await reloaded.join(held.session.session_id)
            again = await reloaded.publish(sources(), ["VP8"])
            assert again == {"camera": "cam-1", "microphone": "mic-1"}
            await goes_on(held.session.officer)
            await held.session.officer.mark("after the reload")
            lines = await held.sealed()
    assert set(tracks(lines)) == {"cam-1", "mic-1"}
    for track in tracks(lines).values():
        assert track["gaps"] <= 1, gaps(lines, track["track"])
        assert track["gap_us"] < 5_000_000, track


async def test_a_receiving_connection_that_ended_is_replaced(hold: Any) -> None:
    async with hold(NEAR, seed=25) as held:
        officer = held.session.officer
        before, ended = officer._receiving_name, officer._receiving
        await ended.close()
        # The server says that it has let go of it, and offers another one when asked.
        await goes_on(officer)
        assert officer._receiving_name != before
        assert officer._receiving is not ended
        lines = await held.sealed()
    assert all(track["gaps"] == 0 for track in tracks(lines).values())
