"""Pictures and sound from a media file, in a loop, on the clock of the terminal that plays it.

A film is anything that PyAV opens and that has a picture: a clip, a recording, a still image. The
picture is fitted into 1280 x 720 keeping its aspect and is resampled to 25 frames a second by
repeating or leaving out frames; sound becomes 48 kHz mono. Picture and sound are read by two
readers of their own and stay together because both take their position in the file from the clock
alone. Next on the way: :mod:`server.agent.sources`.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from datetime import datetime
from fractions import Fraction
from pathlib import Path

import av
import av.filter
from av.container import InputContainer
from av.video.reformatter import Interpolation

from rooms.errors import MediaFileBroken, MediaFileMissing
from server.agent.picture import FRAMES_PER_SECOND

MAX_WIDTH, MAX_HEIGHT = 1280, 720
SAMPLES_PER_SECOND = 48000
_SAMPLES_PER_FRAME = SAMPLES_PER_SECOND // FRAMES_PER_SECOND

MAX_STEPS = 20
"""A film of more than 500 pictures a second is shown slower."""

_GAP_SAMPLES = SAMPLES_PER_SECOND // 20
"""A hole in the file's sound longer than this is filled with silence; shorter ones are rounding."""


@dataclass(frozen=True, slots=True)
class Film:
    """What is known of a media file that was checked: see :func:`check`."""

    path: Path
    width: int
    height: int
    frames: int
    """Length of one pass, in frames of 1/25 s."""
    has_sound: bool


def check(path: Path) -> Film:
    """Open the file, decode its first picture, and measure it.

    Raises MediaFileMissing when there is no such file, MediaFileBroken when PyAV cannot open it,
    when it has no picture, or when its first picture does not decode. Blocks.
    """
    if not path.is_file():
        raise MediaFileMissing(f"no such media file: {path}")
    try:
        with av.open(str(path)) as container:
            if not container.streams.video:
                raise MediaFileBroken(f"the media file has no picture: {path}")
            first = next(container.decode(video=0), None)
            if first is None:
                raise MediaFileBroken(f"the media file has no picture that decodes: {path}")
            width, height = _fitted(first, container.streams.video[0].sample_aspect_ratio)
        return Film(path, width, height, _length(path), _sounds(path))
    except (av.FFmpegError, OSError, ValueError) as error:
        raise MediaFileBroken(f"the media file does not open: {path}: {error}") from error


def _fitted(frame: av.VideoFrame, pixel_aspect: Fraction | None) -> tuple[int, int]:
    """Width and height to show a frame with: square pixels, upright, even, never larger."""
    aspect = pixel_aspect or Fraction(1)
    width, height = frame.width * aspect, Fraction(frame.height)
    if _turned(frame):
        width, height = height, width
    scale = min(Fraction(1), MAX_WIDTH / width, MAX_HEIGHT / height)
    return max(2, int(width * scale) & ~1), max(2, int(height * scale) & ~1)


def _turned(frame: av.VideoFrame) -> bool:
    return frame.rotation % 180 != 0


def _length(path: Path) -> int:
    """Length in frames, from the file's header, or else by reading all of it."""
    with av.open(str(path)) as container:
        if container.duration is not None:
            seconds = Fraction(container.duration, av.time_base)
        else:
            stream = container.streams.video[0]
            base = stream.time_base or Fraction(1, 1000)
            first, last = None, 0
            for packet in container.demux(stream):
                if packet.pts is not None:
                    first = packet.pts if first is None else min(first, packet.pts)
                    last = max(last, packet.pts + (packet.duration or 0))
            seconds = (last - (first or 0)) * base
    return max(1, round(seconds * FRAMES_PER_SECOND))


def _sounds(path: Path) -> bool:
    with av.open(str(path)) as container:
        if not container.streams.audio:
            return False
        try:
            return next(container.decode(audio=0), None) is not None
        except av.FFmpegError:
            return False


def _origin_s(container: InputContainer) -> float:
    """Where the file begins, in seconds of its own time; the same for its picture and its sound."""
    return (container.start_time or 0) / av.time_base


