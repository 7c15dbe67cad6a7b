"""What an archive's ledger says of each track, beside what was sent. Pure.

``docs/ARCHIVE.md``, section 4, is the format.
"""

from __future__ import annotations

import json
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Any

_NTP_EPOCH_S = 2_208_988_800
"""From 1900 to 1970."""


@dataclass(frozen=True, slots=True)
class Kept:
    """One track. ``samples`` are pictures or packets of sound."""

    samples: int
    first_wall_s: float | None
    """When its first sample was sent, on the sender's clock (Unix time); None if it never told."""
    expected_us: int
    captured_us: int
    gap_us: int
    gaps: int

    @property
    def captured_percent(self) -> float:
        """Of the time that was expected."""
        return round(100 * self.captured_us / self.expected_us, 3) if self.expected_us else 0.0

    @property
    def unsaid_s(self) -> float:
        """Time that is neither captured nor declared missing."""
        return round((self.expected_us - self.captured_us - self.gap_us) / 1e6, 3)


def read_ledger(text: str) -> list[dict[str, Any]]:
    """The records of a ledger that was closed; ValueError for any other."""
    records: list[dict[str, Any]] = [json.loads(line) for line in text.splitlines()]
    if not records or records[-1]["type"] != "close":
        raise ValueError("the ledger is not closed")
    return records


def kept(records: Sequence[dict[str, Any]]) -> dict[str, Kept]:
    """Every track that the ledger accounts for, by track id."""
    rates = {record["track"]: record["timescale"] for record in records if record["type"] == "init"}
    found = {}
    for told in records[-1]["tracks"]:
        name = told["track"]
        segments = [r for r in records if r["type"] == "seg" and r["track"] == name]
        hz = 48_000 if told["codec"] == "opus" else 90_000
        assert not segments or name in rates
        found[name] = Kept(
            sum(segment["samples"] for segment in segments),
            _first_wall_s([segment["rtp"] for segment in segments], hz),
            told["expected_us"],
            told["captured_us"],
            told["gap_us"],
            told["gaps"],
        )
    return found


def archived_percent(track: Kept, sent_s: Iterable[float], until_s: float, step_s: float) -> float:
    """The share of samples that is in the archive, of those sent from its first one to ``until_s``.

    ``sent_s`` are the wall times that the sender gives its samples, ``step_s`` is between two.
    """
    if track.first_wall_s is None:
        return 0.0
    since_s = track.first_wall_s - step_s / 2
    sent = sum(since_s <= at_s < until_s for at_s in sent_s)
    return round(min(100 * track.samples / sent, 100.0), 3) if sent else 0.0


def _first_wall_s(segments: Sequence[dict[str, Any]], hz: int) -> float | None:
    for segment in segments:
        if segment["ntp_us"] is not None:
            ticks = (segment["first_ts"] - segments[0]["first_ts"]) & 0xFFFFFFFF
            return float(segment["ntp_us"] / 1e6 - _NTP_EPOCH_S - ticks / hz)
    return None
