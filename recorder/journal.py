"""Makes durable what the intake decides, in an order that a crash at any point leaves whole.

Before this: :mod:`recorder.intake`. After it: :mod:`recorder.ledger`, :mod:`recorder.checkpoint`
and at the end :mod:`recorder.seal`.

A commit is: media in the files (done by the tracks), then the state with the ledger lines that are
due, then those lines and their checkpoints. So the ledger is never ahead of the state. A recorder
that takes over appends the lines that the dead one no longer could, and nothing twice.

The seed of the session key is part of the state, so that a recording whose server died too can
still be closed under its own key. It is overwritten when the archive is sealed: from then on nobody
can sign another checkpoint.
"""

from __future__ import annotations

import hashlib
import shutil
import socket
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any

from recorder import manifest, seal, wire
from recorder.archive import Layout
from recorder.checkpoint import CheckpointFile, SessionKey
from recorder.ledger import AppendFile, Ledger, read_records, storage_error
from recorder.state import StateFile
from rooms.errors import ArchiveBroken, ArchiveUnknown


class Journal:
    """The archive of one recording while it is written. One thread owns it.

    Everything here raises :class:`~rooms.errors.DiskFull`, ``ArchiveDirUnwritable`` or
    ``ArchiveBroken``; what is on disk then can be taken up again.
    """

    def __init__(self, job: wire.Job) -> None:
        self.layout = Layout.recording(Path(job.archive_parent), job.session_id)
        self.state: dict[str, Any] | None = None
        """What :meth:`commit` was last given by a recorder that died; None for a new recording."""
        self.renumbered = False
        """The server died too: its inputs are numbered anew."""
        self.closing: Mapping[str, Any] | None = None
        """The ``close`` record, once it is decided."""
        self.opened_wall = job.opened_wall
        self._job = job
        self._open = True
        self._digests: dict[str, tuple[int, str]] = {}
        self._inits: dict[str, Mapping[str, Any]] = {}
        self._segments: dict[str, list[Mapping[str, Any]]] = {}
        try:
            if job.recover and not self.layout.root.is_dir():
                raise ArchiveUnknown(f"no recording of session {job.session_id} to recover")
            self.layout.make_directories()
        except OSError as error:
            raise storage_error(error, self.layout.root) from error
        self._file, stored = StateFile.open(self.layout.state)
        try:
            if stored is None:
                self._create()
            else:
                self._resume(stored)
        except BaseException:
            self._file.close()
            raise

    def commit(
        self, state: Mapping[str, Any], records: Sequence[Mapping[str, Any]], *, note: bool = False
    ) -> list[str]:
        """Make ``state`` and the ledger lines that came with it durable.

        Returns the checkpoints: one for each video segment, and one more when ``note`` is set.
        """
        if records and records[-1]["type"] == "close":
            closing = {**records[-1], "checkpoints": self._checkpoints.count + _pictures(records)}
            records = [*records[:-1], closing]
        self._file.write(
            {
                "key": self._key.verifier_key,
                "seed": self._seed,
                "run": self._job.session_key,
                "ledger": self._ledger.size,
                "notes": self._checkpoints.count + _pictures(records) + note,
                "lines": records,
                "intake": state,
            }
        )
        return self._apply(records, note=note) if records or note else []

    def seal(self) -> list[wire.Report]:
        """Seal the archive, after the commit of its ``close`` record.

        Raises what :func:`recorder.seal.seal_archive` raises; it can be tried again.
        """
        assert self.closing is not None
        reports: list[wire.Report] = []
        if self._checkpoints.count == self.closing["checkpoints"]:
            reports.append(wire.CheckpointMade(self._sign()))
        self._close_lines()
        for track_id, init in self._inits.items():
            if init["container"] == "cmaf" and self._segments.get(track_id):
                self._write_playlist(track_id, init)
        result = seal.seal_archive(
            self.layout, self._session, self._digests, self._job.seal, self._job.software
        )
        self._file.remove()
        root = str(result.layout.root)
        reports.append(wire.Sealed(root, result.root_sha256, list(self.closing["tracks"])))
        return reports

    def release(self) -> None:
        """Let go of the files as they are."""
        self._close_lines()
        self._file.close()

    def keep_tracks(self, known: Iterable[str]) -> None:
        """Delete the folders of tracks that only inputs after the state have made."""
        names = set(known)
        try:
            for folder in self.layout.tracks.iterdir():
                if folder.name not in names:
                    shutil.rmtree(folder)
        except OSError as error:
            raise storage_error(error, self.layout.tracks) from error

    # Starting.

    def _create(self) -> None:
        job, layout = self._job, self.layout
        self._seed = job.session_key
        self._key = SessionKey(self._seed, job.origin)
        self._session: Mapping[str, Any] = job.session
        if layout.chain.exists() and sum(1 for _ in read_records(layout.chain)) > 1:
            raise ArchiveBroken(f"{layout.state.name} is missing: the recording cannot go on")
        if job.recover:
            raise ArchiveUnknown(f"nothing was recorded of session {job.session_id}")
        # A recorder that died before its first state has promised nothing.
        for path in (layout.chain, layout.checkpoints):
            path.unlink(missing_ok=True)
        self._ledger = Ledger.create(layout.chain)
        self._checkpoints = CheckpointFile.create(layout.checkpoints)
        self._ledger.append(
            {
                "type": "open",
                "format": manifest.FORMAT,
                "session": self._session,
                "opened_wall": job.opened_wall,
                "origin": job.origin,
                "key": self._key.verifier_key,
                "software": job.software,
                "recorder": socket.gethostname(),
                "clock": {"source": "server", "offset_us": None},
            }
        )

    def _resume(self, stored: Mapping[str, Any]) -> None:
        layout = self.layout
        self._seed = stored["seed"]
        self.renumbered = stored["run"] != self._job.session_key
        self.state = stored["intake"]
        self._ledger = Ledger.resume(layout.chain)
        self._checkpoints = CheckpointFile.resume(layout.checkpoints)
        for record in read_records(layout.chain):
            if record["type"] == "open":
                self.opened_wall = record["opened_wall"]
                self._session = record["session"]
                self._key = SessionKey(self._seed, record["origin"])
            self._note(record)
        lines = stored["lines"]
        done = self._ledger.size - stored["ledger"]
        if self._ledger.size < 1 or not 0 <= done <= len(lines):
            raise ArchiveBroken("the ledger does not fit the recorder's state")
        self._apply(lines[done:])
        while self._checkpoints.count < stored["notes"]:
            self._sign()

    # Writing.

    def _apply(self, records: Sequence[Mapping[str, Any]], *, note: bool = False) -> list[str]:
        heads = []
        for record in records:
            self._ledger.append(record, sync=False)
            self._note(record)
            if "width" in record:
                heads.append((self._ledger.size, self._ledger.root()))
        if note:
            heads.append((self._ledger.size, self._ledger.root()))
        self._ledger.sync()
        notes = [self._key.sign(*head) for head in heads]
        for text in notes:
            self._checkpoints.append(text)
        return notes

    def _close_lines(self) -> None:
        if self._open:
            self._open = False
            self._ledger.close()
            self._checkpoints.close()

    def _sign(self) -> str:
        text = self._key.sign(self._ledger.size, self._ledger.root())
        self._checkpoints.append(text)
        return text

    def _note(self, record: Mapping[str, Any]) -> None:
        """Remember what sealing needs of a ledger line."""
        kind = record["type"]
        if kind in ("init", "seg"):
            self._digests[record["file"]] = (record["size"], record["sha256"])
        if kind == "init":
            self._inits[record["track"]] = record
        elif kind == "seg":
            fields = ("file", "media_t0", "media_end", "key", "wall")
            segments = self._segments.setdefault(record["track"], [])
            segments.append({name: record[name] for name in fields})
        elif kind == "close":
            self.closing = record

    def _write_playlist(self, track_id: str, init: Mapping[str, Any]) -> None:
        content = manifest.playlist(init, self._segments[track_id])
        path = self.layout.playlist(track_id)
        file = AppendFile.resume(path, 0)
        file.append(content, sync=True)
        file.close()
        self._digests[self.layout.relative(path)] = manifest.digest(content)


