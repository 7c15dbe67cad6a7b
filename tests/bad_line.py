"""A bad line, by seed: what a network does to datagrams, and a relay that does it to real ones.

The relay stands on :data:`OUTSIDE`, at the same ports as the server's media sockets on
:data:`INSIDE`, and the server announces that address (as behind a 1:1 NAT). It knows nothing of
what it carries, so browsers and headless terminals meet the same line, and the server is as it is.
"""

from __future__ import annotations

import asyncio
import contextlib
import heapq
import random
import socket
from collections.abc import AsyncIterator
from dataclasses import dataclass, replace
from typing import Any

import pytest

from server.sfu import seam

INSIDE, OUTSIDE = "127.0.0.1", "127.0.0.2"
PORTS = 12
"""Media sockets that a test's server may have at a time."""

BUFFER_BYTES = 4 << 20


@dataclass(frozen=True)
class Trouble:
    """What happens to datagrams in one direction. Shares are 0 to 1, times seconds."""

    loss: float = 0.0
    delay_s: float = 0.0
    jitter_s: float = 0.0
    """Added to the delay, evenly from none to all of it: more than a packet's time reorders."""
    duplicate: float = 0.0
    rate_bps: float = 0.0
    """0: no limit."""
    queue_s: float = 0.2
    """What does not fit into the rate waits at most this long, and is dropped then."""
    cut: bool = False


class Line:
    """One direction of a line. Two lines with the same seed treat the same datagrams alike."""

    def __init__(self, trouble: Trouble, seed: int) -> None:
        self.trouble = trouble
        self.sent = self.dropped = 0
        self._draw = random.Random(seed)
        self._free_s = 0.0

    def arrivals(self, now_s: float, size: int) -> list[float]:
        """When a datagram that is sent now comes out: not at all, once, or more often."""
        trouble, draw = self.trouble, self._draw.random
        self.sent += 1
        # Always the same number of draws, so that one datagram's fate is not another's.
        lost, again, late, later = draw(), draw(), draw(), draw()
        start_s = now_s
        if trouble.rate_bps:
            start_s = max(now_s, self._free_s)
            if start_s - now_s > trouble.queue_s:
                self.dropped += 1
                return []
            self._free_s = start_s = start_s + size * 8 / trouble.rate_bps
        if trouble.cut or lost < trouble.loss:
            self.dropped += 1
            return []
        times = [start_s + trouble.delay_s + late * trouble.jitter_s]
        if again < trouble.duplicate:
            times.append(start_s + trouble.delay_s + later * trouble.jitter_s)
        return times


class Flow(asyncio.DatagramProtocol):
    """One client's datagrams to and from one media socket of the server."""

    def __init__(self, relay: BadLine, port: int, client: tuple[str, int], seed: int) -> None:
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
        self._server = transport
        for data in self._early:
            transport.sendto(data)
        self._early.clear()

    def datagram_received(self, data: bytes, addr: Any) -> None:
        self._relay.later(self.down, data, self._to_client)

    def from_client(self, data: bytes) -> None:
        if 127 < data[0] < 192 and not 191 < data[1] < 224:
            self.media_up += 1
        self._relay.later(self.up, data, self._to_server)

    def close(self) -> None:
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
    """The relay. Use as ``async with bad_line(trouble, seed) as line``; set ``overrides``."""

    def __init__(self, trouble: Trouble, seed: int, first_port: int) -> None:
        self.trouble = trouble
        self.first_port = first_port
        self.flows: dict[tuple[int, tuple[str, int]], Flow] = {}
        self._seed = seed
        self._fronts: dict[int, asyncio.DatagramTransport] = {}
        self._tasks: set[asyncio.Task[Any]] = set()
        self._due: list[tuple[float, int, Any, bytes]] = []
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

    def flow(self, port: int, client: tuple[str, int]) -> Flow:
        """The flow of a client's datagrams to this port."""
        found = self.flows.get((port, client))
        if found is None:
            self._seed += 2
            found = self.flows[port, client] = Flow(self, port, client, self._seed)
            connecting = asyncio.get_running_loop().create_datagram_endpoint(
                lambda: found, local_addr=(OUTSIDE, 0), remote_addr=(INSIDE, port)
            )
            task = asyncio.ensure_future(connecting)
            self._tasks.add(task)
            task.add_done_callback(self._tasks.discard)
        return found

    def later(self, line: Line, data: bytes, deliver: Any) -> None:
        """Deliver a datagram when the line does."""
        now_s = asyncio.get_running_loop().time()
        for at_s in line.arrivals(now_s, len(data)):
            self._count += 1
            heapq.heappush(self._due, (at_s, self._count, deliver, data))
        self._deliver()

    def send(self, port: int, data: bytes, client: tuple[str, int]) -> None:
        front = self._fronts.get(port)
        if front is not None and not front.is_closing():
            front.sendto(data, client)

    async def open(self) -> None:
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
    raise AssertionError("no free ports for the relay")


@contextlib.asynccontextmanager
async def bad_line(trouble: Trouble, seed: int) -> AsyncIterator[BadLine]:
    """A relay with this trouble in both directions of every flow.

    The server, in this process, is kept from learning the terminals' own addresses: it would find
    the straight way to them on the same machine.
    """
    line = BadLine(trouble, seed, _free_ports())
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(seam.MediaTransport, "add_remote_candidate", lambda self, text: None)
        try:
            await line.open()
            yield line
        finally:
            line.close()
