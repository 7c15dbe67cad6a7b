"""A running installation and a real Chromium: what the tests of whole sessions share."""

from __future__ import annotations

import asyncio
import functools
from collections.abc import AsyncIterator, Awaitable, Callable
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest
from aiohttp import web
from bad_line import BadLine, bad_line
from in_page import CASE_NUMBER, trusting
from namespaces import Place
from playwright.async_api import Browser, BrowserContext, Page, async_playwright

from bench.chromium import CHROMIUM, ON_LOOPBACK, start
from rooms.moment import whole_ms
from rooms.roles import Role
from rooms.session import Assignment, Session, SessionKind
from server.account_records import Account
from server.app import create_app
from server.config import Config
from server.keys import ACCOUNTS, CONDUCTORS, RECORDS
from server.serving import listen

Launch = Callable[..., Awaitable[Browser]]


@dataclass(frozen=True)
class Person:
    """Somebody who can be at the installation, with a token to be it."""

    account: Account
    token: str


class Installation:
    """A server on a free port, with an officer, a detention terminal and a booked interrogation."""

    def __init__(self, app: web.Application, url: str, config: Config) -> None:
        self.app = app
        self.url = url
        self.config = config
        self.archive_dir = config.archive_dir
        self.people: dict[str, Person] = {}
        self.session_id = ""

    async def furnish(self) -> None:
        """Make the people and the booking."""
        places = await self.app[RECORDS].places()
        room = next(place for place in places if place.kind == "interrogation")
        detention = next(place for place in places if place.kind == "detention")
        await self._add("officer", "李警官 Officer Li", "officer", None)
        await self._add("detention", "看守所终端 Detention terminal", "terminal", detention.site_id)
        await self._add("stranger", "王某 Stranger", "officer", None)
        await self._add("reviewer", "审核员 Reviewer", "reviewer", None)
        now = whole_ms(datetime.now(UTC))
        officer, terminal = self.people["officer"].account, self.people["detention"].account
        session = Session(
            id="s-browser-1",
            case_number=CASE_NUMBER,
            kind=SessionKind.INTERROGATION,
            title="讯问 Interrogation",
            starts_at=now,
            room_id=room.id,
            site_ids=(room.site_id, detention.site_id),
            assignments=(
                Assignment(
                    officer.id, officer.display_name, Role.QUESTIONER, room.site_id, room.site_name
                ),
                Assignment(
                    terminal.id,
                    terminal.display_name,
                    Role.SUBJECT,
                    detention.site_id,
                    detention.site_name,
                ),
            ),
        )
        await self.app[RECORDS].book(session, now + timedelta(hours=1), detention.id, officer.id)
        self.session_id = session.id

    async def _add(self, name: str, display: str, role: Any, site_id: str | None) -> None:
        account, _ = await self.app[ACCOUNTS].add(name, display, role, site_id)
        sign_in = await self.app[ACCOUNTS].issue_token(account)
        self.people[name] = Person(account, sign_in.token)

    def recorder_pid(self) -> int | None:
        """The process id of the session's recorder."""
        pid = self.app[CONDUCTORS].running()[self.session_id]["recorder_pid"]
        assert pid is None or isinstance(pid, int)
        return pid


@pytest.fixture
def overrides() -> dict[str, Any]:
    """Settings of the installation that a test module may change."""
    return {}


@pytest.fixture
async def installation(tmp_path: Path, overrides: dict[str, Any]) -> AsyncIterator[Installation]:
    """A fresh installation for one test."""
    config = Config.load(
        None,
        {
            "data_dir": tmp_path / "data",
            "server.port": 0,
            # So that a test can look into the session's parts.
            "media.processes": 0,
            "accounts.argon2_time_cost": 1,
            "accounts.argon2_memory_kib": 64,
            **overrides,
        },
    )
    app = create_app(config)
    runner, url = await listen(app)
    try:
        installation = Installation(app, url, config)
        await installation.furnish()
        yield installation
    finally:
        async with asyncio.timeout(20):
            await runner.cleanup()


@pytest.fixture
async def launch() -> AsyncIterator[Launch]:
    """Starts headless Chromiums with a fake camera and microphone: ``await launch()``."""
    async with async_playwright() as playwright:
        browsers: list[Browser] = []

        async def begin(*more: str, executable: str | Path = CHROMIUM) -> Browser:
            browsers.append(await start(playwright, ON_LOOPBACK, *more, executable=executable))
            return browsers[-1]

        try:
            yield begin
        finally:
            async with asyncio.timeout(20):
                for browser in browsers:
                    await browser.close()


@pytest.fixture
def launch_at(launch: Launch, installation: Installation, tmp_path: Path) -> Launch:
    """Starts Chromiums at a place, as far away as it is: ``await launch_at(place)``."""

    async def begin(place: Place, *more: str) -> Browser:
        return await launch(
            trusting(installation.url), *more, executable=place.program(tmp_path, CHROMIUM)
        )

    return begin


@pytest.fixture
async def line(request: pytest.FixtureRequest) -> AsyncIterator[BadLine]:
    """A line for everybody in both directions: the test module's ``TROUBLE``, by its ``SEED``."""
    async with bad_line(request.module.TROUBLE, request.module.SEED) as line:
        yield line


@pytest.fixture
async def browser(launch: Launch) -> Browser:
    """A headless Chromium with a fake camera and microphone."""
    return await launch()


class Window:
    """One person's page, with everything that went wrong in it."""

    def __init__(self, page: Page) -> None:
        self.page = page
        self.problems: list[str] = []
        page.on("pageerror", lambda error: self.problems.append(str(error)))
        page.on(
            "console",
            lambda line: self.problems.append(line.text) if line.type == "error" else None,
        )


@pytest.fixture
def window_in(installation: Installation) -> Any:
    """Opens pages as somebody in a browser: ``await window_in(browser, "officer", "/")``."""

    async def open_window(
        browser: Browser,
        who: str,
        path: str,
        *,
        language: str = "en",
        width: int = 1280,
        height: int = 720,
    ) -> Window:
        context: BrowserContext = await browser.new_context(
            viewport={"width": width, "height": height}
        )
        context.set_default_timeout(20_000)
        await context.add_cookies(
            [
                {
                    "name": "tingxun",
                    "value": installation.people[who].token,
                    "url": installation.url,
                },
                {"name": "language", "value": language, "url": installation.url},
            ]
        )
        page = await context.new_page()
        opened = Window(page)
        await page.goto(installation.url + path)
        return opened

    return open_window


@pytest.fixture
def window(browser: Browser, window_in: Any) -> Any:
    """Opens pages as somebody: ``await window("officer", "/")``."""
    return functools.partial(window_in, browser)
