"""RTP payloads to access units: Opus (RFC 7587), VP8 (RFC 7741), H.264 (RFC 6184).

Before this in a packet's path: :mod:`recorder.reorder`, which hands over packets in order and says
how many are missing between two. After it: :mod:`recorder.timeline` and :mod:`recorder.track`.

An access unit is what a decoder takes at once: one picture, or one Opus packet. Each depacketizer
hands complete ones to ``on_unit``. A unit that lacks a packet is dropped whole; the next
one that is complete says in ``lost`` that something is missing before it. A payload that makes no
sense is counted in ``malformed`` and is then the same as a lost packet: nothing here raises. What
can pile up is bounded by :data:`MAX_UNIT_BYTES` and :data:`MAX_UNIT_PARTS`.

No I/O here, and no clock.
"""

from __future__ import annotations

import struct
from collections.abc import Callable
from typing import NamedTuple

from recorder.h264 import NalType, picture_size
from recorder.state import Persistent

MAX_UNIT_BYTES = 4 << 20
"""A picture larger than this is no honest one (a 4K key frame is about 1 MB)."""

MAX_UNIT_PARTS = 16384
"""Pieces of one picture; a packet makes at most a few."""

OPUS_HZ = 48_000
_MAX_OPUS_TICKS = OPUS_HZ * 120 // 1000
_MIN_VP8_KEY_BYTES = 10

# Plain integers: these are compared for each packet.
_FU_A, _STAP_A = int(NalType.FU_A), int(NalType.STAP_A)
_NAL_LENGTH = struct.Struct("!I").pack


class AccessUnit(NamedTuple):
    """One decodable piece of a track.

    ``timestamp`` is the RTP one (32 bit); ``first_seq`` and ``last_seq`` are extended sequence
    numbers; ``arrival_us`` is the session clock at its first packet. ``width`` and ``height`` are 0
    but on a key frame that names them, ``duration`` (RTP ticks) is 0 but for sound. ``lost`` counts
    packets that are missing or were unusable since the unit before.
    """

    timestamp: int
    first_seq: int
    last_seq: int
    arrival_us: int
    key: bool
    width: int
    height: int
    duration: int
    lost: int
    payload: bytes


OnUnit = Callable[[AccessUnit], None]


class Depacketizer(Persistent):
    """What the three have in common: losses, and the unit being put together.

    ``on_unit`` is called with each complete unit, in order.
    """

    _STATE: tuple[str, ...] = (
        "malformed", "_lost", "_open", "_timestamp", "_first_seq", "_last_seq", "_arrival_us",
        "_key", "_width", "_height", "_parts", "_bytes", "_unsure",
    )  # fmt: skip

    def __init__(self, on_unit: OnUnit) -> None:
        self._on_unit = on_unit
        self.malformed = 0
        self._lost = 0
        self._open = False
        self._timestamp = 0
        self._first_seq = 0
        self._last_seq = 0
        self._arrival_us = 0
        self._key = False
        self._width = 0
        self._height = 0
        self._parts: list[bytes] = []
        self._bytes = 0
        self._unsure = True
        """At the start and after a loss: the next packet may be in the middle of a picture."""

    @property
    def lost(self) -> int:
        """Packets lost since the last complete unit."""
        return self._lost

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
        """Take the payload ``packet[start:end]`` of the next packet in order.

        ``marker`` and ``timestamp`` are those of the RTP header, ``seq`` is extended. An empty
        payload (padding that probes the bandwidth) only counts as present.
        """
        raise NotImplementedError

    def lose(self, packets: int) -> None:
        """``packets`` are missing here for good: the unit in the making goes with them."""
        self._lost += packets
        self._unsure = True
        self._drop()

    def finish(self) -> None:
        """Nothing follows for now: a unit whose end did not come is let go."""
        self._drop()
        self._lost = 0
        self._unsure = True

    def _begin(self, timestamp: int, seq: int, arrival_us: int) -> None:
        self._open = True
        self._timestamp = timestamp
        self._first_seq = self._last_seq = seq
        self._arrival_us = arrival_us
        self._key = False
        self._width = self._height = 0

    def _emit(self) -> None:
        self._on_unit(
            AccessUnit(
                self._timestamp,
                self._first_seq,
                self._last_seq,
                self._arrival_us,
                self._key,
                self._width,
                self._height,
                0,
                self._lost,
                b"".join(self._parts),
            )
        )
        self._lost = 0
        self._drop()

    def _drop(self) -> None:
        self._open = False
        self._parts = []
        self._bytes = 0

    def _refuse(self) -> None:
        self.malformed += 1
        self.lose(1)


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


