"""One track's reception: order, loss, duplicates, retransmission, and what its receivers get."""

from __future__ import annotations

import asyncio
import random
import time
from typing import Any, cast

from aiortc.rtp import RtcpPacket, RtcpPsfbPacket, RtcpRtpfbPacket, RtpPacket, wrap_rtx
from far_end import PAYLOAD_TYPE, SSRC, Wire, down, packet, track
from hypothesis import given
from hypothesis import strategies as st

from server.sfu import rtp, uptrack
from server.sfu.allowance import Allowance


@given(st.integers(0, 0xFFFF), st.lists(st.integers(0, 40), min_size=1, max_size=80))
def test_each_packet_is_taken_once_whatever_the_order(start: int, order: list[int]) -> None:
    async def run() -> None:
        up = track(Wire())
        taken: list[int] = []
        up.tap = lambda data, now_ns: taken.append(int.from_bytes(data[2:4]))
        up.layers[0].receive(packet(start), 0)
        for step in order:
            up.layers[0].receive(packet(start + 1 + step), 0)
        up.close()
        assert len(taken) == len(set(taken))
        assert set(taken) == {start} | {(start + 1 + step) & 0xFFFF for step in order}

    asyncio.run(run())


async def test_what_is_missing_is_asked_for_and_repaired_by_retransmission() -> None:
    wire = Wire()
    up = track(wire)
    for sequence in (65533, 65534, 2, 3):
        up.layers[0].receive(packet(sequence), time.monotonic_ns())
    await asyncio.sleep(0.05)
    nacks = [p for p in wire.rtcp if isinstance(p, RtcpRtpfbPacket)]
    assert {s for nack in nacks for s in nack.lost} == {65535, 0, 1}
    for sequence in (65535, 0, 1):
        original = RtpPacket.parse(packet(sequence, payload=b"again"))
        wrapped = wrap_rtx(original, payload_type=97, sequence_number=7, ssrc=55)
        up.layers[0].receive_retransmission(wrapped.serialize(), 0)
        assert up.layers[0].history(sequence) == packet(sequence, payload=b"again")
    up.close()
    assert up.packets == 7


async def test_what_is_not_repaired_in_time_is_lost_and_a_key_frame_is_wanted() -> None:
    wire = Wire()
    up = track(wire, repair_ns=1)
    up.layers[0].receive(packet(1), 1)
    up.layers[0].receive(packet(3), 1)
    await asyncio.sleep(0.05)
    assert up.lost == 1
    assert any(isinstance(p, RtcpPsfbPacket) for p in wire.rtcp)
    up.close()


async def test_after_a_cut_a_key_frame_is_wanted_at_once() -> None:
    """What was lost in it may still be repaired, but nobody can wait for that."""
    wire = Wire()
    up = track(wire)
    up.layers[0].receive(packet(1), 1_000_000_000)
    up.layers[0].receive(packet(3), 1_300_000_000)
    assert not wire.rtcp
    up.layers[0].receive(packet(90), 6_000_000_000)
    assert [type(p) for p in wire.rtcp] == [RtcpPsfbPacket]
    up.close()


async def test_requests_for_key_frames_are_merged() -> None:
    wire = Wire()
    up = track(wire)
    for _ in range(50):
        up.request_key_frame()
    assert len(wire.rtcp) == 1
    up.close()


def test_a_foreign_payload_type_is_counted_and_left_out() -> None:
    up = track(Wire())
    foreign = bytearray(packet(1))
    foreign[1] = 100
    up.layers[0].receive(bytes(foreign), 0)
    assert (up.unexpected, up.packets) == (1, 0)


