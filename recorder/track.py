"""One logical track: from its packets to its segments, and the account of what is missing.

Before this in a packet's path: :mod:`recorder.roster`. After it: :mod:`recorder.continuity`.

Joins :mod:`recorder.reorder`, :mod:`recorder.depacketize`, :mod:`recorder.timeline` and
:mod:`recorder.writer`, and keeps the books in :mod:`recorder.coverage`. A *run* is the media of one
SSRC without a pause in it; a reconnection starts another run of the same track. When runs begin and
end is decided here; what follows what within one, by :mod:`recorder.continuity`. No clock: time is
the arrival time in the inputs.
"""

from __future__ import annotations

from collections.abc import Callable
from datetime import timedelta
from typing import Any

from recorder.continuity import Continuity
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

EDGE_US = 250_000
"""What is on its way when a track ends is no gap."""

ACTIVE_US = 2_000_000
"""A track that sent nothing for this long does not hold back ``recorded_us``."""

END_OF_TIME_US = 1 << 62
"""Later than any session time."""


class Track(Persistent):
    """One logical track of the archive. Raises what writing raises, and nothing for bad media."""

    _STATE = (
        "_bound", "_bound_us", "_first_us", "_waiting", "_dropped", "_absence", "_paused_us",
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
        self._continuity = Continuity(
            binding, setting, self._timeline, self._writer, self._coverage, self._want_key_frame
        )
        self._receive(binding)
        self._bound = True
        self._bound_us = binding.arrival_us
        self._first_us: int | None = None
        """Arrival of the first packet of the run; None before it."""
        self._waiting = True
        """Nothing of this run is stored yet."""
        self._dropped = False
        """Pictures of this run came before its first key frame."""
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
                self._continuity.break_off()
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
        self._continuity.tick(now_us)
        if self._bound and self._first_us is None:
            self._expect_after(now_us)

    # What the session says.

    def pause(self, at_us: int) -> None:
        """The session is paused: what came until then is finished."""
        if self._bound and self._paused_us is None:
            self._finish_run(at_us)
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
            self._finish_run(at_us)
            self._coverage.end(at_us)
            self._bound = False
            self._await_run()

    def outage(self) -> None:
        """The server died with what it had not handed over: the run ends where its media does."""
        if not self._bound:
            return
        self._drain()
        if not self._waiting:
            self._continuity.break_off()
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
            self._finish_run(at_us)
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
        if not self._waiting:
            self._continuity.settle()
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
        return self._bound and self.stored and now_us - self._continuity.unit_us < ACTIVE_US

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
        return [*super().snapshot(), *(part.snapshot() for part in self._parts)]

    def restore(self, values: list[Any]) -> None:
        """See :meth:`Persistent.restore`."""
        parts = self._parts
        super().restore(values[: -len(parts)])
        for part, state in zip(parts, values[-len(parts) :], strict=True):
            part.restore(state)

    # Inside.

    @property
    def _parts(self) -> tuple[Persistent, ...]:
        """Whose memory goes into the state with the track's own."""
        media = (self._timeline, self._writer, self._coverage, self._continuity)
        return (*media, self._sink, self._reorder)

    def _await_run(self) -> None:
        self._first_us = None
        self._waiting = True
        self._dropped = False
        self._continuity.begin()

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
        else:
            self._continuity.follow(unit, media)
        self._continuity.store(unit, media, self._reorder.ssrc)

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

    def _drain(self) -> bool:
        """Take everything out of the reorder buffer; whether something is missing at its end."""
        self._reorder.flush()
        lost = self._sink.lost > 0
        self._sink.finish()
        return lost

    def _finish_run(self, at_us: int) -> None:
        """Media ends at ``at_us``: settle the account up to there and close the segment."""
        lost = self._drain()
        coverage = self._coverage
        if not self._waiting:
            self._continuity.end(at_us, lost=lost)
        elif coverage.expecting:
            self._skip_to(at_us)
        if coverage.expecting:
            coverage.interrupt(at_us, "network", EDGE_US)

    def _want_key_frame(self) -> None:
        if self._video:
            self._outbox.want_key_frame(self.binding.track_index)
