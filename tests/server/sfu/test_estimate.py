"""What a line carries: which falls of REMB are believed."""

from __future__ import annotations

from server.sfu.estimate import Estimate

TICK_NS = 500_000_000


def ticks(rembs: list[int], sent_bps: int, *, loss: float = 0.0) -> Estimate:
    """Take these REMBs (kbit/s), one in each tick, with 300 kbit/s of sound beside the pictures."""
    estimate = Estimate()
    for n, remb in enumerate(rembs):
        now_ns = (n + 10) * TICK_NS
        estimate.remb(remb * 1000, now_ns)
        estimate.tick(now_ns, sent_bps, 300_000, loss, 1.0, None)
    return estimate


def test_remb_that_starts_low_and_wavers_limits_nothing() -> None:
    # As Chromium told it on a loopback line with eleven small pictures, on a busy machine.
    assert ticks([151, 156, 161, 161, 132, 125, 110, 83, 64], 540_000).bps is None


def test_a_deep_fall_from_above_what_is_sent_is_believed_alone() -> None:
    estimate = ticks([3000, 3000, 2400, 900], 2_300_000)
    assert estimate.bps == 1_200_000


def test_a_fall_from_below_is_believed_when_loss_agrees() -> None:
    assert ticks([161, 161, 132, 125], 540_000, loss=0.05).bps is not None
