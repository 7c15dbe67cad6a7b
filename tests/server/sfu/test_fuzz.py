"""Whatever bytes come: what reads them in the hot path and before it raises nothing, quickly."""

from __future__ import annotations

import asyncio
import os
import socket
import time
from collections.abc import AsyncIterator
from typing import Any, cast

import aioice.stun
import pytest
from aiortc import RTCCertificate
from hypothesis import given, settings
from hypothesis import strategies as st

from server.sfu import pictures, port, rtp, seam
from server.sfu.binding import Binding

CERTIFICATE = RTCCertificate.generateCertificate()

headers = st.builds(
    lambda first, second, rest: bytes([first, second]) + rest,
    st.one_of(st.sampled_from([0x80, 0x90, 0xA0, 0xB0, 0x9F]), st.integers(0, 255)),
    st.integers(0, 255),
    st.binary(min_size=10, max_size=10),
)
extensions = st.builds(
    lambda profile, words, body: profile + words.to_bytes(2) + body,
    st.sampled_from([b"\xbe\xde", b"\x10\x00", b"\0\0"]),
    st.one_of(st.integers(0, 6), st.just(0xFFFF)),
    st.binary(max_size=30),
)
# What stands after libsrtp: at least twelve bytes, of which nothing else is sure.
packets = st.builds(
    lambda head, *parts: head + b"".join(parts),
    headers,
    st.one_of(st.just(b""), extensions),
    st.one_of(
        st.binary(max_size=60),
        # Starts of VP8 and H.264 payloads: descriptors, aggregates, fragments, parameter sets.
        st.builds(
            lambda start, rest: start + rest,
            st.sampled_from([b"\x90\x80", b"\x90\xf0\x80", b"\x10", b"\x78", b"\x7c\x85", b"\x67"]),
            st.binary(max_size=60),
        ),
    ),
)


@settings(max_examples=500, deadline=None)
@given(packets, st.integers(1, 15))
def test_no_packet_raises_where_headers_are_read(packet: bytes, number: int) -> None:
    assert rtp.payload_start(packet) >= 12
    found = rtp.extension(packet, number)
    assert found is None or len(found) <= 16
    original = rtp.undo_retransmission(packet, 96, 1234)
    assert original is None or 12 <= len(original) <= len(packet) - 2
    assert original is None or rtp.SSRC_AT_8.unpack_from(original) == (1234,)


@settings(max_examples=500, deadline=None)
@given(packets, st.sampled_from(["VP8", "H264", "opus"]))
def test_no_packet_raises_where_pictures_are_looked_at(packet: bytes, codec: str) -> None:
    pictures.starts_key_frame(codec, packet)
    height = pictures.picture_height(codec, packet)
    assert height is None or 0 <= height < 1 << 16
    body = packet[rtp.payload_start(packet) :]
    numbers = pictures.picture_numbers(body)
    if numbers is not None:
        assert len(pictures.renumber(body, numbers)) == len(body)


def attribute(kind: int, body: bytes, length: int | None = None) -> bytes:
    told = len(body) if length is None else length
    return kind.to_bytes(2) + told.to_bytes(2) + body + bytes(-len(body) % 4)


KNOWN = sorted(aioice.stun.ATTRIBUTES_BY_TYPE)
attributes = st.one_of(
    st.builds(attribute, st.sampled_from(KNOWN), st.binary(max_size=40)),
    st.builds(attribute, st.integers(0, 0xFFFF), st.binary(max_size=8), st.integers(0, 0xFFFF)),
)
kinds = st.one_of(st.sampled_from([0x0001, 0x0101, 0x0111, 0x0011]), st.integers(0, 0x3FFF))


def stun(kind: int, transaction: bytes, parts: list[bytes], length: int | None = None) -> bytes:
    body = b"".join(parts)
    told = len(body) if length is None else length
    return kind.to_bytes(2) + told.to_bytes(2) + b"\x21\x12\xa4\x42" + transaction + body


@settings(max_examples=500, deadline=None)
@given(st.binary(max_size=80))
def test_a_user_name_is_looked_for_without_harm(datagram: bytes) -> None:
    port.stun_user_name(datagram)


