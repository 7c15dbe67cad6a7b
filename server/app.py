"""The application: its parts made in order at the start and let go in reverse at the end.

Nothing touches the disk before start-up. The port is opened by :mod:`server.serving`; ``tingxun
serve``, the demo and the tests all use the two of them alike.
"""

from __future__ import annotations

import asyncio
import contextlib
import logging
import os
from collections.abc import AsyncIterator
from pathlib import Path

from aiohttp import web

from recorder import certificates
from rooms.errors import ArchiveDirUnwritable
from server import api, metrics, pages, signalling, whep, whip
from server.account_records import AccountRecords
from server.accounts import Accounts
from server.claims import Claims
from server.conductors import Conductors
from server.config import Config
from server.database import Database
from server.edge import AddressPace, add_security_headers, gate, problems
from server.keys import (
    ACCOUNTS,
    CONDUCTORS,
    CONFIG,
    IDENTIFY,
    MEDIA_PROCESSES,
    MEDIA_RESOURCES,
    METRICS,
    OPEN_SOCKETS,
    PAGES,
    RECORDS,
    RELAYS,
    VERIFICATION,
)
from server.media_processes import MediaProcesses
from server.media_resources import MediaResources
from server.passing import close_sockets, passing
from server.process_figures import ProcessFigures
from server.records import Records
from server.turn import Relays
from server.verification import Verification

logger = logging.getLogger(__name__)


def create_app(config: Config) -> web.Application:
    """The server's application; once started, its parts are under :mod:`server.keys`."""
    pace = AddressPace(config.server.burst, config.server.rate_per_s)
    apart = config.media.process_count > 0
    app = web.Application(
        middlewares=[problems, gate, pace.middleware(), *([passing] if apart else [])],
        client_max_size=config.server.max_body_bytes,
    )
    app[CONFIG] = config
    app[PAGES] = pages.Pages()
    app.on_response_prepare.append(add_security_headers)
    app.cleanup_ctx.append(_parts)
    app.cleanup_ctx.append(_media_apart if apart else _media_here)
    app.on_shutdown.append(close_sockets if apart else _end_sessions)
    api.add_routes(app)
    metrics.add_routes(app)
    pages.add_routes(app)
    signalling.add_routes(app)
    whip.add_routes(app)
    whep.add_routes(app)
    return app


async def _parts(app: web.Application) -> AsyncIterator[None]:
    """Make the parts that own something; let them go when the server ends."""
    config = app[CONFIG]
    async with contextlib.AsyncExitStack() as owned:
        database = await Database.open(config.database_path)
        owned.push_async_callback(database.close)
        await asyncio.to_thread(_check_archive_dir, config.archive_dir)
        app[RECORDS] = Records(database)
        app[RELAYS] = Relays(config.turn)
        app[ACCOUNTS] = Accounts(config, AccountRecords(database))
        owned.callback(app[ACCOUNTS].close)
        app[VERIFICATION] = Verification(config)
        app[IDENTIFY] = app[ACCOUNTS].identify
        yield


async def _media_here(app: web.Application) -> AsyncIterator[None]:
    """Sessions are held by this process itself."""
    config = app[CONFIG]
    async with contextlib.AsyncExitStack() as owned:
        claims = Claims(config.claims_dir, f"process {os.getpid()}")
        app[CONDUCTORS] = Conductors(config, app[RECORDS], claims)
        app[MEDIA_RESOURCES] = MediaResources()
        owned.push_async_callback(app[MEDIA_RESOURCES].close)
        figures = ProcessFigures(app[CONDUCTORS])
        owned.callback(figures.stop)
        app[METRICS] = metrics.Metrics(figures, None)
        # What a server that died left unfinished is taken over while this one already serves.
        recovery = asyncio.create_task(_recover(app))
        owned.push_async_callback(_ended, recovery)
        yield


async def _media_apart(app: web.Application) -> AsyncIterator[None]:
    """Sessions are held by processes of their own."""
    config = app[CONFIG]
    async with contextlib.AsyncExitStack() as owned:
        # Made before several processes look for them at once.
        await asyncio.to_thread(certificates.ensure, config.certificates_dir, config.seal.tsa_url)
        app[OPEN_SOCKETS] = set()
        app[MEDIA_PROCESSES] = MediaProcesses(config)
        owned.push_async_callback(app[MEDIA_PROCESSES].stop)
        figures = ProcessFigures(None)
        owned.callback(figures.stop)
        app[METRICS] = metrics.Metrics(figures, app[MEDIA_PROCESSES])
        await app[MEDIA_PROCESSES].start()
        yield


async def _ended(task: asyncio.Task[None]) -> None:
    task.cancel()
    with contextlib.suppress(asyncio.CancelledError):
        await task


async def _recover(app: web.Application) -> None:
    try:
        taken = await app[CONDUCTORS].recover()
    except Exception:
        logger.exception("looking for unfinished recordings")
        return
    if taken:
        logger.warning("sessions taken over: %s", ", ".join(taken))


async def _end_sessions(app: web.Application) -> None:
    await app[CONDUCTORS].shutdown()


def _check_archive_dir(folder: Path) -> None:
    """Find out before a session is opened, not while it runs, that nothing can be recorded."""
    probe = folder / f".probe-{os.getpid()}"
    try:
        folder.mkdir(parents=True, exist_ok=True)
        probe.touch()
        probe.unlink()
    except OSError as error:
        raise ArchiveDirUnwritable(f"{folder}: {error.strerror}") from error
