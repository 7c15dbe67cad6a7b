"""Batches in and out through real sockets on loopback."""

from __future__ import annotations

import socket
import struct
from collections.abc import Callable, Iterator
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from server.sfu import datagrams
from server.sfu.datagrams import MAX_PACKET_BYTES, MAX_QUEUED, Inbox, Outlet, Post

Pair = tuple[Post, Callable[[Any], Outlet], socket.socket]


def in_the_clear(context: Any, pointer: Any, length: Any) -> int:
    """Protects nothing; a context of 1 refuses."""
    return int(context or 0)


def at_once(flush: Callable[[], None]) -> None:
    """For posts that are flushed by hand."""


def bound(family: int = socket.AF_INET) -> socket.socket:
    sock = socket.socket(family, socket.SOCK_DGRAM)
    sock.bind(("::1" if family == socket.AF_INET6 else "127.0.0.1", 0))
    sock.setblocking(False)
    return sock


@pytest.fixture(params=[socket.AF_INET, socket.AF_INET6])
def pair(request: pytest.FixtureRequest) -> Iterator[Pair]:
    """A post, how an outlet to the far end is made, and the far end."""
    with bound(request.param) as near, bound(request.param) as far:
        post = Post(near, at_once)
        name = datagrams.sockaddr(*far.getsockname()[:2])
        yield post, lambda context: Outlet(post, name, in_the_clear, context), far


def received(far: socket.socket) -> list[bytes]:
    found = []
    while True:
        try:
            found.append(far.recv(4096))
        except BlockingIOError:
            return found


def test_the_system_s_structures_are_where_they_are_expected() -> None:
    sizes = [datagrams.ffi.sizeof(f"struct {name}") for name in ("mmsghdr", "iovec", "cmsghdr")]
    assert sizes == [datagrams._MMSGHDR.size, datagrams._IOVEC.size, 16]
    assert hasattr(socket, "MSG_DONTWAIT")


def test_an_address_there_and_back() -> None:
    for address in (("192.0.2.7", 5004), ("2001:db8::1", 65535)):
        assert datagrams.address_of(datagrams.sockaddr(*address)) == address


@settings(max_examples=60, deadline=None)
@given(st.lists(st.integers(0, MAX_PACKET_BYTES - 12), max_size=3 * MAX_QUEUED))
def test_packets_of_any_lengths_arrive_whole_and_in_order(lengths: list[int]) -> None:
    with bound() as near, bound() as far:
        post = Post(near, at_once)
        out = Outlet(post, datagrams.sockaddr(*far.getsockname()), in_the_clear, 0)
        sent = []
        for number, length in enumerate(lengths):
            body = bytes([number & 0xFF]) * length
            out.send(0x80, 0x60, number, 3000 * number, 7, body)
            sent.append(struct.pack("!BBHII", 0x80, 0x60, number, 3000 * number, 7) + body)
        post.flush()
        assert received(far) == sent
        assert post.unsent == post.unfit == 0
        post.flush()
        assert received(far) == []


def test_to_several_receivers_in_one_go(pair: Pair) -> None:
    post, outlet, far = pair
    outlets = [outlet(0) for _ in range(5)]
    for number in range(10):
        for ssrc, out in enumerate(outlets):
            out.send(0x80, 0x60, number, 0, ssrc, b"x" * (1000 if number < 9 else 10))
    post.flush()
    packets = received(far)
    for ssrc in range(5):
        of_one = [p for p in packets if p[8:12] == ssrc.to_bytes(4)]
        assert [int.from_bytes(p[2:4]) for p in of_one] == list(range(10))


def test_the_first_packet_has_the_post_go_soon_and_only_once() -> None:
    asked: list[Callable[[], None]] = []
    with bound() as near, bound() as far:
        post = Post(near, asked.append)
        out = Outlet(post, datagrams.sockaddr(*far.getsockname()), in_the_clear, 0)
        for number in range(3):
            out.send(0x80, 0x60, number, 0, 1, b"")
        assert len(asked) == 1
        assert received(far) == []
        asked.pop()()
        assert len(received(far)) == 3
        post.collecting = True
        out.send(0x80, 0x60, 3, 0, 1, b"")
        assert asked == []
        post.flush()
        assert len(received(far)) == 1


def test_what_is_too_long_or_not_protected_is_counted_and_harms_nothing(pair: Pair) -> None:
    post, outlet, far = pair
    good, refusing = outlet(0), outlet(1)
    good.send(0x80, 0x60, 1, 0, 1, b"x" * (MAX_PACKET_BYTES - 11))
    refusing.send(0x80, 0x60, 1, 0, 1, b"x")
    good.send(0x80, 0x60, 2, 0, 1, b"x")
    post.flush()
    assert [p[2:4] for p in received(far)] == [b"\0\2"]
    assert (post.unfit, post.unsent) == (2, 0)


def test_what_the_kernel_refuses_is_counted_and_the_rest_goes_on() -> None:
    with bound() as near, bound() as far:
        post = Post(near, at_once)
        # Port 0 is no address to send to.
        nowhere = Outlet(post, datagrams.sockaddr("127.0.0.1", 0), in_the_clear, 0)
        out = Outlet(post, datagrams.sockaddr(*far.getsockname()), in_the_clear, 0)
        for number in range(3):
            nowhere.send(0x80, 0x60, number, 0, 1, b"")
            out.send(0x80, 0x60, number, 0, 1, b"")
        post.flush()
        assert len(received(far)) == 3
        assert post.unsent == 3


def test_a_message_that_cannot_be_cut_up_is_sent_packet_by_packet() -> None:
    with bound() as near, bound() as far:
        # Without checksums the kernel does not cut up (udp(7)), as some interfaces cannot.
        near.setsockopt(socket.SOL_SOCKET, 11, 1)  # SO_NO_CHECK
        post = Post(near, at_once)
        out = Outlet(post, datagrams.sockaddr(*far.getsockname()), in_the_clear, 0)
        for number in range(5):
            out.send(0x80, 0x60, number, 0, 1, b"x" * 100)
        post.flush()
        assert [int.from_bytes(p[2:4]) for p in received(far)] == list(range(5))
        assert post.unsent == 0


def test_a_closed_socket_takes_nothing() -> None:
    with bound() as near, bound() as far:
        post = Post(near, at_once)
        out = Outlet(post, datagrams.sockaddr(*far.getsockname()), in_the_clear, 0)
        out.send(0x80, 0x60, 1, 0, 1, b"")
        near.close()
        post.flush()
        assert post.unsent == 1


@pytest.mark.parametrize("family", [socket.AF_INET, socket.AF_INET6])
def test_an_inbox_has_what_came_and_from_where(family: int) -> None:
    with bound(family) as near, bound(family) as far:
        inbox = Inbox(near)
        assert inbox.read() <= 0
        for length in (0, 1, 1200, 3000):
            far.sendto(b"x" * length, near.getsockname())
        assert inbox.read() == 4
        assert [inbox.length(n) for n in range(4)] == [0, 1, 1200, datagrams.SLOT_BYTES]
        assert bytes(inbox.views[2][:1200]) == b"x" * 1200
        assert inbox.sender(0) == far.getsockname()[:2]
        name = datagrams.sockaddr(*far.getsockname()[:2])
        assert bytes(inbox.keys[3]) == name[datagrams.key_slice(family)]
