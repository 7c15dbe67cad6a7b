"""Both ends of a forwarded track in virtual time: what browsers do, as small as it can be said.

A sender that keeps what it sent for a second and answers requests by RTX (RFC 4588), a viewer that
asks for what it lacks once in a round trip, and between them the track as forwarded and recorded.
No sockets: :class:`bench.line.Line` stands for each way.
"""

from __future__ import annotations

import asyncio
import struct
from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any, cast

from aiortc.rtp import RtcpPacket, RtcpPsfbPacket, RtcpRtpfbPacket
from bad_line import Line, Trouble
from far_end import PAYLOAD_TYPE, SSRC

from recorder.reorder import Reorder
from server.sfu import layer, repair, rtp, uptrack
from server.sfu.downtrack import DownTrack
from server.sfu.uptrack import UpTrack

PACKETS_PER_S = 125
RTX_SSRC, RTX_PAYLOAD_TYPE = 4321, 97
DOWN_SSRC, DOWN_RTX_SSRC, DOWN_RTX_PAYLOAD_TYPE = 99, 98, 103
CLOCKED = (layer, repair, uptrack)
"""What has to read the virtual clock."""

RECORDER_WAITS_NS = 2_000_000_000
FIRST_ROUND = 0x10000
"""Viewers count numbers from here on without a wrap, so that none is negative."""


class Pipe:
    """One direction of a line, from a function that sends to one that takes."""

    def __init__(self, trouble: Trouble, seed: int, take: Callable[[bytes], None]) -> None:
        self.line = Line(trouble, seed)
        self._take = take

    def send(self, data: bytes) -> None:
        loop = asyncio.get_running_loop()
        for at_s in self.line.arrivals(loop.time(), len(data)):
            loop.call_at(at_s, self._take, data)


def _ns() -> int:
    return round(asyncio.get_running_loop().time() * 1e9)


def nonsense(n: int) -> bytes:
    """A payload that nobody looks into."""
    return bytes(100)


def sound(n: int) -> bytes:
    """20 ms of Opus (RFC 6716, 3.1)."""
    return b"\xfc" + bytes(20)


def picture(n: int) -> bytes:
    """A VP8 picture in one packet (RFC 7741, 4.2), every hundredth a key frame of 640x360."""
    if n % 100:
        return b"\x10\x11\x02\x00" + bytes(30)
    return b"\x10\x10\x02\x00\x9d\x01\x2a" + struct.pack("<HH", 640, 360) + bytes(30)


class Sender:
    """A publisher of one track, with the transport that its :class:`UpTrack` answers on."""

    def __init__(
        self,
        up: UpTrack,
        trouble: Trouble,
        seed: int,
        keeps_s: float = 1.0,
        ssrc: int = SSRC,
        payload: Callable[[int], bytes] = nonsense,
    ) -> None:
        self.up = up
        self.sent = self.requested = self.key_frames = self.retransmitted = 0
        self.asked_for: Counter[int] = Counter()
        """How often the server asked for each number, whether or not it was heard."""
        self.arrived_s: dict[int, float] = {}
        """When each number first reached the server, by itself or sent again."""
        self._keeps_s = keeps_s
        self._ssrc = ssrc
        self._payload = payload
        self._history: dict[int, tuple[float, bytes]] = {}
        self.to_server = Pipe(trouble, seed, self._arrived)
        self.to_sender = Pipe(trouble, seed + 1, self._rtcp)
        up.bind(cast(Any, self), ssrc, PAYLOAD_TYPE, 1)

    def send_rtcp(self, packet: bytes) -> None:
        assert len(packet) < 1200
        for part in RtcpPacket.parse(packet):
            if isinstance(part, RtcpRtpfbPacket):
                self.asked_for.update(part.lost)
        self.to_sender.send(packet)

    async def run(
        self,
        seconds: float,
        first: int = 65_000,
        timestamp: int = 0,
        packets_per_s: int = PACKETS_PER_S,
    ) -> None:
        """Send for so long, from these numbers on (16 and 32 bit)."""
        loop = asyncio.get_running_loop()
        start_s, ticks = loop.time(), self.up.clock_hz // packets_per_s
        for n in range(int(seconds * packets_per_s)):
            sequence, time = (first + n) & 0xFFFF, (timestamp + ticks * n) & 0xFFFFFFFF
            packet = rtp.HEADER.pack(0x80, 0x80 | PAYLOAD_TYPE, sequence, time, self._ssrc)
            packet += self._payload(n)
            self._history[sequence] = (loop.time(), packet)
            self._history.pop((sequence - 1000) & 0xFFFF, None)
            self.sent += 1
            self.to_server.send(packet)
            await asyncio.sleep(start_s + (n + 1) / packets_per_s - loop.time())

    def _arrived(self, data: bytes) -> None:
        now_s = asyncio.get_running_loop().time()
        if rtp.SSRC_AT_8.unpack_from(data)[0] == self._ssrc:
            self.arrived_s.setdefault(int.from_bytes(data[2:4]), now_s)
            self.up.layers[0].receive(data, _ns())
        else:
            self.arrived_s.setdefault(int.from_bytes(data[12:14]), now_s)
            self.up.layers[0].receive_retransmission(data, _ns())

    def _rtcp(self, data: bytes) -> None:
        now_s = asyncio.get_running_loop().time()
        for part in RtcpPacket.parse(data):
            if isinstance(part, RtcpPsfbPacket):
                self.key_frames += 1
            elif isinstance(part, RtcpRtpfbPacket):
                for sequence in part.lost:
                    self.requested += 1
                    sent_s, packet = self._history.get(sequence, (0.0, b""))
                    if now_s - sent_s < self._keeps_s:
                        self.retransmitted += 1
                        self.to_server.send(_rtx(packet, self.retransmitted))


