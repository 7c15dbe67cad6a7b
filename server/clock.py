"""The server's two clocks, read together."""

from __future__ import annotations

import time
from datetime import UTC, datetime

from rooms.moment import Moment


def now() -> Moment:
    """The present moment. The monotonic clock is the machine's: all its processes share it."""
    return Moment(time.monotonic_ns() // 1000, datetime.now(UTC))
