"""One track as a publisher of the load client sends it: encoded before, stamped, on time.

Before this: :mod:`bench.media`. After: an outlet of :mod:`server.sfu.datagrams`, in which a
picture's packets gather, and leave at once. See :mod:`bench.load`.
"""

from __future__ import annotations

import asyncio
import random
import struct
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Protocol

from aiortc import clock

from bench.media import AUDIO_SAMPLES, Frame
from bench.packets import Tally
from server.sfu import rtp, sdp
from server.sfu.datagrams import Post, SendPacket

_DESCRIPTOR = struct.Struct("!BBH")
_STAMP = struct.Struct("!Q")
_KEPT = 1024
"""Packets kept for retransmission (a power of two)."""

_BEHIND_S = 1.0
"""A publisher that is later than this leaves out what it missed."""

_now_ns = time.perf_counter_ns


class Way(Protocol):
    """Where packets go: a :class:`server.sfu.seam.MediaTransport`, or a bare outlet."""

    @property
    def send(self) -> SendPacket:
        """What takes one plain packet."""


@dataclass(frozen=True, slots=True)
class Numbers:
    """What was agreed for one track: its numbers in RTP. ``extensions`` are by URI."""

    codec: str
    payload_type: int
    ssrc: int
    rtx_payload_type: int | None = None
    rtx_ssrc: int = 0
    mid: str = ""
    extensions: Mapping[str, int] | None = None


class Stream:
    """One track being sent over ``way``, from :meth:`begin` to :meth:`end`."""

    def __init__(
        self,
        way: Way,
        post: Post,
        numbers: Numbers,
        frames: Sequence[Frame],
        tally: Tally,
        *,
        stamped: bool = True,
    ) -> None:
        """Without stamps the frames go out as they are, for somebody to look at."""
        self.ssrc = numbers.ssrc
        self._way = way
        self._post = post
        self._numbers = numbers
        self._frames = frames
        self._tally = tally
        self._stamped = stamped
        self._video = sdp.codec_kind(numbers.codec) == "video"
        self._hz = sdp.codec_clock_hz(numbers.codec)
        self._sequence = random.randrange(1 << 15)
        self._timestamp = random.randrange(1 << 31)
        self._picture = 0
        self._rtx_sequence = random.randrange(1 << 15)
        self._kept: list[tuple[int, int, int, bytes, bytes, bytes] | None] = [None] * _KEPT
        """Number, marker and payload type, timestamp; what precedes the body, the body, the stamp.

        In parts: bodies are shared by all streams, copies of them would fall out of every cache.
        """
        self._packets = self._octets = self._sent_ns = 0
        self._timer: asyncio.TimerHandle | None = None
        self._set_extension()

    def begin(self, start: int, fps: float, phase: float) -> None:
        """Send from now on. ``phase`` (0 to 1) of a period is waited first."""
        self._increment = round(self._hz / fps) if self._video else AUDIO_SAMPLES
        self._step_s = self._increment / self._hz
        self._at = start % len(self._frames)
        if self._video:
            self._to_key_frame()
        self._loop = asyncio.get_running_loop()
        self._due_s = self._loop.time() + phase * self._step_s
        self._timer = self._loop.call_at(self._due_s, self._tick)

    def tell_level(self, level: int) -> None:
        """From now on each packet says how loud it is (RFC 6464), in -dBov."""
        self._set_extension(level)

    def end(self) -> None:
        """Send no more."""
        if self._timer is not None:
            self._timer.cancel()

    def key_frame_wanted(self) -> None:
        """The next picture is a key frame."""
        self._tally.key_frames_wanted += 1
        self._to_key_frame()

    def retransmit(self, sequence: int) -> None:
        """Send this packet once more, in the stream of retransmissions (RFC 4588)."""
        self._tally.nacked += 1
        kept, numbers = self._kept[sequence % _KEPT], self._numbers
        if kept is None or kept[0] != sequence or numbers.rtx_payload_type is None:
            return
        _, second, timestamp, head, body, stamp = kept
        second = second & 0x80 | numbers.rtx_payload_type
        at = len(self._extension)
        again = b"".join((head[:at], sequence.to_bytes(2), head[at:], body, stamp))
        self._way.send(0x90, second, self._rtx_sequence, timestamp, numbers.rtx_ssrc, again)
        self._rtx_sequence = (self._rtx_sequence + 1) & 0xFFFF

    def report(self) -> bytes:
        """A sender report of this moment; empty before the first packet."""
        if not self._packets:
            return b""
        since = (_now_ns() - self._sent_ns) * self._hz // 1_000_000_000
        ntp = clock.current_ntp_time()
        now = self._timestamp + since
        return rtp.sender_report(self.ssrc, ntp, now, self._packets, self._octets)

    def _set_extension(self, level: int | None = None) -> None:
        known = self._numbers.extensions or {}
        elements = []
        if sdp.MID_URI in known:
            elements.append((known[sdp.MID_URI], self._numbers.mid.encode()))
        if level is not None and sdp.AUDIO_LEVEL_URI in known:
            elements.append((known[sdp.AUDIO_LEVEL_URI], bytes([level])))
        self._extension = extension(*elements)

    def _to_key_frame(self) -> None:
        for _ in self._frames:
            if self._frames[self._at].key:
                return
            self._at = (self._at + 1) % len(self._frames)

    def _tick(self) -> None:
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
        """One frame: its packets have one time of sending, and leave together."""
        sequence, payload_type = self._sequence, self._numbers.payload_type
        timestamp = self._timestamp = (self._timestamp + self._increment) & 0xFFFFFFFF
        head = later = self._extension
        if self._numbers.codec == "VP8":
            picture = self._picture = (self._picture + 1) & 0x7FFF
            head += _DESCRIPTOR.pack(0x90, 0x80, 0x8000 | picture)
            later += _DESCRIPTOR.pack(0x80, 0x80, 0x8000 | picture)
        send, kept, post, ssrc = self._way.send, self._kept, self._post, self.ssrc
        last, octets = len(frame.bodies) - 1, 0
        self._sent_ns = _now_ns()
        stamp = _STAMP.pack(self._sent_ns) if self._stamped else b""
        post.collecting = True
        for number, body in enumerate(frame.bodies):
            # The marker ends a picture; sound packets have none.
            second = 0x80 | payload_type if self._video and number == last else payload_type
            kept[sequence % _KEPT] = (sequence, second, timestamp, head, body, stamp)
            whole = b"".join((head, body, stamp))
            send(0x90, second, sequence, timestamp, ssrc, whole)
            sequence = (sequence + 1) & 0xFFFF
            octets += len(whole)
            head = later
        post.collecting = False
        post.flush()
        self._sequence = sequence
        self._octets += octets
        self._packets += last + 1
        self._tally.sent += last + 1


def extension(*elements: tuple[int, bytes]) -> bytes:
    """A one-byte header extension block (RFC 8285) with these numbered elements."""
    block = b"".join(bytes([number << 4 | len(body) - 1]) + body for number, body in elements)
    block += bytes(-len(block) % 4)
    return b"\xbe\xde" + (len(block) // 4).to_bytes(2, "big") + block
