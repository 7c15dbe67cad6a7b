"""A bad line, by seed, for a server in the test's own process: :mod:`bench.line` and its relay.

The server is kept from learning the terminals' own addresses: it would find the straight way to
them on the same machine.
"""

from __future__ import annotations

import contextlib
from collections.abc import AsyncIterator

import pytest

from bench.line import Line, Trouble
from bench.relay import INSIDE, OUTSIDE, PORTS, BadLine, Flow, relay
from server.sfu import seam

__all__ = ["INSIDE", "OUTSIDE", "PORTS", "BadLine", "Flow", "Line", "Trouble", "bad_line"]


@contextlib.asynccontextmanager
async def bad_line(trouble: Trouble, seed: int) -> AsyncIterator[BadLine]:
    """A relay with this trouble in both directions of every flow."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(seam.MediaTransport, "add_remote_candidate", lambda self, text: None)
        async with relay(trouble, seed) as line:
            yield line
