"""RTP headers (RFC 3550, RFC 8285, RFC 4588) as far as forwarding needs them, and RTCP to send.

No I/O. Packets are ``bytes``; nothing here makes an object for one.
"""

from __future__ import annotations

import secrets
import struct
from collections.abc import Iterable

from aiortc.rtp import (
    RTCP_PSFB_APP,
    RTCP_PSFB_PLI,
    RTCP_RTPFB_NACK,
    RtcpPsfbPacket,
    RtcpReceiverInfo,
    RtcpRrPacket,
    RtcpRtpfbPacket,
    RtcpSenderInfo,
    RtcpSrPacket,
    pack_remb_fci,
)

HEADER = struct.Struct("!BBHII")
"""First byte, marker and payload type, sequence number, timestamp, SSRC."""

SSRC_AT_8 = struct.Struct("!8xI")

HEADER_BYTES = 12


def random_ssrc() -> int:
    """A new stream's number (RFC 3550, 8.1); chance keeps it apart from the others."""
    return secrets.randbelow(0x7FFFFFFE) + 1


def payload_start(packet: bytes) -> int:
    """Where the payload starts, after contributing sources and header extensions.

    May lie beyond the end of a damaged packet: the payload is then empty.
    """
    start = HEADER_BYTES + 4 * (packet[0] & 0x0F)
    if packet[0] & 0x10 and len(packet) >= start + 4:
        start += 4 + 4 * int.from_bytes(packet[start + 2 : start + 4])
    return start


def extension(packet: bytes, number: int) -> bytes | None:
    """The body of the one-byte header extension ``number`` (RFC 8285, 4.2), or None."""
    if not packet[0] & 0x10:
        return None
    at = HEADER_BYTES + 4 * (packet[0] & 0x0F)
    if packet[at : at + 2] != b"\xbe\xde":
        return None
    end = min(at + 4 + 4 * int.from_bytes(packet[at + 2 : at + 4]), len(packet))
    at += 4
    while at < end:
        found, length = packet[at] >> 4, (packet[at] & 0x0F) + 1
        if packet[at] == 0:
            at += 1
            continue
        if found == 15:
            return None
        if found == number:
            return packet[at + 1 : at + 1 + length]
        at += 1 + length
    return None


def undo_retransmission(packet: bytes, payload_type: int, ssrc: int) -> bytes | None:
    """The original packet of a retransmission (RFC 4588, 4), or None where it carries nothing."""
    start = payload_start(packet)
    padding = packet[-1] if packet[0] & 0x20 else 0
    if len(packet) - padding < start + 2:
        return None
    first, marker, _, timestamp, _ = HEADER.unpack_from(packet)
    sequence = int.from_bytes(packet[start : start + 2])
    head = HEADER.pack(first, (marker & 0x80) | payload_type, sequence, timestamp, ssrc)
    return head + packet[HEADER_BYTES:start] + packet[start + 2 :]


def picture_loss_indication(sender_ssrc: int, media_ssrc: int) -> bytes:
    """A request for a key frame (RFC 4585, 6.3.1)."""
    return bytes(RtcpPsfbPacket(fmt=RTCP_PSFB_PLI, ssrc=sender_ssrc, media_ssrc=media_ssrc))


def negative_acknowledgement(sender_ssrc: int, media_ssrc: int, lost: Iterable[int]) -> bytes:
    """Requests to send again (RFC 4585, 6.2.1). ``lost`` are 16-bit numbers in ascending runs."""
    runs: list[list[int]] = []
    for sequence in lost:
        if runs and sequence > runs[-1][-1]:
            runs[-1].append(sequence)
        else:
            runs.append([sequence])
    return b"".join(
        bytes(RtcpRtpfbPacket(RTCP_RTPFB_NACK, ssrc=sender_ssrc, media_ssrc=media_ssrc, lost=run))
        for run in runs
    )


def receiver_report(sender_ssrc: int, reports: list[RtcpReceiverInfo]) -> bytes:
    """A receiver report (RFC 3550, 6.4.2)."""
    return bytes(RtcpRrPacket(ssrc=sender_ssrc, reports=reports))


def estimated_bitrate(sender_ssrc: int, bitrate_bps: int, ssrcs: list[int]) -> bytes:
    """REMB (draft-alvestrand-rmcat-remb): how much the sender of ``ssrcs`` may send in all."""
    fci = pack_remb_fci(bitrate_bps, ssrcs)
    return bytes(RtcpPsfbPacket(fmt=RTCP_PSFB_APP, ssrc=sender_ssrc, media_ssrc=0, fci=fci))


def sender_report(ssrc: int, ntp: int, rtp: int, packets: int, octets: int) -> bytes:
    """A sender report (RFC 3550, 6.4.1)."""
    return bytes(
        RtcpSrPacket(
            ssrc=ssrc,
            sender_info=RtcpSenderInfo(
                ntp_timestamp=ntp,
                rtp_timestamp=rtp & 0xFFFFFFFF,
                packet_count=packets & 0xFFFFFFFF,
                octet_count=octets & 0xFFFFFFFF,
            ),
        )
    )
