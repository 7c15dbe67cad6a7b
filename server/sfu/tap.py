"""The recorder's subscription: the same packets, numbered, kept until they are on its disk.

Before this in a packet's path: :mod:`server.sfu.layer` and :mod:`server.sfu.feed`. After it:
:mod:`recorder.wire` and :mod:`recorder.intake`, in the recorder's own process.

The tap loses nothing by itself. What it hands over stays in memory until the recorder acknowledges
it, so a recorder that dies is replaced and gets the rest. When a recorder falls so far behind that
the buffer is full, the tap refuses new packets, counts them, and says so by a numbered event as
soon as it can: a gap is written into the ledger, never left out.
"""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import Callable, Mapping
from typing import Any

from recorder import wire
from server.sfu.uptrack import UpTrack

FLUSH_NS = 50_000_000
"""Frames are gathered this long before they are written: one system call for many packets. The next
packet after that takes them along, so that nobody has to wake up for it ..."""

FLUSH_LATE_S = 0.1
"""... and without one a timer does."""

WRITE_AHEAD_BYTES = 4 << 20
"""Bytes handed to the socket and not yet taken by the recorder; beyond that frames wait in the tap.
"""

TICK_S = 0.25


class Tap:
    """The numbered inputs of one recording, from the command to open until the archive is sealed.

    ``opened_ns`` is the monotonic time of the command: zero of the session clock. ``now_ns`` reads
    that monotonic clock. While not :attr:`feeding` (a pause), packets are left out, events and
    ticks are not.
    """

    def __init__(self, opened_ns: int, now_ns: Callable[[], int], limit_bytes: int) -> None:
        self.feeding = True
        self.refused = 0
        """Packets that did not fit into the buffer."""
        self._opened_ns = opened_ns
        self._now_ns = now_ns
        self._limit = limit_bytes
        self._n = 0
        self._kept: deque[tuple[int, bytes]] = deque()
        self._kept_bytes = 0
        self._outbox: deque[tuple[int, bytes]] = deque()
        self._writer: asyncio.StreamWriter | None = None
        self._indexes: dict[UpTrack, int] = {}
        self._next_index = 0
        self._tracks: dict[int, UpTrack] = {}
        self._flush_timer: asyncio.TimerHandle | None = None
        self._flush_due_ns = 0
        self._tick_timer: asyncio.TimerHandle | None = None
        self._overflow: dict[str, list[int]] = {}
        self._closed = False

    @property
    def n(self) -> int:
        """The number of the newest input."""
        return self._n

    @property
    def unacknowledged_bytes(self) -> int:
        """Bytes kept because the recorder has not yet said that it has them on disk."""
        return self._kept_bytes

    def track(self, index: int) -> UpTrack | None:
        """The track behind an index that the recorder names."""
        return self._tracks.get(index)

    def start(self) -> None:
        """Begin to tick."""
        self._tick()

    def add(self, up: UpTrack, site_id: str, label: str) -> None:
        """Record ``up`` from its next packet on, or note that it has another SSRC now."""
        if self._closed or up.ssrc is None:
            return
        index = self._next_index
        self._next_index += 1
        self._indexes[up] = index
        self._tracks[index] = up
        n, at_us = self._number()
        self._keep(
            n,
            wire.encode_track(
                wire.TrackInput(
                    n=n,
                    arrival_us=at_us,
                    track_index=index,
                    track_id=up.track_id,
                    source=up.source,
                    codec=up.codec,
                    clock_hz=up.clock_hz,
                    ssrc=up.ssrc,
                    participant_id=up.participant_id,
                    site_id=site_id,
                    label=label,
                )
            ),
        )
        up.tap = self._tap_for(up, index)
        up.on_report = lambda ntp, rtp, now_ns: self._report(index, ntp, rtp, now_ns)
        up.request_key_frame()

    def remove(self, up: UpTrack) -> None:
        """Stop recording ``up``."""
        if self._indexes.pop(up, None) is not None:
            up.tap = up.on_report = None

    def event(self, record: Mapping[str, Any]) -> None:
        """Hand a room event over, in its place between the packets."""
        if self._closed:
            return
        n, at_us = self._number()
        self._keep(n, wire.encode_event(n, at_us, record))

    def close(self, closed_us: int | None) -> None:
        """The last input: what the recorder has by then is what there is.

        ``closed_us`` is when the session ended, or None where nobody knows (a server died).
        """
        if self._closed:
            return
        for up in list(self._indexes):
            self.remove(up)
        self._tell_overflow()
        n, at_us = self._number()
        self._keep(n, wire.encode_close(n, at_us, {"closed_us": closed_us}))
        self._closed = True
        self._flush()
        if self._tick_timer is not None:
            self._tick_timer.cancel()

    def stop(self) -> None:
        """Let go of everything: the archive is sealed, or the server ends."""
        for up in list(self._indexes):
            self.remove(up)
        self._closed = True
        self._writer = None
        for timer in (self._tick_timer, self._flush_timer):
            if timer is not None:
                timer.cancel()
        self._tick_timer = self._flush_timer = None

    def attach(self, writer: asyncio.StreamWriter, durable: int) -> None:
        """Send to this recorder, which has everything up to ``durable`` already.

        A new tap that takes up the recording of a dead server goes on counting from there.
        """
        self._n = max(self._n, durable)
        self.acknowledge(durable)
        self._writer = writer
        self._outbox = deque(self._kept)
        self._flush()

    def detach(self, writer: asyncio.StreamWriter) -> None:
        """This recorder is gone; what is kept waits for the next."""
        if self._writer is writer:
            self._writer = None

    def acknowledge(self, durable: int) -> None:
        """Forget what the recorder has on disk."""
        kept = self._kept
        while kept and kept[0][0] <= durable:
            self._kept_bytes -= len(kept.popleft()[1])
        if self._overflow and self._kept_bytes < self._limit // 2:
            self._tell_overflow()

    def _at_us(self, now_ns: int) -> int:
        """The session clock."""
        return (now_ns - self._opened_ns) // 1000

    def _number(self) -> tuple[int, int]:
        self._n += 1
        return self._n, self._at_us(self._now_ns())

    def _keep(self, n: int, frame: bytes) -> None:
        self._kept.append((n, frame))
        self._kept_bytes += len(frame)
        if self._writer is not None:
            self._outbox.append((n, frame))
            if self._flush_timer is None:
                self._flush_timer = asyncio.get_running_loop().call_later(FLUSH_LATE_S, self._flush)

    def _tap_for(self, up: UpTrack, index: int) -> Callable[[bytes, int], None]:
        """The function that the track calls for every packet: no look-ups left in it."""
        opened_ns, encode = self._opened_ns, wire.encode_rtp

        def tap(packet: bytes, now_ns: int) -> None:
            if not self.feeding:
                return
            if self._kept_bytes > self._limit:
                self._refuse(up.track_id, (now_ns - opened_ns) // 1000)
                return
            self._n = n = self._n + 1
            self._keep(n, encode(n, (now_ns - opened_ns) // 1000, index, packet))
            if now_ns > self._flush_due_ns:
                self._flush()

        return tap

    def _report(self, index: int, ntp: int, rtp: int, now_ns: int) -> None:
        if self._closed:
            return
        self._n = n = self._n + 1
        self._keep(n, wire.encode_sender_report(n, self._at_us(now_ns), index, ntp, rtp))

    def _refuse(self, track_id: str, at_us: int) -> None:
        self.refused += 1
        span = self._overflow.setdefault(track_id, [at_us, at_us, 0])
        span[1] = at_us
        span[2] += 1

    def _tell_overflow(self) -> None:
        refused, self._overflow = self._overflow, {}
        for track_id, (from_us, to_us, packets) in refused.items():
            self.event(
                {
                    "type": "tap_overflow",
                    "track_id": track_id,
                    "from_us": from_us,
                    "to_us": to_us,
                    "packets": packets,
                }
            )

    def _tick(self) -> None:
        n, at_us = self._number()
        self._keep(n, wire.encode_tick(n, at_us))
        self._tick_timer = asyncio.get_running_loop().call_later(TICK_S, self._tick)

    def _flush(self) -> None:
        if self._flush_timer is not None:
            self._flush_timer.cancel()
            self._flush_timer = None
        self._flush_due_ns = self._now_ns() + FLUSH_NS
        writer, outbox = self._writer, self._outbox
        if writer is None or writer.is_closing():
            return
        room = WRITE_AHEAD_BYTES - writer.transport.get_write_buffer_size()
        frames = []
        while outbox and room > 0:
            frame = outbox.popleft()[1]
            room -= len(frame)
            frames.append(frame)
        if frames:
            writer.write(b"".join(frames))
        if outbox:
            self._flush_timer = asyncio.get_running_loop().call_later(FLUSH_LATE_S, self._flush)
