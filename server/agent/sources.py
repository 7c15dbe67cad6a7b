"""Media sources of a headless terminal: pictures and sound, encoded in real time on one clock.

Frame ``n`` of a picture is captured at clock time n/25 s and packet ``m`` of sound at m/50 s, for
every source of the terminal, and each leaves :data:`LATENCY_S` after its capture. That latency is
one constant, and sender reports tell when a packet was due instead of when a busy machine came to
send it, so they map sound and picture alike. Encoding runs a little ahead of the release, in a
thread for each source. What would be later than its release is left out, as a camera would.

Before this: :mod:`server.agent.picture`, :mod:`server.agent.film`. After: aiortc's
``RTCRtpSender``, which packetizes ``av.Packet`` as it is and encodes nothing.
"""

from __future__ import annotations

import asyncio
import contextlib
import logging
import math
import random
import time
from array import array
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from datetime import UTC, datetime, timedelta
from fractions import Fraction
from typing import Any, Protocol

import av
from aiortc import MediaStreamTrack
from aiortc.clock import datetime_to_ntp
from aiortc.mediastreams import MediaStreamError
from av.audio.codeccontext import AudioCodecContext
from av.video.codeccontext import VideoCodecContext
from av.video.frame import PictureType

from server.agent.film import SAMPLES_PER_SECOND
from server.agent.picture import FRAMES_PER_SECOND, Picture

logger = logging.getLogger(__name__)

LATENCY_S = 0.16
"""From capture to release, the same for sound and picture of every source."""

STALE_S = 1.0
"""What nobody took for so long after its release is left out: the line was cut meanwhile."""

VIDEO_CLOCK_HZ = 90000
VIDEO_BITS_PER_SECOND = 1_200_000
KEY_FRAME_EVERY = 2 * FRAMES_PER_SECOND
SOUND_BITS_PER_SECOND = 48_000
PACKET_SAMPLES = 960
"""Samples in one Opus packet: 20 ms at 48 kHz."""
PACKETS_PER_SECOND = SAMPLES_PER_SECOND // PACKET_SAMPLES

OPUS_LOOKAHEAD_SAMPLES = 312
"""By how much libopus delays sound; content is encoded earlier by it and so decodes on time."""

BEEP_HZ = 1000
BEEP_SAMPLES = SAMPLES_PER_SECOND * 40 // 1000
_BEEP_LEVEL, _NOISE_LEVEL = 12000, 40

_TICKS_PER_FRAME = VIDEO_CLOCK_HZ // FRAMES_PER_SECOND
_AHEAD_PACKETS = 3
"""Encoded video that may wait for its release; more would delay a key frame that is asked for."""

_LONGEST_MAKING_S = 0.75 * LATENCY_S
"""A frame is left out when it could not be ready in time; what takes longer than this is tried."""

_SOUND_BATCH = 10
"""Sound packets encoded in one go, 200 ms: nothing can be asked of sound, so it is made early."""


class SourceClock:
    """The capture clock of one terminal: starts at the last whole second of wall time.

    So flash and beep fall on whole seconds of wall time. It goes on by the monotonic clock; a step
    of the wall clock does not move it.
    """

    def __init__(self) -> None:
        wall, self._start_s = datetime.now(UTC), time.monotonic()
        self._start_s -= wall.microsecond / 1e6
        self._wall = wall.replace(microsecond=0)

    def now_s(self) -> float:
        """Seconds since the clock started."""
        return time.monotonic() - self._start_s

    def wall(self, at_s: float) -> datetime:
        """Wall time (aware UTC) of a clock time."""
        return self._wall + timedelta(seconds=at_s)


class Sound(Protocol):
    """Something that has samples (s16, mono, 48 kHz) for each time of the clock."""

    def read(self, start: int, count: int) -> bytes:
        """``count`` samples from sample ``start``, which never goes back. Blocks."""
        ...

    def close(self) -> None:
        """Free files and decoders."""
        ...


class Tone:
    """A beep of 1 kHz and 40 ms at each whole second of the clock, on low noise."""

    def __init__(self) -> None:
        draw = random.Random(1)  # noqa: S311
        samples = array("h", (draw.randrange(-_NOISE_LEVEL, _NOISE_LEVEL + 1)
                              for _ in range(SAMPLES_PER_SECOND)))  # fmt: skip
        step = 2 * math.pi * BEEP_HZ / SAMPLES_PER_SECOND
        for n in range(BEEP_SAMPLES):
            samples[n] = round(_BEEP_LEVEL * math.sin(step * n))
        self._second = samples.tobytes()

    def read(self, start: int, count: int) -> bytes:
        """The samples from ``start``."""
        at = start % SAMPLES_PER_SECOND
        loops = (at + count) // SAMPLES_PER_SECOND + 1
        return (self._second * loops)[at * 2 : (at + count) * 2]

    def close(self) -> None:
        """Nothing is open."""


