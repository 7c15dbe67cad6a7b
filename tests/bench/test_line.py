"""The line does what it says, and to the same datagrams always the same."""

from __future__ import annotations

import itertools

import pytest

from bench.line import Line, Trouble
from bench.relay import without_candidates

STEP_S = 0.008


def fates(trouble: Trouble, seed: int, count: int = 20_000) -> list[list[float]]:
    """What becomes of datagrams of 1000 bytes, one each 8 ms: their times on the line."""
    line = Line(trouble, seed)
    return [[at - n * STEP_S for at in line.arrivals(n * STEP_S, 1000)] for n in range(count)]


EVERYTHING = Trouble(
    loss=0.1,
    burst=3,
    delay_s=0.05,
    jitter_s=0.02,
    reorder=0.05,
    duplicate=0.05,
    rate_bps=2e6,
    blackouts=((1.0, 2.0),),
)


def test_a_seed_decides() -> None:
    assert fates(EVERYTHING, 7, 1000) == fates(EVERYTHING, 7, 1000)
    assert fates(EVERYTHING, 7, 1000) != fates(EVERYTHING, 8, 1000)


def test_one_trouble_does_not_change_what_another_decides() -> None:
    lost = [not times for times in fates(Trouble(loss=0.1), 3)]
    more = [not times for times in fates(Trouble(loss=0.1, jitter_s=0.1, duplicate=0.5), 3)]
    assert lost == more


@pytest.mark.parametrize(("loss", "burst"), [(0.05, 1.0), (0.05, 5.0), (0.2, 10.0)])
def test_loss_has_its_share_and_its_length(loss: float, burst: float) -> None:
    lost = [not times for times in fates(Trouble(loss=loss, burst=burst), 5, 100_000)]
    assert sum(lost) / len(lost) == pytest.approx(loss, rel=0.15)
    runs = [len(list(run)) for gone, run in itertools.groupby(lost) if gone]
    assert sum(runs) / len(runs) == pytest.approx(max(burst, 1 / (1 - loss)), rel=0.15)


def test_delay_jitter_and_duplicates() -> None:
    found = fates(Trouble(delay_s=0.05, jitter_s=0.02, duplicate=0.1), 1)
    times = [at for each in found for at in each]
    assert min(times) == pytest.approx(0.05, abs=0.001)
    assert max(times) == pytest.approx(0.07, abs=0.001)
    assert sum(len(each) == 2 for each in found) / len(found) == pytest.approx(0.1, rel=0.1)


def test_what_is_held_back_is_overtaken() -> None:
    arrivals = [at[0] + n * STEP_S for n, at in enumerate(fates(Trouble(reorder=0.1), 1, 5000))]
    overtaken = sum(a > b for a, b in itertools.pairwise(arrivals))
    assert overtaken / len(arrivals) == pytest.approx(0.1 * 0.9, rel=0.15)
    assert fates(Trouble(jitter_s=0.007), 1, 500) == fates(Trouble(jitter_s=0.007), 1, 500)


def test_a_rate_has_a_queue_with_an_end() -> None:
    # A million bits a second come to a line of half as much.
    found = fates(Trouble(rate_bps=500_000, queue_s=0.2), 1, 5000)
    waited = [times[0] for times in found if times]
    assert len(waited) / len(found) == pytest.approx(0.5, abs=0.01)
    assert 0.19 < max(waited) < 0.2 + 0.016 + 1e-9


def test_a_blackout_lets_nothing_through() -> None:
    line = Line(Trouble(blackouts=((1.0, 2.0), (3.0, 3.5))), 1)
    through = [bool(line.arrivals(100 + n / 10, 100)) for n in range(40)]
    assert through == [not (10 <= n < 20 or 30 <= n < 35) for n in range(40)]


def test_a_description_without_its_addresses() -> None:
    text = "v=0\r\na=candidate:1 1 udp 1 127.0.0.1 9 typ host\r\na=end-of-candidates\r\na=mid:0\r\n"
    assert without_candidates(text) == "v=0\r\na=mid:0\r\n"
