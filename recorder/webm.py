"""WebM files for VP8: plain EBML, always the same bytes for the same input.

Before this: :mod:`recorder.track`. After it: :mod:`recorder.segment`.

Matroska as in RFC 9559, EBML as in RFC 8794, restricted as the WebM guidelines say. The
initialisation file ends with the head of a Segment of unknown size; then any number of Clusters of
known size, each a chunk. Times in the file are milliseconds.
"""

from __future__ import annotations

import struct
from collections.abc import Sequence

from recorder.cmaf import Sample

FILE_HZ = 1000
"""Ticks of the file: TimestampScale 1,000,000 ns."""

_RTP_TICKS = 90
"""RTP ticks (90 kHz) of one tick of the file."""

CODEC_NAME = "vp8"

_EBML, _SEGMENT, _CLUSTER = 0x1A45DFA3, 0x18538067, 0x1F43B675
_INFO, _TRACKS = 0x1549A966, 0x1654AE6B
_UNKNOWN_SIZE = b"\x01\xff\xff\xff\xff\xff\xff\xff"


def file_ticks(media: int) -> int:
    """Media time (90 kHz) as the file has it, rounded to the nearest millisecond."""
    return (media + _RTP_TICKS // 2) // _RTP_TICKS


def video_init(width: int, height: int) -> bytes:
    """The initialisation file of a VP8 track; a later change of size needs no other one."""
    head = _element(
        _EBML,
        _uint(0x4286, 1),  # EBMLVersion
        _uint(0x42F7, 1),  # EBMLReadVersion
        _uint(0x42F2, 4),  # EBMLMaxIDLength
        _uint(0x42F3, 8),  # EBMLMaxSizeLength
        _element(0x4282, b"webm"),  # DocType
        _uint(0x4287, 4),  # DocTypeVersion
        _uint(0x4285, 2),  # DocTypeReadVersion
    )
    info = _element(
        _INFO,
        _uint(0x2AD7B1, 1_000_000),  # TimestampScale
        _element(0x4D80, b"tingxun"),  # MuxingApp
        _element(0x5741, b"tingxun"),  # WritingApp
    )
    track = _element(
        0xAE,
        _uint(0xD7, 1),  # TrackNumber
        _uint(0x73C5, 1),  # TrackUID
        _uint(0x83, 1),  # TrackType: video
        _uint(0x9C, 0),  # FlagLacing
        _element(0x22B59C, b"und"),  # Language
        _element(0x86, b"V_VP8"),  # CodecID
        _element(0xE0, _uint(0xB0, width), _uint(0xBA, height)),  # Video
    )
    segment = struct.pack("!I", _SEGMENT) + _UNKNOWN_SIZE
    return head + segment + info + _element(_TRACKS, track)


def cluster(samples: Sequence[Sample]) -> bytes:
    """One Cluster. Its samples follow each other without a hole and span less than 32 s.

    The last one is a BlockGroup, which can say how long it lasts: a reader need not wait for the
    next Cluster to know.
    """
    start = file_ticks(samples[0].media)
    parts = [_uint(0xE7, start)]
    for media, _, key, payload in samples[:-1]:
        head = struct.pack("!BhB", 0x81, file_ticks(media) - start, 0x80 if key else 0)
        parts.append(b"\xa3" + _size(4 + len(payload)) + head)
        parts.append(payload)
    media, duration, key, payload = samples[-1]
    at = file_ticks(media)
    block = struct.pack("!BhB", 0x81, at - start, 0)
    group = [
        b"\xa1", _size(4 + len(payload)), block, payload,
        _uint(0x9B, max(file_ticks(media + duration) - at, 1)),  # BlockDuration
    ]  # fmt: skip
    if not key:
        before = file_ticks(samples[-2].media) if len(samples) > 1 else at - 1
        group.append(b"\xfb\x82" + struct.pack("!h", max(before - at, -0x8000)))  # ReferenceBlock
    parts.append(b"\xa0" + _size(sum(map(len, group))))
    parts += group
    return struct.pack("!I", _CLUSTER) + _size(sum(map(len, parts))) + b"".join(parts)


def _size(length: int) -> bytes:
    """An element's size in four bytes (RFC 8794, 4.4), in eight where that is too little."""
    if length < (1 << 28) - 1:
        return struct.pack("!I", 0x10000000 | length)
    return struct.pack("!Q", 0x0100000000000000 | length)


def _element(identifier: int, *parts: bytes) -> bytes:
    body = b"".join(parts)
    name = identifier.to_bytes((identifier.bit_length() + 7) // 8, "big")
    return name + _size(len(body)) + body


def _uint(identifier: int, value: int) -> bytes:
    return _element(identifier, value.to_bytes(max((value.bit_length() + 7) // 8, 1), "big"))
