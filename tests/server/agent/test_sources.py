"""Encoded sources: every packet decodes, timestamps are capture times, flash and beep coincide."""

import asyncio
from array import array
from datetime import UTC, datetime
from fractions import Fraction

import av
import pytest
from aiortc import RTCPeerConnection
from aiortc.clock import datetime_to_ntp
from aiortc.mediastreams import MediaStreamError
from aiortc.rtp import RtcpSenderInfo, RtcpSrPacket

from server.agent.picture import ClockPicture
from server.agent.sources import (
    BEEP_SAMPLES,
    KEY_FRAME_EVERY,
    LATENCY_S,
    OPUS_LOOKAHEAD_SAMPLES,
    SoundEncoder,
    SoundSource,
    SourceClock,
    Tone,
    VideoEncoder,
    VideoSource,
)
from server.sfu import seam

DECODERS = {"H264": "h264", "VP8": "vp8"}


def encode_pictures(codec: str, count: int, key_at: int = -1) -> list[av.Packet]:
    picture, encoder = ClockPicture("Room", "camera"), VideoEncoder(codec, 1280, 720)
    now = datetime.now(UTC)
    return [encoder.encode(picture.frame(n, now), n, key=n == key_at) for n in range(count)]


def decode(name: str, packets: list[av.Packet]) -> list[av.VideoFrame]:
    decoder = av.CodecContext.create(name, "r")
    return [frame for packet in [*packets, None] for frame in decoder.decode(packet)]


@pytest.mark.parametrize("codec", ["H264", "VP8"])
def test_pictures_decode_with_their_capture_times(codec: str) -> None:
    packets = encode_pictures(codec, KEY_FRAME_EVERY + 5, key_at=20)
    assert [p.pts for p in packets] == [n * 3600 for n in range(len(packets))]
    keys = [n for n, packet in enumerate(packets) if packet.is_keyframe]
    assert keys[:2] == [0, 20]
    assert max(b - a for a, b in zip(keys, [*keys[1:], len(packets)], strict=True)) <= 50
    # A receiver may begin at any key frame.
    frames = decode(DECODERS[codec], packets[20:])
    assert [f.pts for f in frames] == [n * 3600 for n in range(20, len(packets))]
    rate = sum(p.size for p in packets) * 8 / (len(packets) / 25)
    assert rate < 2_000_000


def test_h264_is_what_the_session_description_says() -> None:
    packet = bytes(encode_pictures("H264", 1)[0])
    sps = packet.index(b"\x00\x00\x01\x67") + 3
    profile, constraints, level = packet[sps + 1 : sps + 4]
    assert (profile, constraints & 0xC0, level) == (66, 0xC0, 31)  # constrained baseline, 3.1
    assert b"\x00\x00\x01\x68" in packet
    assert b"\x00\x00\x01\x65" in packet


def test_opus_lookahead_is_what_the_encoder_says() -> None:
    encoder = av.CodecContext.create("libopus", "w")
    encoder.sample_rate, encoder.layout, encoder.format = 48000, "mono", "s16"
    encoder.options = {"application": "audio"}
    frame = av.AudioFrame("s16", "mono", 960)
    frame.sample_rate, frame.pts, frame.time_base = 48000, 0, Fraction(1, 48000)
    frame.planes[0].update(bytes(1920))
    assert encoder.encode(frame)[0].pts == -OPUS_LOOKAHEAD_SAMPLES


def test_flash_and_beep_coincide() -> None:
    frames = decode("h264", encode_pictures("H264", 55))
    levels = [sum(bytes(f.planes[0])[::997]) for f in frames]
    flashes = [
        frames[n].pts / 90000 for n in range(1, len(frames)) if levels[n] > levels[n - 1] * 1.1
    ]
    encoder, decoder = SoundEncoder(Tone()), av.CodecContext.create("libopus", "r")
    decoder.sample_rate, decoder.format, decoder.layout = 48000, "s16", "mono"
    samples = array("h")
    for packet in encoder.encode_some(0, 110):
        for frame in decoder.decode(packet):
            samples.frombytes(bytes(frame.planes[0])[: frame.samples * 2])
    # The decoder may leave out what the encoder added in front; packets say when they are.
    shift = 110 * 960 - len(samples)
    loud = [(n + shift) / 48000 for n, value in enumerate(samples) if value > 3000]
    beeps = [t for before, t in zip([-1.0, *loud], loud, strict=False) if t - before > 0.2]
    assert flashes == [1.0, 2.0]
    beeps = [t for t in beeps if t > 0.5]
    assert len(beeps) == 2
    for flash, beep in zip(flashes, beeps, strict=True):
        assert abs(beep - flash) < 0.002
    assert BEEP_SAMPLES == 1920


