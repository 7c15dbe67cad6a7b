"""What a line carries, found on simulated lines: a queue, a rate, loss, and a receiver's REMB."""

from __future__ import annotations

import random

import pytest
from hypothesis import given
from hypothesis import strategies as st

from server.sfu import estimate
from server.sfu.estimate import Estimate, Uplink

SECOND = 1_000_000_000
TICK = SECOND // 2
SOUND_BPS = 45_000
LAYERS = (0, 150_000, 650_000, 2_500_000)
"""Of pictures in all: none, and each layer."""


class Line:
    """A line of a rate with a queue, whose far end answers as Chromium does."""

    def __init__(self, rate_bps: float, loss: float = 0.0, queue_s: float = 0.3) -> None:
        self.rate_bps, self.loss, self.queue_s = rate_bps, loss, queue_s
        self.now_ns = 100 * SECOND
        self.level = 3
        self.made = Estimate()
        self.worst_lost = 0.0
        self.levels: list[int] = []
        self._queued = 0.0
        self._remb = 0.0

    def run(self, seconds: float) -> None:
        for _ in range(int(seconds * 2)):
            self._tick()

    def _tick(self) -> None:
        self.now_ns += TICK
        media = SOUND_BPS + LAYERS[self.level]
        sent = max(media, self.made.probe_bps)
        self._queued += (sent - self.rate_bps) / 2
        dropped = max(self._queued - self.rate_bps * self.queue_s, 0.0)
        self._queued = max(self._queued - dropped, 0.0)
        lost = 1 - (1 - dropped * 2 / sent) * (1 - self.loss)
        self.worst_lost = max(self.worst_lost, lost)
        through = min(sent, self.rate_bps) - SOUND_BPS
        if sent > self.rate_bps * 1.02:
            self._remb = 0.85 * through
            self.made.remb(int(self._remb), self.now_ns)
        elif self._remb:
            self._remb *= 1.001
            self.made.remb(int(self._remb), self.now_ns)
        else:
            self.made.remb(int(1.5 * through), self.now_ns)
        needed = None
        if self.level < 3:
            needed = int(LAYERS[self.level + 1] * 1.15) + SOUND_BPS
        self.made.tick(
            self.now_ns,
            int(sent),
            SOUND_BPS,
            lost,
            20 + self._queued / self.rate_bps * 1000,
            needed,
        )
        limit = self.made.bps
        fits = [n for n, bps in enumerate(LAYERS) if limit is None or bps + SOUND_BPS <= limit]
        self.level = max(fits, default=0)
        self.levels.append(self.level)


def test_a_clean_line_has_no_limit() -> None:
    line = Line(10e6)
    line.run(60)
    assert line.made.bps is None
    assert set(line.levels) == {3}


@pytest.mark.parametrize("loss", [0.02, 0.05, 0.15, 0.25])
def test_loss_that_does_not_depend_on_us_lowers_nothing(loss: float) -> None:
    line = Line(10e6, loss)
    line.run(60)
    assert set(line.levels) == {3}


@pytest.mark.parametrize(("rate_bps", "level"), [(3e6, 3), (1e6, 2), (300_000, 1), (120_000, 0)])
@pytest.mark.parametrize("loss", [0.0, 0.15])
def test_what_fits_is_found_and_kept(rate_bps: float, level: int, loss: float) -> None:
    line = Line(rate_bps, loss)
    line.run(4)
    assert line.level <= level
    line.run(60)
    assert line.level == level
    line.worst_lost = 0.0
    del line.levels[:]
    line.run(120)
    assert set(line.levels) == {level}
    # What tries the line loses next to nothing by itself.
    assert line.worst_lost < loss + 0.12


def test_a_line_that_is_free_again_is_used_again() -> None:
    line = Line(300_000)
    line.run(10)
    assert line.level == 1
    line.rate_bps = 10e6
    line.run(45)
    assert line.level == 3


def test_severe_loss_is_the_lines_own_when_less_does_not_help() -> None:
    line = Line(10e6, loss=0.4)
    line.run(5)
    line.run(60)
    assert line.level == 3


