"""Layers of one picture: whoever follows them sees one stream, whatever happens to them."""

from __future__ import annotations

import asyncio
import itertools
import random
import struct
from collections.abc import Coroutine
from typing import Any, cast

import pytest
import virtual_time
from aiortc.rtp import RtcpPacket, RtcpPsfbPacket
from hypothesis import given, settings
from hypothesis import strategies as st

from server.sfu import layer, repair, rtp, uptrack
from server.sfu.downtrack import DownTrack
from server.sfu.pictures import picture_numbers
from server.sfu.uptrack import UpTrack

RIDS = ("l", "m", "h")
SSRCS = {"l": 11, "m": 12, "h": 13}
PACKETS = {"l": 1, "m": 2, "h": 4}
"""Of a picture; a key frame has twice as many."""
HEIGHTS = {"l": 180, "m": 360, "h": 720}
FRAME_S = 0.033
DOWN_SSRC, RTX_SSRC = 99, 98


def vp8(picture: int, level_zero: int, index: int, key: bool, height: int, mark: bytes) -> bytes:
    """A payload of VP8 with 15 bits of picture id and TL0PICIDX (RFC 7741, 4.2)."""
    start = 0x10 if index == 0 else 0
    head = bytes((0x80 | start, 0xC0)) + (picture & 0x7FFF | 0x8000).to_bytes(2)
    head += bytes((level_zero & 0xFF,))
    if index == 0 and key:
        return (
            head + b"\x10\x00\x00\x9d\x01\x2a" + struct.pack("<HH", height * 16 // 9, height) + mark
        )
    return head + (b"\x11\x00\x00" if index == 0 else b"") + mark


class Camera:
    """A publisher in three layers, with the transport that it is asked on."""

    def __init__(self, draw: random.Random, codec: str = "VP8", repair_ns: int = 10**9) -> None:
        self.up = UpTrack("cam-1", "a", "camera", codec, 90000, repair_ns)
        self.up.arrange(RIDS)
        self.sending = set(RIDS)
        self.wanted = set(RIDS)
        self.key_frames = 0
        self.draw = draw
        self.frame = 0
        self.own: dict[bytes, tuple[str, int, int, bool]] = {}
        """What a payload's mark stands for: rid, extended number, timestamp, starts key frame."""
        self._sequence = {rid: draw.randrange(0x10000) for rid in RIDS}
        self._timestamp = {rid: draw.randrange(1 << 32) for rid in RIDS}
        self._picture = {rid: draw.randrange(0x8000) for rid in RIDS}
        self.late: list[tuple[int, bytes, str]] = []

    def send_rtcp(self, packet: bytes) -> None:
        for part in RtcpPacket.parse(packet):
            if isinstance(part, RtcpPsfbPacket):
                self.wanted |= {rid for rid in RIDS if SSRCS[rid] == part.media_ssrc}

    def bind(self) -> None:
        for rid in RIDS:
            self.up.bind(cast(Any, self), SSRCS[rid], 96, 1, rid=rid)

    def send(self, lost: float, late: float) -> None:
        """One picture in every layer that is sent; packets of all of them come in turns."""
        self.frame += 1
        packets: list[list[tuple[str, bytes]]] = []
        for rid in RIDS:
            key = rid in self.wanted and rid in self.sending
            count = PACKETS[rid] * (2 if key else 1)
            self._picture[rid] += 1
            if rid not in self.sending:
                continue
            self.wanted.discard(rid)
            self.key_frames += key
            timestamp = (self._timestamp[rid] + 2970 * self.frame) & 0xFFFFFFFF
            made = []
            for index in range(count):
                self._sequence[rid] += 1
                mark = b"%s%d" % (rid.encode(), self._sequence[rid])
                self.own[mark] = (rid, self._sequence[rid], timestamp, key and index == 0)
                body = vp8(
                    self._picture[rid], self._picture[rid], index, key, HEIGHTS[rid], b"/" + mark
                )
                second = 96 | (0x80 if index == count - 1 else 0)
                number = self._sequence[rid] & 0xFFFF
                head = rtp.HEADER.pack(0x80, second, number, timestamp, SSRCS[rid])
                made.append((rid, head + body))
            packets.append(made)
        arriving = [one for one in self.late if one[0] <= self.frame]
        self.late = [one for one in self.late if one[0] > self.frame]
        for _, packet, rid in arriving:
            self.arrive(rid, packet)
        while any(packets):
            row = self.draw.choice([row for row in packets if row])
            rid, packet = row.pop(0)
            fate = self.draw.random()
            if fate < lost:
                continue
            if fate < lost + late:
                self.late.append((self.frame + self.draw.randrange(1, 4), packet, rid))
            else:
                self.arrive(rid, packet)

    def arrive(self, rid: str, packet: bytes) -> None:
        now_ns = round(asyncio.get_running_loop().time() * 1e9)
        self.up.layers[RIDS.index(rid)].receive(packet, now_ns)


class Receiver:
    """What a down track sends, in the order of sending."""

    def __init__(self, up: UpTrack) -> None:
        self.sent: list[tuple[int, int, bytes]] = []
        """Number, timestamp and payload."""
        self.again: dict[int, tuple[int, bytes]] = {}
        self.down = DownTrack(cast(Any, self), up, DOWN_SSRC, 96)
        self.down.again.use_stream(97, RTX_SSRC)

    def send(self, first: int, second: int, number: int, time: int, ssrc: int, body: bytes) -> None:
        if ssrc == DOWN_SSRC:
            self.sent.append((number, time, body))
        else:
            self.again[int.from_bytes(body[:2])] = (time, body[2:])


def mark_of(body: bytes) -> bytes:
    return body.rpartition(b"/")[2]


MAX_OPEN = 8
"""Packets of the last picture or two of a layer that may have been lost, or come too late."""


def check(camera: Camera, receiver: Receiver, most_open: int) -> int:
    """That what was sent is one stream; returns how many layers followed each other.

    Between two layers at most ``most_open`` numbers are left open: what the server itself lacked.
    """
    numbers = [number for number, _, _ in receiver.sent]
    assert len(set(numbers)) == len(numbers), "a number was used twice"
    stretches: list[list[tuple[int, int, bytes]]] = []
    offset = None
    for number, time, body in receiver.sent:
        rid, own, own_time, _ = camera.own[mark_of(body)]
        told = picture_numbers(body)
        assert told is not None
        mapped = (rid, (number - own) & 0xFFFF, (time - own_time) & 0xFFFFFFFF)
        if mapped != offset:
            stretches.append([])
            offset = mapped
        stretches[-1].append((number, time, body))
    for before, after in itertools.pairwise(stretches):
        after.sort(key=lambda one: camera.own[mark_of(one[2])][1])
        (old, *_), (new, *_, key) = (camera.own[mark_of(row[0][2])] for row in (before, after))
        # The same layer goes on with what comes first after a reconnection.
        assert key or old == new, "it does not begin with a key frame"
        last = max(before, key=lambda one: camera.own[mark_of(one[2])][1])
        assert 1 <= (after[0][0] - last[0]) & 0xFFFF <= 1 + most_open
        assert 0 < (after[0][1] - last[1]) & 0xFFFFFFFF < 90_000 * 60
        shown, following = picture_numbers(last[2]), picture_numbers(after[0][2])
        assert shown is not None
        assert following is not None
        ahead = (following.picture - shown.picture) & 0x7FFF
        assert 1 <= ahead <= 1 + most_open
        assert (following.level_zero - shown.level_zero) & 0xFF == ahead & 0xFF
    return len(stretches)


def in_virtual_time(test: Coroutine[Any, Any, None]) -> None:
    with pytest.MonkeyPatch.context() as patch:
        virtual_time.run(test, patch, layer, repair, uptrack)


@settings(max_examples=25, deadline=None)
@given(
    seed=st.integers(0, 1 << 32),
    lost=st.sampled_from([0.0, 0.0, 0.02, 0.1]),
    late=st.sampled_from([0.0, 0.05, 0.2]),
    changes=st.lists(
        st.tuples(
            st.integers(1, 20),
            st.one_of(
                st.sampled_from([0, 1, 2, None]),
                st.sampled_from(["-h", "+h", "-m", "+m", "again"]),
            ),
        ),
        max_size=6,
    ),
)
def test_a_receiver_sees_one_stream(
    seed: int, lost: float, late: float, changes: list[tuple[int, Any]]
) -> None:
    async def test() -> None:
        draw = random.Random(seed)
        camera = Camera(draw)
        camera.bind()
        receiver = Receiver(camera.up)
        camera.up.attach(receiver.down)

        async def frames(count: int) -> None:
            for _ in range(count):
                camera.send(lost, late)
                if camera.frame % 8 == 0:
                    camera.up.watch()
                await asyncio.sleep(FRAME_S)

        await frames(10)
        for count, change in changes:
            if change == "again":
                camera.wanted = set(RIDS)
                camera.late.clear()
                camera.bind()
            elif isinstance(change, str):
                (camera.sending.add if change[0] == "+" else camera.sending.discard)(change[1])
            else:
                camera.up.set_level(receiver.down, change)
            await frames(count)
        camera.up.set_level(receiver.down, 1)
        await frames(60)
        check(camera, receiver, MAX_OPEN if lost or late else 0)
        assert receiver.sent
        assert receiver.down.counts.packets == len(receiver.sent)
        # What it asks for again is what it was sent, renumbered in the same way.
        kept = {number: (time, body) for number, time, body in receiver.sent[-30:]}
        receiver.down.retransmit(list(kept), round(asyncio.get_running_loop().time() * 1e9))
        assert receiver.again == kept
        camera.up.close()

    in_virtual_time(test())


async def film(camera: Camera, count: int, lost: float = 0.0) -> None:
    """So many pictures, watched as the publisher's connection does."""
    for _ in range(count):
        camera.send(lost, 0.0)
        if camera.frame % 8 == 0:
            camera.up.watch()
        await asyncio.sleep(FRAME_S)


@pytest.mark.parametrize("lost", [0.0, 0.05])
def test_the_recorder_gets_the_best_that_arrives(lost: float) -> None:
    async def test() -> None:
        camera = Camera(random.Random(5))
        camera.bind()
        taken: list[bytes] = []
        camera.up.tap = lambda packet, now_ns: taken.append(packet)
        await film(camera, 30, lost)
        for change in ("-h", "-m", "+h", "+m"):
            (camera.sending.add if change[0] == "+" else camera.sending.discard)(change[1])
            camera.wanted.add(change[1])
            await film(camera, 60, lost)
        rids = [camera.own[mark_of(packet)][0] for packet in taken]
        order = [rid for n, rid in enumerate(rids) if not n or rids[n - 1] != rid]
        assert order[-4:] == ["h", "m", "l", "h"]
        numbers = [int.from_bytes(packet[2:4]) for packet in taken]
        times = [int.from_bytes(packet[4:8]) for packet in taken]
        steps = [(b - a) & 0xFFFF for a, b in itertools.pairwise(numbers)]
        # Nothing is repaired in this test: what was lost stays open, and nothing else does.
        assert set(steps) == {1} if not lost else 1 <= min(steps) <= max(steps) < 30
        assert len({packet[8:12] for packet in taken}) == 1
        assert all((b - a) & 0xFFFFFFFF < 90_000 for a, b in itertools.pairwise(times))
        camera.up.close()

    in_virtual_time(test())


def test_a_picture_that_was_left_in_the_middle_is_a_loss_to_the_recorder() -> None:
    async def test() -> None:
        camera = Camera(random.Random(5))
        camera.bind()
        taken: list[bytes] = []
        camera.up.tap = lambda packet, now_ns: taken.append(packet)
        await film(camera, 30)
        rids = {rid: layer.newest for rid, layer in zip(RIDS, camera.up.layers, strict=True)}
        newest = rids["h"]
        assert newest is not None
        torn = rtp.HEADER.pack(
            0x80, 96, (newest.number + 1) & 0xFFFF, (newest.timestamp + 2970) & 0xFFFFFFFF, 13
        )
        camera.own[b"h0"] = ("h", 0, 0, False)
        camera.arrive("h", torn + b"\x90\xc0\x80\x00\x00\x11\x00\x00/h0")
        camera.sending.discard("h")
        await film(camera, 60)
        at = next(n for n, one in enumerate(taken) if mark_of(one) == b"h0")
        step = int.from_bytes(taken[at + 1][2:4]) - int.from_bytes(taken[at][2:4])
        assert step & 0xFFFF == 2
        assert camera.own[mark_of(taken[at + 1])][3]
        camera.up.close()

    in_virtual_time(test())


def test_who_sees_it_small_gets_the_small_one_and_who_sees_none_gets_nothing() -> None:
    async def test() -> None:
        camera = Camera(random.Random(7))
        camera.bind()
        receiver = Receiver(camera.up)
        camera.up.attach(receiver.down)
        await film(camera, 40)
        assert receiver.down.layer is camera.up.layers[2]
        camera.up.set_level(receiver.down, 0)
        await film(camera, 20)
        assert receiver.down.layer is camera.up.layers[0]
        camera.up.set_level(receiver.down, None)
        sent = len(receiver.sent)
        await film(camera, 20)
        assert len(receiver.sent) == sent
        camera.up.set_level(receiver.down, 2)
        await film(camera, 20)
        assert receiver.down.layer is camera.up.layers[2]
        assert check(camera, receiver, 0) >= 3
        assert receiver.down.switches >= 2
        camera.up.close()

    in_virtual_time(test())
