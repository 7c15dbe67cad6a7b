"""The small text files of an archive as bytes: bag declarations, manifests, session, playlists.

Before this: every media file has its digest from when it was written. After it:
:mod:`recorder.seal` writes these bytes and signs the last of them. No I/O, and nothing is hashed
here that is larger than a page. The formats are BagIt 1.0 (RFC 8493), ``sha256sum`` and HLS (RFC
8216); see ``docs/ARCHIVE.md``, section 3.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterable, Mapping
from fractions import Fraction
from typing import Any, NamedTuple

from recorder.archive import TAG_FILES

FORMAT = 1
"""Version of the archive format; line 0 of the ledger and ``session.json`` carry it."""

BAGIT = b"BagIt-Version: 1.0\nTag-File-Character-Encoding: UTF-8\n"
"""``bagit.txt`` (RFC 8493, 2.1.1)."""


class Digest(NamedTuple):
    """Size in bytes and lower-case hexadecimal SHA-256 of a file."""

    size: int
    sha256: str


def digest(content: bytes) -> Digest:
    """The digest of a small file that is in memory."""
    return Digest(len(content), hashlib.sha256(content).hexdigest())


def session_json(session: Mapping[str, Any]) -> bytes:
    """``session.json``: who, where and which case, indented for people to read.

    ``session`` is the booking as line 0 of the ledger carries it; the verifier compares the two.
    """
    text = json.dumps(
        {"format": FORMAT, "session": session}, ensure_ascii=False, indent=2, allow_nan=False
    )
    return text.encode("utf-8", "replace") + b"\n"


def bag_info(
    *, session_id: str, sealed_on: str, software: str, payload: Mapping[str, Digest]
) -> bytes:
    """``bag-info.txt`` (RFC 8493, 2.2.2); ``sealed_on`` is a date, ``YYYY-MM-DD``."""
    octets = sum(entry.size for entry in payload.values())
    labels = {
        "Bagging-Date": sealed_on,
        "Bag-Software-Agent": software,
        "External-Identifier": session_id,
        "Payload-Oxum": f"{octets}.{len(payload)}",
    }
    # A line break in a value would start another label.
    lines = (f"{label}: {' '.join(value.split())}\n" for label, value in labels.items())
    return "".join(lines).encode()


def manifest(payload: Mapping[str, Digest]) -> bytes:
    """``manifest-sha256.txt``: every file under ``data/``, sorted by path, for ``sha256sum -c``."""
    return "".join(f"{payload[path].sha256}  {path}\n" for path in sorted(payload)).encode()


def tag_manifest(tags: Mapping[str, bytes]) -> bytes:
    """``tagmanifest-sha256.txt`` over the four tag files: the signed object.

    ``tags`` maps each name of :data:`recorder.archive.TAG_FILES` to its bytes.
    """
    return "".join(f"{digest(tags[name]).sha256}  {name}\n" for name in TAG_FILES).encode()


def playlist(init: Mapping[str, Any], segments: Iterable[Mapping[str, Any]]) -> bytes:
    """``index.m3u8`` of one CMAF track (RFC 8216, version 7), from its ledger records.

    ``init`` is the ``init`` record and ``segments`` are the ``seg`` records of the track in order,
    at least one. The recorder writes the result to :meth:`recorder.archive.Layout.playlist` after
    the last segment and before sealing, with its :func:`digest` among the others; the verifier
    holds it against the ledger, so that nothing can be left out of the order of play. WebM tracks
    have none: HLS does not know WebM.

    ``EXTINF`` is the exact length on the media time line, rounded to microseconds. Where that line
    jumps (a pause, a gap) ``EXT-X-DISCONTINUITY`` stands, with the wall time of what follows.
    """
    timescale = init["timescale"]
    body: list[str] = []
    longest = Fraction(0)
    independent = True
    media_end: int | None = None
    for segment in segments:
        length = Fraction(segment["media_end"] - segment["media_t0"], timescale)
        longest = max(longest, length)
        independent = independent and bool(segment["key"])
        if segment["media_t0"] != media_end:
            if media_end is not None:
                body.append("#EXT-X-DISCONTINUITY")
            body.append(f"#EXT-X-PROGRAM-DATE-TIME:{segment['wall']}")
        media_end = segment["media_end"]
        micros = round(length * 1_000_000)
        body.append(f"#EXTINF:{micros // 1_000_000}.{micros % 1_000_000:06d},")
        body.append(_name(segment["file"]))
    head = [
        "#EXTM3U",
        "#EXT-X-VERSION:7",
        # RFC 8216, 4.3.3.1: the rounded length of no segment may exceed it.
        f"#EXT-X-TARGETDURATION:{max(1, int(longest + Fraction(1, 2)))}",
        "#EXT-X-MEDIA-SEQUENCE:1",
        "#EXT-X-PLAYLIST-TYPE:VOD",
        *(["#EXT-X-INDEPENDENT-SEGMENTS"] if independent else []),
        f'#EXT-X-MAP:URI="{_name(init["file"])}"',
    ]
    return "".join(f"{line}\n" for line in [*head, *body, "#EXT-X-ENDLIST"]).encode()


def _name(file: str) -> str:
    """The last part of a ledger path: a playlist lies beside its segments."""
    return file.rpartition("/")[2]
