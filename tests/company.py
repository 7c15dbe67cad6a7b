"""People in a session without a browser: each sends a small moving picture and a sound.

The sound tells its loudness as browsers do (RFC 6464), and the test says how loud it is. They take
no media: a dozen of them cost little more than what they send.
"""

from __future__ import annotations

import colorsys
import random
from collections.abc import Sequence
from fractions import Fraction
from functools import cache
from typing import Any

import av
from av.audio.codeccontext import AudioCodecContext
from av.video.codeccontext import VideoCodecContext

from bench.load import Publisher
from bench.media import AUDIO_SAMPLES, Frame, Media
from bench.packets import Tally
from server.agent.picture import Canvas
from server.agent.signalling import Signalling

WIDTH, HEIGHT, FPS = 320, 180, 10
PICTURES = 20
MAX_BODY = 1100
QUIET, SPEECH = 90, 30
"""In -dBov."""


@cache
def film(number: int, name: str) -> tuple[Frame, ...]:
    """Two seconds of somebody: a face of their own colour that nods."""
    encoder = VideoCodecContext.create("libvpx", "w")
    encoder.width, encoder.height, encoder.pix_fmt = WIDTH, HEIGHT, "yuv420p"
    encoder.bit_rate = 120_000
    encoder.time_base, encoder.framerate = Fraction(1, FPS), Fraction(FPS, 1)
    encoder.options = {"deadline": "realtime", "cpu-used": "8", "g": str(PICTURES)}
    canvas = Canvas(WIDTH, HEIGHT)
    red, _, blue = colorsys.hsv_to_rgb(number * 0.23 % 1, 0.3, 1)
    canvas.tint(110 + round(50 * (blue - 0.7)), 120 + round(50 * (red - 0.7)))
    packets = []
    for index in range(PICTURES):
        canvas.fill(0, 0, WIDTH, HEIGHT, 60 + 4 * number)
        _face(canvas, WIDTH // 2, 88 + 6 * (abs(index - PICTURES // 2) % 5))
        canvas.write(8, 8, name, 2, 235, 60 + 4 * number)
        frame = canvas.frame()
        frame.pts, frame.time_base = index, Fraction(1, FPS)
        packets += encoder.encode(frame)
    packets += encoder.encode(None)
    return tuple(Frame(packet.is_keyframe, _cut(bytes(packet))) for packet in packets)


def _face(canvas: Canvas, x: int, y: int) -> None:
    for line in range(-42, 43):
        half = round(32 * (1 - (line / 43) ** 2) ** 0.5)
        canvas.fill(x - half, y + line, 2 * half, 1, 175)
    for line in range(40):
        canvas.fill(x - 60 - line // 3, y + 52 + line, 120 + 2 * (line // 3), 1, 110)
    for eye in (-14, 10):
        canvas.fill(x + eye, y - 10, 6, 5, 50)
    canvas.fill(x - 10, y + 18, 20, 4, 90)


def _cut(frame: bytes) -> tuple[bytes, ...]:
    return tuple(frame[at : at + MAX_BODY] for at in range(0, len(frame), MAX_BODY))


@cache
def hum() -> tuple[Frame, ...]:
    """A second of quiet noise, as Opus."""
    encoder = AudioCodecContext.create("libopus", "w")
    encoder.sample_rate, encoder.layout, encoder.format = 48_000, "mono", "s16"
    encoder.bit_rate = 16_000
    rng, packets = random.Random(3), []
    for number in range(50):
        frame = av.AudioFrame("s16", "mono", AUDIO_SAMPLES)
        frame.sample_rate, frame.pts = 48_000, number * AUDIO_SAMPLES
        size = frame.planes[0].buffer_size
        frame.planes[0].update(bytes(rng.randrange(8) if n % 2 == 0 else 0 for n in range(size)))
        packets += encoder.encode(frame)
    return tuple(Frame(True, (bytes(packet),)) for packet in packets)


class Guest(Signalling):
    """One participant who sends camera and microphone, and takes nothing."""

    def __init__(self, url: str, token: str) -> None:
        super().__init__(url)
        self.use_token(token)
        self.offers = 0
        self.speakers: list[str | None] = []
        """Who was said to be speaking, newest last."""
        self._publisher: Publisher | None = None

    async def offered(self, offer: dict[str, Any]) -> None:
        """Leave it unanswered: nothing is sent then."""
        self.offers += 1

    async def _take(self, message: dict[str, Any]) -> None:
        if message["type"] == "speaker":
            self.speakers.append(message["participant_id"])
        await super()._take(message)

    async def enter(
        self, session_id: str, frames: Sequence[Frame], sources: Sequence[str]
    ) -> dict[str, str]:
        """Join and send; returns source -> track id."""
        await self.join(session_id)
        media = Media(tuple(frames), hum())
        publisher = self._publisher = Publisher(media, Tally(), sources, stamped=False)
        sdp = await publisher.offer()
        tracks = [{"mid": mid, "source": source} for source, mid in publisher.mids.items()]
        answer = await self.request("publish", peer="p1", sdp=sdp, tracks=tracks)
        rates = {source: float(FPS) for source in sources if source != "microphone"}
        await publisher.answered(answer["sdp"], random.Random(1), rates)
        self.hush()
        ids = {entry["mid"]: entry["track_id"] for entry in answer["tracks"]}
        return {source: ids[mid] for source, mid in publisher.mids.items()}

    def speak(self, level: int = SPEECH) -> None:
        """From now on the microphone tells this level, in -dBov."""
        assert self._publisher is not None
        self._publisher.tell_level(level)

    def hush(self) -> None:
        """Be quiet again."""
        self.speak(QUIET)

    async def go(self) -> None:
        """End everything."""
        if self._publisher is not None:
            await self._publisher.close()
        await self.leave()
