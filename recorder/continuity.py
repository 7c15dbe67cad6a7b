"""What follows what in a track: captured or missing, and where a segment ends.

Before this in a packet's path: :mod:`recorder.track`, which begins and ends the runs. After it:
:mod:`recorder.writer` for the media, :mod:`recorder.coverage` for the account.

What is captured: sound lasts as long as its packets say. A picture lasts until the next one where
no packet is missing between the two. After a loss, pictures are stored as they come, but count only
from the next key frame on. No clock: time is the arrival time in the inputs.
"""

from __future__ import annotations

from collections.abc import Callable

from recorder.coverage import Coverage
from recorder.setting import Setting
from recorder.state import Persistent
from recorder.timeline import Timeline
from recorder.units import AccessUnit
from recorder.wire import TrackInput
from recorder.writer import TrackWriter

LAST_PICTURE_US = 2_000_000
"""How long a picture is taken to last when a track ends after it."""

STILL_US = 10_000_000
"""A picture that no other follows for so long does not last: the source stood still."""

CAMERA_STILL_US = 3_500_000
"""The same for a camera, which sends pictures all the time, while a page or a document rests."""

SILENCE_US = 1_000_000
"""A longer hole in the sound ends the segment; a shorter one is inside it."""

CUT_US = 1_000_000
"""Packets are missing, and nothing at all came for this long: the line was cut, not lossy."""

_DTX_BYTES = 2
"""An Opus packet this short says that silence follows (RFC 6716, 2.1.9)."""


class Continuity(Persistent):
    """The stored media of one run, unit by unit. Media times are ticks of the ``timeline``.

    ``want_key_frame`` asks the sender of a picture for one.
    """

    _STATE = ("unit_us", "_broken", "_silence")

    def __init__(
        self,
        binding: TrackInput,
        setting: Setting,
        timeline: Timeline,
        writer: TrackWriter,
        coverage: Coverage,
        want_key_frame: Callable[[], None],
    ) -> None:
        self.unit_us = 0
        """Arrival of the newest unit that was stored, in whichever run."""
        self._timeline = timeline
        self._writer = writer
        self._coverage = coverage
        self._want_key_frame = want_key_frame
        self._video = binding.codec != "opus"
        self._target = setting.segment_target_us * timeline.hz // 1_000_000
        # A key frame that comes a little early, unasked, is as good.
        self._early = self._target - self._target // 8
        is_camera = binding.source in ("camera", "wide_camera")
        self._still_us = CAMERA_STILL_US if is_camera else STILL_US
        self._longest = (self._still_us if self._video else SILENCE_US) * timeline.hz // 1_000_000
        self._broken: str | None = None
        """After a loss, before the next key frame: the cause of the loss."""
        self._silence = False
        """The newest sound packet says that silence follows."""

    def begin(self) -> None:
        """Another run follows: nothing that was lost in the one before is its loss."""
        self._broken = None
        self._silence = False

    def follow(self, unit: AccessUnit, media: int) -> None:
        """A unit at ``media`` comes after those that are stored: settle the time between them."""
        if self._video:
            self._follow_picture(unit, media)
        else:
            self._follow_sound(unit, media)

    def store(self, unit: AccessUnit, media: int, ssrc: int) -> None:
        """Store the unit, the first of its run or one that was followed."""
        self.unit_us = unit.arrival_us
        self._writer.add(unit, media, ssrc)

    def tick(self, now_us: int) -> None:
        """Time has come to ``now_us``: a segment does not wait for ever for what does not come."""
        if self._writer.start is not None and now_us - self.unit_us > self._still_us:
            self._writer.close(self._writer.end)

    def settle(self) -> None:
        """Enter what was captured into the account, up to what is known by now."""
        if not self._broken:
            self._cover(self._writer.newest if self._video else self._writer.end)

    def break_off(self) -> None:
        """The run is over where its media end; other media will come, nobody knows when."""
        self._cover(self._writer.end)
        self._writer.close(self._writer.end)
        self._coverage.suspend()

    def end(self, at_us: int, *, lost: bool) -> None:
        """Media ends at ``at_us``; ``lost``: packets are missing after the newest unit."""
        writer, timeline = self._writer, self._timeline
        broken = self._broken or ("loss" if lost else None)
        end = writer.end
        if self._video and writer.start is not None:
            newest_us = timeline.session_us(writer.newest)
            usual_us = timeline.session_us(end) - newest_us
            lasts_us = min(at_us - newest_us, usual_us if broken else LAST_PICTURE_US)
            end = writer.newest + max(lasts_us, 0) * timeline.hz // 1_000_000
        if not self._broken:
            self._cover(end)
        if broken:
            self._coverage.interrupt(at_us, broken, 0)
        writer.close(end)

    def _follow_picture(self, unit: AccessUnit, media: int) -> None:
        writer = self._writer
        still = writer.start is None or media - writer.newest > self._longest
        if not self._broken and (unit.lost or still):
            self._cover(min(writer.end, media))
            if unit.lost:
                self._broken = self._loss(unit)
            else:
                self._miss(media, "device")
        if self._broken:
            if unit.key:
                self._miss(media, self._broken)
                self._broken = None
            else:
                self._want_key_frame()
        start = writer.start
        if start is None:
            return
        elapsed = media - start
        if still:
            writer.close(writer.end)
        elif (elapsed >= self._early and unit.key) or elapsed >= 2 * self._target:
            writer.close(media)
        elif elapsed >= self._target:
            self._want_key_frame()

    def _follow_sound(self, unit: AccessUnit, media: int) -> None:
        writer = self._writer
        hole = media - writer.end
        silence, self._silence = self._silence, len(unit.payload) <= _DTX_BYTES
        if hole > 0 and (unit.lost or not silence or hole > self._longest):
            self._cover(writer.end)
            self._miss(media, self._loss(unit) if unit.lost else "device")
        start = writer.start
        if start is None:
            return
        if hole > self._longest:
            writer.close(writer.end)
        elif media - start >= self._target:
            writer.close(media)

    def _loss(self, unit: AccessUnit) -> str:
        """Why packets are missing before this unit."""
        return "network" if unit.arrival_us - self.unit_us > CUT_US else "loss"

    def _cover(self, media: int) -> None:
        self._coverage.cover(media, self._timeline.session_us(media))

    def _miss(self, media: int, cause: str) -> None:
        self._coverage.miss(media, self._timeline.session_us(media), cause)
