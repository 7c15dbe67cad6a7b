"""What a benchmark prints: one object for programs, or a table with its targets for people."""

from __future__ import annotations

import json

import pytest

from bench import report
from bench.command import show


def test_a_result_is_one_object_or_a_table(capsys: pytest.CaptureFixture[str]) -> None:
    reached = [report.at_most("ms", 3.0, 2.0)]
    show([{"line": "a"}], "the table", reached, json_output=True)
    assert json.loads(capsys.readouterr().out) == {
        "rows": [{"line": "a"}],
        "targets": [{"name": "ms", "value": 3.0, "target": 2.0, "met": False}],
    }
    show([{"line": "a"}], "the table", reached, json_output=False)
    printed = capsys.readouterr().out
    assert printed.startswith("the table\n\n")
    assert "NOT MET" in printed
