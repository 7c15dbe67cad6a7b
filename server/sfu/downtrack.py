"""One subscription: rewrite SSRC, numbers and timestamp; send.

Before this in a packet's path: :mod:`server.sfu.layer`. After it: :mod:`server.sfu.seam`,
:mod:`server.sfu.datagrams`, and the wire. What is sent again is found by :mod:`server.sfu.resend`.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, NamedTuple

from server.sfu import rtp
from server.sfu.pictures import ONE_ON, PictureNumbers, picture_numbers, renumber
from server.sfu.resend import Resending, Stretch
from server.sfu.seam import MediaTransport
from server.sfu.timing import OneStream, ticks_apart

if TYPE_CHECKING:
    from server.sfu.crossing import Newest
    from server.sfu.layer import Layer
    from server.sfu.uptrack import UpTrack


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
        "_counted",
        "_ended",
        "_joined",
        "_numbers",
        "_payload_type",
        "_transport",
        "_up",
        "again",
        "first",
        "layer",
        "level",
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
        self.again = Resending(transport, ssrc, payload_type, twice=not up.is_video)
        """Sound is small, and there is seldom time to ask for it a second time."""
        self._transport = transport
        self._up = up
        self._payload_type = payload_type
        self._numbers: PictureNumbers | None = None
        self._ended: tuple[Layer, Newest] | None = None
        """Where what was sent last ends, while there is no layer."""
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
        return self.counts.packets + self.again.retransmitted + self.again.probed

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
        self.again.forget()
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

    def retransmit(self, lost: list[int], now_ns: int) -> None:
        """Send again what the receiver lacks, by the numbers that it knows.

        What we lack ourselves it gets when it comes. Numbers of an earlier binding lie before the
        present one's, of which the track keeps nothing. In a pause nothing is: the picture begins
        anew after it, and what withheld it is a line that has no room for the rest of the old one.
        """
        newest = None if self.layer is None else self._newest_sent()
        if newest is not None:
            self.again.retransmit(lost, newest, now_ns)

    @property
    def can_probe(self) -> bool:
        """Whether the receiver takes a retransmission stream, and so what tries the line."""
        return self.again.apart and not self.fresh

    def probe(self, room: float) -> int:
        """Send what tries the line, up to ``room`` bytes in all; returns how many bytes.

        The newest packets once more; where none is kept, in a pause, padding alone.
        """
        newest = self._newest_sent()
        return 0 if newest is None else self.again.probe(newest, room)

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
            self.again.mark(
                Stretch(
                    self.first + self._sequence_offset,
                    self.layer,
                    self.layer.binding,
                    self._sequence_offset,
                    self._timestamp_offset,
                    self._numbers,
                )
            )

    def _newest_sent(self) -> int | None:
        """The newest number that the receiver may know, extended."""
        newest = self.layer.newest if self.layer is not None else None
        if newest is None and self._ended is not None:
            newest = self._ended[1]
        return None if newest is None else newest.number + self._sequence_offset


def _counts(layer: Layer) -> Counts:
    return Counts(layer.forwarded, layer.octets, layer.repair.lost, layer.repair.missed)
