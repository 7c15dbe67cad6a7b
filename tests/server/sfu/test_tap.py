"""The tap: numbered, kept until acknowledged, sent to the next recorder, never silently full."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any, cast

from far_end import Wire, packet, track

from recorder import wire
from server.sfu.tap import Tap
from server.sfu.uptrack import UpTrack


class Recorder:
    """The far end of a tap on a real socket."""

    def __init__(self) -> None:
        self.messages: list[wire.Message] = []
        self.writer: asyncio.StreamWriter | None = None

    async def read(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        decoder = wire.Decoder()
        while chunk := await reader.read(65536):
            self.messages += decoder.feed(chunk)
        writer.close()

    def numbers(self) -> list[int]:
        return [message.n for message in self.messages if not isinstance(message, wire.Job)]  # type: ignore[union-attr]


@contextlib.asynccontextmanager
async def recorder(folder: Path) -> AsyncIterator[tuple[Recorder, asyncio.StreamWriter]]:
    far = Recorder()
    server = await asyncio.start_unix_server(far.read, folder / "tap")
    _, writer = await asyncio.open_unix_connection(folder / "tap")
    try:
        yield far, writer
    finally:
        writer.close()
        server.close()


def feed(up: UpTrack, first: int, count: int) -> None:
    for sequence in range(first, first + count):
        up.layers[0].receive(packet(sequence, payload=b"p" * 100), 1_000_000 * sequence)


async def until_n(far: Recorder, n: int) -> None:
    async with asyncio.timeout(5):
        while not far.numbers() or far.numbers()[-1] < n:
            await asyncio.sleep(0.01)


async def test_numbers_everything_and_sends_the_rest_to_the_next_recorder(tmp_path: Path) -> None:
    tap = Tap(0, lambda: 5_000_000, 1 << 20)
    up = track(Wire())
    tap.add(up, "site", "label")
    feed(up, 1, 50)
    tap.event({"type": "marker_added"})
    async with recorder(tmp_path) as (far, writer):
        tap.attach(writer, 0)
        await until_n(far, tap.n)
        assert far.numbers() == list(range(1, 53))
        kept = tap.unacknowledged_bytes
        tap.acknowledge(20)
        assert tap.unacknowledged_bytes < kept
        tap.detach(writer)
    feed(up, 51, 10)
    (tmp_path / "second").mkdir()
    async with recorder(tmp_path / "second") as (far, writer):
        tap.attach(writer, 30)
        await until_n(far, tap.n)
        assert far.numbers() == list(range(31, 63))
        last = far.messages[-1]
        assert isinstance(last, wire.RtpInput)
        assert last.packet == packet(60, payload=b"p" * 100)
        assert last.arrival_us == 60_000
    tap.stop()
    assert up.tap is None


async def test_a_pause_leaves_packets_out_but_not_events(tmp_path: Path) -> None:
    tap = Tap(0, lambda: 0, 1 << 20)
    up = track(Wire())
    tap.add(up, "", "")
    tap.feeding = False
    before = tap.n
    feed(up, 1, 5)
    assert tap.n == before
    tap.event({"type": "session_resuming"})
    assert tap.n == before + 1
    tap.stop()


async def test_a_full_buffer_refuses_counts_and_says_so(tmp_path: Path) -> None:
    tap = Tap(0, lambda: 0, 2000)
    up = track(Wire())
    tap.add(up, "", "")
    feed(up, 1, 100)
    assert tap.refused > 0
    assert tap.unacknowledged_bytes < 3000
    async with recorder(tmp_path) as (far, writer):
        tap.attach(writer, 0)
        tap.acknowledge(tap.n)
        tap.close(7)
        await until_n(far, tap.n)
        overflow = [m for m in far.messages if isinstance(m, wire.EventInput)]
        assert [m.record["type"] for m in overflow] == ["tap_overflow"]
        assert overflow[0].record["packets"] == tap.refused
        assert isinstance(far.messages[-1], wire.CloseInput)
    tap.stop()


async def test_ticks_without_packets() -> None:
    tap = Tap(0, lambda: 0, 1 << 20)
    tap.start()
    assert tap.n == 1
    tap.stop()


async def test_a_track_bound_anew_gets_a_new_index() -> None:
    tap = Tap(0, lambda: 0, 1 << 20)
    up = track(Wire())
    tap.add(up, "", "")
    up.bind(cast(Any, Wire()), 4321, 96, 1)
    tap.add(up, "", "")
    assert tap.track(0) is tap.track(1) is up
    tap.stop()
