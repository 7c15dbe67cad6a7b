"""H.264 from RTP (RFC 6184, packetization-mode 1) to AVCC (ISO 14496-15).

Before this in a packet's path: :mod:`recorder.reorder`. After it: :mod:`recorder.timeline` and
:mod:`recorder.track`. No I/O here, and no clock. Clauses without a name are those of ITU-T H.264.
"""

from __future__ import annotations

import struct
from enum import IntEnum

from recorder.sps import picture_size
from recorder.units import MAX_UNIT_BYTES, MAX_UNIT_PARTS, Depacketizer, OnUnit


class NalType(IntEnum):
    """nal_unit_type (table 7-1), and the packet types that RFC 6184 adds (table 1)."""

    SLICE = 1
    IDR = 5
    SEI = 6
    SPS = 7
    PPS = 8
    DELIMITER = 9
    STAP_A = 24
    FU_A = 28


# Plain integers: these are compared for each packet.
_FU_A, _STAP_A = int(NalType.FU_A), int(NalType.STAP_A)
_NAL_LENGTH = struct.Struct("!I").pack


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
        return at == end > start + 1

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
