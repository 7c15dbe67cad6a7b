"""Load on Janus: the same clients in a VideoRoom, signalled over its WebSocket interface."""

from __future__ import annotations

import asyncio
import contextlib
import itertools
import random
from collections.abc import AsyncIterator, Sequence
from pathlib import Path
from typing import Any

import aiohttp

from bench.load import Publisher, Subscriber
from bench.media import Media
from bench.packets import Tally
from bench.servers import Janus

REPLY_WITHIN_S = 15.0
KEEP_ALIVE_S = 30.0


class VideoRoom:
    """One room, and the one line over which all its participants are signalled."""

    def __init__(self, socket: aiohttp.ClientWebSocketResponse, tally: Tally) -> None:
        self._socket = socket
        self._tally = tally
        self._numbers = itertools.count(1)
        self._replies: dict[str, asyncio.Future[dict[str, Any]]] = {}
        self._up: dict[int, asyncio.Event] = {}
        self._session = 0
        self._room = 0
        self._peers: list[Publisher | Subscriber] = []

    async def read(self) -> None:
        """Take answers until the line ends."""
        async for message in self._socket:
            if message.type != aiohttp.WSMsgType.TEXT:
                continue
            body = message.json()
            if body["janus"] == "webrtcup" and body["sender"] in self._up:
                self._up[body["sender"]].set()
            reply = self._replies.get(body.get("transaction", ""))
            if reply is not None and not reply.done() and body["janus"] != "ack":
                reply.set_result(body)

    async def keep_alive(self) -> None:
        """Janus ends sessions that are silent."""
        while True:
            await asyncio.sleep(KEEP_ALIVE_S)
            await self._ask({"janus": "keepalive"}, wait=False)

    async def _ask(self, message: dict[str, Any], *, wait: bool = True) -> dict[str, Any]:
        name = f"t{next(self._numbers)}"
        reply = self._replies[name] = asyncio.get_running_loop().create_future()
        try:
            session = {"session_id": self._session} if self._session else {}
            await self._socket.send_json(message | session | {"transaction": name})
            if not wait:
                return {}
            async with asyncio.timeout(REPLY_WITHIN_S):
                answer: dict[str, Any] = await reply
        finally:
            del self._replies[name]
        result = answer.get("plugindata", {}).get("data", {})
        if answer["janus"] == "error" or result.get("error"):
            raise RuntimeError(f"Janus: {answer.get('error', result)}")
        return answer

    async def _attach(self) -> int:
        answer = await self._ask({"janus": "attach", "plugin": "janus.plugin.videoroom"})
        return int(answer["data"]["id"])

    async def _say(
        self, handle: int, body: dict[str, Any], kind: str = "", sdp: str = ""
    ) -> dict[str, Any]:
        message: dict[str, Any] = {"janus": "message", "handle_id": handle, "body": body}
        if sdp:
            message["jsep"] = {"type": kind, "sdp": sdp}
        return await self._ask(message)

    async def create(self, codec: str, recordings: Path | None) -> None:
        """Make the room for one video codec; it writes ``.mjr`` files into ``recordings``."""
        self._session = int((await self._ask({"janus": "create"}))["data"]["id"])
        self._room = random.randrange(10**6, 10**9)
        body: dict[str, Any] = {
            "request": "create",
            "room": self._room,
            "publishers": 100,
            "bitrate": 0,
            "videocodec": codec.lower(),
            "audiocodec": "opus",
            "notify_joining": False,
            "record": recordings is not None,
        }
        if recordings is not None:
            recordings.mkdir(exist_ok=True)
            body["rec_dir"] = str(recordings)
        await self._say(await self._attach(), body)

    async def publish(self, media: Media, sources: Sequence[str], rng: random.Random) -> int:
        """A publisher; returns its feed."""
        handle = await self._attach()
        up = self._up[handle] = asyncio.Event()
        joined = await self._say(
            handle, {"request": "join", "ptype": "publisher", "room": self._room}
        )
        publisher = Publisher(media, self._tally, sources)
        self._peers.append(publisher)
        answer = await self._say(handle, {"request": "publish"}, "offer", await publisher.offer())
        await publisher.answered(answer["jsep"]["sdp"], rng)
        async with asyncio.timeout(REPLY_WITHIN_S):
            # Until then nobody can subscribe to it.
            await up.wait()
        return int(joined["plugindata"]["data"]["id"])

    async def subscribe(self, feeds: Sequence[int]) -> None:
        """A receiver of all tracks of these feeds, on one connection."""
        handle = await self._attach()
        streams = [{"feed": feed} for feed in feeds]
        offer = await self._say(
            handle,
            {"request": "join", "ptype": "subscriber", "room": self._room, "streams": streams},
        )
        subscriber = Subscriber(self._tally)
        self._peers.append(subscriber)
        answer = await subscriber.answer(offer["jsep"]["sdp"])
        await self._say(handle, {"request": "start"}, "answer", answer)
        await subscriber.connected()

    async def close(self) -> None:
        """End all connections and the session."""
        for peer in self._peers:
            await peer.close()
        await self._ask({"janus": "destroy"})


@contextlib.asynccontextmanager
async def video_room(
    server: Janus, tally: Tally, codec: str, *, record: bool
) -> AsyncIterator[VideoRoom]:
    """An empty room."""
    async with (
        aiohttp.ClientSession() as http,
        http.ws_connect(
            server.url, protocols=["janus-protocol"], max_msg_size=0, compress=0
        ) as socket,
    ):
        room = VideoRoom(socket, tally)
        tasks = [asyncio.create_task(room.read()), asyncio.create_task(room.keep_alive())]
        try:
            await room.create(codec, server.folder / "recordings" if record else None)
            yield room
            await room.close()
        finally:
            for task in tasks:
                task.cancel()
            await asyncio.gather(*tasks, return_exceptions=True)
