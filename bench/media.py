"""Encoded media for the load clients: made once, kept in a temporary folder.

Ten seconds of moving VP8 or H.264 at 1280x720, 30 pictures and 1.5 Mbit/s, and of Opus at
48 kbit/s: about 204 packets a second together. Nothing is encoded or decoded while a benchmark
measures.
"""

from __future__ import annotations

import json
import os
import random
import tempfile
from collections.abc import Iterator
from dataclasses import dataclass
from fractions import Fraction
from pathlib import Path

import av
from av.audio.codeccontext import AudioCodecContext
from av.video.codeccontext import VideoCodecContext

WIDTH, HEIGHT, FPS = 1280, 720, 30
VIDEO_BPS = 1_500_000
KEY_EVERY = 90
SECONDS = 10
AUDIO_BPS = 48_000
AUDIO_SAMPLES = 960
"""Samples in a packet of Opus: 20 ms at 48 kHz."""

STAMP_BYTES = 8
"""The end of each payload is overwritten with the time of sending."""

MAX_BODY = 1296
"""Bytes of a frame in one packet: with descriptor, headers and SRTP it fits any line."""

_BLOCK = 8
_PATCH_W, _PATCH_H = 320, 240
_FILE = "media-2-{codec}.bin"

_IDR, _SEI, _SPS, _PPS, _STAP_A, _FU_A = 5, 6, 7, 8, 24, 28
_USER_DATA, _UUID_BYTES = 5, 16


@dataclass(frozen=True, slots=True)
class Frame:
    """One picture or sound packet, cut for RTP; each body lacks its last :data:`STAMP_BYTES`."""

    key: bool
    bodies: tuple[bytes, ...]


@dataclass(frozen=True, slots=True)
class Media:
    """What a publisher repeats."""

    video: tuple[Frame, ...]
    audio: tuple[Frame, ...]
    codec: str = "VP8"


