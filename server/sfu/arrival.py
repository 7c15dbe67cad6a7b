"""How evenly a stream arrives, from a sample of its packets (RFC 3550, 6.4.1 and A.8).

:class:`~server.sfu.layer.Layer` takes every sixteenth packet, so it costs next to nothing; jitter
is that of the samples, which are further apart than A.8 has it but differ by the same delays. No
I/O; time is an argument.
"""

from __future__ import annotations

WINDOW_NS = 10_000_000_000
"""The shortest way of the last one or two of these is what a delay is measured against."""

MAX_STEP_NS = 5_000_000_000
"""A sender whose clock jumps by more than this has begun anew."""


class Arrival:
    """Jitter and delay of one stream whose RTP clock runs at ``clock_hz``."""

    __slots__ = (
        "_arrival_ns",
        "_clock_hz",
        "_delay_ns",
        "_jitter",
        "_least_ns",
        "_least_since_ns",
        "_timestamp",
    )

    def __init__(self, clock_hz: int) -> None:
        self._clock_hz = clock_hz
        self._timestamp = 0
        self._arrival_ns = 0
        self._jitter = 0.0
        self._delay_ns = 0.0
        """Since the first sample: how much longer its way was, and the sender's clock slower."""
        self._least_ns = (0.0, 0.0)
        self._least_since_ns = 0

    def sample(self, timestamp: int, now_ns: int) -> None:
        """Take one packet's RTP timestamp and when it came; the first ones set the measure."""
        step = ((timestamp - self._timestamp + 0x80000000) & 0xFFFFFFFF) - 0x80000000
        waited_ns = now_ns - self._arrival_ns
        later_ns = waited_ns - step * 1e9 / self._clock_hz
        self._timestamp, self._arrival_ns = timestamp, now_ns
        if abs(later_ns) > MAX_STEP_NS:
            self._delay_ns = 0.0
            self._least_ns, self._least_since_ns = (0.0, 0.0), now_ns
            return
        self._delay_ns += later_ns
        self._jitter += (abs(later_ns) * self._clock_hz / 1e9 - self._jitter) / 16
        least, before = self._least_ns
        if now_ns - self._least_since_ns > WINDOW_NS:
            self._least_ns, self._least_since_ns = (self._delay_ns, least), now_ns
        elif self._delay_ns < least:
            self._least_ns = (self._delay_ns, before)

    @property
    def jitter(self) -> int:
        """In units of the RTP clock, as a receiver report tells it."""
        return int(self._jitter)

    @property
    def delay_ns(self) -> int:
        """How much longer the newest sample was on its way than the fastest one of late."""
        return int(self._delay_ns - min(self._least_ns))
