"""How late the event loop is: a timer that measures its own lateness.

Everything of a session but the recorder runs on one loop, so what makes this timer late makes a
packet late as well. Read by :mod:`server.process_figures`.
"""

from __future__ import annotations

import asyncio
import time
from collections import deque
from collections.abc import Callable

INTERVAL_S = 0.25
REMEMBERED = 240
"""Samples for the maximum: the last minute, whoever asks and how often."""


class LoopLag:
    """Runs from its making until :meth:`stop`; ``observe`` gets each lateness, in seconds."""

    def __init__(self, observe: Callable[[float], None]) -> None:
        self._observe = observe
        self._recent: deque[float] = deque(maxlen=REMEMBERED)
        self._loop = asyncio.get_running_loop()
        self._timer = self._set()

    @property
    def max_s(self) -> float:
        """The greatest lateness of the last minute."""
        return max(self._recent, default=0.0)

    def stop(self) -> None:
        """Measure no more."""
        self._timer.cancel()

    def _set(self) -> asyncio.TimerHandle:
        # Not the loop's own clock: uvloop reads that once for each round of the loop.
        self._due_s = time.monotonic() + INTERVAL_S
        return self._loop.call_later(INTERVAL_S, self._fired)

    def _fired(self) -> None:
        late_s = max(time.monotonic() - self._due_s, 0.0)
        self._recent.append(late_s)
        self._observe(late_s)
        self._timer = self._set()
