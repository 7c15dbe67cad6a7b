"""What all tracks of one recording share, and how they are heard."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any

from recorder.archive import Layout
from recorder.coverage import LiveTime


@dataclass(slots=True)
class Outbox:
    """What the tracks have to say: ledger records, in order.

    ``urge`` asks for a commit at once, ``want_key_frame`` for a key frame of a track index.
    """

    urge: Callable[[], None]
    want_key_frame: Callable[[int], None]
    records: list[dict[str, Any]] = field(default_factory=list)


@dataclass(frozen=True, slots=True)
class Setting:
    """What all tracks of a recording share."""

    layout: Layout
    opened: datetime
    segment_target_us: int
    repair_wait_us: int
    live: LiveTime
    outbox: Outbox
