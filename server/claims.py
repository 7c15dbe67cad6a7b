"""Which process of the server holds a session: at most one, whatever becomes of the others.

A claim is an exclusive lock (``flock``) on a file of the session in ``data_dir/run/sessions``. The
kernel lets go of it when its process ends, in whatever way, and never before: a process that was
only thought dead still has its sessions, and whoever wants them has to end it first. What is in the
file says who holds it, to be read by others.
"""

from __future__ import annotations

import fcntl
import os
from pathlib import Path

from recorder.archive import check_session_id
from rooms.errors import DataDirUnwritable, SessionHeldElsewhere


class Claims:
    """The sessions that this process holds. ``holder`` is its name, for the others to read."""

    def __init__(self, folder: Path, holder: str) -> None:
        """Make ``folder``; raises :class:`~rooms.errors.DataDirUnwritable`."""
        self._folder = folder
        self._holder = holder
        self._held: dict[str, int] = {}
        try:
            folder.mkdir(mode=0o700, parents=True, exist_ok=True)
        except OSError as error:
            raise DataDirUnwritable(f"{folder}: {error.strerror}") from error

    def take(self, session_id: str) -> None:
        """Hold the session; nothing new when it is held already.

        Raises :class:`~rooms.errors.SessionHeldElsewhere` while another process has it (it may be
        one that is just being started: it has its parent's open files for a moment, locks too),
        and :class:`~rooms.errors.DataDirUnwritable`.
        """
        if session_id in self._held:
            return
        path = self._path(session_id)
        try:
            descriptor = os.open(path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
        except OSError as error:
            raise DataDirUnwritable(f"{path}: {error.strerror}") from error
        if not _lock(descriptor, path):
            os.close(descriptor)
            raise SessionHeldElsewhere(f"{session_id} is held by {self.holder(session_id)}")
        os.ftruncate(descriptor, 0)
        os.write(descriptor, self._holder.encode())
        self._held[session_id] = descriptor

    def release(self, session_id: str) -> None:
        """Hold the session no longer; nothing happens where it is not held."""
        descriptor = self._held.pop(session_id, None)
        if descriptor is not None:
            # While it is still locked: nobody else can have begun to use it.
            self._path(session_id).unlink(missing_ok=True)
            os.close(descriptor)

    def release_all(self) -> None:
        """Hold nothing any more."""
        for session_id in list(self._held):
            self.release(session_id)

    def holder(self, session_id: str) -> str | None:
        """The name of the living process that holds the session; None where nobody does."""
        if session_id in self._held:
            return self._holder
        path = self._path(session_id)
        try:
            descriptor = os.open(path, os.O_RDONLY | os.O_CLOEXEC)
        except OSError:
            return None
        try:
            fcntl.flock(descriptor, fcntl.LOCK_SH | fcntl.LOCK_NB)
        except BlockingIOError:
            return os.read(descriptor, 256).decode(errors="replace") or "another process"
        finally:
            os.close(descriptor)
        return None

    def _path(self, session_id: str) -> Path:
        return self._folder / f"{check_session_id(session_id)}.lock"


def _lock(descriptor: int, path: Path) -> bool:
    """Whether the file is locked now, and still the one that is called so."""
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
        return os.path.samestat(os.fstat(descriptor), path.stat())
    except (BlockingIOError, FileNotFoundError):
        return False
