"""The floor forwards what is sent to everybody else, and nothing more."""

from __future__ import annotations

import asyncio
import contextlib
import random
from typing import cast

import pytest

from bench.floor import floor
from bench.media import Frame, Media
from bench.packets import Tally
from bench.processes import Cpus

MEDIA = Media((Frame(True, (b"k" * 100, b"l" * 100)),), (Frame(True, (b"s" * 40,)),))


class _AnyCpu:
    def for_server(self) -> contextlib.AbstractContextManager[None]:
        """Tests stay on the CPUs that they have."""
        return contextlib.nullcontext()


@pytest.mark.parametrize("profile", ["gcm", "cm"])
async def test_everybody_else_receives_what_is_sent(profile: str) -> None:
    tally = Tally()
    async with floor(cast(Cpus, _AnyCpu()), profile, 3) as bare:
        bare.connect(MEDIA, tally, random.Random(1), 2)
        async with asyncio.timeout(10):
            while tally.totals()["received"] < 60 or len(tally.receptions) < 8:
                await asyncio.sleep(0.01)
    # Two send two streams each, to the other one and to the one who only looks on.
    assert len(tally.receptions) == 8
    assert sum(reception.video for reception in tally.receptions) == 4
    assert tally.totals()["lost"] == 0
