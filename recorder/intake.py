"""The numbered inputs in order, from which everything in an archive follows.

Before this in a packet's path: :mod:`recorder.frames`. After it: :mod:`recorder.roster` with the
tracks, and :mod:`recorder.journal`, which makes durable what they decide.

:class:`Intake` is a deterministic function of its inputs. Every
:data:`COMMIT_US` of input (and at once where somebody waits for it: the first media of a track) it
*commits*: its own memory to the state, with the media that is not yet in a file, then the ledger
lines. After a commit nothing before it has to be sent again, whatever dies. Media goes to the files
every ``chunk_us``.
"""

from __future__ import annotations

from typing import Any

from recorder import wire
from recorder.coverage import LiveTime
from recorder.journal import Journal
from recorder.ledger import canonical_json
from recorder.roster import Roster
from recorder.setting import Outbox, Setting
from rooms.errors import MessageMalformed
from rooms.moment import format_wall, parse_wall

COMMIT_US = 500_000
"""The server waits at most so much input for an acknowledgement."""

KEY_FRAME_EVERY_US = 500_000
"""A key frame is asked for no more often than this."""

HURRIED_US = 10_000_000
"""Nobody waits longer than this for a track to start."""

MAX_EVENT_BYTES = 256 << 10
"""A larger event is replaced by a note of its size; the longest honest one has some kilobytes."""


