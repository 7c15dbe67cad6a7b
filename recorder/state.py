"""What a recorder that takes over from a dead one must know: written often, in place, never torn.

Everything that decides the bytes of an archive is a function of the numbered inputs. This file is
that function's memory after input ``n``: with it and the inputs from ``n + 1`` on, another process
goes on as if nothing had happened. It lies beside the archive, at
:attr:`recorder.archive.Layout.state`, and is no evidence.

The file has two slots that are written in turn, so that the older one is whole while the newer one
is being written; one ``fdatasync`` and no rename makes it cheap enough for twice a second. A slot
is ``magic | generation u64 | JSON bytes u32 | blob bytes u32 | SHA-256 of the rest | JSON |
blobs``; byte strings lie in the blobs and stand in the JSON as ``{"$": [offset, length]}``.

Whoever has the file open has it locked (``flock``), and with it the archive: a recorder whose
server died may still be writing when its successor starts, which therefore waits here. The kernel
lets go of the lock when the process ends, in whatever way.
"""

from __future__ import annotations

import contextlib
import fcntl
import hashlib
import json
import os
import struct
import time
from collections.abc import Mapping
from pathlib import Path
from typing import Any, Self

from recorder.ledger import storage_error, sync_directory
from rooms.errors import ArchiveBroken, ArchiveBusy

SLOT_BYTES = 64 << 20
"""Room for one state; holes in the file cost nothing. A usual state has some kilobytes."""

_WIPED_BYTES = 64 << 10
"""So much of each slot is overwritten at the end; the key lies in the first bytes."""

LOCK_WAIT_S = 10.0
"""How long the recorder before may take to write down what it has and let go of the archive."""

_LOCK_LOOK_S = 0.02

_MAGIC = b"TXSTATE3"
"""The number changes with the shape of any part's memory."""

_ANY_MAGIC = b"TXSTATE"
_HEAD = struct.Struct("!8sQII32s")


class Persistent:
    """A part of the recorder whose memory goes into the state: the attributes in ``_STATE``.

    They hold JSON values and bytes; tuples come back as tuples only where :meth:`restore` is
    overridden.
    """

    _STATE: tuple[str, ...] = ()

    def snapshot(self) -> list[Any]:
        """The values, for :meth:`restore`; to be written before the object changes again."""
        return [getattr(self, name) for name in self._STATE]

    def restore(self, values: list[Any]) -> None:
        """Take over what :meth:`snapshot` gave. Raises ValueError when it is of another shape."""
        for name, value in zip(self._STATE, values, strict=True):
            setattr(self, name, value)


class StateFile:
    """The two slots of one recording. One thread owns it."""

    def __init__(self, path: Path, descriptor: int, generation: int) -> None:
        self._path = path
        self._descriptor = descriptor
        self._generation = generation

    @classmethod
    def open(cls, path: Path) -> tuple[Self, dict[str, Any] | None]:
        """Open or make the file; also gives the newest state that is whole, if there is one.

        Raises :class:`~rooms.errors.ArchiveBusy` while another process has it,
        :class:`~rooms.errors.ArchiveBroken` when another version has written it, and the errors of
        :func:`recorder.ledger.storage_error`.
        """
        try:
            descriptor = _locked(path, os.O_RDWR | os.O_CREAT)
            try:
                sync_directory(path.parent)
                slots = [_read_slot(descriptor, index) for index in (0, 1)]
            except BaseException:
                os.close(descriptor)
                raise
        except OSError as error:
            raise storage_error(error, path) from error
        found = [slot for slot in slots if slot is not None]
        generation, state = max(found, key=lambda slot: slot[0], default=(0, None))
        return cls(path, descriptor, generation), state

    def write(self, state: Mapping[str, Any]) -> None:
        """Make ``state`` the newest, durable on return. Raises as :meth:`open` does."""
        blobs: list[bytes] = []
        size = 0

        def outside(value: object) -> dict[str, list[int]]:
            nonlocal size
            if not isinstance(value, bytes):
                raise TypeError(f"no part of a state: {type(value).__name__}")
            blobs.append(value)
            size += len(value)
            return {"$": [size - len(value), len(value)]}

        text = json.dumps(state, separators=(",", ":"), check_circular=False, default=outside)
        head = text.encode()
        body = b"".join((head, *blobs))
        if len(body) + _HEAD.size > SLOT_BYTES:
            raise ArchiveBroken(f"a recorder state of {len(body)} bytes")
        generation = self._generation + 1
        sizes = struct.pack("!QII", generation, len(head), size)
        digest = hashlib.sha256(sizes + body).digest()
        slot = _HEAD.pack(_MAGIC, generation, len(head), size, digest) + body
        try:
            at, written = (generation & 1) * SLOT_BYTES, 0
            while written < len(slot):
                written += os.pwrite(self._descriptor, slot[written:], at + written)
            os.fdatasync(self._descriptor)
        except OSError as error:
            raise storage_error(error, self._path) from error
        self._generation = generation

    def close(self) -> None:
        """Close the file and leave it: the recording can be resumed."""
        os.close(self._descriptor)

    def remove(self) -> None:
        """Overwrite and delete the file, with the key in it: the archive is sealed."""
        with contextlib.suppress(OSError):
            for index in (0, 1):
                os.pwrite(self._descriptor, bytes(_WIPED_BYTES), index * SLOT_BYTES)
            os.fdatasync(self._descriptor)
            self._path.unlink()
        self.close()


def await_release(path: Path) -> None:
    """Wait until nobody has the state at ``path`` open, or there is none. Raises ArchiveBusy."""
    try:
        os.close(_locked(path, os.O_RDONLY))
    except FileNotFoundError:
        return
    except OSError as error:
        raise storage_error(error, path) from error


def _locked(path: Path, flags: int) -> int:
    """The file as it is called now, open and locked: the one before may be deleted meanwhile."""
    deadline_s = time.monotonic() + LOCK_WAIT_S
    while True:
        descriptor = os.open(path, flags | os.O_CLOEXEC, 0o600)
        try:
            fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
            if os.path.samestat(os.fstat(descriptor), path.stat()):
                return descriptor
        except BlockingIOError:
            if time.monotonic() > deadline_s:
                os.close(descriptor)
                raise ArchiveBusy(f"{path.name} is locked by another recorder") from None
            time.sleep(_LOCK_LOOK_S)
        except FileNotFoundError:
            pass
        os.close(descriptor)


def _read_slot(descriptor: int, index: int) -> tuple[int, dict[str, Any]] | None:
    head = os.pread(descriptor, _HEAD.size, index * SLOT_BYTES)
    if len(head) < _HEAD.size:
        return None
    magic, generation, text_bytes, blob_bytes, digest = _HEAD.unpack(head)
    if magic != _MAGIC and magic.startswith(_ANY_MAGIC):
        raise ArchiveBroken("the state of this recording is of another version of the recorder")
    if magic != _MAGIC or text_bytes + blob_bytes + _HEAD.size > SLOT_BYTES:
        return None
    body = os.pread(descriptor, text_bytes + blob_bytes, index * SLOT_BYTES + _HEAD.size)
    if hashlib.sha256(head[8:24] + body).digest() != digest:
        return None

    def inside(value: dict[str, Any]) -> Any:
        if value.keys() == {"$"}:
            start, length = value["$"]
            return body[text_bytes + start : text_bytes + start + length]
        return value

    return generation, json.loads(body[:text_bytes], object_hook=inside)
