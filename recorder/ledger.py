"""The ledger: one hash-chained JSON line for each segment, gap and event of a session.

Before this: :mod:`recorder.segment` has a segment durable on disk. After it:
:mod:`recorder.checkpoint` signs the tree over the lines, :mod:`recorder.manifest` lists the file.

A line is compact JSON in UTF-8 ended by LF, with the keys ``n``, ``type``, ``prev`` first.
``prev`` is the SHA-256 of the whole previous line with its LF (64 zeros for line 0), so that
anybody can check the chain by hand: ``sed -n 7p chain.jsonl | sha256sum`` is the ``prev`` of line
8. Lines are written once and never changed. The records and their fields: ``docs/ARCHIVE.md``,
section 4.
"""

from __future__ import annotations

import errno
import hashlib
import json
import os
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any, NamedTuple, Self

from recorder.merkle import Tree
from rooms.errors import (
    ArchiveBroken,
    ArchiveDirUnwritable,
    DiskFull,
    FieldInvalid,
    MessageTooLarge,
)

MAX_LINE_BYTES = 1 << 20
"""No line is longer; a verifier may refuse one that is without reading it into memory."""

FIRST_PREV = "0" * 64
"""``prev`` of line 0."""


def storage_error(error: OSError, path: Path) -> DiskFull | ArchiveDirUnwritable:
    """The error that stands for a failed write to ``path``."""
    if error.errno in (errno.ENOSPC, errno.EDQUOT, errno.EFBIG):
        return DiskFull(f"no space left for {path.name}")
    return ArchiveDirUnwritable(f"cannot write {path.name}: {error.strerror}")


