"""Rows, tables and targets: what every benchmark prints. Pure.

A result is one JSON object ``{"rows": [...], "targets": [...]}``, where a target has name, value,
target and met (value and met are null when it was not measured).
"""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from typing import Any


@dataclass(frozen=True, slots=True)
class Target:
    """A figure and the limit that it has to keep."""

    name: str
    value: float | None
    target: float
    met: bool | None


def at_most(name: str, value: float | None, limit: float) -> Target:
    """A target that is met by not exceeding ``limit``."""
    return Target(name, value, limit, None if value is None else value <= limit)


def at_least(name: str, value: float | None, limit: float) -> Target:
    """A target that is met by reaching ``limit``."""
    return Target(name, value, limit, None if value is None else value >= limit)


def percentile(ordered: Sequence[int], share: float) -> float:
    """The value below which ``share`` of a sorted sequence lies; NaN of nothing."""
    if not ordered:
        return float("nan")
    return float(ordered[min(len(ordered) - 1, int(len(ordered) * share))])


def ratio(ours: float | None, theirs: float | None, digits: int = 3) -> float | None:
    """``ours`` over ``theirs``; None where either is missing."""
    if ours is None or not theirs:
        return None
    return round(ours / theirs, digits)


def table(headings: Sequence[str], rows: Sequence[Sequence[object]]) -> str:
    """Aligned columns: the first to the left, the others to the right; None is a dash."""
    cells = [list(headings), *([_text(value) for value in row] for row in rows)]
    widths = [max(len(row[column]) for row in cells) for column in range(len(headings))]
    lines = []
    for row in cells:
        first, *others = (
            cell.ljust(w) if n == 0 else cell.rjust(w)
            for n, (cell, w) in enumerate(zip(row, widths, strict=True))
        )
        lines.append("  ".join([first, *others]).rstrip())
    return "\n".join(lines)


def _text(value: object) -> str:
    if value is None:
        return "-"
    return f"{value:g}" if isinstance(value, float) else str(value)


def targets_text(targets: Sequence[Target]) -> str:
    """One line for each target."""
    words = {True: "met", False: "NOT MET", None: "not measured"}
    rows = [(t.name, t.value, t.target, words[t.met]) for t in targets]
    return table(("target", "value", "limit", ""), rows)


def as_json(rows: Sequence[Mapping[str, Any]], targets: Sequence[Target]) -> str:
    """The one object that ``--json`` prints."""
    result = {"rows": list(rows), "targets": [asdict(target) for target in targets]}
    return json.dumps(result, ensure_ascii=False)
