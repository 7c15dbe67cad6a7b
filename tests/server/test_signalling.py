"""The WebSocket's edge: who gets in, what is refused with which code, and that the room goes on."""

from __future__ import annotations

import asyncio
import json
from datetime import UTC, datetime
from typing import Any

import aiohttp
import pytest
from running import Client, Server


class Talk:
    """A raw signalling connection."""

    def __init__(self, socket: aiohttp.ClientWebSocketResponse) -> None:
        self.socket = socket

    async def until(self, *types: str) -> dict[str, Any]:
        """The next message of one of these types."""
        async with asyncio.timeout(5):
            while True:
                message: dict[str, Any] = json.loads(await self.socket.receive_str())
                if message["type"] in types:
                    return message

    async def ask(self, message: dict[str, Any], *types: str) -> dict[str, Any]:
        """Send and wait for a reply."""
        await self.socket.send_json(message)
        return await self.until(*(types or ("ok", "error", "bye")))

    async def hello(self, **more: Any) -> dict[str, Any]:
        """Say hello."""
        return await self.ask({"type": "hello", "version": 1, **more}, "welcome", "error", "bye")


class Booked:
    """A booked interrogation and how to reach it."""

    def __init__(self, officer: Client, detainee: Client, session_id: str) -> None:
        self.officer = officer
        self.detainee = detainee
        self.path = f"/ws/sessions/{session_id}"

    async def talk(self, client: Client) -> Talk:
        """A new connection of somebody."""
        return Talk(await client.http.ws_connect(self.path))


@pytest.fixture
async def booked(server: Server) -> Booked:
    """One interrogation with an officer and a detention terminal."""
    officer, detainee = await server.signed_in("officer"), await server.signed_in("terminal")
    assert officer.account
    assert detainee.account
    status, made = await officer.post(
        "/api/sessions",
        {
            "case_number": "A-1",
            "kind": "interrogation",
            "title": "Signalling",
            "starts_at": datetime.now(UTC).isoformat(),
            "room_id": "interrogation-1",
            "detention_room_id": "detention-1",
            "assignments": [
                {"account_id": officer.account["id"], "role": "questioner"},
                {"account_id": detainee.account["id"], "role": "subject"},
            ],
        },
    )
    assert status == 201, made
    return Booked(officer, detainee, made["id"])


async def refused(client: Client, path: str, **options: Any) -> int:
    """The status with which the handshake is refused."""
    with pytest.raises(aiohttp.WSServerHandshakeError) as problem:
        await client.http.ws_connect(path, **options)
    return problem.value.status


async def test_who_is_let_in(server: Server, booked: Booked) -> None:
    assert await refused(server.client(), booked.path) == 401
    assert await refused(await server.signed_in("officer", "other"), booked.path) == 403
    assert await refused(await server.signed_in("admin", "chief"), booked.path) == 403
    assert await refused(booked.officer, "/ws/sessions/no-such-session") == 404
    evil = {"Origin": "https://evil.example"}
    assert await refused(booked.officer, booked.path, headers=evil) == 403
    assert await refused(server.client(), booked.path, headers={"Authorization": "Bearer x"}) == 401


async def test_welcome_and_state(booked: Booked) -> None:
    officer = await booked.talk(booked.officer)
    welcome = await officer.hello()
    assert welcome["version"] == 1
    assert welcome["session"]["case_number"] == "A-1"
    assert welcome["state"]["phase"] == "waiting"
    assert "open" in welcome["permissions"]
    detainee = await booked.talk(booked.detainee)
    assert "open" not in (await detainee.hello())["permissions"]
    state = (await officer.until("state"))["state"]
    assert [one["present"] for one in state["participants"]] == ["yes", "yes"]


@pytest.mark.parametrize(
    ("text", "code"),
    [
        ("{}", "message_malformed"),
        ('{"type":"ping"}', "message_malformed"),
        ('{"type":"hello","version":2}', "version_unsupported"),
        ("x" * 70_000, "message_too_large"),
    ],
)
async def test_a_bad_first_message_ends_the_connection(
    booked: Booked, text: str, code: str
) -> None:
    talk = await booked.talk(booked.officer)
    await talk.socket.send_str(text)
    assert (await talk.until("bye"))["error"] == code
    assert (await talk.socket.receive()).type is aiohttp.WSMsgType.CLOSE


