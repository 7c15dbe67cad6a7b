"""What forwarding has to read of a picture: where a key frame starts, how high it is, its numbers.

No I/O. VP8 counts its pictures in each payload (RFC 7741, 4.2), so that whoever goes from one
encoding of a picture to another has to count on; H.264 (RFC 6184) has nothing of the kind.
"""

from __future__ import annotations

import struct
from typing import NamedTuple

from recorder.sps import picture_size
from server.sfu import rtp

_IDR, _SPS, _STAP_A, _FU_A = 5, 7, 24, 28
_MAX_UNITS = 8
"""NAL units looked at in one aggregate: parameter sets come first."""


def starts_key_frame(codec: str, packet: bytes) -> bool:
    """Whether a plain RTP packet is the first one of a key frame.

    Of H.264, one that carries a sequence parameter set or starts an IDR picture without any.
    """
    at = rtp.payload_start(packet)
    if codec == "VP8":
        start = _vp8_start(packet, at)
        # S set and PID 0: the first packet; the inverse key frame flag is the tag's lowest bit.
        return 0 < start < len(packet) and packet[at] & 0x17 == 0x10 and not packet[start] & 1
    kinds = [unit[0] & 0x1F for unit in _units(packet, at)]
    if kinds and kinds[0] == _FU_A:
        starts = len(packet) > at + 1 and bool(packet[at + 1] & 0x80)
        return starts and packet[at + 1] & 0x1F in (_SPS, _IDR)
    return _SPS in kinds or _IDR in kinds


def picture_height(codec: str, packet: bytes) -> int | None:
    """The height that the first packet of a key frame tells, in pixels; None where it does not."""
    at = rtp.payload_start(packet)
    if codec == "VP8":
        # RFC 6386, 9.1: start code and size after the three bytes of the frame tag.
        start = _vp8_start(packet, at)
        if not 0 < start < len(packet) - 9 or packet[start + 3 : start + 6] != b"\x9d\x01\x2a":
            return None
        return struct.unpack_from("<H", packet, start + 8)[0] & 0x3FFF or None
    for unit in _units(packet, at):
        if unit[0] & 0x1F == _SPS:
            size = picture_size(unit)
            return None if size is None else size[1]
    return None


def _units(packet: bytes, at: int) -> list[bytes]:
    """The NAL units of a payload, those of an aggregate (RFC 6184, 5.7.1) one by one."""
    if at >= len(packet):
        return []
    if packet[at] & 0x1F != _STAP_A:
        return [packet[at:]]
    units: list[bytes] = []
    at += 1
    while at + 2 < len(packet) and len(units) < _MAX_UNITS:
        stop = at + 2 + int.from_bytes(packet[at : at + 2])
        if stop > at + 2:
            units.append(packet[at + 2 : stop])
        at = stop
    return units


def _vp8_start(packet: bytes, at: int) -> int:
    """Where the payload proper starts after the descriptor (RFC 7741, 4.2); 0 without any."""
    if at + 2 >= len(packet):
        return 0
    start = at + 1
    if packet[at] & 0x80:
        flags, start = packet[start], start + 1
        if flags & 0x80:
            start += 2 if packet[start] & 0x80 else 1
        start += bool(flags & 0x40) + bool(flags & 0x30)
    return start


class PictureNumbers(NamedTuple):
    """VP8's two counts: of pictures (15 bit) and of pictures on the lowest level (8 bit)."""

    picture: int = 0
    level_zero: int = 0

    def plus(self, other: PictureNumbers) -> PictureNumbers:
        """Both added up."""
        return PictureNumbers(
            (self.picture + other.picture) & 0x7FFF, (self.level_zero + other.level_zero) & 0xFF
        )

    def minus(self, other: PictureNumbers) -> PictureNumbers:
        """How far this is beyond ``other``."""
        return PictureNumbers(
            (self.picture - other.picture) & 0x7FFF, (self.level_zero - other.level_zero) & 0xFF
        )


ONE_ON = PictureNumbers(1, 1)
"""From a picture to the key frame after it, which is on the lowest level."""


def picture_numbers(body: bytes) -> PictureNumbers | None:
    """The counts in a VP8 payload; None where it has none. A missing second one is 0."""
    if len(body) < 4 or not body[0] & 0x80 or not body[1] & 0x80:
        return None
    if body[2] & 0x80:
        number, at = (body[2] << 8 | body[3]) & 0x7FFF, 4
    else:
        number, at = body[2], 3
    return PictureNumbers(number, body[at] if body[1] & 0x40 and at < len(body) else 0)


def renumber(body: bytes, on: PictureNumbers) -> bytes:
    """The VP8 payload with its counts moved on; one without counts is as it was.

    A picture id keeps its length: it is 7 or 15 bit long as the sender has it.
    """
    numbers = picture_numbers(body)
    if numbers is None:
        return body
    picture, level_zero = numbers.plus(on)
    if body[2] & 0x80:
        head, at = body[:2] + (picture | 0x8000).to_bytes(2), 4
    else:
        head, at = body[:2] + bytes((picture & 0x7F,)), 3
    if body[1] & 0x40 and at < len(body):
        head, at = head + bytes((level_zero,)), at + 1
    return head + body[at:]
