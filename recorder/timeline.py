"""RTP time and sender reports to one session clock (RFC 3550, 6.4.1).

Before this in a packet's path: :mod:`recorder.depacketize`. After it: :mod:`recorder.track`, which
writes what this module decides into files and ledger.

There are two times of an access unit, and they serve two purposes:

* *media time* is what the file says. It starts where the first unit of a run arrived and follows
  the differences of RTP timestamps from there, exactly, for ever: a file is never restamped.
* *session time* is the best that is known of when it happened on the session clock. Sender reports
  give the sender's own clock for an RTP timestamp; all tracks of one participant share that clock,
  so that its picture and its sound stay in step; and one offset brings it to the session clock: the
  smallest difference of arrival and sender's time in the last minute, which is the packet that
  waited least on its way. Before the first report the arrival of the unit that waited least stands
  in.

No I/O here, and no clock.
"""

from __future__ import annotations

from recorder.state import Persistent

WINDOW_US = 60_000_000
"""How far back the smallest difference counts: two clocks drift apart by some ms in that time."""

MAX_REPORTS = 256
"""Reports kept for the window of one participant."""

MAX_JUMP_US = 20_000_000
"""When RTP time and arrival part by more than this at once, the sender has begun a new count."""

MAX_AHEAD_US = 500_000
MAX_BEHIND_US = 10_000_000
"""A report that puts media further after or before its arrival than this is not believed."""


class ParticipantClock(Persistent):
    """From one participant's clock (NTP format) to the session clock."""

    _STATE = ("_window",)

    def __init__(self) -> None:
        self._window: list[list[int]] = []
        """``[arrival_us, arrival_us - ntp_us]`` with rising differences: the first is the least."""

    def report(self, ntp_us: int, arrival_us: int) -> None:
        """A report of one of the participant's tracks, stamped ``ntp_us``, has come."""
        difference = arrival_us - ntp_us
        window = self._window
        while window and window[-1][1] >= difference:
            window.pop()
        window.append([arrival_us, difference])
        while window[0][0] < arrival_us - WINDOW_US or len(window) > MAX_REPORTS:
            del window[0]

    @property
    def offset_us(self) -> int | None:
        """What to add to the participant's time; None before the first report."""
        return self._window[0][1] if self._window else None


class Timeline(Persistent):
    """The two times of one track. ``hz`` is its RTP clock rate, and the unit of media time."""

    _STATE = (
        "ntp_us", "_running", "_origin_us", "_origin", "_ticks", "_timestamp", "_last",
        "_last_arrival_us", "_report_rtp", "_report_ticks",
    )  # fmt: skip

    def __init__(self, clock: ParticipantClock, hz: int) -> None:
        self.hz = hz
        self.ntp_us: int | None = None
        """Sender's time of the newest report, microseconds since 1900."""
        self._clock = clock
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
        self._report_rtp = 0
        self._report_ticks: int | None = None

    def new_run(self) -> None:
        """A new SSRC follows, whose timestamps have nothing to do with those before."""
        self._running = False
        self.ntp_us = self._report_ticks = None

    def place(self, timestamp: int, arrival_us: int, floor: int) -> int:
        """The media time of a unit with this RTP timestamp.

        Greater than that of the unit before in any case, and at least ``floor`` (media time) when a
        run starts with it. ``arrival_us`` is when its first packet came.
        """
        if self._running:
            step = (timestamp - self._timestamp + 0x80000000 & 0xFFFFFFFF) - 0x80000000
            waited_us = arrival_us - self._last_arrival_us
            if abs(step * 1_000_000 // self.hz - waited_us) > MAX_JUMP_US:
                self.new_run()
            else:
                self._ticks += step
                # Nothing happens after it arrived: the first unit had waited longer than this one.
                early_us = self._origin_us + self._ticks * 1_000_000 // self.hz - arrival_us
                if 0 < early_us <= MAX_AHEAD_US:
                    self._origin_us -= early_us
        if not self._running:
            self._running = True
            self._ticks = 0
            self._origin_us = arrival_us
            self._origin = max(arrival_us * self.hz // 1_000_000, floor, self._last + 1)
            if self.ntp_us is not None:
                self._report_ticks = _signed(self._report_rtp - timestamp)
        self._timestamp = timestamp
        self._last_arrival_us = arrival_us
        self._last = max(self._origin + self._ticks, self._last + 1)
        return self._last

    def report(self, ntp: int, rtp: int, arrival_us: int) -> None:
        """A sender report of this track: ``ntp`` 64 bit, ``rtp`` 32 bit."""
        self.ntp_us = ntp * 1_000_000 >> 32
        self._report_rtp = rtp
        self._report_ticks = self._ticks + _signed(rtp - self._timestamp) if self._running else None
        self._clock.report(self.ntp_us, arrival_us)

    def session_us(self, media: int) -> int:
        """The session time of a media time of the present run, as it is known by now."""
        offset_us, correction_us = self._clock.offset_us, 0
        if offset_us is not None and self._report_ticks is not None and self.ntp_us is not None:
            # Sender's time where the run starts, brought to the session clock.
            started_us = self.ntp_us - self._report_ticks * 1_000_000 // self.hz + offset_us
            late_us = self._last_arrival_us - started_us - self._ticks * 1_000_000 // self.hz
            if -MAX_AHEAD_US <= late_us <= MAX_BEHIND_US:
                correction_us = started_us - self._origin_us
        return self._origin_us + correction_us + (media - self._origin) * 1_000_000 // self.hz

    def sender_us(self, media: int) -> int | None:
        """The sender's own time of a media time, microseconds since 1900; None before a report."""
        if self.ntp_us is None or self._report_ticks is None:
            return None
        ticks = media - self._origin - self._report_ticks
        return self.ntp_us + ticks * 1_000_000 // self.hz


def _signed(difference: int) -> int:
    return (difference + 0x80000000 & 0xFFFFFFFF) - 0x80000000
