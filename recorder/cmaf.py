"""CMAF files for H.264 and Opus: plain ISO BMFF boxes, always the same bytes for the same input.

Before this: :mod:`recorder.track`. After it: :mod:`recorder.segment`.

Clauses are those of ISO/IEC 14496-12:2022 (boxes), 14496-15:2022 (AVC) and of "Encapsulation of
Opus in ISO Base Media File Format" 0.6.8. An initialisation file, then any number of fragments,
each a ``moof`` and an ``mdat``; one after the other in a file they play. The timescale of a track
is its RTP clock.
"""

from __future__ import annotations

import struct
from collections.abc import Sequence
from typing import NamedTuple

VIDEO_HZ = 90_000
SOUND_HZ = 48_000

_MATRIX = struct.pack("!9I", 0x10000, 0, 0, 0, 0x10000, 0, 0, 0, 0x40000000)
_SYNC = 0x02000000
_NON_SYNC = 0x01010000
"""sample_flags (8.8.3.1): depends on no other sample; or does, and is no sync sample."""


class Sample(NamedTuple):
    """One access unit with its place in the file, in ticks of the track's timescale."""

    media: int
    duration: int
    key: bool
    payload: bytes


def codec_name(sps: bytes) -> str:
    """The codec parameter (RFC 6381, 3.3) of a stream with this SPS, such as ``avc3.42E01F``."""
    return f"avc3.{sps[1:4].hex().upper()}"


def video_init(sps: bytes, pps: bytes, width: int, height: int) -> bytes:
    """The initialisation file of an H.264 track.

    Sample entry ``avc3``: parameter sets are in band, those given here only spare a decoder the
    wait. A later change of size needs no other initialisation file.
    """
    # AVCDecoderConfigurationRecord (14496-15, 5.3.3.1.2): lengths of 4 bytes, one SPS, one PPS.
    sets = [struct.pack("!H", len(nal)) + nal for nal in (sps, pps)]
    configuration = b"\x01" + sps[1:4] + b"\xff\xe1" + sets[0] + b"\x01" + sets[1]
    if sps[1] in (100, 110, 122, 144):
        # Chroma 4:2:0, 8 bits, no SPS extension.
        configuration += b"\xfd\xf8\xf8\x00"
    # VisualSampleEntry (12.1.3): 72 dpi, one picture a sample, 24 bits.
    picture = struct.pack("!HHIIIH", width, height, 0x480000, 0x480000, 0, 1)
    entry = _box(
        b"avc3",
        bytes(6) + b"\x00\x01" + bytes(16) + picture + bytes(32) + b"\x00\x18\xff\xff",
        _box(b"avcC", configuration),
    )
    header = _full(b"vmhd", 0, 1, bytes(8))
    return _init(VIDEO_HZ, b"vide", header, entry, width, height)


def sound_init() -> bytes:
    """The initialisation file of an Opus track.

    Two channels whatever the sender encodes, as RFC 7587 declares them (a decoder makes two of
    one). PreSkip is 0: a recording starts in the middle of a stream, there is nothing to skip.
    """
    entry = _box(
        b"Opus",
        # AudioSampleEntry (12.2.3): two channels of 16 bits.
        bytes(6) + b"\x00\x01" + bytes(8) + struct.pack("!HHIHH", 2, 16, 0, SOUND_HZ, 0),
        _box(b"dOps", struct.pack("!BBHIhB", 0, 2, 0, SOUND_HZ, 0, 0)),
    )
    return _init(SOUND_HZ, b"soun", _full(b"smhd", 0, 0, bytes(4)), entry, 0, 0)


def fragment(number: int, samples: Sequence[Sample], *, video: bool) -> bytes:
    """One ``moof`` and its ``mdat``.

    ``number`` counts the fragments of a track from 1. The samples follow each other without a hole:
    each one's ``duration`` reaches to the next one's ``media``.
    """
    count = len(samples)
    if video:
        table = [
            field
            for _, duration, key, payload in samples
            for field in (duration, len(payload), _SYNC if key else _NON_SYNC)
        ]
        flags, header = 0x701, _full(b"tfhd", 0, 0x20000, b"\x00\x00\x00\x01")
    else:
        table = [field for _, duration, _, payload in samples for field in (duration, len(payload))]
        flags = 0x301
        header = _full(b"tfhd", 0, 0x20020, struct.pack("!II", 1, _SYNC))
    # mfhd 16, tfdt 20, trun 20 and the table; moof and traf have 8 each.
    moof_bytes = 8 + 16 + 8 + len(header) + 20 + 20 + 4 * len(table)
    run = struct.pack("!II", count, moof_bytes + 8)
    return b"".join(
        (
            struct.pack("!I4s", moof_bytes, b"moof"),
            _full(b"mfhd", 0, 0, struct.pack("!I", number)),
            struct.pack("!I4s", moof_bytes - 24, b"traf"),
            header,
            _full(b"tfdt", 1, 0, struct.pack("!Q", samples[0].media)),
            struct.pack("!I4sI", 20 + 4 * len(table), b"trun", flags),
            run,
            struct.pack(f"!{len(table)}I", *table),
            struct.pack("!I4s", 8 + sum(len(sample.payload) for sample in samples), b"mdat"),
            *[sample.payload for sample in samples],
        )
    )


def _box(kind: bytes, *parts: bytes) -> bytes:
    body = b"".join(parts)
    return struct.pack("!I4s", 8 + len(body), kind) + body


def _full(kind: bytes, version: int, flags: int, body: bytes) -> bytes:
    return struct.pack("!I4sI", 12 + len(body), kind, version << 24 | flags) + body


def _init(
    hz: int, kind: bytes, media_header: bytes, entry: bytes, width: int, height: int
) -> bytes:
    volume = 0 if kind == b"vide" else 0x0100
    track = struct.pack("!IIIII", 0, 0, 1, 0, 0) + bytes(8) + struct.pack("!4H", 0, 0, volume, 0)
    track += _MATRIX + struct.pack("!II", width << 16, height << 16)
    tables = _box(
        b"stbl",
        _full(b"stsd", 0, 0, b"\x00\x00\x00\x01" + entry),
        _full(b"stts", 0, 0, bytes(4)),
        _full(b"stsc", 0, 0, bytes(4)),
        _full(b"stsz", 0, 0, bytes(8)),
        _full(b"stco", 0, 0, bytes(4)),
    )
    location = _box(b"dinf", _full(b"dref", 0, 0, b"\x00\x00\x00\x01" + _full(b"url ", 0, 1, b"")))
    media = _box(
        b"mdia",
        _full(b"mdhd", 0, 0, struct.pack("!IIIIHH", 0, 0, hz, 0, 0x55C4, 0)),  # language: und
        _full(b"hdlr", 0, 0, bytes(4) + kind + bytes(12) + b"tingxun\x00"),
        _box(b"minf", media_header, location, tables),
    )
    movie = struct.pack("!IIIIIHH", 0, 0, 1000, 0, 0x10000, 0x0100, 0) + bytes(8) + _MATRIX
    movie += bytes(24) + b"\x00\x00\x00\x02"  # next_track_ID
    extends = _box(b"mvex", _full(b"trex", 0, 0, struct.pack("!IIIII", 1, 1, 0, 0, 0)))
    brands = _box(b"ftyp", b"iso6", bytes(4), b"iso6", b"cmfc", b"mp41")
    return brands + _box(
        b"moov",
        _full(b"mvhd", 0, 0, movie),
        _box(b"trak", _full(b"tkhd", 0, 3, track), media),
        extends,
    )
