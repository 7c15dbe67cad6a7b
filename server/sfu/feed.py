"""What the recorder gets of a track: the best layer that arrives, as one stream.

Before this in a packet's path: :mod:`server.sfu.layer`. After it: :mod:`server.sfu.tap`. Of a track
with one layer the recorder gets the packets as they are. Where another layer follows, SSRC,
sequence number and timestamp go on as they were, from a key frame on; payloads are never touched,
and nothing that is still to come of the layer before is left out: the recorder waits for repair
longer than anybody.
"""

from __future__ import annotations

from collections.abc import Callable

from server.sfu import rtp
from server.sfu.crossing import Newest
from server.sfu.layer import Layer, Tap
from server.sfu.timing import OneStream, ticks_apart


class Feed(OneStream):
    """``sink`` takes the packets, all with the SSRC ``ssrc``; it waits ``repair_ns`` for each."""

    def __init__(self, ssrc: int, sink: Tap, repair_ns: int) -> None:
        super().__init__()
        self.layer: Layer | None = None
        self._ssrc = ssrc
        self.sink = sink
        self._repair_ns = repair_ns
        self._known: list[Layer] = []

    def join(self, layer: Layer) -> None:
        """Take ``layer`` as it is from now on."""
        self._enter(layer)
        layer.tap = self.sink if layer.ssrc == self._ssrc else self._passing(layer, -(1 << 32))

    def leave(self) -> None:
        """Take nothing more."""
        for layer in self._known:
            layer.tap = None
            layer.repair.recorded = False
        self._known.clear()
        self.layer = None

    def cross(self, to: Layer, first: int, after: Newest | None, now_ns: int) -> None:
        """See :meth:`server.sfu.crossing.Follower.cross`."""
        old, packet = self.layer, to.history(first & 0xFFFF)
        if old is not None and old is not to and after is not None and packet is not None:
            old.tap = self._late(old, after.number, now_ns + self._repair_ns)
            ticks = ticks_apart(old, to, after, packet, now_ns)
            # A picture without its end must not pass for a whole one: to the recorder, the packet
            # that would have ended it is lost.
            self._follow(after, packet, first, ticks, left_out=0 if after.whole else 1)
        self._enter(to)
        to.tap = self._passing(to, first)

    def take(self, packet: bytes, now_ns: int) -> None:
        """Take a packet that came before the crossing."""
        if self.layer is not None and self.layer.tap is not None:
            self.layer.tap(packet, now_ns)

    def report(
        self,
        layer: Layer,
        ntp: int,
        rtp_time: int,
        now_ns: int,
        to: Callable[[int, int, int], None],
    ) -> None:
        """Pass a sender report of ``layer`` on, in the numbers that the recorder knows."""
        if layer is self.layer:
            to(ntp, (rtp_time + self._timestamp_offset) & 0xFFFFFFFF, now_ns)

    def _enter(self, layer: Layer) -> None:
        self.layer = layer
        layer.repair.recorded = True
        if layer not in self._known:
            self._known.append(layer)

    def _passing(self, layer: Layer, first: int) -> Tap:
        """What takes the packets of ``layer`` from the extended number ``first`` on."""
        renumbered = self._renumbered()

        def tap(packet: bytes, now_ns: int) -> None:
            if layer.extended(packet[2] << 8 | packet[3]) >= first:
                renumbered(packet, now_ns)

        return tap

    def _late(self, layer: Layer, last: int, until_ns: int) -> Tap:
        """What takes what ``layer`` lacks up to ``last``, as long as it is waited for."""
        renumbered, binding = self._renumbered(), layer.binding

        def tap(packet: bytes, now_ns: int) -> None:
            if now_ns > until_ns or layer.binding != binding:
                layer.tap = None
                layer.repair.recorded = False
            elif layer.extended(packet[2] << 8 | packet[3]) <= last:
                renumbered(packet, now_ns)

        return tap

    def _renumbered(self) -> Tap:
        """What passes packets on with the present offsets."""
        sequence_offset, timestamp_offset = self._sequence_offset, self._timestamp_offset
        sink, ssrc, header = self.sink, self._ssrc, rtp.HEADER

        def pass_on(packet: bytes, now_ns: int) -> None:
            first, marker, sequence, timestamp, _ = header.unpack_from(packet)
            head = header.pack(
                first,
                marker,
                (sequence + sequence_offset) & 0xFFFF,
                (timestamp + timestamp_offset) & 0xFFFFFFFF,
                ssrc,
            )
            sink(head + packet[rtp.HEADER_BYTES :], now_ns)

        return pass_on
