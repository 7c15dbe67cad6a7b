"""The parsers take any bytes: what they do not understand is a finding, never a crash."""

from __future__ import annotations

import datetime
from itertools import pairwise
from pathlib import Path
from typing import Any

import pytest
from asn1crypto import core
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from recorder.verify import manifests, notes, records, verify
from recorder.verify.chain import strict_json
from recorder.verify.completeness import intersect, merge, subtract
from recorder.verify.der import check_der
from recorder.verify.report import Findings
from recorder.verify.signature import read_seal, read_stamp
from recorder.verify.trust import Refused

quick = settings(
    max_examples=60, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture]
)
json_values = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(), inner, max_size=3),
    max_leaves=6,
)


@quick
@given(st.binary(max_size=400))
def test_manifests(content: bytes) -> None:
    findings = Findings()
    entries = manifests.parse_manifest(content, "manifest-sha256.txt", 3, findings)
    if content:
        assert entries or not findings.ok(3)
    manifests.parse_bag_info(content)


@quick
@given(st.binary(max_size=400))
def test_notes(content: bytes) -> None:
    findings = Findings()
    assert not notes.parse_notes(content, findings)
    assert findings.ok(6) == (content == b"")


@quick
@given(st.binary(max_size=200))
def test_json(content: bytes) -> None:
    try:
        strict_json(content)
    except ValueError:
        return


@quick
@given(
    st.sampled_from(["open", "init", "seg", "gap", "event", "recover", "close", "?"]),
    st.dictionaries(
        st.sampled_from(
            ["track", "number", "file", "t0_us", "end_us", "live", "tracks", "session", "event"]
        ),
        json_values,
    ),
)
def test_records(kind: str, fields: dict[str, Any]) -> None:
    assert records.problem_of({"type": kind, **fields}) is not None


@quick
@given(st.binary(max_size=300))
def test_signatures(content: bytes) -> None:
    for read in (read_seal, read_stamp):
        with pytest.raises(Refused):
            read(content)


@quick
@given(st.data())
def test_signatures_that_were_honest_once(archive: Path, data: st.DataObject) -> None:
    name = data.draw(st.sampled_from(["seal.p7s", "seal.tsr"]))
    content = bytearray((archive / "seal" / name).read_bytes())
    for _ in range(data.draw(st.integers(1, 4))):
        at = data.draw(st.integers(0, len(content) - 1))
        length = data.draw(st.integers(0, 4))
        content[at : at + length] = data.draw(st.binary(max_size=6))
    for read in (read_seal, read_stamp):
        try:
            read(bytes(content))
        except Refused:
            continue


@settings(
    max_examples=25, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture]
)
@given(
    st.sampled_from(
        ["data/chain.jsonl", "data/checkpoints.txt", "manifest-sha256.txt", "session.json"]
    ),
    st.integers(0, 10_000),
    st.integers(0, 40),
    st.binary(max_size=40),
)
def test_any_edit_of_a_text_file(
    archive: Path, keys: Any, file: str, at: int, length: int, content: bytes
) -> None:
    whole = (archive / file).read_bytes()
    at %= len(whole)
    changed = whole[:at] + content + whole[at + length :]
    (archive / file).write_bytes(changed)
    try:
        report = verify(archive, keys.trust)
        assert report.sealed == (changed == whole)
        report.to_json()
    finally:
        (archive / file).write_bytes(whole)


@quick
@given(st.integers(-(2**70), 2**70), st.binary(max_size=300), st.booleans())
def test_der_takes_what_is_der(number: int, content: bytes, flag: bool) -> None:
    for value in (
        core.Integer(number),
        core.OctetString(content),
        core.Boolean(flag),
        core.UTCTime(datetime.datetime(2026, 11, 23, tzinfo=datetime.UTC)),
    ):
        check_der(value.dump())
        check_der(b"\x30" + core.OctetString(value.dump()).dump()[1:])


@pytest.mark.parametrize(
    "encoded",
    [
        "", "30", "3003020100ff", "308003020100000000", "30810102", "3082000102", "02020001",
        "0202ffff", "0200", "010101", "3104020102020101", "1f8101", "04850000000001ff", "30050401",
        "0484000000",
    ],
)  # fmt: skip
def test_der_takes_nothing_else(encoded: str) -> None:
    with pytest.raises(ValueError, match=r"."):
        check_der(bytes.fromhex(encoded))


spans = st.lists(st.tuples(st.integers(0, 40), st.integers(0, 12))).map(
    lambda pairs: merge((start, start + length) for start, length in pairs)
)


def points(intervals: list[tuple[int, int]]) -> set[int]:
    return {point for start, end in intervals for point in range(start, end)}


@quick
@given(spans, spans)
def test_intervals_are_sets_of_points(one: list[Any], other: list[Any]) -> None:
    assert points(intersect(one, other)) == points(one) & points(other)
    assert points(subtract(one, other)) == points(one) - points(other)
    assert points(merge([*one, *other])) == points(one) | points(other)
    assert all(before[1] < after[0] for before, after in pairwise(one))
