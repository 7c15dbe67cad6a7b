"""A session of headless terminals behind a bad line: server, recorder and terminals as they are."""

from __future__ import annotations

import contextlib
from collections.abc import AsyncIterator, Awaitable, Callable
from dataclasses import dataclass
from typing import Any

import pytest
from bad_line import BadLine, Trouble, bad_line
from running import Server
from session_in_hand import Session, in_hand, ledger, verified

from server.keys import CONDUCTORS
from server.sfu.uptrack import UpTrack


@dataclass
class Held:
    """A session, the line that its media takes, and the server that it is held on."""

    session: Session
    line: BadLine
    server: Server

    async def ups(self) -> dict[str, UpTrack]:
        """The published tracks, as the server has them."""
        conductor = await self.server.app[CONDUCTORS].get(self.session.session_id)
        return conductor._forwarding.ups

    async def sealed(self) -> list[dict[str, Any]]:
        """Close; the archive's ledger, after the verifier has passed all of it."""
        await self.session.close()
        return ledger(verified(self.server.config, self.session.session_id))


Hold = Callable[..., contextlib.AbstractAsyncContextManager[Held]]


@pytest.fixture
def hold(start_server: Callable[..., Awaitable[Server]]) -> Hold:
    """Holds a session: ``async with hold(trouble, seed) as held``; the site sends, and it is live.

    The trouble begins when the session is live: how a bad line is joined is another matter.
    """

    @contextlib.asynccontextmanager
    async def held(trouble: Trouble, seed: int, codec: str = "VP8") -> AsyncIterator[Held]:
        async with bad_line(Trouble(), seed) as line:
            server = await start_server(line.overrides)
            _, password = await server.accounts.add("root", "root", "admin", None)
            async with in_hand(server.url, "root", password) as session:
                await session.join(codec)
                await session.go_live()
                await session.officer.wait_for_media(2, timeout_s=15)
                line.change(**vars(trouble))
                yield Held(session, line, server)

    return held
