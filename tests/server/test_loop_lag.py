"""The timer that measures its own lateness."""

import asyncio
import time

from server.loop_lag import INTERVAL_S, LoopLag


async def test_a_loop_that_is_held_up_is_late() -> None:
    seen: list[float] = []
    lag = LoopLag(seen.append)
    try:
        async with asyncio.timeout(5):
            while not seen:
                await asyncio.sleep(0.01)
            time.sleep(INTERVAL_S + 0.2)
            while len(seen) < 2:
                await asyncio.sleep(0.01)
    finally:
        lag.stop()
    assert seen[1] >= 0.19
    assert lag.max_s == max(seen)
    await asyncio.sleep(INTERVAL_S + 0.1)
    assert len(seen) == 2
