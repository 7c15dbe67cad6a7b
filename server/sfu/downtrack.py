"""One subscription: rewrite SSRC, numbers and timestamp; answer requests; send.

Before this in a packet's path: :mod:`server.sfu.layer`. After it: :mod:`server.sfu.seam`,
:mod:`server.sfu.datagrams`, and the wire.
"""

from __future__ import annotations

from collections import deque
from typing import TYPE_CHECKING, NamedTuple

from server.sfu import rtp
from server.sfu.allowance import Allowance
from server.sfu.pictures import ONE_ON, PictureNumbers, picture_numbers, renumber
from server.sfu.seam import MediaTransport
from server.sfu.timing import OneStream, ticks_apart

if TYPE_CHECKING:
    from server.sfu.crossing import Newest
    from server.sfu.layer import Layer
    from server.sfu.uptrack import UpTrack

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


class Counts(NamedTuple):
    """Of a layer: what went on, and what had not come or came late."""

    packets: int
    octets: int
    lost: int
    missed: int


class DownTrack(OneStream):
    """What one receiver gets of one published track.

    The receiver sees one continuous stream, whatever happens to the publisher's: when the track is
    bound anew, or another layer of it follows, the offsets are set anew. For each packet nothing is
    stored here: what was sent is derived from the layer's own counters.
    """

    __slots__ = (
        "_again",
        "_counted",
        "_ended",
        "_joined",
        "_numbers",
        "_payload_type",
        "_resend_ns",
        "_resent",
        "_rtx",
        "_rtx_sequence",
        "_stretches",
        "_transport",
        "_up",
        "budget",
        "first",
        "layer",
        "level",
        "probed",
        "probed_octets",
        "resent_octets",
        "retransmitted",
        "ssrc",
        "switches",
    )

    def __init__(
        self, transport: MediaTransport, up: UpTrack, ssrc: int, payload_type: int
    ) -> None:
        super().__init__()
        self.ssrc = ssrc
        self.layer: Layer | None = None
        """What is sent now; None before anything is, and in a pause."""
        self.level: int | None = 2
        """The best layer that the receiver is to get, counted from the lowest; None for none."""
        self.first = 0
        """The extended number of the layer's packet that the receiver's share of it starts with."""
        self.switches = 0
        """How often another layer followed."""
        self.retransmitted = 0
        self.probed = 0
        """Packets sent unasked, to learn what the line can carry: some once more, or padding."""
        self.probed_octets = 0
        self.resent_octets = 0
        """Payload bytes of what was probed; of that and what was retransmitted."""
        self.budget: Allowance | None = None
        """Bytes that may be sent again; shared by several."""
        self._transport = transport
        self._up = up
        self._payload_type = payload_type
        self._numbers: PictureNumbers | None = None
        self._stretches: deque[Stretch] = deque(maxlen=STRETCHES)
        self._ended: tuple[Layer, Newest] | None = None
        """Where what was sent last ends, while there is no layer."""
        self._rtx: tuple[int, int] | None = None
        self._rtx_sequence = 0
        self._resend_ns = RESEND_NS
        self._resent: dict[int, int] = {}
        """Until when a packet is not sent again, by the receiver's number."""
        self._again = Allowance(RETRANSMISSION_BURST, RETRANSMISSIONS_PER_S)
        self._counted = self._joined = Counts(0, 0, 0, 0)

    @property
    def counts(self) -> Counts:
        """What was sent, without what was sent again, and what could not be.

        ``lost`` and ``missed`` are packets that the server itself lost, or had to ask for.
        """
        if self.layer is None:
            return self._counted
        now = _counts(self.layer)
        return Counts(
            *(a + b - c for a, b, c in zip(self._counted, now, self._joined, strict=True))
        )

    @property
    def fresh(self) -> bool:
        """Whether nothing has been sent yet."""
        return self.layer is None and self._ended is None

    @property
    def packets(self) -> int:
        """Packets sent."""
        return self.counts.packets + self.retransmitted + self.probed

    @property
    def octets(self) -> int:
        """Payload bytes sent, retransmissions left out."""
        return self.counts.octets

    def join(self, layer: Layer) -> None:
        """Get ``layer`` as it is from now on, before anything was sent."""
        self._enter(layer)
        self.first = layer.newest.number + 1 if layer.newest and layer.begun else 0
        self._mark()

    def leave(self) -> None:
        """Nothing more is sent, until another layer follows."""
        if self.layer is not None:
            newest = self.layer.newest
            if newest is not None:
                self._ended = (self.layer, newest)
            self._exit()

    def cross(self, to: Layer, first: int, after: Newest | None, now_ns: int) -> None:
        """See :meth:`server.sfu.crossing.Follower.cross`."""
        before = (self.layer, after) if self.layer is not None and after else self._ended
        self._exit()
        self._enter(to)
        self.first = first
        packet = to.history(first & 0xFFFF)
        if before is not None and packet is not None:
            old, newest = before
            self.switches += old is not to
            self._go_on(packet, first, newest, ticks_apart(old, to, newest, packet, now_ns))
        self._ended = None
        self._mark()

    def rebase(self, packet: bytes, number: int, before: Newest | None, now_ns: int) -> None:
        """The layer's numbers start anew with ``packet``, of the extended number ``number``.

        To the receiver it is the next one after ``before``, later by the time that passed.
        """
        self.first = number
        if before is not None and self.layer is not None:
            passed_ns = max(now_ns - before.arrival_ns, 0)
            ticks = max(passed_ns * self.layer.clock_hz // 1_000_000_000, 1)
            self._go_on(packet, number, before, ticks)
        self._stretches.clear()
        self._mark()

    def take(self, packet: bytes, now_ns: int) -> None:
        """Send a packet that came before the crossing."""
        first, marker, sequence, timestamp, _ = rtp.HEADER.unpack_from(packet)
        body = packet[rtp.payload_start(packet) :]
        self._count(1, len(body))
        self.forward(0x80 | (first & 0x20), marker & 0x80, sequence, timestamp, body)

    def pass_over(self, octets: int) -> None:
        """A late packet of the layer went on to others: it lies before what is sent here."""
        self._count(-1, -octets)

    def forward(self, first: int, marker: int, sequence: int, timestamp: int, body: bytes) -> None:
        """Send one packet on: first header byte, marker bit, the publisher's numbers, payload."""
        if self._numbers is not None:
            body = renumber(body, self._numbers)
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
        present one's, of which the track keeps nothing. In a pause nothing is: the picture begins
        anew after it, and what withheld it is a line that has no room for the rest of the old one.
        """
        if self.layer is None:
            return
        if len(self._resent) > _MAX_RESENT:
            self._resent.clear()
        newest = self._newest_sent()
        if newest is None:
            return
        for wanted in lost[:MAX_RETRANSMISSIONS]:
            number = newest - ((newest - wanted) & 0xFFFF)
            found = self._sent(number)
            if found is None or now_ns < self._resent.get(wanted & 0xFFFF, 0):
                continue
            if self.budget is not None and not self.budget.take(len(found[1]), now_ns):
                continue
            if not self._again.take(1, now_ns):
                return
            self._resent[wanted & 0xFFFF] = now_ns + self._resend_ns
            self.retransmitted += 1
            self._send_again(number & 0xFFFF, *found)
            if not self._up.is_video and (
                self.budget is None or self.budget.take(len(found[1]), now_ns)
            ):
                # There is seldom time to ask for sound a second time, and it is small.
                self.retransmitted += 1
                self._send_again(number & 0xFFFF, *found)

    @property
    def can_probe(self) -> bool:
        """Whether the receiver takes a retransmission stream, and so what tries the line."""
        return self._rtx is not None and not self.fresh

    def probe(self, room: float) -> int:
        """Send what tries the line, up to ``room`` bytes in all; returns how many bytes.

        The newest packets once more; where none is kept, in a pause, padding alone. In the
        retransmission stream, where the receiver knows either for what it is.
        """
        newest, spent = self._newest_sent(), 0
        if self._rtx is None or newest is None:
            return 0
        for back in range(MAX_RETRANSMISSIONS):
            found = self._sent(newest - back)
            if found is None and not back:
                spent = self._pad(room)
                break
            if found is None or spent + len(found[1]) > room:
                break
            self.probed += 1
            spent += len(found[1])
            self._send_again((newest - back) & 0xFFFF, *found)
        self.probed_octets += spent
        return spent

    def wait_for(self, round_trip_ms: float | None) -> None:
        """What is asked for again within ``round_trip_ms`` was sent already."""
        wait_ns = RESEND_NS if round_trip_ms is None else int(round_trip_ms * RESEND_SHARE * 1e6)
        self._resend_ns = min(max(wait_ns, RESEND_NS), MAX_RESEND_NS)

    def sender_report(self, now_ns: int) -> bytes | None:
        """Our report to the receiver: the publisher's, carried forward by the time since it came.

        On the publisher's clock, so that a receiver puts all tracks of one participant in step.
        """
        layer = self.layer
        if layer is None or layer.report is None or self.packets == 0:
            return None
        ntp, rtp_time, arrival_ns = layer.report
        elapsed_ns = now_ns - arrival_ns
        return rtp.sender_report(
            self.ssrc,
            ntp + elapsed_ns * (1 << 32) // 1_000_000_000,
            rtp_time + elapsed_ns * layer.clock_hz // 1_000_000_000 + self._timestamp_offset,
            self.packets,
            self.octets,
        )

    def _count(self, packets: int, octets: int) -> None:
        counted = self._counted
        self._counted = counted._replace(
            packets=counted.packets + packets, octets=counted.octets + octets
        )

    def _enter(self, layer: Layer) -> None:
        self.layer = layer
        self._joined = _counts(layer)
        layer.downs.append(self)

    def _exit(self) -> None:
        if self.layer is not None:
            self._counted = self.counts
            self.layer.downs.remove(self)
            self.layer = None

    def _go_on(self, packet: bytes, number: int, before: Newest, ticks: int) -> None:
        """Number ``packet`` the next one after ``before``, and its picture, too."""
        self._follow(before, packet, number, ticks)
        if self._up.codec == "VP8":
            last = picture_numbers(before.packet[rtp.payload_start(before.packet) :])
            following = picture_numbers(packet[rtp.payload_start(packet) :])
            if last is not None and following is not None:
                sent_last = last.plus(self._numbers or PictureNumbers())
                self._numbers = sent_last.plus(ONE_ON).minus(following)

    def _mark(self) -> None:
        """A new stretch starts here."""
        if self.layer is not None:
            self._stretches.append(
                Stretch(
                    self.first + self._sequence_offset,
                    self.layer,
                    self.layer.binding,
                    self._sequence_offset,
                    self._timestamp_offset,
                    self._numbers,
                )
            )

    def _pad(self, room: float) -> int:
        """Send packets of padding alone; returns their bytes."""
        assert self._rtx is not None
        payload_type, ssrc = self._rtx
        count = min(int(room / len(PADDING)), MAX_RETRANSMISSIONS)
        for _ in range(count):
            self._rtx_sequence = (self._rtx_sequence + 1) & 0xFFFF
            self._transport.send(0xA0, payload_type, self._rtx_sequence, 0, ssrc, PADDING)
        self.probed += count
        self.resent_octets += count * len(PADDING)
        return count * len(PADDING)

    def _newest_sent(self) -> int | None:
        """The newest number that the receiver may know, extended."""
        newest = self.layer.newest if self.layer is not None else None
        if newest is None and self._ended is not None:
            newest = self._ended[1]
        return None if newest is None else newest.number + self._sequence_offset

    def _sent(self, number: int) -> tuple[Stretch, bytes] | None:
        """The packet that the receiver knows by this extended number, if it is still kept."""
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
        self.resent_octets += len(body)
        ssrc, payload_type, sequence = self.ssrc, self._payload_type, number
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


def _counts(layer: Layer) -> Counts:
    return Counts(layer.forwarded, layer.octets, layer.repair.lost, layer.repair.missed)
