"""What the benchmark of lines makes of a ledger, of what was sent, and of its rows."""

from __future__ import annotations

import json
from dataclasses import replace
from typing import Any

import pytest

from bench import lines
from bench.tracks import Kept, archived_percent, kept, read_ledger

UNIX_S = 1_800_000_000
NTP_US = (UNIX_S + 2_208_988_800) * 1_000_000
WHOLE = Kept(250, float(UNIX_S), 10_000_000, 10_000_000, 0, 0)
ROW = lines.Row("loss-5", 100.0, 100.0, 100.0, 100.0, 0, 0.0, 0.0, 0.5, 1.0, 25.0, 25.0)


def ledger(*segments: dict[str, Any]) -> str:
    told = {"track": "cam-1", "codec": "vp8", "expected_us": 10, "captured_us": 6, "gap_us": 3}
    records = [
        {"type": "open"},
        {"type": "init", "track": "cam-1", "timescale": 90_000},
        *({"type": "seg", "track": "cam-1", **segment} for segment in segments),
        {"type": "close", "tracks": [{**told, "gaps": 2}]},
    ]
    return "\n".join(json.dumps(record) for record in records)


def segment(samples: int, first_ts: int, ntp_us: int | None) -> dict[str, Any]:
    return {"samples": samples, "rtp": {"first_ts": first_ts, "ntp_us": ntp_us}}


def test_a_ledger_is_read_by_track() -> None:
    # No report had come for the first segment; the second tells when both were sent. It wraps.
    text = ledger(segment(100, 2**32 - 90_000, None), segment(50, 90_000, NTP_US))
    (track,) = kept(read_ledger(text)).values()
    assert track == Kept(150, UNIX_S - 2.0, 10, 6, 3, 2)
    assert track.captured_percent == 60.0
    assert track.unsaid_s == pytest.approx(0.0, abs=1e-5)


def test_an_open_ledger_is_refused() -> None:
    with pytest.raises(ValueError, match="not closed"):
        read_ledger('{"type":"open"}')


def test_frames_are_counted_from_the_first_that_was_kept() -> None:
    sent = [UNIX_S - 4 + n / 25 for n in range(25 * 20)]
    assert archived_percent(WHOLE, sent, UNIX_S + 10, 1 / 25) == 100.0
    assert archived_percent(replace(WHOLE, samples=249), sent, UNIX_S + 10, 1 / 25) == 99.6
    assert archived_percent(replace(WHOLE, first_wall_s=None), sent, UNIX_S + 10, 1 / 25) == 0.0


def test_targets_are_those_of_the_issue() -> None:
    rows = [
        replace(ROW, archived_cam=99.8),
        replace(ROW, line="loss-20", archived_mic=99.2, browser_mic=98.9),
        replace(ROW, line="down-300k-15", concealed=3.0, unsaid_s=-0.3),
    ]
    met = {target.name: target.met for target in lines.targets(rows)}
    assert [name for name, good in met.items() if not good] == [
        "camera frames in the archive at 5 %, percent",
        "browser's sound in the archive at 20 %, percent",
        "missing and not declared on any line, s",
    ]
    assert {target.met for target in lines.targets([])} == {None}


def test_every_line_of_the_issue_is_there() -> None:
    names = [scenario.name for scenario in lines.scenarios()]
    assert names[:4] == ["loss-0", "loss-5", "loss-10", "loss-20"]
    assert {"burst-5", "reorder", "duplicate", "down-300k"} <= set(names)
    assert lines.table([ROW]).splitlines()[1].startswith("loss-5")