class VideoEncoder:
    """H.264 (constrained baseline, level 3.1) or VP8, without delay: one packet for each frame."""

    def __init__(self, codec: str, width: int, height: int) -> None:
        """``codec`` is ``H264`` or ``VP8``."""
        context = av.CodecContext.create("libx264" if codec == "H264" else "libvpx", "w")
        assert isinstance(context, VideoCodecContext)
        context.width, context.height, context.pix_fmt = width, height, "yuv420p"
        context.framerate = Fraction(FRAMES_PER_SECOND)
        context.time_base = Fraction(1, VIDEO_CLOCK_HZ)
        context.bit_rate = VIDEO_BITS_PER_SECOND
        context.gop_size = KEY_FRAME_EVERY
        context.thread_count = 1
        if codec == "H264":
            context.profile = "Baseline"
            context.options = {
                "preset": "ultrafast",
                "tune": "zerolatency",
                "level": "3.1",
                "forced-idr": "1",
                # Repeated SPS and PPS: a receiver can begin at any key frame. The rate is capped,
                # so that a key frame is no burst that a receive buffer cannot take.
                "x264-params": f"keyint={KEY_FRAME_EVERY}:min-keyint=1:scenecut=0:repeat-headers=1:"
                "bframes=0:sliced-threads=0:"
                f"vbv-maxrate={VIDEO_BITS_PER_SECOND * 5 // 4000}:"
                f"vbv-bufsize={VIDEO_BITS_PER_SECOND // 2000}",
            }
        else:
            context.qmin, context.qmax = 4, 56
            context.options = {
                "deadline": "realtime",
                "cpu-used": "-8",
                "lag-in-frames": "0",
                "auto-alt-ref": "0",
                "minrate": str(VIDEO_BITS_PER_SECOND),
                "maxrate": str(VIDEO_BITS_PER_SECOND),
                "bufsize": str(VIDEO_BITS_PER_SECOND),
                "undershoot-pct": "100",
                "overshoot-pct": "15",
                "static-thresh": "100",
            }
        self._context = context

    def encode(self, frame: av.VideoFrame, index: int, *, key: bool) -> av.Packet[Any]:
        """The packet of frame ``index``; a key frame when asked, else every two seconds."""
        frame.pts, frame.time_base = index * _TICKS_PER_FRAME, Fraction(1, VIDEO_CLOCK_HZ)
        frame.pict_type = PictureType.I if key else PictureType.NONE
        (encoded,) = self._context.encode(frame)
        return _packet(encoded, index * _TICKS_PER_FRAME, VIDEO_CLOCK_HZ)


class SoundEncoder:
    """Opus, 48 kHz, mono, 20 ms a packet, of a :class:`Sound`."""

    def __init__(self, sound: Sound) -> None:
        context = av.CodecContext.create("libopus", "w")
        assert isinstance(context, AudioCodecContext)
        context.sample_rate, context.layout, context.format = SAMPLES_PER_SECOND, "mono", "s16"
        context.bit_rate = SOUND_BITS_PER_SECOND
        context.time_base = Fraction(1, SAMPLES_PER_SECOND)
        context.options = {"application": "audio", "compression_level": "5"}
        self._context = context
        self._sound = sound

    def encode(self, index: int) -> av.Packet[Any]:
        """The packet that decodes to the samples from clock time ``index`` / 50 s."""
        start = index * PACKET_SAMPLES
        frame = av.AudioFrame("s16", "mono", PACKET_SAMPLES)
        frame.sample_rate, frame.pts = SAMPLES_PER_SECOND, start
        frame.time_base = Fraction(1, SAMPLES_PER_SECOND)
        frame.planes[0].update(self._sound.read(start + OPUS_LOOKAHEAD_SAMPLES, PACKET_SAMPLES))
        (encoded,) = self._context.encode(frame)
        return _packet(encoded, start, SAMPLES_PER_SECOND)

    def encode_some(self, first: int, count: int) -> list[av.Packet[Any]]:
        """``count`` packets from number ``first``."""
        return [self.encode(index) for index in range(first, first + count)]


def _packet(encoded: av.Packet[Any], pts: int, clock_hz: int) -> av.Packet[Any]:
    encoded.pts = encoded.dts = pts
    encoded.time_base = Fraction(1, clock_hz)
    return encoded


