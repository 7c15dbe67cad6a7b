"""The garbage collector after a start: nothing that stays is looked at again."""

from __future__ import annotations

import gc

from server.short_pauses import THRESHOLDS, keep_pauses_short


def test_what_is_there_is_not_looked_at_again_and_what_comes_seldom() -> None:
    before = gc.get_threshold()
    try:
        keep_pauses_short()
        assert gc.get_freeze_count() > 10_000
        assert gc.get_threshold() == THRESHOLDS
        assert len(gc.get_objects()) < gc.get_freeze_count()
    finally:
        gc.unfreeze()
        gc.set_threshold(*before)
