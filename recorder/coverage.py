"""What should have been recorded, what was, and where it was not: the account of one track.

Before this: :mod:`recorder.continuity`, which knows which media follow each other. After it:
``gap`` lines of the ledger and the counts of its ``close`` line.

The account is a cursor that runs over the session clock. Everything behind it is captured or a gap,
nothing else. Only what lies in the live intervals of the session counts. No I/O here.
"""

from __future__ import annotations

from typing import Any

from recorder.state import Persistent

SETTLE_US = 2_000_000
"""How old media must be before it is counted; the end of the recording counts everything."""

_CAPTURED = "captured"
_UNEXPECTED = "unexpected"


_DETAILS = {
    "loss": "packets were lost and not repaired in time",
    "network": "nothing came from the sender",
    "device": "the sender left out time without losing a packet",
    "recorder": "no recorder was running and nothing was kept for it",
    "no_key_frame": "pictures came that cannot be decoded without a key frame",
    "never_arrived": "the track was published and nothing came",
    "pause": "the session was paused",
}


class LiveTime(Persistent):
    """The intervals in which the session was live, in session time; the last may be open."""

    _STATE = ("intervals",)

    def __init__(self) -> None:
        self.intervals: list[list[int | None]] = []

    def begin(self, at_us: int) -> None:
        """The session is live from ``at_us`` on; nothing new when it is already."""
        if not self.intervals or self.intervals[-1][1] is not None:
            self.intervals.append([at_us, None])

    def end(self, at_us: int) -> None:
        """The session is no longer live; nothing new when it is not."""
        if self.intervals and self.intervals[-1][1] is None:
            start_us = self.intervals[-1][0]
            assert start_us is not None
            self.intervals[-1][1] = max(at_us, start_us)

    def parts(self, from_us: int, to_us: int) -> list[tuple[int, int]]:
        """The live parts of an interval."""
        found = []
        for start_us, end_us in self.intervals:
            assert start_us is not None
            low, high = max(from_us, start_us), to_us if end_us is None else min(to_us, end_us)
            if low < high:
                found.append((low, high))
        return found

    def length_us(self, from_us: int, to_us: int) -> int:
        """How much of an interval was live."""
        return sum(high - low for low, high in self.parts(from_us, to_us))


