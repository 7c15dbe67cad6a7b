"""Running the server: opening the port, serving until told to stop, stopping in order."""

from __future__ import annotations

import asyncio
import errno
import os
import signal
import ssl
from collections.abc import Callable

from aiohttp import web

from rooms.errors import ConfigInvalid, PortInUse
from server.app import create_app
from server.config import Config
from server.keys import ACCOUNTS, CONFIG, MEDIA_PROCESSES
from server.short_pauses import keep_pauses_short

SHUTDOWN_S = 5.0
"""How long open requests may go on after the server was told to stop."""

_ALL_ADDRESSES = frozenset({"", "0.0.0.0", "::"})  # noqa: S104 - recognised, not bound


async def serve(config: Config, announce: Callable[[str], None]) -> bool:
    """Serve until SIGTERM or SIGINT; ``announce`` gets what the person who started it must read.

    Ends the media processes in order before it returns: recorders write down what they have, and
    live sessions stay live for ``signalling.takeover_s``, for the next server. True after SIGHUP:
    then the media processes were left as they are, for this program to be started anew.
    """
    stop = asyncio.Event()
    again = False

    def restart() -> None:
        nonlocal again
        again = True
        stop.set()

    loop = asyncio.get_running_loop()
    for number in (signal.SIGTERM, signal.SIGINT):
        loop.add_signal_handler(number, stop.set)
    had_terminal = _has_terminal()

    def hung_up() -> None:
        # A terminal that was closed says the same as an operator who wants a new start.
        (stop.set if had_terminal and not _has_terminal() else restart)()

    loop.add_signal_handler(signal.SIGHUP, hung_up)
    app = create_app(config)
    runner, address = await listen(app)
    try:
        password = await app[ACCOUNTS].ensure_admin()
        if password is not None:
            announce(
                f"First start: sign in as admin with the one-time password {password}\n"
                "It is shown only now; change it after signing in."
            )
        keep_pauses_short()
        announce(f"Tingxun serves on {address} (data in {config.data_dir}). Ctrl+C stops it.")
        await stop.wait()
        if again and config.media.process_count:
            app[MEDIA_PROCESSES].leaving = True
    finally:
        await runner.cleanup()
    return again


def _has_terminal() -> bool:
    try:
        os.close(os.open("/dev/tty", os.O_RDWR | os.O_NOCTTY | os.O_CLOEXEC))
    except OSError:
        return False
    return True


async def listen(app: web.Application) -> tuple[web.AppRunner, str]:
    """Start the application and open its port; return its runner and its address (``http://...``).

    Port 0 takes a free one. Raises :class:`~rooms.errors.PortInUse`,
    :class:`~rooms.errors.ConfigInvalid` and whatever the parts raise; then nothing is left running.
    """
    config = app[CONFIG]
    context = _tls(config)
    runner = web.AppRunner(app, access_log=None, shutdown_timeout=SHUTDOWN_S)
    try:
        await runner.setup()
        await _open(runner, config, context)
    except BaseException:
        await runner.cleanup()
        raise
    port = runner.addresses[0][1]
    host = config.server.host
    if host in _ALL_ADDRESSES:
        host = "127.0.0.1"
    elif ":" in host:
        host = f"[{host}]"
    return runner, f"{'https' if context else 'http'}://{host}:{port}"


async def _open(runner: web.AppRunner, config: Config, context: ssl.SSLContext | None) -> None:
    site = web.TCPSite(runner, config.server.host, config.server.port, ssl_context=context)
    try:
        await site.start()
    except OSError as error:
        raise _explained(error, config) from error


def _explained(error: OSError, config: Config) -> Exception:
    where = f"{config.server.host}:{config.server.port}"
    if error.errno == errno.EADDRINUSE:
        return PortInUse(f"{where} is in use")
    return ConfigInvalid(f"server.host, server.port: cannot listen on {where}: {error.strerror}")


def _tls(config: Config) -> ssl.SSLContext | None:
    if config.server.tls_cert is None:
        return None
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.minimum_version = ssl.TLSVersion.TLSv1_2
    try:
        context.load_cert_chain(config.server.tls_cert, config.server.tls_key)
    except (OSError, ssl.SSLError) as error:
        raise ConfigInvalid(f"server.tls_cert, server.tls_key: {error}") from error
    return context
