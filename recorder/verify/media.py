"""Step 5: each file of a track is the one that its ledger line names; playlists play them all."""

from __future__ import annotations

from collections.abc import Mapping
from fractions import Fraction
from typing import Any

from recorder.verify.chain import CHAIN, Chain, MediaFile, Track
from recorder.verify.report import Findings
from recorder.verify.tree import Tree

_INIT = {"cmaf": "init.mp4", "webm": "init.webm"}
_SUFFIX = {"cmaf": "m4s", "webm": "webm"}
_UNLISTED = (CHAIN, "data/checkpoints.txt")
_MAX_PLAYLIST_BYTES = 32 << 20


def check_media(
    tree: Tree,
    chain: Chain,
    digests: Mapping[str, str],
    listed: Mapping[str, str],
    findings: Findings,
) -> None:
    """Step 5. ``digests`` are those of the files on disk, ``listed`` those of the manifest."""
    ledger_changed = findings.blames(3, CHAIN)
    named: set[str] = set()
    last: dict[str, int] = {}
    for media in chain.media:
        named.add(media.file)
        _check_numbering(media, chain.tracks[media.track], last, findings)
        size, actual = tree.files.get(media.file), digests.get(media.file)
        if size is None or actual is None:
            findings.add(5, media.file, media.place, "a file", "nothing that can be read")
        elif actual != media.sha256 and ledger_changed and listed.get(media.file) == actual:
            # File and manifest agree, and the ledger is not the one that the manifest lists.
            findings.add(5, CHAIN, f"line {media.line}", f"sha256 {actual}", media.sha256)
        elif actual != media.sha256:
            findings.add(5, media.file, media.place, f"SHA-256 {media.sha256}", actual)
        elif size != media.size:
            findings.add(5, CHAIN, f"line {media.line}", f"size {size}", f"size {media.size}")
    playlists = set()
    for name, track in chain.tracks.items():
        if track.init is not None and track.init["container"] == "cmaf" and track.segments:
            playlists.add(f"data/tracks/{name}/index.m3u8")
            _check_playlist(tree, name, track, findings)
    for path in sorted(tree.files):
        if path.startswith("data/") and path not in named | playlists and path not in _UNLISTED:
            findings.add(5, path, "", "a line in the ledger that names it", "none")
    findings.details[5] = f"{len(chain.media)} media files are those of their ledger lines"


def _check_numbering(
    media: MediaFile, track: Track, last: dict[str, int], findings: Findings
) -> None:
    """Names follow from track and number; numbers follow each other; the first is the init file."""
    place = f"line {media.line}"
    before = last.get(media.track)
    expected = 0 if before is None else before + 1
    # A second init line was found while reading; it must not shift the numbers.
    if media.number != expected and not (media.number == 0 and before is not None):
        words = f"segment {expected}" if expected else "an init line first"
        findings.add(5, CHAIN, place, f"{words} of {media.track}", f"segment {media.number}")
    last[media.track] = max(media.number, before or 0)
    container = track.init["container"] if track.init else "cmaf"
    name = f"{media.number:06d}.{_SUFFIX[container]}" if media.number else _INIT[container]
    if media.file != (path := f"data/tracks/{media.track}/{name}"):
        findings.add(5, CHAIN, place, f"file {path}", f"file {media.file}")


def _check_playlist(tree: Tree, name: str, track: Track, findings: Findings) -> None:
    """The playlist plays the init file and then every segment in order, each for its length."""
    path = f"data/tracks/{name}/index.m3u8"
    content = tree.read(path, _MAX_PLAYLIST_BYTES)
    if content is None:
        findings.add(5, path, "", "a playlist", "nothing that can be read")
        return
    expected = _order_of_play(track)
    lines = content.decode("utf-8", "replace").splitlines()
    found = [line for line in lines if not line.startswith("#") or line.startswith(_PLAYED)]
    for number, (wanted, actual) in enumerate(zip(expected, found, strict=False), 1):
        if wanted != actual:
            findings.add(5, path, f"entry {number}", wanted, actual)
            return
    if len(expected) != len(found):
        findings.add(5, path, "", f"{len(expected)} entries", f"{len(found)} entries")


_PLAYED = ("#EXTINF:", "#EXT-X-MAP:", "#EXT-X-ENDLIST", "#EXT-X-BYTERANGE", "#EXT-X-GAP")
"""What decides which bytes are played and for how long; other tags are advice to the player."""


def _order_of_play(track: Track) -> list[str]:
    init: dict[str, Any] = track.init or {}
    played = [f'#EXT-X-MAP:URI="{str(init["file"]).rpartition("/")[2]}"']
    for segment in track.segments:
        micros = round(
            Fraction((segment.media_end - segment.media_t0) * 1_000_000, init["timescale"])
        )
        played.append(f"#EXTINF:{micros // 1_000_000}.{micros % 1_000_000:06d},")
        played.append(f"{segment.number:06d}.m4s")
    return [*played, "#EXT-X-ENDLIST"]
