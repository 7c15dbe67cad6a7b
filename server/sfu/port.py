"""One UDP port for every peer of this process: whose a datagram is, and the way out.

Before this in a packet's path: :mod:`server.sfu.datagrams`. After it: :mod:`server.sfu.seam`.

A datagram is known by the address that it comes from, once ICE has proved that a peer is there; a
STUN request by the user name fragment that it names (RFC 8445, 7.3), a STUN response by the
transaction that it answers. What is neither is dropped and counted.
"""

from __future__ import annotations

import asyncio
import logging
import socket
from collections.abc import Callable
from typing import Any, Protocol

from rooms.errors import MediaPortUnavailable
from server.sfu.binding import Binding
from server.sfu.datagrams import Inbox, Outlet, Post, Protect, key_slice, sockaddr

logger = logging.getLogger(__name__)

BUFFER_BYTES = 8 << 20
"""Asked of the kernel for the port: it holds what arrives for all peers while we are busy."""

SMALL_BUFFER_BYTES = 2 << 20
"""With less than this an operator is warned: a short pause of ours would lose packets."""

MAX_DATAGRAM_BYTES = 2000

MAX_READS = 8
"""Times that the port is read before what waits to be sent has its turn."""

MAX_TRANSACTIONS = 4096
"""STUN requests of ours whose answers are waited for; older ones are forgotten."""

MAX_ADDRESSES = 32
"""Addresses of one peer; more candidates than that are not remembered."""

_SO_RCVBUFFORCE = 33
_SO_MEMINFO, _MEMINFO_BYTES, _MEMINFO_DROPS = 55, 36, 8


class Endpoint(Protocol):
    """A peer as a port sees it (:class:`server.sfu.seam.MediaTransport` has one for each port)."""

    take: Callable[[Any, memoryview, int], None]
    """Takes one SRTP or SRTCP packet: pointer, the bytes behind it, how many are the packet's."""

    def take_dtls(self, datagram: bytes) -> None:
        """Take a datagram that is neither STUN nor media."""

    def take_stun(self, datagram: bytes, address: tuple[str, int]) -> None:
        """Take a STUN message from ``address``."""


class MediaPort:
    """The port on one local address."""

    def __init__(self, sock: socket.socket) -> None:
        self.host, self.port = sock.getsockname()[:2]
        self.strangers = 0
        """Datagrams that belong to nobody."""
        self.failures = 0
        """Datagrams on which the server itself failed: each one is a fault of ours."""
        self._socket = sock
        self._key = key_slice(sock.family)
        loop = asyncio.get_running_loop()
        self.post = Post(sock, loop.call_soon)
        self._inbox = Inbox(sock)
        self._endpoints: dict[bytes, Endpoint] = {}
        """By address, as the kernel writes it."""
        self._names: dict[bytes, Endpoint] = {}
        """By user name fragment."""
        self._transactions: dict[bytes, Endpoint] = {}
        self._loop = loop
        loop.add_reader(sock.fileno(), self._readable)

    @property
    def dropped(self) -> int:
        """Datagrams that the kernel had no room for, since the port was opened."""
        try:
            raw = self._socket.getsockopt(socket.SOL_SOCKET, _SO_MEMINFO, _MEMINFO_BYTES)
        except OSError:
            return 0
        return memoryview(raw).cast("I")[_MEMINFO_DROPS]

    @property
    def buffer_bytes(self) -> int:
        """What the kernel granted for arriving datagrams."""
        return self._socket.getsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF)

    def expect(self, name: str, endpoint: Endpoint) -> None:
        """STUN requests for the user name fragment ``name`` are for ``endpoint``."""
        self._names[name.encode()] = endpoint

    def found(self, address: tuple[str, int], endpoint: Endpoint) -> None:
        """What comes from ``address`` is from now on for ``endpoint``, as ICE has proved."""
        key = sockaddr(*address)[self._key]
        if self._endpoints.get(key) is endpoint:
            return
        if sum(known is endpoint for known in self._endpoints.values()) < MAX_ADDRESSES:
            self._endpoints[key] = endpoint

    def forget(self, endpoint: Endpoint) -> None:
        """Nothing is for ``endpoint`` any more."""
        for known in (self._endpoints, self._names, self._transactions):
            for key in [key for key, owner in known.items() if owner is endpoint]:
                del known[key]

    def send(self, datagram: bytes, address: tuple[str, int], endpoint: Endpoint) -> None:
        """Send one datagram that is not media; what answers it comes to ``endpoint``."""
        if datagram[:2] == b"\0\1":
            transactions = self._transactions
            transactions[datagram[8:20]] = endpoint
            if len(transactions) > MAX_TRANSACTIONS:
                del transactions[next(iter(transactions))]
        try:
            self._socket.sendto(datagram, address[:2])
        except OSError as problem:
            logger.debug("to %s: %s", address, problem)

    def outlet(self, address: tuple[str, int], protect: Protect, context: Any) -> Outlet:
        """The way of media to ``address``."""
        return Outlet(self.post, sockaddr(*address), protect, context)

    def close(self) -> None:
        """Close the port."""
        self._loop.remove_reader(self._socket.fileno())
        self.post.close()
        self._socket.close()
        self._endpoints.clear()
        self._names.clear()
        self._transactions.clear()

    def _readable(self) -> None:
        """Take what has come, and send what came of it in one go.

        What comes while we are at it belongs to the same burst mostly: a picture, a key frame.
        """
        inbox, post, endpoints = self._inbox, self.post, self._endpoints
        pointers, views, keys, length = inbox.pointers, inbox.views, inbox.keys, inbox.length
        post.collecting = True
        left = MAX_READS
        while left and (count := inbox.read()) > 0:
            left -= 1
            for index in range(count):
                view = views[index]
                try:
                    if view[0] > 127:
                        endpoint = endpoints.get(bytes(keys[index]))
                        if endpoint is not None:
                            endpoint.take(pointers[index], view, length(index))
                        else:
                            self.strangers += 1
                    else:
                        self._take_other(index)
                except Exception as problem:  # noqa: BLE001
                    # Others' datagrams of the same batch must not be lost with this one.
                    self._failed(problem)
        post.collecting = False
        post.flush()

    def _failed(self, problem: Exception) -> None:
        self.failures += 1
        if self.failures & self.failures - 1 == 0:  # the 1st, 2nd, 4th, 8th, ...
            logger.error("a datagram made us fail, %d so far", self.failures, exc_info=problem)

    def _take_other(self, index: int) -> None:
        """STUN and DTLS, told apart by their first byte (RFC 7983)."""
        length = self._inbox.length(index)
        if not 0 < length <= MAX_DATAGRAM_BYTES:
            self.strangers += 1
            return
        datagram = bytes(self._inbox.views[index][:length])
        if datagram[0] > 3:
            endpoint = self._endpoints.get(bytes(self._inbox.keys[index]))
        elif datagram[0] == 0:
            endpoint = self._names.get(stun_user_name(datagram) or b"")
        else:
            endpoint = self._transactions.get(datagram[8:20])
        if endpoint is None:
            self.strangers += 1
        elif datagram[0] > 3:
            endpoint.take_dtls(datagram)
        else:
            endpoint.take_stun(datagram, self._inbox.sender(index))


