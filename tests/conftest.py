"""Fixtures for tests that need a running server: a real one, on a free port."""

from __future__ import annotations

from collections.abc import AsyncIterator, Awaitable, Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import aiohttp
import pytest
from aiohttp import web

from server.accounts import Accounts
from server.app import create_app
from server.config import Config
from server.keys import ACCOUNTS, RECORDS
from server.records import Records
from server.serving import listen

CHEAP = {
    "server.port": 0,
    "accounts.argon2_time_cost": 1,
    "accounts.argon2_memory_kib": 8,
    "accounts.argon2_parallelism": 1,
}
"""Settings of a server in a test: any port, and passwords that cost nothing to check."""


@pytest.fixture
def config(tmp_path: Path) -> Config:
    """Settings for a server of its own in a fresh folder."""
    return Config.load(None, {**CHEAP, "data_dir": str(tmp_path / "var")})


@dataclass
class Client:
    """One browser or program: keeps its cookies, and asks as our pages do."""

    http: aiohttp.ClientSession
    account: dict[str, Any] | None = None

    async def call(
        self, method: str, path: str, body: Any = None, **options: Any
    ) -> tuple[int, Any]:
        """Ask, and return the status and the JSON of the answer."""
        headers = {"X-Requested-With": "tingxun", **options.pop("headers", {})}
        if body is not None:
            options["json"] = body
        async with self.http.request(method, path, headers=headers, **options) as response:
            return response.status, await response.json(content_type=None)

    async def get(self, path: str, **options: Any) -> tuple[int, Any]:
        """GET as JSON."""
        return await self.call("GET", path, **options)

    async def post(self, path: str, body: Any = None, **options: Any) -> tuple[int, Any]:
        """POST as JSON."""
        return await self.call("POST", path, {} if body is None else body, **options)

    async def page(self, path: str, **options: Any) -> aiohttp.ClientResponse:
        """GET as a browser opens a page, not following redirects; the body is read."""
        headers = {"Accept": "text/html", **options.pop("headers", {})}
        response = await self.http.get(path, headers=headers, allow_redirects=False, **options)
        await response.read()
        return response


@dataclass
class Server:
    """A running server and what a test may look at inside it."""

    app: web.Application
    url: str
    config: Config
    client: Callable[[], Client]
    signed_in: Callable[..., Awaitable[Client]]

    @property
    def records(self) -> Records:
        """The server's records."""
        return self.app[RECORDS]

    @property
    def accounts(self) -> Accounts:
        """The server's accounts."""
        return self.app[ACCOUNTS]


@pytest.fixture
async def start_server(config: Config) -> AsyncIterator[Callable[..., Awaitable[Server]]]:
    """Starts servers with other settings, as in ``await start_server({"server.burst": 5})``."""
    runners: list[web.AppRunner] = []
    sessions: list[aiohttp.ClientSession] = []

    async def start(overrides: dict[str, Any] | None = None) -> Server:
        settings = Config.model_validate(_merged(config, overrides or {}))
        app = create_app(settings)
        runner, url = await listen(app)
        runners.append(runner)

        def client() -> Client:
            jar = aiohttp.CookieJar(unsafe=True)
            sessions.append(aiohttp.ClientSession(url, cookie_jar=jar))
            return Client(sessions[-1])

        async def signed_in(role: str, name: str | None = None, site: str | None = None) -> Client:
            if role == "terminal" and site is None:
                site = "detention-centre"
            account, password = await app[ACCOUNTS].add(name or role, name or role, role, site)
            one = client()
            status, answer = await one.post(
                "/api/sign-in", {"name": account.name, "password": password}
            )
            assert status == 200, answer
            one.account = answer["account"]
            return one

        return Server(app, url, settings, client, signed_in)

    yield start
    for session in sessions:
        await session.close()
    for runner in runners:
        await runner.cleanup()


def _merged(config: Config, overrides: dict[str, Any]) -> dict[str, Any]:
    tree = config.model_dump(by_alias=True)
    for key, value in overrides.items():
        *sections, name = key.split(".")
        place = tree
        for section in sections:
            place = place[section]
        place[name] = value
    return tree


@pytest.fixture
async def server(start_server: Callable[..., Awaitable[Server]]) -> Server:
    """A running server with the settings of ``config``."""
    return await start_server()
