"""Repair on both sides of the forwarding unit, in virtual time: lines of every kind, by seed."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from typing import Any

import pytest
import virtual_time
from bad_line import Trouble
from line_ends import CLOCKED, FIRST_ROUND, PACKETS_PER_S, Room

from server.sfu import repair

BAD, WORSE = Trouble(loss=0.05, delay_s=0.05), Trouble(loss=0.2, delay_s=0.05)


@pytest.fixture
def hold(monkeypatch: pytest.MonkeyPatch) -> Callable[[Any], None]:
    return lambda test: virtual_time.run(test, monkeypatch, *CLOCKED)


@pytest.mark.parametrize("seed", [1, 2])
@pytest.mark.parametrize(
    "trouble",
    [
        BAD,
        WORSE,
        Trouble(loss=0.05, delay_s=0.15),
        Trouble(loss=0.05, delay_s=0.03, jitter_s=0.04, duplicate=0.05),
    ],
    ids=["5 %", "20 %", "far away", "disorder"],
)
def test_everything_reaches_the_archive(
    hold: Callable[[Any], None], trouble: Trouble, seed: int
) -> None:
    async def test() -> None:
        room = Room(trouble, seed)
        await room.run(30)
        # The sender forgets after a second: eight requests at 20 %, where one in three fails, and
        # three from far away. The last packets of all are lost where nothing comes after them.
        allowed = 0 if trouble.loss == BAD.loss and trouble.delay_s < 0.1 else 0.001
        allowed *= room.sender.sent
        assert room.sink.lost == room.up.lost <= allowed
        assert room.sink.packets >= room.sender.sent - room.sink.lost - 3
        assert len(room.taken) == len(set(room.taken))
        lost = room.sender.to_server.line.dropped
        tries = 1 / (1 - trouble.loss) ** 2
        late = 0.3 * room.sender.sent if trouble.jitter_s else 0
        assert room.sender.requested < 1.3 * tries * lost + late + 20
        (one,), round_trip_ns = room.up.layers, 2e9 * trouble.delay_s
        measured_ns = one.repair.round_trip_ns
        assert round_trip_ns <= measured_ns <= round_trip_ns + 60e6 or trouble.jitter_s
        assert room.sender.key_frames <= room.up.lost

    hold(test())


@pytest.mark.parametrize("seed", [1, 2])
def test_a_viewer_gets_almost_all_in_time(hold: Callable[[Any], None], seed: int) -> None:
    async def test() -> None:
        room = Room(BAD, seed, recorded=False)
        await room.run(30)
        came = room.viewer.came_s
        numbers = range(FIRST_ROUND + 65_000, FIRST_ROUND + 65_000 + room.sender.sent)
        sent_s = [virtual_time.START_S + n / PACKETS_PER_S for n in range(room.sender.sent)]
        late = [
            number
            for number, at_s in zip(numbers, sent_s, strict=True)
            if number not in came or came[number] - at_s > 0.5
        ]
        assert len(late) < 0.002 * room.sender.sent
        assert room.viewer.retransmissions > 100

    hold(test())


def test_on_a_good_line_nothing_is_asked_for(hold: Callable[[Any], None]) -> None:
    async def test() -> None:
        room = Room(Trouble(delay_s=0.02, jitter_s=0.009), 1)
        await room.run(30)
        assert room.sink.packets == room.sender.sent
        assert room.sender.requested == room.viewer.retransmissions == 0
        assert room.up.layers[0].repair.round_trip_ns == 0

    hold(test())


@pytest.mark.parametrize(("recorded", "seconds"), [(False, 0.4), (True, 2.0)])
def test_a_viewer_gives_up_sooner_than_a_recorder(
    hold: Callable[[Any], None], recorded: bool, seconds: float
) -> None:
    async def test() -> None:
        room = Room(Trouble(delay_s=0.01), 1, recorded=recorded, keeps_s=0.0)
        running = asyncio.create_task(room.run(5))
        await asyncio.sleep(1)
        room.sender.to_server.line.trouble = Trouble(cut=True)
        await asyncio.sleep(0.02)
        room.sender.to_server.line.trouble = Trouble(delay_s=0.01)
        await asyncio.sleep(seconds - 0.05)
        assert room.up.lost == 0
        await asyncio.sleep(0.1)
        assert room.up.lost == 2 or room.up.lost == 3
        # One request for both, and one more at most when the second was given up.
        assert 1 <= room.sender.key_frames <= 2
        requests = room.sender.requested
        await running
        assert room.sender.requested == requests

    hold(test())


@pytest.mark.parametrize("codec", ["VP8", "opus"])
def test_a_cut_of_five_seconds(hold: Callable[[Any], None], codec: str) -> None:
    async def test() -> None:
        room = Room(BAD, 1, codec=codec)
        running = asyncio.create_task(room.run(20))
        await asyncio.sleep(5)
        for pipe in (room.sender.to_server, room.sender.to_sender):
            pipe.line.trouble = Trouble(cut=True)
        await asyncio.sleep(5)
        before = room.sender.requested
        for pipe in (room.sender.to_server, room.sender.to_sender):
            pipe.line.trouble = BAD
        await running
        cut = 5 * PACKETS_PER_S
        if codec == "VP8":
            # All at once: a key frame is cheaper, and one is asked for.
            assert cut <= room.up.lost <= cut + 60
            assert room.sender.key_frames >= 1
        else:
            # What the sender still has is repaired.
            assert cut - 1.1 * PACKETS_PER_S < room.up.lost <= cut - 0.5 * PACKETS_PER_S
            assert room.sender.key_frames == 0
        assert room.sink.lost == room.up.lost
        # Each packet is asked for once in a round trip, for as long as the recorder waits.
        assert room.sender.requested - before < repair.MAX_MISSING * 22

    hold(test())


def test_a_sender_that_begins_anew_is_followed(hold: Callable[[Any], None]) -> None:
    async def test() -> None:
        room = Room(Trouble(delay_s=0.02), 1)
        await room.sender.run(2, first=50_000)
        await room.sender.run(2, first=30_000)
        await asyncio.sleep(1)
        # One packet shows the jump, and the next but one is taken.
        assert len(room.taken) >= room.sender.sent - 3
        assert room.sink.lost == 1
        numbers = sorted(room.viewer.came_s)
        assert numbers == list(range(numbers[0], numbers[0] + len(numbers)))
        room.up.close()

    hold(test())
