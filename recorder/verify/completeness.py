"""Step 9: all is there that should be there, and the session is the same everywhere.

Every microsecond of the live intervals is, on every track, captured or declared missing. The
verifier adds up the segment and gap lines itself and holds the ``close`` line against its own
sums.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from itertools import pairwise, zip_longest
from typing import Any

from recorder.verify.chain import CHAIN, Chain, Gap, Segment, Track, strict_json
from recorder.verify.manifests import BAG_INFO, SESSION
from recorder.verify.report import Findings, clock

TOLERANCE_US = 300_000
"""What may be neither captured nor declared at an edge of what was captured, where media was on its
way: at the start, at the ends of a live interval, at a hole. A correction of a sender's clock may
also move a segment by so much against the one that its media continue."""

Interval = tuple[int, int]


def check_completeness(
    chain: Chain, session: bytes | None, bag_info: Mapping[str, str], notes: int, findings: Findings
) -> None:
    """Step 9. ``session`` is ``session.json``; ``notes`` is how many checkpoints there are."""
    _check_session(chain, session, bag_info, findings)
    closing = chain.closing
    if closing is None:
        place = f"line {chain.lines - 1}" if chain.lines else ""
        findings.add(9, CHAIN, place, "a close line at the end", "none: its end is missing")
        return
    place = f"line {chain.lines - 1}, close"
    if closing["checkpoints"] + 1 != notes:
        expected = f"{closing['checkpoints']} checkpoints and one over the whole"
        findings.add(9, CHAIN, place, expected, str(notes))
    accounts = {account["track"]: account for account in closing["tracks"]}
    live = [(start, end) for start, end in closing["live"]]
    for name in sorted(accounts.keys() | chain.tracks.keys()):
        if name not in accounts:
            findings.add(9, CHAIN, place, f"an account of track {name}", "none")
        else:
            track = chain.tracks.get(name, Track())
            _check_account(name, track, accounts[name], place, live, findings)
            _check_holes(name, track, live, chain.withdrawn.get(name, ()), findings)
    total = sum(end - start for start, end in live)
    gaps = sum(len(track.gaps) for track in chain.tracks.values())
    findings.details[9] = f"{len(accounts)} tracks over {clock(total)} live, {gaps} declared gaps"


def _check_session(
    chain: Chain, session: bytes | None, bag_info: Mapping[str, str], findings: Findings
) -> None:
    if chain.opening is None:
        findings.add(9, CHAIN, "line 0", "an open line", "none")
        return
    expected: dict[str, Any] = chain.opening["session"]
    try:
        value = strict_json(session or b"")
    except ValueError as error:
        findings.add(9, SESSION, "", "one JSON object in UTF-8", str(error))
        return
    found = value.get("session") if isinstance(value, dict) else None
    if not isinstance(found, dict) or value.get("format") != chain.opening["format"]:
        findings.add(9, SESSION, "", f"format {chain.opening['format']} and a session", "others")
    else:
        for name in sorted(expected.keys() | found.keys()):
            if expected.get(name) != found.get(name):
                wanted = f"{expected.get(name)!r}, as on line 0 of the ledger"
                findings.add(9, SESSION, name, wanted, f"{found.get(name)!r}")
    if (identifier := bag_info.get("External-Identifier")) != expected["id"]:
        findings.add(9, BAG_INFO, "External-Identifier", expected["id"], str(identifier))


def _check_account(
    name: str,
    track: Track,
    account: Mapping[str, Any],
    place: str,
    live: Sequence[Interval],
    findings: Findings,
) -> None:
    spans = merge(_captured(track.segments))
    declared = intersect(merge((gap.from_us, gap.to_us) for gap in track.gaps), live)
    sums = {
        "segments": len(track.segments),
        "samples": sum(segment.samples for segment in track.segments),
        "gaps": len(track.gaps),
        "gap_us": _length(declared),
    }
    for key, value in sums.items():
        if account[key] != value:
            found = f"the lines of the ledger add up to {value}"
            findings.add(9, CHAIN, place, f"{name}: {key} {account[key]}", found)
    covered = intersect(spans, live)
    captured = _length(subtract(covered, declared))
    tolerance = TOLERANCE_US * (1 + max(len(live), len(covered)))
    if abs(account["captured_us"] - captured) > tolerance:
        found = f"its segments cover {captured} us"
        findings.add(9, CHAIN, place, f"{name}: captured_us {account['captured_us']}", found)
    missing = account["expected_us"] - account["captured_us"] - account["gap_us"]
    if abs(missing) > tolerance:
        expected = f"{name}: expected_us {account['expected_us']} captured or declared missing"
        findings.add(9, CHAIN, place, expected, f"{missing} us are neither")


def _captured(segments: Sequence[Segment]) -> Iterator[Interval]:
    """The times of the segments; one whose media go on in the next lasts until that begins."""
    for segment, after in zip_longest(segments, segments[1:]):
        end = segment.end_us
        if (
            after is not None
            and after.media_t0 == segment.media_end
            and 0 < after.t0_us - end <= TOLERANCE_US
        ):
            end = after.t0_us
        yield segment.t0_us, end


def _check_holes(
    name: str,
    track: Track,
    live: Sequence[Interval],
    withdrawn: Sequence[Gap],
    findings: Findings,
) -> None:
    """Between two segments nothing of the live time is missing without a ``gap`` line.

    Nothing is missing either while the participant had withdrawn the track.
    """
    for before, after in pairwise(track.segments):
        if after.t0_us < before.t0_us:
            place = f"line {after.line}, track {name}, segment {after.number}"
            expected = f"a start from {clock(before.t0_us)} on"
            findings.add(9, CHAIN, place, expected, clock(after.t0_us))
    excused = merge((gap.from_us, gap.to_us) for gap in (*track.gaps, *withdrawn))
    spans = merge(_captured(track.segments))
    holes = [(before[1], after[0]) for before, after in pairwise(spans)]
    for start, end in subtract(intersect(holes, live), excused):
        if end - start > TOLERANCE_US:
            expected = f"{clock(start)} to {clock(end)} captured or declared missing"
            findings.add(9, CHAIN, f"track {name}", expected, "neither")


def merge(spans: Iterable[Interval]) -> list[Interval]:
    """The union of intervals, as intervals in order that do not touch."""
    merged: list[Interval] = []
    for start, end in sorted(spans):
        if merged and start <= merged[-1][1]:
            merged[-1] = (merged[-1][0], max(merged[-1][1], end))
        else:
            merged.append((start, end))
    return merged


def intersect(one: Sequence[Interval], other: Sequence[Interval]) -> list[Interval]:
    """What lies in both; each is in order and without overlap. Linear time."""
    common: list[Interval] = []
    i = j = 0
    while i < len(one) and j < len(other):
        start, end = max(one[i][0], other[j][0]), min(one[i][1], other[j][1])
        if start < end:
            common.append((start, end))
        if one[i][1] < other[j][1]:
            i += 1
        else:
            j += 1
    return common


def subtract(one: Sequence[Interval], other: Sequence[Interval]) -> list[Interval]:
    """What of ``one`` does not lie in ``other``; each in order and without overlap. Linear time."""
    rest: list[Interval] = []
    j = 0
    for start, end in one:
        while j < len(other) and other[j][1] <= start:
            j += 1
        k = j
        while k < len(other) and other[k][0] < end:
            if start < other[k][0]:
                rest.append((start, other[k][0]))
            start = max(start, other[k][1])
            k += 1
        if start < end:
            rest.append((start, end))
        # The last one may reach into the next interval too.
        j = max(j, k - 1)
    return rest


def _length(spans: Iterable[Interval]) -> int:
    return sum(end - start for start, end in spans)
