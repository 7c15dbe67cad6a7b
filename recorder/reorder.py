"""Packets of one SSRC back into order; a missing one is waited for, then declared lost.

Before this in a packet's path: :mod:`recorder.roster`, by the track that it finds. After it:
:mod:`recorder.depacketize`.

A recorder can wait longer for a retransmission than a viewer can: ``wait_us`` is seconds. Time is
the arrival time in the inputs (session clock), never a clock, so that two recorders decide alike.

No I/O here.
"""

from __future__ import annotations

import struct
from collections.abc import Callable
from typing import Any

from recorder.state import Persistent
from recorder.units import Depacketizer

MAX_HELD_PACKETS = 2048
MAX_HELD_BYTES = 3 << 20
"""What waits behind a hole; beyond either the hole is declared lost at once."""

_STRAY_DISTANCE = 3000
"""A number further behind than this is no late packet but a jump (RFC 3550, A.1)."""

_HEADER = struct.Struct("!BBHII").unpack_from
_HEADER_BYTES = 12


class Reorder(Persistent):
    """The order of one SSRC (RFC 3550, 5.1), handing payloads to a depacketizer.

    ``on_first`` is called with the arrival time of the first packet, and of the first after
    :meth:`flush`.
    """

    _STATE = (
        "duplicates", "unusable", "lost", "_next", "_deadline_us", "_held_bytes", "_stray",
    )  # fmt: skip

    def __init__(
        self, ssrc: int, wait_us: int, sink: Depacketizer, on_first: Callable[[int], None]
    ) -> None:
        self.ssrc = ssrc
        self.duplicates = 0
        """Packets that came twice, or after they had been declared lost."""
        self.unusable = 0
        """Packets that are no RTP of this SSRC."""
        self.lost = 0
        self._sink = sink
        self._push = sink.push
        self._on_first = on_first
        self._wait_us = wait_us
        self._next = -1
        """Extended number of the packet to hand over next, -1 before the first."""
        self._held: dict[int, tuple[int, bytes]] = {}
        self._held_bytes = 0
        self._deadline_us: int | None = None
        self._stray: int | None = None

    @property
    def waiting(self) -> bool:
        """Whether packets are held behind a hole."""
        return bool(self._held)

    def push(self, packet: bytes, arrival_us: int) -> None:
        """Take one plain RTP packet."""
        if len(packet) < _HEADER_BYTES:
            self.unusable += 1
            return
        first, second, number, timestamp, ssrc = _HEADER(packet)
        if ssrc != self.ssrc or first & 0xC0 != 0x80:
            self.unusable += 1
            return
        following = self._next
        if number != following & 0xFFFF or self._held or following < 0:
            self._out_of_order(packet, number, arrival_us)
            return
        self._next = following + 1
        end = len(packet)
        if first == 0x90:
            start = 16 + (packet[14] << 10 | packet[15] << 2) if end >= 16 else end + 1
        elif first == 0x80:
            start = _HEADER_BYTES
        else:
            start, end = _payload(packet)
        if start > end:
            self.unusable += 1
            self._sink.lose(1)
            return
        self._push(packet, start, end, second > 127, timestamp, following, arrival_us)

    def expire(self, now_us: int) -> None:
        """Time has come to ``now_us``: give up what has been waited for long enough."""
        if self._held:
            self._release(now_us)

    def flush(self) -> None:
        """Nothing more will come for now: hand over everything held, and start anew after it."""
        while self._held:
            self._give_up()
            self._release(None)
        self._next = -1
        self._stray = None

    def snapshot(self) -> list[Any]:
        """See :meth:`Persistent.snapshot`."""
        held = [[number, *entry] for number, entry in self._held.items()]
        return [*super().snapshot(), held]

    def restore(self, values: list[Any]) -> None:
        """See :meth:`Persistent.restore`."""
        *values, held = values
        super().restore(values)
        self._held = {number: (arrival_us, packet) for number, arrival_us, packet in held}

    def _out_of_order(self, packet: bytes, number: int, arrival_us: int) -> None:
        if self._next < 0:
            # Numbers are extended from one cycle up, so that a late one before it is not negative.
            self._on_first(arrival_us)
            self._next = 0x10000 | number
            self.push(packet, arrival_us)
            return
        ahead = (number - self._next) & 0xFFFF
        if ahead >= 0x8000:
            self._late(packet, number, 0x10000 - ahead, arrival_us)
            return
        extended = self._next + ahead
        if extended in self._held:
            self.duplicates += 1
            return
        self._held[extended] = (arrival_us, packet)
        self._held_bytes += len(packet)
        self._release(arrival_us)

    def _late(self, packet: bytes, number: int, behind: int, arrival_us: int) -> None:
        if behind <= _STRAY_DISTANCE:
            self.duplicates += 1
        elif number == self._stray:
            # Two in a row from elsewhere: the sender has jumped. How much is missing nobody knows.
            self.flush()
            self._sink.lose(1)
            self._next = 0x10000 | number
            self.push(packet, arrival_us)
        else:
            self._stray = (number + 1) & 0xFFFF
            self.unusable += 1

    def _release(self, now_us: int | None) -> None:
        """Hand over what is in order; at a hole, decide. ``None`` decides nothing."""
        held = self._held
        while held:
            entry = held.pop(self._next, None)
            if entry is not None:
                self._deadline_us = None
                self._held_bytes -= len(entry[1])
                self._hand_over(entry[1], entry[0])
                continue
            if now_us is None:
                return
            if self._deadline_us is None:
                # The hole is known since the first packet beyond it came.
                self._deadline_us = min(arrival for arrival, _ in held.values()) + self._wait_us
            full = len(held) > MAX_HELD_PACKETS or self._held_bytes > MAX_HELD_BYTES
            if now_us < self._deadline_us and not full:
                return
            self._give_up()

    def _give_up(self) -> None:
        oldest = min(self._held)
        missing = oldest - self._next
        if missing:
            self.lost += missing
            self._sink.lose(missing)
        self._next = oldest
        self._deadline_us = None

    def _hand_over(self, packet: bytes, arrival_us: int) -> None:
        _, second, _, timestamp, _ = _HEADER(packet)
        start, end = _payload(packet)
        number, self._next = self._next, self._next + 1
        if start > end:
            self.unusable += 1
            self._sink.lose(1)
            return
        self._push(packet, start, end, second > 127, timestamp, number, arrival_us)


def _payload(packet: bytes) -> tuple[int, int]:
    """Where the payload of a packet starts and ends; start > end when the header makes no sense."""
    end = len(packet)
    start = _HEADER_BYTES + 4 * (packet[0] & 0x0F)
    if packet[0] & 0x10:
        if start + 4 > end:
            return 1, 0
        start += 4 + 4 * (packet[start + 2] << 8 | packet[start + 3])
    if packet[0] & 0x20:
        padding = packet[-1]
        if not padding or start + padding > end:
            return 1, 0
        end -= padding
    return start, end