async def test_released_at_capture_time_plus_one_latency_for_all() -> None:
    clock = SourceClock()
    video = VideoSource(clock, ClockPicture("Room", "camera"), "H264")
    sound = SoundSource(clock, Tone())

    async def lateness(source: VideoSource | SoundSource, count: int) -> list[float]:
        found = []
        for _ in range(count):
            packet = await asyncio.wait_for(source.recv(), 5)
            captured_s = float(packet.pts * packet.time_base)
            found.append(clock.now_s() - captured_s - LATENCY_S)
        return found

    of_video, of_sound = await asyncio.gather(lateness(video, 20), lateness(sound, 40))
    # Never before it is due; how much later is the scheduler's business.
    assert min(of_video) > -0.002
    assert min(of_sound) > -0.002
    video.stop()
    sound.stop()
    with pytest.raises(MediaStreamError):
        await video.recv()


async def test_a_sender_report_tells_when_a_packet_was_due() -> None:
    clock = SourceClock()
    source = SoundSource(clock, Tone())
    sender = RTCPeerConnection().addTransceiver(source).sender
    sent: list[RtcpSrPacket] = []

    async def keep(packets: list[RtcpSrPacket]) -> None:
        sent.extend(packets)

    sender._send_rtcp = keep
    seam.stamp_sender_reports(sender, source.newest_ntp)
    packet = await source.recv()
    await asyncio.sleep(0.05)  # however late the report is made
    before, after = RtcpSenderInfo(0, 0, 0, 0), RtcpSenderInfo(12345, 0, 1, 100)
    await sender._send_rtcp([RtcpSrPacket(1, before), RtcpSrPacket(1, after)])
    assert [report.sender_info.ntp_timestamp for report in sent] == [
        0,  # nothing was sent, nothing is claimed
        datetime_to_ntp(clock.wall(packet.pts / 48000 + LATENCY_S)),
    ]
    source.stop()


@pytest.mark.parametrize("codec", ["H264", "VP8"])
async def test_a_key_frame_comes_when_asked_for(codec: str) -> None:
    source = VideoSource(SourceClock(), ClockPicture("Room", "camera"), codec)
    assert (await source.recv()).is_keyframe
    for _ in range(5):
        assert not (await source.recv()).is_keyframe
    source.want_key_frame()
    assert any([(await source.recv()).is_keyframe for _ in range(8)])
    source.stop()


async def test_a_picture_that_fails_ends_its_source() -> None:
    class Failing(ClockPicture):
        closed = False

        def frame(self, index: int, captured: datetime) -> av.VideoFrame:
            raise ValueError("out of pictures")

        def close(self) -> None:
            self.closed = True

    picture = Failing("Room", "camera")
    source = VideoSource(SourceClock(), picture)
    with pytest.raises(MediaStreamError):
        await asyncio.wait_for(source.recv(), 5)
    assert source.readyState == "ended"
    async with asyncio.timeout(5):
        while not picture.closed:
            await asyncio.sleep(0.01)


async def test_what_nobody_took_while_the_line_was_cut_is_left_out() -> None:
    """After 2.5 s without a connection neither source sends what is older than a second."""
    clock = SourceClock()
    sources = [
        VideoSource(clock, ClockPicture("Room", "camera", 160, 96)),
        SoundSource(clock, Tone()),
    ]
    try:
        for source in sources:
            for _ in range(3):
                await source.recv()
        await asyncio.sleep(2.5)
        for source in sources:
            packet = await source.recv()
            assert packet.pts is not None and packet.time_base is not None
            assert clock.now_s() - packet.pts * packet.time_base < LATENCY_S + 1.1
            # From here on it is in time again, not a burst of what was made meanwhile.
            late = [await source.recv() for _ in range(80 if source.kind == "audio" else 5)]
            assert clock.now_s() - late[-1].pts * late[-1].time_base < LATENCY_S + 0.3
    finally:
        for source in sources:
            source.stop()
