"""Whatever a sender's reports say about its clock, the archive is whole and verifies.

The media of these sessions is honest, without loss, and comes evenly; only the reports lie.
"""

from __future__ import annotations

import struct
from collections.abc import Callable, Iterator
from itertools import pairwise
from pathlib import Path
from random import Random
from typing import Any

import pytest
from recorded import account, decisions, durable, feed, lines, make_job, record
from recorded import media as contents
from rtp_streams import binding, event, numbered, rtp, ticks
from scribe import Keys

from recorder import wire
from recorder.archive import Layout
from recorder.sender_clock import CLOSE_US
from recorder.verify import verify
from recorder.worker import begin

NTP_US = 3_900_000_000_000_000
LIVE_US = 300_000
EDGE_US = 300_000
TRACKS = {"cam-1": ("VP8", 90_000, 0), "mic-1": ("opus", 48_000, 1)}

Lie = Callable[[Random, int, int, str], tuple[int, int]]
"""From chance, the true sender's time since its start, the report's number, and the track, to the
times (us) that a report tells: by the sender's clock and by the track's RTP clock."""


def honest(_: Random, at_us: int, number: int, track: str) -> tuple[int, int]:
    return at_us, at_us


def double_speed(_: Random, at_us: int, number: int, track: str) -> tuple[int, int]:
    """What GStreamer 1.22 sends as a WHIP client: its RTP time runs away from its media."""
    return at_us, 2 * at_us


def half_speed(_: Random, at_us: int, number: int, track: str) -> tuple[int, int]:
    return at_us, at_us // 2


def at_random(chance: Random, at_us: int, number: int, track: str) -> tuple[int, int]:
    return chance.randrange(-(10**15), 10**15), chance.randrange(1 << 40)


def nearly(chance: Random, at_us: int, number: int, track: str) -> tuple[int, int]:
    return at_us + chance.randrange(-9_000_000, 9_000_000), at_us


def zero(_: Random, at_us: int, number: int, track: str) -> tuple[int, int]:
    return -NTP_US, at_us


