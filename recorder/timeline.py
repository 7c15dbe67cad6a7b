"""RTP time and sender reports to one session clock.

Before this in a packet's path: :mod:`recorder.depacketize`. After it: :mod:`recorder.track`, which
writes what this module decides into files and ledger.

There are two times of an access unit, and they serve two purposes:

* *media time* is what the file says. It starts where the first unit of a run arrived and follows
  the differences of RTP timestamps from there, exactly, for ever: a file is never restamped.
* *session time* is the best that is known of when it happened on the session clock: by the sender's
  reports, as far as :mod:`recorder.sender_clock` believes them; else the arrival of the unit that
  waited least on its way.

What is known of the session time changes: a first report comes, a clock is corrected, a report was
wrong. The session time of a unit is decided when the unit is placed, once; a correction moves those
after it, by at most an eighth of the time between them. So time never goes back, and whoever asks
(segments, gaps, the account) hears the same.

No I/O here, and no clock.
"""

from __future__ import annotations

from typing import Any

from recorder.sender_clock import MAX_AHEAD_US, MAX_BEHIND_US, ParticipantClock, SenderClock
from recorder.state import Persistent

MAX_JUMP_US = 20_000_000
"""When RTP time and arrival part by more than this at once, the sender has begun a new count."""

SLEW_DIVISOR = 8
"""A correction lengthens or shortens the time between two units by at most this part of it."""


class Timeline(Persistent):
    """The two times of one track. ``hz`` is its RTP clock rate, and the unit of media time."""

    _STATE = (
        "_running", "_origin_us", "_origin", "_ticks", "_timestamp", "_last", "_last_arrival_us",
        "_early_report", "_line", "_interrupted",
    )  # fmt: skip

    def __init__(self, clock: ParticipantClock, hz: int) -> None:
        self.hz = hz
        self.sender = SenderClock(clock)
        self._running = False
        self._origin_us = 0
        self._origin = 0
        """Session time, as arrivals tell it, and media time at which the run starts."""
        self._ticks = 0
        """RTP ticks from the start of the run to the newest unit."""
        self._timestamp = 0
        self._last = -1
        """Media time of the newest unit."""
        self._last_arrival_us = 0
        self._early_report: list[int] | None = None
        """Sender's time, RTP time and arrival of a report that came before the run."""
        self._line: list[int] = [0, 0, 0, 0]
        """Media time and session time of the unit before the newest, and of the newest."""
        self._interrupted = True
        """The next unit follows no other: its session time is free to be later."""

    def new_run(self) -> None:
        """A new SSRC follows, whose timestamps have nothing to do with those before."""
        self._end_run()
        self._interrupted = True

    def place(self, timestamp: int, arrival_us: int, floor: int) -> int:
        """The media time of a unit with this RTP timestamp.

        Greater than that of the unit before in any case, and at least ``floor`` (media time) when a
        run starts with it. ``arrival_us`` is when its first packet came.
        """
        if self._running:
            step = _signed(timestamp - self._timestamp)
            waited_us = arrival_us - self._last_arrival_us
            if abs(step * 1_000_000 // self.hz - waited_us) > MAX_JUMP_US:
                self._end_run()
            else:
                self._ticks += step
                # Nothing happens after it arrived: the first unit had waited longer than this one.
                early_us = self._origin_us + self._us(self._ticks) - arrival_us
                if 0 < early_us <= MAX_AHEAD_US:
                    self._origin_us -= early_us
        if not self._running:
            self._running = True
            self._ticks = 0
            self._origin_us = arrival_us
            self._origin = max(arrival_us * self.hz // 1_000_000, floor, self._last + 1)
        self._timestamp = timestamp
        self._last_arrival_us = arrival_us
        self._last = max(self._origin + self._ticks, self._last + 1)
        if self._early_report is not None:
            ntp_us, rtp, came_us = self._early_report
            self._early_report = None
            self._tell(ntp_us, rtp, came_us)
        self._decide(self._last, floor)
        return self._last

    def report(self, ntp: int, rtp: int, arrival_us: int) -> None:
        """A sender report of this track: ``ntp`` 64 bit, ``rtp`` 32 bit."""
        if ntp == 0:
            # The sender has no clock and says so (RFC 3550, 6.4.1).
            return
        ntp_us = ntp * 1_000_000 >> 32
        if self._running:
            self._tell(ntp_us, rtp, arrival_us)
        else:
            self._early_report = [ntp_us, rtp, arrival_us]

    def session_us(self, media: int) -> int:
        """The session time of a media time, as it was decided; it rises with the media time."""
        before, before_us, newest, newest_us = self._line
        if media >= newest:
            return newest_us + self._us(media - newest)
        if media >= before:
            return before_us + (media - before) * (newest_us - before_us) // (newest - before)
        return before_us - self._us(before - media)

    def estimate_us(self, media: int) -> int:
        """The session time of a media time of the present run by all that is known by now."""
        origin_us, started_us = self._origin_us, self.sender.started_us
        if started_us is not None:
            late_us = self._last_arrival_us - started_us - self._us(self._ticks)
            if -MAX_AHEAD_US <= late_us <= MAX_BEHIND_US:
                origin_us = started_us
        return origin_us + self._us(media - self._origin)

    def sender_us(self, media: int) -> int | None:
        """The sender's own time of a media time, microseconds since 1900; None before a report."""
        started_us = self.sender.sender_us
        return None if started_us is None else started_us + self._us(media - self._origin)

    def snapshot(self) -> list[Any]:
        """See :meth:`Persistent.snapshot`."""
        return [*super().snapshot(), self.sender.snapshot()]

    def restore(self, values: list[Any]) -> None:
        """See :meth:`Persistent.restore`."""
        *own, sender = values
        super().restore(own)
        self.sender.restore(sender)

    def _end_run(self) -> None:
        self._running = False
        self._early_report = None
        self.sender.new_run()

    def _tell(self, ntp_us: int, rtp: int, arrival_us: int) -> None:
        ticks = self._ticks + _signed(rtp - self._timestamp)
        self.sender.report(ntp_us, self._us(ticks), arrival_us, self._origin_us)

    def _decide(self, media: int, floor: int) -> None:
        """Decide the session time of the newest unit."""
        wanted_us = self.estimate_us(media)
        _, _, newest, newest_us = self._line
        if self._interrupted:
            self._interrupted = False
            decided_us = max(wanted_us, newest_us, self.session_us(min(media, floor)))
            self._line = [media, decided_us, media, decided_us]
            return
        length_us = self._us(media - newest)
        slack_us = length_us // SLEW_DIVISOR
        step_us = max(length_us - slack_us, min(length_us + slack_us, wanted_us - newest_us))
        self._line = [newest, newest_us, media, newest_us + step_us]

    def _us(self, ticks: int) -> int:
        return ticks * 1_000_000 // self.hz


def _signed(difference: int) -> int:
    return (difference + 0x80000000 & 0xFFFFFFFF) - 0x80000000
