"""What a receiver tells of one of our tracks, by RTCP: what it misses, and how far away it is.

Each :class:`~server.sfu.subscribe_peer.SubscribePeer` keeps one beside every down track; read twice
a second by :mod:`server.sfu.rationing` and once by :mod:`server.figures`. Nothing here is on the
way of a packet.
"""

from __future__ import annotations

from collections.abc import Iterable

from aiortc.rtp import RtcpReceiverInfo

MAX_REPORTS = 16
"""Sender reports remembered: receivers answer the last one or the one before."""

MAX_ROUND_TRIP_MS = 60_000.0


class Reception:
    """Counters of one receiver and one track; they go on through reconnections of the publisher.

    ``lost`` is what the receiver has declared lost in its reports, which falls again when a packet
    is repaired. ``missed`` counts the packets that it asked for a first time: that is what the line
    lost, whether or not it was repaired.
    """

    __slots__ = (
        "_asked",
        "_lost_before",
        "_sent",
        "lost",
        "missed",
        "round_trip_at_ns",
        "round_trip_ms",
    )

    def __init__(self) -> None:
        self.lost = 0
        self.missed = 0
        self.round_trip_ms: float | None = None
        self.round_trip_at_ns = 0
        """When our report that it was measured with had reached the receiver, about."""
        self._asked: int | None = None
        self._lost_before: int | None = None
        self._sent: dict[int, int] = {}

    def sent(self, report: bytes, now_ns: int) -> None:
        """Our sender report goes out now: what comes back to it tells the round trip."""
        # Bytes 10 to 14: the middle of its NTP time, by which a receiver names it (RFC 3550,
        # 6.4.1). The time is the publisher's, so only our own note of the sending counts.
        self._sent[int.from_bytes(report[10:14])] = now_ns
        if len(self._sent) > MAX_REPORTS:
            del self._sent[next(iter(self._sent))]

    def reported(self, report: RtcpReceiverInfo, now_ns: int) -> None:
        """Take the receiver's block about this track."""
        if self._lost_before is not None:
            self.lost += report.packets_lost - self._lost_before
        self._lost_before = report.packets_lost
        # While nothing is sent, a receiver names our last report again and again: what its way was
        # like is told by the first answer, and not news after that.
        sent_ns = self._sent.pop(report.lsr, None)
        if sent_ns is not None:
            round_trip_ms = (now_ns - sent_ns) / 1e6 - report.dlsr * 1000 / 65536
            # Clocks tick at their own pace: a hair below zero is zero.
            if -1.0 < round_trip_ms < MAX_ROUND_TRIP_MS:
                self.round_trip_ms = max(round_trip_ms, 0.0)
                self.round_trip_at_ns = now_ns - report.dlsr * 1_000_000_000 // 65536

    def asked(self, sequences: Iterable[int]) -> None:
        """Take a request to send again (16-bit numbers); repeated requests count once."""
        for sequence in sequences:
            if self._asked is None or 0 < (sequence - self._asked) & 0xFFFF < 0x8000:
                self._asked = sequence
                self.missed += 1
