"""A media process's application: it holds sessions, with their media and their recorders.

Reached over a Unix socket by the server alone (:mod:`server.passing`), which has found out who asks
and says so in ``Authorization: Account ID``. The routes of signalling, WHIP and WHEP are the same
as where the server holds the sessions itself; :mod:`server.media_status` has those that only the
server asks.
"""

from __future__ import annotations

import contextlib
from collections.abc import AsyncIterator

from aiohttp import web

from rooms.errors import NotSignedIn
from server import media_status, signalling, whep, whip
from server.claims import Claims
from server.conductors import Conductors
from server.config import Config
from server.database import Database
from server.edge import problems
from server.keys import CONDUCTORS, CONFIG, IDENTIFY, MEDIA_RESOURCES, RECORDS, RELAYS
from server.media_resources import MediaResources
from server.records import Records
from server.turn import Relays

ACCOUNT = "Account "
"""Scheme of the header in which the server names the account."""


def create_media_app(config: Config, name: str) -> web.Application:
    """The application of the media process ``name``."""
    app = web.Application(middlewares=[problems], client_max_size=config.server.max_body_bytes)
    app[CONFIG] = config
    app[IDENTIFY] = _identify

    async def parts(app: web.Application) -> AsyncIterator[None]:
        async with contextlib.AsyncExitStack() as owned:
            database = await Database.open(config.database_path)
            owned.push_async_callback(database.close)
            app[RECORDS] = Records(database)
            app[RELAYS] = Relays(config.turn)
            app[CONDUCTORS] = Conductors(config, app[RECORDS], Claims(config.claims_dir, name))
            app[MEDIA_RESOURCES] = MediaResources()
            owned.push_async_callback(app[MEDIA_RESOURCES].close)
            app[media_status.STATUS] = media_status.Status(name, config, app[CONDUCTORS])
            owned.callback(app[media_status.STATUS].stop)
            yield

    app.cleanup_ctx.append(parts)
    app.on_shutdown.append(_end_sessions)
    media_status.add_routes(app)
    signalling.add_routes(app)
    whip.add_routes(app)
    whep.add_routes(app)
    return app


async def _identify(request: web.Request) -> str:
    told = request.headers.get("Authorization", "")
    if not told.startswith(ACCOUNT):
        raise NotSignedIn
    return told.removeprefix(ACCOUNT)


async def _end_sessions(app: web.Application) -> None:
    await app[CONDUCTORS].shutdown()
