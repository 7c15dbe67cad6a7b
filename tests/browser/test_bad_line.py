"""Two real browsers on a bad line: what reaches the archive, and how often the picture stands."""

from __future__ import annotations

import asyncio
from typing import Any

import pytest
from bad_line import BadLine, Trouble
from in_page import close_session, enter, open_session, received, sealed
from session_in_hand import gaps, ledger, tracks

pytestmark = [pytest.mark.browser, pytest.mark.timeout(120)]

TROUBLE, SEED = Trouble(loss=0.05, delay_s=0.05), 11
"""5 % loss, 100 ms round trip."""

SETTLES_S = 5
"""Pictures wait longer once packets are lost; that change is no freeze of the line's."""

SECONDS = 15


@pytest.fixture
def overrides(line: BadLine) -> dict[str, Any]:
    return line.overrides


async def test_at_5_percent(window: Any, installation: Any, line: BadLine) -> None:
    windows = await enter(window, installation)
    officer = windows[0].page
    await open_session(officer)
    await asyncio.sleep(SETTLES_S)
    before = [(await received(one.page))["video"] for one in windows]
    await asyncio.sleep(SECONDS)
    after = [(await received(one.page))["video"] for one in windows]
    for first, last in zip(before, after, strict=True):
        frozen_s = last["totalFreezesDuration"] - first["totalFreezesDuration"]
        print(f"frozen {frozen_s / SECONDS:.2%}")
        # A busy machine freezes pictures by itself: with two cores and a load of 5 it was 0 to
        # 1.4 %. That it is at most 1 % on a quiet one is measured by `python -m bench.lines`.
        assert frozen_s < 0.05 * SECONDS
        assert last["framesDecoded"] - first["framesDecoded"] > 10 * SECONDS
        # Retransmissions come in a stream of their own, and no picture had to begin anew.
        assert last["retransmittedPacketsReceived"] > first["retransmittedPacketsReceived"]
        assert last["pliCount"] - first["pliCount"] <= 1
    assert sum(flow.media_up > 0 for flow in line.flows.values()) == 2
    await close_session(officer)
    lines = ledger(sealed(installation))
    told = tracks(lines)
    assert sorted(told) == ["cam-1", "cam-2", "mic-1", "mic-2"]
    for name, track in told.items():
        assert track["expected_us"] > SECONDS * 1_000_000
        captured, expected = track["captured_us"], track["expected_us"]
        assert captured >= 0.999 * expected, (track, gaps(lines, name))
