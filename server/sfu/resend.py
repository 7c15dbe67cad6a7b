"""What a receiver is sent beside its stream: again what it lacks, and what tries its line.

Beside :mod:`server.sfu.downtrack`, which tells how it numbered what it sent. No packet is kept
here: what was sent is found again in the histories of the layers.
"""

from __future__ import annotations

from collections import deque
from typing import TYPE_CHECKING, NamedTuple

from server.sfu import rtp
from server.sfu.allowance import Allowance
from server.sfu.pictures import PictureNumbers, renumber
from server.sfu.seam import MediaTransport

if TYPE_CHECKING:
    from server.sfu.layer import Layer

MAX_RETRANSMISSIONS = 64
"""Packets sent again for one request; the receiver asks again if it still lacks more."""

RETRANSMISSIONS_PER_S = 500
RETRANSMISSION_BURST = 128
"""What one receiver may be sent again of one track; a flood of requests gets no more."""

RESEND_NS = 10_000_000
MAX_RESEND_NS = 200_000_000
RESEND_SHARE = 0.8
"""A packet that is asked for again within most of a round trip is already on its way."""

PADDING = bytes(254) + b"\xff"
"""The payload of a packet of padding alone (RFC 3550, 5.1), as long as can be."""

STRETCHES = 4
"""Changes of layer that are remembered: more do not fall into the time of a retransmission."""

_MAX_RESENT = 512


class Stretch(NamedTuple):
    """What a receiver has been sent of one layer in one go, and how it was renumbered."""

    first: int
    """The number (extended, as the receiver has it) that it starts with."""
    layer: Layer
    binding: int
    sequence_offset: int
    timestamp_offset: int
    numbers: PictureNumbers | None


