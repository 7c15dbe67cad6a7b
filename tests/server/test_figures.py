"""Lines and totals from the counters of real tracks; the connections are stood in for."""

from __future__ import annotations

import asyncio
import time
from types import SimpleNamespace
from typing import Any, cast

from aiortc.rtp import RtcpReceiverInfo
from far_end import Wire, packet, track

from server.figures import DEAF_NS, LATE_SAMPLES, SEND_NS, Figures
from server.sfu.downtrack import Counts
from server.sfu.reception import Reception
from server.sfu.uptrack import UpTrack

SECOND = 1_000_000_000


class Sent:
    """Stands where a down track stands."""

    def __init__(self, up: UpTrack) -> None:
        self.packets = 0
        self._up = up

    @property
    def counts(self) -> Counts:
        return Counts(self.packets, 0, self._up.lost, self._up.missed)


class Scene:
    """One person who sends a picture, and one who receives it, second by second."""

    def __init__(self) -> None:
        self.up = track(Wire())
        self.reception = Reception()
        self.down = Sent(self.up)
        self.subscriber = SimpleNamespace(
            sending=[(self.up, self.down, self.reception)], heard_ns=0, rejected=0, limit_bps=None
        )
        self.members: dict[str, Any] = {
            "a": SimpleNamespace(participant_id="a", publisher=None, subscriber=None, receiving=[]),
            "b": SimpleNamespace(
                participant_id="b", publisher=None, subscriber=self.subscriber, receiving=[]
            ),
        }
        self.figures = Figures(
            cast(Any, SimpleNamespace(ups={"cam-1": self.up})),
            self.members,
            cast(Any, SimpleNamespace(tap=None, replaced=0)),
        )
        # What stands in is no part whose counters are known; totals have tests of their own.
        self.figures.look = lambda: None  # type: ignore[method-assign]
        # The track's own timers read the clock: its packets are never older than that.
        self.now_ns = time.monotonic_ns()
        self.sequence = 0
        self.told: dict[str, Any] = {}
        self.lag_ms = 0.0

    async def second(self, *, up_lost: int = 0, down_lost: int = 0, packets: int = 100) -> None:
        """A second passes, in which ``packets`` were sent and of these some lost on the way."""
        for n in range(packets):
            self.sequence += 1
            if n >= up_lost:
                self.up.layers[0].receive(packet(self.sequence), self.now_ns)
        self.down.packets += packets - up_lost
        if self.subscriber.heard_ns or packets:
            self.subscriber.heard_ns = self.now_ns
        if down_lost + up_lost:
            # The receiver misses also what never reached the server.
            first = self.sequence - down_lost - up_lost
            self.reception.asked(range(first, first + down_lost + up_lost))
        # The server asks for what is missing a moment later.
        await asyncio.sleep(0.03)
        self.now_ns += SECOND
        message = self.figures.sample(self.now_ns)
        if message is not None:
            self.told = message["participants"]
            self.lag_ms = message["server"]["lag_ms"]


async def test_nothing_is_known_before_anything_flows() -> None:
    scene = Scene()
    await scene.second(packets=0)
    assert scene.told["a"] == {
        "class": None,
        "up_loss": None,
        "down_loss": None,
        "rtt_ms": None,
        "limit_bps": None,
    }


async def test_a_senders_loss_is_theirs_alone() -> None:
    scene = Scene()
    for _ in range(8):
        await scene.second(up_lost=12)
    assert scene.told["a"]["class"] == "weak"
    assert 0.1 <= scene.told["a"]["up_loss"] < 0.15
    assert scene.told["b"]["class"] == "good"
    assert scene.told["b"]["down_loss"] <= 0.03
    scene.up.close()


async def test_a_receivers_loss_is_theirs_alone() -> None:
    scene = Scene()
    for _ in range(8):
        await scene.second(down_lost=20)
    assert scene.told["a"]["class"] == "good"
    assert scene.told["b"]["class"] == "bad"
    assert scene.told["b"]["down_loss"] == 0.2
    scene.up.close()


async def test_a_sender_who_falls_silent_is_bad_and_comes_back() -> None:
    scene = Scene()
    for _ in range(3):
        await scene.second()
    for _ in range(6):
        await scene.second(packets=0)
    assert (scene.told["a"]["class"], scene.told["a"]["up_loss"]) == ("bad", 1.0)
    for _ in range(10):
        await scene.second()
    assert (scene.told["a"]["class"], scene.told["a"]["up_loss"]) == ("good", 0.0)
    scene.up.close()


async def test_a_receiver_who_no_longer_reports_is_bad() -> None:
    scene = Scene()
    for _ in range(3):
        await scene.second()
    scene.down.packets += 1000
    scene.now_ns = scene.subscriber.heard_ns + DEAF_NS + 1
    scene.figures.sample(scene.now_ns)
    message = scene.figures.sample(scene.now_ns + SECOND)
    assert message is not None
    assert message["participants"]["b"] == {
        "class": "bad",
        "up_loss": None,
        "down_loss": 1.0,
        "rtt_ms": None,
        "limit_bps": None,
    }
    scene.up.close()


async def test_round_trip() -> None:
    scene = Scene()
    report = b"\x80\xc8\0\6" + b"\0\0\0c" + bytes.fromhex("0000000100010000") + bytes(12)
    scene.reception.sent(report, scene.now_ns)
    scene.reception.reported(
        RtcpReceiverInfo(99, 0, 0, 0, 0, 0x10001, 0), scene.now_ns + 83_400_000
    )
    await scene.second()
    assert scene.told["b"]["rtt_ms"] == 83


async def test_not_more_often_than_every_two_seconds_but_at_once_on_a_change() -> None:
    scene = Scene()
    for _ in range(6):
        await scene.second()
    told = []
    for _ in range(6):
        scene.told = {}
        await scene.second()
        told.append(bool(scene.told))
    assert told in ([True, False] * 3, [False, True] * 3)
    assert SEND_NS == 2 * SECOND
    scene.told = {}
    if not told[-1]:
        await scene.second()
    # Told this second, again in two; but a class changes in one.
    scene.figures._lines["a"].grade.take(0.9)
    scene.told = {}
    await scene.second(up_lost=90)
    assert scene.told["a"]["class"] == "weak"
    scene.up.close()


async def test_whoever_left_is_forgotten() -> None:
    scene = Scene()
    await scene.second()
    await scene.second()
    del scene.members["b"]
    await scene.second()
    assert set(scene.told) == {"a"}
    scene.up.close()


async def test_the_longest_lateness_of_the_last_seconds_is_told() -> None:
    scene = Scene()
    for late_s in (0.001, 0.0123, -0.002):
        scene.figures.late(late_s)
    await scene.second()
    await scene.second()
    assert scene.lag_ms == 12.3
    for _ in range(LATE_SAMPLES):
        scene.figures.late(0.0004)
    await scene.second()
    await scene.second()
    assert scene.lag_ms == 0.4
    scene.up.close()
