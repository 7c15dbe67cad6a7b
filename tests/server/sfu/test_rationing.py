"""What a receiver's line is blamed for, what may be sent again on it, and how it is tried."""

from __future__ import annotations

from typing import Any

import pytest
from aiortc.rtp import RtcpReceiverInfo
from hypothesis import given
from hypothesis import strategies as st

from server.sfu import rationing, rtp
from server.sfu.downtrack import DownTrack
from server.sfu.layer import PACKET_OVERHEAD
from server.sfu.rationing import TICK_S, Rationing
from server.sfu.reception import Reception
from server.sfu.uptrack import UpTrack

SECOND = 1_000_000_000
TICK = int(TICK_S * SECOND)
KEY_FRAME = b"\x10\x10\x02\x00\x9d\x01\x2a\x80\x02\x68\x01" + b"x" * 900
SOUND = b"x" * 100


class Wire:
    """Takes everything."""

    def send(self, *fields: Any) -> None:
        """A packet."""

    def send_rtcp(self, packet: bytes) -> None:
        """A report."""


class Receiver:
    """One receiver of one picture, or of sound, by hand."""

    def __init__(self, *, sound: bool = False) -> None:
        if sound:
            self.up = UpTrack("mic-1", "a", "microphone", "opus", 48000, 10**9)
        else:
            self.up = UpTrack("cam-1", "a", "camera", "VP8", 90000, 10**9)
        self.body = SOUND if sound else KEY_FRAME
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
            self.up.layers[0].receive(packet + self.body, self.now_ns)
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

    def run(self, ticks: int, lost: int = 0, count: int = 100) -> None:
        for _ in range(ticks):
            self.packets(count)
            self.report(lost)
            self.tick()

    def beg(self, seconds: int, count: int) -> int:
        """Lack everything for so long, and ask for it all the time; bytes of what comes of it."""
        before, size = self.down.again.retransmitted, rtp.HEADER_BYTES + len(self.body)
        for _ in range(seconds * 2):
            self.packets(count)
            self.report(0)
            for _ in range(20):
                self.now_ns += TICK // 20
                newest = self.number - 1
                asked = range(max(newest - 63, 0), newest + 1)
                self.down.retransmit([number & 0xFFFF for number in asked], self.now_ns)
            self.now_ns -= TICK
            self.tick()
        return (self.down.again.retransmitted - before) * size


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


def rate_bps(count: int, body: bytes) -> float:
    """What ``count`` packets in each tick take."""
    return count * (rtp.HEADER_BYTES + PACKET_OVERHEAD + len(body)) * 8 / TICK_S


@pytest.mark.parametrize("count", [100, 5])
async def test_pictures_are_sent_again_within_bounds_before_any_limit_is_known(count: int) -> None:
    one = Receiver()
    one.run(10, count=count)
    again = one.beg(10, count)
    assert one.rationing.estimate.bps is None
    share = rate_bps(count, KEY_FRAME) * rationing.FREE_REPAIR_SHARE
    allowed_bps = max(share, rationing.LEAST_REPAIR_BPS)
    assert (allowed_bps == share) == (count == 100)
    most = allowed_bps / 8 * (10 + rationing.FREE_REPAIR_BURST_S)
    assert 0.9 * most < again <= most


@pytest.mark.parametrize("count", [25, 2])
async def test_sound_is_sent_again_within_bounds_too(count: int) -> None:
    one = Receiver(sound=True)
    one.run(20, count=count)
    again = one.beg(10, count)
    own = rate_bps(count, SOUND) * rationing.SOUND_REPAIR_SHARE
    allowed_bps = max(own, rationing.LEAST_SOUND_REPAIR_BPS)
    assert (allowed_bps == own) == (count == 25)
    most = allowed_bps / 8 * (10 + rationing.FREE_REPAIR_BURST_S)
    assert 0.9 * most < again <= most


async def test_what_is_sent_again_of_pictures_takes_nothing_of_sound_s() -> None:
    picture, sound = Receiver(), Receiver(sound=True)
    sending = [(one.up, one.down, one.reception) for one in (picture, sound)]
    made = Rationing(lambda told: None)
    for n in range(4):
        picture.packets(100)
        sound.packets(25)
        made.tick(sending, picture.now_ns + n * TICK, 0)
    now_ns = picture.now_ns + 3 * TICK
    pictures, sounds = picture.down.again.budget, sound.down.again.budget
    assert pictures is not None
    assert sounds is not None
    while pictures.take(900, now_ns):
        pass
    assert sounds.take(rationing.LEAST_SOUND_REPAIR_BPS / 8, now_ns)


@given(st.lists(st.integers(1_000_000, TICK), min_size=5, max_size=60), st.booleans())
def test_portions_of_a_trial_add_up_to_its_rate(waits_ns: list[int], paused: bool) -> None:
    one = Receiver()
    one.down.again.use_stream(97, 8)
    one.run(4)
    if paused:
        # What was sent is no longer kept.
        one.up.set_level(one.down, None)
        one.packets(1024)
    sending = [(one.up, one.down, one.reception)]
    more_bps = 200_000
    one.rationing.estimate.probe_bps = one.rationing.sent_bps + more_bps
    one.rationing.probe(sending, one.now_ns)
    before, packets = one.down.again.probed_octets, one.down.again.probed
    for wait_ns in waits_ns:
        one.now_ns += wait_ns
        one.rationing.probe(sending, one.now_ns)
    again = one.down.again
    sent = (
        again.probed_octets
        - before
        + (0 if paused else rtp.HEADER_BYTES * (again.probed - packets))
    )
    packet = 255 if paused else rtp.HEADER_BYTES + len(KEY_FRAME)
    # What does not fill a packet is sent with the next portion.
    assert abs(sent - more_bps / 8 * sum(waits_ns) / SECOND) <= packet
    one.rationing.estimate.probe_bps = 0
    one.now_ns += TICK
    after = again.probed
    one.rationing.probe(sending, one.now_ns)
    assert again.probed == after


async def test_the_time_of_a_pause_between_trials_is_not_made_up() -> None:
    one = Receiver()
    one.down.again.use_stream(97, 8)
    one.run(4)
    sending = [(one.up, one.down, one.reception)]
    one.rationing.estimate.probe_bps = one.rationing.sent_bps + 400_000
    one.now_ns += 60 * SECOND
    one.rationing.probe(sending, one.now_ns)
    assert one.down.again.probed_octets <= 400_000 / 8 * TICK_S


async def test_the_first_portion_of_a_trial_is_one_portion() -> None:
    one = Receiver()
    one.down.again.use_stream(97, 8)
    one.run(4)
    one.rationing.estimate.probe_bps = one.rationing.sent_bps + 400_000
    one.rationing.probe([(one.up, one.down, one.reception)], one.now_ns + SECOND // 20)
    assert 0 < one.down.again.probed_octets <= 400_000 / 8 / 20
