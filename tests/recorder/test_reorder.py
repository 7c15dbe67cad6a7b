"""Order, repetition and loss of RTP packets."""

from __future__ import annotations

import random

from hypothesis import given, settings
from hypothesis import strategies as st
from rtp_streams import rtp

from recorder.reorder import MAX_HELD_BYTES, MAX_HELD_PACKETS, Reorder
from recorder.units import Depacketizer

SSRC = 7
WAIT_US = 100_000


class Noted(Depacketizer):
    """A depacketizer that only writes down what it is given."""

    def __init__(self) -> None:
        super().__init__(lambda unit: None)
        self.seen: list[tuple[str, int]] = []

    def push(
        self,
        packet: bytes,
        start: int,
        end: int,
        marker: bool,
        timestamp: int,
        seq: int,
        arrival_us: int,
    ) -> None:
        self.seen.append((packet[start:end].decode(), seq))

    def lose(self, packets: int) -> None:
        self.seen.append(("lost", packets))


def made() -> tuple[Reorder, Noted]:
    sink = Noted()
    return Reorder(SSRC, WAIT_US, sink, lambda arrival_us: None), sink


def packet(number: int) -> bytes:
    return rtp(number, number * 960, SSRC, str(number).encode())


def test_in_order_over_the_end_of_the_count() -> None:
    order, sink = made()
    for number in range(65530, 65542):
        order.push(packet(number), number)
    assert [int(text) for text, _ in sink.seen] == list(range(65530, 65542))
    sequence = [seq for _, seq in sink.seen]
    assert sequence == list(range(sequence[0], sequence[0] + 12))
    assert sequence[0] & 0xFFFF == 65530


def test_a_late_packet_is_waited_for_and_then_given_up() -> None:
    order, sink = made()
    order.push(packet(1), 0)
    order.push(packet(3), 1000)
    order.push(packet(4), 2000)
    assert [text for text, _ in sink.seen] == ["1"]
    order.push(packet(2), 90_000)
    assert [text for text, _ in sink.seen] == ["1", "2", "3", "4"]
    order.push(packet(6), 200_000)
    order.expire(200_000 + WAIT_US - 1)
    assert sink.seen[-1][0] == "4"
    order.expire(200_000 + WAIT_US)
    assert sink.seen[-2:] == [("lost", 1), ("6", sink.seen[-1][1])]
    order.push(packet(5), 400_000)
    assert order.duplicates == 1
    assert order.lost == 1


def test_each_hole_has_its_own_wait() -> None:
    order, sink = made()
    order.push(packet(1), 0)
    order.push(packet(3), 10_000)
    order.push(packet(5), 80_000)
    order.expire(110_000)
    assert [text for text, _ in sink.seen] == ["1", "lost", "3"]
    order.expire(179_999)
    assert [text for text, _ in sink.seen] == ["1", "lost", "3"]
    order.expire(180_000)
    assert [text for text, _ in sink.seen] == ["1", "lost", "3", "lost", "5"]


def test_a_long_outage_is_one_hole() -> None:
    order, sink = made()
    order.push(packet(1), 0)
    order.push(packet(20_001), 1000)
    order.expire(1000 + WAIT_US)
    assert sink.seen[1] == ("lost", 19_999)


def test_a_sender_that_jumps_back_is_followed() -> None:
    order, sink = made()
    order.push(packet(50_000), 0)
    order.push(packet(1_000 + 30_000), 1)
    order.push(packet(1_001 + 30_000), 2)
    order.push(packet(1_002 + 30_000), 3)
    assert [text for text, _ in sink.seen] == ["50000", "lost", "31001", "31002"]
    assert order.unusable == 1


def test_what_is_held_is_bounded() -> None:
    order, sink = made()
    order.push(packet(0), 0)
    for number in range(2, MAX_HELD_PACKETS + 10):
        order.push(packet(number), 1)
    assert ("lost", 1) in sink.seen
    order, sink = made()
    order.push(packet(0), 0)
    large = bytes(60_000)
    for number in range(2, MAX_HELD_BYTES // 60_000 + 4):
        order.push(rtp(number, 0, SSRC, large), 1)
    assert sink.seen[1] == ("lost", 1)


def test_padding_extensions_and_sources() -> None:
    """RFC 3550, 5.1 and 5.3.1: only the payload is handed on; what makes no sense is lost."""
    order, sink = made()
    plain = packet(1)
    extended = bytes([plain[0] | 0x10]) + packet(2)[1:12] + b"\xbe\xde\x00\x01abcd" + b"2"
    padded = bytes([plain[0] | 0x20]) + packet(3)[1:] + b"\x00\x00\x03"
    sources = bytes([plain[0] | 0x02]) + packet(4)[1:12] + bytes(8) + b"4"
    only_padding = bytes([plain[0] | 0x20]) + packet(5)[1:12] + b"\x00\x02"
    for each in (plain, extended, padded, sources, only_padding):
        order.push(each, 0)
    assert [text for text, _ in sink.seen] == ["1", "2", "3", "4", ""]
    too_long = bytes([plain[0] | 0x10]) + packet(6)[1:12] + b"\xbe\xde\x00\xff"
    no_extension = bytes([plain[0] | 0x10]) + packet(7)[1:12]
    bad_padding = bytes([plain[0] | 0x20]) + packet(8)[1:] + b"\xff"
    no_padding = bytes([plain[0] | 0x20]) + packet(9)[1:] + b"\x00"
    for each in (too_long, no_extension, bad_padding, no_padding):
        order.push(each, 0)
    assert sink.seen[5:] == [("lost", 1)] * 4
    for other in (b"", b"\x80\x60", rtp(10, 0, SSRC + 1, b"x"), b"\x40" + packet(10)[1:]):
        order.push(other, 0)
    assert order.unusable == 8
    assert len(sink.seen) == 9


@settings(max_examples=150, deadline=None)
@given(seed=st.integers(0, 1 << 30))
def test_every_packet_once_in_order_or_lost(seed: int) -> None:
    """Whatever the network does, what comes out is the sequence with its holes named."""
    chance = random.Random(seed)
    first = chance.randrange(65536)
    arrivals = []
    for index in range(200):
        if index and chance.random() < 0.1:
            continue
        at_us = index * 5_000
        late_us = chance.choice((0, 0, 0, 12_000, 60_000, 250_000)) if index else 0
        arrivals.append((at_us + late_us, index))
        if chance.random() < 0.1:
            arrivals.append((at_us + late_us + 7_000, index))
    arrivals.sort()
    order, sink = made()
    for at_us, index in arrivals:
        order.push(rtp(first + index, 0, SSRC, str(index).encode()), at_us)
        if chance.random() < 0.2:
            state = order.snapshot()
            order = Reorder(SSRC, WAIT_US, sink, lambda arrival_us: None)
            order.restore(state)
    order.flush()
    expected = 0
    for text, number in sink.seen:
        if text == "lost":
            expected += number
        else:
            assert int(text) == expected
            assert (number - first) & 0xFFFF == expected
            expected += 1
    assert order.lost == sum(number for text, number in sink.seen if text == "lost")
