"""Access units, and what all depacketizers have in common.

An access unit is what a decoder takes at once: one picture, or one Opus packet. Each depacketizer
hands complete ones to ``on_unit``. A unit that lacks a packet is dropped whole; the next one that
is complete says in ``lost`` that something is missing before it. A payload that makes no sense is
counted in ``malformed`` and is then the same as a lost packet: nothing here raises. What can pile
up is bounded by :data:`MAX_UNIT_BYTES` and :data:`MAX_UNIT_PARTS`.

No I/O here, and no clock.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import NamedTuple

from recorder.state import Persistent

MAX_UNIT_BYTES = 4 << 20
"""A picture larger than this is no honest one (a 4K key frame is about 1 MB)."""

MAX_UNIT_PARTS = 16384
"""Pieces of one picture; a packet makes at most a few."""


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
