"""Key frames, heights and VP8's counts, read from payloads."""

from __future__ import annotations

import struct

import pytest
from far_end import packet
from hypothesis import given
from hypothesis import strategies as st

from server.sfu.pictures import (
    PictureNumbers,
    picture_height,
    picture_numbers,
    renumber,
    starts_key_frame,
)

# 1280x720, baseline, as x264 writes it.
SPS = bytes.fromhex("6742c01fd9005005bb016a02020280000003008000001e078c1924")
PPS = bytes.fromhex("68cb83cb20")
IDR, SLICE = b"\x65\x88\x84", b"\x41\x9a\x00"


def aggregate(*units: bytes) -> bytes:
    return b"\x78" + b"".join(len(unit).to_bytes(2) + unit for unit in units)


@pytest.mark.parametrize(
    ("codec", "payload", "starts"),
    [
        ("H264", aggregate(SPS, PPS), True),
        ("H264", aggregate(SPS, PPS, IDR), True),
        ("H264", SPS, True),
        ("H264", IDR, True),
        ("H264", b"\x7c\x85\x88", True),
        ("H264", b"\x7c\x05\x88", False),
        ("H264", SLICE, False),
        ("H264", aggregate(SLICE, SLICE), False),
        ("H264", b"", False),
        ("H264", b"\x7c", False),
        ("VP8", b"\x90\x80\x8a\x01\x10\x00\x00", True),
        ("VP8", b"\x10\x10\x00\x00", True),
        ("VP8", b"\x90\x80\x8a\x01\x11\x00\x00", False),
        ("VP8", b"\x80\x80\x8a\x01\x10\x00\x00", False),
        ("VP8", b"\x90", False),
        ("VP8", b"", False),
    ],
)
def test_where_a_key_frame_starts(codec: str, payload: bytes, starts: bool) -> None:
    assert starts_key_frame(codec, packet(1, payload=payload)) is starts


def test_heights() -> None:
    vp8 = b"\x90\x80\x8a\x01\x10\x00\x00\x9d\x01\x2a" + struct.pack("<HH", 640, 360 | 0x4000)
    assert picture_height("VP8", packet(1, payload=vp8 + b"rest")) == 360
    assert picture_height("VP8", packet(1, payload=b"\x10\x10\x00\x00")) is None
    assert picture_height("H264", packet(1, payload=aggregate(SPS, PPS))) == 720
    assert picture_height("H264", packet(1, payload=IDR)) is None


@given(st.sampled_from(["H264", "VP8"]), st.binary(max_size=40))
def test_no_payload_raises(codec: str, payload: bytes) -> None:
    data = packet(1, payload=payload)
    starts_key_frame(codec, data)
    picture_height(codec, data)
    assert len(renumber(payload, PictureNumbers(5, 5))) == len(payload)


@given(st.integers(0, 0x7FFF), st.integers(0, 0xFF), st.integers(0, 0x7FFF), st.integers(0, 0xFF))
def test_counts_go_on_by_as_much(picture: int, zero: int, more: int, more_zero: int) -> None:
    body = b"\x90\xe0" + (picture | 0x8000).to_bytes(2) + bytes((zero, 0x20)) + b"picture"
    moved = renumber(body, PictureNumbers(more, more_zero))
    assert picture_numbers(moved) == ((picture + more) & 0x7FFF, (zero + more_zero) & 0xFF)
    assert moved[:2] == body[:2]
    assert moved[5:] == body[5:]


def test_a_short_count_stays_short_and_none_stays_none() -> None:
    assert renumber(b"\x90\x80\x7fxyz", PictureNumbers(2, 0)) == b"\x90\x80\x01xyz"
    assert renumber(b"\x10\x00\x00\x00", PictureNumbers(2, 0)) == b"\x10\x00\x00\x00"
