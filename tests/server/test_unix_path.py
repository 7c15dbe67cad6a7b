"""Unix sockets in folders with long names, and for nobody else."""

from __future__ import annotations

import socket
from pathlib import Path

from server.unix_path import MAX_BYTES, SocketFolder


def test_a_socket_in_a_folder_with_a_long_name(tmp_path: Path) -> None:
    deep = tmp_path / ("a" * 60) / ("b" * 60)
    folder = SocketFolder(deep)
    address = folder.address("media-1.sock")
    assert len(address) <= MAX_BYTES
    with socket.socket(socket.AF_UNIX) as listener, socket.socket(socket.AF_UNIX) as client:
        listener.bind(address)
        listener.listen()
        assert (deep / "media-1.sock").is_socket()
        client.connect(SocketFolder(deep).address("media-1.sock"))
    assert deep.stat().st_mode & 0o077 == 0
    folder.close()


def test_a_short_path_is_itself(tmp_path: Path) -> None:
    folder = SocketFolder(Path("/tmp") / tmp_path.name[:20])
    assert folder.address("m.sock") == str(folder.path / "m.sock")
    folder.close()
    folder.path.rmdir()
