"""RTCP that a peer sends us: as much of it as is read, taken apart (RFC 3550, 6.1).

Before this :mod:`server.sfu.seam`; after it the peer, which makes something of each part. Not on
the way of any packet of media. No clock: time is given.
"""

from __future__ import annotations

from aiortc.rtp import AnyRtcpPacket, RtcpPacket

from server.sfu.allowance import Allowance

BYTES_PER_S = 128 << 10
PACKET_BYTES = 64
"""RTCP costs by its length, each packet this much more; what is beyond the rate is not read.

At 20 % loss a receiver of a dozen pictures needs a fifth of it.
"""


class RtcpIntake:
    """What one peer may have us read; what is beyond that, or makes no sense, is counted."""

    __slots__ = ("_allowance", "malformed")

    def __init__(self) -> None:
        self.malformed = 0
        """Packets that could not be taken apart."""
        self._allowance = Allowance(BYTES_PER_S, BYTES_PER_S)

    @property
    def refused(self) -> int:
        """Packets left unread."""
        return self._allowance.refused

    def parts(self, packet: bytes, now_ns: int) -> list[AnyRtcpPacket] | None:
        """What a plain compound packet consists of; None where it is not read, or malformed."""
        if not self._allowance.take(len(packet) + PACKET_BYTES, now_ns):
            return None
        try:
            return RtcpPacket.parse(packet)
        except ValueError:
            self.malformed += 1
            return None