class PacedTrack(MediaStreamTrack):
    """Packets made ahead by a thread, released each at its capture time plus the latency."""

    def __init__(self, clock: SourceClock, ahead: int, free: Callable[[], None]) -> None:
        super().__init__()
        self._clock = clock
        self._ready: asyncio.Queue[tuple[float, av.Packet[Any] | None]] = asyncio.Queue(ahead)
        self._thread = ThreadPoolExecutor(max_workers=1, thread_name_prefix=f"source-{self.kind}")
        self._free = free
        self._maker: asyncio.Task[None] | None = None
        self._released_s = 0.0

    async def recv(self) -> av.Packet[Any]:
        """The next packet, when it is due. Raises MediaStreamError when the source has ended."""
        if self.readyState != "live":
            raise MediaStreamError
        if self._maker is None:
            self._maker = asyncio.create_task(self._make())
            self._maker.add_done_callback(self._made)
        while True:
            captured_s, packet = await self._ready.get()
            if packet is None:
                raise MediaStreamError
            if self._clock.now_s() - captured_s < LATENCY_S + STALE_S:
                break
        await asyncio.sleep(captured_s + LATENCY_S - self._clock.now_s())
        self._released_s = captured_s + LATENCY_S
        return packet

    def newest_ntp(self) -> int:
        """When the newest packet was due, in NTP format: what a sender report has to say."""
        return datetime_to_ntp(self._clock.wall(self._released_s))

    async def _make(self) -> None:
        raise NotImplementedError

    def _made(self, maker: asyncio.Task[None]) -> None:
        """The maker has ended: free what it read from, and let a waiting :meth:`recv` end."""
        if not maker.cancelled() and (error := maker.exception()) is not None:
            logger.error("a %s source has ended: %s", self.kind, error, exc_info=error)
        self._release()
        while not self._ready.empty():
            self._ready.get_nowait()
        self._ready.put_nowait((0.0, None))
        super().stop()

    def _release(self) -> None:
        """Free the files in the thread that reads them, after what it does now."""
        with contextlib.suppress(RuntimeError):  # raised when it was shut down before
            self._thread.submit(self._free)
        self._thread.shutdown(wait=False)

    def stop(self) -> None:
        """End the source: no more packets; its thread ends after what it does now."""
        super().stop()
        if self._maker is not None:
            self._maker.cancel()
        else:
            self._release()


class VideoSource(PacedTrack):
    """A picture as a track for ``RTCPeerConnection.addTransceiver``, encoded as ``codec``."""

    kind = "video"

    def __init__(self, clock: SourceClock, picture: Picture, codec: str = "H264") -> None:
        super().__init__(clock, _AHEAD_PACKETS, picture.close)
        self.codec = codec
        """``H264`` or ``VP8``; may be set until the first packet is taken."""
        self._picture = picture
        self._key_wanted = True

    def want_key_frame(self) -> None:
        """Make the next frame a key frame. Call it from the event loop."""
        self._key_wanted = True

    async def _make(self) -> None:
        loop = asyncio.get_running_loop()
        encoder = VideoEncoder(self.codec, self._picture.width, self._picture.height)
        index = math.ceil(self._clock.now_s() * FRAMES_PER_SECOND)
        making_s = 0.0
        while True:
            captured_s = index / FRAMES_PER_SECOND
            await asyncio.sleep(captured_s - self._clock.now_s())
            begun_s = self._clock.now_s()
            late_s = begun_s + making_s - captured_s - LATENCY_S
            if late_s > 0:
                index += math.ceil(late_s * FRAMES_PER_SECOND)
                continue
            key, self._key_wanted = self._key_wanted, False
            packet = await loop.run_in_executor(self._thread, self._encode, encoder, index, key)
            taken_s = self._clock.now_s() - begun_s
            making_s = min(making_s + (taken_s - making_s) / 4, _LONGEST_MAKING_S)
            await self._ready.put((captured_s, packet))
            index += 1

    def _encode(self, encoder: VideoEncoder, index: int, key: bool) -> av.Packet[Any]:
        frame = self._picture.frame(index, self._clock.wall(index / FRAMES_PER_SECOND))
        return encoder.encode(frame, index, key=key)


class SoundSource(PacedTrack):
    """A sound as a track for ``RTCPeerConnection.addTransceiver``, encoded as Opus."""

    kind = "audio"

    def __init__(self, clock: SourceClock, sound: Sound) -> None:
        super().__init__(clock, 2 * _SOUND_BATCH, sound.close)
        self._sound = sound

    async def _make(self) -> None:
        loop = asyncio.get_running_loop()
        encoder = SoundEncoder(self._sound)
        index = math.ceil(self._clock.now_s() * PACKETS_PER_SECOND)
        while True:
            batch = await loop.run_in_executor(
                self._thread, encoder.encode_some, index, _SOUND_BATCH
            )
            for n, packet in enumerate(batch, index):
                await self._ready.put((n / PACKETS_PER_SECOND, packet))
            late = math.floor((self._clock.now_s() - STALE_S) * PACKETS_PER_SECOND)
            index = max(index + _SOUND_BATCH, late)
