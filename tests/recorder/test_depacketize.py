"""Opus, VP8 and H.264 from RTP payloads: what encoders make, and what only attackers do."""

from __future__ import annotations

import random
import struct
from itertools import pairwise

import av
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from rtp_streams import payloads, picture_stream, pictures, sounds

from recorder.depacketize import depacketizer, opus_ticks
from recorder.h264 import H264Depacketizer
from recorder.units import MAX_UNIT_BYTES, AccessUnit, Depacketizer


def made(codec: str) -> tuple[Depacketizer, list[AccessUnit]]:
    units: list[AccessUnit] = []
    return depacketizer(codec, units.append), units


def push(
    sink: Depacketizer, payload: bytes, seq: int, timestamp: int = 0, end: bool = False
) -> None:
    """One payload behind an RTP header, as the reorder buffer hands it over."""
    head = struct.pack("!BBHII", 0x80, 0x80 * end | 96, seq & 0xFFFF, timestamp, 1)
    sink.push(head + payload, 12, 12 + len(payload), end, timestamp, seq, 1000 * seq)


def avcc(annexb: bytes) -> list[bytes]:
    """The NAL units of an Annex B picture."""
    parts = annexb.replace(b"\0\0\0\1", b"\0\0\1").split(b"\0\0\1")
    return [part for part in parts if part]


def nals(unit: AccessUnit) -> list[bytes]:
    """The NAL units of an AVCC access unit."""
    found, at = [], 0
    while at < len(unit.payload):
        (size,) = struct.unpack_from("!I", unit.payload, at)
        found.append(unit.payload[at + 4 : at + 4 + size])
        at += 4 + size
    return found


@pytest.mark.parametrize("codec", ["H264", "VP8"])
def test_pictures_come_out_as_they_went_in(codec: str) -> None:
    encoded = pictures(codec, 30, 10, 320, 180)
    sink, units = made(codec)
    stream = picture_stream(codec, encoded)
    for number, packet in enumerate(stream.packets, 65500):
        marker = bool(packet.data[1] & 0x80)
        timestamp = int.from_bytes(packet.data[4:8], "big")
        sink.push(packet.data, 12, len(packet.data), marker, timestamp, number, packet.arrival_us)
    assert len(units) == 30
    assert [unit.key for unit in units] == [index % 10 == 0 for index in range(30)]
    assert [(unit.width, unit.height) for unit in units[::10]] == [(320, 180)] * 3
    assert all(before.last_seq + 1 == after.first_seq for before, after in pairwise(units))
    assert not any(unit.lost for unit in units)
    assert sink.malformed == 0
    for unit, picture in zip(units, encoded, strict=True):
        if codec == "VP8":
            assert unit.payload == picture
        else:
            assert nals(unit) == avcc(picture)


def test_the_first_parameter_sets_are_known() -> None:
    sink, units = made("H264")
    for seq, payload in enumerate(payloads("H264", pictures("H264", 30, 10, 320, 180)[0], 0)):
        push(sink, payload, seq)
    assert isinstance(sink, H264Depacketizer)
    assert sink.sps[0] & 0x1F == 7
    assert sink.pps[0] & 0x1F == 8
    assert not units


@pytest.mark.parametrize("lost", range(1, 4))
def test_a_picture_without_a_packet_is_dropped_whole(lost: int) -> None:
    for codec in ("H264", "VP8"):
        key, *_ = pictures(codec, 2, 2, 640, 480)
        parts = payloads(codec, key, 1)
        assert len(parts) > 3
        sink, units = made(codec)
        for seq, payload in enumerate(parts):
            if seq == lost:
                sink.lose(1)
            else:
                push(sink, payload, seq, 0, seq == len(parts) - 1)
        assert not units
        for seq, payload in enumerate(parts, len(parts)):
            push(sink, payload, seq, 3000, seq == 2 * len(parts) - 1)
        assert [unit.lost for unit in units] == [1]


