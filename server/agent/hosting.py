"""A server of one's own in a child process: started, watched and stopped by the demo.

It is the same ``tingxun serve`` that people start, with its database, keys and archives in a folder
of its own, so that a demo neither needs nor touches the installation around it.
"""

from __future__ import annotations

import asyncio
import contextlib
import errno
import os
import re
import socket
import sys
from collections.abc import AsyncIterator, Iterable
from pathlib import Path

import aiohttp
import yaml

from recorder import certificates
from rooms.errors import REGISTRY, Internal, PortInUse, ServerUnreachable
from server.account_records import AccountRecords
from server.accounts import ADMIN, Accounts
from server.agent.signalling import refusal
from server.config import Config
from server.database import Database

HOST = "127.0.0.1"
READY_WITHIN_S = 20.0
STOP_WITHIN_S = 10.0
TICKET_S = 3600.0
"""How long the link that the demo prints is good for."""

_PROJECT = Path(__file__).resolve().parents[2]


def own_config(config: Config, folder: Path, port: int, archive_dir: Path | None) -> Config:
    """``config`` for a server on this machine alone that keeps everything in ``folder``."""
    tree = config.model_dump(by_alias=True)
    tree["data_dir"] = folder
    tree["server"] |= {"host": HOST, "port": port, "public_origin": None}
    tree["server"] |= {"tls_cert": None, "tls_key": None}
    tree["media"] |= {"bind_address": HOST, "announced_address": None}
    tree["recording"]["archive_dir"] = archive_dir
    tree["accounts"]["ticket_s"] = TICKET_S
    return Config.model_validate(tree)


def share_keys(installation: Config, own: Config) -> None:
    """Let a server in a folder of its own seal with the installation's keys.

    So that ``tingxun verify`` holds the archive against the same certificates as any other. Raises
    what :func:`recorder.certificates.ensure` raises.
    """
    certificates.ensure(installation.certificates_dir)
    own.certificates_dir.symlink_to(installation.certificates_dir, target_is_directory=True)


def choose_port(port: int) -> int:
    """``port`` if it can be listened on, any free one for 0. Raises PortInUse."""
    with socket.socket() as probe:
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            probe.bind((HOST, port))
        except OSError as error:
            if error.errno == errno.EADDRINUSE:
                raise PortInUse(f"{HOST}:{port} is in use") from error
            raise PortInUse(f"{HOST}:{port}: {error.strerror}") from error
        return int(probe.getsockname()[1])


class HostedServer:
    """The child process. Use as ``async with HostedServer(config) as server``."""

    def __init__(self, config: Config) -> None:
        """``config`` is one of :func:`own_config`."""
        self.config = config
        self.url = f"http://{config.server.host}:{config.server.port}"
        self.log = config.data_dir / "server.log"
        self._process: asyncio.subprocess.Process | None = None

    async def __aenter__(self) -> HostedServer:
        try:
            await self._start()
        except BaseException:
            await self.stop()
            raise
        return self

    async def __aexit__(self, *_: object) -> None:
        await self.stop()

    @property
    def pid(self) -> int:
        """The server's process id."""
        assert self._process is not None
        return self._process.pid

    def check(self) -> None:
        """Raise what the server said at last, if it has ended by itself."""
        if self._process is not None and self._process.returncode is not None:
            raise self._failure("ended")

    async def _start(self) -> None:
        """Start it and wait until it answers. Raises what it says it failed of."""
        settings = self.config.data_dir / "config.yaml"
        tree = self.config.model_dump(mode="json", by_alias=True)
        settings.write_text(yaml.safe_dump(tree, sort_keys=False, allow_unicode=True))
        path = os.pathsep.join(filter(None, [str(_PROJECT), os.environ.get("PYTHONPATH")]))
        with self.log.open("wb") as log:
            self._process = await asyncio.create_subprocess_exec(
                sys.executable,
                "-m",
                "server.cli",
                "serve",
                "--config",
                str(settings),
                stdin=asyncio.subprocess.DEVNULL,
                stdout=log,
                stderr=log,
                env={**os.environ, "PYTHONPATH": path},
                # Ctrl-C is for the demo, which then stops its server in order.
                start_new_session=True,
            )
        try:
            async with asyncio.timeout(READY_WITHIN_S), aiohttp.ClientSession() as http:
                while not await _answers(http, f"{self.url}/healthz"):
                    self.check()
                    await asyncio.sleep(0.05)
        except TimeoutError as error:
            raise ServerUnreachable(
                f"the server was not ready in {READY_WITHIN_S:.0f} s; see {self.log}"
            ) from error

    def _failure(self, what: str) -> Exception:
        """What the server said at last, as the error that it named."""
        text = self.log.read_text(errors="replace").strip()
        last = text.splitlines()[-1] if text else "it said nothing"
        for word in re.findall(r"[a-z_]+", last):
            if word in REGISTRY:
                return refusal(word, last)
        return Internal(f"the server {what}: {last}; see {self.log}")

    async def ended(self) -> None:
        """Wait until the server ends by itself."""
        assert self._process is not None
        await self._process.wait()

    async def stop(self) -> None:
        """End the server: in order, or by force after :data:`STOP_WITHIN_S`."""
        process = self._process
        if process is None or process.returncode is not None:
            return
        with contextlib.suppress(ProcessLookupError):
            process.terminate()
            try:
                async with asyncio.timeout(STOP_WITHIN_S):
                    await process.wait()
            except TimeoutError:
                process.kill()
                await process.wait()


async def _answers(http: aiohttp.ClientSession, url: str) -> bool:
    try:
        async with http.get(url) as response:
            return response.status == 200
    except aiohttp.ClientError:
        return False


@contextlib.asynccontextmanager
async def _accounts(config: Config) -> AsyncIterator[Accounts]:
    database = await Database.open(config.database_path)
    accounts = Accounts(config, AccountRecords(database))
    try:
        yield accounts
    finally:
        accounts.close()
        await database.close()


async def first_administrator(config: Config) -> tuple[str, str]:
    """Name and one-time password of the administrator of a new installation, before it starts."""
    async with _accounts(config) as accounts:
        password = await accounts.ensure_admin()
        assert password is not None
        return ADMIN, password


async def ticket(config: Config, account_id: str) -> str:
    """A link's token that signs this account in once, while the server runs."""
    async with _accounts(config) as accounts:
        return await accounts.issue_ticket(account_id)


def processes_of(words: Iterable[str]) -> list[int]:
    """Ids of running processes whose command line has all of these arguments."""
    wanted = {word.encode() for word in words}
    found = []
    for entry in Path("/proc").glob("[0-9]*/cmdline"):
        with contextlib.suppress(OSError):
            if wanted <= set(entry.read_bytes().split(b"\0")):
                found.append(int(entry.parent.name))
    return sorted(found)
