"""The far end of the forwarding unit's tests: a transport that keeps what is sent, and packets."""

from __future__ import annotations

from typing import Any, cast

from aiortc.rtp import RtcpPacket, RtpPacket

from server.sfu.downtrack import DownTrack
from server.sfu.rtp import HEADER
from server.sfu.uptrack import UpTrack

SSRC, PAYLOAD_TYPE = 1234, 96


class Wire:
    """Stands where a transport stands, and keeps what is sent."""

    def __init__(self) -> None:
        self.rtp: list[bytes] = []
        self.rtcp: list[Any] = []

    def send(
        self, first: int, second: int, sequence: int, timestamp: int, ssrc: int, body: bytes
    ) -> None:
        self.rtp.append(HEADER.pack(first, second, sequence, timestamp, ssrc) + body)

    def send_rtcp(self, packet: bytes) -> None:
        self.rtcp += RtcpPacket.parse(packet)


def packet(sequence: int, timestamp: int = 0, payload: bytes = b"x", ssrc: int = SSRC) -> bytes:
    made = RtpPacket(
        payload_type=PAYLOAD_TYPE, sequence_number=sequence & 0xFFFF, timestamp=timestamp, ssrc=ssrc
    )
    made.payload = payload
    return cast(bytes, made.serialize())


def track(wire: Wire, repair_ns: int = 10**9, *, sound: bool = False) -> UpTrack:
    if sound:
        up = UpTrack("mic-1", "a", "microphone", "opus", 48000, repair_ns)
    else:
        up = UpTrack("cam-1", "a", "camera", "VP8", 90000, repair_ns)
    up.bind(cast(Any, wire), SSRC, PAYLOAD_TYPE, 1)
    return up


def down(wire: Wire, up: UpTrack) -> DownTrack:
    return DownTrack(cast(Any, wire), up, 99, 96)
