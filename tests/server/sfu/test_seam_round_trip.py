"""Two transports of ours joined on loopback: what they learn of the line before any media."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable
from typing import Any

import pytest
from aiortc import RTCCertificate

from server.sfu.binding import Binding
from server.sfu.port import MediaPort, MediaPorts
from server.sfu.seam import MediaTransport

CERTIFICATE = RTCCertificate.generateCertificate()


class Ends:
    """Two transports, each at a port of its own; what is not media takes ``delay_s`` each way."""

    def __init__(self, delay_s: float) -> None:
        self._ports = [MediaPorts(Binding("127.0.0.1")) for _ in range(2)]
        for ports in self._ports:
            for port in ports.open():
                self._slow(port, delay_s)
        self.both = [
            MediaTransport(CERTIFICATE, ports, controlling=number == 0)
            for number, ports in enumerate(self._ports)
        ]

    async def join(self) -> None:
        """Until keys are agreed at both ends."""
        one, other = self.both
        lines = [await end.gather() for end in self.both]
        for end, far, candidates, role in (
            (one, other, lines[1], "client"),
            (other, one, lines[0], "server"),
        ):
            for line in candidates:
                end.add_remote_candidate(line)
            end.start(far.ice_parameters, far.fingerprints, dtls_role=role)
        async with asyncio.timeout(20):
            while not all(end.connected for end in self.both):
                await asyncio.sleep(0.01)

    async def close(self) -> None:
        await asyncio.gather(*(end.close() for end in self.both))
        for ports in self._ports:
            ports.close()

    @staticmethod
    def _slow(port: MediaPort, delay_s: float) -> None:
        send: Callable[..., None] = port.send
        loop = asyncio.get_running_loop()

        def later(*fields: Any) -> None:
            loop.call_later(delay_s, send, *fields)

        port.send = later  # type: ignore[method-assign]


@pytest.mark.parametrize("delay_s", [0.0, 0.1])
async def test_the_round_trip_is_that_of_the_checks_of_ice(delay_s: float) -> None:
    ends = Ends(delay_s)
    try:
        assert [end.round_trip_ms for end in ends.both] == [None, None]
        started = time.monotonic()
        await ends.join()
        took_ms = (time.monotonic() - started) * 1000
        for end in ends.both:
            assert end.round_trip_ms is not None
            # The check and its answer; a machine that is busy takes longer, never less.
            assert 2000 * delay_s <= end.round_trip_ms <= took_ms
    finally:
        await ends.close()
