"""One subscription: rewrite SSRC, sequence number and timestamp; answer requests; send.

Before this in a packet's path: :mod:`server.sfu.uptrack`. After it: :mod:`server.sfu.seam`, and the
wire.
"""

from __future__ import annotations

from typing import Protocol

from server.sfu import rtp
from server.sfu.allowance import Allowance
from server.sfu.seam import MediaTransport

MAX_RETRANSMISSIONS = 64
"""Packets sent again for one request; the receiver asks again if it still lacks more."""

RETRANSMISSIONS_PER_S = 500
RETRANSMISSION_BURST = 128
"""What one receiver may be sent again of one track; a flood of requests gets no more."""

RESEND_NS = 10_000_000
"""A packet that is asked for again within this time is already on its way."""

_MAX_RESENT = 512


class Upstream(Protocol):
    """What a subscription needs to know of its track (:class:`~server.sfu.uptrack.UpTrack`)."""

    track_id: str
    clock_hz: int
    forwarded: int
    octets: int

    def history(self, sequence: int) -> bytes | None:
        """The packet with the publisher's sequence number, if it is still kept."""


class DownTrack:
    """What one receiver gets of one published track.

    The receiver sees one continuous stream, whatever happens to the publisher's: when the track is
    bound anew, the offsets are set anew. For each packet nothing is stored here: what was sent is
    derived from the track's own counters.
    """

    __slots__ = (
        "_again",
        "_octets_before",
        "_packets_before",
        "_payload_type",
        "_resent",
        "_rtx",
        "_rtx_sequence",
        "_sequence_offset",
        "_timestamp_offset",
        "_transport",
        "_up",
        "retransmitted",
        "ssrc",
    )

    def __init__(
        self, transport: MediaTransport, up: Upstream, ssrc: int, payload_type: int
    ) -> None:
        self.ssrc = ssrc
        self.retransmitted = 0
        self._transport = transport
        self._up = up
        self._payload_type = payload_type
        self._sequence_offset = 0
        self._timestamp_offset = 0
        self._rtx: tuple[int, int] | None = None
        self._rtx_sequence = 0
        self._resent: dict[int, int] = {}
        """Until when a packet is not sent again, by the receiver's number."""
        self._again = Allowance(RETRANSMISSION_BURST, RETRANSMISSIONS_PER_S)
        self._packets_before = up.forwarded
        self._octets_before = up.octets

    @property
    def packets(self) -> int:
        """Packets sent."""
        return self._up.forwarded - self._packets_before + self.retransmitted

    @property
    def octets(self) -> int:
        """Payload bytes sent, retransmissions left out."""
        return self._up.octets - self._octets_before

    def rebase(
        self, sequence: int, timestamp: int, after_sequence: int, after_timestamp: int
    ) -> None:
        """The publisher's numbers start anew at ``sequence`` and ``timestamp``.

        To the receiver they are to be the next after ``after_sequence`` and to lie at
        ``after_timestamp``, both in the publisher's former numbers.
        """
        self._sequence_offset += after_sequence + 1 - sequence
        self._timestamp_offset += after_timestamp - timestamp

    def forward(self, first: int, marker: int, sequence: int, timestamp: int, body: bytes) -> None:
        """Send one packet on: first header byte, marker bit, the publisher's numbers, payload."""
        self._transport.send(
            first,
            marker | self._payload_type,
            (sequence + self._sequence_offset) & 0xFFFF,
            (timestamp + self._timestamp_offset) & 0xFFFFFFFF,
            self.ssrc,
            body,
        )

    def retransmit_apart(self, payload_type: int, ssrc: int) -> None:
        """Send again in a stream of its own (RFC 4588), as the receiver has agreed to."""
        self._rtx = (payload_type, ssrc)

    def retransmit(self, lost: list[int], now_ns: int) -> None:
        """Send again what the receiver lacks, by the numbers that it knows.

        What we lack ourselves it gets when it comes. Numbers of an earlier binding lie before the
        present one's, of which the track keeps nothing.
        """
        if len(self._resent) > _MAX_RESENT:
            self._resent.clear()
        for wanted in lost[:MAX_RETRANSMISSIONS]:
            number = wanted & 0xFFFF
            packet = self._up.history((number - self._sequence_offset) & 0xFFFF)
            if packet is None or now_ns < self._resent.get(number, 0):
                continue
            if not self._again.take(1, now_ns):
                return
            self._resent[number] = now_ns + RESEND_NS
            self.retransmitted += 1
            self._send_again(number, packet)

    def _send_again(self, number: int, packet: bytes) -> None:
        first, marker, sequence, timestamp, _ = rtp.HEADER.unpack_from(packet)
        first, marker = 0x80 | (first & 0x20), marker & 0x80
        body = packet[rtp.payload_start(packet) :]
        if self._rtx is None:
            self.forward(first, marker, sequence, timestamp, body)
            return
        payload_type, ssrc = self._rtx
        self._rtx_sequence = (self._rtx_sequence + 1) & 0xFFFF
        self._transport.send(
            first,
            marker | payload_type,
            self._rtx_sequence,
            (timestamp + self._timestamp_offset) & 0xFFFFFFFF,
            ssrc,
            number.to_bytes(2) + body,
        )

    def sender_report(self, ntp: int, rtp_time: int, elapsed_ns: int) -> bytes | None:
        """Our report to the receiver: the publisher's, carried forward by the time since it came.

        On the publisher's clock, so that a receiver puts all tracks of one participant in step.
        """
        if self.packets == 0:
            return None
        return rtp.sender_report(
            self.ssrc,
            ntp + elapsed_ns * (1 << 32) // 1_000_000_000,
            rtp_time + elapsed_ns * self._up.clock_hz // 1_000_000_000 + self._timestamp_offset,
            self.packets,
            self.octets,
        )