class FilmPicture:
    """The picture of a film, as :class:`server.agent.picture.Picture`."""

    def __init__(self, film: Film) -> None:
        self.width, self.height = film.width, film.height
        self._film = film
        self._container: InputContainer | None = None
        self._frames: Iterator[av.VideoFrame] = iter(())
        self._shown: av.VideoFrame | None = None
        self._waiting: av.VideoFrame | None = None
        self._position = -1
        self._steps = 0
        """Most frames decoded for one: a machine that is too slow shows the film slower."""
        self._origin_s = 0.0
        self._turn: tuple[int, int, av.filter.Graph] | None = None
        self._fitted: tuple[av.VideoFrame, av.VideoFrame] | None = None

    def frame(self, index: int, captured: datetime) -> av.VideoFrame:
        """The file's picture at ``index`` / 25 s, modulo the length of the file."""
        position = index % self._film.frames
        if self._container is None or position < self._position:
            self._rewind()
        self._position = position
        due_s = position / FRAMES_PER_SECOND + self._origin_s + 0.001
        steps = self._steps if self._shown is not None else self._film.frames * MAX_STEPS
        for _ in range(steps):
            if self._waiting is None or (
                self._shown is not None and (self._waiting.time or 0.0) > due_s
            ):
                break
            self._shown = self._waiting
            self._waiting = self._next()
        if self._shown is None:
            raise MediaFileBroken(f"the media file stopped decoding: {self._film.path}")
        return self._fit(self._shown)

    def _rewind(self) -> None:
        self.close()
        self._container = av.open(str(self._film.path))
        stream = self._container.streams.video[0]
        stream.thread_type = "AUTO"
        stream.codec_context.thread_count = 2
        rate = stream.average_rate or FRAMES_PER_SECOND
        self._steps = min(round(rate / FRAMES_PER_SECOND) + 1, MAX_STEPS)
        self._origin_s = _origin_s(self._container)
        self._frames = self._container.decode(stream)
        self._waiting = self._next()
        if self._waiting is not None:
            self._shown = None

    def _next(self) -> av.VideoFrame | None:
        try:
            return next(self._frames, None)
        except av.FFmpegError:
            return None  # a damaged end: the last good picture stays until the next pass

    def _fit(self, frame: av.VideoFrame) -> av.VideoFrame:
        if self._fitted is None or self._fitted[0] is not frame:
            upright = self._upright(frame) if frame.rotation % 360 else frame
            self._fitted = (
                frame,
                upright.reformat(
                    self.width, self.height, "yuv420p", interpolation=Interpolation.AREA
                ),
            )
        return self._fitted[1]

    def _upright(self, frame: av.VideoFrame) -> av.VideoFrame:
        """Turn a picture that the file says was taken with the camera on its side."""
        if self._turn is None or self._turn[:2] != (frame.width, frame.height):
            steps = {90: [("transpose", "cclock")], 270: [("transpose", "clock")]}.get(
                frame.rotation % 360, [("hflip", ""), ("vflip", "")]
            )
            graph = av.filter.Graph()
            source = graph.add_buffer(
                width=frame.width,
                height=frame.height,
                format=frame.format,
                time_base=Fraction(1, 1000),
            )
            turns = [graph.add(name, arguments) for name, arguments in steps]
            graph.link_nodes(source, *turns, graph.add("buffersink")).configure()
            self._turn = (frame.width, frame.height, graph)
        graph = self._turn[2]
        graph.push(frame)
        turned = graph.pull()
        assert isinstance(turned, av.VideoFrame)
        return turned

    def close(self) -> None:
        """Close the file; the picture that is shown stays."""
        if self._container is not None:
            self._container.close()
            self._container = None
        self._waiting = None


class FilmSound:
    """The sound of a film, as :class:`server.agent.sources.Sound`."""

    def __init__(self, film: Film) -> None:
        self._film = film
        self._container: InputContainer | None = None
        self._pass_samples = film.frames * _SAMPLES_PER_FRAME
        self._chunks: Iterator[bytes] = iter(())
        self._buffer = bytearray()
        self._read_to = 0

    def read(self, start: int, count: int) -> bytes:
        """``count`` samples (s16, mono, 48 kHz) from sample ``start``, which never goes back."""
        out = bytearray()
        while len(out) < count * 2:
            at = (start + len(out) // 2) % self._pass_samples
            wanted = min(count - len(out) // 2, self._pass_samples - at)
            out += self._take(at, wanted)
        return bytes(out)

    def _take(self, at: int, count: int) -> bytes:
        if self._container is None or at < self._read_to:
            self._rewind()
        end = (at + count - self._read_to) * 2
        while len(self._buffer) < end:
            chunk = next(self._chunks, None)
            # Silence where the sound is shorter than the picture.
            self._buffer += bytes(end - len(self._buffer)) if chunk is None else chunk
        taken = bytes(self._buffer[end - count * 2 : end])
        del self._buffer[:end]
        self._read_to = at + count
        return taken

    def _rewind(self) -> None:
        self.close()
        self._container = av.open(str(self._film.path))
        self._chunks = _samples(self._container)
        self._buffer.clear()
        self._read_to = 0

    def close(self) -> None:
        """Close the file."""
        if self._container is not None:
            self._container.close()
            self._container = None


def _samples(container: InputContainer) -> Iterator[bytes]:
    """The container's first sound as s16 mono, holes filled, beginning where the file begins."""
    resampler = av.AudioResampler(format="s16", layout="mono", rate=SAMPLES_PER_SECOND)
    origin_s = _origin_s(container)
    written = 0
    try:
        for frame in container.decode(audio=0):
            at = round(((frame.time or 0.0) - origin_s) * SAMPLES_PER_SECOND)
            if at - written > _GAP_SAMPLES:
                yield bytes((at - written) * 2)
                written = at
            for part in resampler.resample(frame):
                written += part.samples
                yield bytes(part.planes[0])[: part.samples * 2]
    except av.FFmpegError:
        return  # a damaged end: silence until the next pass