def sync_directory(path: Path) -> None:
    """Make the names inside the directory ``path`` durable."""
    descriptor = os.open(path, os.O_RDONLY | os.O_DIRECTORY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


class AppendFile:
    """A file that grows by whole pieces: one that cannot be written whole leaves no trace."""

    def __init__(self, path: Path, descriptor: int, size: int) -> None:
        self._path = path
        self._descriptor = descriptor
        self.size = size

    @classmethod
    def create(cls, path: Path) -> Self:
        """Start an empty file. Raises :class:`ArchiveDirUnwritable` (also when it exists)."""
        return cls._open(path, os.O_CREAT | os.O_EXCL, 0)

    @classmethod
    def resume(cls, path: Path, keep: int) -> Self:
        """Go on with the first ``keep`` bytes of a file (made when it is missing)."""
        return cls._open(path, os.O_CREAT, keep)

    @classmethod
    def _open(cls, path: Path, flags: int, size: int) -> Self:
        try:
            descriptor = os.open(path, os.O_WRONLY | os.O_APPEND | os.O_CLOEXEC | flags, 0o644)
            os.ftruncate(descriptor, size)
            os.fsync(descriptor)
            sync_directory(path.parent)
        except OSError as error:
            raise storage_error(error, path) from error
        return cls(path, descriptor, size)

    def append(self, piece: bytes, sync: bool) -> None:
        """Write ``piece``, durable on return when ``sync``; all of it or nothing.

        Raises :class:`DiskFull` or :class:`ArchiveDirUnwritable`; the file is then as it was
        before.
        """
        try:
            written = 0
            while written < len(piece):
                written += os.write(self._descriptor, piece[written:])
            if sync:
                os.fdatasync(self._descriptor)
        except OSError as error:
            # Half a line would make the next append unreadable; shrinking needs no space.
            os.ftruncate(self._descriptor, self.size)
            raise storage_error(error, self._path) from error
        self.size += len(piece)

    def sync(self) -> None:
        """Make everything written so far durable."""
        try:
            os.fdatasync(self._descriptor)
        except OSError as error:
            raise storage_error(error, self._path) from error

    def close(self) -> None:
        """Close the descriptor; nothing may be appended afterwards."""
        os.close(self._descriptor)


class LedgerLine(NamedTuple):
    """A line as it was written: its number and its bytes with the LF."""

    n: int
    raw: bytes


class Ledger:
    """The open ledger of one recording. One thread owns it."""

    def __init__(self, file: AppendFile, tree: Tree, prev: str, torn_bytes: int) -> None:
        self._file = file
        self._tree = tree
        self._prev = prev
        self.torn_bytes = torn_bytes

    @classmethod
    def create(cls, path: Path) -> Ledger:
        """Start an empty ledger. Raises :class:`ArchiveDirUnwritable` (also when it exists)."""
        return cls(AppendFile.create(path), Tree(), FIRST_PREV, 0)

    @classmethod
    def resume(cls, path: Path) -> Ledger:
        """Go on with the ledger of a recorder that died.

        A torn last line (no LF) is cut off; :attr:`torn_bytes` says how much that was. Raises
        :class:`ArchiveBroken` when a whole line does not belong.
        """
        tree, prev, keep = Tree(), FIRST_PREV, 0
        for raw, _ in _chained_lines(path):
            tree.append(raw)
            prev = hashlib.sha256(raw).hexdigest()
            keep += len(raw)
        torn = path.stat().st_size - keep
        return cls(AppendFile.resume(path, keep), tree, prev, torn)

    @property
    def size(self) -> int:
        """How many lines there are."""
        return len(self._tree)

    def root(self) -> bytes:
        """The Merkle root over all lines so far, 32 bytes."""
        return self._tree.root()

    def append(self, record: Mapping[str, Any], *, sync: bool = True) -> LedgerLine:
        """Write ``record`` (with ``type``, without ``n`` and ``prev``) as the next line.

        ``n`` is the number of the *line*: a ``seg`` record calls the number of its segment
        ``number``. The names of all fields: ``docs/ARCHIVE.md``, section 4.

        Durable on return unless ``sync`` is False. A text with a lone surrogate, which no UTF-8
        can carry, is written with ``?`` in its place: what somebody typed must not stop a
        recording. Raises :class:`MessageTooLarge` above :data:`MAX_LINE_BYTES`, :class:`DiskFull`,
        :class:`ArchiveDirUnwritable`; the ledger is then as it was before.
        """
        if "n" in record or "prev" in record:
            raise FieldInvalid("a ledger record has no n or prev of its own")
        rest = dict(record)
        line = {"n": self.size, "type": rest.pop("type"), "prev": self._prev, **rest}
        raw = canonical_json(line) + b"\n"
        if len(raw) > MAX_LINE_BYTES:
            raise MessageTooLarge(f"a ledger line of {len(raw)} bytes")
        self._file.append(raw, sync)
        self._tree.append(raw)
        self._prev = hashlib.sha256(raw).hexdigest()
        return LedgerLine(line["n"], raw)

    def sync(self) -> None:
        """Make every line durable, before a checkpoint is signed or anything acknowledged."""
        self._file.sync()

    def close(self) -> None:
        """Close the file."""
        self._file.close()


def canonical_json(value: Mapping[str, Any]) -> bytes:
    """``value`` as the archive writes JSON: compact, UTF-8, keys in the given order, no NaN."""
    text = json.dumps(value, ensure_ascii=False, separators=(",", ":"), allow_nan=False)
    return text.encode("utf-8", "replace")


def read_records(path: Path) -> Iterator[dict[str, Any]]:
    """The records of a ledger in order, for a recorder that resumes; a torn last line is left out.

    Raises :class:`ArchiveBroken` where the chain does not hold.
    """
    for _, record in _chained_lines(path):
        yield record


def _chained_lines(path: Path) -> Iterator[tuple[bytes, dict[str, Any]]]:
    prev = FIRST_PREV
    with path.open("rb") as file:
        n = 0
        while raw := file.readline(MAX_LINE_BYTES + 1):
            if not raw.endswith(b"\n"):
                if file.read(1):
                    raise ArchiveBroken(f"ledger line {n} is too long")
                return
            try:
                record = json.loads(raw)
            except (ValueError, RecursionError) as error:
                raise ArchiveBroken(f"ledger line {n} is no JSON") from error
            if not isinstance(record, dict) or (record.get("n"), record.get("prev")) != (n, prev):
                raise ArchiveBroken(f"ledger line {n} does not continue the chain")
            yield raw, record
            prev = hashlib.sha256(raw).hexdigest()
            n += 1
