"""One session clock from RTP timestamps and sender reports."""

from __future__ import annotations

import random
from itertools import pairwise

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from recorder.sender_clock import WINDOW_US, ParticipantClock
from recorder.timeline import SLEW_DIVISOR, Timeline

NTP_US = 3_900_000_000_000_000


def ntp(us: int) -> int:
    """A time of the sender in the format of a report."""
    return ((NTP_US + us) << 32) // 1_000_000


def test_media_time_follows_rtp_and_nothing_else() -> None:
    line = Timeline(ParticipantClock(), 90_000)
    first = 0xFFFFF000
    placed = []
    for index in range(10):
        timestamp = (first + index * 3000) & 0xFFFFFFFF
        placed.append(line.place(timestamp, 1_000_000 + index * 33_333 + index * 77, 0))
        if index == 5:
            line.report(ntp(500_000), timestamp, 1_300_000)
    assert placed == [90_000 + index * 3000 for index in range(10)]


def test_before_a_report_arrival_stands_in() -> None:
    line = Timeline(ParticipantClock(), 48_000)
    media = line.place(1234, 2_000_000, 0)
    assert line.session_us(media) == 2_000_000
    assert line.session_us(media + 48_000) == 3_000_000
    assert line.sender_us(media) is None


def test_picture_and_sound_of_one_participant_stay_in_step() -> None:
    """The sound waits 150 ms longer on its way; after reports both are where they belong."""
    clock = ParticipantClock()
    picture, sound = Timeline(clock, 90_000), Timeline(clock, 48_000)
    for at_us in range(0, 3_000_000, 20_000):
        seen = picture.place(at_us * 9 // 100, at_us + 30_000, 0)
        heard = sound.place(at_us * 6 // 125 + 77, at_us + 180_000, 0)
        if at_us % 1_000_000 == 0:
            picture.report(ntp(at_us), at_us * 9 // 100, at_us + 31_000)
            sound.report(ntp(at_us), at_us * 6 // 125 + 77, at_us + 181_000)
    assert abs(picture.session_us(seen) - sound.session_us(heard)) < 100
    assert abs(picture.session_us(seen) - 2_980_000 - 31_000) < 100
    assert sound.sender_us(heard) == NTP_US + 2_980_000


def test_drift_is_followed() -> None:
    """A sender whose clock is 200 ppm slow, for an hour."""
    line = Timeline(ParticipantClock(), 48_000)
    for at_us in range(0, 3_600_000_000, 1_000_000):
        sender_us = at_us - at_us // 5000
        timestamp = sender_us * 6 // 125 & 0xFFFFFFFF
        media = line.place(timestamp, at_us + 20_000, 0)
        line.report(ntp(sender_us), timestamp, at_us + 20_000)
    # The newest second was placed before its own report.
    seconds = WINDOW_US // 1_000_000 + 1
    assert abs(line.session_us(media) - (at_us + 20_000)) < 200 * seconds + 100


def test_a_report_that_cannot_be_is_not_believed() -> None:
    """A sender that says something absurd loses its own synchronisation, and nothing else."""
    clock = ParticipantClock()
    sound, picture = Timeline(clock, 48_000), Timeline(clock, 90_000)
    heard, seen = sound.place(0, 1_000_000, 0), picture.place(0, 1_010_000, 0)
    sound.report(ntp(980_000), 0, 1_000_000)
    assert sound.session_us(heard) == 1_000_000
    picture.report(ntp(400_000_000), 0, 1_020_000)
    assert sound.session_us(heard) == 1_000_000
    assert abs(picture.session_us(seen) - 1_010_000) <= 10_000


def test_a_report_before_the_first_packet_counts() -> None:
    line = Timeline(ParticipantClock(), 90_000)
    line.report(ntp(1_000_000), 90_000, 1_020_000)
    media = line.place(180_000, 2_100_000, 0)
    assert line.session_us(media) == 2_020_000


def test_a_new_run_goes_on_after_the_one_before() -> None:
    line = Timeline(ParticipantClock(), 90_000)
    line.place(500, 1_000_000, 0)
    last = line.place(500 + 90_000 * 4, 5_000_000, 0)
    line.new_run()
    assert line.place(77, 5_000_001, last + 3000) == last + 3000
    line.new_run()
    assert line.place(77, 9_000_000, last + 3000) == 9 * 90_000


def test_a_timestamp_that_jumps_starts_a_new_run() -> None:
    line = Timeline(ParticipantClock(), 90_000)
    line.place(0, 1_000_000, 0)
    assert line.place(0x7000_0000, 1_033_000, 0) == 1_033_000 * 9 // 100
    # A long silence is no jump: RTP time and arrival agree.
    assert line.place(0x7000_0000 + 90_000 * 600, 601_033_000, 0) == 601_033_000 * 9 // 100


def test_session_time_neither_goes_back_nor_jumps() -> None:
    """A report says that the media waited for 4 s: what follows catches up, an eighth at a time."""
    line = Timeline(ParticipantClock(), 48_000)
    decided = []
    for number in range(1000):
        at_us = 10_000_000 + number * 20_000
        media = line.place(number * 960, at_us, 0)
        if number % 25 == 0:
            line.report(ntp(at_us), number * 960 + 4 * 48_000, at_us)
        decided.append(line.session_us(media))
    steps = [after - before for before, after in pairwise(decided)]
    slack_us = 20_000 // SLEW_DIVISOR
    assert min(steps) == 20_000 - slack_us
    assert max(steps) <= 20_000 + slack_us
    late_us = 10_000_000 + 999 * 20_000 - decided[-1]
    # Reports every 500 ms are believed after 2 s; 18 s later an eighth of them is made up for.
    assert late_us == pytest.approx(18_000_000 // SLEW_DIVISOR, abs=25_000)


@settings(max_examples=100, deadline=None)
@given(seed=st.integers(0, 1 << 30))
def test_both_times_always_rise(seed: int) -> None:
    chance = random.Random(seed)
    line = Timeline(ParticipantClock(), chance.choice((48_000, 90_000)))
    timestamp, at_us, last, last_us = chance.randrange(1 << 32), 0, -1, -1
    for _ in range(200):
        timestamp = (timestamp + chance.choice((0, 1, 960, 3000, -3000, 1 << 30, -960))) % (1 << 32)
        at_us += chance.choice((0, 0, 20_000, 33_000, 30_000_000))
        if chance.random() < 0.1:
            line.report(chance.randrange(1 << 64), chance.randrange(1 << 32), at_us)
        if chance.random() < 0.05:
            line.new_run()
        if chance.random() < 0.1:
            state = line.snapshot()
            line.restore(state)
        media = line.place(timestamp, at_us, 0)
        assert media > last
        assert line.session_us(media) >= last_us
        last, last_us = media, line.session_us(media)