class SealedArchive:
    """Stands in for a recording whose recorder died after sealing and before it could say so."""

    def __init__(self, layout: Layout) -> None:
        self.reports: list[wire.Report] = [wire.Hello(0)]
        self.sealed = False
        self.hurried = True
        self._layout = layout

    def packet(self, n: int, arrival_us: int, index: int, packet: bytes) -> None:
        """Everything was recorded already."""

    def take(self, message: wire.Message) -> None:
        """Wait for the order to close, then say that it is done. Raises :class:`ArchiveBroken`."""
        if not isinstance(message, wire.CloseInput):
            return
        try:
            layout = seal.finish(self._layout)
            root = hashlib.sha256(layout.tag_manifest.read_bytes()).hexdigest()
        except OSError as error:
            raise storage_error(error, self._layout.root) from error
        closing = [record for record in read_records(layout.chain) if record["type"] == "close"]
        if not closing:
            raise ArchiveBroken("the sealed archive has no close line")
        layout.state.unlink(missing_ok=True)
        self.reports.append(wire.Sealed(str(layout.root), root, closing[0]["tracks"]))
        self.sealed = True

    def stop(self) -> None:
        """Nothing is open."""

    def release(self) -> None:
        """Nothing is open."""


def _pictures(records: Sequence[Mapping[str, Any]]) -> int:
    """How many of the records are segments of a picture track."""
    return sum("width" in record for record in records)
