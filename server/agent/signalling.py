"""The signalling of a headless terminal: HTTP to sign in, one WebSocket for everything else.

The client side of docs/PROTOCOL.md. The WebSocket is opened again by itself, with the resume token,
when it is lost; media goes on meanwhile. Everything that waits is bounded in time, and a refusal of
the server is raised as the class of :mod:`rooms.errors` with the same code.

Next: :mod:`server.agent.terminal`, which adds the media.
"""

from __future__ import annotations

import asyncio
import contextlib
import itertools
import json
import logging
from collections.abc import Callable, Mapping
from types import TracebackType
from typing import Any, Self

import aiohttp

from rooms.errors import REGISTRY, Internal, ServerUnreachable, TingxunError

logger = logging.getLogger(__name__)

VERSION = 1
REPLY_TIMEOUT_S = 15.0
CONNECT_TIMEOUT_S = 10.0
HEARTBEAT_S = 5.0
"""A silent server is asked for a pong after this, and given up half of it later."""

HELLO_TIMEOUT_S = 8.0
"""From dialling to the welcome; a system that dials into the void would try for minutes."""

RECONNECT_FOR_S = 330.0
"""How long a lost WebSocket is tried again: longer than the server keeps the seat by default."""

KEPT_EVENTS = 200

State = Mapping[str, Any]