class H264Depacketizer(Depacketizer):
    """RFC 6184, packetization-mode 1: single NAL units, STAP-A and FU-A, to AVCC.

    Every NAL unit gets its length in four bytes before it (ISO 14496-15); parameter sets stay in
    band. The newest of each are in ``sps`` and ``pps`` too, for the initialisation segment.
    """

    _STATE = (*Depacketizer._STATE, "sps", "pps", "_size", "_skip", "_fu_at", "_fu_bytes")

    def __init__(self, on_unit: OnUnit) -> None:
        super().__init__(on_unit)
        self.sps = b""
        self.pps = b""
        self._size = (0, 0)
        self._skip: int | None = None
        """Timestamp of the picture that is being dropped."""
        self._fu_at = -1
        """Which part holds the length of the fragmented NAL unit, -1 outside one."""
        self._fu_bytes = 0

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
        if (
            self._fu_at >= 0
            and timestamp == self._timestamp
            and packet[start] & 0x1F == _FU_A
            and start + 2 < end
            and not (packet[start + 1] & 0xC0 or marker)
        ):
            # Most packets by far: the middle of a fragmented NAL unit.
            size = end - start - 2
            self._parts.append(packet[start + 2 : end])
            self._bytes += size
            self._fu_bytes += size
            self._last_seq = seq
            if self._bytes > MAX_UNIT_BYTES or len(self._parts) > MAX_UNIT_PARTS:
                self._refuse()
            return
        if self._open:
            if timestamp != self._timestamp:
                # No marker, but nothing is missing either; unless a fragment has no end.
                self._end_unit()
                if not self._start_unit(packet, start, end, timestamp, seq, arrival_us):
                    return
        elif not self._start_unit(packet, start, end, timestamp, seq, arrival_us):
            return
        kind = packet[start] & 0x1F
        if kind == _FU_A:
            good = self._fragment(packet, start, end)
        elif self._fu_at >= 0:
            good = False
        elif kind == _STAP_A:
            good = self._aggregate(packet, start, end)
        else:
            good = 0 < kind < _STAP_A
            if good:
                self._nal(packet[start:end])
        if not good or self._bytes > MAX_UNIT_BYTES or len(self._parts) > MAX_UNIT_PARTS:
            self._refuse()
            self._unsure = False
        else:
            self._last_seq = seq
        if marker:
            self._end_unit()

    def lose(self, packets: int) -> None:
        """See :meth:`Depacketizer.lose`."""
        if self._open:
            self._skip = self._timestamp
        super().lose(packets)

    def finish(self) -> None:
        """See :meth:`Depacketizer.finish`."""
        super().finish()
        self._skip = None

    def _drop(self) -> None:
        super()._drop()
        self._fu_at = -1

    def _end_unit(self) -> None:
        self._skip = None
        if self._fu_at >= 0:
            self._refuse()
            self._skip = None
            self._unsure = False
        elif self._open:
            self._emit()

    def _start_unit(
        self, packet: bytes, start: int, end: int, timestamp: int, seq: int, arrival_us: int
    ) -> bool:
        if self._skip is not None:
            if self._skip == timestamp:
                if packet[1] & 0x80:
                    self._skip = None
                    self._unsure = False
                return False
            self._skip = None
        if self._unsure:
            self._unsure = False
            if not _starts_picture(packet, start, end):
                self._skip = timestamp if not packet[1] & 0x80 else None
                return False
        self._begin(timestamp, seq, arrival_us)
        return True

    def _nal(self, nal: bytes) -> None:
        self._parts.append(_NAL_LENGTH(len(nal)))
        self._parts.append(nal)
        self._bytes += len(nal) + 4
        self._note(nal[0] & 0x1F, nal)

    def _note(self, kind: int, nal: bytes) -> None:
        if kind == NalType.IDR:
            self._key = True
            self._width, self._height = self._size
        elif kind == NalType.SPS:
            if nal != self.sps:
                size = picture_size(nal)
                if size is None:
                    self.malformed += 1
                    return
                self.sps, self._size = nal, size
        elif kind == NalType.PPS:
            self.pps = nal

    def _aggregate(self, packet: bytes, start: int, end: int) -> bool:
        at = start + 1
        while at + 2 < end:
            stop = at + 2 + (packet[at] << 8 | packet[at + 1])
            if stop > end or stop == at + 2:
                return False
            self._nal(packet[at + 2 : stop])
            at = stop
        return at == end

    def _fragment(self, packet: bytes, start: int, end: int) -> bool:
        if end - start < 3:
            return False
        header = packet[start + 1]
        if header & 0x80:
            if self._fu_at >= 0:
                return False
            kind = header & 0x1F
            self._fu_at = len(self._parts)
            self._fu_bytes = 1
            self._parts.append(b"")
            self._parts.append(bytes((packet[start] & 0xE0 | kind,)))
            self._bytes += 5
        elif self._fu_at < 0:
            return False
        self._parts.append(packet[start + 2 : end])
        self._bytes += end - start - 2
        self._fu_bytes += end - start - 2
        if header & 0x40:
            at, self._fu_at = self._fu_at, -1
            self._parts[at] = _NAL_LENGTH(self._fu_bytes)
            kind = header & 0x1F
            if kind in (NalType.SPS, NalType.PPS):
                self._note(kind, b"".join(self._parts[at + 1 :]))
            elif kind == NalType.IDR:
                self._note(kind, b"")
        return True


def _starts_picture(packet: bytes, start: int, end: int) -> bool:
    """Whether a payload after a hole can be the first one of its picture.

    Delimiters, parameter sets and SEI come before the slices; a slice is the first when its
    first_mb_in_slice is 0, which is a leading 1 bit (ITU-T H.264, 7.3.3).
    """
    kind = packet[start] & 0x1F
    at = start
    if kind == _STAP_A:
        at += 3
    elif kind == _FU_A:
        if end - start < 3 or not packet[start + 1] & 0x80:
            return False
        at += 1
    if at + 1 >= end:
        return False
    kind = packet[at] & 0x1F
    if kind in (NalType.SLICE, NalType.IDR):
        return bool(packet[at + 1] & 0x80)
    return kind in (NalType.SEI, NalType.SPS, NalType.PPS, NalType.DELIMITER)


def depacketizer(codec: str, on_unit: OnUnit) -> Depacketizer:
    """The depacketizer of ``H264``, ``VP8`` or ``opus``. Raises KeyError for anything else."""
    kinds = {"H264": H264Depacketizer, "VP8": Vp8Depacketizer, "opus": OpusDepacketizer}
    return kinds[codec](on_unit)
