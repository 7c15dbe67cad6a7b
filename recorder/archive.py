"""Where every file of an archive lies: the only place that knows a path.

An archive is a BagIt 1.0 bag (RFC 8493) with a ``seal/`` folder beside the tag manifest; see
``docs/ARCHIVE.md``, section 2. While it is recorded it is ``<parent>/<session>.recording/``;
sealing renames it to ``<parent>/<session>/`` and makes it read-only. What a replacement recorder
needs to resume lies outside, in ``<parent>/<session>.state.json``, and never becomes part of the
archive.

Ledger lines and manifests name files by :meth:`Layout.relative`: POSIX, from the root of the
archive, so the same string stands in the ledger, in the manifest and in a finding of the verifier.
"""

from __future__ import annotations

import re
from pathlib import Path
from typing import Literal

from rooms.errors import FieldInvalid, FileUnknown

Container = Literal["cmaf", "webm"]
"""H.264 and Opus go to ``cmaf`` (ISO 23000-19), VP8 goes to ``webm`` clusters."""

_INIT = {"cmaf": "init.mp4", "webm": "init.webm"}
_SUFFIX = {"cmaf": "m4s", "webm": "webm"}
_TRACK_ID = re.compile(r"[a-z][a-z0-9-]{0,31}", re.ASCII)
_SESSION_ID = re.compile(r"[A-Za-z0-9][A-Za-z0-9_-]{0,63}", re.ASCII)
_RECORDING = ".recording"

TAG_FILES = ("bagit.txt", "bag-info.txt", "session.json", "manifest-sha256.txt")
"""The files that the tag manifest covers, in the order in which it lists them."""


def check_session_id(session_id: str) -> str:
    """``session_id`` itself when it can name an archive, else :class:`FieldInvalid` is raised."""
    if not _SESSION_ID.fullmatch(session_id):
        raise FieldInvalid("a session id is 1 to 64 letters, digits, '-' and '_'")
    return session_id


class Layout:
    """The paths of one archive below ``root``, whether it is being recorded or sealed."""

    def __init__(self, root: Path) -> None:
        self.root = root

    @classmethod
    def recording(cls, archive_parent: Path, session_id: str) -> Layout:
        """The archive of ``session_id`` while it is recorded."""
        return cls(archive_parent / (check_session_id(session_id) + _RECORDING))

    @classmethod
    def sealed(cls, archive_parent: Path, session_id: str) -> Layout:
        """The archive of ``session_id`` after sealing."""
        return cls(archive_parent / check_session_id(session_id))

    @property
    def in_progress(self) -> bool:
        """True while the folder still has its name from the recording."""
        return self.root.name.endswith(_RECORDING)

    @property
    def archive_id(self) -> str:
        """The session id, which names the archive."""
        return self.root.name.removesuffix(_RECORDING)

    @property
    def sealed_root(self) -> Path:
        """The folder that :attr:`root` becomes by sealing (itself once it is sealed)."""
        return self.root.parent / self.archive_id

    @property
    def state(self) -> Path:
        """The recorder's resume state: beside the archive, because it is no evidence."""
        return self.root.parent / f"{self.archive_id}.state.json"

    @property
    def payload(self) -> Path:
        """Everything that ``manifest-sha256.txt`` lists."""
        return self.root / "data"

    @property
    def chain(self) -> Path:
        """The ledger: one hash-chained JSON line for each segment, gap and event."""
        return self.payload / "chain.jsonl"

    @property
    def checkpoints(self) -> Path:
        """The signed tree heads of the ledger."""
        return self.payload / "checkpoints.txt"

    @property
    def tracks(self) -> Path:
        """The folder of all tracks."""
        return self.payload / "tracks"

    def track_dir(self, track_id: str) -> Path:
        """The folder of one track. Raises :class:`FieldInvalid` for an id that is no plain name."""
        if not _TRACK_ID.fullmatch(track_id):
            raise FieldInvalid("a track id is 1 to 32 small letters, digits and '-'")
        return self.tracks / track_id

    def init(self, track_id: str, container: Container) -> Path:
        """The initialisation file of a track, which comes before its first segment."""
        return self.track_dir(track_id) / _INIT[container]

    def segment(self, track_id: str, n: int, container: Container) -> Path:
        """Segment ``n`` of a track, counted from 1."""
        return self.track_dir(track_id) / f"{n:06d}.{_SUFFIX[container]}"

    def part(self, track_id: str) -> Path:
        """The segment being written. None is left in a sealed archive."""
        return self.track_dir(track_id) / "segment.part"

    def playlist(self, track_id: str) -> Path:
        """The HLS playlist of a CMAF track, written at close."""
        return self.track_dir(track_id) / "index.m3u8"

    @property
    def bag_info(self) -> Path:
        """``bag-info.txt`` (RFC 8493, 2.2.2)."""
        return self.root / "bag-info.txt"

    @property
    def session(self) -> Path:
        """``session.json``: who, where, which case."""
        return self.root / "session.json"

    @property
    def manifest(self) -> Path:
        """``manifest-sha256.txt`` (RFC 8493, 2.1.3): every file under ``data/``."""
        return self.root / "manifest-sha256.txt"

    @property
    def tag_manifest(self) -> Path:
        """``tagmanifest-sha256.txt`` (RFC 8493, 2.2.1): the signed object."""
        return self.root / "tagmanifest-sha256.txt"

    @property
    def seal_dir(self) -> Path:
        """Signatures and time stamps: outside the manifests, since they are made over them."""
        return self.root / "seal"

    @property
    def seal(self) -> Path:
        """CMS signature over the tag manifest, detached, DER."""
        return self.seal_dir / "seal.p7s"

    @property
    def timestamp(self) -> Path:
        """RFC 3161 response over ``seal.p7s``, DER."""
        return self.seal_dir / "seal.tsr"

    def make_directories(self) -> None:
        """Make the empty folders of an archive; what exists stays. Raises :class:`OSError`."""
        self.tracks.mkdir(parents=True, exist_ok=True)
        self.seal_dir.mkdir(exist_ok=True)

    def relative(self, path: Path) -> str:
        """``path`` as ledger and manifests write it, such as ``data/tracks/cam-1/000001.m4s``."""
        return path.relative_to(self.root).as_posix()

    def resolve(self, relative: str) -> Path:
        """The regular file that ``relative`` names inside this archive.

        For names that come from outside (a URL, a ledger that nobody checked yet). Raises
        :class:`FileUnknown` when it is absolute, climbs out, passes through a link or is no file.
        """
        parts = relative.split("/")
        if any(part in ("", ".", "..") or "\\" in part or "\0" in part for part in parts):
            raise FileUnknown("no such file in this archive")
        path = self.root
        try:
            for part in parts:
                path = path / part
                if path.is_symlink():
                    raise FileUnknown("no such file in this archive")
            if not path.is_file():
                raise FileUnknown("no such file in this archive")
        except OSError as error:
            raise FileUnknown("no such file in this archive") from error
        return path
