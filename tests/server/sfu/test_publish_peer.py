"""Streams that only their packets name: which layer of which track they are."""

from __future__ import annotations

import asyncio
from typing import Any, cast

from aiortc import RTCCertificate
from aiortc.rtp import RtcpPsfbPacket, RtcpRrPacket, unpack_remb_fci
from far_end import Wire

from server.sfu import rtp, sdp
from server.sfu.binding import Binding
from server.sfu.port import MediaPorts
from server.sfu.publish_peer import PublishPeer
from server.sfu.uptrack import UpTrack

MID, RID, REPAIRED = 4, 10, 11
EXTENSIONS = ((MID, sdp.MID_URI), (RID, sdp.RID_URI), (REPAIRED, sdp.REPAIRED_RID_URI))
VIDEO = sdp.Codec("VP8", 96, 97)
PORTS = MediaPorts(Binding("127.0.0.1"))
CERTIFICATE = RTCCertificate.generateCertificate()


def named(number: int, ssrc: int, said: dict[int, bytes], payload_type: int = 96) -> bytes:
    """A packet with these header extensions (RFC 8285, 4.2)."""
    body = b"".join(bytes([key << 4 | len(value) - 1]) + value for key, value in said.items())
    body += bytes(-len(body) % 4)
    head = rtp.HEADER.pack(0x90, payload_type, number, 3000 * number, ssrc)
    extension = b"\xbe\xde" + (len(body) // 4).to_bytes(2) + body
    return head + extension + b"\x10\x11\x00\x00"


def peer(rids: tuple[str, ...]) -> tuple[PublishPeer, UpTrack, Wire]:
    wire = Wire()
    made = PublishPeer("p1", CERTIFICATE, PORTS, 1_000_000, lambda closed: None)
    made._transport = cast(Any, wire)
    up = UpTrack("cam-1", "a", "camera", "VP8", 90000, 2 * 10**9)
    media = sdp.OfferedMedia("0", "video", "sendonly", (VIDEO,), None, None, EXTENSIONS, rids)
    made._bind(media, up, VIDEO)
    return made, up, wire


async def test_layers_are_learned_by_their_names() -> None:
    made, up, wire = peer(("l", "m", "h"))
    bound: list[int | None] = []
    up.on_bound = lambda: bound.append(up.ssrc)
    for number in (1, 2, 4):
        for rid, ssrc in ((b"l", 11), (b"m", 12), (b"h", 13)):
            made._on_rtp(named(number, ssrc, {MID: b"0", RID: rid}))
    # Told to the recorder once: its stream goes through all layers.
    assert bound == [11]
    assert [(one.rid, one.ssrc, one.packets) for one in up.layers] == [
        ("l", 11, 3),
        ("m", 12, 3),
        ("h", 13, 3),
    ]
    # Once it is known, a stream needs no name; a retransmission names what it repairs.
    made._on_rtp(named(5, 12, {}))
    lacking = named(9, 99, {MID: b"0", REPAIRED: b"m"}, payload_type=97)
    made._on_rtp(lacking[:-4] + (3).to_bytes(2) + lacking[-4:])
    assert [one.packets for one in up.layers] == [3, 5, 3]
    await asyncio.sleep(0.05)
    made._report()
    parts = [part for part in wire.rtcp if isinstance(part, RtcpRrPacket)]
    assert [report.ssrc for report in parts[-1].reports] == [11, 12, 13]
    (estimate,) = [p for p in wire.rtcp if isinstance(p, RtcpPsfbPacket) and p.fmt == 15]
    bps, ssrcs = unpack_remb_fci(estimate.fci)
    # All layers together have what a picture may take.
    assert 0.99e6 < bps < 1.01e6
    assert ssrcs == [11, 12, 13]
    assert made.unknown == 0
    up.close()


async def test_who_names_no_layer_or_a_foreign_one_is_counted() -> None:
    made, up, _ = peer(("l", "m", "h"))
    made._on_rtp(named(1, 11, {MID: b"0"}))
    made._on_rtp(named(1, 12, {MID: b"0", RID: b"x"}))
    made._on_rtp(named(1, 13, {MID: b"0", REPAIRED: b"x"}, payload_type=97))
    made._on_rtp(named(1, 14, {MID: b"1", RID: b"l"}))
    assert made.unknown == 4
    assert up.packets == 0
    up.close()


async def test_another_set_of_layers_takes_the_place_of_the_first() -> None:
    made, up, _ = peer(("l", "m", "h"))
    for rid, ssrc in ((b"l", 11), (b"m", 12), (b"h", 13)):
        made._on_rtp(named(1, ssrc, {MID: b"0", RID: rid}))
    made.release(up)
    media = sdp.OfferedMedia("0", "video", "sendonly", (VIDEO,), 77, None, EXTENSIONS)
    made._bind(media, up, VIDEO)
    made._on_rtp(named(1, 77, {}))
    assert [(one.rid, one.packets) for one in up.layers] == [(None, 1)]
    assert up.packets == 4
    up.close()
