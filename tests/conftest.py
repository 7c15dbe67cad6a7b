"""Fixtures for tests that need a running server: a real one, on a free port."""

from __future__ import annotations

from collections.abc import AsyncIterator, Awaitable, Callable
from pathlib import Path
from typing import Any

import aiohttp
import pytest
from aiohttp import web
from running import CHEAP, Client, Server, merged

from server.app import create_app
from server.config import Config
from server.keys import ACCOUNTS
from server.serving import listen


@pytest.fixture
def config(tmp_path: Path) -> Config:
    """Settings for a server of its own in a fresh folder."""
    return Config.load(None, {**CHEAP, "data_dir": str(tmp_path / "var")})


@pytest.fixture
async def start_server(config: Config) -> AsyncIterator[Callable[..., Awaitable[Server]]]:
    """Starts servers with other settings, as in ``await start_server({"server.burst": 5})``."""
    runners: list[web.AppRunner] = []
    sessions: list[aiohttp.ClientSession] = []

    async def start(overrides: dict[str, Any] | None = None) -> Server:
        settings = Config.model_validate(merged(config, overrides or {}))
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


@pytest.fixture
async def server(start_server: Callable[..., Awaitable[Server]]) -> Server:
    """A running server with the settings of ``config``."""
    return await start_server()