class MediaPorts:
    """The ports of one process: one for each local address of ``binding``, shared by its peers."""

    def __init__(self, binding: Binding) -> None:
        self.binding = binding
        self._ports: list[MediaPort] = []

    def open(self) -> list[MediaPort]:
        """Open the ports, if they are not open; :class:`MediaPortUnavailable` where none can be."""
        if not self._ports:
            self._ports = [MediaPort(sock) for sock in _sockets(self.binding)]
            least = min(port.buffer_bytes for port in self._ports)
            if least < SMALL_BUFFER_BYTES:
                logger.warning(
                    "the kernel grants the media port %d KiB of buffer, which a pause of some "
                    "milliseconds fills: set net.core.rmem_max to %d",
                    least >> 10,
                    BUFFER_BYTES,
                )
        return self._ports

    def counts(self) -> dict[str, int]:
        """What went past the peers: see :class:`MediaPort` and :class:`Post`."""
        return {
            "dropped": sum(port.dropped for port in self._ports),
            "failures": sum(port.failures for port in self._ports),
            "strangers": sum(port.strangers for port in self._ports),
            "unsent": sum(port.post.unsent for port in self._ports),
            "unfit": sum(port.post.unfit for port in self._ports),
        }

    def close(self) -> None:
        """Close the ports; they are opened again when a peer needs one."""
        for port in self._ports:
            port.close()
        self._ports = []


def stun_user_name(datagram: bytes) -> bytes | None:
    """Whom a STUN request is for: what USERNAME has before the colon (RFC 8489, 14.3)."""
    at = 20
    while at + 4 <= len(datagram):
        kind, length = (
            int.from_bytes(datagram[at : at + 2]),
            int.from_bytes(datagram[at + 2 : at + 4]),
        )
        if kind == 0x0006:
            return datagram[at + 4 : at + 4 + length].partition(b":")[0]
        at += 4 + (length + 3 & ~3)
    return None


def _sockets(binding: Binding) -> list[socket.socket]:
    """A socket on each address of the binding, as far as they can be had."""
    found, problem = [], "there is no local address"
    for address in binding.addresses():
        for port in binding.ports():
            family = socket.AF_INET6 if ":" in address else socket.AF_INET
            sock = socket.socket(family, socket.SOCK_DGRAM)
            try:
                sock.setblocking(False)
                if family == socket.AF_INET6:
                    sock.setsockopt(socket.IPPROTO_IPV6, socket.IPV6_V6ONLY, 1)
                sock.bind((address, port))
            except OSError as error:
                sock.close()
                problem = f"{address}: {error.strerror}"
                continue
            _enlarge(sock)
            found.append(sock)
            break
    if not found:
        raise MediaPortUnavailable(problem)
    return found


def _enlarge(sock: socket.socket) -> None:
    for option in (_SO_RCVBUFFORCE, socket.SO_RCVBUF):
        try:
            sock.setsockopt(socket.SOL_SOCKET, option, BUFFER_BYTES)
        except OSError:
            # Only an administrator may go beyond what the system allows to all.
            continue
        break
    sock.setsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF, BUFFER_BYTES)
