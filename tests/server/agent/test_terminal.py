"""The headless terminal against the real server: refusals, media both ways, a lost WebSocket."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest

from rooms.errors import (
    CodecUnsupported,
    IllegalPhase,
    Internal,
    MediaUnreachable,
    NotAssigned,
    NotPermitted,
    ServerUnreachable,
    SessionUnknown,
    TokenInvalid,
    WrongPassword,
)
from server.agent import hosting
from server.agent.picture import ClockPicture
from server.agent.signalling import refusal
from server.agent.sources import SoundSource, SourceClock, Tone, VideoSource
from server.agent.terminal import Terminal
from server.app import create_app
from server.config import Config
from server.serving import listen
from server.sfu import seam


@pytest.fixture
async def server(tmp_path: Path) -> AsyncIterator[tuple[str, Config]]:
    config = hosting.own_config(Config(), tmp_path, 0, None)
    runner, url = await listen(create_app(config))
    seam.bind_address(hosting.HOST)
    yield url, config
    await runner.cleanup()


@asynccontextmanager
async def booked(
    server: tuple[str, Config],
) -> AsyncIterator[tuple[str, Terminal, Terminal]]:
    """A booked session, and the two terminals that are assigned to it, signed in."""
    url, config = server
    name, password = await hosting.first_administrator(config)
    async with Terminal(url) as admin, Terminal(url) as room, Terminal(url) as site:
        await admin.sign_in(name, password)
        accounts = []
        for terminal, role, place in (
            (room, "officer", "interrogation-centre"),
            (site, "terminal", "detention-centre"),
        ):
            body = {"name": role, "display_name": role, "role": role, "site_id": place}
            made = await admin.call("POST", "/api/people", body)
            accounts.append(await terminal.sign_in(role, made["one_time_password"]))
        booking = {
            "case_number": "A-1",
            "kind": "interrogation",
            "title": "test",
            "starts_at": datetime.now(UTC).isoformat(),
            "room_id": "interrogation-1",
            "detention_room_id": "detention-1",
            "assignments": [
                {"account_id": accounts[0]["id"], "role": "questioner"},
                {"account_id": accounts[1]["id"], "role": "subject"},
            ],
        }
        session = await admin.call("POST", "/api/sessions", booking)
        yield session["id"], room, site


def sources(codec: str = "H264") -> dict[str, Any]:
    clock = SourceClock()
    picture = ClockPicture("ROOM", "CAMERA", 320, 180)
    return {"camera": VideoSource(clock, picture), "microphone": SoundSource(clock, Tone())}


def test_refusals_become_their_classes() -> None:
    assert isinstance(refusal("wrong_password", "no"), WrongPassword)
    assert isinstance(refusal("a code of tomorrow", "no"), Internal)


async def test_a_server_that_is_not_there() -> None:
    port = hosting.choose_port(0)
    async with Terminal(f"http://127.0.0.1:{port}") as terminal:
        with pytest.raises(ServerUnreachable):
            await terminal.sign_in("a", "b")
        with pytest.raises(ServerUnreachable):
            await terminal.join("s-1")
        with pytest.raises(ServerUnreachable):
            await terminal.open()


async def test_refused_where_not_assigned(server: tuple[str, Config]) -> None:
    url, _ = server
    async with booked(server) as (session_id, room, site), Terminal(url) as stranger:
        with pytest.raises(WrongPassword):
            await stranger.sign_in("officer", "guessed")
        stranger.use_token("made up")
        with pytest.raises(TokenInvalid):
            await stranger.join(session_id)
        with pytest.raises(SessionUnknown):
            await room.join("s-unknown")
        body = {"name": "other", "display_name": "other", "role": "officer"}
        with pytest.raises(NotPermitted):
            await room.call("POST", "/api/people", body)
        await site.join(session_id)
        with pytest.raises(NotPermitted):
            await site.open()
        with pytest.raises(CodecUnsupported):
            await site.publish(sources(), ["AV1"])


async def test_not_assigned(server: tuple[str, Config]) -> None:
    url, config = server
    async with booked(server) as (session_id, _, _), Terminal(url) as other:
        async with hosting._accounts(config) as accounts:
            _, password = await accounts.add("other", "other", "officer")
        await other.sign_in("other", password)
        with pytest.raises(NotAssigned):
            await other.join(session_id)


@pytest.mark.parametrize("codec", ["H264", "VP8"])
async def test_picture_and_sound_both_ways(server: tuple[str, Config], codec: str) -> None:
    async with booked(server) as (session_id, room, site):
        welcome = await room.join(session_id)
        assert welcome["session"]["case_number"] == "A-1"
        await site.join(session_id)
        ids = await room.publish(sources(), [codec])
        assert ids == {"camera": "cam-1", "microphone": "mic-1"}
        assert await site.publish(sources(), [codec]) == {"camera": "cam-2", "microphone": "mic-2"}
        await room.wait_for_media(2, timeout_s=15)
        await site.wait_for_media(2, timeout_s=15)
        assert room.arriving == {"cam-2", "mic-2"}
        seen = site.received["cam-1"]
        await site.wait_for("movement", lambda _: seen.moves >= 2, timeout_s=15)
        assert (seen.width, seen.height, seen.source) == (320, 180, "camera")
        tracks = {
            track["track_id"]: track["codec"]
            for person in room.state["participants"]
            for track in person["tracks"]
        }
        assert tracks == {"cam-1": codec, "mic-1": "opus", "cam-2": codec, "mic-2": "opus"}
        with pytest.raises(IllegalPhase):
            await room.close("another case")


async def test_media_goes_on_while_the_websocket_is_lost(server: tuple[str, Config]) -> None:
    async with booked(server) as (session_id, room, site):
        await room.join(session_id)
        await site.join(session_id)
        await room.publish(sources())
        await site.wait_for_media(2, timeout_s=15)
        assert room._socket is not None
        assert room._socket._response.connection is not None
        room._socket._response.connection.transport.abort()
        await site.wait_for(
            "the loss to show",
            lambda state: (
                "reconnecting" in {p["present"] for p in state["participants"]}
                or room.reconnections
            ),
            timeout_s=10,
        )
        await room.wait_for("the line", lambda _: room.reconnections == 1, timeout_s=10)
        before = site.received["cam-1"].frames
        await site.wait_for(
            "more frames", lambda _: site.received["cam-1"].frames > before + 25, timeout_s=15
        )
        # The same connection and the same tracks, and the line takes commands again.
        assert set(site.received) == {"cam-1", "mic-1"}
        with pytest.raises(IllegalPhase):
            await room.close("another case")


async def test_no_media_is_an_error_with_what_did_arrive(server: tuple[str, Config]) -> None:
    async with booked(server) as (session_id, room, _):
        await room.join(session_id)
        with pytest.raises(MediaUnreachable, match="nothing arrived"):
            await room.wait_for_media(1, timeout_s=0.2)


async def test_the_same_person_in_another_window_ends_this_one(
    server: tuple[str, Config],
) -> None:
    url, _ = server
    async with booked(server) as (session_id, room, _), Terminal(url) as again:
        await room.join(session_id)
        again.use_token(room._token)
        await again.join(session_id)
        async with asyncio.timeout(5):
            while room._ended is None:
                await asyncio.sleep(0.01)
        assert room._ended.code == "replaced"
        assert room.reconnections == 0
