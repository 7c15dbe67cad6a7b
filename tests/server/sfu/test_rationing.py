"""What a receiver's line is blamed for, and what not."""

from __future__ import annotations

from typing import Any

from aiortc.rtp import RtcpReceiverInfo

from server.sfu import rtp
from server.sfu.downtrack import DownTrack
from server.sfu.rationing import TICK_S, Rationing
from server.sfu.reception import Reception
from server.sfu.uptrack import UpTrack

SECOND = 1_000_000_000
TICK = int(TICK_S * SECOND)
KEY_FRAME = b"\x10\x10\x02\x00\x9d\x01\x2a\x80\x02\x68\x01" + b"x" * 900


class Wire:
    """Takes everything."""

    def send(self, *fields: Any) -> None:
        """A packet."""

    def send_rtcp(self, packet: bytes) -> None:
        """A report."""


class Receiver:
    """One receiver of one picture, by hand."""

    def __init__(self) -> None:
        self.up = UpTrack("cam-1", "a", "camera", "VP8", 90000, 10**9)
        self.up.bind(Wire(), 1, 96, 9)  # type: ignore[arg-type]
        self.down = DownTrack(Wire(), self.up, 7, 96)  # type: ignore[arg-type]
        self.up.attach(self.down)
        self.reception = Reception()
        self.told: list[Any] = []
        self.rationing = Rationing(self.told.append)
        self.now_ns = 1000 * SECOND
        self.number = 0
        self.lacking = 0
        self.heard_ns = self.now_ns

    def packets(self, count: int) -> None:
        """So many packets arrive from the publisher, and go on."""
        for _ in range(count):
            packet = rtp.HEADER.pack(0x80, 0xE0, self.number & 0xFFFF, self.number * 3000, 1)
            self.up.layers[0].receive(packet + KEY_FRAME, self.now_ns)
            self.number += 1

    def report(self, lost: int) -> None:
        """The receiver says that it lacks so many more."""
        self.lacking += lost
        self.heard_ns = self.now_ns
        info = RtcpReceiverInfo(
            ssrc=7,
            fraction_lost=0,
            packets_lost=self.lacking,
            highest_sequence=0,
            jitter=0,
            lsr=0,
            dlsr=0,
        )
        self.reception.reported(info, self.now_ns)

    def tick(self, late_ns: int = 0) -> None:
        self.now_ns += TICK + late_ns
        self.rationing.tick([(self.up, self.down, self.reception)], self.now_ns, self.heard_ns)

    def run(self, ticks: int, lost: int = 0) -> None:
        for _ in range(ticks):
            self.packets(100)
            self.report(lost)
            self.tick()


async def test_a_line_that_loses_most_is_blamed() -> None:
    one = Receiver()
    one.run(10)
    one.run(4, lost=60)
    assert one.rationing.estimate.bps is not None


async def test_what_did_not_reach_us_is_not_the_receivers_line() -> None:
    one = Receiver()
    one.run(10)
    # A hole on the way to us, of which the receiver tells a moment later than we know it.
    one.number += 700
    one.run(1)
    one.run(1, lost=700)
    one.run(8)
    assert one.rationing.estimate.bps is None
    assert one.down.layer is not None
    one.run(4, lost=60)
    assert one.rationing.estimate.bps is not None


async def test_what_is_seen_when_we_were_late_is_not_the_receivers_line() -> None:
    one = Receiver()
    one.run(10)
    one.packets(100)
    one.report(80)
    one.tick(late_ns=SECOND)
    one.run(1, lost=80)
    assert one.rationing.estimate.bps is None


async def test_a_line_that_was_cut_is_not_narrow() -> None:
    one = Receiver()
    one.run(10)
    for _ in range(10):
        one.packets(100)
        one.tick()
    one.run(1, lost=600)
    one.run(1, lost=400)
    one.run(10)
    assert one.rationing.estimate.bps is None
    one.run(4, lost=60)
    assert one.rationing.estimate.bps is not None
