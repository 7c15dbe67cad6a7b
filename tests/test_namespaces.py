"""The lines that other tests cut: that they carry, that a cut is silent, that nothing is left."""

from __future__ import annotations

import asyncio
import socket

import pytest
from namespaces import RUN, Lines, Place, lines, unavailable

__all__ = ["lines"]

pytestmark = pytest.mark.timeout(30)


class Echo(asyncio.DatagramProtocol):
    """Sends back what comes."""

    def connection_made(self, transport: asyncio.DatagramTransport) -> None:  # type: ignore[override]
        self._transport = transport

    def datagram_received(self, data: bytes, addr: tuple[str, int]) -> None:
        self._transport.sendto(data, addr)


async def echoes(place: Place, address: str) -> bool:
    """Whether a datagram from the place to us comes back to it."""
    loop = asyncio.get_running_loop()
    transport, _ = await loop.create_datagram_endpoint(Echo, local_addr=(address, 0))
    family = socket.AF_INET6 if ":" in address else socket.AF_INET
    with place.entered():
        asking = socket.socket(family, socket.SOCK_DGRAM | socket.SOCK_NONBLOCK)
    try:
        asking.connect(transport.get_extra_info("sockname")[:2])
        asking.send(b"anybody?")
        async with asyncio.timeout(0.3):
            return await loop.sock_recv(asking, 100) == b"anybody?"
    except (TimeoutError, OSError):
        return False
    finally:
        asking.close()
        transport.close()


async def both(place: Place, lines: Lines) -> tuple[bool, bool]:
    return await echoes(place, lines.address), await echoes(place, lines.address6)


async def test_a_place_is_cut_unplugged_and_given_another_address(lines: Lines) -> None:
    place, other = lines.place("one"), lines.place("two")
    assert await both(place, lines) == (True, True)
    place.cut()
    assert await both(place, lines) == (False, False)
    assert await both(other, lines) == (True, True)
    place.mend()
    assert await both(place, lines) == (True, True)
    place.unplug()
    assert await both(place, lines) == (False, False)
    place.plug()
    async with asyncio.timeout(5):
        while await both(place, lines) != (True, True):
            pass
    before = place.address
    assert place.readdress(7) != before
    assert await both(place, lines) == (True, True)


async def test_udp_is_blocked_and_tcp_is_not(lines: Lines) -> None:
    place = lines.place("one")
    place.block("udp")
    assert await both(place, lines) == (False, False)

    async def greet(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        writer.write(b"come in")
        writer.close()

    server = await asyncio.start_server(greet, lines.address)
    port = server.sockets[0].getsockname()[1]

    async def enter() -> bytes:
        reader, writer = await asyncio.open_connection(lines.address, port)
        said = await reader.read()
        writer.close()
        return said

    with place.loop() as loop:
        assert await loop.do(enter()) == b"come in"
    server.close()


@pytest.mark.skipif(unavailable() is not None, reason=str(unavailable()))
def test_nothing_is_left_of_them() -> None:
    with Lines() as lines:
        place = lines.place("one")
        assert lines.interface in {name for _, name in socket.if_nameindex()}
    assert not (RUN / place.namespace).exists()
    assert lines.interface not in {name for _, name in socket.if_nameindex()}
