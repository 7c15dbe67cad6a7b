"""Step 4: the ledger as one unbroken chain, and what it says about files, tracks and times.

The ledger is read once, line by line; nothing of a line is kept but what later steps need.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterable
from dataclasses import dataclass, field
from typing import Any, NamedTuple

from recorder.verify.records import MAX_INTEGER, is_track, problem_of
from recorder.verify.report import Findings, clock
from recorder.verify.tree import MAX_FILES, Tree

CHAIN = "data/chain.jsonl"
_PUBLICATION = ("track_published", "track_unpublished")
MAX_LINE_BYTES = 1 << 20
"""A longer line is refused unread."""


class MediaFile(NamedTuple):
    """What an ``init`` (number 0) or ``seg`` line says about its file."""

    line: int
    track: str
    number: int
    file: str
    size: int
    sha256: str
    t0_us: int
    end_us: int

    @property
    def place(self) -> str:
        """Track, segment, time and line, for people."""
        if self.number == 0:
            return f"track {self.track}, initialisation, ledger line {self.line}"
        times = f"{clock(self.t0_us)} to {clock(self.end_us)}"
        return f"track {self.track}, segment {self.number}, {times}, ledger line {self.line}"


class Segment(NamedTuple):
    """What completeness and playlists need of a ``seg`` line. Times on the session clock."""

    line: int
    number: int
    t0_us: int
    end_us: int
    media_t0: int
    media_end: int
    samples: int


class Gap(NamedTuple):
    """A ``gap`` line: what is missing from ``from_us`` to ``to_us``."""

    line: int
    from_us: int
    to_us: int


@dataclass(slots=True)
class Track:
    """All that the ledger says about one track."""

    init: dict[str, Any] | None = None
    segments: list[Segment] = field(default_factory=list)
    gaps: list[Gap] = field(default_factory=list)


@dataclass(slots=True)
class Chain:
    """The ledger as read: ``media`` in the order of its lines, ``roots`` by size of the tree."""

    lines: int = 0
    sha256: str = ""
    opening: dict[str, Any] | None = None
    closing: dict[str, Any] | None = None
    media: list[MediaFile] = field(default_factory=list)
    tracks: dict[str, Track] = field(default_factory=dict)
    roots: dict[int, bytes] = field(default_factory=dict)
    withdrawn: dict[str, list[Gap]] = field(default_factory=dict)
    """For a track, from each ``track_unpublished`` to the ``track_published`` after it."""


def strict_json(raw: bytes) -> Any:
    """Parse JSON that has one meaning only: UTF-8, no name twice, no NaN.

    Raises :class:`ValueError` (also for what is nested too deep).
    """
    try:
        return json.loads(
            raw.decode("utf-8"), object_pairs_hook=_object, parse_constant=_no_constant
        )
    except RecursionError as error:
        raise ValueError("nested too deep") from error


def _object(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    value = dict(pairs)
    if len(value) != len(pairs):
        raise ValueError("a name twice in one object")
    return value


def _no_constant(name: str) -> None:
    raise ValueError(f"{name} is no JSON")


class _Roots:
    """Merkle roots (RFC 6962, 2.1) at chosen sizes while leaves stream by."""

    def __init__(self, sizes: Iterable[int]) -> None:
        self._wanted = set(sizes)
        self._stack: list[tuple[int, bytes]] = []
        self.found: dict[int, bytes] = {}

    def push(self, line: bytes, size: int) -> None:
        """Add a leaf, after which the tree has ``size`` leaves."""
        height, node = 0, hashlib.sha256(b"\x00" + line).digest()
        while self._stack and self._stack[-1][0] == height:
            node = hashlib.sha256(b"\x01" + self._stack.pop()[1] + node).digest()
            height += 1
        self._stack.append((height, node))
        if size in self._wanted:
            self.found[size] = self._fold()

    def _fold(self) -> bytes:
        nodes = [node for _, node in self._stack]
        root = nodes.pop()
        while nodes:
            root = hashlib.sha256(b"\x01" + nodes.pop() + root).digest()
        return root


def read_chain(tree: Tree, sizes: Iterable[int], findings: Findings) -> Chain:
    """Step 4. ``sizes`` are the tree sizes at which checkpoints claim a root."""
    chain = Chain()
    roots = _Roots(sizes)
    whole = hashlib.sha256()
    prev = "0" * 64
    try:
        with tree.open(CHAIN) as file:
            while raw := file.readline(MAX_LINE_BYTES + 1):
                whole.update(raw)
                fault = _refused(raw, chain.lines)
                if fault is not None:
                    findings.add(4, CHAIN, f"line {chain.lines}", *fault)
                    while rest := file.read(MAX_LINE_BYTES):
                        whole.update(rest)
                    break
                _take_line(chain, raw, prev, findings)
                prev = hashlib.sha256(raw).hexdigest()
                chain.lines += 1
                roots.push(raw, chain.lines)
    except OSError as error:
        findings.add(4, CHAIN, "", "a ledger that can be read", str(error.strerror or "no file"))
    chain.sha256 = whole.hexdigest()
    chain.roots = roots.found
    if chain.lines == 0:
        findings.add(4, CHAIN, "", "at least a line that opens and one that closes", "none")
    findings.details[4] = f"{chain.lines} lines, each holds the hash of the one before"
    return chain


def _refused(raw: bytes, n: int) -> tuple[str, str] | None:
    """Why reading stops here: expected and found."""
    if n >= MAX_FILES:
        return f"at most {MAX_FILES} lines", "more"
    if raw.endswith(b"\n"):
        return None
    if len(raw) > MAX_LINE_BYTES:
        return f"at most {MAX_LINE_BYTES} bytes", "a longer line"
    return "a line that ends", "the file ends in it"


def _take_line(chain: Chain, raw: bytes, prev: str, findings: Findings) -> None:
    n = chain.lines
    place = f"line {n}"
    try:
        record = strict_json(raw)
    except ValueError as error:
        findings.add(4, CHAIN, place, "one JSON object in UTF-8", str(error))
        return
    if not isinstance(record, dict):
        findings.add(4, CHAIN, place, "one JSON object", type(record).__name__)
        return
    if type(record.get("n")) is not int or record["n"] != n:
        findings.add(4, CHAIN, place, f"n {n}", f"n {record.get('n')!r}")
    if record.get("prev") != prev:
        before = f"prev {prev}, the hash of line {n - 1}" if n else f"prev {prev}"
        findings.add(4, CHAIN, place, before, f"prev {record.get('prev')!r}")
    problem = problem_of(record)
    if problem is not None:
        findings.add(4, CHAIN, place, *problem)
        return
    _keep(chain, n, record, findings)


def _keep(chain: Chain, n: int, record: dict[str, Any], findings: Findings) -> None:
    kind = record["type"]
    if (kind == "open") != (n == 0):
        findings.add(4, CHAIN, f"line {n}", "open on line 0 and nowhere else", kind)
    if chain.closing is not None:
        findings.add(4, CHAIN, f"line {n}", "nothing after the close line", kind)
    if kind == "open" and n == 0:
        chain.opening = record
    elif kind == "close":
        chain.closing = record
    elif kind == "event":
        _keep_event(chain, n, record)
    elif kind in ("init", "seg", "gap"):
        track = chain.tracks.setdefault(record["track"], Track())
        if kind == "gap":
            track.gaps.append(Gap(n, record["from_us"], record["to_us"]))
        else:
            _keep_media(chain, track, n, record, findings)


def _keep_event(chain: Chain, n: int, record: dict[str, Any]) -> None:
    """Remember when a track was withdrawn by its participant: then nothing of it is missing."""
    event, at_us = record["event"], record["t_us"]
    name = event.get("track_id")
    if event["type"] not in _PUBLICATION or not is_track(name) or at_us is None:
        return
    if event["type"] == "track_published":
        _end_withdrawal(chain, name, at_us)
    else:
        chain.withdrawn.setdefault(name, []).append(Gap(n, at_us, MAX_INTEGER))


def _end_withdrawal(chain: Chain, name: str, at_us: int) -> None:
    """The track is back, by its event or by media that came later than its withdrawal."""
    withdrawn = chain.withdrawn.get(name)
    if withdrawn and withdrawn[-1].to_us == MAX_INTEGER and at_us >= withdrawn[-1].from_us:
        withdrawn[-1] = withdrawn[-1]._replace(to_us=at_us)


def _keep_media(
    chain: Chain, track: Track, n: int, record: dict[str, Any], findings: Findings
) -> None:
    segment = record["type"] == "seg"
    number, t0_us, end_us = (
        (record["number"], record["t0_us"], record["end_us"]) if segment else (0, 0, 0)
    )
    chain.media.append(
        MediaFile(
            n, record["track"], number, record["file"], record["size"], record["sha256"],
            t0_us, end_us,
        )
    )  # fmt: skip
    if segment:
        _end_withdrawal(chain, record["track"], t0_us)
        track.segments.append(
            Segment(
                n, number, t0_us, end_us, record["media_t0"], record["media_end"], record["samples"]
            )
        )
    elif track.init is not None:
        findings.add(5, CHAIN, f"line {n}", "one init line for each track", "a second one")
    else:
        track.init = record