class Coverage(Persistent):
    """The account of one track. Media times are ticks of ``hz``.

    ``gap`` records are appended to ``records``, in the order in which they are known. Nothing is
    counted before it is :data:`SETTLE_US` old: an event that says when the session was live comes a
    little after the media of that moment.
    """

    _STATE = (
        "stored_us", "captured_us", "gap_us", "gaps", "_settled_us", "_since_us", "_cursor_us",
        "_cursor", "_spans",
    )  # fmt: skip

    def __init__(
        self, track_id: str, hz: int, live: LiveTime, records: list[dict[str, Any]]
    ) -> None:
        self.stored_us = 0
        """Captured at any time, also before the session was live."""
        self.captured_us = 0
        self.gap_us = 0
        self.gaps = 0
        self._records = records
        self._track_id = track_id
        self._hz = hz
        self._live = live
        self._settled_us = 0
        """What was expected in intervals of publication that are over."""
        self._since_us: int | None = None
        """Since when the track is expected; None while it is not."""
        self._cursor_us = 0
        self._cursor: int | None = None
        """Media time at the cursor; None while the next media is awaited."""
        self._spans: list[list[Any]] = []
        """``[from_us, to_us, kind]`` not yet counted: a cause, or one of the two below."""

    @property
    def expecting(self) -> bool:
        """Whether the track is expected now."""
        return self._since_us is not None

    def expect(self, from_us: int) -> None:
        """From here on media is expected."""
        self._since_us = from_us
        self._cursor_us = from_us
        self._cursor = None

    def skip(self, to_us: int, cause: str) -> None:
        """From the cursor to ``to_us`` nothing came, or nothing that could be stored."""
        self._span(to_us, cause)

    def start(self, media: int, at_us: int, *, fresh: bool) -> None:
        """The awaited media begins, at ``at_us``.

        ``fresh``: it is the first of all, and what is expected begins with it, too.
        """
        if fresh:
            self._since_us = self._cursor_us = at_us
        self._cursor_us = max(self._cursor_us, at_us)
        self._cursor = media

    def suspend(self) -> None:
        """The media that followed each other end here; others will come, nobody knows when."""
        self._cursor = None

    def cover(self, media: int, at_us: int) -> None:
        """Everything from the cursor to ``media`` was captured; it ends at about ``at_us``.

        The cursor follows the corrections of the session clock by at most a quarter of the time
        that passes: a correction is neither media nor a gap.
        """
        self._advance(media, at_us, _CAPTURED)

    def miss(self, media: int, at_us: int, cause: str) -> None:
        """From the cursor to ``media``, at about ``at_us``, media is missing."""
        self._advance(media, at_us, cause)

    def interrupt(self, at_us: int, cause: str, tolerance_us: int) -> None:
        """No more media for now; it is missing from the cursor to ``at_us``.

        At most ``tolerance_us`` was just on its way. It is no gap: the track is expected up to the
        media that came, as it is expected from the first that came.
        """
        on_its_way = at_us - self._cursor_us <= tolerance_us
        self._span(at_us, _UNEXPECTED if on_its_way else cause)
        self._cursor = None

    def pause(self, from_us: int, to_us: int) -> None:
        """The session was paused; that is a line of the ledger, and not expected time."""
        self.gaps += 1
        self._records.append(gap_record(self._track_id, from_us, to_us, "pause"))

    def end(self, at_us: int) -> None:
        """The track is not expected any more."""
        if self._since_us is not None:
            self._settled_us += self._live.length_us(self._since_us, at_us)
            self._since_us = None

    def settle(self, before_us: int) -> None:
        """Count everything that was before ``before_us``."""
        spans = self._spans
        while spans and spans[0][0] < before_us:
            from_us, to_us, kind = spans[0]
            if to_us <= before_us:
                del spans[0]
            elif kind in (_CAPTURED, _UNEXPECTED):
                to_us = spans[0][0] = before_us
            else:
                # A gap stays whole.
                return
            self._count(from_us, to_us, kind)

    def expected_us(self) -> int:
        """How much should have been captured, after :meth:`end` and :meth:`settle`."""
        return self._settled_us

    def _advance(self, media: int, at_us: int, kind: str) -> None:
        assert self._cursor is not None
        if media > self._cursor:
            length_us = (media - self._cursor) * 1_000_000 // self._hz
            slack_us = length_us // 4
            wanted_us = at_us - self._cursor_us
            step_us = max(length_us - slack_us, min(length_us + slack_us, wanted_us))
            self._span(self._cursor_us + step_us, kind)
            self._cursor = media

    def _span(self, to_us: int, kind: str) -> None:
        from_us = self._cursor_us
        if to_us <= from_us:
            return
        self._cursor_us = to_us
        if kind == _CAPTURED:
            self.stored_us += to_us - from_us
        last = self._spans[-1] if self._spans else None
        if last is not None and last[1] == from_us and last[2] == kind:
            last[1] = to_us
        else:
            self._spans.append([from_us, to_us, kind])

    def _count(self, from_us: int, to_us: int, kind: str) -> None:
        if kind == _CAPTURED:
            self.captured_us += self._live.length_us(from_us, to_us)
        elif kind == _UNEXPECTED:
            self._settled_us -= self._live.length_us(from_us, to_us)
        else:
            for start_us, end_us in self._live.parts(from_us, to_us):
                self.gap_us += end_us - start_us
                self.gaps += 1
                self._records.append(gap_record(self._track_id, start_us, end_us, kind))


def gap_record(track_id: str, from_us: int, to_us: int, cause: str) -> dict[str, Any]:
    """The ledger's ``gap`` record; the causes are listed in ``docs/ARCHIVE.md``, section 4."""
    return {
        "type": "gap",
        "track": track_id,
        "from_us": from_us,
        "to_us": to_us,
        "cause": cause,
        "detail": _DETAILS[cause],
    }
