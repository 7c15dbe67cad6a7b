"""docs/ARCHIVE.md is normative: it must name everything that is written and checked."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

import rooms.events
from recorder import certificates, coverage, sender_clock, timestamp
from recorder.verify import records, report
from rooms.events import Event

TEXT = (Path(__file__).parents[2] / "docs" / "ARCHIVE.md").read_text()


def section(number: int) -> str:
    return re.split(r"^## \d+\. ", TEXT, flags=re.MULTILINE)[number]


@pytest.mark.parametrize("kind", records._FIELDS)
def test_every_field_that_the_verifier_wants_is_described(kind: str) -> None:
    start = section(4).index(f"**`{kind}`**")
    description = section(4)[start:].split("\n**`")[0]
    for field in records._FIELDS[kind]:
        assert f"`{field}`" in description, field
    if kind == "close":
        for field in records._ACCOUNT:
            assert f"`{field}`" in description, field


def test_every_cause_of_a_gap_is_described() -> None:
    for cause in coverage._DETAILS:
        assert f"| `{cause}` |" in section(4)


def test_every_event_is_named() -> None:
    kinds = {
        kind.type
        for kind in vars(rooms.events).values()
        if isinstance(kind, type) and issubclass(kind, Event) and kind.type
    }
    # An archive is sealed before the room hears of it.
    for kind in kinds - {"session_sealed"}:
        assert f"`{kind}`" in section(4), kind


def test_what_the_recorder_itself_says_is_described() -> None:
    for kind, _ in (sender_clock._DOUBTED, sender_clock._BELIEVED):
        assert f"`{kind}`" in section(4), kind
    assert "`reports_doubted`" in section(4)


def test_every_step_is_described() -> None:
    for number, name in enumerate(report.STEPS, 1):
        assert f"\n{number}. **{name.capitalize()}.**" in section(9), name


def test_numbers_and_names_are_those_of_the_code() -> None:
    assert timestamp.POLICY in section(8)
    for name in (certificates.TRUSTED, certificates.TSA_TRUSTED):
        assert f"`{name}`" in section(11)
