"""What is missing of one incoming stream: asked for again, counted, given up in the end.

Kept by :class:`~server.sfu.layer.Layer`, which notes and strikes out numbers on the way of its
packets; everything else here runs on a timer that lives while something is missing.
"""

from __future__ import annotations

import asyncio
import time
from collections import deque
from collections.abc import Callable

MAX_MISSING = 512
"""More missing at once is not repaired but skipped: a key frame is cheaper."""

NACK_DELAY_S = 0.01
"""Wait before the first request: packets that merely overtook each other need none."""

NACK_POLL_S = 0.01
NACK_INTERVAL_NS = 40_000_000
"""Between two requests for the same packet; the round trip where that is longer."""

MAX_ASKED = 256
"""Packets in one round of requests, at most 4 bytes each: it fits one datagram."""

LIVE_REPAIR_NS = 400_000_000
"""A viewer does not wait longer than this, or three round trips; a recorder does."""

ROUND_TRIPS = 16
"""How many answers the measured round trip is the shortest of."""


class Repair:
    """``ask`` sends a request for 16-bit numbers; ``key_frame`` asks for what makes up for loss."""

    def __init__(
        self,
        repair_ns: int,
        is_video: bool,
        ask: Callable[[list[int]], None],
        key_frame: Callable[[], None],
    ) -> None:
        """``repair_ns`` is how long a missing packet is asked for while it is recorded."""
        self.missing: dict[int, list[int]] = {}
        """By extended number: when it was noticed, first and last asked for (0: not yet)."""
        self.recorded = False
        self.lost = 0
        """Packets given up."""
        self.missed = 0
        """Packets that had to be asked for, or were past asking: what the line lost."""
        self._repair_ns = repair_ns
        self._is_video = is_video
        self._ask = ask
        self._key_frame = key_frame
        self._round_trips: deque[int] = deque(maxlen=ROUND_TRIPS)
        self._timer: asyncio.TimerHandle | None = None

    def note(self, start: int, stop: int, now_ns: int) -> None:
        """The packets from ``start`` up to ``stop`` (extended numbers) have not come."""
        if stop - start + len(self.missing) > MAX_MISSING:
            start = self._skip(start, stop)
        for extended in range(start, stop):
            self.missing[extended] = [now_ns, 0, 0]
        if self.missing and self._timer is None:
            self._timer = asyncio.get_running_loop().call_later(NACK_DELAY_S, self._ask_again)

    def answered(self, times: list[int], now_ns: int) -> None:
        """A packet that was missing has come; ``times`` is what was kept of it."""
        if times[1]:
            self._round_trips.append(now_ns - times[1])

    @property
    def round_trip_ns(self) -> int:
        """To the sender and back, as its latest retransmissions showed; 0 before the first.

        The shortest of them: the others were asked for more than once.
        """
        return min(self._round_trips, default=0)

    def forget(self) -> None:
        """What comes next has numbers of its own."""
        self.missing.clear()

    def forget_line(self) -> None:
        """What comes next comes on another line."""
        self.missing.clear()
        self._round_trips.clear()

    def stop(self) -> None:
        """Ask no more."""
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None

    def _skip(self, start: int, stop: int) -> int:
        """More is missing than is asked for; returns from where on it is.

        Pictures without the ones before them are of no use; of sound, each newest packet is.
        """
        kept = 0 if self._is_video else min(stop - start, MAX_MISSING)
        known = 0 if self._is_video else MAX_MISSING - kept
        for extended in list(self.missing)[: max(len(self.missing) - known, 0)]:
            self.missed += not self.missing.pop(extended)[1]
            self.lost += 1
        self.lost += stop - start - kept
        self.missed += stop - start - kept
        self._key_frame()
        return stop - kept

    def _patience_ns(self) -> int:
        """How long a missing packet is worth asking for."""
        if self.recorded:
            return self._repair_ns
        return min(max(LIVE_REPAIR_NS, 3 * self.round_trip_ns), self._repair_ns)

    def _ask_again(self) -> None:
        self._timer = None
        now_ns = time.monotonic_ns()
        give_up_ns = now_ns - self._patience_ns()
        again_ns = now_ns - max(NACK_INTERVAL_NS, self.round_trip_ns)
        ask: list[int] = []
        for extended, times in list(self.missing.items()):
            if times[0] < give_up_ns:
                del self.missing[extended]
                self.lost += 1
                self.missed += not times[1]
                self._key_frame()
            elif times[2] < again_ns and len(ask) < MAX_ASKED:
                times[2] = now_ns
                if not times[1]:
                    times[1] = now_ns
                    self.missed += 1
                ask.append(extended & 0xFFFF)
        if ask:
            self._ask(ask)
        if self.missing:
            self._timer = asyncio.get_running_loop().call_later(NACK_POLL_S, self._ask_again)
