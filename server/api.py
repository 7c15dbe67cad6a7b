"""The HTTP interface for people: signing in, themselves, rooms, and who there is.

Bookings are in :mod:`server.api_sessions`, archives in :mod:`server.api_archives`.
"""

from __future__ import annotations

from aiohttp import web

from rooms.errors import SiteUnknown
from server import api_archives, api_sessions
from server.access import Right, account_with
from server.accounts import request_token
from server.api_sessions import place_json
from server.bodies import LanguageBody, PasswordBody, PersonBody, SignInBody, read_body
from server.edge import client_address
from server.keys import ACCOUNTS, RECORDS
from server.texts import COOKIE, language_of

_LANGUAGE_DAYS = 365


def add_routes(app: web.Application) -> None:
    """Mount everything under /api and the health check."""
    app.router.add_get("/healthz", _health)
    app.router.add_post("/api/sign-in", _sign_in)
    app.router.add_post("/api/sign-out", _sign_out)
    app.router.add_get("/api/me", _me)
    app.router.add_post("/api/language", _language)
    app.router.add_post("/api/password", _password)
    app.router.add_get("/api/rooms", _rooms)
    app.router.add_get("/api/people", _people)
    app.router.add_post("/api/people", _add_person)
    api_sessions.add_routes(app)
    api_archives.add_routes(app)


async def _health(_request: web.Request) -> web.Response:
    return web.json_response({"status": "ok"})


async def _sign_in(request: web.Request) -> web.Response:
    body = await read_body(request, SignInBody)
    accounts = request.app[ACCOUNTS]
    sign_in = await accounts.sign_in(body.name, body.password, client_address(request))
    answer: dict[str, object] = {"account": sign_in.account.to_json()}
    if body.bearer:
        # A program keeps its token itself; a cookie beside it would only be a second copy.
        answer["token"] = sign_in.token
    response = web.json_response(answer)
    if not body.bearer:
        # Whoever sat here before is signed out by this.
        await accounts.sign_out(request)
        accounts.set_cookie(response, sign_in)
    return response


async def _sign_out(request: web.Request) -> web.Response:
    accounts = request.app[ACCOUNTS]
    await accounts.sign_out(request)
    response = web.json_response({})
    accounts.clear_cookie(response)
    return response


async def _me(request: web.Request) -> web.Response:
    account = await account_with(request)
    return web.json_response({"account": account.to_json(), "language": language_of(request)})


async def _language(request: web.Request) -> web.Response:
    body = await read_body(request, LanguageBody)
    response = web.json_response({"language": body.language})
    response.set_cookie(
        COOKIE, body.language, max_age=_LANGUAGE_DAYS * 86_400, samesite="Strict", path="/"
    )
    return response


async def _password(request: web.Request) -> web.Response:
    account = await account_with(request)
    body = await read_body(request, PasswordBody)
    await request.app[ACCOUNTS].change_password(
        account, body.old, body.new, client_address(request), request_token(request)
    )
    return web.json_response({})


async def _rooms(request: web.Request) -> web.Response:
    await account_with(request)
    places = await request.app[RECORDS].places()
    return web.json_response([place_json(request, place) for place in places])


async def _people(request: web.Request) -> web.Response:
    await account_with(request, Right.SEE_PEOPLE)
    people = await request.app[ACCOUNTS].all()
    return web.json_response({"people": [account.to_json() for account in people]})


async def _add_person(request: web.Request) -> web.Response:
    await account_with(request, Right.ADD_PEOPLE)
    body = await read_body(request, PersonBody)
    if body.site_id is not None and not await request.app[RECORDS].site_exists(body.site_id):
        raise SiteUnknown(f"site {body.site_id} does not exist")
    account, password = await request.app[ACCOUNTS].add(
        body.name, body.display_name, body.role, body.site_id
    )
    return web.json_response(
        {"account": account.to_json(), "one_time_password": password}, status=201
    )
