"""The account of a track: what was expected is captured or a gap, and nothing else."""

from __future__ import annotations

import random
from itertools import pairwise
from typing import Any

from hypothesis import given, settings
from hypothesis import strategies as st

from recorder.coverage import Coverage, LiveTime

END = 1 << 60


def made(*live: tuple[int, int | None]) -> tuple[Coverage, LiveTime, list[dict[str, Any]]]:
    time, records = LiveTime(), []
    for start_us, end_us in live:
        time.begin(start_us)
        if end_us is not None:
            time.end(end_us)
    return Coverage("mic-1", 48_000, time, records), time, records


def test_only_the_live_time_counts() -> None:
    account, _, records = made((1_000_000, 3_000_000))
    account.expect(0)
    account.start(0, 0, fresh=True)
    account.cover(48_000 * 4, 4_000_000)
    account.end(4_000_000)
    account.settle(END)
    assert account.expected_us() == account.captured_us == 2_000_000
    assert account.stored_us == 4_000_000
    assert not records


def test_a_gap_over_a_pause_is_a_line_for_each_side() -> None:
    account, _, records = made((0, 2_000_000), (5_000_000, None))
    account.expect(0)
    account.start(0, 0, fresh=True)
    account.cover(48_000, 1_000_000)
    account.suspend()
    account.skip(6_000_000, "network")
    account.settle(END)
    assert [(one["from_us"], one["to_us"]) for one in records] == [
        (1_000_000, 2_000_000), (5_000_000, 6_000_000),
    ]  # fmt: skip
    assert account.gap_us == 2_000_000
    assert account.gaps == 2


def test_events_that_come_late_still_count() -> None:
    """The session was live, or no longer live, a little before anybody could say so."""
    account, time, records = made()
    account.expect(0)
    account.start(0, 0, fresh=True)
    account.cover(48_000, 1_000_000)
    account.settle(1_000_000 - 2_000_000)
    time.begin(400_000)
    account.miss(96_000, 2_000_000, "loss")
    time.end(1_500_000)
    account.end(2_000_000)
    account.settle(END)
    assert account.captured_us == 600_000
    assert account.gap_us == 500_000
    assert [(one["from_us"], one["to_us"]) for one in records] == [(1_000_000, 1_500_000)]


def test_corrections_of_the_clock_are_neither_media_nor_gap() -> None:
    account, _, records = made((0, None))
    account.expect(0)
    account.start(0, 0, fresh=True)
    for second in range(1, 11):
        # From the third second on the clock is known to be 80 ms earlier.
        shift_us = -80_000 if second >= 3 else 0
        account.cover(48_000 * second, 1_000_000 * second + shift_us)
    account.end(9_920_000)
    account.settle(END)
    assert account.captured_us == account.expected_us() == 9_920_000
    assert not records


def test_what_is_on_its_way_when_a_track_ends_is_not_expected() -> None:
    account, _, records = made((0, None))
    account.expect(0)
    account.start(0, 0, fresh=True)
    account.cover(48_000, 1_000_000)
    account.interrupt(1_060_000, "network", 250_000)
    account.end(1_060_000)
    account.settle(END)
    assert account.expected_us() == account.captured_us == 1_000_000
    assert not records


def test_before_the_first_media_nothing_is_expected() -> None:
    account, _, _ = made((0, None))
    account.expect(500_000)
    account.start(100, 520_000, fresh=True)
    account.cover(100 + 48_000, 1_520_000)
    account.end(1_520_000)
    account.settle(END)
    assert account.expected_us() == account.captured_us == 1_000_000


@settings(max_examples=200, deadline=None)
@given(seed=st.integers(0, 1 << 30))
def test_everything_expected_is_captured_or_declared(seed: int) -> None:
    chance = random.Random(seed)
    account, time, records = made()
    now_us, media = 100_000, 5_000
    account.expect(now_us)
    account.start(media, now_us, fresh=True)
    waiting = False
    for _ in range(60):
        length_us = chance.choice((20_000, 100_000, 1_000_000))
        now_us += length_us
        drift_us = chance.randrange(-15_000, 15_000)
        if waiting:
            account.skip(now_us, "network")
            media += length_us * 48 // 1000
            account.start(media, now_us, fresh=False)
            waiting = False
            continue
        media += length_us * 48 // 1000
        luck = chance.random()
        if luck < 0.7:
            account.cover(media, now_us + drift_us)
        elif luck < 0.85:
            account.miss(media, now_us + drift_us, "loss")
        elif luck < 0.9:
            account.interrupt(now_us, "network", 0)
            waiting = True
        elif luck < 0.95:
            time.begin(now_us)
        else:
            time.end(now_us)
        account.settle(now_us - 2_000_000)
        if chance.random() < 0.2:
            again = Coverage("mic-1", 48_000, time, records)
            again.restore(account.snapshot())
            account = again
    account.interrupt(now_us, "network", 0)
    account.end(now_us)
    account.settle(END)
    # The cursor may have run ahead of the end by the last correction.
    assert abs(account.expected_us() - account.captured_us - account.gap_us) <= 300_000
    ends = [(one["from_us"], one["to_us"]) for one in records]
    assert all(start < end for start, end in ends)
    assert all(before[1] <= after[0] for before, after in pairwise(ends))
    assert sum(end - start for start, end in ends) == account.gap_us
    assert len(ends) == account.gaps
