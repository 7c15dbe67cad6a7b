"""One published track: its layers, who follows which of them, and how loud it is.

Beside a packet's path, which goes through :mod:`server.sfu.layer`: here is decided which layer each
receiver and the recorder follow. Sound and pictures of one size have a single layer; a camera in
simulcast has up to three, from the lowest to the best. Nothing here runs for each packet.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence

from server.sfu import rtp
from server.sfu.crossing import Follower
from server.sfu.downtrack import DownTrack
from server.sfu.feed import Feed
from server.sfu.layer import Layer, SenderReport, Tap
from server.sfu.seam import MediaTransport

LOUDNESS_PACKETS = 10
"""The newest packets whose loudness counts: 200 ms of Opus."""

SILENT = 127
"""The level of silence (RFC 6464): -127 dBov."""

QUIET_AFTER_NS = 1_000_000_000
"""A track from which nothing has come for so long is silent, whatever its last packets said."""

STOPPED_NS = 600_000_000
"""A layer this far behind the others is not sent any more."""


class UpTrack:
    """A logical track of a participant, through any number of connections.

    ``bind`` attaches it, or one layer of it, to an SSRC on a transport; a reconnected publisher
    binds the same track again, and its receivers go on with continuous sequence numbers.
    """

    def __init__(
        self,
        track_id: str,
        participant_id: str,
        source: str,
        codec: str,
        clock_hz: int,
        repair_ns: int,
    ) -> None:
        """``repair_ns`` is how long a missing packet is asked for while the track is recorded."""
        self.track_id = track_id
        self.participant_id = participant_id
        self.source = source
        self.codec = codec
        self.clock_hz = clock_hz
        self.is_video = clock_hz == 90000
        self.layers: list[Layer] = [Layer(codec, clock_hz, repair_ns)]
        """From the lowest to the best."""
        self.downs: list[DownTrack] = []
        self.ssrc: int | None = None
        """Of the layer that came first on the present connection; the recorder's name for all."""
        self.on_report: Callable[[int, int, int], None] | None = None
        self.on_bound: Callable[[], None] | None = None
        self._repair_ns = repair_ns
        self._transport: MediaTransport | None = None
        self._feed: Feed | None = None
        self._former: list[Layer] = []
        """Layers that the publisher no longer has: they still count."""

    def arrange(self, rids: Sequence[str]) -> None:
        """The publisher sends these layers, from the lowest to the best; none: a single one."""
        wanted: list[str | None] = list(rids) or [None]
        if [layer.rid for layer in self.layers] == wanted:
            return
        known = {layer.rid: layer for layer in [*self._former, *self.layers]}
        layers = [
            known.pop(rid)
            if rid in known
            else Layer(self.codec, self.clock_hz, self._repair_ns, rid)
            for rid in wanted
        ]
        self._former = list(known.values())
        for layer in self._former:
            layer.close()
            layer.unbind()
        self.layers = layers
        self.watch()

    def bind(
        self,
        transport: MediaTransport,
        ssrc: int,
        payload_type: int,
        reporter_ssrc: int,
        level_extension: int | None = None,
        rid: str | None = None,
    ) -> Layer:
        """Let a layer take packets with this SSRC and payload type; returns the layer.

        The arguments are those of :meth:`Layer.bind`; ``rid`` is one of those in :meth:`arrange`.
        """
        (layer,) = (layer for layer in self.layers if layer.rid == rid)
        anew = transport is not self._transport
        if anew:
            self._transport = transport
            for other in self.layers:
                if other is not layer:
                    other.unbind()
        first = anew or self.ssrc is None or layer.ssrc == self.ssrc
        layer.bind(transport, ssrc, payload_type, reporter_ssrc, level_extension)
        if first:
            self.ssrc = ssrc
            if self.on_bound is not None:
                self.on_bound()
        return layer

    def close(self) -> None:
        """Stop timers and let go of the transport."""
        self._transport = None
        for layer in self.layers:
            layer.close()

    def attach(self, down: DownTrack) -> None:
        """Let a receiver have the track from now on."""
        self.downs.append(down)
        if len(self.layers) == 1:
            down.join(self.layers[0])
        else:
            self.aim(down, self._best(down.level))

    def detach(self, down: DownTrack) -> None:
        """Let a receiver have it no longer."""
        if down in self.downs:
            self.downs.remove(down)
            self._stay(down)
            down.leave()

    def set_level(self, down: DownTrack, level: int | None) -> None:
        """Let a receiver have this layer at most, counted from the lowest; None: none at all."""
        if level == down.level:
            return
        down.level = level
        if down in self.downs:
            self._direct(down)

    def watch(self) -> None:
        """Let everybody follow the best layer that they may have and that really arrives.

        To be called a few times a second while there is more than one layer.
        """
        for down in self.downs:
            self._direct(down)
        feed = self._feed
        if feed is not None and len(self.layers) > 1:
            best = self._best(len(self.layers) - 1)
            if best is not None and feed.layer is None:
                feed.join(best)
                best.request_key_frame()
            else:
                self.aim(feed, best)

    def aim(self, follower: Follower, layer: Layer | None) -> None:
        """Let ``follower`` go over to ``layer`` at its next key frame; None: where it is."""
        if layer is not None and follower in layer.crossings.arriving:
            if layer.crossings.arriving[follower][0] < 0:
                layer.request_key_frame()
            return
        self._stay(follower)
        if layer is not None and follower.layer is not layer:
            layer.crossings.expect(follower)

    def silence(self) -> None:
        """Take nothing until :meth:`listen`; what comes is counted as unexpected."""
        for layer in self.layers:
            layer.silence()

    def listen(self) -> None:
        """Take packets again."""
        for layer in self.layers:
            layer.listen()

    def receive_report(self, layer: Layer, ntp: int, rtp_time: int, now_ns: int) -> None:
        """Take the sender's report: the pair of times that puts its tracks in step."""
        layer.report = SenderReport(ntp, rtp_time, now_ns)
        if self.on_report is not None and self._feed is not None:
            self._feed.report(layer, ntp, rtp_time, now_ns, self.on_report)

    def request_key_frame(self, down: DownTrack | None = None) -> None:
        """Ask the sender for a key frame: for this receiver, or for the recorder."""
        follower: Follower | None = down if down is not None else self._feed
        if follower is None or follower.layer is None:
            wanted = [layer for layer in self.layers if layer.begun] or self.layers
            wanted[-1].request_key_frame()
        else:
            follower.layer.request_key_frame()

    def loudness(self) -> int | None:
        """How loud the track is now, in -dBov (RFC 6464): 0 is the loudest, 127 silence.

        The loudest of the newest packets, and silence where nothing comes any more. None where the
        sender does not tell. Read from the history: to be called a few times a second.
        """
        layer = self.layers[0]
        newest, number = layer.newest, layer.level_extension
        if number is None or newest is None or not layer.begun:
            return None
        if time.monotonic_ns() - layer.last_packet_ns > QUIET_AFTER_NS:
            return SILENT
        levels = []
        for sequence in range(newest.number - LOUDNESS_PACKETS + 1, newest.number + 1):
            packet = layer.history(sequence & 0xFFFF)
            level = None if packet is None else rtp.extension(packet, number)
            if level:
                levels.append(level[0] & 0x7F)
        return min(levels, default=None)

    @property
    def tap(self) -> Tap | None:
        """What the recorder takes packets by; set, it gets them from now on."""
        return None if self._feed is None else self._feed.sink

    @tap.setter
    def tap(self, tap: Tap | None) -> None:
        if self._feed is not None:
            self._stay(self._feed)
            self._feed.leave()
        self._feed = None
        if tap is not None:
            self._feed = Feed(self.ssrc or 0, tap, self._repair_ns)
            best = self._best(len(self.layers) - 1)
            if best is None:
                best = next((layer for layer in self.layers if layer.ssrc == self.ssrc), None)
            self._feed.join(best or self.layers[-1])

    @property
    def last_packet_ns(self) -> int:
        """When something last came."""
        return max(layer.last_packet_ns for layer in self.layers)

    @property
    def packets(self) -> int:
        """Packets that came."""
        return sum(layer.packets for layer in self._all())

    @property
    def bytes(self) -> int:
        """Bytes of them."""
        return sum(layer.bytes for layer in self._all())

    @property
    def duplicates(self) -> int:
        """Packets that were there already."""
        return sum(layer.duplicates for layer in self._all())

    @property
    def unexpected(self) -> int:
        """Packets of another payload type than agreed."""
        return sum(layer.unexpected for layer in self._all())

    @property
    def lost(self) -> int:
        """Packets given up."""
        return sum(layer.repair.lost for layer in self._all())

    @property
    def missed(self) -> int:
        """Packets that had to be asked for, or were past asking: what the line lost."""
        return sum(layer.repair.missed for layer in self._all())

    def _all(self) -> list[Layer]:
        return [*self._former, *self.layers]

    def arriving(self) -> list[Layer]:
        """The layers that really come, from the lowest to the best."""
        newest_ns = self.last_packet_ns
        return [
            layer
            for layer in self.layers
            if layer.begun and newest_ns - layer.last_packet_ns < STOPPED_NS
        ]

    def _best(self, level: int | None) -> Layer | None:
        """The best layer up to ``level`` that arrives, or else the lowest above it; or None."""
        if level is None:
            return None
        arriving = self.arriving()
        allowed = [layer for layer in arriving if self.layers.index(layer) <= level]
        return allowed[-1] if allowed else next(iter(arriving), None)

    def _direct(self, down: DownTrack) -> None:
        """Let a receiver go where its level says."""
        if down.level is None:
            self._stay(down)
            down.leave()
        elif len(self.layers) == 1 and down.fresh:
            down.join(self.layers[0])
        else:
            self.aim(down, self._best(down.level))

    def _stay(self, follower: Follower) -> None:
        """Let a follower wait for nothing any more."""
        for layer in self._all():
            layer.crossings.drop(follower)
