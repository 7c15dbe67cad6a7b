"""The class of a line: limits, hysteresis, and loss over a window of counters."""

import itertools
import random

import pytest

from server.network import BETTER_AFTER, WINDOW, WORSE_AFTER, Grade, NetworkClass, Window, class_of

GOOD, WEAK, BAD = NetworkClass


@pytest.mark.parametrize(
    ("loss", "expected"),
    [(0.0, GOOD), (0.0999, GOOD), (0.1, WEAK), (0.1499, WEAK), (0.15, BAD), (1.0, BAD)],
)
def test_limits(loss: float, expected: NetworkClass) -> None:
    assert class_of(loss) is expected
    assert Grade().take(loss) is expected


def test_nothing_is_known_at_first_and_nothing_measured_changes_nothing() -> None:
    grade = Grade()
    assert grade.take(None) is None
    assert grade.take(0.2) is BAD
    assert grade.take(None) is BAD


def test_worse_when_two_samples_say_so() -> None:
    grade = Grade()
    losses = (0.0, 0.12, 0.0, 0.12, 0.12, 0.3, 0.3)
    assert [grade.take(loss) for loss in losses] == [GOOD, GOOD, GOOD, GOOD, WEAK, WEAK, BAD]
    assert WORSE_AFTER == 2


def test_better_only_when_it_lasts() -> None:
    grade = Grade()
    grade.take(0.3)
    for _ in range(BETTER_AFTER - 1):
        assert grade.take(0.02) is BAD
    assert grade.take(0.02) is GOOD


def test_a_relapse_begins_the_count_anew() -> None:
    grade = Grade()
    grade.take(0.2)
    for loss in (0.02, 0.02, 0.16, 0.02, 0.02):
        assert grade.take(loss) is BAD
    assert grade.take(0.02) is GOOD


def test_a_loss_just_below_a_limit_is_not_better() -> None:
    grade = Grade()
    grade.take(0.12)
    for _ in range(20):
        assert grade.take(0.095) is WEAK


def test_from_bad_to_weak() -> None:
    grade = Grade()
    grade.take(0.3)
    assert [grade.take(0.12) for _ in range(BETTER_AFTER)][-1] is WEAK


@pytest.mark.parametrize(
    ("injected", "expected"), [(0.02, GOOD), (0.07, GOOD), (0.125, WEAK), (0.2, BAD), (0.5, BAD)]
)
def test_classes_match_injected_loss(injected: float, expected: NetworkClass) -> None:
    dice = random.Random(7)
    grade, window = Grade(), Window()
    packets = lost = 0
    for _ in range(30):
        for _ in range(200):
            if dice.random() < injected:
                lost += 1
            packets += 1
        sent, missing = window.take(packets, lost)
        grade.take(missing / sent if sent else None)
    assert grade.value is expected


def test_an_edge_does_not_flicker() -> None:
    dice = random.Random(3)
    grade = Grade()
    seen = [grade.take(0.1 + dice.uniform(-0.008, 0.008)) for _ in range(200)]
    changes = sum(one is not other for one, other in itertools.pairwise(seen))
    assert changes <= 1


def test_a_window_forgets() -> None:
    window = Window()
    assert window.take(100, 7) == (0, 0)
    for second in range(1, WINDOW):
        assert window.take(100 + 10 * second, 7) == (10 * second, 0)
    assert window.take(1000, 5) == (900, -2)
    assert window.take(1000, 5) == (890, -2)