@given(
    st.lists(
        st.tuples(
            st.integers(0, 5_000_000),
            st.floats(0, 1),
            st.one_of(st.none(), st.floats(0, 5000)),
            st.one_of(st.none(), st.integers(0, 10_000_000)),
            st.integers(0, 5_000_000),
        ),
        max_size=60,
    )
)
def test_whatever_is_told(ticks: list[tuple[int, float, float | None, int | None, int]]) -> None:
    made, now_ns = Estimate(), SECOND
    for sent, loss, trip, needed, remb in ticks:
        now_ns += TICK
        before = made.bps
        made.remb(remb, now_ns)
        made.tick(now_ns, sent, 0, loss, trip, needed)
        assert made.bps is None or made.bps >= estimate.LEAST_BPS
        assert not made.probe_bps or made.probe_bps <= max(needed or 0, estimate.LEAST_BPS)
        if made.probe_bps and before is not None:
            assert made.bps == before


def test_a_publishers_queue_lowers_what_it_is_told_and_an_empty_one_raises_it() -> None:
    made, most = Uplink(), 2_500_000
    assert made.tick(2_400_000, 20_000_000, 0.0, most) == most
    told = [made.tick(900_000, 400_000_000, 0.0, most) for _ in range(4)]
    assert told[0] == most
    assert told[-1] == 765_000
    recovering = [made.tick(700_000, 10_000_000, 0.0, most) for _ in range(20)]
    assert recovering == sorted(recovering)
    assert recovering[-1] == most


def test_loss_alone_is_left_to_the_sender() -> None:
    made, draw = Uplink(), random.Random(1)
    for _ in range(50):
        assert made.tick(2_000_000, 20_000_000, draw.random() * 0.2, 2_500_000) == 2_500_000


def test_what_the_receivers_estimate_does_alone_lowers_nothing() -> None:
    made, draw, now_ns = Estimate(), random.Random(7), SECOND
    for _ in range(400):
        now_ns += TICK
        made.remb(draw.randrange(30_000, 3_000_000), now_ns)
        made.tick(now_ns, 2_000_000, SOUND_BPS, 0.01 * draw.random(), 20 + 40 * draw.random(), None)
    assert made.bps is None


def test_an_estimate_that_is_low_already_is_believed_when_loss_agrees_for_a_while() -> None:
    made, now_ns = Estimate(), 100 * SECOND
    for remb in range(200_000, 140_000, -6_000):  # never by so much that it is a fall
        now_ns += TICK
        made.remb(remb, now_ns)
        made.tick(now_ns, 140_000, SOUND_BPS, 0.15, 60.0, None)
    for _ in range(4):
        now_ns += TICK
        made.tick(now_ns, 490_000, SOUND_BPS, 0.45, 60.0, None)
    assert made.bps is not None
    assert made.bps < 250_000


def test_the_queue_of_a_line_that_was_full_from_the_first_packet_on_is_seen() -> None:
    made, now_ns = Estimate(), 100 * SECOND
    made.begin(60.0, now_ns)
    for remb in range(300_000, 240_000, -6_000):
        now_ns += TICK
        made.remb(remb, now_ns)
        made.tick(now_ns, 490_000, SOUND_BPS, 0.0, 260.0, None)
    assert made.bps is not None
    assert made.bps < 350_000


def test_loss_that_begins_while_the_estimate_falls_costs_some_seconds_at_most() -> None:
    line = Line(10e6)
    line.run(20)
    line.loss = 0.2
    line.made.remb(5_000_000, line.now_ns)
    line.made.remb(200_000, line.now_ns)
    line.run(1)
    line.run(3)
    del line.levels[:]
    line.run(60)
    assert set(line.levels) == {3}


def test_what_is_seen_while_this_process_is_late_is_not_believed() -> None:
    made, now_ns = Estimate(), SECOND
    for number in range(60):
        now_ns += TICK
        made.remb(3_000_000 if number % 2 else 100_000, now_ns)
        made.tick(now_ns, 2_000_000, SOUND_BPS, 0.9, 900.0, None, trusted=False)
    assert made.bps is None
