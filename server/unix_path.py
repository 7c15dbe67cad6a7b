"""Addresses of Unix sockets, which may have 107 bytes, in folders whose names may be longer."""

from __future__ import annotations

import os
from pathlib import Path

MAX_BYTES = 107


class SocketFolder:
    """A folder of sockets, kept open: a path through its descriptor is always short enough."""

    def __init__(self, path: Path) -> None:
        """Make the folder, for this user alone. Raises :class:`OSError`."""
        path.mkdir(mode=0o700, parents=True, exist_ok=True)
        # It may be there already, of whatever rights.
        path.chmod(0o700)
        self.path = path
        self._descriptor = os.open(path, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)

    def address(self, name: str) -> str:
        """Where to bind or connect for the socket ``name``; good in this process alone."""
        whole = str(self.path / name)
        if len(os.fsencode(whole)) <= MAX_BYTES:
            return whole
        return f"/proc/self/fd/{self._descriptor}/{name}"

    def close(self) -> None:
        """Let go of the folder: addresses are of no further use."""
        os.close(self._descriptor)
