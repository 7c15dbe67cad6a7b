"""What a bad line does to datagrams, by seed. Pure: time is given.

After this: :mod:`bench.relay`, which does it to real datagrams between real sockets, and the tests
in virtual time (``tests/bad_line.py``, ``tests/network``).
"""

from __future__ import annotations

import random
from dataclasses import dataclass


@dataclass(frozen=True)
class Trouble:
    """What happens to datagrams in one direction. Shares are 0 to 1, times seconds."""

    loss: float = 0.0
    burst: float = 1.0
    """How many datagrams are lost one after the other, on average (Gilbert's model); ``loss`` stays
    the share that is lost in all."""
    delay_s: float = 0.0
    jitter_s: float = 0.0
    """Added to the delay, evenly from none to all of it: more than a packet's time reorders."""
    reorder: float = 0.0
    reorder_s: float = 0.02
    """This share is held back for so long, and overtaken by what comes after it."""
    duplicate: float = 0.0
    rate_bps: float = 0.0
    """0: no limit."""
    queue_s: float = 0.2
    """What does not fit into the rate waits at most this long, and is dropped then (tail drop)."""
    cut: bool = False
    blackouts: tuple[tuple[float, float], ...] = ()
    """Intervals, counted from the line's first datagram, in which nothing gets through."""


class Line:
    """One direction of a line. Two lines with the same seed treat the same datagrams alike."""

    def __init__(self, trouble: Trouble, seed: int) -> None:
        self.trouble = trouble
        self.sent = self.dropped = 0
        self._draw = random.Random(seed)
        self._burst_draw = random.Random(seed ^ 0x5EED)
        self._in_burst = False
        self._first_s: float | None = None
        self._free_s = 0.0

    def arrivals(self, now_s: float, size: int) -> list[float]:
        """When a datagram that is sent now comes out: not at all, once, or more often."""
        trouble, draw = self.trouble, self._draw.random
        self.sent += 1
        if self._first_s is None:
            self._first_s = now_s
        # Always the same number of draws, so that one datagram's fate is not another's.
        lost, again, late, later = draw(), draw(), draw(), draw()
        held_back = self._burst_draw.random() < trouble.reorder
        gone = self._lost(lost, self._burst_draw.random())
        start_s = now_s
        if trouble.rate_bps:
            start_s = max(now_s, self._free_s)
            if start_s - now_s > trouble.queue_s:
                self.dropped += 1
                return []
            self._free_s = start_s = start_s + size * 8 / trouble.rate_bps
        since_s = now_s - self._first_s
        dark = any(begin <= since_s < end for begin, end in trouble.blackouts)
        if trouble.cut or dark or gone:
            self.dropped += 1
            return []
        start_s += trouble.delay_s
        times = [start_s + late * trouble.jitter_s + held_back * trouble.reorder_s]
        if again < trouble.duplicate:
            times.append(start_s + later * trouble.jitter_s)
        return times

    def _lost(self, drawn: float, turn: float) -> bool:
        """Whether this one is lost, alone or within a burst."""
        loss, burst = self.trouble.loss, self.trouble.burst
        if burst <= 1.0 or not 0.0 < loss < 1.0:
            return drawn < loss
        if self._in_burst:
            self._in_burst = turn >= 1 / burst
        else:
            self._in_burst = turn < loss / (burst * (1 - loss))
        return self._in_burst
