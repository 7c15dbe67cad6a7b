"""WHIP and WHEP in tests: a session with its two people, requests with a bearer token, an offer."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass
from typing import Any

import aiohttp
import pytest
from running import Server
from session_in_hand import Session, in_hand

from server.keys import ACCOUNTS


def offer(direction: str = "sendonly", *kinds: str, codec: str = "H264/90000") -> str:
    """The offer of a client that never connects, with a section for each kind."""
    lines = ["v=0", "o=- 1 2 IN IP4 127.0.0.1", "s=-", "t=0 0"]
    lines.append("a=group:BUNDLE " + " ".join(str(n) for n in range(len(kinds or "12"))))
    for number, kind in enumerate(kinds or ("audio", "video")):
        name = "opus/48000/2" if kind == "audio" else codec
        lines += [
            f"m={kind} 9 UDP/TLS/RTP/SAVPF {100 + number}",
            "c=IN IP4 0.0.0.0",
            "a=ice-ufrag:abcd1234",
            "a=ice-pwd:abcdefghijklmnopqrstuvwx",
            "a=fingerprint:sha-256 " + ":".join(["AB"] * 32),
            "a=setup:actpass",
            f"a=mid:{number}",
            f"a={direction}",
            "a=rtcp-mux",
            f"a=rtpmap:{100 + number} {name}",
        ]
        if kind == "video":
            lines.append(f"a=fmtp:{100 + number} packetization-mode=1;profile-level-id=42e01f")
        lines.append(f"a=ssrc:{1000 + number} cname:test")
    return "\r\n".join([*lines, ""])


@dataclass
class Answer:
    """What came back."""

    status: int
    headers: Any
    text: str
    problem: dict[str, Any]

    @property
    def code(self) -> str:
        """The problem's code; empty where there is none."""
        return str(self.problem.get("code", ""))


@dataclass
class Held:
    """A booked session, its two people signed in, and a client without cookies."""

    server: Server
    session: Session
    http: aiohttp.ClientSession

    @property
    def whip(self) -> str:
        """The WHIP endpoint."""
        return f"/whip/sessions/{self.session.session_id}"

    @property
    def whep(self) -> str:
        """The WHEP endpoint."""
        return f"/whep/sessions/{self.session.session_id}"

    def token(self, who: str) -> str:
        """The bearer token of ``officer`` or ``site``."""
        return str(getattr(self.session, who)._token)

    async def ask(
        self,
        method: str,
        path: str,
        body: str | bytes = "",
        *,
        who: str | None = "site",
        token: str | None = None,
        content_type: str | None = "application/sdp",
        **headers: str,
    ) -> Answer:
        """Ask as somebody; ``If_Match="x"`` becomes the header If-Match."""
        fields = {name.replace("_", "-"): value for name, value in headers.items()}
        if token is not None or who is not None:
            fields["Authorization"] = f"Bearer {token or self.token(str(who))}"
        if content_type is not None and method in ("POST", "PATCH"):
            fields["Content-Type"] = content_type
        async with self.http.request(method, path, data=body or None, headers=fields) as response:
            text = await response.text()
            is_problem = response.content_type == "application/problem+json"
            problem = await response.json(content_type=None) if is_problem else {}
            return Answer(response.status, response.headers, text, problem)

    def present(self, place: int) -> str:
        """Whether the person in that seat is present, as the officer sees it."""
        return str(self.session.officer.state["participants"][place]["present"])

    def tracks(self, place: int) -> dict[str, str]:
        """The tracks of the person in that seat, as the officer sees them: source to id."""
        tracks = self.session.officer.state["participants"][place]["tracks"]
        return {track["source"]: track["track_id"] for track in tracks}


@asynccontextmanager
async def held(server: Server) -> AsyncIterator[Held]:
    """Book a session with an officer and a detention site; nobody has joined."""
    chief, password = await server.app[ACCOUNTS].add("chief", "Chief", "admin", None)
    async with in_hand(server.url, chief.name, password) as session:
        async with aiohttp.ClientSession(server.url, cookie_jar=aiohttp.DummyCookieJar()) as http:
            yield Held(server, session, http)


@pytest.fixture
async def place(server: Server) -> AsyncIterator[Held]:
    """A booked session that nobody has joined."""
    async with held(server) as one:
        yield one


async def until(condition: Callable[[], bool], seconds: float = 10.0) -> None:
    """Wait until ``condition`` holds."""
    async with asyncio.timeout(seconds):
        while not condition():
            await asyncio.sleep(0.02)