def test_the_start_of_a_picture_is_known_after_a_loss() -> None:
    """A lost packet between two pictures may have been the first of the second one, or not."""
    sink, units = made("H264")
    push(sink, b"\x41\x9a" + bytes(20), 1, 0, end=True)
    sink.lose(1)
    # first_mb_in_slice is not 0: the beginning of this picture is what was lost.
    push(sink, b"\x41\x1a" + bytes(20), 3, 3000, end=True)
    sink.lose(1)
    push(sink, b"\x41\x9a" + bytes(20), 5, 6000, end=True)
    assert [(unit.timestamp, unit.lost) for unit in units] == [(0, 0), (6000, 2)]


def test_the_end_of_a_picture_needs_no_marker() -> None:
    """A new timestamp ends it too, where nothing is missing (RFC 6184, 5.1)."""
    for codec in ("H264", "VP8"):
        sink, units = made(codec)
        seq = 0
        for index, picture in enumerate(pictures(codec, 30, 10, 320, 180)[:3]):
            for payload in payloads(codec, picture, index):
                push(sink, payload, seq, index * 3000)
                seq += 1
        assert [unit.timestamp for unit in units] == [0, 3000]
        assert not any(unit.lost for unit in units)


def test_aggregation_and_single_units() -> None:
    picture = avcc(pictures("H264", 30, 10, 320, 180)[0])
    sps, pps, idr = (next(nal for nal in picture if nal[0] & 0x1F == kind) for kind in (7, 8, 5))
    sink, units = made("H264")
    stap = b"\x18" + b"".join(struct.pack("!H", len(nal)) + nal for nal in (sps, pps))
    push(sink, stap, 1)
    push(sink, idr, 2, 0, end=True)
    assert nals(units[0]) == [sps, pps, idr]
    assert units[0].key
    assert (units[0].width, units[0].height) == (320, 180)


@pytest.mark.parametrize(
    "payload",
    [
        b"\x18\x00\x05\x67\x42",  # STAP-A cut short
        b"\x18\x00\x00\x67",  # an empty unit in a STAP-A
        b"\x18",
        b"\x1c",  # FU-A without a header
        b"\x1c\x05",
        b"\x1c\x05\x00",  # the middle of a fragment of which nothing came
        b"\x19\x00\x00\x00",  # STAP-B
        b"\x1d\x00\x00\x00",  # FU-B
        b"\x00\x00",
        b"\x1e\x00",
    ],
)
def test_malformed_h264_is_loss(payload: bytes) -> None:
    sink, units = made("H264")
    push(sink, b"\x41\x9a\x00", 1, 0, end=True)
    push(sink, payload, 2, 3000, end=True)
    push(sink, b"\x41\x9a\x00", 3, 6000, end=True)
    assert sink.malformed == 1
    assert [unit.lost for unit in units] == [0, 1]


@pytest.mark.parametrize(
    "payload",
    [
        b"\x10",  # a descriptor and nothing else
        b"\x90\x80\x81",  # two bytes of picture id announced, the payload ends
        b"\x90\xf0\x01\x01\x01",
        b"\x10\x00\x00",  # a key frame too short for its header
        b"\x10\x10\x02\x00\x00\x00\x00\x00\x00\x00\x00\x00",  # without the start code
        b"\x00\x01\x02",  # the middle of a picture of which nothing came
        b"\x11\x01\x02",  # the start of another partition
    ],
)
def test_malformed_vp8_is_loss(payload: bytes) -> None:
    good = b"\x10\x01\x00\x00"
    sink, units = made("VP8")
    push(sink, good, 1, 0, end=True)
    push(sink, payload, 2, 3000, end=True)
    push(sink, good, 3, 6000, end=True)
    assert sink.malformed == 1
    assert [unit.lost for unit in units] == [0, 1]


def test_joining_in_the_middle_is_no_loss() -> None:
    for codec, middle, start in (
        ("H264", b"\x5c\x01\x00\x00", b"\x41\x9a\x00"),
        ("VP8", b"\x00\x01\x02", b"\x10\x01\x00\x00"),
    ):
        sink, units = made(codec)
        push(sink, middle, 1, 0)
        push(sink, middle, 2, 0, end=True)
        push(sink, start, 3, 3000, end=True)
        assert [unit.lost for unit in units] == [0]
        assert sink.malformed == 0


