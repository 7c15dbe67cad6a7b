"""Streams of one sender that follow each other: how far apart they are, and how they become one.

Nothing here runs for each packet: only where one stream takes the place of another.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from server.sfu.crossing import Newest
    from server.sfu.layer import Layer

DISBELIEF_S = 2
"""Sender reports that put two packets further apart than they came, by more than this, are wrong.
"""


def ticks_apart(old: Layer, new: Layer, newest: Newest, packet: bytes, now_ns: int) -> int:
    """RTP ticks from ``newest`` of ``old`` to ``packet`` of ``new``, which may lie before it.

    By the sender's reports, which give both streams' timestamps for its one clock (RFC 3550,
    6.4.1); where one of them has none yet, by the times at which they came.
    """
    hz = new.clock_hz
    waited = (now_ns - newest.arrival_ns) * hz // 1_000_000_000
    timestamp = int.from_bytes(packet[4:8])
    if old is new:
        apart = timestamp - newest.timestamp
    elif old.report is None or new.report is None:
        return max(waited, 1)
    else:
        between = (new.report.ntp - old.report.ntp) * hz >> 32
        apart = timestamp - new.report.rtp - (newest.timestamp - old.report.rtp) + between
    apart = ((apart + 0x80000000) & 0xFFFFFFFF) - 0x80000000
    if abs(apart - waited) > DISBELIEF_S * hz:
        return max(waited, 1)
    return apart


class OneStream:
    """What is passed on as one stream, whatever streams it is made of one after the other.

    A packet's sequence number and timestamp are passed on with the two offsets added.
    """

    __slots__ = ("_ahead", "_sequence_offset", "_timestamp_offset")

    def __init__(self) -> None:
        self._sequence_offset = 0
        self._timestamp_offset = 0
        self._ahead = 0
        """Ticks that what is passed on is later than it was: time does not go back at a change."""

    def _follow(
        self, before: Newest, packet: bytes, number: int, ticks: int, left_out: int = 0
    ) -> None:
        """Let ``packet``, of the extended number ``number``, be the next one after ``before``.

        ``before`` still has the former offsets; ``ticks`` is how much later the packet truly is. A
        key frame of another layer is of the same moment as the last picture, or of an earlier one:
        then it is passed on as a little later, which the next change makes good. ``left_out``
        numbers stay free between the two.
        """
        step = max(ticks - self._ahead, 1)
        self._ahead += step - ticks
        self._sequence_offset += before.number + 1 + left_out - number
        timestamp = int.from_bytes(packet[4:8])
        self._timestamp_offset += before.timestamp + step - timestamp
        self._timestamp_offset &= 0xFFFFFFFF
