"""The numbered inputs in order, from which everything in an archive follows.

Before this in a packet's path: :mod:`recorder.wire`. After it: :mod:`recorder.track`, one for each
logical track, and :mod:`recorder.journal`, which makes durable what they decide.

:class:`Intake` is a deterministic function of its inputs. Every ``chunk_us`` of input (and at once
where somebody waits for it: the first media of a track, a finished segment) it *commits*: media to
the files, its own memory to the state, then ledger lines. After a commit nothing before it has to
be sent again, whatever dies.
"""

from __future__ import annotations

from typing import Any

from recorder import wire
from recorder.coverage import LiveTime
from recorder.journal import Journal
from recorder.timeline import ParticipantClock
from recorder.track import Outbox, Setting, Track
from rooms.errors import MessageMalformed
from rooms.moment import format_wall, parse_wall

_MAX_TRACKS = 256
"""Logical tracks of one session; a session has at most some dozens."""


class Intake:
    """One recording. ``reports`` collects what the server must be told, in order.

    Raises :class:`MessageMalformed` when the inputs break the protocol, and what
    :mod:`recorder.journal` raises when the disk fails.
    """

    def __init__(self, job: wire.Job, journal: Journal) -> None:
        self.reports: list[wire.Report] = []
        self._job = job
        self._journal = journal
        self._n = 0
        self._now_us = 0
        self._next_flush_us = job.chunk_us
        self._paused = False
        self._ended_us: int | None = None
        """When the session began to close."""
        self._recovered = False
        """Inputs may be missing before the newest ones: the server itself had died."""
        self._live = LiveTime()
        self._outbox = Outbox()
        self._setting = Setting(
            layout=journal.layout,
            opened=parse_wall(journal.opened_wall),
            segment_target_us=job.segment_target_us,
            repair_wait_us=job.repair_wait_us,
            live=self._live,
            outbox=self._outbox,
        )
        self._clocks: dict[str, ParticipantClock] = {}
        self._tracks: dict[str, Track] = {}
        self._by_index: dict[int, Track] = {}
        if journal.state is not None:
            self._restore(journal.state)
            self._take_over()
        else:
            journal.commit(self._snapshot(), [])
        self.reports.insert(0, wire.Hello(self._n))

    def take(self, message: wire.Message) -> bool:
        """Take the next message; True when it was the last one and the archive is sealed."""
        if isinstance(message, wire.RtpInput):
            n, arrival_us, index, packet = message
            if not self._advance(n, arrival_us):
                return False
            track = self._by_index.get(index)
            if track is not None and not self._paused:
                track.packet(packet, self._now_us)
        elif isinstance(message, wire.CloseInput):
            return self._advance(message.n, message.arrival_us) and self._close(message)
        elif isinstance(
            message, wire.TickInput | wire.SenderReportInput | wire.EventInput | wire.TrackInput
        ):
            if not self._advance(message.n, message.arrival_us):
                return False
            self._take_rare(message)
        else:
            raise MessageMalformed(f"{type(message).__name__} is no input of a recording")
        if self._outbox.urgent or self._now_us >= self._next_flush_us:
            self._commit()
        return False

    def stop(self) -> None:
        """The server is gone or wants no more: make everything durable, and keep it resumable."""
        self._commit()
        self.release()

    def release(self) -> None:
        """Let go of all files as they are; what the last commit says is what there is."""
        for track in self._tracks.values():
            track.release()
        self._journal.release()

    # The kinds of input.

    def _advance(self, n: int, arrival_us: int) -> bool:
        """Whether this input is new. Arrival times never run backwards."""
        if n != self._n + 1:
            if n <= self._n:
                return False
            raise MessageMalformed(f"input {n} follows {self._n}")
        self._n = n
        self._now_us = max(self._now_us, arrival_us)
        return True

    def _take_rare(
        self, message: wire.TickInput | wire.SenderReportInput | wire.EventInput | wire.TrackInput
    ) -> None:
        match message:
            case wire.TickInput():
                for track in self._tracks.values():
                    track.tick(self._now_us)
            case wire.SenderReportInput():
                reported = self._by_index.get(message.track_index)
                if reported is not None:
                    reported.report(message.ntp, message.rtp, self._now_us)
            case wire.TrackInput():
                self._bind(message._replace(arrival_us=self._now_us))
            case wire.EventInput():
                self._event(message.record)

    def _bind(self, binding: wire.TrackInput) -> None:
        track = self._tracks.get(binding.track_id)
        if track is None:
            if len(self._tracks) >= _MAX_TRACKS:
                raise MessageMalformed("too many tracks")
            track = self._new_track(binding)
        elif track.binding.codec != binding.codec:
            raise MessageMalformed(f"{binding.track_id} changes its codec")
        else:
            self._by_index.pop(track.binding.track_index, None)
            track.bind(binding)
        self._by_index[binding.track_index] = track

    def _new_track(self, binding: wire.TrackInput) -> Track:
        clock = self._clocks.setdefault(binding.participant_id, ParticipantClock())
        try:
            track = Track(binding, self._setting, clock)
        except KeyError as error:
            raise MessageMalformed(f"no such codec: {binding.codec}") from error
        self._tracks[binding.track_id] = track
        return track

    def _event(self, record: dict[str, Any]) -> None:
        at_us = record.get("t_us")
        if not isinstance(at_us, int) or isinstance(at_us, bool):
            at_us = self._now_us
        wall = record.get("wall")
        self._outbox.records.append(
            {
                "type": "event",
                "t_us": at_us,
                "wall": wall if isinstance(wall, str) else format_wall(self._setting.opened),
                "event": {k: v for k, v in record.items() if k not in ("t_us", "wall")},
            }
        )
        tracks = self._tracks.values()
        match record.get("type"):
            case "session_live":
                self._live.begin(at_us)
            case "session_paused":
                self._live.end(at_us)
                for track in tracks:
                    track.pause(at_us)
                self._paused = True
            case "session_resuming":
                self._paused = False
            case "session_resumed":
                self._paused = False
                for track in tracks:
                    track.resume(at_us)
                self._live.begin(at_us)
            case "track_unpublished":
                gone = self._tracks.get(str(record.get("track_id")))
                if gone is not None:
                    gone.unpublish(at_us)
            case "session_closing":
                self._ended_us = at_us
                self._live.end(at_us)

    def _close(self, message: wire.CloseInput) -> bool:
        if self._journal.closing is None:
            end_us = self._ended_us
            if end_us is None:
                closed_us = message.record.get("closed_us")
                end_us = closed_us if isinstance(closed_us, int) else self._now_us
                if self._recovered:
                    end_us = max(end_us, self._now_us)
            self._live.end(end_us)
            for track in self._tracks.values():
                track.finish(end_us, "recorder" if self._recovered else "network")
            tracks = [self._tracks[track_id].account() for track_id in sorted(self._tracks)]
            self._outbox.records.append(
                {
                    "type": "close",
                    "closed_us": end_us,
                    "live": self._live.intervals,
                    "tracks": tracks,
                    "checkpoints": 0,
                }
            )
            self._write()
        self.reports += self._journal.seal()
        return True

    # Making it durable.

    def _commit(self) -> None:
        if self._now_us >= self._next_flush_us:
            chunk_us = self._job.chunk_us
            self._next_flush_us = self._now_us - self._now_us % chunk_us + chunk_us
            for track in self._tracks.values():
                track.flush(self._now_us)
        self._write()
        self._report_durable()

    def _write(self) -> None:
        outbox = self._outbox
        self.reports += map(wire.KeyFrameWanted, outbox.key_frames)
        notes = self._journal.commit(self._snapshot(), outbox.records)
        self.reports += map(wire.CheckpointMade, notes)
        outbox.records.clear()
        outbox.key_frames.clear()
        outbox.urgent = False

    def _report_durable(self) -> None:
        stored = {track_id: track for track_id, track in self._tracks.items() if track.stored}
        ends = [track.last_us() for track in stored.values() if track.active(self._now_us)]
        self.reports.append(
            wire.Durable(
                n=self._n,
                recorded_us=max(min(ends, default=self._now_us), 0),
                bytes=sum(track.stored_bytes for track in stored.values()),
                tracks={track_id: track.progress() for track_id, track in stored.items()},
            )
        )

    def _snapshot(self) -> dict[str, Any]:
        return {
            "n": self._n,
            "now_us": self._now_us,
            "next_flush_us": self._next_flush_us,
            "paused": self._paused,
            "ended_us": self._ended_us,
            "recovered": self._recovered,
            "live": self._live.snapshot(),
            "clocks": {key: clock.snapshot() for key, clock in self._clocks.items()},
            "tracks": [[list(track.binding), track.snapshot()] for track in self._tracks.values()],
        }

    def _restore(self, state: dict[str, Any]) -> None:
        self._n = state["n"]
        self._now_us = state["now_us"]
        self._next_flush_us = state["next_flush_us"]
        self._paused = state["paused"]
        self._ended_us = state["ended_us"]
        self._recovered = state["recovered"]
        self._live.restore(state["live"])
        for participant_id, window in state["clocks"].items():
            clock = self._clocks[participant_id] = ParticipantClock()
            clock.restore(window)
        for values, parts in state["tracks"]:
            binding = wire.TrackInput(*values)
            track = self._new_track(binding)
            track.restore(parts)
            self._by_index[binding.track_index] = track
        self._journal.keep_tracks(key for key, track in self._tracks.items() if track.stored)

    def _take_over(self) -> None:
        """Go on where a recorder that died has left off, and say so in the ledger."""
        if self._journal.renumbered:
            self._n = 0
            self._recovered = True
        if self._journal.closing is not None:
            # The order to close is acknowledged by nothing but the seal: it comes again.
            self._n -= 0 if self._journal.renumbered else 1
            return
        record = {
            "type": "recover",
            "cause": "server_restarted" if self._journal.renumbered else "recorder_replaced",
            "salvaged": {
                "until_us": self._now_us,
                "segments": sum(track.progress()["segments"] for track in self._tracks.values()),
                "bytes": sum(track.stored_bytes for track in self._tracks.values()),
            },
            # Inputs that were not acknowledged come again from a server that still has them.
            "lost": {"since_us": self._now_us if self._journal.renumbered else None},
        }
        notes = self._journal.commit(self._snapshot(), [record], note=True)
        self.reports += map(wire.CheckpointMade, notes)