class Reach:
    """A peer that waits for its connection, and the door of its port."""

    def __init__(self, transport: seam.MediaTransport, opened: port.MediaPort) -> None:
        self.transport = transport
        self.port = opened
        self.name = transport.ice_parameters.usernameFragment.encode()

    def take(self, datagram: bytes) -> None:
        """What the port does with a datagram that is no media."""
        protocol = cast(Any, self.port._names[self.name])
        protocol.take_stun(datagram, ("127.0.0.1", 9))


@pytest.fixture
async def reach() -> AsyncIterator[Reach]:
    ports = port.MediaPorts(Binding("127.0.0.1"))
    transport = seam.MediaTransport(CERTIFICATE, ports, controlling=False)
    await transport.gather()
    yield Reach(transport, ports.open()[0])
    await transport.close()
    ports.close()


datagrams = st.builds(
    lambda kind, transaction, named, parts, length: (kind, transaction, named, parts, length),
    kinds,
    st.binary(min_size=12, max_size=12),
    st.booleans(),
    st.lists(attributes, max_size=6),
    st.one_of(st.none(), st.integers(0, 0xFFFF)),
)


@settings(max_examples=30, deadline=None)
@given(st.lists(datagrams, min_size=10, max_size=40))
def test_no_stun_raises(sent: list[Any]) -> None:
    async def test() -> None:
        ports = port.MediaPorts(Binding("127.0.0.1"))
        transport = seam.MediaTransport(CERTIFICATE, ports, controlling=False)
        await transport.gather()
        one = Reach(transport, ports.open()[0])
        name = attribute(0x0006, one.name + b":x")
        for kind, transaction, named, parts, length in sent:
            one.take(stun(kind, transaction, [name, *parts] if named else parts, length))
        assert not one.port._endpoints, "an address is known that nobody has proved"
        await transport.close()
        ports.close()

    asyncio.run(test())


async def test_what_fails_on_one_datagram_costs_the_others_nothing(
    reach: Reach, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Datagrams come in batches: whoever makes our code fail must not take others' with theirs."""
    taken: list[bytes] = []

    def fail(datagram: bytes, address: tuple[str, int]) -> None:
        taken.append(datagram)
        if len(taken) == 2:
            raise RuntimeError("as no datagram should make it")

    monkeypatch.setattr(reach.port._names[reach.name], "take_stun", fail)
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as stranger:
        for n in range(6):
            checked = stun(0x0001, bytes([n]) * 12, [attribute(0x0006, reach.name + b":x")])
            stranger.sendto(checked, (reach.port.host, reach.port.port))
    await asyncio.sleep(0.05)
    assert len(taken) == 6
    assert reach.port.failures == 1


async def test_a_flood_from_strangers_is_counted_and_reaches_nobody(reach: Reach) -> None:
    """Random bytes, media of nobody, checks for nobody and for somebody: from unknown addresses."""
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as stranger:
        stranger.connect((reach.port.host, reach.port.port))
        wrong = stun(0x0001, bytes(12), [attribute(0x0006, b"nobody:x")])
        forged = stun(0x0001, bytes(12), [attribute(0x0006, reach.name + b":x")])
        sent = 0
        started = time.thread_time()
        for n in range(60):
            for datagram in (
                os.urandom(1 + n * 20),
                b"\x80\x60" + os.urandom(100),
                b"\x80\xc8" + os.urandom(26),
                b"\x16\xfe\xff" + os.urandom(50),
                os.urandom(3000 + n),
                wrong,
                wrong[:-2],
                forged,
            ):
                stranger.send(datagram)
                sent += datagram is not forged
            await asyncio.sleep(0)
        await asyncio.sleep(0.05)
        assert time.thread_time() - started < 2.0
    # Nearly all; some random bytes look like something for a transaction that nobody has.
    assert sent * 0.9 <= reach.port.strangers <= sent
    assert not reach.port._endpoints
    assert reach.transport.rejected == 0
    assert reach.transport._connection._queue.qsize() <= seam.MAX_QUEUED_DATAGRAMS


async def test_offered_candidates_are_bounded(reach: Reach) -> None:
    """However many an offer has: for each of them checks would be sent to where it says."""
    for n in range(1000):
        reach.transport.add_remote_candidate(
            f"candidate:1 1 udp 2130706431 127.0.{n // 250}.{n % 250 + 1} 9 typ host"
        )
    await asyncio.sleep(0.1)
    assert len(reach.transport._connection.remote_candidates) <= seam.MAX_REMOTE_CANDIDATES
