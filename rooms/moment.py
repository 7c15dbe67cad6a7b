"""The present moment, passed in, and how wall time is written.

The platform has two clocks. The monotonic clock of the server measures: the session clock is it,
counted in microseconds from the command `open`. The wall clock names: it says when something was,
for people and for other machines, and may be corrected at any time.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from datetime import UTC, datetime

_WALL = re.compile(r"\d{4}-\d{2}-\d{2}T\d{2}:\d{2}:\d{2}\.\d{3}Z", re.ASCII)


@dataclass(frozen=True, slots=True)
class Moment:
    """Now: `mono_us` of the server's monotonic clock, `wall` in UTC with whole milliseconds.

    A wall time with another offset or with microseconds is brought to that form; one without an
    offset raises ValueError.
    """

    mono_us: int
    wall: datetime

    def __post_init__(self) -> None:
        """Bring the wall time to the form in which it is stored, so that replay is exact."""
        object.__setattr__(self, "wall", whole_ms(self.wall))


def whole_ms(wall: datetime) -> datetime:
    """Return the same time in UTC, cut to whole milliseconds; ValueError when it is naive."""
    if wall.tzinfo is None:
        raise ValueError("wall time without an offset from UTC")
    return wall.astimezone(UTC).replace(microsecond=wall.microsecond // 1000 * 1000)


def format_wall(wall: datetime) -> str:
    """Write a wall time as "2026-11-23T14:05:07.123Z" (ISO 8601, UTC, milliseconds)."""
    return whole_ms(wall).replace(tzinfo=None).isoformat(timespec="milliseconds") + "Z"


def parse_wall(text: str) -> datetime:
    """Read a wall time in exactly the form that `format_wall` writes; else ValueError."""
    if not _WALL.fullmatch(text):
        raise ValueError(f"not a wall time of the form 2026-11-23T14:05:07.123Z: {text[:40]!r}")
    return datetime.fromisoformat(text)
