"""The moments at which a session does what is not done for each packet.

Waking up costs more than most of what is done then: caches are cold. So everything that a session
does a few times a second is done at the same moments, and each session has moments of its own, so
that not all of them are busy at once.
"""

from __future__ import annotations

import time

PULSE_S = 0.25
_EARLY_S = 0.05
"""A timer may fire a little early: the moment that it was for is not waited for again."""


def until_next(phase_s: float, every: int = 1, now_s: float | None = None) -> float:
    """Seconds until the next moment, or the next of which ``every`` has one.

    ``phase_s`` is the session's own part of a pulse; ``now_s`` the monotonic time, if not now.
    """
    period_s = PULSE_S * every
    since_s = ((time.monotonic() if now_s is None else now_s) - phase_s) % period_s
    left_s = period_s - since_s
    return left_s if left_s > _EARLY_S else left_s + period_s
