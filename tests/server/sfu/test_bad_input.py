"""What no honest terminal sends: nothing raises, nothing grows, and others are not disturbed."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Awaitable, Callable
from typing import Any, cast

import pytest
from aiortc import RTCCertificate, RTCIceParameters
from aiortc.rtp import RtcpRtpfbPacket
from far_end import Wire, packet
from hypothesis import given, settings
from hypothesis import strategies as st

from server.sfu import describe, layer, repair, resend, rtp, sdp
from server.sfu.binding import Binding
from server.sfu.port import MediaPorts
from server.sfu.publish_peer import MAX_LEARNED_SSRCS, SILENCED_ROUNDS, PublishPeer
from server.sfu.subscribe_peer import SubscribePeer
from server.sfu.uptrack import UpTrack

CERTIFICATE = RTCCertificate.generateCertificate()
PORTS = MediaPorts(Binding("127.0.0.1"))
"""Never opened: the connections here have a wire of their own."""

SSRC, RTX_SSRC, MID_EXTENSION = 1111, 2222, 4
VIDEO = sdp.Codec("VP8", 96, 97)

# RTP as it may be after decryption: a header of at least 12 bytes, of which nothing else is sure.
rtp_packets = st.builds(
    lambda first, second, sequence, timestamp, ssrc, rest: (
        rtp.HEADER.pack(first, second, sequence, timestamp, ssrc) + rest
    ),
    st.one_of(st.just(0x80), st.just(0x90), st.integers(0, 255)),
    st.one_of(st.sampled_from([96, 97, 224, 225]), st.integers(0, 255)),
    st.integers(0, 0xFFFF),
    st.integers(0, 0xFFFFFFFF),
    st.one_of(st.sampled_from([SSRC, RTX_SSRC]), st.integers(0, 0xFFFFFFFF)),
    st.one_of(st.binary(max_size=40), st.just(b"\xbe\xde\x00\x01\x401\x00\x00x")),
)


def _rtcp(count: int, kind: int, length: int, body: bytes) -> bytes:
    return bytes([0x80 | count, kind]) + length.to_bytes(2) + body


rtcp_packets = st.one_of(
    st.binary(max_size=80),
    st.lists(
        st.one_of(
            st.builds(
                lambda count, kind, words: _rtcp(count, kind, len(words), b"".join(words)),
                st.integers(0, 63),
                st.integers(192, 223),
                st.lists(
                    st.one_of(
                        st.binary(min_size=4, max_size=4),
                        st.sampled_from([SSRC.to_bytes(4), bytes(4), b"\xff" * 4]),
                    ),
                    max_size=13,
                ),
            ),
            st.builds(
                _rtcp, st.integers(0, 63), st.integers(192, 223), st.integers(0, 20), st.binary()
            ),
        ),
        max_size=4,
    ).map(b"".join),
)


def publish_peer() -> tuple[PublishPeer, UpTrack, Wire]:
    """A connection with one announced picture and one that its packets have to name."""
    wire = Wire()
    made = PublishPeer("p1", CERTIFICATE, PORTS, 1_000_000, lambda closed: None)
    made._transport = cast(Any, wire)
    up = UpTrack("cam-1", "a", "camera", "VP8", 90000, 2 * 10**9)
    extensions = ((MID_EXTENSION, sdp.MID_URI),)
    made._bind(
        sdp.OfferedMedia("0", "video", "sendonly", (VIDEO,), SSRC, RTX_SSRC, extensions), up, VIDEO
    )
    unnamed = UpTrack("wide-1", "a", "wide_camera", "VP8", 90000, 2 * 10**9)
    made._bind(
        sdp.OfferedMedia("1", "video", "sendonly", (VIDEO,), None, None, extensions), unnamed, VIDEO
    )
    return made, up, wire


def subscribe_peer(*ups: UpTrack) -> tuple[SubscribePeer, Wire]:
    """A receiver to whom all of these go."""
    wire = Wire()
    made = SubscribePeer(
        "s1", CERTIFICATE, PORTS, lambda name, text, tracks: None, lambda closed: None
    )
    made._transport = cast(Any, wire)
    made._local = describe.LocalTransport(RTCIceParameters("u", "p"), (), ())
    made._wanted = list(ups)
    made._changed = True
    made._offer_if_stable()
    for up, down in made._pairs.values():
        up.attach(down)
    return made, wire


def bounded(made: PublishPeer) -> bool:
    tracks = list(made.tracks.values())
    return len(made._routes) <= MAX_LEARNED_SSRCS and all(
        len(one.repair.missing) <= repair.MAX_MISSING and len(one._history) == layer.HISTORY
        for up in tracks
        for one in up.layers
    )


def in_loop(test: Callable[[], Awaitable[None]]) -> None:
    asyncio.run(cast(Any, test()))


@settings(max_examples=100, deadline=None)
@given(st.lists(rtp_packets, max_size=30))
def test_no_rtp_raises(packets: list[bytes]) -> None:
    async def test() -> None:
        made, up, _ = publish_peer()
        _, out = subscribe_peer(up)
        up.tap = lambda data, now_ns: None
        for one in packets:
            made._on_rtp(one)
        assert bounded(made)
        assert len(out.rtp) <= len(packets)
        for track in made.tracks.values():
            track.close()

    in_loop(test)


@settings(max_examples=100, deadline=None)
@given(st.lists(rtcp_packets, max_size=10))
def test_no_rtcp_raises(packets: list[bytes]) -> None:
    async def test() -> None:
        made, up, _ = publish_peer()
        for sequence in range(100):
            made._on_rtp(packet(sequence, ssrc=SSRC))
        receiver, _ = subscribe_peer(up)
        for down in up.downs:
            down.ssrc = SSRC
        for one in packets:
            made._on_rtcp(one)
            receiver._on_rtcp(one)
        assert all(len(down.again._resent) <= resend.MAX_RETRANSMISSIONS * 40 for down in up.downs)
        up.close()

    in_loop(test)


async def test_a_flood_of_ssrcs_is_counted_and_forgotten() -> None:
    made, _, _ = publish_peer()
    named = b"\xbe\xde\x00\x01\x401\x00\x00"
    for ssrc in range(5000, 15_000):
        plain = packet(1, ssrc=ssrc)
        made._on_rtp(plain)
        made._on_rtp(bytes([0x90]) + plain[1:12] + named + plain[12:])
    assert bounded(made)
    # Every one that names itself may be the track's new stream, but not for ever.
    assert made._learned == MAX_LEARNED_SSRCS
    assert made.unknown == 20_000 - MAX_LEARNED_SSRCS
    for up in made.tracks.values():
        up.close()


async def test_a_flood_of_rtcp_costs_little_and_sends_little() -> None:
    made, up, _ = publish_peer()
    for sequence in range(1000):
        made._on_rtp(packet(sequence, payload=bytes(1000), ssrc=SSRC))
    receiver, out = subscribe_peer(up)
    (down,) = up.downs
    everything = bytes(RtcpRtpfbPacket(1, ssrc=1, media_ssrc=down.ssrc, lost=list(range(1000))))
    started = time.thread_time()
    for _ in range(20_000):
        receiver._on_rtcp(everything)
        made._on_rtcp(everything)
    assert time.thread_time() - started < 2.0
    assert receiver.rtcp.refused > 19_000
    assert made.rtcp.refused > 19_000
    assert len(out.rtp) <= 2 * resend.RETRANSMISSION_BURST
    assert len(down.again._resent) <= 1024
    up.close()


@pytest.mark.parametrize("times", [1, 10])
async def test_ten_times_the_rate_is_cut_off_and_taken_up_again(times: int) -> None:
    made, up, _ = publish_peer()
    sequence = 0

    def send() -> None:
        """What comes between two reports, ``times`` the rate that was asked for."""
        nonlocal sequence
        for _ in range(times * 1_000_000 // 16 // 1000):
            made._on_rtp(packet(sequence, payload=bytes(988), ssrc=SSRC))
            sequence += 1

    made._check_share(up, 1)
    rounds = []
    for n in range(12):
        before = up.packets
        send()
        made._check_share(up, 500_000_000 * (n + 1))
        rounds.append(up.packets - before)
    each = times * 1_000_000 // 16 // 1000
    if times == 1:
        assert rounds == [each] * 12
    else:
        assert sum(rounds) <= 3 * each
        assert rounds[0] == rounds[SILENCED_ROUNDS + 1] == each
        assert up.unexpected == sequence - sum(rounds)
    up.close()


async def test_a_stopped_or_changed_codec_is_left_out() -> None:
    made, up, _ = publish_peer()
    made._on_rtp(packet(1, ssrc=SSRC))
    foreign = bytearray(packet(2, ssrc=SSRC))
    foreign[1] = 111
    made._on_rtp(bytes(foreign))
    assert (up.packets, up.unexpected) == (1, 1)
    made.release(up)
    made._on_rtp(packet(3, ssrc=SSRC))
    assert (up.packets, made.unknown) == (1, 1)
    up.close()
