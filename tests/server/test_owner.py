"""One thing after the other, bounded, and nobody waits for ever."""

from __future__ import annotations

import asyncio
import contextlib
import functools

import pytest

from rooms.errors import Internal, MessageTooFrequent, NotJoined
from server.owner import REQUESTS, Owner


async def test_does_one_thing_after_the_other() -> None:
    owner = Owner("s")
    log: list[str] = []

    async def work(name: str) -> str:
        log.append(f"{name} begins")
        await asyncio.sleep(0)
        log.append(f"{name} ends")
        return name

    asked = [owner.ask(functools.partial(work, name)) for name in "abc"]
    assert await asyncio.gather(*asked) == [*"abc"]
    assert log == [f"{name} {what}" for name in "abc" for what in ("begins", "ends")]
    await owner.stop()


async def test_what_fails_is_raised_where_it_was_asked_for() -> None:
    owner = Owner("s")

    async def fails() -> None:
        raise NotJoined("no")

    with pytest.raises(NotJoined):
        await owner.ask(fails)
    owner.later(fails)
    assert await owner.ask(lambda: asyncio.sleep(0, "goes on")) == "goes on"
    await owner.stop()


async def test_too_much_is_refused() -> None:
    owner = Owner("s")
    waiting = [owner.ask(lambda: asyncio.sleep(0)) for _ in range(REQUESTS)]
    with pytest.raises(MessageTooFrequent):
        owner.ask(lambda: asyncio.sleep(0))
    owner.later(lambda: asyncio.sleep(0))
    await asyncio.gather(*waiting)
    await owner.stop()


async def test_a_stop_answers_everyone() -> None:
    owner = Owner("s")
    asked = [owner.ask(lambda: asyncio.sleep(60)) for _ in range(3)]
    await asyncio.sleep(0)
    await owner.stop()
    for done in asked:
        with pytest.raises(Internal):
            await done
    with pytest.raises(Internal):
        owner.ask(lambda: asyncio.sleep(0))
    await owner.stop()


async def test_a_stop_ends_even_when_the_work_at_hand_swallows_it() -> None:
    owner = Owner("s")

    async def swallows() -> str:
        # As aioice does when it is cancelled while it closes a connection.
        with contextlib.suppress(asyncio.CancelledError):
            await asyncio.sleep(60)
        return "done"

    asked = owner.ask(swallows)
    await asyncio.sleep(0)
    await asyncio.wait_for(owner.stop(), 5)
    assert await asked == "done"
