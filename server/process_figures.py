"""One process in figures: its sessions, what their media has counted, and how burdened it is.

JSON values, so that a media process can hand them to the server, whose :mod:`server.metrics` makes
one text of all. Collected when asked for; only the lateness of the event loop is measured in
between (:mod:`server.loop_lag`).
"""

from __future__ import annotations

import itertools
import os
import resource
import time
from bisect import bisect_left
from collections import Counter
from pathlib import Path
from typing import Any

from server.conductors import Conductors
from server.loop_lag import LoopLag

LAG_BUCKETS_S = (0.001, 0.0025, 0.005, 0.01, 0.02, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5)


class ProcessFigures:
    """Runs from its making to :meth:`stop`; without ``conductors`` there are no sessions here."""

    def __init__(self, conductors: Conductors | None) -> None:
        self._conductors = conductors
        self._late = [0] * (len(LAG_BUCKETS_S) + 1)
        self._late_s = 0.0
        self._lag = LoopLag(self._observe)

    def stop(self) -> None:
        """Measure no more."""
        self._lag.stop()

    def to_json(self) -> dict[str, Any]:
        """Everything as it is now; ``totals`` are lists of name, kind of track and count."""
        held = [] if self._conductors is None else self._conductors.held()
        totals = {} if self._conductors is None else self._conductors.totals()
        return {
            "sessions": Counter(str(one.room.phase) for one in held),
            "recordings": Counter(str(one.room.recording.state) for one in held),
            "present": sum(len(one.room.present) for one in held),
            "pictures": sum((one.figures.pictures() for one in held), Counter()),
            "lines_limited": sum(one.figures.lines_limited() for one in held),
            "unacknowledged_bytes": sum(one.unacknowledged_bytes for one in held),
            "totals": [[name, kind, count] for (name, kind), count in totals.items()],
            "process": {
                "lag": {"buckets": list(itertools.accumulate(self._late)), "sum": self._late_s},
                "lag_max_s": self._lag.max_s,
                "open_sockets": _open_sockets(),
                "cpu_s": time.process_time(),
                "resident_bytes": _resident_bytes(),
            },
        }

    def _observe(self, late_s: float) -> None:
        self._late[bisect_left(LAG_BUCKETS_S, late_s)] += 1
        self._late_s += late_s


def _resident_bytes() -> int:
    """Memory in RAM; where there is no /proc, the most that it ever was."""
    try:
        pages = Path("/proc/self/statm").read_text(encoding="ascii").split()[1]
        return int(pages) * os.sysconf("SC_PAGE_SIZE")
    except (OSError, IndexError, ValueError):
        return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024


def _open_sockets() -> int:
    """How many of the process's file descriptors are sockets; 0 where there is no /proc."""
    found = 0
    try:
        descriptors = list(Path("/proc/self/fd").iterdir())
    except OSError:
        return 0
    for descriptor in descriptors:
        try:
            found += str(descriptor.readlink()).startswith("socket:")
        except OSError:
            # Closed since it was listed, as the listing's own always is.
            continue
    return found
