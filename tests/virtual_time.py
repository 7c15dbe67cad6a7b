"""An event loop whose time passes at once: a minute of media is tested in a second, each run alike.

Only timers: a loop that waits for a socket would wait for ever, and says so.
"""

from __future__ import annotations

import asyncio
import selectors
from collections.abc import Coroutine
from types import SimpleNamespace
from typing import Any

import pytest

START_S = 1000.0


class _Selector(selectors.DefaultSelector):
    """Waits for nothing: the time that would have been waited has passed."""

    loop: VirtualTimeLoop

    def select(self, timeout: float | None = None) -> Any:
        assert timeout is not None, "nothing is left to happen"
        self.loop.now_s += max(timeout, 0.0)
        return super().select(0)


class VirtualTimeLoop(asyncio.SelectorEventLoop):
    """Its ``time`` goes on only where it would have waited."""

    def __init__(self) -> None:
        selector = _Selector()
        selector.loop = self
        self.now_s = START_S
        super().__init__(selector)

    def time(self) -> float:
        return self.now_s


def run(test: Coroutine[Any, Any, None], monkeypatch: pytest.MonkeyPatch, *modules: Any) -> None:
    """Run ``test`` in such a loop; ``modules`` read their monotonic clock from it, too."""
    loop = VirtualTimeLoop()
    clock = SimpleNamespace(
        monotonic_ns=lambda: round(loop.time() * 1e9), monotonic=lambda: loop.time()
    )
    for module in modules:
        monkeypatch.setattr(module, "time", clock)
    try:
        loop.run_until_complete(test)
    finally:
        loop.close()
