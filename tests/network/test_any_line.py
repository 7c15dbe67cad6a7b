"""Whatever a line does, in virtual time: what arrives is recorded once, what is missing is said.

A publisher, its track as forwarded, the tap and a recorder that dies now and then; no sockets, and
no wall clock: a failing example fails again.
"""

from __future__ import annotations

import asyncio
from pathlib import Path
from tempfile import TemporaryDirectory
from types import SimpleNamespace
from typing import Any, cast

import pytest
import virtual_time
from bad_line import Trouble
from hypothesis import given, settings
from hypothesis import strategies as st
from line_ends import CLOCKED, RECORDER_WAITS_NS, Room, Sender, Sink, picture, sound
from recorded import account, lines, make_job, record
from scribe import Keys

from recorder import certificates, wire
from recorder.reorder import Reorder
from recorder.verify import verify
from server.sfu.tap import Tap
from server.sfu.uptrack import UpTrack

SECONDS = 8.0
QUIET_S = 1.0
"""At the end the line is good: nobody can ask for the last packet of all."""

LIMIT_BYTES = 1 << 24
WALL = "2026-11-23T14:05:07.123Z"

shares = st.sampled_from([0.0, 0.0, 0.02, 0.1, 0.3])
troubles = st.builds(
    Trouble,
    loss=shares,
    burst=st.sampled_from([1.0, 1.0, 4.0, 12.0]),
    delay_s=st.sampled_from([0.0, 0.02, 0.05, 0.15]),
    jitter_s=st.sampled_from([0.0, 0.005, 0.03, 0.08]),
    reorder=shares,
    reorder_s=st.sampled_from([0.01, 0.05, 0.2]),
    duplicate=shares,
    rate_bps=st.sampled_from([0.0, 0.0, 100_000.0, 300_000.0]),
    blackouts=st.lists(
        st.tuples(st.floats(0.5, 6.0), st.floats(0.05, 3.0)).map(lambda b: (b[0], b[0] + b[1])),
        max_size=2,
    ).map(tuple),
)
numbers = st.one_of(st.integers(0, 0xFFFF), st.integers(0xFFFF - 900, 0xFFFF))
deaths = st.lists(st.floats(0.0, SECONDS), max_size=2)
"""When a recorder dies and another goes on."""

timestamps = st.one_of(st.integers(0, 0xFFFFFFFF), st.integers(0xFFFFFFFF - 500_000, 0xFFFFFFFF))


class Recorder:
    """The tap's far end: takes numbered inputs, acknowledges, and loses what it had not taken."""

    def __init__(self, tap: Tap) -> None:
        self.inputs: list[wire.Input] = []
        self.transport = SimpleNamespace(get_write_buffer_size=lambda: 0)
        self._tap = tap
        self._came = b""
        tap.attach(cast(Any, self), 0)

    def write(self, data: bytes) -> None:
        self._came += data

    def is_closing(self) -> bool:
        return False

    def die(self) -> None:
        """What was not taken is gone; the next one says where this one stood."""
        self._came = b""
        self._tap.attach(cast(Any, self), len(self.inputs))

    def take(self) -> None:
        came, self._came = self._came, b""
        for message in wire.Decoder().feed(came):
            assert isinstance(message, wire.Input)
            assert message.n == len(self.inputs) + 1
            self.inputs.append(message)
        self._tap.acknowledge(len(self.inputs))

    async def run(self, deaths_s: list[float]) -> None:
        loop = asyncio.get_running_loop()
        deaths = sorted(loop.time() + death_s for death_s in deaths_s)
        while True:
            await asyncio.sleep(0.3)
            if deaths and loop.time() >= deaths[0]:
                self.die()
                deaths.pop(0)
            else:
                self.take()


def now_ns() -> int:
    return round(asyncio.get_running_loop().time() * 1e9)


