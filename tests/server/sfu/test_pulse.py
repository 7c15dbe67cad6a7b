"""Moments that fall together."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from server.sfu.pulse import PULSE_S, until_next


@given(st.floats(0, 1e6), st.floats(0, PULSE_S), st.integers(1, 8))
def test_it_is_never_far_and_never_at_once(now_s: float, phase_s: float, every: int) -> None:
    wait_s = until_next(phase_s, every, now_s)
    assert 0.04 < wait_s <= PULSE_S * every + 0.051
    assert (now_s + wait_s - phase_s + 1e-6) % PULSE_S < 1e-4


def test_slower_ones_fall_on_faster_ones_and_an_early_timer_counts() -> None:
    assert until_next(0.1, 1, 10.0) == pytest.approx(0.1)
    assert until_next(0.1, 2, 10.2) == pytest.approx(0.4)
    assert until_next(0.1, 1, 10.099) == pytest.approx(0.251)
