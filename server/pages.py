"""The pages and their files: templates filled on the server, scripts and styles as they lie.

Everything a page needs comes from this installation: ``web/static``, the texts, and those npm
packages that ``web/package.json`` names as dependencies. Files are sent with validators and asked
for again each time (304 when unchanged), so that an update is complete at once. No template has a
script or style of its own in it: the content security policy of :mod:`server.edge` forbids them.
"""

from __future__ import annotations

import asyncio
import json
from functools import partial
from pathlib import Path

from aiohttp import web
from jinja2 import Environment, FileSystemLoader, StrictUndefined

from rooms.errors import FileUnknown, TingxunError
from server.access import Right, account_with, visible_archive
from server.account_records import Account
from server.files import file_inside
from server.keys import ACCOUNTS, PAGES, RECORDS
from server.texts import LANGUAGES, Texts, language_of

WEB = Path(__file__).resolve().parent.parent / "web"
_TYPES = {
    ".css": "text/css; charset=utf-8",
    ".js": "text/javascript; charset=utf-8",
    ".json": "application/json",
    ".mjs": "text/javascript; charset=utf-8",
    ".png": "image/png",
    ".svg": "image/svg+xml",
    ".webp": "image/webp",
    ".woff2": "font/woff2",
}
"""The files that are sent, by their endings; not what the machine thinks that they are."""


class Pages:
    """The templates with their texts."""

    def __init__(self, web_dir: Path = WEB) -> None:
        self.web_dir = web_dir
        self.texts = Texts(web_dir / "i18n")
        self._templates = Environment(
            loader=FileSystemLoader(web_dir / "templates"),
            autoescape=True,
            undefined=StrictUndefined,
            trim_blocks=True,
            lstrip_blocks=True,
        )
        package = json.loads((web_dir / "package.json").read_text(encoding="utf-8"))
        self.packages = frozenset(package.get("dependencies", {}))

    def render(
        self, request: web.Request, page: str, account: Account | None, **values: str | int
    ) -> web.Response:
        """One page in the reader's language; ``values`` are what this page's template needs."""
        language = language_of(request)
        text = self._templates.get_template(f"{page}.html.j2").render(
            language=language,
            t=partial(self.texts.say, language),
            account=account,
            page=page,
            **values,
        )
        return web.Response(text=text, content_type="text/html")

    def problem(self, request: web.Request, problem: TingxunError) -> web.Response:
        """The page that says why there is no page."""
        response = self.render(request, "problem", None, code=problem.code, status=problem.status)
        response.set_status(problem.status)
        return response


def add_routes(app: web.Application) -> None:
    """Mount the pages, their scripts and styles."""
    app.router.add_get("/", _lobby)
    app.router.add_get("/sign-in", _sign_in)
    app.router.add_get("/sessions/{session_id}", _session)
    app.router.add_get("/replay/{archive_id}", _replay)
    app.router.add_get("/archives", _archives)
    app.router.add_get("/people", _people)
    # A ticket is used up by looking at it, so a HEAD must not.
    app.router.add_get("/ticket/{token}", _ticket, allow_head=False)
    app.router.add_get("/i18n/{path}", _i18n)
    app.router.add_get("/static/{path:.+}", _static)
    app.router.add_get("/vendor/{path:.+}", _vendor)


async def _lobby(request: web.Request) -> web.Response:
    account = await account_with(request)
    return request.app[PAGES].render(request, "lobby", account)


async def _sign_in(request: web.Request) -> web.Response:
    try:
        await account_with(request)
    except TingxunError:
        return request.app[PAGES].render(request, "sign_in", None)
    raise web.HTTPSeeOther("/")


async def _session(request: web.Request) -> web.Response:
    account = await account_with(request)
    session = await request.app[RECORDS].session(request.match_info["session_id"])
    session.assignment(account.id)
    return request.app[PAGES].render(request, "session", account, session_id=session.id)


async def _replay(request: web.Request) -> web.Response:
    account = await account_with(request)
    archive = await visible_archive(request, account)
    return request.app[PAGES].render(request, "replay", account, archive_id=archive.id)


async def _archives(request: web.Request) -> web.Response:
    account = await account_with(request, Right.SEE_OWN_ARCHIVES)
    return request.app[PAGES].render(request, "archives", account)


async def _people(request: web.Request) -> web.Response:
    account = await account_with(request, Right.SEE_PEOPLE)
    return request.app[PAGES].render(request, "people", account)


async def _ticket(request: web.Request) -> web.Response:
    accounts = request.app[ACCOUNTS]
    sign_in = await accounts.redeem(request.match_info["token"])
    response = web.Response(status=303, headers={"Location": local_path(request.query.get("to"))})
    accounts.set_cookie(response, sign_in)
    return response


def local_path(wanted: str | None) -> str:
    """A place to go on to, if it is on this server; else the lobby.

    Browsers read two slashes, in either direction, as another server, and drop control characters
    before they look.
    """
    if not wanted or wanted[0] != "/" or wanted[1:2] in ("/", "\\") or not wanted.isprintable():
        return "/"
    return wanted


async def _i18n(request: web.Request) -> web.StreamResponse:
    if request.match_info["path"] not in {f"{language}.json" for language in LANGUAGES}:
        raise FileUnknown(request.match_info["path"][:200])
    return await _send(request.app[PAGES].web_dir / "i18n", request.match_info["path"])


async def _static(request: web.Request) -> web.StreamResponse:
    return await _send(request.app[PAGES].web_dir / "static", request.match_info["path"])


async def _vendor(request: web.Request) -> web.StreamResponse:
    path = request.match_info["path"]
    pages = request.app[PAGES]
    parts = path.split("/")
    package = "/".join(parts[: 2 if path.startswith("@") else 1])
    if package not in pages.packages:
        raise FileUnknown(f"vendor/{path[:200]}")
    rest = path[len(package) + 1 :]
    return await _send(pages.web_dir / "node_modules" / package, rest)


async def _send(folder: Path, path: str) -> web.StreamResponse:
    file = await asyncio.to_thread(file_inside, folder, path)
    if file is None or file.suffix not in _TYPES:
        raise FileUnknown(path[:200])
    return web.FileResponse(
        file, headers={"Cache-Control": "no-cache", "Content-Type": _TYPES[file.suffix]}
    )
