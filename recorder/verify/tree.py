"""Reading an archive that nobody trusts yet: what is on disk, small files, digests of large ones.

Nothing follows a link, opens anything but a regular file, or takes a path from the archive to the
operating system: files are opened only by names that the walk found. Memory is bounded by the
limits here.
"""

from __future__ import annotations

import hashlib
import os
import stat
import threading
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from io import BufferedReader
from pathlib import Path

from recorder.verify.report import Findings

MAX_FILES = 500_000
"""An archive with more files is refused; a day of twelve tracks has about 260 000."""

MAX_TEXT_BYTES = 96 << 20
"""No manifest, checkpoint file or signature is longer: 500 000 lines of a manifest are less."""

HASH_THREADS = 4
"""On cold files several readers keep the disk busy; on warm ones they use the cores."""

_MAX_DEPTH = 8
_READ_BYTES = 1 << 20


@dataclass(slots=True)
class Tree:
    """The regular files below ``root``: relative path to size."""

    root: Path
    files: dict[str, int] = field(default_factory=dict)

    @contextmanager
    def open(self, path: str) -> Iterator[BufferedReader]:
        """Open a file that the walk found; :class:`OSError` when it is no regular file now."""
        if path not in self.files:
            raise FileNotFoundError(path)
        flags = os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC
        with os.fdopen(os.open(self.root / path, flags), "rb") as file:
            if not stat.S_ISREG(os.fstat(file.fileno()).st_mode):
                raise OSError(f"{path} is no regular file")
            yield file

    def read(self, path: str, limit: int = MAX_TEXT_BYTES) -> bytes | None:
        """The content of a small file; None when it is missing, unreadable or above ``limit``."""
        try:
            with self.open(path) as file:
                content = file.read(limit + 1)
        except OSError:
            return None
        return content if len(content) <= limit else None


def scan(root: Path, findings: Findings) -> Tree:
    """Walk the archive; what is no plain file in a plain folder is a finding of step 1."""
    tree = Tree(root)
    pending: list[tuple[str, int]] = [("", 0)]
    while pending:
        folder, depth = pending.pop()
        try:
            with os.scandir(root / folder) as entries:
                for entry in entries:
                    path = f"{folder}{entry.name}"
                    if len(tree.files) + len(pending) >= MAX_FILES:
                        findings.add(1, "", "", f"at most {MAX_FILES} files", "more")
                        return tree
                    _note(tree, pending, findings, entry, path, depth)
        except OSError as error:
            findings.add(1, folder, "", "a folder that can be read", str(error.strerror))
    return tree


def _note(
    tree: Tree,
    pending: list[tuple[str, int]],
    findings: Findings,
    entry: os.DirEntry[str],
    path: str,
    depth: int,
) -> None:
    if not is_plain_path(path):
        findings.add(1, path, "", "a plain name in UTF-8", "a name with other characters")
    elif entry.is_symlink():
        findings.add(1, path, "", "a file of the archive itself", "a symbolic link")
    elif entry.is_dir(follow_symlinks=False):
        if depth >= _MAX_DEPTH:
            findings.add(1, path, "", f"at most {_MAX_DEPTH} folders deep", "deeper")
        else:
            pending.append((f"{path}/", depth + 1))
    elif entry.is_file(follow_symlinks=False):
        tree.files[path] = entry.stat(follow_symlinks=False).st_size
    else:
        findings.add(1, path, "", "a regular file", "a device, socket or pipe")


def is_plain_path(path: str) -> bool:
    """Whether ``path`` is relative, stays inside, and means the same on every system."""
    try:
        path.encode()
    except UnicodeEncodeError:
        return False
    return (
        0 < len(path) <= 512
        and path.isprintable()
        and not any(char in path for char in '\\:*?"<>|%')
        and all(part not in ("", ".", "..") for part in path.split("/"))
    )


def hash_files(tree: Tree, paths: Iterable[str]) -> dict[str, str]:
    """SHA-256 of each file, in lower-case hexadecimal; one that cannot be read is left out."""
    found: dict[str, str] = {}
    remaining = iter(paths)
    lock = threading.Lock()

    def work() -> None:
        view = memoryview(bytearray(_READ_BYTES))
        while True:
            with lock:
                path = next(remaining, None)
            if path is None:
                return
            running = hashlib.sha256()
            try:
                with tree.open(path) as file:
                    while count := file.readinto(view):
                        running.update(view[:count])
            except OSError:
                continue
            found[path] = running.hexdigest()

    threads = [threading.Thread(target=work, name=f"hash-{i}") for i in range(HASH_THREADS)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    return found
