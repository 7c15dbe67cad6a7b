"""A real server in a test, and clients that talk to it. Fixtures are in conftest.py."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from typing import Any

import aiohttp
from aiohttp import web

from server.accounts import Accounts
from server.config import Config
from server.keys import ACCOUNTS, RECORDS
from server.records import Records

CHEAP = {
    "server.port": 0,
    "media.processes": 0,
    "accounts.argon2_time_cost": 1,
    "accounts.argon2_memory_kib": 8,
    "accounts.argon2_parallelism": 1,
}
"""Settings of a server in a test: any port, and passwords that cost nothing to check."""


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


def merged(config: Config, overrides: dict[str, Any]) -> dict[str, Any]:
    tree = config.model_dump(by_alias=True)
    for key, value in overrides.items():
        *sections, name = key.split(".")
        place = tree
        for section in sections:
            place = place[section]
        place[name] = value
    return tree
