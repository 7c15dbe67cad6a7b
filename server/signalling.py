"""The WebSocket of a session: one connection of one person.

Reads messages within their limits, hands them to the session's
:class:`~server.conductor.Conductor`, and writes what it has to say. Errors become ``error``
messages here, and nowhere else.
"""

from __future__ import annotations

import asyncio
import contextlib
import json
import logging
import secrets
import time
from typing import Any

from aiohttp import WSCloseCode, WSMsgType, web

from rooms.errors import (
    Internal,
    MessageMalformed,
    MessageTooFrequent,
    MessageTooLarge,
    NotJoined,
    OriginRefused,
    TingxunError,
    VersionUnsupported,
)
from server import protocol
from server.conductor import Conductor
from server.config import SignallingSection
from server.keys import CONDUCTORS, CONFIG, IDENTIFY, RELAYS
from server.member import Connection
from server.turn import Relays

logger = logging.getLogger(__name__)

OUTBOX = 512
"""Messages waiting for a client that does not read; then it is let go, and may come back."""

HEARTBEAT_S = 12.0
"""A socket from which nothing comes is asked for a pong after this, and given up half of it later:
a cut of 5 s costs nobody the connection.
"""

MAX_FAULTS = 20
"""Malformed messages of one connection before it is closed."""


def add_routes(app: web.Application) -> None:
    """Mount the signalling route."""
    app.router.add_get("/ws/sessions/{session_id}", _session)


class SocketConnection(Connection):
    """A WebSocket as the conductor sees it: something that takes messages and never blocks.

    Relays are named here and not by the conductor: their secret stays where people are known.
    """

    def __init__(self, socket: web.WebSocketResponse, relays: Relays, participant_id: str) -> None:
        self.id = secrets.token_hex(8)
        self._socket = socket
        self._relays = relays
        self._participant_id = participant_id
        self._outbox: asyncio.Queue[dict[str, Any] | None] = asyncio.Queue(OUTBOX)
        self._ending = False
        self._closing: asyncio.Task[bool] | None = None

    def send(self, message: dict[str, Any]) -> None:
        """Queue a message; a client that lets them pile up loses its connection, not its place."""
        if self._ending:
            return
        try:
            self._outbox.put_nowait(message)
        except asyncio.QueueFull:
            self._ending = True
            logger.warning("connection %s is dropped: its client does not read", self.id)
            self._closing = asyncio.create_task(
                self._socket.close(code=WSCloseCode.TRY_AGAIN_LATER)
            )

    def end(self, problem: TingxunError) -> None:
        """Say why, and close."""
        self.send({"type": "bye", "error": problem.code, "message": problem.message})
        self._ending = True
        if not self._outbox.full():
            self._outbox.put_nowait(None)

    def lost(self, peer: str) -> None:
        """Tell: a client that was asleep, or whose address changed, may not have noticed."""
        self.send({"type": "lost", "peer": peer})

    async def write(self) -> None:
        """Write what is queued until :meth:`end`, or until the client is gone."""
        with contextlib.suppress(ConnectionError):
            while (message := await self._outbox.get()) is not None:
                if message["type"] == "welcome":
                    message["ice_servers"] = self._relays.ice_servers(self._participant_id)
                text = json.dumps(message, ensure_ascii=False, separators=(",", ":"))
                await self._socket.send_str(text)
            await self._socket.close()

    async def renew_relays(self) -> None:
        """Send new credentials before the former expire: for connections made later."""
        while self._relays.renew_s is not None:
            await asyncio.sleep(self._relays.renew_s)
            servers = self._relays.ice_servers(self._participant_id)
            self.send({"type": "ice_servers", "ice_servers": servers})


def check_origin(request: web.Request) -> None:
    """A page of another site must not speak for the person whose cookie the browser sends."""
    origin = request.headers.get("Origin")
    if origin is None:
        return
    public = request.app[CONFIG].server.public_origin
    scheme = "https" if request.app[CONFIG].secure else "http"
    if origin not in {f"{scheme}://{request.host}", public}:
        raise OriginRefused(f"origin {origin[:80]!r}")


async def _session(request: web.Request) -> web.StreamResponse:
    check_origin(request)
    account_id = await request.app[IDENTIFY](request)
    conductor = await request.app[CONDUCTORS].get(request.match_info["session_id"])
    conductor.check_assigned(account_id)
    config = request.app[CONFIG].signalling
    # The frame layer's limit lies above ours, so that a message that is too long gets an answer.
    socket = web.WebSocketResponse(
        heartbeat=HEARTBEAT_S, max_msg_size=2 * config.max_message_bytes, compress=False
    )
    await socket.prepare(request)
    connection = SocketConnection(socket, request.app[RELAYS], account_id)
    writer = asyncio.create_task(connection.write())
    renewer = asyncio.create_task(connection.renew_relays())
    try:
        await _converse(socket, connection, conductor, account_id, config)
    except TingxunError as problem:
        connection.end(problem)
    except Exception:
        logger.exception("signalling of %s", account_id)
        connection.end(Internal("the server could not handle a message"))
    finally:
        renewer.cancel()
        await conductor.disconnected(account_id, connection.id)
        connection.end(Internal("connection over"))
        await asyncio.wait([writer], timeout=2.0)
        writer.cancel()
    return socket


async def _converse(
    socket: web.WebSocketResponse,
    connection: SocketConnection,
    conductor: Conductor,
    participant_id: str,
    limits: SignallingSection,
) -> None:
    pace = protocol.Pace(limits.burst, limits.rate_per_s)
    faults = 0
    greeted = False
    while True:
        timeout = None if greeted else limits.hello_timeout_s
        try:
            received = await socket.receive(timeout=timeout)
        except TimeoutError:
            raise MessageMalformed("no hello in time") from None
        if received.type is not WSMsgType.TEXT:
            if received.type is WSMsgType.BINARY:
                raise MessageMalformed("binary message")
            return
        message = None
        try:
            pace.take(time.monotonic())
            if len(received.data.encode()) > limits.max_message_bytes:
                raise MessageTooLarge(f"more than {limits.max_message_bytes} bytes")
            message = protocol.parse(received.data)
            if not greeted:
                if not isinstance(message, protocol.Hello):
                    raise MessageMalformed("the first message is not hello")
                if message.version != protocol.VERSION:
                    raise VersionUnsupported(
                        f"version {message.version}; this is {protocol.VERSION}"
                    )
                await conductor.join(participant_id, connection, message.resume)
                greeted = True
                continue
            if isinstance(message, protocol.Leave):
                await conductor.request(participant_id, connection.id, message)
                connection.end(NotJoined("you have left the session"))
                return
            reply = await conductor.request(participant_id, connection.id, message)
            if reply is not None:
                connection.send(reply if message.id is None else {"id": message.id, **reply})
        except MessageTooFrequent:
            # Whoever floods is not answered one by one.
            raise
        except TingxunError as problem:
            faults += isinstance(problem, MessageMalformed | MessageTooLarge)
            if not greeted or faults > MAX_FAULTS:
                raise
            connection.send(protocol.error(problem, getattr(message, "id", None)))
