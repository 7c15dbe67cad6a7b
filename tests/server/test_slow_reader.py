"""A client that does not read its messages: it is let go, and nobody waits for it."""

from __future__ import annotations

import asyncio
from typing import Any, cast

from aiohttp import WSCloseCode

from server.signalling import OUTBOX, SocketConnection


class Stuck:
    """A socket into which nothing fits any more."""

    def __init__(self) -> None:
        self.closed_with: list[int] = []
        self.taken = 0

    async def send_str(self, text: str) -> None:
        self.taken += 1
        await asyncio.get_running_loop().create_future()

    async def close(self, *, code: int = WSCloseCode.OK) -> bool:
        self.closed_with.append(code)
        return True


async def test_who_never_reads_is_let_go_and_holds_only_so_much() -> None:
    socket = Stuck()
    connection = SocketConnection(cast(Any, socket), cast(Any, None), "p-1")
    writer = asyncio.create_task(connection.write())
    await asyncio.sleep(0)
    for n in range(20 * OUTBOX):
        # Never blocks: whoever speaks to everybody goes on to the next.
        connection.send({"type": "event", "n": n})
    await asyncio.sleep(0.01)
    assert socket.taken == 1
    assert socket.closed_with == [WSCloseCode.TRY_AGAIN_LATER]
    assert connection._outbox.qsize() <= OUTBOX
    writer.cancel()