def test_padding_is_present_and_nothing_else() -> None:
    for codec in ("H264", "VP8", "opus"):
        sink, units = made(codec)
        push(sink, b"", 1)
        assert not units
        assert sink.lost == sink.malformed == 0


def test_all_descriptors_of_vp8() -> None:
    """RFC 7741, 4.2: every combination of the optional fields leads to the same picture."""
    picture = pictures("VP8", 2, 2, 320, 180)[0][:900]
    for flags in range(0, 256, 16):
        for wide in (False, True):
            extension = bytes([flags])
            if flags & 0x80:
                extension += b"\x81\x23" if wide else b"\x23"
            if flags & 0x40:
                extension += b"\x05"
            if flags & 0x30:
                extension += b"\x60"
            sink, units = made("VP8")
            push(sink, b"\x90" + extension + picture, 1, 0, end=True)
            assert units[0].payload == picture
            assert (units[0].width, units[0].height) == (320, 180)


def test_opus_durations_are_those_of_the_decoder() -> None:
    for payload in sounds(20):
        decoder = av.CodecContext.create("opus", "r")
        decoder.sample_rate, decoder.layout = 48000, "stereo"
        frames = decoder.decode(av.Packet(payload))
        assert opus_ticks(payload) == sum(frame.samples for frame in frames) == 960


@pytest.mark.parametrize(
    ("payload", "ticks"),
    [
        (b"\x00", 480), (b"\x18", 2880), (b"\x61", 960), (b"\x80", 120), (b"\xf9", 1920),
        (b"\xfb\x03", 2880), (b"\xfb\x06", 5760), (b"\xfb\x07", 0), (b"\xfb\x00", 0), (b"\xfb", 0),
    ],
)  # fmt: skip
def test_opus_lengths(payload: bytes, ticks: int) -> None:
    """RFC 6716, table 2 and 3.2; no packet lasts longer than 120 ms."""
    assert opus_ticks(payload) == ticks


def test_malformed_opus_is_loss() -> None:
    sink, units = made("opus")
    push(sink, b"\xfb\x00", 1)
    push(sink, b"\xf8\x00", 2, 960)
    assert sink.malformed == 1
    assert [(unit.lost, unit.duration) for unit in units] == [(1, 960)]


def test_a_picture_without_end_is_bounded() -> None:
    for codec, first, rest in (
        ("H264", b"\x5c\x81\x80", b"\x5c\x01"),
        ("VP8", b"\x10\x01", b"\x00"),
    ):
        sink, units = made(codec)
        push(sink, first + bytes(1100), 1)
        for seq in range(2, MAX_UNIT_BYTES // 1000 + 2):
            push(sink, rest + bytes(1100), seq)
        assert not units
        assert sink.malformed >= 1
        state = sink.snapshot()
        held = sum(len(part) for value in state if isinstance(value, list) for part in value)
        assert held <= MAX_UNIT_BYTES


@settings(max_examples=60, deadline=None)
@given(seed=st.integers(0, 1 << 30), codec=st.sampled_from(["H264", "VP8", "opus"]))
def test_nothing_makes_a_depacketizer_fail(seed: int, codec: str) -> None:
    """Random bytes, and real payloads with bits flipped, only ever become loss."""
    chance = random.Random(seed)
    encoded = pictures("H264", 30, 10, 320, 180)[:3]
    real = [payload for picture in encoded for payload in payloads("H264", picture, 0)]
    sink, units = made(codec)
    for seq in range(120):
        payload = bytearray(chance.choice(real)[:60] if chance.random() < 0.5 else b"")
        payload += chance.randbytes(chance.randrange(0, 12))
        if payload and chance.random() < 0.7:
            payload[chance.randrange(len(payload[:3]))] ^= 1 << chance.randrange(8)
        if chance.random() < 0.1:
            sink.lose(chance.randrange(1, 4))
        push(sink, bytes(payload), seq, chance.choice((seq, seq // 3)), chance.random() < 0.3)
    sink.finish()
    for unit in units:
        assert unit.payload
        assert unit.first_seq <= unit.last_seq
    # What is left of it goes into the state and comes back.
    other, _ = made(codec)
    other.restore(sink.snapshot())
    assert other.snapshot() == sink.snapshot()
