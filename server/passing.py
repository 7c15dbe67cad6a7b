"""Passes what belongs to a session on to the media process that holds it, and back.

The server itself has found out by then that the request may come from where it comes (its Host,
its Origin, its pace), who asks, and that they have a seat. Everything else is the media process's:
the limits of signalling hold there as they do without it. Nothing is queued here: a side that does
not read stops the other, whose own bounded queue then fills.
"""

from __future__ import annotations

import asyncio
import contextlib

import aiohttp
from aiohttp import WSCloseCode, WSMsgType, web
from aiohttp.typedefs import Handler

from rooms.errors import MediaProcessUnavailable, NotSignedIn
from server.keys import CONFIG, IDENTIFY, MEDIA_PROCESSES, OPEN_SOCKETS, RECORDS
from server.media_app import ACCOUNT
from server.media_client import MediaProcess
from server.signalling import HEARTBEAT_S, check_origin

ANSWER_S = 30.0
"""How long a WHIP or WHEP request may take there: addresses are gathered meanwhile."""

CLOSE_S = 3.0

_NOT_SENT = (1005, 1006, 1015)
"""Codes that say how a connection ended, and are never in a close frame (RFC 6455, 7.4.1)."""

_SOCKETS = "/ws/sessions/"
_PLACES = ("/whip/", "/whep/")

_PASSED = ("Content-Type", "If-Match", "Accept", "Link")
_ANSWERED = ("Content-Type", "Location", "ETag", "Link", "Retry-After", "Allow", "Accept-Post")


@web.middleware
async def passing(request: web.Request, handler: Handler) -> web.StreamResponse:
    """Innermost: what a media process holds is answered there, all else here."""
    session_id = request.match_info.get("session_id")
    if session_id is not None:
        if request.path.startswith(_SOCKETS):
            return await _pass_socket(request, session_id)
        if request.path.startswith(_PLACES) and _concerns_a_place(request):
            return await _pass_request(request, session_id)
    return await handler(request)


def _concerns_a_place(request: web.Request) -> bool:
    """Not what WHIP and WHEP answer to everybody alike, such as which methods there are."""
    if request.method == "OPTIONS":
        return False
    return request.method == "POST" or "resource_id" in request.match_info


async def _seat(request: web.Request, session_id: str) -> str:
    account_id = await request.app[IDENTIFY](request)
    session = await request.app[RECORDS].session(session_id)
    session.assignment(account_id)
    return account_id


async def _pass_request(request: web.Request, session_id: str) -> web.Response:
    if "Authorization" not in request.headers:
        raise NotSignedIn("send Authorization: Bearer TOKEN")
    account_id = await _seat(request, session_id)
    body = await request.read()
    process = await request.app[MEDIA_PROCESSES].place(session_id)
    headers = {name: request.headers[name] for name in _PASSED if name in request.headers}
    headers["Authorization"] = ACCOUNT + account_id
    try:
        async with (
            asyncio.timeout(ANSWER_S),
            process.request(request.method, request.path_qs, headers, body) as answer,
        ):
            response = web.Response(status=answer.status, body=await answer.read())
            for name in _ANSWERED:
                for value in answer.headers.getall(name, []):
                    response.headers.add(name, value)
            return response
    except (aiohttp.ClientError, TimeoutError, OSError) as error:
        raise MediaProcessUnavailable(f"{process.name}: {error!r}") from error


async def _pass_socket(request: web.Request, session_id: str) -> web.StreamResponse:
    check_origin(request)
    account_id = await _seat(request, session_id)
    process = await request.app[MEDIA_PROCESSES].place(session_id)
    inner = await _inner(process, session_id, account_id)
    # The frame layer's limit lies above the one that holds there, so that a message that is too
    # long gets there, and an answer.
    outer = web.WebSocketResponse(
        heartbeat=HEARTBEAT_S,
        max_msg_size=2 * request.app[CONFIG].signalling.max_message_bytes,
        compress=False,
    )
    try:
        await outer.prepare(request)
        request.app[OPEN_SOCKETS].add(outer)
        inward = asyncio.create_task(_pass_messages(outer, inner))
        outward = asyncio.create_task(_pass_messages(inner, outer))
        await asyncio.wait([inward, outward], return_when=asyncio.FIRST_COMPLETED)
        with contextlib.suppress(TimeoutError, ConnectionError):
            async with asyncio.timeout(CLOSE_S):
                if outward.done():
                    await outer.close(code=_code(inner))
                await inner.close()
        inward.cancel()
        outward.cancel()
        await asyncio.gather(inward, outward, return_exceptions=True)
    finally:
        request.app[OPEN_SOCKETS].discard(outer)
        await inner.close()
    return outer


async def _inner(
    process: MediaProcess, session_id: str, account_id: str
) -> aiohttp.ClientWebSocketResponse:
    headers = {"Authorization": ACCOUNT + account_id}
    try:
        async with asyncio.timeout(ANSWER_S):
            return await process.socket(_SOCKETS + session_id, headers)
    except (aiohttp.ClientError, TimeoutError, OSError) as error:
        raise MediaProcessUnavailable(f"{process.name}: {error!r}") from error


async def _pass_messages(
    source: web.WebSocketResponse | aiohttp.ClientWebSocketResponse,
    target: web.WebSocketResponse | aiohttp.ClientWebSocketResponse,
) -> None:
    """Pass messages on one by one until a side is closed; pings are each side's own."""
    with contextlib.suppress(ConnectionError):
        while True:
            message = await source.receive()
            if message.type is WSMsgType.TEXT:
                await target.send_str(message.data)
            elif message.type is WSMsgType.BINARY:
                await target.send_bytes(message.data)
            else:
                return


def _code(inner: aiohttp.ClientWebSocketResponse) -> int:
    """Why the media process has closed; where it died, that coming back is worth while."""
    code = inner.close_code
    return code if code is not None and code not in _NOT_SENT else WSCloseCode.SERVICE_RESTART


async def close_sockets(app: web.Application) -> None:
    """The server stops, or is started anew: whoever is connected may come back at once."""
    sockets: set[web.WebSocketResponse] = app[OPEN_SOCKETS]
    closing = [one.close(code=WSCloseCode.SERVICE_RESTART) for one in set(sockets)]
    await asyncio.gather(*closing, return_exceptions=True)