def test_a_receiver_sees_one_stream_through_a_reconnection() -> None:
    out = Wire()
    up = track(Wire())
    up.attach(down(out, up))
    for i in range(3):
        up.layers[0].receive(packet(100 + i, 3000 * i), 10**9)
    up.bind(cast(Any, Wire()), 777, PAYLOAD_TYPE, 1)
    for i in range(3):
        up.layers[0].receive(packet(60000 + i, 5_000_000 + 3000 * i, ssrc=777), 3 * 10**9)
    sent = [RtpPacket.parse(p) for p in out.rtp]
    assert [p.sequence_number for p in sent] == [100, 101, 102, 103, 104, 105]
    assert {p.ssrc for p in sent} == {99}
    # Two seconds passed between the two: so they do for the receiver.
    assert sent[3].timestamp - sent[2].timestamp == 180000
    assert sent[4].timestamp - sent[3].timestamp == 3000


def test_a_receiver_gets_again_what_it_asks_for_and_nothing_else() -> None:
    out = Wire()
    up = track(Wire())
    receiver = down(out, up)
    up.attach(receiver)
    for i in range(5):
        up.layers[0].receive(packet(10 + i, 3000 * i, bytes([i])), 1)
    out.rtp.clear()
    receiver.retransmit([11, 13, 9000], 1)
    assert [p[-1] for p in out.rtp] == [1, 3]


def test_sound_that_is_asked_for_goes_out_twice_as_far_as_it_may() -> None:
    out = Wire()
    up = track(Wire(), sound=True)
    receiver = down(out, up)
    up.attach(receiver)
    for i in range(5):
        up.layers[0].receive(packet(10 + i, 960 * i, bytes([i])), 1)
    out.rtp.clear()
    receiver.retransmit([11], 1)
    assert [p[-1] for p in out.rtp] == [1, 1]
    receiver.again.budget = Allowance(14, 0)
    receiver.retransmit([12, 13], 1)
    assert [p[-1] for p in out.rtp] == [1, 1, 2]


def test_header_extensions_end_here() -> None:
    out = Wire()
    up = track(Wire())
    up.attach(down(out, up))
    plain = packet(1, 0, b"payload")
    extended = (
        bytes([plain[0] | 0x10]) + plain[1:12] + b"\xbe\xde\x00\x01\x10a\x00\x00" + b"payload"
    )
    up.layers[0].receive(extended, 1)
    assert RtpPacket.parse(out.rtp[0]).payload == b"payload"
    assert not out.rtp[0][0] & 0x10
    assert rtp.extension(extended, 1) == b"a"


@given(st.binary(min_size=12, max_size=60))
def test_no_packet_raises(data: bytes) -> None:
    rtp.payload_start(data)
    rtp.undo_retransmission(data, 96, 1)
    for number in range(1, 15):
        rtp.extension(data, number)


def test_requests_survive_the_wrap_of_sequence_numbers() -> None:
    lost = [65530, 65535, 0, 3, random.Random(1).randrange(100, 200)]
    parsed = RtcpPacket.parse(rtp.negative_acknowledgement(1, 2, lost))
    assert [s for p in parsed if isinstance(p, RtcpRtpfbPacket) for s in p.lost] == lost


def spoken(sequence: int, level: int) -> bytes:
    """A packet that says how loud it is, under extension 3."""
    made = packet(sequence)
    return bytes([made[0] | 0x10]) + made[1:12] + b"\xbe\xde\x00\x01\x30" + bytes([level]) + b"\0\0"


async def test_how_loud_a_track_is_is_what_its_newest_packets_say() -> None:
    up = track(Wire())
    assert up.loudness() is None
    up.bind(cast(Any, Wire()), SSRC, PAYLOAD_TYPE, 1, level_extension=3)
    assert up.loudness() is None
    now_ns = time.monotonic_ns()
    for sequence, level in enumerate([0x80 | 5, 0x80 | 60, 0x80 | 40, 127]):
        up.layers[0].receive(spoken(sequence, level), now_ns)
    assert up.loudness() == 5
    for sequence in range(4, 4 + uptrack.LOUDNESS_PACKETS - 2):
        up.layers[0].receive(spoken(sequence, 0x80 | 90), now_ns)
    assert up.loudness() == 40
    up.layers[0].last_packet_ns = now_ns - uptrack.QUIET_AFTER_NS
    assert up.loudness() == uptrack.SILENT
    up.close()
