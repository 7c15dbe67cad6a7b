"""RTP payloads to access units: Opus (RFC 7587), VP8 (RFC 7741), and H.264 by its own module.

Before this in a packet's path: :mod:`recorder.reorder`, which hands over packets in order and says
how many are missing between two. After it: :mod:`recorder.timeline` and :mod:`recorder.track`. What
all have in common: :mod:`recorder.units`. No I/O here, and no clock.
"""

from __future__ import annotations

import struct

from recorder.h264 import H264Depacketizer
from recorder.units import MAX_UNIT_BYTES, MAX_UNIT_PARTS, AccessUnit, Depacketizer, OnUnit

OPUS_HZ = 48_000
_MAX_OPUS_TICKS = OPUS_HZ * 120 // 1000
_MIN_VP8_KEY_BYTES = 10


class OpusDepacketizer(Depacketizer):
    """RFC 7587: each packet is one unit, and says itself how long it sounds (RFC 6716, 3.1)."""

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
        """See :meth:`Depacketizer.push`."""
        if start >= end:
            return
        duration = _OPUS_TICKS[packet[start]]
        if not duration:
            duration = opus_ticks(packet[start:end])
            if not duration:
                self._refuse()
                return
        payload, lost = packet[start:end], self._lost
        self._on_unit(
            AccessUnit(timestamp, seq, seq, arrival_us, True, 0, 0, duration, lost, payload)
        )
        self._lost = 0


def opus_ticks(payload: bytes) -> int:
    """How long an Opus packet sounds, in ticks of 48 kHz; 0 when it is no Opus packet."""
    toc = payload[0]
    frame = _opus_frame_ticks(toc >> 3)
    if toc & 3 == 3:
        count = payload[1] & 0x3F if len(payload) > 1 else 0
    else:
        count = (1, 2, 2)[toc & 3]
    ticks = frame * count
    return ticks if ticks <= _MAX_OPUS_TICKS else 0


def _opus_frame_ticks(config: int) -> int:
    if config < 12:
        return (480, 960, 1920, 2880)[config & 3]
    if config < 16:
        return (480, 960)[config & 1]
    return (120, 240, 480, 960)[config & 3]


_OPUS_TICKS = tuple(0 if toc & 3 == 3 else opus_ticks(bytes([toc])) for toc in range(256))
"""The usual case by one look-up: all packets but those that carry their own number of frames."""


class Vp8Depacketizer(Depacketizer):
    """RFC 7741: a picture starts with S set in partition 0 and ends with the marker."""

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
        """See :meth:`Depacketizer.push`."""
        if start >= end:
            return
        descriptor = packet[start]
        at = start + 1
        if descriptor & 0x80 and at < end:
            extension = packet[at]
            at += 1
            if extension & 0x80:  # picture id, of one byte or two
                at += 2 if at < end and packet[at] & 0x80 else 1
            if extension & 0x40:  # TL0PICIDX
                at += 1
            if extension & 0x30:  # TID, Y, KEYIDX
                at += 1
        if at >= end:
            self._refuse()
            return
        if descriptor & 0x17 == 0x10:
            if self._open:
                # The one before had no marker, but nothing of it is missing.
                self._emit()
            self._begin(timestamp, seq, arrival_us)
            self._unsure = False
            if not packet[at] & 1 and not self._read_key_frame(packet, at, end):
                self._refuse()
                return
        elif not self._open or timestamp != self._timestamp:
            if self._open:
                self._emit()
            if not self._unsure:
                self._refuse()
            return
        self._last_seq = seq
        self._parts.append(packet[at:end])
        self._bytes += end - at
        if self._bytes > MAX_UNIT_BYTES or len(self._parts) > MAX_UNIT_PARTS:
            self._refuse()
        elif marker:
            self._emit()

    def _read_key_frame(self, packet: bytes, at: int, end: int) -> bool:
        """RFC 6386, 9.1: start code and size after the three bytes of the frame tag."""
        if end - at < _MIN_VP8_KEY_BYTES or packet[at + 3 : at + 6] != b"\x9d\x01\x2a":
            return False
        width, height = struct.unpack_from("<HH", packet, at + 6)
        self._key = True
        self._width, self._height = width & 0x3FFF, height & 0x3FFF
        return True


def depacketizer(codec: str, on_unit: OnUnit) -> Depacketizer:
    """The depacketizer of ``H264``, ``VP8`` or ``opus``. Raises KeyError for anything else."""
    kinds = {"H264": H264Depacketizer, "VP8": Vp8Depacketizer, "opus": OpusDepacketizer}
    return kinds[codec](on_unit)
