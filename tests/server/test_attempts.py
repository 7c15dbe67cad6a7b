"""Failed sign-ins: counted before they are judged, locked, forgiven, forgotten."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from rooms.errors import TooManyAttempts
from server import attempts
from server.attempts import Attempts


def test_locks_after_the_limit_and_for_as_long_as_said() -> None:
    counting = Attempts(limit=3, lock_s=60)
    for at in (0.0, 1.0, 2.0):
        counting.begin("li", at)
    with pytest.raises(TooManyAttempts, match="60 s"):
        counting.begin("li", 2.0)
    with pytest.raises(TooManyAttempts):
        counting.begin("li", 61.9)
    counting.begin("li", 62.0)
    counting.begin("wang", 2.0)


def test_a_right_password_gives_one_attempt_back() -> None:
    counting = Attempts(limit=2, lock_s=60)
    counting.begin("10.0.0.1", 0.0)
    counting.begin("10.0.0.1", 0.0)
    counting.forgive("10.0.0.1")
    counting.begin("10.0.0.1", 0.0)
    with pytest.raises(TooManyAttempts):
        counting.begin("10.0.0.1", 0.0)


def test_clear_unlocks() -> None:
    counting = Attempts(limit=1, lock_s=60)
    counting.begin("li", 0.0)
    counting.clear("li")
    counting.clear("nobody")
    counting.begin("li", 0.0)


def test_memory_is_bounded(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(attempts, "REMEMBERED", 10)
    counting = Attempts(limit=1, lock_s=60)
    for n in range(100):
        counting.begin(f"name-{n}", 0.0)
    assert len(counting._failures) == 10


@given(st.integers(1, 5), st.lists(st.floats(0, 49.9), min_size=1, max_size=60))
def test_a_guesser_who_never_waits_gets_no_more_than_the_limit(
    limit: int, waits: list[float]
) -> None:
    counting = Attempts(limit, lock_s=50.0)
    now, answered, last = 0.0, 0, 0.0
    for wait in waits:
        if answered == limit and now + wait - last >= 50.0:
            break
        now += wait
        try:
            counting.begin("li", now)
        except TooManyAttempts:
            continue
        answered, last = answered + 1, now
    assert answered <= limit
