"""Whatever happens in a session (loss, outages, pauses, reconnections), its archive is sealed.

Sessions are made from a seed; a seed that once showed a fault stays here.
"""

from __future__ import annotations

import heapq
import struct
from collections.abc import Callable, Iterator
from pathlib import Path
from random import Random
from typing import Any

import pytest
from recorded import make_job, record

from recorder import wire
from recorder.verify import verify

WALL = "2026-11-23T14:05:07.123Z"
NTP_AT_ZERO = (1_790_000_000 + 2_208_988_800) << 32
TICK_US = 250_000
DRAIN_US = 300_000


class Sender:
    """One source of a participant, with a clock of its own that is wrong by up to 200 ppm."""

    def __init__(
        self, rng: Random, index: int, codec: str, start_us: int, *, lies: bool = False
    ) -> None:
        self.index = index
        self.hz = 48_000 if codec == "opus" else 90_000
        self.step_us = 20_000 if codec == "opus" else rng.choice([33_333, 40_000, 66_667])
        self.ssrc, self.first_ts = rng.getrandbits(32), rng.getrandbits(32)
        self.loss = rng.choice([0, 0, 0.01, 0.2])
        self._seq = rng.getrandbits(16)
        self._rate = 1 + rng.uniform(-2e-4, 2e-4)
        self._start_us, self._key_due_us = start_us, start_us
        self._lies = lies

    def packet(self, at_us: int) -> bytes:
        self._seq = (self._seq + 1) & 0xFFFF
        payload, marker = b"\xfc" + bytes(20), 0
        if self.hz == 90_000:
            # RFC 7741: a descriptor of one byte, then the frame of VP8 (RFC 6386, 9.1).
            payload, marker = b"\x10\x11\x02\x00" + bytes(30), 0x80
            if at_us >= self._key_due_us:
                self._key_due_us = at_us + 4_000_000
                size = struct.pack("<HH", 640, 360)
                payload = b"\x10\x10\x02\x00\x9d\x01\x2a" + size + bytes(30)
        head = (0x80, 96 | marker, self._seq, self._timestamp(at_us), self.ssrc)
        return struct.pack("!BBHII", *head) + payload

    def report(self, at_us: int) -> tuple[int, int]:
        ntp, timestamp = self._honest_report(at_us)
        if not self._lies:
            return ntp, timestamp
        # Another lie every three seconds: a clock that is off, one that jumps, a rate, nonsense.
        lie, chance = Random(self.ssrc + at_us // 3_000_000), Random(at_us)
        off_us = lie.choice([0, lie.randrange(-9_000_000, 9_000_000), -8_000_000])
        off_us += lie.choice([0, 0, 1]) * chance.randrange(-5_000_000, 5_000_000)
        run_us = lie.choice([0, 0, at_us, -at_us // 2])
        if lie.random() < 0.1:
            return chance.getrandbits(64), chance.getrandbits(32)
        lied = timestamp + run_us * self.hz // 10**6
        return (ntp + (off_us << 32) // 10**6) % (1 << 64), lied & 0xFFFFFFFF

    def _honest_report(self, at_us: int) -> tuple[int, int]:
        return NTP_AT_ZERO + (int(at_us * self._rate) << 32) // 10**6, self._timestamp(at_us)

    def _timestamp(self, at_us: int) -> int:
        ticks = int((at_us - self._start_us) * self._rate * self.hz / 1e6)
        return (self.first_ts + ticks) & 0xFFFFFFFF


class Theatre:
    """Plays one session: what happens when, in the order of its arrival."""

    def __init__(self, seed: int, *, lies: bool = False) -> None:
        self.rng = Random(seed)
        self._lies = lies
        self.end_us = self.rng.randrange(8_000_000, 30_000_000)
        self._agenda: list[tuple[int, int, Callable[[int], None]]] = []
        self._out: list[wire.Input] = []
        self._n = self._count = self._index = 0
        self._now_us = 0
        self._present: dict[str, Sender] = {}
        self._outages = [
            (start, start + self.rng.randrange(100_000, 5_000_000))
            for start in (
                self.rng.randrange(self.end_us) for _ in range(self.rng.choice([0, 1, 2]))
            )
        ]

    def inputs(self) -> Iterator[wire.Input]:
        """The numbered inputs of a recorder."""
        self._plan()
        while self._agenda and self._agenda[0][0] <= self.end_us + DRAIN_US:
            self._now_us, _, act = heapq.heappop(self._agenda)
            act(self._now_us)
            yield from self._out
            self._out.clear()
        self._say(wire.CloseInput, {"closed_us": self.end_us})
        yield from self._out

    def _plan(self) -> None:
        rng, end_us = self.rng, self.end_us
        for number in range(1, rng.randint(1, 3) + 1):
            for kind, codec in (("mic", "opus"), ("cam", "VP8")):
                track = f"{kind}-{number}"
                start_us = rng.choice([0, 0, rng.randrange(end_us * 7 // 10)])
                self._at(start_us, self._starting(track, codec, number))
                if rng.random() < 0.4:
                    stop_us = rng.randrange(start_us, end_us)
                    self._at(stop_us, self._stopping(track, said=rng.random() < 0.5))
                    back_us = stop_us + rng.randrange(10_000, 6_000_000)
                    if rng.random() < 0.7:
                        self._at(back_us, self._starting(track, codec, number))
        at_us = rng.randrange(100_000, 2_000_000)
        self._at(at_us, self._event("session_live", copies=1))
        for _ in range(rng.choice([0, 1, 2])):
            pause_us = at_us + rng.randrange(500_000, 8_000_000)
            resume_us = pause_us + rng.randrange(300_000, 4_000_000)
            at_us = resume_us + rng.randrange(100_000, 1_000_000)
            if at_us + 1_000_000 < end_us:
                self._at(pause_us, self._event("session_paused", reason="rest", note=""))
                self._at(resume_us, self._event("session_resuming"))
                self._at(at_us, self._event("session_resumed", copies=1))
        self._at(TICK_US, self._tick)
        self._at(end_us, self._event("session_closing"))

    def _at(self, at_us: int, act: Callable[[int], None]) -> None:
        self._count += 1
        heapq.heappush(self._agenda, (at_us, self._count, act))

    def _say(self, kind: Callable[..., wire.Input], *values: Any) -> None:
        self._n += 1
        self._out.append(kind(self._n, self._now_us, *values))

    def _event(self, kind: str, **fields: Any) -> Callable[[int], None]:
        def act(at_us: int) -> None:
            self._say(wire.EventInput, {"type": kind, "wall": WALL, "t_us": at_us, **fields})

        return act

    def _tick(self, at_us: int) -> None:
        self._say(wire.TickInput)
        self._at(at_us + TICK_US, self._tick)

    def _starting(self, track: str, codec: str, number: int) -> Callable[[int], None]:
        def act(at_us: int) -> None:
            if track in self._present:
                return
            self._index += 1
            sender = self._present[track] = Sender(
                self.rng, self._index, codec, at_us, lies=self._lies
            )
            source = "microphone" if codec == "opus" else "camera"
            who = (f"person-{number}", f"site-{number}", "label")
            binding = (track, source, codec, sender.hz, sender.ssrc, *who)
            self._say(wire.TrackInput, sender.index, *binding)
            self._send(track, sender, at_us)
            self._at(
                at_us + self.rng.randrange(2_000_000), lambda t: self._report(track, sender, t)
            )

        return act

    def _stopping(self, track: str, *, said: bool) -> Callable[[int], None]:
        def act(at_us: int) -> None:
            if self._present.pop(track, None) is not None and said:
                self._event("track_unpublished", track_id=track, participant_id="p")(at_us)

        return act

    def _send(self, track: str, sender: Sender, at_us: int) -> None:
        if self._present.get(track) is not sender:
            return
        packet = sender.packet(at_us)
        out = any(start <= at_us < end for start, end in self._outages)
        if self.rng.random() >= sender.loss and not out:
            self._at(
                at_us + self.rng.randrange(30_000),
                lambda _: self._say(wire.RtpInput, sender.index, packet),
            )
        self._at(at_us + sender.step_us, lambda t: self._send(track, sender, t))

    def _report(self, track: str, sender: Sender, at_us: int) -> None:
        if self._present.get(track) is sender:
            self._say(wire.SenderReportInput, sender.index, *sender.report(at_us))
            self._at(
                at_us + self.rng.randrange(500_000, 3_000_000),
                lambda t: self._report(track, sender, t),
            )


@pytest.mark.parametrize("lies", [False, True])
@pytest.mark.parametrize("seed", range(6))
def test_any_session_is_sealed(tmp_path: Path, keys: Any, seed: int, lies: bool) -> None:
    """Also when the senders' reports say anything whatever."""
    job = make_job(tmp_path, keys.job, segment_target_us=4_000_000, repair_wait_us=2_000_000)
    layout = record(job, Theatre(seed, lies=lies).inputs())
    report = verify(layout.root, keys.trust)
    assert report.sealed, report.failures
