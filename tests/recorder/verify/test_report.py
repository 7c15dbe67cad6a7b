"""Reports in words and as JSON."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from recorder.verify import render, verify
from recorder.verify.report import MAX_FAILURES, Findings, Report, clock


def report_of(findings: Findings) -> Report:
    return Report("/archives/s-1", findings.steps(), ("no reason",), "ab" * 32)


def test_a_report_as_json(archive: Path, keys: Any) -> None:
    (archive / "bagit.txt").write_text("changed")
    shown = json.loads(json.dumps(verify(archive, keys.trust).to_json()))
    assert set(shown) == {"archive", "sealed", "anchored", "root_sha256", "steps", "reasons"}
    assert (shown["archive"], shown["sealed"], shown["anchored"]) == (str(archive), False, False)
    assert len(shown["root_sha256"]) == 64
    first, second = shown["steps"][:2]
    assert (first["number"], first["name"], first["ok"], first["failure"]) == (
        1, "layout", True, None,
    )  # fmt: skip
    assert second["failure"]["file"] == "bagit.txt"
    assert set(second["failure"]) == {"step", "file", "place", "expected", "found"}
    assert second["failures"][0] == second["failure"]
    assert second["count"] == 2


def test_a_report_in_words(archive: Path, keys: Any) -> None:
    words = render(verify(archive, keys.trust))
    assert "SEALED: nothing has changed since it was signed." in words
    assert "NOT ANCHORED: time stamp by CN=Tingxun time stamp" in words
    (archive / "data/tracks/cam-1/000001.m4s").write_bytes(b"x")
    words = render(verify(archive, keys.trust))
    assert "NOT SEALED: step 3, data/tracks/cam-1/000001.m4s, track cam-1, segment 1" in words
    assert " 3 payload manifest  FAILS" in words


def test_many_findings_are_counted() -> None:
    findings = Findings()
    for n in range(MAX_FAILURES + 5):
        findings.add(3, f"file {n}", "", "a", "b")
    report = report_of(findings)
    assert len(report.steps[2].failures) == MAX_FAILURES
    assert report.steps[2].count == MAX_FAILURES + 5
    assert "and 5 more" in render(report)


def test_what_an_archive_says_cannot_reach_the_terminal() -> None:
    findings = Findings()
    findings.add(1, "a\x1b[2Jb", "\ud800", "\u202e" + "x" * 1000, "line\nbreak")
    failure = report_of(findings).failures[0]
    assert (failure.file, failure.place, failure.found) == ("a\\x1b[2Jb", "\\ud800", "line\\nbreak")
    assert len(failure.expected) < 320
    render(report_of(findings)).encode()


def test_a_failing_anchor_does_not_break_the_seal() -> None:
    findings = Findings()
    findings.add(10, "seal/seal.tsr", "", "a", "b")
    report = report_of(findings)
    assert (report.sealed, report.anchored, report.failures) == (True, False, ())


@pytest.mark.parametrize(
    ("time_us", "text"),
    [
        (0, "0:00:00.000"),
        (1_500, "0:00:00.001"),
        (3_661_000_000, "1:01:01.000"),
        (-1_000_000, "-0:00:01.000"),
        (90_000 * 10**6, "25:00:00.000"),
    ],
)
def test_session_times(time_us: int, text: str) -> None:
    assert clock(time_us) == text