def jumping(_: Random, at_us: int, number: int, track: str) -> tuple[int, int]:
    return at_us + (number // 3 % 2) * 7_000_000, at_us


def backwards(_: Random, at_us: int, number: int, track: str) -> tuple[int, int]:
    return -at_us, at_us


def stepped_forward(_: Random, at_us: int, number: int, track: str) -> tuple[int, int]:
    return at_us + (9_000_000 if at_us > 4_000_000 else 0), at_us


def stepped_back(_: Random, at_us: int, number: int, track: str) -> tuple[int, int]:
    return at_us - (9_000_000 if at_us > 4_000_000 else 0), at_us


def one_of_two_stepped(_: Random, at_us: int, number: int, track: str) -> tuple[int, int]:
    return at_us - (6_000_000 if at_us > 4_000_000 and track == "mic-1" else 0), at_us


def of_another_clock(_: Random, at_us: int, number: int, track: str) -> tuple[int, int]:
    return at_us, at_us * 90 // 48 if track == "mic-1" else at_us * 48 // 90


def creeping(_: Random, at_us: int, number: int, track: str) -> tuple[int, int]:
    return at_us + at_us // 1000, at_us


def spiked(_: Random, at_us: int, number: int, track: str) -> tuple[int, int]:
    return at_us + (number == 4) * 400_000, at_us


LIES: list[Lie] = [
    honest, double_speed, half_speed, at_random, nearly, zero, jumping, backwards, stepped_forward,
    stepped_back, one_of_two_stepped, of_another_clock, creeping, spiked,
]  # fmt: skip


def media(track: str, chance: Random, end_us: int) -> Iterator[wire.RtpInput]:
    """Every picture or sound of a track, each on its way for up to 60 ms."""
    codec, hz, index = TRACKS[track]
    step_us = 20_000 if codec == "opus" else 40_000
    for number, at_us in enumerate(range(0, end_us, step_us)):
        payload = b"\xfc" + bytes(20)
        if codec == "VP8":
            # RFC 7741: a descriptor of one byte, then the frame of VP8 (RFC 6386, 9.1).
            payload = b"\x10\x11\x02\x00" + bytes(30)
            if number % 50 == 0:
                payload = b"\x10\x10\x02\x00\x9d\x01\x2a" + struct.pack("<HH", 64, 48) + bytes(30)
        packet = rtp(number, at_us * hz // 1_000_000 - 90_000, 7 + index, payload, marker=True)
        yield wire.RtpInput(0, 10_000 + at_us + chance.randrange(60_000), index, packet)


def reports(
    track: str, lie: Lie, chance: Random, end_us: int, every_us: int
) -> Iterator[wire.SenderReportInput]:
    _, hz, index = TRACKS[track]
    for number, at_us in enumerate(range(chance.randrange(every_us), end_us, every_us)):
        sender_us, rtp_us = lie(chance, at_us, number, track)
        ntp = (max(NTP_US + sender_us, 0) << 32) // 1_000_000
        timestamp = (rtp_us * hz // 1_000_000 - 90_000) & 0xFFFFFFFF
        arrival_us = at_us + 10_000 + chance.randrange(40_000)
        yield wire.SenderReportInput(0, arrival_us, index, ntp & (1 << 64) - 1, timestamp)


def session(lie: dict[str, Lie], seed: int, end_us: int) -> list[wire.Input]:
    chance = Random(seed)
    every_us = chance.choice([500_000, 1_000_000])
    inputs: list[wire.Input] = numbered(
        *(binding(index, track, codec, 7 + index) for track, (codec, _, index) in TRACKS.items()),
        *(media(track, chance, end_us + 100_000) for track in TRACKS),
        *(reports(track, lie[track], chance, end_us, every_us) for track in TRACKS),
        event("session_opening", 0),
        event("session_live", LIVE_US),
        event("session_closing", end_us),
        ticks(end_us + 300_000),
        wire.CloseInput(0, end_us + 300_000, {"closed_us": end_us}),
    )
    return inputs


def offs(layout: Layout, track: str) -> list[int]:
    """How far each segment starts from when its first picture or sound was made."""
    hz = TRACKS[track][1]
    return [
        one["t0_us"] - ((one["rtp"]["first_ts"] + 90_000 & 0xFFFFFFFF) * 1_000_000 // hz)
        for one in lines(layout, "seg", track)
    ]


def clock_events(layout: Layout) -> list[tuple[str, str]]:
    """What the ledger says about senders' clocks."""
    events = (one["event"] for one in lines(layout, "event"))
    return [(one["track_id"], one["type"]) for one in events if "clock" in one["type"]]


@pytest.fixture
def play(
    tmp_path: Path, keys: Keys, monkeypatch: pytest.MonkeyPatch
) -> Callable[[dict[str, Lie], int, int], Layout]:
    """Records a session and checks what must hold whatever is reported."""
    monkeypatch.setattr("os.fdatasync", lambda descriptor: None)
    monkeypatch.setattr("os.fsync", lambda descriptor: None)

    def run(lie: dict[str, Lie], seed: int, end_us: int = 12_000_000) -> Layout:
        folder = tmp_path / f"{seed}"
        folder.mkdir()
        job = make_job(folder, keys.job, segment_target_us=2_000_000)
        layout = record(job, session(lie, seed, end_us))
        report = verify(layout.root, keys.trust)
        assert report.sealed, report.failures
        for track in TRACKS:
            sums = account(layout, track)
            known_us = sums["captured_us"] + sums["gap_us"]
            assert abs(known_us - (end_us - LIVE_US)) <= 2 * EDGE_US, sums
            segments = lines(layout, "seg", track)
            assert all(one["t0_us"] < one["end_us"] for one in segments)
            for before, after in pairwise(segments):
                assert before["end_us"] <= after["t0_us"]
            if lie[track] is honest:
                # Whatever the other track says.
                assert all(-600_000 <= one <= 200_000 for one in offs(layout, track))
        return layout

    return run


@pytest.mark.parametrize("lie", LIES, ids=lambda one: one.__name__)
def test_an_archive_of_honest_media_verifies(play: Any, lie: Lie) -> None:
    play({"cam-1": lie, "mic-1": lie}, 1)
    play({"cam-1": honest, "mic-1": lie}, 2)
    play({"cam-1": lie, "mic-1": honest}, 3)


def test_times_that_run_apart_are_said_to_be_by_arrival(play: Any) -> None:
    layout = play({"cam-1": double_speed, "mic-1": honest}, 1)
    assert clock_events(layout) == [("cam-1", "sender_clock_doubted")]
    assert account(layout, "cam-1")["reports_doubted"] >= 11
    assert account(layout, "mic-1")["reports_doubted"] == 0
    # The first report was believed: it moved little.
    assert all(-CLOSE_US <= one <= 100_000 for one in offs(layout, "cam-1"))
    assert all(0 <= one <= 100_000 for one in offs(layout, "cam-1")[2:])
    assert lines(layout, "seg", "cam-1")[-1]["rtp"]["ntp_us"] is None


@pytest.mark.parametrize("lie", [stepped_forward, stepped_back])
def test_a_step_of_the_hosts_clock_moves_nothing(play: Any, lie: Lie) -> None:
    layout = play({"cam-1": lie, "mic-1": lie}, 1, 20_000_000)
    assert clock_events(layout) == []
    for track in TRACKS:
        assert all(0 <= one <= 100_000 for one in offs(layout, track))
        # What the sender's clock itself said stands in the ledger.
        senders = [one["rtp"]["ntp_us"] for one in lines(layout, "seg", track)]
        assert abs(senders[-1] - senders[1]) > 20_000_000 or lie is stepped_back


def test_a_recorder_that_takes_over_doubts_the_same(tmp_path: Path, keys: Keys) -> None:
    inputs = session({"cam-1": jumping, "mic-1": double_speed}, 5, 9_000_000)
    (tmp_path / "whole").mkdir()
    whole = record(make_job(tmp_path / "whole", keys.job), inputs)
    job = make_job(tmp_path, keys.job)
    for share in range(1, 8):
        intake = begin(job)
        feed(intake, inputs[durable(intake) : len(inputs) * share // 8])
        intake.release()
    intake = begin(job)
    sealed = feed(intake, inputs[durable(intake) :])[-1]
    assert isinstance(sealed, wire.Sealed)
    assert clock_events(whole)
    assert decisions(Layout(Path(sealed.archive))) == decisions(whole)
    assert contents(Layout(Path(sealed.archive))) == contents(whole)


@pytest.mark.parametrize("seed", range(10, 20))
def test_any_mixture_of_lies_verifies(play: Any, seed: int) -> None:
    """Each track tells another lie every few seconds."""
    chance = Random(seed)
    chosen = {track: [chance.choice(LIES) for _ in range(8)] for track in TRACKS}

    def mixed(by: Random, at_us: int, number: int, track: str) -> tuple[int, int]:
        return chosen[track][at_us // 3_000_000 % 8](by, at_us, number, track)

    play({"cam-1": mixed, "mic-1": mixed}, seed, 20_000_000)
