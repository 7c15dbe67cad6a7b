"""One track as a publisher of the load client sends it: encoded before, stamped, on time.

Before this: :mod:`bench.media`. After: libsrtp and the socket of a connection that aiortc made,
with nothing between. See :mod:`bench.load`.
"""

from __future__ import annotations

import asyncio
import random
import struct
import time
from collections.abc import Sequence
from typing import Any

from aiortc import RTCRtpSender, RTCRtpTransceiver, clock

from bench.media import AUDIO_SAMPLES, Frame
from bench.packets import Tally

_MID_URI = "urn:ietf:params:rtp-hdrext:sdes:mid"
_LEVEL_URI = "urn:ietf:params:rtp-hdrext:ssrc-audio-level"
_HEADER = struct.Struct("!BBHLL")
_DESCRIPTOR = struct.Struct("!BBH")
_STAMP = struct.Struct("!Q")
_KEPT = 1024
"""Packets kept for retransmission (a power of two)."""

_BEHIND_S = 1.0
"""A publisher that is later than this leaves out what it missed."""

_now_ns = time.perf_counter_ns


class Stream:
    """One track being sent."""

    def __init__(
        self, sender: RTCRtpSender, frames: Sequence[Frame], tally: Tally, *, stamped: bool = True
    ) -> None:
        """Without stamps the frames go out as they are, for somebody to look at."""
        self._sender: Any = sender
        self._frames = frames
        self._tally = tally
        self._stamped = stamped
        self._video = sender.kind == "video"
        self._at = 0
        self._sequence = random.randrange(1 << 15)
        self._timestamp = random.randrange(1 << 31)
        self._picture = 0
        self._rtx_sequence = random.randrange(1 << 15)
        self._kept: list[bytes | None] = [None] * _KEPT
        self._timer: asyncio.TimerHandle | None = None

    def begin(self, transceiver: RTCRtpTransceiver, start: int, fps: float, phase: float) -> None:
        """Send from now on. ``phase`` (0 to 1) of a period is waited first."""
        codecs: list[Any] = transceiver._codecs
        self._payload_type = codecs[0].payloadType
        self._rtx = next(
            (c.payloadType for c in codecs[1:] if c.parameters.get("apt") == self._payload_type),
            None,
        )
        self._numbers = {e.uri: e.id for e in transceiver._headerExtensions}
        self._mid = (self._numbers[_MID_URI], (transceiver.mid or "").encode())
        self._extension = extension(self._mid)
        self._increment = round(90_000 / fps) if self._video else AUDIO_SAMPLES
        self._step_s = self._increment / (90_000 if self._video else 48_000)
        self._at = start % len(self._frames)
        if self._video:
            self._to_key_frame()
        dtls = self._sender.transport
        self._protect = dtls._tx_srtp.protect
        pair = dtls.transport._connection._nominated[1]
        self._socket, self._address = pair.protocol.transport, pair.remote_addr
        self._sender._send_keyframe = self._key_frame_wanted
        self._sender._retransmit = self._retransmit
        self._loop = asyncio.get_running_loop()
        self._due_s = self._loop.time() + phase * self._step_s
        self._timer = self._loop.call_at(self._due_s, self._tick)

    def tell_level(self, level: int) -> None:
        """From now on each packet says how loud it is (RFC 6464), in -dBov."""
        self._extension = extension(self._mid, (self._numbers[_LEVEL_URI], bytes([level])))

    def end(self) -> None:
        """Send no more."""
        if self._timer is not None:
            self._timer.cancel()

    def _to_key_frame(self) -> None:
        for _ in self._frames:
            if self._frames[self._at].key:
                return
            self._at = (self._at + 1) % len(self._frames)

    def _key_frame_wanted(self) -> None:
        self._tally.key_frames_wanted += 1
        self._to_key_frame()

    def _tick(self) -> None:
        if self._socket.is_closing():
            return
        self._send(self._frames[self._at])
        self._at = (self._at + 1) % len(self._frames)
        self._due_s += self._step_s
        behind_s = self._loop.time() - self._due_s
        if behind_s > _BEHIND_S:
            missed = int(behind_s / self._step_s)
            self._due_s += missed * self._step_s
            self._timestamp = (self._timestamp + missed * self._increment) & 0xFFFFFFFF
        self._timer = self._loop.call_at(self._due_s, self._tick)

    def _send(self, frame: Frame) -> None:
        sender, sequence, last = self._sender, self._sequence, len(frame.bodies) - 1
        self._timestamp = (self._timestamp + self._increment) & 0xFFFFFFFF
        self._picture = (self._picture + 1) & 0x7FFF
        octets = 0
        for number, body in enumerate(frame.bodies):
            # The marker ends a picture; sound packets have none.
            marker = 0x80 if self._video and number == last else 0
            packet = _HEADER.pack(
                0x90, marker | self._payload_type, sequence, self._timestamp, sender._ssrc
            )
            packet += self._extension
            if self._video:
                start = 0x90 if number == 0 else 0x80
                packet += _DESCRIPTOR.pack(start, 0x80, 0x8000 | self._picture)
            packet += body + _STAMP.pack(_now_ns()) if self._stamped else body
            self._kept[sequence % _KEPT] = packet
            self._socket.sendto(self._protect(packet), self._address)
            sequence = (sequence + 1) & 0xFFFF
            octets += len(body)
        self._sequence = sequence
        self._tally.sent += last + 1
        # aiortc makes its sender reports of these.
        sender._RTCRtpSender__ntp_timestamp = clock.current_ntp_time()
        sender._RTCRtpSender__rtp_timestamp = self._timestamp
        sender._RTCRtpSender__packet_count += last + 1
        sender._RTCRtpSender__octet_count += octets

    async def _retransmit(self, sequence: int) -> None:
        self._tally.nacked += 1
        packet = self._kept[sequence % _KEPT]
        if packet is None or self._rtx is None or packet[2:4] != sequence.to_bytes(2, "big"):
            return
        _, first, _, timestamp, _ = _HEADER.unpack_from(packet)
        header = _HEADER.pack(
            0x90, first & 0x80 | self._rtx, self._rtx_sequence, timestamp, self._sender._rtx_ssrc
        )
        payload_at = 12 + len(self._extension)
        again = header + self._extension + packet[2:4] + packet[payload_at:]
        self._rtx_sequence = (self._rtx_sequence + 1) & 0xFFFF
        self._socket.sendto(self._protect(again), self._address)


def extension(*elements: tuple[int, bytes]) -> bytes:
    """A one-byte header extension block (RFC 8285) with these numbered elements."""
    block = b"".join(bytes([number << 4 | len(body) - 1]) + body for number, body in elements)
    block += bytes(-len(block) % 4)
    return b"\xbe\xde" + (len(block) // 4).to_bytes(2, "big") + block
