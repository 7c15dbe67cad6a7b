"""A relay of datagrams that does to them what a bad line does: for browsers and programs alike.

The relay stands on :data:`OUTSIDE`, at the same ports as the server's media sockets on
:data:`INSIDE`, and the server announces that address (as behind a 1:1 NAT). It knows nothing of
what it carries, so all clients meet the same line, and the server is as it is. The server must not
learn the clients' own addresses: on one machine it would find the straight way to them
(:func:`without_candidates`).

This kernel has network namespaces, but no netem: so the line is made here, in user space.
Before this: :mod:`bench.line`, which decides.
"""

from __future__ import annotations

import asyncio
import contextlib
import heapq
import random
import re
import socket
from collections.abc import AsyncIterator, Callable
from dataclasses import replace
from typing import Any

from bench.line import Line, Trouble

INSIDE, OUTSIDE = "127.0.0.1", "127.0.0.2"
PORTS = 12
"""Media sockets that a server behind the relay may have at a time."""

BUFFER_BYTES = 4 << 20

Address = tuple[str, int]
Deliver = Callable[[bytes], None]

_CANDIDATES = re.compile(r"a=(candidate:[^\r\n]*|end-of-candidates)\r?\n")


def without_candidates(sdp: str) -> str:
    """A client's description without its own addresses."""
    return _CANDIDATES.sub("", sdp)


class Flow(asyncio.DatagramProtocol):
    """One client's datagrams to and from one media socket of the server."""

    def __init__(self, relay: BadLine, port: int, client: Address, seed: int) -> None:
        self.up = Line(relay.trouble, seed)
        self.down = Line(relay.trouble, seed + 1)
        self.media_up = 0
        """RTP packets that came from the client: only a publishing connection has any."""
        self._relay = relay
        self._port = port
        self._client = client
        self._server: asyncio.DatagramTransport | None = None
        self._early: list[bytes] = []

    def connection_made(self, transport: Any) -> None:
        """The way to the server is open."""
        self._server = transport
        for data in self._early:
            transport.sendto(data)
        self._early.clear()

    def datagram_received(self, data: bytes, addr: Any) -> None:
        """Something for the client."""
        self._relay.later(self.down, data, self._to_client)

    def from_client(self, data: bytes) -> None:
        """Something from the client."""
        if 127 < data[0] < 192 and len(data) > 1 and not 191 < data[1] < 224:
            self.media_up += 1
        self._relay.later(self.up, data, self._to_server)

    def close(self) -> None:
        """Carry no more."""
        if self._server is not None:
            self._server.close()

    def _to_server(self, data: bytes) -> None:
        if self._server is None:
            self._early.append(data)
        elif not self._server.is_closing():
            self._server.sendto(data)

    def _to_client(self, data: bytes) -> None:
        self._relay.send(self._port, data, self._client)


class _Front(asyncio.DatagramProtocol):
    """The relay's socket in the place of one media socket of the server."""

    def __init__(self, relay: BadLine, port: int) -> None:
        self._relay = relay
        self._port = port

    def datagram_received(self, data: bytes, addr: Any) -> None:
        if data:
            self._relay.flow(self._port, addr).from_client(data)


class BadLine:
    """The relay, opened by :func:`relay`; the server behind it gets :attr:`overrides`."""

    def __init__(self, trouble: Trouble, seed: int, first_port: int) -> None:
        self.trouble = trouble
        self.first_port = first_port
        self.flows: dict[tuple[int, Address], Flow] = {}
        self._seed = seed
        self._fronts: dict[int, asyncio.DatagramTransport] = {}
        self._tasks: set[asyncio.Task[Any]] = set()
        self._due: list[tuple[float, int, Deliver, bytes]] = []
        self._count = 0
        self._timer: asyncio.TimerHandle | None = None

    @property
    def overrides(self) -> dict[str, Any]:
        """Settings of the server behind this line."""
        return {
            "media.bind_address": INSIDE,
            "media.announced_address": OUTSIDE,
            "media.port_min": self.first_port,
            "media.port_max": self.first_port + PORTS - 1,
        }

    def change(self, *, publishing: bool | None = None, **changes: Any) -> list[Flow]:
        """Change the trouble of all flows, or only of those that (do not) publish.

        Flows that begin later have it too where all were changed. Returns the flows changed.
        """
        if publishing is None:
            self.trouble = replace(self.trouble, **changes)
        changed = [
            flow
            for flow in self.flows.values()
            if publishing is None or (flow.media_up > 0) == publishing
        ]
        for flow in changed:
            for line in (flow.up, flow.down):
                line.trouble = replace(line.trouble, **changes)
        return changed

    def flow(self, port: int, client: Address) -> Flow:
        """The flow of a client's datagrams to this port."""
        found = self.flows.get((port, client))
        if found is None:
            self._seed += 2
            found = self.flows[port, client] = Flow(self, port, client, self._seed)
            made = found
            connecting = asyncio.get_running_loop().create_datagram_endpoint(
                lambda: made, local_addr=(OUTSIDE, 0), remote_addr=(INSIDE, port)
            )
            task = asyncio.ensure_future(connecting)
            self._tasks.add(task)
            task.add_done_callback(self._tasks.discard)
        return found

    def later(self, line: Line, data: bytes, deliver: Deliver) -> None:
        """Deliver a datagram when the line does."""
        now_s = asyncio.get_running_loop().time()
        for at_s in line.arrivals(now_s, len(data)):
            self._count += 1
            heapq.heappush(self._due, (at_s, self._count, deliver, data))
        self._deliver()

    def send(self, port: int, data: bytes, client: Address) -> None:
        """Send to a client, from the port that it knows."""
        front = self._fronts.get(port)
        if front is not None and not front.is_closing():
            front.sendto(data, client)

    async def open(self) -> None:
        """Open the sockets."""
        loop = asyncio.get_running_loop()
        for port in range(self.first_port, self.first_port + PORTS):
            front, _ = await loop.create_datagram_endpoint(
                lambda port=port: _Front(self, port),  # type: ignore[misc]
                local_addr=(OUTSIDE, port),
            )
            front.get_extra_info("socket").setsockopt(
                socket.SOL_SOCKET, socket.SO_RCVBUF, BUFFER_BYTES
            )
            self._fronts[port] = front

    def close(self) -> None:
        """Close everything; what is under way is lost."""
        if self._timer is not None:
            self._timer.cancel()
        for front in self._fronts.values():
            front.close()
        for flow in self.flows.values():
            flow.close()

    def _deliver(self) -> None:
        loop = asyncio.get_running_loop()
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None
        while self._due and self._due[0][0] <= loop.time():
            _, _, deliver, data = heapq.heappop(self._due)
            deliver(data)
        if self._due:
            self._timer = loop.call_at(self._due[0][0], self._deliver)


def _free_ports() -> int:
    """The first of :data:`PORTS` ports that are free on both addresses."""
    for _ in range(200):
        # Below the range from which the kernel takes the ports that nobody chose.
        first = random.randrange(12_000, 31_000)
        with contextlib.ExitStack() as probes:
            try:
                for port in range(first, first + PORTS):
                    for address in (INSIDE, OUTSIDE):
                        probe = probes.enter_context(
                            socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
                        )
                        probe.bind((address, port))
            except OSError:
                continue
        return first
    raise RuntimeError("no free ports for the relay")


@contextlib.asynccontextmanager
async def relay(trouble: Trouble, seed: int) -> AsyncIterator[BadLine]:
    """A relay with this trouble in both directions of every flow."""
    line = BadLine(trouble, seed, _free_ports())
    try:
        await line.open()
        yield line
    finally:
        line.close()
