"""How far two packets of different streams of one sender are apart, on the sender's own clock."""

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


def forward_only(ticks: int, ahead: int) -> tuple[int, int]:
    """The step to take where ``ticks`` is the true one and we are ``ahead`` ticks already.

    The key frame of another layer is of the same moment as the last picture sent, or of an earlier
    one: then it is sent as a little later, which the next change makes good. Returns the step, at
    least 1, and how far ahead it leads.
    """
    step = max(ticks - ahead, 1)
    return step, step - (ticks - ahead)
