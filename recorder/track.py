"""One logical track: from its packets to its segments, and the account of what is missing.

Before this in a packet's path: :mod:`recorder.intake`. After it: :mod:`recorder.writer`.

Joins :mod:`recorder.reorder`, :mod:`recorder.depacketize`, :mod:`recorder.timeline` and
:mod:`recorder.writer`, and keeps the books in :mod:`recorder.coverage`. A *run* is the media of one
SSRC without a pause in it; a reconnection starts another run of the same track.

What is captured: sound lasts as long as its packets say. A picture lasts until the next one where
no packet is missing between the two. After a loss, pictures are stored as they come, but count only
from the next key frame on. No clock: time is the arrival time in the inputs.
"""

from __future__ import annotations

from collections.abc import Callable
from datetime import timedelta
from typing import Any

from recorder.coverage import SETTLE_US, Coverage
from recorder.depacketize import depacketizer
from recorder.h264 import H264Depacketizer
from recorder.reorder import Reorder
from recorder.sender_clock import ParticipantClock
from recorder.setting import Setting
from recorder.state import Persistent
from recorder.timeline import Timeline
from recorder.units import AccessUnit
from recorder.wire import TrackInput
from recorder.writer import TrackWriter
from rooms.moment import format_wall

NEVER_ARRIVED_US = 5_000_000
"""A published track of which nothing came for so long counts as expected all the same."""

LAST_PICTURE_US = 2_000_000
"""How long a picture is taken to last when a track ends after it."""

STILL_US = 10_000_000
"""A picture that no other follows for so long does not last: the source stood still."""

CAMERA_STILL_US = 3_500_000
"""The same for a camera, which sends pictures all the time, while a page or a document rests."""

SILENCE_US = 1_000_000
"""A longer hole in the sound ends the segment; a shorter one is inside it."""

EDGE_US = 250_000
"""What is on its way when a track ends is no gap."""

ACTIVE_US = 2_000_000
"""A track that sent nothing for this long does not hold back ``recorded_us``."""

CUT_US = 1_000_000
"""Packets are missing, and nothing at all came for this long: the line was cut, not lossy."""

END_OF_TIME_US = 1 << 62
"""Later than any session time."""

_DTX_BYTES = 2
"""An Opus packet this short says that silence follows (RFC 6716, 2.1.9)."""