class Signalling:
    """One signed-in participant's line to the server. Use as ``async with``.

    ``state`` is the newest `state` message with the newest `recording` in it; ``events`` are the
    room events since joining, the last :data:`KEPT_EVENTS` of them.
    """

    def __init__(self, url: str) -> None:
        """``url`` is the server's origin, ``http://host:port``."""
        self._url = url.rstrip("/")
        self._http = aiohttp.ClientSession(
            headers={"X-Requested-With": "tingxun"},
            timeout=aiohttp.ClientTimeout(total=REPLY_TIMEOUT_S),
        )
        self._token = ""
        self._session_id = ""
        self._resume: str | None = None
        self.address = ""
        """Our own, as the newest connection to the server has it."""
        self._socket: aiohttp.ClientWebSocketResponse | None = None
        self._reader: asyncio.Task[None] | None = None
        self._replies: dict[str, asyncio.Future[dict[str, Any]]] = {}
        self._ids = itertools.count(1)
        self._changed = asyncio.Event()
        self._ended: TingxunError | None = None
        self.welcome: dict[str, Any] = {}
        self.state: dict[str, Any] = {}
        self.events: list[dict[str, Any]] = []
        self.network: dict[str, dict[str, Any]] = {}
        """Everybody's line by participant id, as the server last told it."""
        self.reconnections = 0

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        await self.leave()

    # -- HTTP ---------------------------------------------------------------------------------

    async def sign_in(self, name: str, password: str) -> dict[str, Any]:
        """Sign in and keep the token; return the account."""
        body = {"name": name, "password": password, "bearer": True}
        answer = await self.call("POST", "/api/sign-in", body)
        self.use_token(answer["token"])
        account: dict[str, Any] = answer["account"]
        return account

    def use_token(self, token: str) -> None:
        """Be whoever the token was issued to."""
        self._token = token

    async def call(self, method: str, path: str, body: object = None) -> dict[str, Any]:
        """An HTTP request of the API as JSON; a problem answer is raised as its error class."""
        try:
            async with self._http.request(
                method, self._url + path, json=body, headers=self._authorization()
            ) as response:
                answer = await response.json(content_type=None)
        except (aiohttp.ClientError, TimeoutError, ValueError) as error:
            raise ServerUnreachable(f"{method} {path}: {error}") from error
        if response.status >= 400:
            raise refusal(answer.get("code", ""), answer.get("detail", f"HTTP {response.status}"))
        assert isinstance(answer, dict)
        return answer

    def _authorization(self) -> dict[str, str]:
        return {"Authorization": f"Bearer {self._token}"} if self._token else {}

    # -- signalling ---------------------------------------------------------------------------

    async def join(self, session_id: str) -> dict[str, Any]:
        """Open the WebSocket, say hello; return the `welcome`. From now on it is kept open."""
        self._session_id = session_id
        await self._hello()
        self._reader = asyncio.create_task(self._read())
        self._reader.add_done_callback(self._read_all)
        return self.welcome

    async def _hello(self) -> None:
        hello: dict[str, Any] = {"type": "hello", "version": VERSION}
        if self._resume is not None:
            hello["resume"] = self._resume
        try:
            async with asyncio.timeout(HELLO_TIMEOUT_S):
                socket = await self._http.ws_connect(
                    f"{self._url}/ws/sessions/{self._session_id}",
                    headers=self._authorization(),
                    heartbeat=HEARTBEAT_S,
                    max_msg_size=1 << 20,
                )
                await socket.send_json(hello)
                message = await self._first(socket)
        except aiohttp.WSServerHandshakeError as error:
            if error.status >= 500:
                raise ServerUnreachable(f"no signalling: {error.status}") from error
            raise refusal(
                {401: "token_invalid", 403: "not_assigned", 404: "session_unknown"}.get(
                    error.status, ""
                ),
                f"the WebSocket was refused: {error.status} {error.message}",
            ) from error
        except (aiohttp.ClientError, TimeoutError, OSError) as error:
            raise ServerUnreachable(f"no signalling: {error!r}") from error
        self._socket = socket
        address = socket.get_extra_info("sockname")
        self.address = "" if address is None else str(address[0])
        self._resume = message.get("resume")
        self.welcome = message
        self.state = dict(message.get("state", {}))
        self._changed.set()

    @staticmethod
    async def _first(socket: aiohttp.ClientWebSocketResponse) -> dict[str, Any]:
        """The `welcome`; what comes instead of it is raised."""
        while True:
            message = await socket.receive()
            if message.type != aiohttp.WSMsgType.TEXT:
                raise ServerUnreachable("the server closed the connection before its welcome")
            body: dict[str, Any] = json.loads(message.data)
            if body["type"] == "welcome":
                return body
            if body["type"] in {"error", "bye"}:
                await socket.close()
                raise refusal(body["error"], body.get("message", ""))

    async def _read(self) -> None:
        """Take messages until the server says bye or cannot be reached again."""
        try:
            while True:
                assert self._socket is not None
                async for message in self._socket:
                    if message.type == aiohttp.WSMsgType.TEXT:
                        await self._take(json.loads(message.data))
                if self._ended is not None:
                    return
                self._fail_replies(ServerUnreachable("the signalling connection was lost"))
                await self._reconnect()
        except TingxunError as error:
            self._ended = error

    def _read_all(self, reader: asyncio.Task[None]) -> None:
        """No message comes any more: whoever waits for one is told why."""
        if not reader.cancelled() and (error := reader.exception()) is not None:
            logger.error("signalling failed", exc_info=error)
            self._ended = Internal(f"the terminal failed: {error!r}")
        if self._ended is None:
            self._ended = ServerUnreachable("the terminal has left")
        self._fail_replies(self._ended)
        self._changed.set()

    async def _reconnect(self) -> None:
        loop = asyncio.get_running_loop()
        until_s, wait_s = loop.time() + RECONNECT_FOR_S, 0.1
        while True:
            try:
                await self._hello()
            except ServerUnreachable:
                if loop.time() > until_s:
                    raise
                await asyncio.sleep(wait_s)
                wait_s = min(2 * wait_s, 2.0)
            else:
                self.reconnections += 1
                self.rejoined()
                return

    async def _take(self, message: dict[str, Any]) -> None:
        kind = message["type"]
        reply = self._replies.pop(message.get("id", ""), None)
        if reply is not None and not reply.done():
            if kind == "error":
                reply.set_exception(refusal(message["error"], message.get("message", "")))
            else:
                reply.set_result(message)
        elif kind == "state":
            self.state = dict(message["state"])
        elif kind == "recording":
            self.state["recording"] = message["recording"]
        elif kind == "event":
            self.events = [*self.events, message["event"]][-KEPT_EVENTS:]
        elif kind == "network":
            self.network = message["participants"]
        elif kind == "ice_servers":
            self.welcome["ice_servers"] = message["ice_servers"]
        elif kind == "offer":
            await self.offered(message)
        elif kind == "lost":
            self.dropped(message["peer"])
        elif kind == "bye" and message["error"] != Internal.code:
            # A server that stops may come back, and another process goes on with its sessions.
            self._ended = refusal(message["error"], "the server ended the connection")
        elif kind == "error":
            logger.warning("the server says: %s %s", message["error"], message.get("message"))
        self._changed.set()

    def _fail_replies(self, error: TingxunError) -> None:
        for reply in self._replies.values():
            if not reply.done():
                reply.set_exception(error)
        self._replies.clear()

    def dropped(self, peer: str) -> None:
        """A media connection has ended at the server. Here it is only passed over."""

    def rejoined(self) -> None:
        """A lost line is there again; ``welcome`` says what the server has kept."""

    async def offered(self, offer: dict[str, Any]) -> None:
        """An `offer` has come. Here it is only passed over."""

    async def send(self, message: Mapping[str, Any]) -> None:
        """Send a message that has no reply. Raises ServerUnreachable while there is no line."""
        if self._ended is not None:
            raise self._ended
        if self._socket is None or self._socket.closed:
            raise ServerUnreachable("the signalling connection is lost")
        try:
            await self._socket.send_json(message)
        except ConnectionError as error:
            raise ServerUnreachable("the signalling connection was lost") from error

    async def request(self, kind: str, **fields: object) -> dict[str, Any]:
        """Send a message, wait for its reply. Raises the server's error, or ServerUnreachable."""
        name = str(next(self._ids))
        reply = asyncio.get_running_loop().create_future()
        self._replies[name] = reply
        try:
            await self.send({"type": kind, "id": name, **fields})
            async with asyncio.timeout(REPLY_TIMEOUT_S):
                answer: dict[str, Any] = await reply
                return answer
        except TimeoutError as error:
            raise ServerUnreachable(f"no reply to {kind} in {REPLY_TIMEOUT_S:.0f} s") from error
        finally:
            self._replies.pop(name, None)

    async def wait_for(
        self, what: str, holds: Callable[[State], object], *, timeout_s: float
    ) -> dict[str, Any]:
        """Wait until ``holds(state)``; return the state. Raises ServerUnreachable in the end.

        ``what`` is put into the error: "the session to be live".
        """
        try:
            async with asyncio.timeout(timeout_s):
                while not holds(self.state):
                    if self._ended is not None:
                        raise self._ended
                    self._changed.clear()
                    await self._changed.wait()
        except TimeoutError as error:
            raise ServerUnreachable(f"waited {timeout_s:.0f} s for {what}") from error
        return self.state

    # -- what a person does ---------------------------------------------------------------------

    async def open(self) -> None:
        """Open the session: the recording starts."""
        await self.request("open")

    async def pause(self, reason: str, note: str = "") -> None:
        """Pause with a reason code of :mod:`rooms.phases`."""
        await self.request("pause", reason=reason, **({"note": note} if note else {}))

    async def resume(self) -> None:
        """Go on after a pause."""
        await self.request("resume")

    async def close(self, case_number: str) -> None:
        """Close the session for good; it is sealed after that."""
        await self.request("close", case_number=case_number)

    async def mark(self, text: str) -> None:
        """Put a marker on the session's timeline."""
        await self.request("mark", text=text)

    async def leave(self) -> None:
        """Say goodbye and close the line. Can be called more than once."""
        with contextlib.suppress(TingxunError):
            await self.send({"type": "leave"})
        if self._reader is not None:
            self._reader.cancel()
            await asyncio.gather(self._reader, return_exceptions=True)
        if self._socket is not None:
            await self._socket.close()
        await self._http.close()


def refusal(code: str, message: str) -> TingxunError:
    """The error that another program reported by its code, as an instance of its class."""
    return REGISTRY.get(code, Internal)(message)
