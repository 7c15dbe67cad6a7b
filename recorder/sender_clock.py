"""What is believed of a sender's reports about its clock (RFC 3550, 6.4.1).

Used by :mod:`recorder.timeline`. A report says which RTP time belongs to which time of the sender.
All tracks of one participant share that clock, so that its picture and its sound stay in step; one
offset brings it to the session clock: the smallest difference of arrival and sender's time in the
last minute, which is the report that waited least on its way.

Some senders say what cannot be: GStreamer 1.22 reports RTP times that run twice as fast as its
media. So a report counts only as far as it agrees with those before it: between two reports, the
sender's clock and the track's RTP clock advance by the same, but for what a quartz can drift.

* A first report that changes little is believed at once, any other only when later ones agree.
* A clock that is set anew (a step) is believed when the reports after it agree for a while.
* When one report after the other contradicts the last, none is believed, until they agree again;
  :mod:`recorder.timeline` then goes by the arrival of the media.

No I/O here, and no clock.
"""

from __future__ import annotations

from typing import Any

from recorder.state import Persistent

WINDOW_US = 60_000_000
"""How far back the smallest difference counts: two clocks drift apart by some ms in that time."""

MAX_REPORTS = 256
"""Reports kept for the window of one participant."""

MAX_AHEAD_US = 500_000
MAX_BEHIND_US = 10_000_000
"""A report that puts media further after or before its arrival than this is not believed."""

SLACK_US = 100_000
DRIFT_DIVISOR = 1000
"""Two reports agree when they differ by no more than the slack, and 1000 ppm of the time between:
a sender takes its two times not in the same moment, and no working quartz drifts so much."""

CLOSE_US = 250_000
"""A first report that moves media by no more than this needs no other that agrees."""

LASTING_US = 2_000_000
LASTING_REPORTS = 3
"""So many reports, over so long, must agree before a larger correction or a step is believed."""

SILENT_US = 7_000_000
"""A participant's clock is set anew only when no other track went by the old one for so long."""

MAX_CONTRADICTIONS = 3
"""After so many reports in a row that agree with nothing, none is believed."""

MAX_RELAPSES = 5
"""A track that contradicted itself so often is not believed again in this recording."""


_DOUBTED = (
    "sender_clock_doubted",
    "this sender's clock reports contradict its media; times are by arrival",
)
_BELIEVED = (
    "sender_clock_believed",
    "this sender's clock reports agree again; times follow them",
)


class ParticipantClock(Persistent):
    """From one participant's clock (NTP format) to the session clock."""

    _STATE = ("_window", "_used_us")

    def __init__(self) -> None:
        self._window: list[list[int]] = []
        """``[arrival_us, arrival_us - ntp_us]`` with rising differences: the first is the least."""
        self._used_us = 0
        """Arrival of the newest report that was believed."""

    def report(self, ntp_us: int, arrival_us: int) -> int:
        """A believed report of one of the participant's tracks, stamped ``ntp_us``, has come.

        Returns what to add to the participant's time.
        """
        difference = arrival_us - ntp_us
        window = self._window
        while window and window[-1][1] >= difference:
            window.pop()
        window.append([arrival_us, difference])
        while window[0][0] < arrival_us - WINDOW_US or len(window) > MAX_REPORTS:
            del window[0]
        self._used_us = arrival_us
        return window[0][1]

    def offset_with(self, ntp_us: int, arrival_us: int) -> int:
        """What to add to the participant's time, if this report counts, too."""
        difference = arrival_us - ntp_us
        return min(self._window[0][1], difference) if self._window else difference

    def fits(self, ntp_us: int, arrival_us: int) -> bool:
        """Whether a report can be of the clock that the participant's other reports are of."""
        if not self._window:
            return True
        waited_us = arrival_us - ntp_us - self._window[0][1]
        return -MAX_AHEAD_US <= waited_us <= MAX_BEHIND_US

    def used_since(self, arrival_us: int) -> bool:
        """Whether a report that came after ``arrival_us`` was believed."""
        return bool(self._window) and self._used_us > arrival_us

    def silent(self, now_us: int) -> bool:
        """Whether no report was believed for :data:`SILENT_US`, or ever."""
        return not self._window or now_us - self._used_us >= SILENT_US

    def forget(self) -> None:
        """The clock was set anew."""
        self._window = []


