"""How far sound and picture of an archive are apart, measured from what was recorded.

The test picture flashes and the microphone beeps at the same moments (:mod:`server.agent.picture`,
:class:`server.agent.sources.Tone`). Both are found again in the decoded archive, each is placed on
the session clock by what the ledger says of its segment, and what is left between the two is the
error of the whole path: clocks, sender reports, timeline, container.

Reads :func:`recorder.replay.describe` and the files that it names; changes nothing.
"""

from __future__ import annotations

import io
from array import array
from bisect import bisect_left
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from itertools import pairwise
from pathlib import Path
from statistics import median
from typing import Any

import av
from av.video.reformatter import Interpolation

from recorder import replay

WINDOW_US = 20_000_000
"""A long archive is measured at its beginning, in its middle and at its end, this long each."""

_PICTURE = (64, 36)
"""Size to which a picture is averaged down before its brightness is taken."""

_FLASH_JUMP = 8.0
"""Rise of the mean brightness (of 255) from one frame to the next that makes a flash."""

_BEEP_LEVEL = 3000
"""Amplitude (of 32767) that makes a beep; the noise between beeps stays far below."""

_SAMPLES_PER_SECOND = 48000
_BLOCK = 48
"""Samples looked at together: 1 ms, the resolution of a beep's onset."""

_QUIET_US = 200_000
"""A new onset needs this long without one before it."""

_SECOND_US = 1_000_000
_PERIOD_TOLERANCE_US = 60_000
_PAIRED_WITHIN_US = 400_000
_FEWEST_PAIRS = 3

Description = Mapping[str, Any]


@dataclass(frozen=True, slots=True)
class Offset:
    """The result of a measurement.

    ``offset_ms`` is positive when the sound is late; ``spread_ms`` is what lies between the least
    and the greatest offset of a pair.
    """

    offset_ms: float
    spread_ms: float
    pairs: int
    participant_id: str


def measure(root: Path) -> Offset | None:
    """Measure the archive at ``root``; None when nobody in it flashed and beeped. Blocks."""
    return measure_described(root, replay.describe(root))


def measure_described(root: Path, description: Description) -> Offset | None:
    """As :func:`measure`, of an archive that is described already.

    The first participant whose camera and microphone show a regular flash and beep counts: with a
    film for a camera there is none, and the other site's test picture is measured.
    """
    tracks = description["tracks"]
    windows = _windows(int(description["duration_us"]))
    for camera in (t for t in tracks if t["source"] == "camera"):
        who = camera["participant_id"]
        for sound in tracks:
            if sound["source"] == "microphone" and sound["participant_id"] == who:
                pairs = [
                    pair
                    for window in windows
                    for pair in _pairs(_onsets(root, camera, window), _onsets(root, sound, window))
                ]
                if len(pairs) >= _FEWEST_PAIRS:
                    return Offset(
                        round(median(pairs) / 1000, 2),
                        round((max(pairs) - min(pairs)) / 1000, 2),
                        len(pairs),
                        who,
                    )
    return None


def _windows(duration_us: int) -> list[tuple[int, int]]:
    if duration_us <= 3 * WINDOW_US:
        return [(0, duration_us)]
    starts = (0, (duration_us - WINDOW_US) // 2, duration_us - WINDOW_US)
    return [(start, start + WINDOW_US) for start in starts]


def _pairs(flashes: Sequence[int], beeps: Sequence[int]) -> list[int]:
    """Beep minus flash (µs) for each flash with a beep near it; none when they are no seconds."""
    if not _regular(flashes) or not _regular(beeps):
        return []
    pairs = []
    for flash in flashes:
        at = bisect_left(beeps, flash)
        nearest = min(beeps[max(at - 1, 0) : at + 1], key=lambda beep: abs(beep - flash))
        if abs(nearest - flash) <= _PAIRED_WITHIN_US:
            pairs.append(nearest - flash)
    return pairs


def _regular(onsets: Sequence[int]) -> bool:
    """Whether onsets come each second, as the test sources make them, and not now and then."""
    steps = [later - earlier for earlier, later in pairwise(onsets)]
    return bool(steps) and abs(median(steps) - _SECOND_US) <= _PERIOD_TOLERANCE_US


def _onsets(root: Path, track: Description, window: tuple[int, int]) -> list[int]:
    """Session times (µs) at which the track flashes or beeps within the window."""
    segments = [s for s in track["segments"] if s["t0_us"] < window[1] and s["end_us"] > window[0]]
    if not segments:
        return []
    media = b"".join((root / s["file"]).read_bytes() for s in (track["init"], *segments))
    found = _flashes(media) if track["source"] == "camera" else _beeps(media)
    starts = [s["t0_us"] - s["offset_us"] for s in segments]
    onsets = []
    for media_us in found:
        segment = segments[max(bisect_left(starts, media_us + 1) - 1, 0)]
        onsets.append(media_us + int(segment["offset_us"]))
    return onsets


def _flashes(media: bytes) -> Iterator[int]:
    """Media times (µs) of the first frame of each flash."""
    width, height = _PICTURE
    before: float | None = None
    quiet_from_us = -_QUIET_US
    with av.open(io.BytesIO(media), "r") as container:
        for frame in container.decode(video=0):
            if frame.pts is None or frame.time_base is None:
                continue
            small = frame.reformat(width, height, "gray", interpolation=Interpolation.AREA)
            plane = small.planes[0]
            pixels = memoryview(plane)
            level = sum(
                sum(pixels[line * plane.line_size : line * plane.line_size + width])
                for line in range(height)
            ) / (width * height)
            at_us = round(frame.pts * frame.time_base * 1_000_000)
            if before is not None and level - before > _FLASH_JUMP:
                if at_us - quiet_from_us >= _QUIET_US:
                    yield at_us
                quiet_from_us = at_us
            before = level


def _beeps(media: bytes) -> Iterator[int]:
    """Media times (µs) of the first loud millisecond of each beep."""
    resampler = av.AudioResampler(format="s16", layout="mono", rate=_SAMPLES_PER_SECOND)
    loud_at_us = -_QUIET_US
    with av.open(io.BytesIO(media), "r") as container:
        for frame in container.decode(audio=0):
            if frame.pts is None or frame.time_base is None:
                continue
            start_us = frame.pts * frame.time_base * 1_000_000
            samples = array("h")
            for part in resampler.resample(frame):
                samples.frombytes(bytes(part.planes[0])[: part.samples * 2])
            for at in range(0, len(samples), _BLOCK):
                block = samples[at : at + _BLOCK]
                if max(block) > _BEEP_LEVEL:
                    at_us = round(start_us + at * 1_000_000 / _SAMPLES_PER_SECOND)
                    if at_us - loud_at_us >= _QUIET_US:
                        yield at_us
                    loud_at_us = at_us
