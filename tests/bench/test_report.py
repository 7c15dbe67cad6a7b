"""Tables, ratios, targets and the one JSON object."""

from __future__ import annotations

import json
import math

from bench import report


def test_targets_are_met_missed_or_not_measured() -> None:
    assert report.at_most("a", 0.45, 0.45).met is True
    assert report.at_most("a", 0.46, 0.45).met is False
    assert report.at_most("a", None, 0.45).met is None
    assert report.at_least("a", 40, 40).met is True
    assert report.at_least("a", 39, 40).met is False
    text = report.targets_text([report.at_most("cost", 0.5, 0.45), report.at_most("x", None, 1.0)])
    assert "NOT MET" in text.splitlines()[1]
    assert "not measured" in text.splitlines()[2]


def test_percentiles_of_a_sorted_sequence() -> None:
    assert report.percentile(range(100), 0.5) == 50
    assert report.percentile(range(100), 0.99) == 99
    assert report.percentile([7], 0.99) == 7
    assert math.isnan(report.percentile([], 0.5))


def test_a_ratio_needs_both_sides() -> None:
    assert report.ratio(1.0, 2.0) == 0.5
    assert report.ratio(1.0, None) is None
    assert report.ratio(None, 2.0) is None
    assert report.ratio(1.0, 0.0) is None


def test_columns_are_aligned_and_nothing_is_a_dash() -> None:
    text = report.table(("row", "n"), [("long name", 1), ("a", None), ("b", 12.5)])
    assert text.splitlines() == [
        "row           n",
        "long name     1",
        "a             -",
        "b          12.5",
    ]


def test_one_object_with_rows_and_targets() -> None:
    result = json.loads(report.as_json([{"name": "a"}], [report.at_most("t", 1.0, 2.0)]))
    assert result == {
        "rows": [{"name": "a"}],
        "targets": [{"name": "t", "value": 1.0, "target": 2.0, "met": True}],
    }
