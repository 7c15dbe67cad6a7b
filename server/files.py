"""Finding a file that somebody named, and never one outside the folder it belongs to."""

from __future__ import annotations

from pathlib import Path


def file_inside(folder: Path, path: str) -> Path | None:
    """The regular file at ``path`` within ``folder``; None when it is none, or leads out of it.

    Links are followed before the check, so that none can lead out either.
    """
    try:
        root = folder.resolve(strict=True)
        file = (root / path).resolve(strict=True)
    except (OSError, RuntimeError, ValueError):
        return None
    return file if file.is_relative_to(root) and file.is_file() else None