def _rtx(packet: bytes, number: int) -> bytes:
    _, _, sequence, timestamp, _ = rtp.HEADER.unpack_from(packet)
    head = rtp.HEADER.pack(0x80, RTX_PAYLOAD_TYPE, number & 0xFFFF, timestamp, RTX_SSRC)
    return head + sequence.to_bytes(2) + packet[12:]


class Viewer:
    """A receiver: asks for what it lacks, ten times at most, and notes when each packet came."""

    def __init__(self, up: UpTrack, trouble: Trouble, seed: int) -> None:
        self.came_s: dict[int, float] = {}
        self.forwarded: list[int] = []
        """Numbers as the server sent them, retransmissions left out."""
        self.retransmissions = 0
        self._asked: dict[int, tuple[float, int]] = {}
        self._newest = self._newest_before = 0
        self._to_viewer = Pipe(trouble, seed, self._arrived)
        self._to_server = Pipe(trouble, seed + 1, self._asked_for)
        self.down = DownTrack(cast(Any, self), up, DOWN_SSRC, PAYLOAD_TYPE)
        self.down.again.use_stream(DOWN_RTX_PAYLOAD_TYPE, DOWN_RTX_SSRC)
        up.attach(self.down)

    def send(self, first: int, second: int, number: int, time: int, ssrc: int, body: bytes) -> None:
        if ssrc == DOWN_SSRC:
            self.forwarded.append(number)
        self._to_viewer.send(rtp.HEADER.pack(first, second, number, time, ssrc) + body)

    async def run(self) -> None:
        while True:
            await asyncio.sleep(0.02)
            now_s = asyncio.get_running_loop().time()
            # What is lacking since the last look may merely have been overtaken.
            newest, self._newest_before = self._newest_before, self._newest
            oldest = min(self.came_s, default=0)
            lacking = []
            for number in range(max(newest - 250, oldest), newest):
                asked_s, times = self._asked.get(number, (0.0, 0))
                if number not in self.came_s and now_s - asked_s >= 0.1 and times < 10:
                    self._asked[number] = (now_s, times + 1)
                    lacking.append(number & 0xFFFF)
            if lacking:
                self._to_server.send(rtp.negative_acknowledgement(1, DOWN_SSRC, lacking))

    def _asked_for(self, data: bytes) -> None:
        for part in RtcpPacket.parse(data):
            assert isinstance(part, RtcpRtpfbPacket)
            self.down.retransmit(part.lost, _ns())

    def _arrived(self, data: bytes) -> None:
        _, second, number, _, ssrc = rtp.HEADER.unpack_from(data)
        if ssrc == DOWN_RTX_SSRC:
            assert second & 0x7F == DOWN_RTX_PAYLOAD_TYPE
            self.retransmissions += 1
            number = int.from_bytes(data[12:14])
        self._newest = self._newest or FIRST_ROUND + number
        number = self._newest + (number - self._newest + 0x8000 & 0xFFFF) - 0x8000
        self._newest = max(self._newest, number)
        self.came_s.setdefault(number, asyncio.get_running_loop().time())


@dataclass
class Sink:
    """The recorder's depacketizer: counts."""

    packets: int = 0
    lost: int = 0
    numbers: list[int] = field(default_factory=list)
    """Extended sequence numbers in the order in which they came."""

    def push(self, *unit: Any) -> None:
        self.packets += 1
        self.numbers.append(unit[5])

    def lose(self, packets: int) -> None:
        self.lost += packets


class Room:
    """A sender, its track as forwarded and recorded, and a viewer."""

    def __init__(
        self,
        trouble: Trouble,
        seed: int,
        *,
        codec: str = "VP8",
        recorded: bool = True,
        keeps_s: float = 1.0,
    ) -> None:
        self.up = UpTrack(
            "t", "a", "camera", codec, 48000 if codec == "opus" else 90000, RECORDER_WAITS_NS
        )
        self.sink = Sink()
        reorder = Reorder(
            SSRC, RECORDER_WAITS_NS // 1000, cast(Any, self.sink), lambda arrival_us: None
        )
        self.taken: list[int] = []

        def tap(packet: bytes, now_ns: int) -> None:
            self.taken.append(packet[2] << 8 | packet[3])
            reorder.push(packet, now_ns // 1000)

        self.reorder = reorder
        self.sender = Sender(self.up, trouble, seed, keeps_s)
        if recorded:
            self.up.tap = tap
        self.viewer = Viewer(self.up, trouble, seed + 10)

    async def run(self, seconds: float) -> None:
        watching = asyncio.create_task(self.viewer.run())
        await self.sender.run(seconds)
        await asyncio.sleep(3)
        watching.cancel()
        self.reorder.flush()
        self.up.close()