class Intake:
    """One recording. ``reports`` collects what the server must be told, in order.

    Raises :class:`MessageMalformed` when the inputs break the protocol, and what
    :mod:`recorder.journal` raises when the disk fails.
    """

    def __init__(self, job: wire.Job, journal: Journal) -> None:
        self.reports: list[wire.Report] = []
        self.sealed = False
        """The archive is sealed: nothing remains to be done."""
        self._job = job
        self._journal = journal
        self._n = 0
        self._now_us = 0
        self._next_commit_us = COMMIT_US
        self._next_chunk_us = job.chunk_us
        self._hurried_us = 0
        self._asked_us: dict[int, int] = {}
        """When a key frame was last asked for, by track index."""
        self._ended_us: int | None = None
        """When the session began to close."""
        self._recovered = False
        """Inputs may be missing before the newest ones: the server itself had died."""
        self._live = LiveTime()
        self._outbox = Outbox(self._urge, self._want_key_frame)
        self._opened = parse_wall(journal.opened_wall)
        self._roster = Roster(
            Setting(
                layout=journal.layout,
                opened=self._opened,
                segment_target_us=job.segment_target_us,
                repair_wait_us=job.repair_wait_us,
                live=self._live,
                outbox=self._outbox,
            )
        )
        self._commit_us = min(COMMIT_US, job.chunk_us)
        """When the next commit is due; 0 when it is due at once."""
        if journal.state is not None:
            self._restore(journal.state)
            self._take_over()
        else:
            journal.commit(self._snapshot(), [])
        self.reports.insert(0, wire.Hello(self._n))

    def packet(self, n: int, arrival_us: int, index: int, packet: bytes) -> None:
        """Take an :class:`~recorder.wire.RtpInput`, given as its fields."""
        if n != self._n + 1 or self.sealed:
            self._check_number(n)
            return
        self._n = n
        now_us = self._now_us
        if arrival_us > now_us:
            self._now_us = now_us = arrival_us
        take = self._roster.takers.get(index)
        if take is not None:
            take(packet, now_us)
        if now_us >= self._commit_us:
            self._commit()

    def take(self, message: wire.Message) -> None:
        """Take any other message."""
        if self.sealed:
            return
        match message:
            case wire.RtpInput():
                self.packet(*message)
                return
            case wire.CloseInput() if self._advance(message.n, message.arrival_us):
                self._close(message)
                return
            case (
                wire.TickInput() | wire.SenderReportInput() | wire.EventInput() | wire.TrackInput()
            ):
                if self._advance(message.n, message.arrival_us):
                    self._take_rare(message)
            case wire.CloseInput():
                return
            case _:
                raise MessageMalformed(f"{type(message).__name__} is no input of a recording")
        if self._now_us >= self._commit_us:
            self._commit()

    @property
    def hurried(self) -> bool:
        """Whether somebody waits for what comes next: a start, a resumption, the end."""
        roster = self._roster
        if self._ended_us is not None or roster.paused or not len(roster):
            return True
        return self._now_us < self._hurried_us and any(track.awaited for track in roster)

    def stop(self) -> None:
        """The server is gone or wants no more: make everything durable, and keep it resumable."""
        if self._journal.closing is None:
            self._commit()
        self.release()

    def release(self) -> None:
        """Let go of all files as they are; what the last commit says is what there is."""
        for track in self._roster:
            track.release()
        self._journal.release()

    # The kinds of input.

    def _advance(self, n: int, arrival_us: int) -> bool:
        """Whether this input is new. Arrival times never run backwards."""
        if n != self._n + 1:
            self._check_number(n)
            return False
        self._n = n
        self._now_us = max(self._now_us, arrival_us)
        return True

    def _check_number(self, n: int) -> None:
        """A number that was there before is a repetition; one too high means a loss."""
        if n > self._n and not self.sealed:
            raise MessageMalformed(f"input {n} follows {self._n}")

    def _take_rare(
        self, message: wire.TickInput | wire.SenderReportInput | wire.EventInput | wire.TrackInput
    ) -> None:
        match message:
            case wire.TickInput():
                for track in self._roster:
                    track.tick(self._now_us)
            case wire.SenderReportInput():
                reported = self._roster.at(message.track_index)
                if reported is not None:
                    reported.report(message.ntp, message.rtp, self._now_us)
            case wire.TrackInput():
                self._roster.bind(message._replace(arrival_us=self._now_us))
                self._hurried_us = self._now_us + HURRIED_US
            case wire.EventInput():
                self._event(message.record)

    def _event(self, record: dict[str, Any]) -> None:
        at_us = record.get("t_us")
        if not isinstance(at_us, int) or isinstance(at_us, bool):
            at_us = self._now_us
        wall = record.get("wall")
        self._outbox.records.append(
            {
                "type": "event",
                "t_us": at_us,
                "wall": wall if isinstance(wall, str) else format_wall(self._opened),
                "event": _writable({k: v for k, v in record.items() if k not in ("t_us", "wall")}),
            }
        )
        match record.get("type"):
            case "session_live":
                self._live.begin(at_us)
            case "session_paused":
                self._live.end(at_us)
                self._roster.pause(at_us)
            case "session_resuming":
                self._roster.listen()
                self._hurried_us = self._now_us + HURRIED_US
            case "session_resumed":
                self._roster.resume(at_us)
                self._live.begin(at_us)
            case "track_unpublished":
                self._roster.unpublish(str(record.get("track_id")), at_us)
            case "session_closing" | "session_interrupted":
                self._ended_us = at_us
                self._live.end(at_us)

    def _close(self, message: wire.CloseInput) -> None:
        if self._journal.closing is None:
            end_us = self._ended_us
            if end_us is None:
                closed_us = message.record.get("closed_us")
                end_us = closed_us if isinstance(closed_us, int) else self._now_us
                if self._recovered:
                    end_us = max(end_us, self._now_us)
            self._live.end(end_us)
            tracks = self._roster.finish(end_us)
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
        self.sealed = True

    # Making it durable.

    def _commit(self) -> None:
        if self._journal.closing is not None:
            # All is decided and written; only the order to close is awaited, once more.
            return
        now_us, chunk_us = self._now_us, self._job.chunk_us
        if now_us >= self._next_chunk_us:
            self._next_chunk_us = now_us - now_us % chunk_us + chunk_us
            for track in self._roster:
                track.flush()
        if now_us >= self._next_commit_us:
            self._next_commit_us = now_us - now_us % COMMIT_US + COMMIT_US
            for track in self._roster:
                track.settle(now_us)
        self._commit_us = min(self._next_commit_us, self._next_chunk_us)
        self._write()
        self._report_durable()

    def _write(self) -> None:
        outbox = self._outbox
        notes = self._journal.commit(self._snapshot(), outbox.records)
        self.reports += map(wire.CheckpointMade, notes)
        outbox.records.clear()

    def _report_durable(self) -> None:
        stored = self._roster.stored()
        ends = [track.last_us() for track in stored.values() if track.active(self._now_us)]
        self.reports.append(
            wire.Durable(
                n=self._n,
                recorded_us=max(min(ends, default=self._now_us), 0),
                bytes=sum(track.stored_bytes for track in stored.values()),
                tracks={track_id: track.progress() for track_id, track in stored.items()},
            )
        )

    def _urge(self) -> None:
        self._commit_us = 0

    def _want_key_frame(self, index: int) -> None:
        asked_us = self._asked_us.get(index)
        if asked_us is None or self._now_us - asked_us >= KEY_FRAME_EVERY_US:
            self._asked_us[index] = self._now_us
            self.reports.append(wire.KeyFrameWanted(index))

    def _snapshot(self) -> dict[str, Any]:
        return {
            "n": self._n,
            "now_us": self._now_us,
            "next_commit_us": self._next_commit_us,
            "next_chunk_us": self._next_chunk_us,
            "ended_us": self._ended_us,
            "recovered": self._recovered,
            "live": self._live.snapshot(),
            "roster": self._roster.snapshot(),
        }

    def _restore(self, state: dict[str, Any]) -> None:
        self._n = state["n"]
        self._now_us = state["now_us"]
        self._next_commit_us = state["next_commit_us"]
        self._next_chunk_us = state["next_chunk_us"]
        self._ended_us = state["ended_us"]
        self._recovered = state["recovered"]
        self._live.restore(state["live"])
        self._roster.restore(state["roster"])
        self._journal.keep_tracks(self._roster.stored())

    def _take_over(self) -> None:
        """Go on where a recorder that died has left off, and say so in the ledger."""
        if self._journal.renumbered:
            self._n = 0
            self._recovered = True
        if self._journal.closing is not None:
            # The order to close is acknowledged by nothing but the seal: it comes again.
            self._n -= 0 if self._journal.renumbered else 1
            return
        if self._journal.renumbered:
            # What comes next comes by a new connection; what is here belongs to the archive now.
            self._roster.outage()
        record = {
            "type": "recover",
            "cause": "server_restarted" if self._journal.renumbered else "recorder_replaced",
            "salvaged": {
                "until_us": self._now_us,
                "segments": sum(track.progress()["segments"] for track in self._roster),
                "bytes": sum(track.stored_bytes for track in self._roster),
            },
            # Inputs that were not acknowledged come again from a server that still has them.
            "lost": {"since_us": self._now_us if self._journal.renumbered else None},
        }
        records = self._outbox.records
        notes = self._journal.commit(self._snapshot(), [*records, record], note=True)
        records.clear()
        self.reports += map(wire.CheckpointMade, notes)


def _writable(event: dict[str, Any]) -> dict[str, Any]:
    """The event, or its name and why it is not there: one that cannot be written stops nothing."""
    try:
        size = len(canonical_json(event))
    except (ValueError, TypeError, RecursionError) as error:
        return {"type": str(event.get("type")), "omitted": type(error).__name__}
    if size > MAX_EVENT_BYTES:
        return {"type": str(event.get("type"))[:64], "omitted": f"{size} bytes"}
    return event
