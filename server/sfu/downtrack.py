"""One subscription: rewrite SSRC, sequence number and timestamp; answer requests; send.

Before this in a packet's path: :mod:`server.sfu.uptrack`. After it: :mod:`server.sfu.seam`, and the
wire.
"""

from __future__ import annotations

from collections.abc import Callable

from server.sfu import rtp
from server.sfu.seam import MediaTransport

MAX_RETRANSMISSIONS = 64
"""Packets sent again for one request; the receiver asks again if it still lacks more."""


class DownTrack:
    """What one receiver gets of one published track.

    The receiver sees one continuous stream, whatever happens to the publisher's: each new binding
    of the :class:`~server.sfu.uptrack.UpTrack` sets the offsets anew.
    """

    __slots__ = (
        "_clock_hz",
        "_first",
        "_last_ns",
        "_last_sequence",
        "_last_timestamp",
        "_payload_type",
        "_rebase",
        "_send",
        "_sequence_offset",
        "_timestamp_offset",
        "octets",
        "packets",
        "retransmitted",
        "ssrc",
        "track_id",
    )

    def __init__(
        self, transport: MediaTransport, track_id: str, ssrc: int, payload_type: int, clock_hz: int
    ) -> None:
        self.track_id = track_id
        self.ssrc = ssrc
        self.packets = self.octets = self.retransmitted = 0
        self._send = transport.send_rtp
        self._payload_type = payload_type
        self._clock_hz = clock_hz
        self._rebase = True
        self._first = 0
        self._sequence_offset = 0
        self._timestamp_offset = 0
        self._last_sequence = 0
        self._last_timestamp = 0
        self._last_ns = 0

    def rebase_at_next(self) -> None:
        """The publisher's numbers start anew with the next packet."""
        self._rebase = True

    def forward(
        self, first: int, marker: int, sequence: int, timestamp: int, body: bytes, now_ns: int
    ) -> None:
        """Send one packet on: first header byte, marker bit, the publisher's numbers, payload."""
        if self._rebase:
            self._set_offsets(sequence, timestamp, now_ns)
        sequence = (sequence + self._sequence_offset) & 0xFFFF
        timestamp = (timestamp + self._timestamp_offset) & 0xFFFFFFFF
        if (sequence - self._last_sequence) & 0xFFFF < 0x8000:
            self._last_sequence = sequence
            self._last_timestamp = timestamp
            self._last_ns = now_ns
        self.packets += 1
        self.octets += len(body)
        self._send(
            rtp.HEADER.pack(first, marker | self._payload_type, sequence, timestamp, self.ssrc)
            + body
        )

    def retransmit(self, lost: list[int], history: Callable[[int], bytes | None]) -> None:
        """Send again what the receiver lacks; ``history`` finds a packet by its number."""
        for wanted in lost[:MAX_RETRANSMISSIONS]:
            sequence = (wanted - self._sequence_offset) & 0xFFFF
            # What was sent under an earlier binding is gone, and its number may be another's now.
            if self._rebase or (sequence - self._first) & 0xFFFF >= 0x8000:
                continue
            packet = history(sequence)
            if packet is None:
                continue
            first, marker, _, timestamp, _ = rtp.HEADER.unpack_from(packet)
            timestamp = (timestamp + self._timestamp_offset) & 0xFFFFFFFF
            self.retransmitted += 1
            self._send(
                rtp.HEADER.pack(
                    0x80 | (first & 0x20),
                    (marker & 0x80) | self._payload_type,
                    wanted & 0xFFFF,
                    timestamp,
                    self.ssrc,
                )
                + packet[rtp.payload_start(packet) :]
            )

    def sender_report(self, ntp: int, rtp_time: int, elapsed_ns: int) -> bytes | None:
        """Our report to the receiver: the publisher's, carried forward by the time since it came.

        On the publisher's clock, so that a receiver puts all tracks of one participant in step.
        """
        if self._rebase or self.packets == 0:
            return None
        return rtp.sender_report(
            self.ssrc,
            ntp + elapsed_ns * (1 << 32) // 1_000_000_000,
            rtp_time + elapsed_ns * self._clock_hz // 1_000_000_000 + self._timestamp_offset,
            self.packets,
            self.octets,
        )

    def _set_offsets(self, sequence: int, timestamp: int, now_ns: int) -> None:
        self._rebase = False
        if self._last_ns:
            elapsed = (now_ns - self._last_ns) * self._clock_hz // 1_000_000_000
            self._sequence_offset = self._last_sequence + 1 - sequence
            self._timestamp_offset = self._last_timestamp + max(elapsed, 1) - timestamp
        self._last_sequence = (sequence + self._sequence_offset - 1) & 0xFFFF
        # Packets just before the first one forwarded may still come late; allow for a few.
        self._first = (sequence - 64) & 0xFFFF
