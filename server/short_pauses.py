"""Python's garbage collector, told that media is waiting.

By default it looks through everything that a process has whenever a quarter more has come to stay:
with many sessions that is a pause of a hundred milliseconds, in which no packet goes on. What is
there when a process has started stays for good and need never be looked at again; after that, most
is freed without it, and rings of objects that are left over are few.
"""

from __future__ import annotations

import gc

THRESHOLDS = (20_000, 50, 100)
"""Objects more than freed before the young are looked at; and how often before the older are."""


def keep_pauses_short() -> None:
    """To be called once, when everything has been started."""
    gc.collect()
    gc.freeze()
    gc.set_threshold(*THRESHOLDS)
