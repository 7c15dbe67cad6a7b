"""The open segment of one track: chunks into a ``.part`` file, then hashed, named and durable.

Before this: :mod:`recorder.cmaf` or :mod:`recorder.webm`, which make the chunks. After it:
:mod:`recorder.ledger`, which gets a line for each closed segment.

A chunk is durable when :meth:`SegmentFile.append` returns. The hash is kept while writing, so that
closing costs one rename whatever the length. A recorder that takes over brings the file back to
what its state knows: everything after that comes again, as the same bytes.
"""

from __future__ import annotations

import hashlib
import os
from pathlib import Path
from typing import Any, NamedTuple

from recorder.archive import Container, Layout
from recorder.ledger import AppendFile, storage_error, sync_directory
from recorder.state import Persistent
from rooms.errors import ArchiveBroken

_READ_BYTES = 1 << 20


class StoredFile(NamedTuple):
    """A finished file of the archive: its name from the root, bytes, and SHA-256 in hex."""

    file: str
    size: int
    sha256: str


class SegmentFile(Persistent):
    """The segments of one track, one open at a time. One thread owns it."""

    _STATE = ("closed", "size", "total_bytes")

    def __init__(self, layout: Layout, track_id: str, container: Container) -> None:
        self.closed = 0
        """How many segments are finished; the open one has the next number."""
        self.size = 0
        """Bytes of the open segment so far."""
        self.total_bytes = 0
        """Bytes of all segments so far."""
        self._layout = layout
        self._track_id = track_id
        self._container: Container = container
        self._part = layout.part(track_id)
        self._file: AppendFile | None = None
        self._hash = hashlib.sha256()

    def write_init(self, content: bytes) -> StoredFile:
        """Write the initialisation file, and make the track's folder for it. Durable on return.

        Raises the errors of :func:`recorder.ledger.storage_error`.
        """
        path = self._layout.init(self._track_id, self._container)
        try:
            path.parent.mkdir(exist_ok=True)
            sync_directory(path.parent.parent)
            path.unlink(missing_ok=True)
        except OSError as error:
            raise storage_error(error, path) from error
        file = AppendFile.create(path)
        file.append(content, sync=True)
        file.close()
        digest = hashlib.sha256(content).hexdigest()
        return StoredFile(self._layout.relative(path), len(content), digest)

    def append(self, chunk: bytes) -> None:
        """Add a chunk to the open segment, durable on return.

        Raises the errors of :meth:`recorder.ledger.AppendFile.append`.
        """
        if self._file is None:
            try:
                self._file = _new_part(self._part)
            except OSError as error:
                raise storage_error(error, self._part) from error
        self._file.append(chunk, sync=True)
        self._hash.update(chunk)
        self.size += len(chunk)
        self.total_bytes += len(chunk)

    def close(self) -> StoredFile:
        """Finish the open segment under its number. Raises what :meth:`append` raises."""
        assert self._file is not None
        path = self._layout.segment(self._track_id, self.closed + 1, self._container)
        try:
            self.release()
            self._part.rename(path)
            # The next one is made with it, so that one sync of the folder serves both.
            self._file = _new_part(self._part)
        except OSError as error:
            raise storage_error(error, path) from error
        stored = StoredFile(self._layout.relative(path), self.size, self._hash.hexdigest())
        self.closed += 1
        self.size = 0
        self._hash = hashlib.sha256()
        return stored

    def finish(self) -> None:
        """No segment follows. Raises as :meth:`append` does."""
        self.release()
        if not self.size:
            try:
                self._part.unlink(missing_ok=True)
            except OSError as error:
                raise storage_error(error, self._part) from error

    def release(self) -> None:
        """Close the descriptor and leave the file as it is."""
        if self._file is not None:
            self._file.close()
            self._file = None

    def restore(self, values: list[Any]) -> None:
        """Bring the files of the track back to the moment of the state; see the module.

        Raises :class:`ArchiveBroken` when less is there than was durable.
        """
        super().restore(values)
        directory = self._part.parent
        if not directory.is_dir():
            return
        named = self._layout.segment(self._track_id, self.closed + 1, self._container)
        try:
            for path in directory.glob(f"[0-9]*{named.suffix}"):
                if int(path.stem) > self.closed + 1:
                    path.unlink()
            if named.exists():
                # It was finished after the state was written: it is open again.
                named.rename(self._part)
            if not self.size:
                self._part.unlink(missing_ok=True)
                return
            self._reopen()
        except OSError as error:
            raise storage_error(error, self._part) from error

    def _reopen(self) -> None:
        found = self._part.stat().st_size if self._part.exists() else 0
        if found < self.size:
            raise ArchiveBroken(f"{self._part.name} of {self._track_id} lacks durable bytes")
        self._file = AppendFile.resume(self._part, self.size)
        left = self.size
        with self._part.open("rb") as file:
            while left:
                piece = file.read(min(left, _READ_BYTES))
                self._hash.update(piece)
                left -= len(piece)


def _new_part(path: Path) -> AppendFile:
    """An empty file whose name is durable; its content becomes so with each chunk."""
    flags = os.O_WRONLY | os.O_CREAT | os.O_TRUNC | os.O_APPEND | os.O_CLOEXEC
    descriptor = os.open(path, flags, 0o644)
    sync_directory(path.parent)
    return AppendFile(path, descriptor, 0)
