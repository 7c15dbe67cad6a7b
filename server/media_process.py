"""A media process: ``python -m server.media_process --run FOLDER --name NAME``, settings on stdin.

Started by the server (:mod:`server.media_processes`), but no part of its life: it goes on with its
sessions when the server dies or is started anew, and is found again by its socket. It ends when it
is told to (SIGTERM), in order, and by itself when nobody has asked for it for some minutes and no
media arrives.
"""

from __future__ import annotations

import argparse
import asyncio
import json
import logging
import signal
import sys
import time
from pathlib import Path

import uvloop
from aiohttp import web

from rooms.errors import TingxunError
from server import logs
from server.config import Config
from server.keys import CONDUCTORS
from server.media_app import create_media_app
from server.media_status import STATUS
from server.short_pauses import keep_pauses_short
from server.unix_path import SocketFolder

logger = logging.getLogger(__name__)

ALONE_S = 180.0
"""A process that no server has asked for so long, and that receives no media, is of no use."""

LOOK_S = 5.0
SHUTDOWN_S = 2.0


async def serve(config: Config, folder: Path, name: str) -> None:
    """Hold sessions until told to stop, or alone for too long."""
    stop = asyncio.Event()
    loop = asyncio.get_running_loop()
    loop.add_signal_handler(signal.SIGTERM, stop.set)
    # Ctrl-C and a closed terminal are for the server, which then says what is to be done.
    for number in (signal.SIGINT, signal.SIGHUP):
        loop.add_signal_handler(number, lambda: None)
    app = create_media_app(config, name)
    runner = web.AppRunner(app, access_log=None, shutdown_timeout=SHUTDOWN_S)
    sockets = SocketFolder(folder)
    try:
        await runner.setup()
        await web.UnixSite(runner, sockets.address(f"{name}.sock")).start()
        keep_pauses_short()
        watch = asyncio.create_task(_alone(app))
        stopped = asyncio.create_task(stop.wait())
        await asyncio.wait([watch, stopped], return_when=asyncio.FIRST_COMPLETED)
        watch.cancel()
        stopped.cancel()
    finally:
        await runner.cleanup()
        (folder / f"{name}.sock").unlink(missing_ok=True)
        sockets.close()


async def _alone(app: web.Application) -> None:
    """Return when nobody needs this process any more."""
    while True:
        await asyncio.sleep(LOOK_S)
        asked_s = time.monotonic() - app[STATUS].asked_s
        if asked_s > ALONE_S and not any(one.receiving for one in app[CONDUCTORS].held()):
            logger.warning("no server has asked for %d s, and no media arrives: ending", asked_s)
            return


def main(arguments: list[str] | None = None) -> int:
    """Entry point; a known error is one line, not a traceback."""
    parser = argparse.ArgumentParser(prog="server.media_process", description=__doc__)
    parser.add_argument("--run", type=Path, required=True, help="folder of the sockets")
    parser.add_argument("--name", required=True, help="name of this process, and of its socket")
    options = parser.parse_args(arguments)
    config = Config.model_validate(json.load(sys.stdin))
    logs.configure(config.log)
    try:
        uvloop.run(serve(config, options.run, options.name))
    except TingxunError as error:
        logger.error("%s: %s: %s", options.name, error.code, error.message)  # noqa: TRY400
        return 1
    return 0


if __name__ == "__main__":
    sys.exit(main())
