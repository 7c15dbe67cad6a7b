"""One session's recording as the server sees it: tap, recorder, and what is known to be on disk.

Says when a recording may be called running, when it stalls, and how long it is; decides nothing
about the session. The lamp at every terminal follows :attr:`Recording.durable`, and nothing else
lights it.
"""

from __future__ import annotations

import asyncio
import os
import shutil
import time
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from recorder import wire
from recorder.archive import Layout
from recorder.ledger import storage_error
from recorder.state import await_release
from rooms.errors import DiskFull
from rooms.moment import format_wall
from rooms.session import Session
from server.config import Config
from server.recorders import Recorder
from server.sfu.tap import Tap
from server.sfu.uptrack import UpTrack
from server.version import SOFTWARE

ACTIVE_NS = 1_500_000_000
"""A track that sent nothing for this long does not hold back the start of a recording."""


@dataclass(frozen=True, slots=True)
class Callbacks:
    """What a recording tells its conductor."""

    on_durable: Callable[[], None]
    on_sealed: Callable[[wire.Sealed], None]
    on_failed: Callable[[str], None]
    on_replaced: Callable[[str], None]
    on_checkpoint: Callable[[str], None]


class Recording:
    """From the first published track (a recorder is made ready) to the sealed archive."""

    def __init__(
        self, session: Session, config: Config, seal: wire.SealJob, callbacks: Callbacks
    ) -> None:
        self.tap: Tap | None = None
        self.durable: wire.Durable | None = None
        self.replaced = 0
        """Recorders that died and were replaced."""
        self.progress_ns = 0
        """When the recorder last confirmed something new."""
        self._session = session
        self._config = config
        self._seal = seal
        self._callbacks = callbacks
        self._recorder = self._new_recorder()

    @property
    def recorder_pid(self) -> int | None:
        """The recorder's process, for operators and tests."""
        return self._recorder.pid

    def prepare(self) -> None:
        """Start a recorder that waits, so that opening is quick."""
        self._recorder.prepare()

    async def check_reserve(self) -> None:
        """Raise ``disk_full`` where less than ``recording.reserve_mib`` is free for archives.

        Where the disk cannot be asked it is ``archive_dir_unwritable``.
        """
        folder, reserve_mib = self._config.archive_dir, self._config.recording.reserve_mib
        try:
            free_mib = await asyncio.to_thread(_free_bytes, folder) >> 20
        except OSError as error:
            raise storage_error(error, folder) from error
        if free_mib < reserve_mib:
            raise DiskFull(
                f"{free_mib} MiB are free for archives; "
                f"to open takes {reserve_mib} MiB (recording.reserve_mib)"
            )

    def open(self, opened_ns: int, opened: datetime) -> None:
        """Start: the session clock is zero at ``opened_ns`` of the monotonic clock."""
        if self._recorder.recording:
            self._recorder = self._new_recorder()
        self.set_aside()
        self.durable = None
        self.progress_ns = time.monotonic_ns()
        self.tap = self._new_tap(opened_ns)
        self.tap.start()
        self._recorder.record(self._job(format_wall(opened), recover=False), self.tap)

    def take_up(self, opened_ns: int) -> None:
        """Go on with what a server that died has left; the session clock is that of before.

        The recorder that may still be at work on it is waited for by the one that is started.
        """
        self.progress_ns = time.monotonic_ns()
        self.tap = self._new_tap(opened_ns)
        self.tap.start()
        self._recorder.record(self._job("", recover=True), self.tap)

    async def left(self) -> datetime | None:
        """When the recorder of a server that died last made something durable; None: never."""
        state = Layout.recording(self._config.archive_dir, self._session.id).state
        try:
            return datetime.fromtimestamp((await asyncio.to_thread(state.stat)).st_mtime, UTC)
        except OSError:
            return None

    def set_aside(self) -> None:
        """Keep what an opening that failed has left, under a name that is not used again."""
        set_aside(self._config.archive_dir, self._session.id)

    async def set_aside_left(self) -> None:
        """Keep what an opening has left that no server carries on, once its recorder has ended."""
        state = Layout.recording(self._config.archive_dir, self._session.id).state
        await asyncio.to_thread(await_release, state)
        self.set_aside()

    def _new_tap(self, opened_ns: int) -> Tap:
        return Tap(opened_ns, time.monotonic_ns, self._config.recording.tap_buffer_mib << 20)

    def _job(self, opened_wall: str, *, recover: bool) -> wire.Job:
        recording = self._config.recording
        return wire.Job(
            session_id=self._session.id,
            archive_parent=str(self._config.archive_dir),
            # Made for this session alone; the recorder keeps it until it has sealed the archive.
            session_key=os.urandom(32),
            origin=f"tingxun/{self._session.id}",
            opened_wall=opened_wall,
            session=self._session.to_record(),
            software=SOFTWARE,
            segment_target_us=recording.segment_ms * 1000,
            chunk_us=recording.chunk_ms * 1000,
            repair_wait_us=recording.repair_wait_ms * 1000,
            recover=recover,
            seal=self._seal,
        )

    def add(self, up: UpTrack, site_id: str, label: str) -> None:
        """Record a track."""
        if self.tap is not None:
            self.tap.add(up, site_id, label)

    def remove(self, up: UpTrack) -> None:
        """Record a track no longer."""
        if self.tap is not None:
            self.tap.remove(up)

    def feed(self, on: bool) -> None:
        """Whether packets go to the recorder: not in a pause."""
        if self.tap is not None:
            self.tap.feeding = on

    def close(self, closed_us: int | None) -> None:
        """Nothing more comes: the recorder writes down what it has, and seals."""
        if self.tap is not None:
            self.tap.close(closed_us)

    def event(self, record: Mapping[str, Any]) -> None:
        """Put a room event into the ledger, in its place between the packets."""
        if self.tap is not None:
            self.tap.event(record)

    def confirmed(self, ups: Iterable[UpTrack], since_us: int) -> tuple[bool, bool]:
        """Whether media later than ``since_us`` is on disk: of every active track, of any track."""
        if self.durable is None:
            return False, False
        now_ns = time.monotonic_ns()
        tracks = self.durable.tracks
        active = [up for up in ups if now_ns - up.last_packet_ns < ACTIVE_NS]
        done = [
            up.track_id in tracks and tracks[up.track_id]["last_us"] > since_us for up in active
        ]
        return bool(done) and all(done), any(done)

    def recorded_ms(self, live: Iterable[tuple[int, int | None]]) -> int:
        """How much of the live intervals (session clock, open end None) is on disk."""
        if self.durable is None:
            return 0
        end = self.durable.recorded_us
        total = sum(max(min(to if to is not None else end, end) - at, 0) for at, to in live)
        return total // 1000

    def stalled(self, stall_ms: int) -> bool:
        """Whether the recorder has confirmed nothing new for too long."""
        return time.monotonic_ns() - self.progress_ns > stall_ms * 1_000_000

    async def stop(self) -> None:
        """End the recorder; what it has is on disk, and can be taken up again."""
        if self.tap is not None:
            self.tap.stop()
            self.tap = None
        await self._recorder.stop()

    def _new_recorder(self) -> Recorder:
        callbacks = self._callbacks
        return Recorder(
            self._session.id,
            on_report=self._reported,
            on_replaced=self._replaced,
            on_lost=lambda: callbacks.on_failed("recorder_lost"),
        )

    def _replaced(self, cause: str) -> None:
        self.replaced += 1
        self._callbacks.on_replaced(cause)

    def _reported(self, report: wire.Report) -> None:
        match report:
            case wire.Durable():
                before = self.durable
                if before is None or report.n > before.n or report.recorded_us > before.recorded_us:
                    self.progress_ns = time.monotonic_ns()
                # A recorder that took over reports anew: what is on disk never becomes less.
                if before is not None and report.recorded_us < before.recorded_us:
                    report = replace(report, recorded_us=before.recorded_us)
                self.durable = report
                self._callbacks.on_durable()
            case wire.KeyFrameWanted(track_index):
                up = self.tap.track(track_index) if self.tap is not None else None
                if up is not None:
                    up.request_key_frame()
            case wire.CheckpointMade(note):
                self._callbacks.on_checkpoint(note)
            case wire.Sealed():
                self._callbacks.on_sealed(report)
            case wire.Failed(code):
                self._callbacks.on_failed(code)
            case wire.Hello():
                pass


def _free_bytes(folder: Path) -> int:
    """What is free for us on the disk of ``folder``, or on the one that it would be made on."""
    there = next(path for path in (folder, *folder.parents) if path.exists())
    return shutil.disk_usage(there).free


def set_aside(archive_dir: Path, session_id: str) -> None:
    """Keep what an opening that failed has left under a name of its own, never written over."""
    layout = Layout.recording(archive_dir, session_id)
    if not layout.root.exists():
        return
    number = 1
    while (aside := archive_dir / f"{session_id}.failed-{number}").exists():
        number += 1
    layout.root.rename(aside)
    if layout.state.exists():
        layout.state.rename(archive_dir / f"{session_id}.failed-{number}.state.json")


def unfinished(archive_dir: Path) -> list[str]:
    """Session ids of recordings that a server that died has left in ``archive_dir``."""
    found = [path for path in archive_dir.glob("*.recording") if path.is_dir()]
    return sorted(Layout(path).archive_id for path in found)
