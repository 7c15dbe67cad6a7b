"""Frames of the tap, read fast: most are RTP packets, and for those no object is made.

Before this in a packet's path: :mod:`recorder.worker`, which reads the socket. After it:
:mod:`recorder.intake`. The same stream as for :class:`recorder.wire.Decoder`; a recorder reads some
hundred packets a second for hours, and this is a good part of what that costs.
"""

from __future__ import annotations

import struct
from collections.abc import Callable

from recorder import wire
from rooms.errors import MessageTooLarge

_HEAD = struct.Struct("!IB").unpack_from
_HEAD_BYTES = 5
_RTP = struct.Struct("!IBQQH").unpack_from
_RTP_BYTES = 23
_RTP_KIND = wire.encode_rtp(0, 0, 0, b"")[4]

OnPacket = Callable[[int, int, int, bytes], None]
"""Gets ``n``, ``arrival_us``, ``track_index`` and the packet of :class:`recorder.wire.RtpInput`."""

OnMessage = Callable[[wire.Message], None]
"""Gets every other message."""


class Frames:
    """Cuts a byte stream into messages. Raises what :class:`recorder.wire.Decoder` raises."""

    def __init__(self, on_packet: OnPacket, on_message: OnMessage) -> None:
        self.on_packet = on_packet
        self._on_message = on_message
        self._rest = b""
        self._rare = wire.Decoder()

    def feed(self, chunk: bytes) -> None:
        """Hand on every message that is complete with ``chunk``, in order."""
        stream = self._rest + chunk if self._rest else chunk
        at, end = 0, len(stream)
        while True:
            on_packet = self.on_packet
            while end - at >= _RTP_BYTES:
                length, kind, n, arrival_us, index = _RTP(stream, at)
                stop = at + _HEAD_BYTES + length
                if kind != _RTP_KIND or stop > end or length < _RTP_BYTES - _HEAD_BYTES:
                    break
                on_packet(n, arrival_us, index, stream[at + _RTP_BYTES : stop])
                at = stop
            stop = self._frame_end(stream, at)
            if stop > end:
                self._rest = stream[at:]
                return
            for message in self._rare.feed(stream[at:stop]):
                self._on_message(message)
            at = stop

    def _frame_end(self, stream: bytes, at: int) -> int:
        """Where the frame at ``at`` ends; beyond the stream when that is not all of it."""
        if len(stream) - at < _HEAD_BYTES:
            return len(stream) + 1
        length, _ = _HEAD(stream, at)
        if length > wire.MAX_BODY_BYTES:
            raise MessageTooLarge(f"tap frame of {length} bytes")
        return at + _HEAD_BYTES + int(length)
