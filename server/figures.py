"""One session in figures: totals for the operator, and each person's line for everyone in the room.

Sampled once a second by the session's :class:`~server.conductor.Conductor`, from the counters that
tracks and peers keep anyway; nothing is added to the way of a packet.
"""

from __future__ import annotations

import statistics
from collections import Counter, deque
from collections.abc import Mapping
from typing import Any

from server.forwarding import Forwarding
from server.member import Member
from server.network import Grade, NetworkClass, Window
from server.recording import Recording
from server.sfu.downtrack import DownTrack
from server.sfu.reception import Reception
from server.sfu.uptrack import UpTrack
from server.totals import Part, Totals

SAMPLE_NS = 1_000_000_000
SEND_NS = 2_000_000_000
"""Between two messages, unless a class has changed."""

DEAF_NS = 10_000_000_000
"""A receiver that has not reported for so long hears nothing: sound alone is reported every 5 s."""

SILENT_NS = 3_000_000_000
"""A sender of whom nothing has come for so long is cut off, or as good as that."""

LATE_SAMPLES = 20
"""Of the last 5 s: the longest that the loop was late in them is told with the lines."""

FEW_PACKETS = 30
"""Fewer in a window say nothing about a line."""


class Line:
    """What is remembered of one person's line between two samples."""

    def __init__(self) -> None:
        self.grade = Grade()
        self.up: dict[UpTrack, Window] = {}
        self.down: dict[DownTrack, Window] = {}


class Figures:
    """Totals and lines of one session."""

    def __init__(
        self, forwarding: Forwarding, members: Mapping[str, Member], recording: Recording
    ) -> None:
        self.totals = Totals()
        self._forwarding = forwarding
        self._members = members
        self._recording = recording
        self._lines: dict[str, Line] = {}
        self._classes: dict[str, NetworkClass | None] = {}
        self._late_s: deque[float] = deque([0.0], maxlen=LATE_SAMPLES)
        self._sampled_ns = 0
        self._sent_ns = 0

    def look(self) -> None:
        """Bring the totals up to date."""
        parts: dict[Part, str] = {up: _kind(up) for up in self._forwarding.ups.values()}
        parts[self._recording] = ""
        if self._recording.tap is not None:
            parts[self._recording.tap] = ""
        for member in self._members.values():
            if member.publisher is not None:
                parts[member.publisher] = ""
            for peer in member.receiving:
                parts[peer] = ""
                for up, down, _ in peer.sending:
                    parts[down] = _kind(up)
        self.totals.look(parts)

    def pictures(self) -> Counter[str]:
        """Pictures as receivers get them now, by layer (``none``: not shown, or paused)."""
        return Counter(
            "none" if down.layer is None else down.layer.rid or "h"
            for member in self._members.values()
            for peer in member.receiving
            for up, down, _ in peer.sending
            if up.is_video
        )

    def lines_limited(self) -> int:
        """Receivers whose line is known not to carry everything."""
        return sum(
            peer.limit_bps is not None
            for member in self._members.values()
            for peer in member.receiving
        )

    def late(self, late_s: float) -> None:
        """Note how late a timer of this process was: as late is a packet that comes now."""
        self._late_s.append(max(late_s, 0.0))

    def sample(self, now_ns: int) -> dict[str, Any] | None:
        """Once a second: look at everything; returns the ``network`` message when one is due."""
        if now_ns - self._sampled_ns < SAMPLE_NS:
            return None
        self._sampled_ns = now_ns
        self.look()
        for gone in self._lines.keys() - self._members.keys():
            del self._lines[gone]
        lines = {
            participant_id: self._line(member, now_ns)
            for participant_id, member in self._members.items()
        }
        classes = {participant_id: line["class"] for participant_id, line in lines.items()}
        if classes == self._classes and now_ns - self._sent_ns < SEND_NS:
            return None
        self._classes, self._sent_ns = classes, now_ns
        if not lines:
            return None
        lag_ms = round(max(self._late_s) * 1000, 1)
        return {"type": "network", "participants": lines, "server": {"lag_ms": lag_ms}}

    def _line(self, member: Member, now_ns: int) -> dict[str, Any]:
        line = self._lines.setdefault(member.participant_id, Line())
        up_loss = self._up_loss(member, line, now_ns)
        down_loss, round_trip_ms = self._down(member, line, now_ns)
        known = [loss for loss in (up_loss, down_loss) if loss is not None]
        return {
            "class": line.grade.take(max(known, default=None)),
            "up_loss": None if up_loss is None else round(up_loss, 3),
            "down_loss": None if down_loss is None else round(down_loss, 3),
            "rtt_ms": None if round_trip_ms is None else round(round_trip_ms),
            "limit_bps": None if member.subscriber is None else member.subscriber.limit_bps,
        }

    def _up_loss(self, member: Member, line: Line, now_ns: int) -> float | None:
        """The share that the person sent and the line lost; 1 where all of it has stopped."""
        ups = [
            up
            for up in self._forwarding.ups.values()
            if up.participant_id == member.participant_id and up.ssrc is not None
        ]
        line.up = {up: line.up.get(up) or Window() for up in ups}
        expected = missed = 0
        for up, window in line.up.items():
            packets, lost, missing = window.take(up.packets, up.lost, up.missed)
            expected += packets + lost
            missed += missing
        heard_ns = max((up.last_packet_ns for up in ups), default=0)
        if heard_ns and now_ns - heard_ns > SILENT_NS:
            return 1.0
        return None if expected < FEW_PACKETS else min(missed / expected, 1.0)

    def _down(self, member: Member, line: Line, now_ns: int) -> tuple[float | None, float | None]:
        """The share that the line to the person's own client lost, and the round trip in ms."""
        subscriber = member.subscriber
        sending = [] if subscriber is None else subscriber.sending
        line.down = {down: line.down.get(down) or Window() for _, down, _ in sending}
        sent = gone = 0
        for _, down, reception in sending:
            packets, missing = self._lost_down(line.down[down], down, reception)
            sent += packets
            gone += missing
        trips = [r.round_trip_ms for _, _, r in sending if r.round_trip_ms is not None]
        round_trip_ms = statistics.median(trips) if trips else None
        if sent < FEW_PACKETS or subscriber is None or not subscriber.heard_ns:
            return None, round_trip_ms
        if now_ns - subscriber.heard_ns > DEAF_NS:
            return 1.0, None
        return min(gone / sent, 1.0), round_trip_ms

    @staticmethod
    def _lost_down(window: Window, down: DownTrack, reception: Reception) -> tuple[int, int]:
        """Packets sent in the window, and how many of them this receiver's line lost.

        A packet that did not reach the server, or late, is missing or late at every receiver too,
        and is no fault of theirs.
        """
        counts = down.counts
        packets, lost, missed, lost_before, missed_before = window.take(
            counts.packets, reception.lost, reception.missed, counts.lost, counts.missed
        )
        return packets, max(lost - lost_before, missed - missed_before, 0)


def _kind(up: UpTrack) -> str:
    return "video" if up.is_video else "audio"
