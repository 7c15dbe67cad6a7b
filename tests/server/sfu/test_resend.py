"""What a receiver is sent beside its stream: what it lacks, and what tries its line."""

from __future__ import annotations

import pytest
from aiortc.rtp import RtpPacket
from far_end import Wire, down, packet, track

from server.sfu import rtp
from server.sfu.allowance import Allowance
from server.sfu.downtrack import DownTrack
from server.sfu.layer import HISTORY
from server.sfu.resend import MAX_RESEND_NS, MAX_RETRANSMISSIONS, RESEND_NS
from server.sfu.uptrack import UpTrack

MS = 1_000_000
RTX, RTX_SSRC = 97, 98


def receiving(*, apart: bool = True, sent: int = 5) -> tuple[UpTrack, DownTrack, Wire]:
    """A receiver that was sent the packets from 10 on, with or without a stream for more."""
    out, up = Wire(), track(Wire())
    receiver = down(out, up)
    if apart:
        receiver.again.use_stream(RTX, RTX_SSRC)
    up.attach(receiver)
    send(up, 10, sent)
    out.rtp.clear()
    return up, receiver, out


def send(up: UpTrack, first: int, count: int) -> None:
    for n in range(first, first + count):
        up.layers[0].receive(packet(n, 3000 * n, bytes([n & 0xFF]) * 100), 1)


def pause(up: UpTrack, receiver: DownTrack, *, long: bool) -> None:
    """Send the receiver nothing more; after a long one nothing of what it was sent is kept."""
    up.set_level(receiver, None)
    if long:
        send(up, 15, HISTORY)


def test_the_line_is_tried_with_the_newest_packets_once_more() -> None:
    _, receiver, out = receiving()
    assert receiver.can_probe
    assert receiver.probe(300) == 2 * 112
    again = [RtpPacket.parse(one) for one in out.rtp]
    assert [(one.payload_type, one.ssrc) for one in again] == [(RTX, RTX_SSRC)] * 2
    assert [int.from_bytes(one.payload[:2]) for one in again] == [14, 13]
    assert [one.payload[2:] for one in again] == [bytes([14]) * 100, bytes([13]) * 100]
    assert (receiver.again.probed, receiver.again.retransmitted) == (2, 0)


def test_in_a_pause_the_line_is_tried_with_padding_alone() -> None:
    up, receiver, out = receiving()
    receiver.probe(150)
    (before,) = out.rtp
    out.rtp.clear()
    pause(up, receiver, long=True)
    assert out.rtp == []
    assert receiver.probe(1000) == 3 * 255
    for number, one in enumerate(out.rtp, int.from_bytes(before[2:4]) + 1):
        first, second, sequence, _, ssrc = rtp.HEADER.unpack_from(one)
        # RFC 3550, 5.1: the P bit, and a last byte that counts the padding, itself included.
        assert (first, second, sequence, ssrc) == (0xA0, RTX, number, RTX_SSRC)
        assert one[-1] == len(one) - rtp.HEADER_BYTES == 255
        assert RtpPacket.parse(one).payload == b""
        # Whoever undoes retransmissions finds none in it.
        assert rtp.undo_retransmission(one, 96, 99) is None
    assert len(out.rtp) == 3
    assert (receiver.again.probed, receiver.again.retransmitted) == (4, 0)
    assert receiver.again.probed_octets == 100 + 3 * 255


def test_padding_is_never_more_than_there_is_room_for() -> None:
    up, receiver, out = receiving()
    pause(up, receiver, long=True)
    assert receiver.probe(254) == 0
    assert out.rtp == []
    assert receiver.probe(1e9) == MAX_RETRANSMISSIONS * 255
    assert len(out.rtp) == MAX_RETRANSMISSIONS


@pytest.mark.parametrize("long", [None, False, True])
def test_without_a_stream_for_it_no_line_is_tried(long: bool | None) -> None:
    up, receiver, out = receiving(apart=False)
    if long is not None:
        pause(up, receiver, long=long)
    assert not receiver.can_probe
    assert receiver.probe(1e6) == 0
    assert out.rtp == []
    assert receiver.again.probed == receiver.again.octets == 0


def test_no_line_is_tried_before_anything_was_sent() -> None:
    out, up = Wire(), track(Wire())
    receiver = down(out, up)
    receiver.again.use_stream(RTX, RTX_SSRC)
    assert not receiver.can_probe
    assert receiver.probe(1e6) == 0
    assert out.rtp == []


def test_in_a_pause_nothing_is_sent_again() -> None:
    up, receiver, out = receiving()
    pause(up, receiver, long=False)
    assert receiver.layer is None
    # It is all still kept, and would be sent to one that is not in a pause.
    assert up.layers[0].history(12) is not None
    receiver.retransmit([11, 12, 13, 14], MS)
    assert out.rtp == []
    assert receiver.again.retransmitted == 0


@pytest.mark.parametrize(
    ("round_trip_ms", "wait_ns"),
    [
        (None, RESEND_NS),
        (0.0, RESEND_NS),
        (5.0, RESEND_NS),
        (100.0, 80 * MS),
        (240.0, 192 * MS),
        (60_000.0, MAX_RESEND_NS),
    ],
)
def test_what_is_on_its_way_is_not_sent_again(round_trip_ms: float | None, wait_ns: int) -> None:
    assert (RESEND_NS, MAX_RESEND_NS) == (10 * MS, 200 * MS)
    _, receiver, out = receiving()
    receiver.again.wait_for(round_trip_ms)
    start_ns = 1000 * MS
    for at_ns in (0, 1, wait_ns // 2, wait_ns - 1):
        receiver.retransmit([12], start_ns + at_ns)
    assert len(out.rtp) == 1
    receiver.retransmit([12, 13], start_ns + wait_ns)
    assert [int.from_bytes(one[12:14]) for one in out.rtp] == [12, 12, 13]


def test_what_the_budget_refuses_may_be_asked_for_again_at_once() -> None:
    _, receiver, out = receiving()
    receiver.again.budget = Allowance(112, 112)
    receiver.retransmit([11, 12], 1)
    assert [int.from_bytes(one[12:14]) for one in out.rtp] == [11]
    receiver.again.budget.change(1000, 1e12)
    receiver.retransmit([11, 12], 2)
    assert [int.from_bytes(one[12:14]) for one in out.rtp] == [11, 12]
