"""Step 9: the verifier adds up the ledger itself."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from recorder.verify import Report, verify


def account(**changes: Any) -> dict[str, Any]:
    return {
        "track": "mic-1",
        "source": "microphone",
        "participant": "officer-1",
        "site": "bureau",
        "codec": "opus",
        "segments": 2,
        "samples": 200,
        "expected_us": 8_000_000,
        "captured_us": 8_000_000,
        "gap_us": 0,
        "gaps": 0,
        **changes,
    }


def two_segments(scribe: Any, hole_us: int = 0) -> None:
    scribe.init("mic-1", "microphone", "opus", "cmaf")
    scribe.segment("mic-1", 0)
    scribe.segment("mic-1", 4_000_000 + hole_us, 4_000_000 - hole_us)


def verdict(scribe: Any, keys: Any) -> tuple[bool, set[str]]:
    report: Report = verify(scribe.seal(keys.job).layout.root, keys.trust)
    assert {failure.step for failure in report.failures} <= {9}
    return report.sealed, {f"{f.place}: {f.expected}, {f.found}" for f in report.failures}


def test_all_is_there(scribe: Any, keys: Any) -> None:
    two_segments(scribe)
    scribe.close(8_000_000, tracks=[account()])
    assert verdict(scribe, keys) == (True, set())


@pytest.mark.parametrize(
    "changes",
    [
        {"segments": 3},
        {"samples": 199},
        {"gaps": 1},
        {"gap_us": 1},
        {"captured_us": 7_000_000, "expected_us": 7_000_000},
        {"expected_us": 9_000_000},
    ],
)
def test_an_account_that_does_not_add_up(scribe: Any, keys: Any, changes: dict[str, int]) -> None:
    two_segments(scribe)
    scribe.close(8_000_000, tracks=[account(**changes)])
    sealed, words = verdict(scribe, keys)
    assert not sealed
    assert all("mic-1" in word for word in words)


def test_a_hole_that_nobody_declared(scribe: Any, keys: Any) -> None:
    two_segments(scribe, hole_us=500_000)
    scribe.close(8_000_000, tracks=[account(captured_us=7_500_000, expected_us=7_500_000)])
    sealed, words = verdict(scribe, keys)
    assert not sealed
    assert words == {
        "track mic-1: 0:00:04.000 to 0:00:04.500 captured or declared missing, neither"
    }


def test_a_hole_that_is_declared(scribe: Any, keys: Any) -> None:
    two_segments(scribe, hole_us=500_000)
    scribe.gap("mic-1", 4_000_000, 4_500_000)
    scribe.close(8_000_000, tracks=[account(captured_us=7_500_000, gap_us=500_000, gaps=1)])
    assert verdict(scribe, keys) == (True, set())


def test_a_hole_in_a_pause_is_none(scribe: Any, keys: Any) -> None:
    two_segments(scribe, hole_us=500_000)
    live = [[0, 4_000_000], [4_500_000, 8_000_000]]
    scribe.close(
        8_000_000, live=live, tracks=[account(captured_us=7_500_000, expected_us=7_500_000)]
    )
    assert verdict(scribe, keys) == (True, set())


def test_a_track_that_was_withdrawn_for_a_while(scribe: Any, keys: Any) -> None:
    two_segments(scribe, hole_us=2_000_000)
    withdrawn = {"type": "track_unpublished", "track_id": "mic-1", "participant_id": "p"}
    own = account(captured_us=6_000_000, expected_us=6_000_000)
    scribe.event(4_000_000, withdrawn)
    scribe.event(None, withdrawn)
    scribe.event(4_000_000, {"type": "track_unpublished", "track_id": []})
    scribe.close(8_000_000, tracks=[own])
    assert verdict(scribe, keys) == (True, set())


def test_a_withdrawal_excuses_nothing_after_the_track_is_back(scribe: Any, keys: Any) -> None:
    names = {"track_id": "mic-1", "participant_id": "p"}
    two_segments(scribe, hole_us=2_000_000)
    scribe.event(4_000_000, {"type": "track_unpublished", **names})
    scribe.event(5_000_000, {"type": "track_published", **names})
    own = account(captured_us=6_000_000, expected_us=6_000_000)
    scribe.close(8_000_000, tracks=[own])
    sealed, words = verdict(scribe, keys)
    assert not sealed
    assert words == {
        "track mic-1: 0:00:05.000 to 0:00:06.000 captured or declared missing, neither"
    }


def test_a_gap_within_a_segment_is_not_captured(scribe: Any, keys: Any) -> None:
    two_segments(scribe)
    scribe.gap("mic-1", 1_000_000, 2_000_000)
    scribe.close(8_000_000, tracks=[account(captured_us=7_000_000, gap_us=1_000_000, gaps=1)])
    assert verdict(scribe, keys) == (True, set())


def test_edges_may_differ_a_little(scribe: Any, keys: Any) -> None:
    two_segments(scribe, hole_us=90_000)
    scribe.close(8_000_000, tracks=[account(captured_us=7_920_000)])
    assert verdict(scribe, keys) == (True, set())


@pytest.mark.parametrize(("captured_us", "sealed"), [(6_000_000, True), (5_300_000, False)])
def test_a_corrected_clock_is_no_hole(
    scribe: Any, keys: Any, captured_us: int, sealed: bool
) -> None:
    """Media that go on without a break, on a clock that is put right by 5 ms at each segment."""
    scribe.init("mic-1", "microphone", "opus", "cmaf")
    for n in range(60):
        scribe.segment("mic-1", n * 100_000, 95_000, n * 95_000)
    own = account(segments=60, samples=6_000, expected_us=captured_us, captured_us=captured_us)
    scribe.close(6_000_000, tracks=[own])
    assert verdict(scribe, keys)[0] == sealed


def test_a_track_without_account_and_an_account_without_track(scribe: Any, keys: Any) -> None:
    two_segments(scribe)
    silent = account(track="cam-9", segments=0, samples=0, expected_us=0, captured_us=0)
    scribe.close(8_000_000, tracks=[silent])
    sealed, words = verdict(scribe, keys)
    assert not sealed
    assert len(words) == 1
    assert "an account of track mic-1" in words.pop()


def test_a_track_that_never_brought_anything(scribe: Any, keys: Any) -> None:
    scribe.gaps["doc-1"] = []
    scribe.gap("doc-1", 0, 8_000_000)
    silent = account(track="doc-1", segments=0, samples=0, captured_us=0, gap_us=8_000_000, gaps=1)
    scribe.close(8_000_000, tracks=[silent])
    assert verdict(scribe, keys) == (True, set())


def test_segments_that_go_back_in_time(scribe: Any, keys: Any) -> None:
    scribe.init("mic-1", "microphone", "opus", "cmaf")
    scribe.segment("mic-1", 4_000_000)
    scribe.segment("mic-1", 0)
    scribe.close(8_000_000, tracks=[account()])
    sealed, words = verdict(scribe, keys)
    assert not sealed
    assert any("a start from 0:00:04.000 on" in word for word in words)


def test_a_number_of_checkpoints_that_is_not_there(scribe: Any, keys: Any) -> None:
    two_segments(scribe)
    scribe.close(8_000_000, tracks=[account()], checkpoints=5)
    assert not verdict(scribe, keys)[0]


def test_a_ledger_that_was_never_closed(scribe: Any, keys: Any) -> None:
    scribe.ledger.append({"type": "event", "t_us": 0, "wall": "2026-11-23T14:05:07.123Z",
                          "event": {"type": "session_live"}})  # fmt: skip
    scribe.checkpoint()
    sealed, words = verdict(scribe, keys)
    assert not sealed
    assert words == {"line 1: a close line at the end, none: its end is missing"}


def test_lines_after_the_close_line(scribe: Any, keys: Any, tmp_path: Path) -> None:
    two_segments(scribe)
    scribe.close(8_000_000, tracks=[account()], checkpoints=1)
    scribe.gap("mic-1", 0, 1)
    scribe.checkpoint()
    report = verify(scribe.seal(keys.job).layout.root, keys.trust)
    assert any(
        f.step == 4 and f.expected == "nothing after the close line" for f in report.failures
    )


def test_a_second_init_line_and_a_missing_one(scribe: Any, keys: Any) -> None:
    scribe.init("mic-1", "microphone", "opus", "cmaf")
    scribe.segment("mic-1", 0)
    scribe.ledger.append(scribe.inits["mic-1"])
    scribe.segment("mic-1", 4_000_000)
    scribe.inits["mic-2"] = scribe.inits["mic-1"]
    scribe.segments["mic-2"] = []
    scribe.segment("mic-2", 0)
    del scribe.inits["mic-2"]
    scribe.close(8_000_000)
    report = verify(scribe.seal(keys.job).layout.root, keys.trust)
    words = [f.expected for f in report.failures if f.step == 5]
    assert words == ["one init line for each track", "an init line first of mic-2"]