@settings(max_examples=25, deadline=None, derandomize=True)
@given(
    trouble=troubles,
    seed=st.integers(0, 1 << 16),
    first=numbers,
    timestamp=timestamps,
    deaths_s=deaths,
    codec=st.sampled_from(["VP8", "opus"]),
)
def test_what_arrives_is_recorded_once_and_the_rest_is_declared(
    trouble: Trouble, seed: int, first: int, timestamp: int, deaths_s: list[float], codec: str
) -> None:
    async def test() -> None:
        room = Room(trouble, seed, codec=codec, recorded=False)
        skipped = watch_skips(room.up)
        tap, recorder = recording(room.up)
        tasks = [asyncio.create_task(recorder.run(deaths_s))]
        tasks.append(asyncio.create_task(room.viewer.run()))
        await send(room.sender, trouble, first, timestamp)
        tap.stop()
        recorder.take()
        for task in tasks:
            task.cancel()
        room.up.close()
        check_repair(room, recorder.inputs, first, trouble, skipped)

    with pytest.MonkeyPatch.context() as patch:
        virtual_time.run(test(), patch, *CLOCKED)


@pytest.fixture(scope="session")
def keys(tmp_path_factory: pytest.TempPathFactory) -> Keys:
    directory = tmp_path_factory.mktemp("installation") / "certificates"
    return Keys(directory, certificates.ensure(directory))


def recording(*ups: UpTrack) -> tuple[Tap, Recorder]:
    tap = Tap(now_ns(), now_ns, LIMIT_BYTES)
    for up in ups:
        tap.add(up, "site", "label")
    tap.start()
    return tap, Recorder(tap)


async def send(sender: Sender, trouble: Trouble, *start: int) -> None:
    """Send on the bad line, then a little on a good one, and wait for the last repair."""
    sending = asyncio.create_task(sender.run(SECONDS + QUIET_S, *start))
    await asyncio.sleep(SECONDS)
    for pipe in (sender.to_server, sender.to_sender):
        pipe.line.trouble = Trouble(delay_s=trouble.delay_s)
    await sending
    await asyncio.sleep(3)


def watch_skips(up: UpTrack) -> list[int]:
    """Where the track gives up all that is missing at once, instead of asking for it."""
    skips: list[int] = []
    skip = up.layers[0].repair._skip

    def watched(start: int, stop: int) -> int:
        skips.append(start)
        return skip(start, stop)

    up.layers[0].repair._skip = watched  # type: ignore[method-assign]
    return skips


def check_repair(
    room: Room, inputs: list[wire.Input], first: int, trouble: Trouble, skipped: list[int]
) -> None:
    """Packet by packet; numbers count from the first one sent."""
    sender, up = room.sender, room.up
    packets = [one.packet for one in inputs if isinstance(one, wire.RtpInput)]
    recorded = [(int.from_bytes(packet[2:4]) - first) & 0xFFFF for packet in packets]
    arrived_s = {(n - first) & 0xFFFF: at_s for n, at_s in sender.arrived_s.items()}
    start, end = recorded[0], max(recorded)
    # Each once, none that never arrived, and to the end.
    assert len(recorded) == len(set(recorded)) == up.packets
    assert set(recorded) <= arrived_s.keys()
    assert end == sender.sent - 1
    missing = set(range(start, end + 1)) - set(recorded)
    assert len(missing) == up.lost
    noticed_s: dict[int, float] = {}
    newer_s = float("inf")
    for n in range(end, start - 1, -1):
        noticed_s[n] = newer_s
        newer_s = min(newer_s, arrived_s.get(n, newer_s))
    patience_s = RECORDER_WAITS_NS / 1e9
    if not skipped:
        longest_s = 2 * (trouble.delay_s + trouble.jitter_s + trouble.queue_s) + trouble.reorder_s
        for n in missing:
            # What came in time was taken, and what did not was asked for again and again.
            assert arrived_s.get(n, float("inf")) - noticed_s[n] >= patience_s
            asked = sender.asked_for[(first + n) & 0xFFFF]
            assert asked >= patience_s / (max(longest_s, 0.04) + 0.02) - 1
    # The recorder hands over or declares every number, once.
    late = sum(arrived_s[n] - noticed_s[n] > patience_s - 0.001 for n in recorded)
    numbers, lost = handed_over(inputs)
    assert numbers == sorted(set(numbers))
    assert numbers[-1] - numbers[0] == end - start == len(numbers) + lost - 1
    assert len(missing) <= lost <= len(missing) + late
    # A viewer is sent what is recorded, in the same order, under numbers without a hole of ours.
    forwarded = room.viewer.forwarded
    assert len({(a - b) & 0xFFFF for a, b in zip(forwarded, recorded, strict=True)}) == 1