@pytest.mark.parametrize(
    ("message", "code"),
    [
        ({"type": "fly"}, "message_malformed"),
        ({"type": "mute", "track_id": "cam-9", "muted": True}, "track_unknown"),
        ({"type": "pause", "reason": "rest"}, "illegal_phase"),
        ({"type": "close", "case_number": "A-1"}, "illegal_phase"),
        ({"type": "open"}, "participants_missing"),
        ({"type": "publish", "peer": "p", "sdp": "v=0", "tracks": []}, "sdp_invalid"),
        ({"type": "publish", "peer": "p", "sdp": "x" * 60_000, "tracks": []}, "sdp_invalid"),
        ({"type": "answer", "peer": "s9", "sdp": "v=0"}, None),
        ({"type": "candidate", "peer": "s1", "candidate": "candidate:garbage"}, None),
        ({"type": "hello", "version": 1}, "not_joined"),
    ],
)
async def test_a_bad_request_has_a_code_and_the_connection_goes_on(
    booked: Booked, message: dict[str, Any], code: str | None
) -> None:
    talk = await booked.talk(booked.officer)
    await talk.hello()
    if code is not None:
        reply = await talk.ask({"id": "7", **message}, "error")
        assert reply["error"] == code
        assert reply.get("id") == (None if code == "message_malformed" else "7")
    else:
        await talk.socket.send_json(message)
    assert (await talk.ask({"type": "ping", "id": "8"}, "pong"))["id"] == "8"


async def test_too_large_and_too_many(booked: Booked) -> None:
    talk = await booked.talk(booked.officer)
    await talk.hello()
    await talk.socket.send_json({"type": "mark", "text": "x" * 66_000})
    assert (await talk.until("error"))["error"] == "message_too_large"
    for _ in range(100):
        await talk.socket.send_json({"type": "ping"})
    assert (await talk.until("bye"))["error"] == "message_too_frequent"
    again = await booked.talk(booked.officer)
    assert (await again.hello())["type"] == "welcome"


async def test_binary_is_no_message(booked: Booked) -> None:
    talk = await booked.talk(booked.officer)
    await talk.hello()
    await talk.socket.send_bytes(b"\0")
    assert (await talk.until("bye"))["error"] == "message_malformed"


async def test_codecs_that_are_not_taken(booked: Booked) -> None:
    talk = await booked.talk(booked.detainee)
    await talk.hello()
    sdp = "\r\n".join(
        [
            "v=0",
            "o=- 1 1 IN IP4 0.0.0.0",
            "s=-",
            "t=0 0",
            "m=video 9 UDP/TLS/RTP/SAVPF 98",
            "c=IN IP4 0.0.0.0",
            "a=ice-ufrag:abcd",
            "a=ice-pwd:abcdefghijklmnopqrstuvwx",
            "a=fingerprint:sha-256 AA",
            "a=setup:actpass",
            "a=mid:0",
            "a=sendonly",
            "a=rtcp-mux",
            "a=rtpmap:98 VP9/90000",
            "",
        ]
    )
    publish = {"type": "publish", "peer": "p", "sdp": sdp}
    unsupported = {**publish, "tracks": [{"mid": "0", "source": "camera"}]}
    assert (await talk.ask(unsupported))["error"] == "codec_unsupported"
    absent = {**publish, "tracks": [{"mid": "5", "source": "camera"}]}
    assert (await talk.ask(absent))["error"] == "sdp_invalid"


async def test_coming_back_and_being_replaced(booked: Booked) -> None:
    first = await booked.talk(booked.officer)
    resume = (await first.hello())["resume"]
    watcher = await booked.talk(booked.detainee)
    await watcher.hello()
    await first.socket.close()
    state = await presence(watcher, "reconnecting")
    assert state["phase"] == "waiting"
    second = await booked.talk(booked.officer)
    assert (await second.hello(resume=resume))["resume"] != resume
    await presence(watcher, "yes")
    third = await booked.talk(booked.officer)
    assert (await third.hello(resume="wrong"))["type"] == "welcome"
    assert (await second.until("bye"))["error"] == "replaced"
    assert (await third.ask({"type": "ping"}, "pong"))["type"] == "pong"


async def presence(watcher: Talk, wanted: str) -> dict[str, Any]:
    """Wait until the officer's presence is so."""
    while True:
        state: dict[str, Any] = (await watcher.until("state"))["state"]
        if state["participants"][0]["present"] == wanted:
            return state


async def test_leaving_empties_the_seat(booked: Booked) -> None:
    officer, watcher = await booked.talk(booked.officer), await booked.talk(booked.detainee)
    await officer.hello()
    await watcher.hello()
    await officer.socket.send_json({"type": "leave"})
    bye = await officer.until("bye")
    assert (bye["error"], bye["message"]) == ("not_joined", "you have left the session")
    assert (await officer.socket.receive()).type is aiohttp.WSMsgType.CLOSE
    await presence(watcher, "no")
