"""The load client: what a publisher sends arrives, and it answers as a browser does."""

from __future__ import annotations

import asyncio
import random
from typing import Any, cast

from aiortc.rtp import RtcpPacket, RtcpSrPacket

from bench.load import Publisher, Subscriber
from bench.media import STAMP_BYTES, Frame, Media
from bench.packets import Reception, Tally
from bench.sending import Numbers, Stream, extension
from server.sfu import rtp, sdp
from server.sfu.datagrams import Post
from tests.far_end import Wire

KEY = Frame(True, (b"k" * 100, b"l" * 100))
DELTA = Frame(False, (b"d" * 50,))
SOUND = Frame(True, (b"s" * 40,))
MEDIA = Media((KEY, DELTA, DELTA), (SOUND,))
CAMERA = Numbers("VP8", 96, 77, 97, 78, "0", {sdp.MID_URI: 1})


class _Post:
    collecting = False

    def flush(self) -> None:
        """Nothing waits."""


def stream(wire: Wire, tally: Tally) -> Stream:
    return Stream(wire, cast(Post, _Post()), CAMERA, MEDIA.video, tally)


async def sent(wire: Wire, one: Stream, packets: int) -> None:
    one.begin(0, 1000.0, 0.0)
    async with asyncio.timeout(10):
        while len(wire.rtp) < packets:
            await asyncio.sleep(0.001)
    one.end()


async def test_a_picture_is_sent_with_mid_descriptor_and_time() -> None:
    wire, tally = Wire(), Tally()
    await sent(wire, stream(wire, tally), 4)
    first, second, third = wire.rtp[:3]
    head = extension((1, b"0"))
    assert [packet[1] for packet in (first, second, third)] == [96, 0x80 | 96, 0x80 | 96]
    assert first[12:].startswith(head + b"\x90\x80")
    assert second[12:].startswith(head + b"\x80\x80")
    assert first[-STAMP_BYTES:] == second[-STAMP_BYTES:] < third[-STAMP_BYTES:]
    assert first[4:8] == second[4:8] != third[4:8]
    assert tally.sent == len(wire.rtp)


async def test_a_lost_packet_is_sent_again_in_its_own_stream() -> None:
    wire, tally = Wire(), Tally()
    one = stream(wire, tally)
    await sent(wire, one, 6)
    lost = wire.rtp[1]
    one.retransmit(lost[2] << 8 | lost[3])
    again = wire.rtp[-1]
    assert (again[1], again[8:12]) == (0x80 | 97, (78).to_bytes(4))
    assert rtp.undo_retransmission(again, 96, 77) == lost
    one.retransmit((lost[2] << 8 | lost[3]) - 1000 & 0xFFFF)
    assert wire.rtp[-1] is again
    assert tally.nacked == 2


async def test_a_key_frame_comes_when_it_is_wanted() -> None:
    wire, tally = Wire(), Tally()
    one = stream(wire, tally)
    one.begin(1, 1000.0, 0.0)
    one.end()
    for _ in range(2):
        one._send(one._frames[one._at])
        one._at += 1
    one.key_frame_wanted()
    one._send(one._frames[one._at])
    assert b"k" * 100 in wire.rtp[-2]


async def test_a_report_names_time_and_sum() -> None:
    wire = Wire()
    one = stream(wire, Tally())
    assert one.report() == b""
    await sent(wire, one, 5)
    report = cast(RtcpSrPacket, RtcpPacket.parse(one.report())[0])
    info: Any = report.sender_info
    assert (report.ssrc, info.packet_count) == (77, len(wire.rtp))
    newest = int.from_bytes(wire.rtp[-1][4:8])
    assert 0 <= (info.rtp_timestamp - newest) & 0xFFFFFFFF < 10 * 90_000


async def test_what_is_sent_arrives() -> None:
    tally, seen = Tally(), asyncio.Event()
    kinds: set[bool] = set()

    def take(reception: Reception, packet: bytes) -> None:
        kinds.add(reception.video)
        if len(kinds) == 2 and tally.totals()["received"] > 20:
            seen.set()

    publisher = Publisher(MEDIA, tally, ("camera", "microphone"))
    subscriber = Subscriber(tally, take)
    answer = await subscriber.answer(await publisher.offer())
    await publisher.answered(answer, random.Random(1))
    await subscriber.connected()
    async with asyncio.timeout(10):
        await seen.wait()
    await publisher.close()
    await subscriber.close()
    totals = tally.totals()
    assert totals["lost"] == totals["reordered"] == 0
    assert 20 < totals["received"] <= totals["sent"]
