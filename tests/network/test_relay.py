"""A real coturn: whom it lets in, and headless terminals where no UDP passes."""

from __future__ import annotations

import asyncio
import ssl
import time
from collections.abc import Awaitable, Callable
from typing import Any

import aioice.stun
import pytest
from aioice import turn
from namespaces import Lines, lines
from relay import PLAIN_PORT, SECRET, TLS_PORT, WAYS, Relay, relay
from running import Server
from session_in_hand import in_hand

from server.agent import terminal
from server.agent.sources import SoundSource, SourceClock, Tone
from server.config import TurnSection
from server.sfu import seam
from server.turn import Relays

__all__ = ["lines", "relay"]

pytestmark = pytest.mark.timeout(90)


class Silent(asyncio.DatagramProtocol):
    """Takes no notice of what comes."""


async def allocate(relay: Relay, way: str, username: str, credential: str) -> Any:
    """Ask the relay for an address, as a client would; returns the transport."""
    context = None
    if way == "tls":
        context = ssl.create_default_context(cafile=str(relay.certificate))
    async with asyncio.timeout(10):
        transport, _ = await turn.create_turn_endpoint(
            Silent,
            server_addr=(relay.address, TLS_PORT if way == "tls" else PLAIN_PORT),
            username=username,
            password=credential,
            ssl=context,
            transport="udp" if way == "udp" else "tcp",
        )
    return transport


def credentials(relay: Relay, ago_s: float = 0.0, secret: str = SECRET) -> tuple[str, str]:
    section = TurnSection(urls=(relay.url("udp"),), secret=secret, ttl_s=60)
    server = Relays(section, lambda: time.time() - ago_s).ice_servers("p-1")[0]
    return server["username"], server["credential"]


async def test_whom_the_relay_lets_in(relay: Relay) -> None:
    username, credential = credentials(relay)
    later = f"{int(username.split(':')[0]) + 3600}:p-1"
    for way in WAYS:
        transport = await allocate(relay, way, username, credential)
        assert transport.get_extra_info("sockname")[0] == relay.address
        transport.close()
        for name, password in (
            # The relay reads its clock now and then: a second more would be luck.
            credentials(relay, ago_s=120),
            credentials(relay, secret="another secret altogether"),
            (later, credential),
            (username, "guessed"),
        ):
            with pytest.raises(aioice.stun.TransactionFailed) as refused:
                await allocate(relay, way, name, password)
            assert refused.value.response.attributes["ERROR-CODE"][0] == 401


async def test_what_stands_goes_on_when_its_credential_expires(relay: Relay) -> None:
    transport = await allocate(relay, "udp", *credentials(relay, ago_s=58.5))
    await asyncio.sleep(2.5)
    inner = transport._TurnTransport__inner_protocol
    message = aioice.stun.Message(
        message_method=aioice.stun.Method.REFRESH, message_class=aioice.stun.Class.REQUEST
    )
    message.attributes["LIFETIME"] = 600
    response, _ = await inner.request_with_retry(message)
    assert response.attributes["LIFETIME"] == 600
    transport.close()


async def test_a_headless_terminal_finds_its_way(
    lines: Lines,
    relay: Relay,
    start_server: Callable[..., Awaitable[Server]],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(terminal, "DIRECT_S", 1.5)
    monkeypatch.setenv("SSL_CERT_FILE", str(relay.certificate))
    server = await start_server(
        {
            "server.host": lines.address,
            "media.bind_address": lines.address,
            "turn.urls": [f"turn:{relay.address}:9?transport=tcp", relay.url("tls")],
            "turn.secret": SECRET,
        }
    )
    _, password = await server.accounts.add("root", "root", "admin", None)
    place = lines.place("site")
    place.block("udp")
    async with in_hand(server.url, "root", password) as session:
        seam.bind_address(lines.address)
        await session.officer.join(session.session_id)
        await session.officer.publish({"microphone": SoundSource(SourceClock(), Tone())})
        seam.bind_address(place.address)
        token = session.site._token
        with place.loop() as loop:

            async def hold() -> set[str]:
                async with terminal.Terminal(server.url) as site:
                    site.use_token(token)
                    await site.join(session.session_id)
                    await site.publish({"microphone": SoundSource(SourceClock(), Tone())})
                    await site.wait_for_media(1, timeout_s=15)
                    await session.officer.wait_for_media(1, timeout_s=15)
                    return site.arriving

            assert await loop.do(hold()) == {"mic-1"}
