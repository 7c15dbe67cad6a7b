"""Going from one layer of a picture to another: at a key frame, after a whole picture.

Beside :mod:`server.sfu.layer`, which calls this for its packets only while somebody waits here or a
key frame was asked for. Whoever goes over gets the layer from the key frame's first packet on, also
where packets of it have come in the meantime; until then the layer before goes on.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, NamedTuple, Protocol

from server.sfu.pictures import picture_height, starts_key_frame

if TYPE_CHECKING:
    from server.sfu.layer import Layer

STOPPED_NS = 100_000_000
"""A layer from which nothing has come for so long is not in the middle of a picture."""

COMPLETION_NS = 150_000_000
"""So long a key frame waits for the last picture of the layer before it to be complete."""

_FRESH_PACKETS = 24
"""A key frame no further back than this is as good as the next one."""

_LOOK_BACK = 16
"""So many lost packets before a packet leave it open whether a picture starts with it."""


class Newest(NamedTuple):
    """Where a layer stands: the extended number, timestamp and arrival of its newest packet."""

    number: int
    timestamp: int
    arrival_ns: int
    packet: bytes
    whole: bool
    """Whether its picture ends with it."""


class Follower(Protocol):
    """What gets the packets of one layer at a time, and can go over to another."""

    layer: Layer | None

    def cross(self, to: Layer, first: int, after: Newest | None, now_ns: int) -> None:
        """Leave the present layer; packets of ``to`` follow from the extended number ``first`` on.

        ``after`` is where the present layer stands, None without any.
        """

    def take(self, packet: bytes, now_ns: int) -> None:
        """Take a packet that came before the crossing."""


class Crossings:
    """Who comes over to ``layer`` and who leaves it, and its key frames."""

    def __init__(self, layer: Layer) -> None:
        self.arriving: dict[Follower, tuple[int, int]] = {}
        """Who waits for a key frame here: the number that it starts with (-1: none yet), and when
        that came."""
        self.leaving: dict[Follower, Layer] = {}
        """Who goes over to another layer as soon as a picture of this one is complete."""
        self.key_frame_awaited = layer.is_video
        self.height: int | None = None
        self._layer = layer
        self._key_frame = (-1, 0)

    def begin_anew(self) -> None:
        """What comes next has numbers of its own."""
        self._key_frame = (-1, 0)
        for follower in self.arriving:
            self.arriving[follower] = (-1, 0)
        self.key_frame_awaited = self._layer.is_video

    def drop(self, follower: Follower) -> None:
        """``follower`` waits for nothing any more."""
        self.arriving.pop(follower, None)
        self.leaving.pop(follower, None)

    def expect(self, follower: Follower) -> None:
        """Let ``follower`` come over at the next key frame, which is asked for."""
        self._layer.attentive = True
        first, _ = self._key_frame
        if first >= 0 and self._layer.highest - first < _FRESH_PACKETS:
            self.arriving[follower] = self._key_frame
        else:
            self.arriving[follower] = (-1, 0)
            self._layer.request_key_frame()

    def attend(self, packet: bytes, extended: int, now_ns: int) -> bool:
        """Look at a packet of the layer; returns whether to look at the next one, too."""
        if self.leaving and extended == self._layer.highest:
            after = self._picture_before(packet, now_ns)
            if after is not None:
                for follower, to in list(self.leaving.items()):
                    to.crossings._take_over(follower, after, None, now_ns)
        if starts_key_frame(self._layer.codec, packet) and not self._goes_on(packet, extended):
            self.height = picture_height(self._layer.codec, packet) or self.height
            self.key_frame_awaited = False
            self._key_frame = (extended, now_ns)
            for follower in self.arriving:
                self.arriving[follower] = self._key_frame
        for follower, (first, seen_ns) in list(self.arriving.items()):
            old = follower.layer
            if first < 0:
                continue
            if (
                old is None
                or old.crossings._between_pictures(now_ns)
                or now_ns - seen_ns > COMPLETION_NS
            ):
                after = None if old is None else old.newest
                self._take_over(follower, after, extended, now_ns)
            else:
                old.crossings.leaving[follower] = self._layer
                old.attentive = True
        return bool(self.arriving or self.leaving or self.key_frame_awaited)

    def _goes_on(self, packet: bytes, extended: int) -> bool:
        """Whether a packet that could start a key frame belongs to one that has started before.

        Of H.264, parameter sets and the picture itself come in packets of their own.
        """
        first, _ = self._key_frame
        start = None if first < 0 else self._layer.history(first & 0xFFFF)
        return start is not None and start[4:8] == packet[4:8] and first <= extended

    def _between_pictures(self, now_ns: int) -> bool:
        """Whether the newest packet is the last one of its picture, or nothing comes any more."""
        stopped = self._layer.highest < 0 or now_ns - self._layer.last_packet_ns > STOPPED_NS
        newest = self._layer.newest
        return stopped or newest is None or newest.whole

    def _picture_before(self, packet: bytes, now_ns: int) -> Newest | None:
        """Where the layer stood before its newest packet, if a picture starts with that one."""
        for number in range(self._layer.highest - 1, self._layer.highest - _LOOK_BACK, -1):
            before = self._layer.history(number & 0xFFFF)
            if before is not None:
                if before[4:8] == packet[4:8]:
                    return None
                timestamp = int.from_bytes(before[4:8])
                return Newest(self._layer.highest - 1, timestamp, now_ns, before, True)
        return None

    def _take_over(
        self, follower: Follower, after: Newest | None, present: int | None, now_ns: int
    ) -> None:
        """Let ``follower`` come over at the key frame that was seen, and catch up to now.

        ``present`` is the packet that is just on its way to everybody here.
        """
        first, _ = self.arriving.pop(follower)
        if follower.layer is not None:
            follower.layer.crossings.leaving.pop(follower, None)
        if self._layer.history(first & 0xFFFF) is None:
            self.expect(follower)
            return
        follower.cross(self._layer, first, after, now_ns)
        for number in range(first, self._layer.highest + 1):
            packet = self._layer.history(number & 0xFFFF)
            if packet is not None and number != present:
                follower.take(packet, now_ns)
