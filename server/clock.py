"""The server's two clocks, read together."""

from __future__ import annotations

import time
from datetime import UTC, datetime
from pathlib import Path

from rooms.moment import Moment, format_wall


def now() -> Moment:
    """The present moment. The monotonic clock is the machine's: all its processes share it."""
    return Moment(time.monotonic_ns() // 1000, datetime.now(UTC))


def wall() -> str:
    """The wall time now, as it is stored."""
    return format_wall(datetime.now(UTC))


def boot_id() -> str:
    """Which start of the machine this is: the monotonic clock means nothing after the next.

    Empty where the system does not say.
    """
    try:
        return Path("/proc/sys/kernel/random/boot_id").read_text(encoding="ascii").strip()
    except OSError:
        return ""