class SenderClock(Persistent):
    """What one track's reports say, as far as they are believed.

    Times of the sender are those at which the present run of the track began, so that they stay
    the same as long as its clock and its RTP clock keep step.
    """

    _STATE = (
        "started_us", "sender_us", "contradicting", "doubted", "_basis", "_candidate", "_agreeing",
        "_contradictions", "_relapses",
    )  # fmt: skip

    def __init__(self, clock: ParticipantClock) -> None:
        self.started_us: int | None = None
        """Session time at which the run began; None while no report is believed."""
        self.sender_us: int | None = None
        """The same by the sender's clock, microseconds since 1900."""
        self.contradicting = False
        """The reports contradict each other or the media, and were given up."""
        self.doubted = 0
        """How many reports were not believed when they came."""
        self._clock = clock
        self._basis: list[int] | None = None
        """``[sender_us, arrival_us]`` of the report that the others are held against."""
        self._candidate: list[int] | None = None
        """The same of the first that may become the next basis, and how many agree with it."""
        self._agreeing = 0
        self._contradictions = 0
        self._relapses = 0

    def new_run(self) -> None:
        """RTP time begins anew: nothing is known of it yet."""
        self.started_us = self.sender_us = None
        self._basis = self._candidate = None

    def report(self, ntp_us: int, ticks_us: int, arrival_us: int, origin_us: int) -> None:
        """A report: ``ntp_us`` by the sender's clock was ``ticks_us`` of RTP time after the start.

        ``origin_us`` is the session time of that start, as arrivals tell it.
        """
        if self._relapses >= MAX_RELAPSES:
            self.doubted += 1
            return
        one = [ntp_us - ticks_us, arrival_us]
        fits = self._clock.fits(ntp_us, arrival_us)
        if self._basis is not None and _agree(self._basis, one):
            if fits:
                self._believe(one, ntp_us)
            else:
                self._contradict()
            return
        started_us = one[0] + self._clock.offset_with(ntp_us, arrival_us)
        is_close = fits and abs(started_us - origin_us) <= CLOSE_US
        if self._basis is None and is_close and not self.contradicting:
            self._accept(one, ntp_us)
            return
        candidate = self._candidate
        if candidate is None or not _agree(candidate, one):
            self._candidate, self._agreeing = one, 1
            if candidate is None and self._basis is None:
                self.doubted += 1
            else:
                self._contradict()
            return
        self._agreeing += 1
        if self._agreeing < LASTING_REPORTS or arrival_us - candidate[1] < LASTING_US:
            self.doubted += 1
        elif self._clock.used_since(candidate[1]):
            # Another track went by the participant's clock meanwhile: that clock holds.
            if fits:
                self._accept(one, ntp_us)
            else:
                self._contradict()
        elif self._clock.silent(arrival_us) or (fits and self._basis is None):
            # Nobody confirms what was believed of that clock before: it was set anew, or wrong.
            self._clock.forget()
            self._accept(one, ntp_us)
        else:
            self.doubted += 1

    def record(self, track_id: str, participant_id: str, at_us: int, wall: str) -> dict[str, Any]:
        """The ledger's ``event`` that says what the times of the track follow from here on."""
        kind, detail = _DOUBTED if self.contradicting else _BELIEVED
        event = {"type": kind, "participant_id": participant_id, "track_id": track_id}
        return {
            "type": "event",
            "t_us": at_us,
            "wall": wall,
            "event": {**event, "detail": detail},
        }

    def _accept(self, one: list[int], ntp_us: int) -> None:
        self._basis = one
        self.contradicting = False
        self._believe(one, ntp_us)

    def _believe(self, one: list[int], ntp_us: int) -> None:
        self.sender_us, arrival_us = one
        self.started_us = self.sender_us + self._clock.report(ntp_us, arrival_us)
        self._candidate = None
        self._contradictions = 0

    def _contradict(self) -> None:
        self.doubted += 1
        self._contradictions += 1
        if self._contradictions < MAX_CONTRADICTIONS:
            return
        self._contradictions = 0
        self._basis = self.sender_us = self.started_us = None
        if not self.contradicting:
            self.contradicting = True
            self._relapses += 1


def _agree(basis: list[int], one: list[int]) -> bool:
    """Whether two reports, as ``[sender_us, arrival_us]``, can be of the same two clocks."""
    allowed_us = SLACK_US + (one[1] - basis[1]) // DRIFT_DIVISOR
    return abs(one[0] - basis[0]) <= allowed_us
