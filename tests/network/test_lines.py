"""What the room is told of a line is what the line does (F35)."""

from __future__ import annotations

import asyncio
import statistics
from collections import Counter
from typing import Any

import pytest
from bad_line import Trouble

pytestmark = pytest.mark.timeout(90)

SETTLES_S = 10
SECONDS = 7


async def told(held: Any) -> tuple[list[dict[str, Any]], list[dict[str, Any]]]:
    """What is told of the sender and of the receiver, each second for some time."""
    session = held.session
    sender, receiver = (t.welcome["participant_id"] for t in (session.site, session.officer))
    await asyncio.sleep(SETTLES_S)
    up, down = [], []
    for _ in range(SECONDS):
        await asyncio.sleep(1)
        up.append(session.officer.network[sender])
        down.append(session.officer.network[receiver])
    return up, down


def mostly(lines: list[dict[str, Any]]) -> str:
    """The class told most of the time."""
    return str(Counter(line["class"] for line in lines).most_common(1)[0][0])


@pytest.mark.parametrize(
    ("up_loss", "down_loss", "classes"),
    [(0.05, 0.25, ("good", "bad")), (0.125, 0.05, ("weak", "good")), (0.25, 0.0, ("bad", "good"))],
)
async def test_each_is_told_of_their_own_line(
    hold: Any, up_loss: float, down_loss: float, classes: tuple[str, str]
) -> None:
    async with hold(Trouble(), seed=11) as held:
        held.line.change(publishing=True, loss=up_loss, delay_s=0.03)
        held.line.change(publishing=False, loss=down_loss, delay_s=0.03)
        up, down = await told(held)
        await held.session.close()
    assert (mostly(up), mostly(down)) == classes, (up, down)
    assert abs(statistics.median(line["up_loss"] for line in up) - up_loss) < 0.03
    assert abs(statistics.median(line["down_loss"] for line in down) - down_loss) < 0.05
    assert 50 <= statistics.median(line["rtt_ms"] for line in down) < 200