class Resending:
    """What one receiver is sent of one track beside the stream ``ssrc`` itself.

    Numbers are extended ones, as the receiver has them. With ``twice`` each packet that is asked
    for is sent two times.
    """

    __slots__ = (
        "_again",
        "_payload_type",
        "_resend_ns",
        "_resent",
        "_rtx",
        "_rtx_sequence",
        "_ssrc",
        "_stretches",
        "_transport",
        "_twice",
        "budget",
        "octets",
        "probed",
        "probed_octets",
        "retransmitted",
    )

    def __init__(
        self, transport: MediaTransport, ssrc: int, payload_type: int, *, twice: bool
    ) -> None:
        self.retransmitted = 0
        """Packets sent again as they were asked for."""
        self.probed = 0
        """Packets sent unasked, to learn what the line can carry: some once more, or padding."""
        self.octets = 0
        self.probed_octets = 0
        """Payload bytes of both; of what was probed."""
        self.budget: Allowance | None = None
        """Bytes that may be sent again; shared by several."""
        self._transport = transport
        self._ssrc = ssrc
        self._payload_type = payload_type
        self._twice = twice
        self._stretches: deque[Stretch] = deque(maxlen=STRETCHES)
        self._rtx: tuple[int, int] | None = None
        self._rtx_sequence = 0
        self._resend_ns = RESEND_NS
        self._resent: dict[int, int] = {}
        """Until when a packet is not sent again, by the receiver's number."""
        self._again = Allowance(RETRANSMISSION_BURST, RETRANSMISSIONS_PER_S)

    @property
    def apart(self) -> bool:
        """Whether the receiver takes a retransmission stream."""
        return self._rtx is not None

    def use_stream(self, payload_type: int, ssrc: int) -> None:
        """Send again in a stream of its own (RFC 4588), as the receiver has agreed to."""
        self._rtx = (payload_type, ssrc)

    def wait_for(self, round_trip_ms: float | None) -> None:
        """What is asked for again within ``round_trip_ms`` was sent already."""
        wait_ns = RESEND_NS if round_trip_ms is None else int(round_trip_ms * RESEND_SHARE * 1e6)
        self._resend_ns = min(max(wait_ns, RESEND_NS), MAX_RESEND_NS)

    def mark(self, stretch: Stretch) -> None:
        """What is sent from now on was numbered like this."""
        self._stretches.append(stretch)

    def forget(self) -> None:
        """Nothing of what was sent is kept any more."""
        self._stretches.clear()

    def retransmit(self, lost: list[int], newest: int, now_ns: int) -> None:
        """Send again what is ``lost``, by 16-bit numbers up to ``newest``, as far as it is kept."""
        if len(self._resent) > _MAX_RESENT:
            self._resent.clear()
        for wanted in lost[:MAX_RETRANSMISSIONS]:
            number = newest - ((newest - wanted) & 0xFFFF)
            found = self._sent(number)
            if found is None or now_ns < self._resent.get(wanted & 0xFFFF, 0):
                continue
            if not self._afford(found[1], now_ns):
                continue
            if not self._again.take(1, now_ns):
                return
            self._resent[wanted & 0xFFFF] = now_ns + self._resend_ns
            self.retransmitted += 1
            self._send_again(number & 0xFFFF, *found)
            if self._twice and self._afford(found[1], now_ns):
                self.retransmitted += 1
                self._send_again(number & 0xFFFF, *found)

    def probe(self, newest: int, room: float) -> int:
        """Send what tries the line, up to ``room`` bytes in all; returns how many bytes.

        The packets up to ``newest`` once more; where that is not kept, padding alone. In the
        retransmission stream, where the receiver knows either for what it is; without one nothing.
        """
        if self._rtx is None:
            return 0
        spent, before = 0, self.octets
        for back in range(MAX_RETRANSMISSIONS):
            found = self._sent(newest - back)
            if found is None and not back:
                spent = self._pad(room, *self._rtx)
                break
            if found is None or spent + len(found[1]) > room:
                break
            self.probed += 1
            spent += len(found[1])
            self._send_again((newest - back) & 0xFFFF, *found)
        self.probed_octets += self.octets - before
        return spent

    def _afford(self, packet: bytes, now_ns: int) -> bool:
        return self.budget is None or self.budget.take(len(packet), now_ns)

    def _sent(self, number: int) -> tuple[Stretch, bytes] | None:
        """The packet that the receiver knows by this number, if it is still kept."""
        for stretch in reversed(self._stretches):
            if stretch.first <= number:
                if stretch.binding != stretch.layer.binding:
                    return None
                packet = stretch.layer.history((number - stretch.sequence_offset) & 0xFFFF)
                return None if packet is None else (stretch, packet)
        return None

    def _send_again(self, number: int, stretch: Stretch, packet: bytes) -> None:
        first, marker, _, timestamp, _ = rtp.HEADER.unpack_from(packet)
        body = packet[rtp.payload_start(packet) :]
        if stretch.numbers is not None:
            body = renumber(body, stretch.numbers)
        self.octets += len(body)
        ssrc, payload_type, sequence = self._ssrc, self._payload_type, number
        if self._rtx is not None:
            payload_type, ssrc = self._rtx
            sequence = self._rtx_sequence = (self._rtx_sequence + 1) & 0xFFFF
            body = number.to_bytes(2) + body
        self._transport.send(
            0x80 | (first & 0x20),
            (marker & 0x80) | payload_type,
            sequence,
            (timestamp + stretch.timestamp_offset) & 0xFFFFFFFF,
            ssrc,
            body,
        )

    def _pad(self, room: float, payload_type: int, ssrc: int) -> int:
        """Send packets of padding alone; returns their bytes."""
        count = min(int(room / len(PADDING)), MAX_RETRANSMISSIONS)
        for _ in range(count):
            self._rtx_sequence = (self._rtx_sequence + 1) & 0xFFFF
            self._transport.send(0xA0, payload_type, self._rtx_sequence, 0, ssrc, PADDING)
        self.probed += count
        self.octets += count * len(PADDING)
        return count * len(PADDING)