def cut(frame: bytes) -> tuple[bytes, ...]:
    """The bodies of a VP8 frame's packets, of about the same size, each without its last bytes."""
    count = -(-len(frame) // MAX_BODY)
    size = -(-len(frame) // count)
    return tuple(frame[at : at + size][:-STAMP_BYTES] for at in range(0, len(frame), size))


def cut_h264(frame: bytes) -> tuple[bytes, ...]:
    """The bodies of an H.264 picture's packets (RFC 6184), each without its last bytes.

    The parameter sets go ahead in one packet. Nothing of them may be overwritten: the packet ends
    with a SEI message that does nothing but take the time.
    """
    units = [unit.rstrip(b"\0") for unit in frame.replace(b"\0\0\0\1", b"\0\0\1").split(b"\0\0\1")]
    units = [unit for unit in units if unit]
    bodies = []
    sets = [unit for unit in units if unit[0] & 0x1F in (_SPS, _PPS)]
    if sets:
        size = _UUID_BYTES + STAMP_BYTES
        sets.append(bytes([_SEI, _USER_DATA, size]) + bytes(size))
        parts = b"".join(len(unit).to_bytes(2) + unit for unit in sets)
        bodies.append(bytes([0x60 | _STAP_A]) + parts)
    for unit in units:
        if unit[0] & 0x1F <= _IDR:
            bodies += _fragments(unit)
    return tuple(body[:-STAMP_BYTES] for body in bodies)


def _fragments(unit: bytes) -> list[bytes]:
    """A NAL unit as it is, or in FU-A packets of about the same size."""
    if len(unit) <= MAX_BODY:
        return [unit]
    indicator, kind, rest = unit[0] & 0x60 | _FU_A, unit[0] & 0x1F, unit[1:]
    count = -(-len(rest) // (MAX_BODY - 2))
    size = -(-len(rest) // count)
    found = []
    for at in range(0, len(rest), size):
        start, end = 0x80 * (at == 0), 0x40 * (at + size >= len(rest))
        found.append(bytes([indicator, start | end | kind]) + rest[at : at + size])
    return found


def load(codec: str = "VP8") -> Media:
    """The media, from the cache or made now (some seconds)."""
    folder = Path(tempfile.gettempdir()) / f"tingxun-bench-{os.getuid()}"
    folder.mkdir(mode=0o700, exist_ok=True)
    path = folder / _FILE.format(codec=codec)
    if not path.exists():
        _store(path, list(_encode_video(codec)), list(_encode_audio()))
    header, _, body = path.read_bytes().partition(b"\n")
    parts: dict[str, list[tuple[bool, bytes]]] = {"video": [], "audio": []}
    at = 0
    for kind, key, size in json.loads(header):
        parts[kind].append((key, body[at : at + size]))
        at += size
    cutting = cut_h264 if codec == "H264" else cut
    return Media(
        tuple(Frame(key, cutting(frame)) for key, frame in parts["video"]),
        tuple(Frame(True, (packet[:-STAMP_BYTES],)) for _, packet in parts["audio"]),
        codec,
    )


def _store(path: Path, video: list[tuple[bool, bytes]], audio: list[bytes]) -> None:
    index: list[tuple[str, bool, int]] = [("video", key, len(frame)) for key, frame in video]
    index += [("audio", True, len(packet)) for packet in audio]
    body = b"".join([frame for _, frame in video] + audio)
    part = path.with_suffix(f".{os.getpid()}")
    part.write_bytes(json.dumps(index).encode() + b"\n" + body)
    part.replace(path)


def _pictures() -> Iterator[bytes]:
    """Luminance planes: a blocky ground that drifts, with a patch of noise that jumps."""
    rng = random.Random(1)
    doubled = []
    for _ in range(HEIGHT // _BLOCK):
        values = [72 + rng.randrange(110) for _ in range(WIDTH // _BLOCK)]
        row = b"".join(bytes([value]) * _BLOCK for value in values)
        doubled.append(row + row)
    dim = bytes(96 + value * 40 // 256 for value in range(256))
    for number in range(FPS * SECONDS):
        shift = number * _BLOCK % WIDTH
        plane = bytearray(
            b"".join(row[WIDTH - shift : 2 * WIDTH - shift] * _BLOCK for row in doubled)
        )
        top, left = number * 7 % (HEIGHT - _PATCH_H), number * 11 % (WIDTH - _PATCH_W)
        for line in range(top, top + _PATCH_H):
            at = line * WIDTH + left
            plane[at : at + _PATCH_W] = rng.randbytes(_PATCH_W).translate(dim)
        yield bytes(plane)


def _encoder(codec: str) -> VideoCodecContext:
    encoder = VideoCodecContext.create("libx264" if codec == "H264" else "libvpx", "w")
    encoder.width, encoder.height, encoder.pix_fmt = WIDTH, HEIGHT, "yuv420p"
    encoder.bit_rate = VIDEO_BPS
    encoder.time_base, encoder.framerate = Fraction(1, FPS), Fraction(FPS, 1)
    rate = str(VIDEO_BPS)
    encoder.options = {"g": str(KEY_EVERY), "minrate": rate, "maxrate": rate, "bufsize": rate} | (
        {
            "profile": "baseline",
            "level": "31",
            "preset": "veryfast",
            "tune": "zerolatency",
            "x264-params": f"nal-hrd=cbr:sliced-threads=0:threads=1:scenecut=0:keyint={KEY_EVERY}",
        }
        if codec == "H264"
        else {"deadline": "realtime", "cpu-used": "8", "rc_init_occupancy": "1000000"}
    )
    return encoder


def _encode_video(codec: str) -> Iterator[tuple[bool, bytes]]:
    encoder = _encoder(codec)
    frame = av.VideoFrame(WIDTH, HEIGHT, "yuv420p")
    for plane in frame.planes[1:]:
        plane.update(b"\x80" * plane.buffer_size)
    for number, picture in enumerate(_pictures()):
        luminance = frame.planes[0]
        gap = bytes(luminance.line_size - WIDTH)
        rows = (picture[at : at + WIDTH] + gap for at in range(0, len(picture), WIDTH))
        luminance.update(b"".join(rows))
        frame.pts, frame.time_base = number, Fraction(1, FPS)
        for packet in encoder.encode(frame):
            yield packet.is_keyframe, bytes(packet)
    for packet in encoder.encode(None):
        yield packet.is_keyframe, bytes(packet)


def _encode_audio() -> Iterator[bytes]:
    encoder = AudioCodecContext.create("libopus", "w")
    encoder.sample_rate, encoder.layout, encoder.format = 48_000, "stereo", "s16"
    encoder.bit_rate = AUDIO_BPS
    rng = random.Random(2)
    frame = av.AudioFrame("s16", "stereo", AUDIO_SAMPLES)
    frame.sample_rate = 48_000
    for number in range(SECONDS * 48_000 // AUDIO_SAMPLES):
        noise = rng.randbytes(frame.planes[0].buffer_size)
        # Noise at a sixteenth of full scale: every packet has about the same size.
        quiet = bytearray(noise)
        for at in range(1, len(quiet), 2):
            quiet[at] = (noise[at] & 0x0F) - 8 & 0xFF
        frame.planes[0].update(bytes(quiet))
        frame.pts = number * AUDIO_SAMPLES
        for packet in encoder.encode(frame):
            yield bytes(packet)