class Track(Persistent):
    """One logical track of the archive. Raises what writing raises, and nothing for bad media."""

    _STATE = (
        "_bound", "_bound_us", "_first_us", "_unit_us", "_waiting", "_dropped",
        "_broken", "_silence", "_absence", "_paused_us",
    )  # fmt: skip

    def __init__(self, binding: TrackInput, setting: Setting, clock: ParticipantClock) -> None:
        self.binding = binding
        self._setting = setting
        self._outbox = setting.outbox
        self._video = binding.codec != "opus"
        hz = binding.clock_hz
        records = setting.outbox.records
        self._timeline = Timeline(clock, hz)
        self._writer = TrackWriter(binding, setting.layout, self._timeline, setting.opened, records)
        self._coverage = Coverage(binding.track_id, hz, setting.live, records)
        self._target = setting.segment_target_us * hz // 1_000_000
        # A key frame that comes a little early, unasked, is as good.
        self._early = self._target - self._target // 8
        is_camera = binding.source in ("camera", "wide_camera")
        self._still_us = CAMERA_STILL_US if is_camera else STILL_US
        self._longest = (self._still_us if self._video else SILENCE_US) * hz // 1_000_000
        self._receive(binding)
        self._bound = True
        self._bound_us = binding.arrival_us
        self._first_us: int | None = None
        """Arrival of the first packet of the run; None before it."""
        self._unit_us = 0
        """Arrival of the newest unit that was stored."""
        self._waiting = True
        """Nothing of this run is stored yet."""
        self._dropped = False
        """Pictures of this run came before its first key frame."""
        self._broken: str | None = None
        """After a loss, before the next key frame: the cause of the loss."""
        self._silence = False
        """The newest sound packet says that silence follows."""
        self._absence: str | None = None
        """Why there is nothing between the cursor of the account and the run."""
        self._paused_us: int | None = None

    # What comes in.

    def bind(self, binding: TrackInput) -> None:
        """The same logical track has (perhaps) another SSRC from here on."""
        known = self._bound and binding.ssrc == self._reorder.ssrc
        self.binding = binding
        if known:
            return
        if not self._bound or self._first_us is not None:
            self._bound_us = binding.arrival_us
        if self._bound:
            self._drain()
            if not self._waiting:
                self._cover(self._writer.end)
                self._close_segment(self._writer.end)
                self._coverage.suspend()
            elif self._first_us is not None:
                # What came before it, and the time without a key frame, are settled separately.
                self._skip_to(binding.arrival_us)
            if self._coverage.expecting and self._absence is None:
                self._absence = "network"
        else:
            self._absence = None
        self._bound = True
        self._receive(binding)
        self._timeline.new_run()
        self._await_run()

    @property
    def packet(self) -> Callable[[bytes, int], None]:
        """What takes a packet and its arrival time, until the next :meth:`bind`."""
        return self._reorder.push

    def report(self, ntp: int, rtp: int, arrival_us: int) -> None:
        """Take a sender report."""
        if not self._bound:
            return
        sender = self._timeline.sender
        contradicting = sender.contradicting
        self._timeline.report(ntp, rtp, arrival_us)
        if sender.contradicting is not contradicting:
            wall = format_wall(self._setting.opened + timedelta(microseconds=arrival_us))
            track_id, participant_id = self.binding.track_id, self.binding.participant_id
            self._outbox.records.append(sender.record(track_id, participant_id, arrival_us, wall))

    def tick(self, now_us: int) -> None:
        """Time has come to ``now_us``."""
        if self._reorder.waiting:
            self._reorder.expire(now_us)
        if self._writer.start is not None and now_us - self._unit_us > self._still_us:
            self._close_segment(self._writer.end)
        if self._bound and self._first_us is None:
            self._expect_after(now_us)

    # What the session says.

    def pause(self, at_us: int) -> None:
        """The session is paused: what came until then is finished."""
        if self._bound and self._paused_us is None:
            self._finish_run(at_us, "network")
            self._paused_us = at_us
            self._absence = "network" if self._coverage.expecting else None
            self._await_run()

    def resume(self, at_us: int) -> None:
        """The pause is over: it becomes a line of the ledger."""
        if self._paused_us is not None:
            if self._coverage.expecting:
                self._coverage.pause(self._paused_us, at_us)
            self._paused_us = None

    def unpublish(self, at_us: int) -> None:
        """The track is not published any more; it may be again."""
        if self._bound:
            self.resume(at_us)
            self._finish_run(at_us, "network")
            self._coverage.end(at_us)
            self._bound = False
            self._await_run()

    def outage(self) -> None:
        """The server died with what it had not handed over: the run ends where its media does."""
        if not self._bound:
            return
        self._drain()
        if not self._waiting:
            self._cover(self._writer.end)
            self._close_segment(self._writer.end)
            self._coverage.suspend()
        if self._coverage.expecting:
            self._absence = "recorder"
        self._receive(self.binding)
        self._timeline.new_run()
        self._await_run()

    def finish(self, at_us: int) -> None:
        """The recording ends."""
        if self._bound:
            self.resume(at_us)
            self._expect_after(at_us)
            self._finish_run(at_us, "network")
            self._coverage.end(at_us)
            self._bound = False
        self._coverage.settle(END_OF_TIME_US)
        self._writer.file.finish()

    # What is known.

    @property
    def stored(self) -> bool:
        """Whether any media of the track is in files or in the state."""
        return bool(self._writer.codec_name)

    @property
    def awaited(self) -> bool:
        """Whether the next media starts a run."""
        return self._bound and self._waiting

    def flush(self) -> None:
        """Write what is complete to the open segment, as one chunk."""
        self._writer.flush()

    def settle(self, now_us: int) -> None:
        """Bring the account up to what has come."""
        if not self._waiting and not self._broken:
            self._cover(self._writer.newest if self._video else self._writer.end)
        self._coverage.settle(now_us - SETTLE_US)

    def last_us(self) -> int:
        """Session time at which the stored media ends."""
        return self._timeline.session_us(self._writer.end)

    def progress(self) -> dict[str, int]:
        """How much there is, for :class:`recorder.wire.Durable`."""
        return {
            "segments": self._writer.file.closed,
            # A first picture is there before it is known how long it lasts.
            "captured_us": max(self._coverage.stored_us, 1),
            "last_us": max(self.last_us(), 0),
        }

    def active(self, now_us: int) -> bool:
        """Whether media is coming in."""
        return self._bound and self.stored and now_us - self._unit_us < ACTIVE_US

    @property
    def stored_bytes(self) -> int:
        """Bytes of all segments."""
        return self._writer.file.total_bytes

    def account(self) -> dict[str, Any]:
        """The ``close`` record's entry of this track, after :meth:`finish`."""
        coverage, binding = self._coverage, self.binding
        expected_us = coverage.expected_us()
        return {
            "track": binding.track_id,
            "source": binding.source,
            "participant": binding.participant_id,
            "site": binding.site_id,
            "codec": self._writer.codec_name or binding.codec,
            "segments": self._writer.file.closed,
            "samples": self._writer.total_samples,
            "expected_us": expected_us,
            "captured_us": min(coverage.captured_us, expected_us),
            "gap_us": coverage.gap_us,
            "gaps": coverage.gaps,
            "reports_doubted": self._timeline.sender.doubted,
        }

    def release(self) -> None:
        """Let go of the open file as it is."""
        self._writer.file.release()

    def snapshot(self) -> list[Any]:
        """See :meth:`Persistent.snapshot`."""
        parts = (self._timeline, self._writer, self._coverage, self._sink, self._reorder)
        return [*super().snapshot(), *(part.snapshot() for part in parts)]

    def restore(self, values: list[Any]) -> None:
        """See :meth:`Persistent.restore`."""
        parts = (self._timeline, self._writer, self._coverage, self._sink, self._reorder)
        super().restore(values[: -len(parts)])
        for part, state in zip(parts, values[-len(parts) :], strict=True):
            part.restore(state)

    # Inside.

    def _await_run(self) -> None:
        self._first_us = None
        self._waiting = True
        self._dropped = self._silence = False
        self._broken = None

    def _receive(self, binding: TrackInput) -> None:
        """Make what takes the packets of a new SSRC."""
        self._sink = depacketizer(binding.codec, self._store)
        self._reorder = Reorder(
            binding.ssrc, self._setting.repair_wait_us, self._sink, self._first_packet
        )

    def _first_packet(self, arrival_us: int) -> None:
        self._first_us = arrival_us
        if not self._coverage.expecting:
            self._coverage.expect(arrival_us)

    def _expect_after(self, now_us: int) -> None:
        """A track that was announced is expected after a while, even if nothing came."""
        waited_us = self._setting.live.length_us(self._bound_us, now_us)
        if not self._coverage.expecting and waited_us > NEVER_ARRIVED_US:
            self._coverage.expect(self._bound_us)
            self._absence = "never_arrived"

    def _store(self, unit: AccessUnit) -> None:
        media = self._timeline.place(unit.timestamp, unit.arrival_us, self._writer.end)
        if self._waiting:
            if not self._can_start(unit):
                self._dropped = True
                self._want_key_frame()
                return
            self._start_run(unit, media)
            if not self._writer.codec_name:
                self._writer.init(self.binding, self._sink, unit)
        elif self._video:
            self._follow_picture(unit, media)
        else:
            self._follow_sound(unit, media)
        self._unit_us = unit.arrival_us
        self._writer.add(unit, media, self._reorder.ssrc)

    def _can_start(self, unit: AccessUnit) -> bool:
        if isinstance(self._sink, H264Depacketizer):
            return unit.key and bool(self._sink.sps) and bool(self._sink.pps)
        return unit.key

    def _start_run(self, unit: AccessUnit, media: int) -> None:
        at_us = self._timeline.session_us(media)
        fresh = self._absence is None and not self._dropped and not unit.lost
        self._skip_to(at_us)
        if unit.lost:
            self._coverage.skip(at_us, "loss")
        self._coverage.start(media, at_us, fresh=fresh)
        self._waiting = False
        self._outbox.urge()

    def _skip_to(self, at_us: int) -> None:
        """Nothing is stored from the cursor to ``at_us``: say why."""
        first_us = at_us if self._first_us is None else min(self._first_us, at_us)
        absence, self._absence = self._absence, None
        if absence in ("recorder", "network"):
            # Pictures before the first key frame of the new connection are lost to the same cause.
            self._coverage.skip(at_us, absence)
        elif absence is not None:
            self._coverage.skip(first_us if self._dropped else at_us, absence)
        if self._dropped:
            self._coverage.skip(at_us, "no_key_frame")

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
            self._close_segment(writer.end)
        elif (elapsed >= self._early and unit.key) or elapsed >= 2 * self._target:
            self._close_segment(media)
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
            self._close_segment(writer.end)
        elif media - start >= self._target:
            self._close_segment(media)

    def _loss(self, unit: AccessUnit) -> str:
        """Why packets are missing before this unit."""
        return "network" if unit.arrival_us - self._unit_us > CUT_US else "loss"

    def _drain(self) -> bool:
        """Take everything out of the reorder buffer; whether something is missing at its end."""
        self._reorder.flush()
        lost = self._sink.lost > 0
        self._sink.finish()
        return lost

    def _finish_run(self, at_us: int, cause: str) -> None:
        """Media ends at ``at_us``: settle the account up to there and close the segment."""
        lost = self._drain()
        broken = self._broken or ("loss" if lost else None)
        coverage, writer = self._coverage, self._writer
        if not self._waiting:
            end = writer.end
            if self._video and writer.start is not None:
                newest_us = self._timeline.session_us(writer.newest)
                usual_us = self._timeline.session_us(end) - newest_us
                lasts_us = min(at_us - newest_us, usual_us if broken else LAST_PICTURE_US)
                end = writer.newest + max(lasts_us, 0) * self._timeline.hz // 1_000_000
            if not self._broken:
                self._cover(end)
            if broken:
                coverage.interrupt(at_us, broken, 0)
            self._close_segment(end)
        elif coverage.expecting:
            self._skip_to(at_us)
        if coverage.expecting:
            coverage.interrupt(at_us, cause, EDGE_US)

    def _cover(self, media: int) -> None:
        self._coverage.cover(media, self._timeline.session_us(media))

    def _miss(self, media: int, cause: str) -> None:
        self._coverage.miss(media, self._timeline.session_us(media), cause)

    def _close_segment(self, end: int) -> None:
        self._writer.close(end)

    def _want_key_frame(self) -> None:
        if self._video:
            self._outbox.want_key_frame(self.binding.track_index)