def handed_over(inputs: list[wire.Input]) -> tuple[list[int], int]:
    """Which numbers the recorder's order hands on, and how many it declares lost."""
    sink = Sink()
    (track,) = (one for one in inputs if isinstance(one, wire.TrackInput))
    reorder = Reorder(track.ssrc, RECORDER_WAITS_NS // 1000, cast(Any, sink), lambda at_us: None)
    for one in inputs:
        if isinstance(one, wire.RtpInput):
            reorder.push(one.packet, one.arrival_us)
        else:
            reorder.expire(one.arrival_us)
    reorder.flush()
    return sink.numbers, sink.lost


class Party:
    """A camera and a microphone behind one line."""

    def __init__(self, trouble: Trouble, seed: int) -> None:
        self.ups = {
            track: UpTrack(track, "a", source, codec, hz, RECORDER_WAITS_NS)
            for track, source, codec, hz in (
                ("cam-1", "camera", "VP8", 90_000),
                ("mic-1", "microphone", "opus", 48_000),
            )
        }
        self.senders = {
            track: Sender(up, trouble, seed + n, 1.0, 5000 + 7 * n, picture if not n else sound)
            for n, (track, up) in enumerate(self.ups.items())
        }


@settings(max_examples=6, deadline=None, derandomize=True)
@given(trouble=troubles, seed=st.integers(0, 1 << 16), first=numbers, deaths_s=deaths)
def test_the_archive_says_what_it_lacks(
    keys: Keys, trouble: Trouble, seed: int, first: int, deaths_s: list[float]
) -> None:
    inputs: list[wire.Input] = []
    party: list[Party] = []

    async def test() -> None:
        party.append(Party(trouble, seed))
        (one,) = party
        opened_ns = now_ns()
        tap, recorder = recording(*one.ups.values())
        tap.event({"type": "session_live", "wall": WALL, "t_us": 0, "copies": 1})
        running = asyncio.create_task(recorder.run(deaths_s))
        rates = {"cam-1": 25, "mic-1": 50}
        async with asyncio.TaskGroup() as group:
            for n, (track, sender) in enumerate(one.senders.items()):
                group.create_task(send(sender, trouble, first + n, first << 16, rates[track]))
        tap.close((now_ns() - opened_ns) // 1000)
        recorder.take()
        running.cancel()
        inputs.extend(recorder.inputs)
        for up in one.ups.values():
            up.close()

    with pytest.MonkeyPatch.context() as patch:
        virtual_time.run(test(), patch, *CLOCKED)
    with TemporaryDirectory() as folder:
        job = make_job(Path(folder), keys.job, repair_wait_us=RECORDER_WAITS_NS // 1000)
        layout = record(job, inputs)
        report = verify(layout.root, keys.trust)
        assert report.sealed, report.failures
        for track, up in party[0].ups.items():
            told = account(layout, track)
            gaps = [(gap["from_us"], gap["to_us"]) for gap in lines(layout, "gap", track)]
            assert told["gap_us"] == sum(end - start for start, end in gaps)
            whole_us = told["captured_us"] + told["gap_us"]
            assert abs(told["expected_us"] - whole_us) <= 100_000, told
            if up.lost:
                assert gaps, "packets are missing, and no gap is declared"
