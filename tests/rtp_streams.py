"""RTP streams of real encoders for tests of the recorder: PyAV encodes, aiortc's code packetises.

Times are those of a session clock in microseconds. Nothing here is random: a stream is a function
of its arguments.
"""

from __future__ import annotations

import math
import struct
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from fractions import Fraction
from functools import cache

import av
from aiortc.codecs.h264 import H264Encoder
from aiortc.codecs.vpx import VpxPayloadDescriptor

from recorder import wire

NTP_EPOCH_US = 3_900_000_000_000_000
"""What a sender's clock shows when the session clock is 0, in microseconds."""

MTU = 1200


@dataclass(frozen=True)
class Packet:
    """A packet with the time at which it arrives."""

    arrival_us: int
    data: bytes

    @property
    def seq(self) -> int:
        return int.from_bytes(self.data[2:4], "big")


@dataclass
class Stream:
    """All packets of one SSRC in order, and how to make sender reports for it."""

    ssrc: int
    hz: int
    first_timestamp: int
    packets: list[Packet] = field(default_factory=list)

    def report(self, n: int, index: int, at_us: int) -> wire.SenderReportInput:
        """The report that a sender with a perfect clock sends at ``at_us``."""
        ntp = ((NTP_EPOCH_US + at_us) << 32) // 1_000_000
        rtp = (self.first_timestamp + at_us * self.hz // 1_000_000) & 0xFFFFFFFF
        return wire.SenderReportInput(n, at_us, index, ntp, rtp)


def rtp(seq: int, timestamp: int, ssrc: int, payload: bytes, *, marker: bool = False) -> bytes:
    """A plain RTP packet."""
    head = struct.pack(
        "!BBHII", 0x80, 0x80 * marker | 96, seq & 0xFFFF, timestamp & 0xFFFFFFFF, ssrc
    )
    return head + payload


@cache
def pictures(
    codec: str, frames: int, key_every: int, width: int, height: int, fps: int = 30
) -> tuple[bytes, ...]:
    """Encoded pictures (Annex B for H.264) of a moving gradient, a key frame every so many."""
    name = {"H264": "libx264", "VP8": "libvpx"}[codec]
    encoder = av.CodecContext.create(name, "w")
    encoder.width, encoder.height, encoder.pix_fmt = width, height, "yuv420p"
    encoder.time_base, encoder.framerate = Fraction(1, fps), Fraction(fps)
    encoder.bit_rate = 600_000
    encoder.gop_size = key_every
    if codec == "H264":
        encoder.options = {
            "preset": "ultrafast", "tune": "zerolatency", "profile": "baseline",
            "x264-params": f"scenecut=0:keyint={key_every}:min-keyint={key_every}",
        }  # fmt: skip
    else:
        encoder.options = {"deadline": "realtime", "cpu-used": "8", "lag-in-frames": "0"}
    made: list[bytes] = []
    ramp = bytes(range(256)) * (2 + (width + height) // 256)
    for index in range(frames):
        frame = av.VideoFrame(width, height, "yuv420p")
        luma, *chroma = frame.planes
        rows = (ramp[(index * 5 + row) % 256 :][: luma.line_size] for row in range(height))
        luma.update(b"".join(rows))
        for plane in chroma:
            plane.update(bytes([128]) * plane.buffer_size)
        frame.pts = index
        if index % key_every == 0:
            frame.pict_type = av.video.frame.PictureType.I
        made += [bytes(packet) for packet in encoder.encode(frame)]
    made += [bytes(packet) for packet in encoder.encode(None)]
    assert len(made) == frames
    return tuple(made)


@cache
def sounds(packets: int, hertz: int = 440) -> tuple[bytes, ...]:
    """Opus packets of 20 ms of a tone."""
    encoder = av.CodecContext.create("libopus", "w")
    encoder.sample_rate, encoder.layout, encoder.format = 48000, "stereo", "s16"
    encoder.bit_rate = 32000
    made: list[bytes] = []
    for index in range(packets + 1):
        frame = av.AudioFrame(format="s16", layout="stereo", samples=960)
        tone = (
            round(8000 * math.sin((index * 960 + at) * 2 * math.pi * hertz / 48000))
            for at in range(960)
        )
        frame.planes[0].update(b"".join(struct.pack("<hh", level, level) for level in tone))
        frame.sample_rate, frame.pts = 48000, index * 960
        made += [bytes(packet) for packet in encoder.encode(frame)]
    return tuple(made[:packets])


def payloads(codec: str, picture: bytes, picture_id: int) -> list[bytes]:
    """One picture as RTP payloads."""
    if codec == "H264":
        return list(H264Encoder._packetize(H264Encoder._split_bitstream(picture)))
    descriptor = VpxPayloadDescriptor(
        partition_start=1, partition_id=0, picture_id=picture_id & 0x7FFF
    )
    made = []
    while picture:
        head = bytes(descriptor)
        size = MTU - len(head)
        made.append(head + picture[:size])
        picture = picture[size:]
        descriptor.partition_start = 0
    return made


def picture_stream(
    codec: str,
    encoded: Sequence[bytes],
    *,
    ssrc: int = 0x1111,
    first_seq: int = 65500,
    first_timestamp: int = 0xFFFF0000,
    start_us: int = 100_000,
    step_us: int = 33_333,
    delay_us: int = 20_000,
) -> Stream:
    """Pictures ``step_us`` apart from ``start_us`` on, each arriving ``delay_us`` later."""
    stream = Stream(ssrc, 90_000, first_timestamp)
    seq = first_seq
    for index, picture in enumerate(encoded):
        at_us = start_us + index * step_us
        parts = payloads(codec, picture, index)
        for part, payload in enumerate(parts):
            marker = part == len(parts) - 1
            timestamp = first_timestamp + at_us * 9 // 100
            packet = rtp(seq, timestamp, ssrc, payload, marker=marker)
            stream.packets.append(Packet(at_us + delay_us + part * 50, packet))
            seq += 1
    return stream


def sound_stream(
    encoded: Sequence[bytes],
    *,
    ssrc: int = 0x2222,
    first_seq: int = 65000,
    first_timestamp: int = 0xFFFFF000,
    start_us: int = 100_000,
    delay_us: int = 20_000,
) -> Stream:
    """Packets of 20 ms from ``start_us`` on, each arriving ``delay_us`` after its last sample."""
    stream = Stream(ssrc, 48_000, first_timestamp)
    for index, payload in enumerate(encoded):
        at_us = start_us + index * 20_000
        timestamp = first_timestamp + at_us * 48 // 1000
        packet = rtp(first_seq + index, timestamp, ssrc, payload)
        stream.packets.append(Packet(at_us + 20_000 + delay_us, packet))
    return stream


def binding(
    index: int, track_id: str, codec: str, ssrc: int, arrival_us: int = 0
) -> wire.TrackInput:
    """The input that introduces a track; its ``n`` is set by :func:`numbered`."""
    source = {"cam": "camera", "mic": "microphone", "evidence": "evidence_display"}
    return wire.TrackInput(
        n=0,
        arrival_us=arrival_us,
        track_index=index,
        track_id=track_id,
        source=source[track_id.partition("-")[0]],
        codec=codec,
        clock_hz=48_000 if codec == "opus" else 90_000,
        ssrc=ssrc,
        participant_id="p-1",
        site_id="site-1",
        label="Bureau",
    )


def event(kind: str, t_us: int, **fields: object) -> wire.EventInput:
    """A room event; its ``n`` is set by :func:`numbered`."""
    record = {"type": kind, "wall": "2026-11-23T14:05:07.123Z", "t_us": t_us, **fields}
    return wire.EventInput(0, t_us, record)


def ticks(until_us: int) -> Iterator[wire.TickInput]:
    """One tick each 250 ms."""
    return (wire.TickInput(0, at_us) for at_us in range(0, until_us, 250_000))


def packets_of(stream: Stream, index: int) -> Iterator[wire.RtpInput]:
    """The packets of a stream as inputs."""
    return (wire.RtpInput(0, p.arrival_us, index, p.data) for p in stream.packets)


def numbered(*inputs: wire.Input | Iterator[wire.Input]) -> list[wire.Input]:
    """All inputs in the order of their arrival, numbered from 1; bindings come first at a time."""
    every: list[wire.Input] = []
    for one in inputs:
        every += [one] if isinstance(one, tuple) else list(one)
    ranks = {wire.TrackInput: 0, wire.CloseInput: 2}
    every.sort(key=lambda one: (one.arrival_us, ranks.get(type(one), 1)))
    return [one._replace(n=n) for n, one in enumerate(every, 1)]
