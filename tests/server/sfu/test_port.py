"""Whose a datagram is, through real sockets on loopback."""

from __future__ import annotations

import asyncio
import logging
import socket
from collections.abc import AsyncIterator, Callable
from typing import Any

import pytest
from aioice import stun

from rooms.errors import MediaPortUnavailable
from server.sfu import port as port_module
from server.sfu.binding import Binding
from server.sfu.port import MAX_ADDRESSES, MAX_TRANSACTIONS, MediaPort, MediaPorts, stun_user_name

MEDIA, DTLS = b"\x80" + b"m" * 20, b"\x16" + b"d" * 20


class Peer:
    """Takes what a port has for it."""

    def __init__(self) -> None:
        self.media: list[bytes] = []
        self.dtls: list[bytes] = []
        self.stun: list[tuple[bytes, tuple[str, int]]] = []
        self.take: Callable[[Any, memoryview, int], None] = self._take

    def _take(self, pointer: Any, view: memoryview, size: int) -> None:
        self.media.append(bytes(view[:size]))

    def take_dtls(self, datagram: bytes) -> None:
        self.dtls.append(datagram)

    def take_stun(self, datagram: bytes, address: tuple[str, int]) -> None:
        self.stun.append((datagram, address))


@pytest.fixture
async def ports() -> AsyncIterator[MediaPorts]:
    made = MediaPorts(Binding())
    yield made
    made.close()


@pytest.fixture
async def port(ports: MediaPorts) -> MediaPort:
    (only,) = ports.open()
    return only


@pytest.fixture
async def far() -> AsyncIterator[socket.socket]:
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as sock:
        sock.bind(("127.0.0.1", 0))
        sock.setblocking(False)
        yield sock


def send(far: socket.socket, port: MediaPort, *datagrams: bytes) -> None:
    for datagram in datagrams:
        far.sendto(datagram, (port.host, port.port))


async def settled(port: MediaPort, count: int, *peers: Peer) -> None:
    """Wait until ``count`` datagrams have arrived somewhere."""
    async with asyncio.timeout(5):
        while (
            sum(len(p.media) + len(p.dtls) + len(p.stun) for p in peers)
            + (port.strangers + port.failures)
            < count
        ):
            await asyncio.sleep(0.005)


def check(name: str) -> bytes:
    message = stun.Message(stun.Method.BINDING, stun.Class.REQUEST)
    message.attributes["PRIORITY"] = 1
    message.attributes["USERNAME"] = f"{name}:theirs"
    return bytes(message)


async def test_media_and_dtls_go_to_whoever_ice_has_found_there(
    port: MediaPort, far: socket.socket
) -> None:
    peer, other = Peer(), Peer()
    send(far, port, MEDIA, DTLS)
    await settled(port, 2, peer, other)
    assert port.strangers == 2
    port.found(far.getsockname(), peer)
    send(far, port, MEDIA, DTLS)
    await settled(port, 4, peer, other)
    assert (peer.media, peer.dtls) == ([MEDIA], [DTLS])
    port.found(far.getsockname(), other)
    send(far, port, MEDIA)
    await settled(port, 5, peer, other)
    assert other.media == [MEDIA]
    port.forget(other)
    send(far, port, MEDIA)
    await settled(port, 6, peer, other)
    assert port.strangers == 3


async def test_a_check_goes_to_whom_it_names_from_wherever_it_comes(
    port: MediaPort, far: socket.socket
) -> None:
    peer, other = Peer(), Peer()
    port.expect("mine", peer)
    port.expect("others", other)
    port.found(far.getsockname(), other)
    send(far, port, check("mine"), check("nobody"))
    await settled(port, 2, peer, other)
    assert peer.stun == [(check_of(peer), far.getsockname())]
    assert port.strangers == 1
    assert other.stun == []


def check_of(peer: Peer) -> bytes:
    (datagram, _) = peer.stun[0]
    assert stun_user_name(datagram) == b"mine"
    return datagram


async def test_an_answer_goes_to_who_asked(port: MediaPort, far: socket.socket) -> None:
    peer = Peer()
    request = check("theirs")
    port.send(request, far.getsockname(), peer)
    async with asyncio.timeout(5):
        asked = await asyncio.get_running_loop().sock_recv(far, 2000)
    assert asked == request
    answer = b"\x01\x01" + request[2:20]
    send(far, port, answer, b"\x01\x01" + b"\0" * 18)
    await settled(port, 2, peer)
    assert peer.stun == [(answer, far.getsockname())]
    assert port.strangers == 1


async def test_what_fails_costs_others_of_its_batch_nothing(
    port: MediaPort, far: socket.socket, caplog: pytest.LogCaptureFixture
) -> None:
    class Failing(Peer):
        def take_dtls(self, datagram: bytes) -> None:
            raise ValueError("a fault of ours")

    peer = Failing()
    port.found(far.getsockname(), peer)
    with caplog.at_level(logging.ERROR):
        send(far, port, MEDIA, DTLS, MEDIA)
        await settled(port, 3, peer)
    assert (len(peer.media), port.failures) == (2, 1)
    assert "made us fail" in caplog.text


async def test_nobody_makes_it_remember_without_end(port: MediaPort, far: socket.socket) -> None:
    peer = Peer()
    for number in range(MAX_TRANSACTIONS + 10):
        port.send(b"\0\1" + b"\0" * 6 + number.to_bytes(12), ("127.0.0.1", 9), peer)
    for number in range(MAX_ADDRESSES + 10):
        port.found(("192.0.2.1", 1000 + number), peer)
    assert len(port._transactions) == MAX_TRANSACTIONS
    assert len(port._endpoints) == MAX_ADDRESSES
    port.forget(peer)
    assert not port._transactions and not port._endpoints


async def test_no_port_to_be_had_is_said(ports: MediaPorts) -> None:
    taken = ports.open()[0].port
    second = MediaPorts(Binding(port_min=taken, port_max=taken))
    with pytest.raises(MediaPortUnavailable, match=r"127\.0\.0\.1"):
        second.open()


async def test_a_process_takes_one_port_of_the_range_and_another_the_next() -> None:
    binding = Binding(port_min=40000, port_max=40499)
    one, two = MediaPorts(binding), MediaPorts(binding)
    try:
        taken = [ports.open()[0].port for ports in (one, two)]
        assert taken[0] != taken[1]
        assert all(40000 <= port <= 40499 for port in taken)
        assert one.open()[0].port == taken[0]
    finally:
        one.close()
        two.close()


async def test_a_small_buffer_is_said_and_drops_are_counted(
    far: socket.socket, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.setattr(port_module, "BUFFER_BYTES", 8192)
    ports = MediaPorts(Binding())
    try:
        with caplog.at_level(logging.WARNING):
            (port,) = ports.open()
        assert "rmem_max" in caplog.text
        # Nothing is read before this test gives way: the small buffer must overflow.
        send(far, port, *[b"\x80" * 1000] * 100)
        assert ports.counts()["dropped"] > 0
    finally:
        ports.close()


@pytest.mark.parametrize(
    "datagram",
    [b"", b"\0\1", b"\0\1" + b"\0" * 18, check("")[:-3]],
    ids=["empty", "type", "header", "cut"],
)
def test_a_damaged_check_is_for_nobody(datagram: bytes) -> None:
    assert not stun_user_name(datagram)
