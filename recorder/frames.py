"""Frames of the tap, read fast: most are RTP packets, and for those no look-up is made.

The same stream and the same messages as :class:`recorder.wire.Decoder`; a recorder reads some
hundred packets a second for hours, and this is a good part of what that costs.
"""

from __future__ import annotations

import struct
from collections.abc import Iterator

from recorder import wire
from rooms.errors import MessageTooLarge

_HEAD = struct.Struct("!IB").unpack_from
_HEAD_BYTES = 5
_RTP = struct.Struct("!IBQQH").unpack_from
_RTP_BYTES = 23
_RTP_KIND = wire.encode_rtp(0, 0, 0, b"")[4]


class Frames:
    """Cuts a byte stream into messages. Raises what :class:`recorder.wire.Decoder` raises."""

    def __init__(self) -> None:
        self._rest = b""
        self._rare = wire.Decoder()

    def feed(self, chunk: bytes) -> Iterator[wire.Message]:
        """Yield every message that is complete with ``chunk``; consume it before the next call."""
        stream = self._rest + chunk if self._rest else chunk
        make = wire.RtpInput._make
        at, end = 0, len(stream)
        while end - at >= _HEAD_BYTES:
            length, kind = _HEAD(stream, at)
            if length > wire.MAX_BODY_BYTES:
                raise MessageTooLarge(f"tap frame of {length} bytes")
            stop = at + _HEAD_BYTES + length
            if stop > end:
                break
            if kind == _RTP_KIND and length >= _RTP_BYTES - _HEAD_BYTES:
                _, _, n, arrival_us, index = _RTP(stream, at)
                yield make((n, arrival_us, index, stream[at + _RTP_BYTES : stop]))
            else:
                yield from self._rare.feed(stream[at:stop])
            at = stop
        self._rest = stream[at:]
