"""From joining to the first picture: ``python -m bench.join``.

So many participants are in the room and publish; one more joins to look on. The clock runs from
opening the WebSocket to the last packet of the first whole key frame of any camera, and to that of
the camera which comes last. Publishers answer a request for a key frame with their next picture.
"""

from __future__ import annotations

import asyncio
import random
import time
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Annotated, Any

import typer

from bench import media, processes, report, servers, sessions
from bench.command import JsonOutput, prepare, run, say, show, start
from bench.packets import KeyFrameWatch, Reception, Tally

FIRST_LIMIT_MS = 500.0
PICTURE_WITHIN_S = 15.0
PAUSE_S = 0.4
"""Between two joins: the server lets a key frame be asked for so often only."""

SEED = 42
MOST = 12


@dataclass(frozen=True, slots=True)
class Row:
    """Times to the first camera and to the last, in µs and in order, with so many publishing."""

    publishers: int
    first_us: tuple[int, ...]
    all_us: tuple[int, ...]

    def to_json(self) -> dict[str, Any]:
        """The row as ``--json`` has it."""
        return {
            "publishers": self.publishers,
            "joins": len(self.first_us),
            "first_p50_ms": _ms(self.first_us, 0.5),
            "first_p95_ms": _ms(self.first_us, 0.95),
            "all_p50_ms": _ms(self.all_us, 0.5),
            "all_p95_ms": _ms(self.all_us, 0.95),
        }


def _ms(ordered_us: Sequence[int], share: float) -> float:
    return round(report.percentile(ordered_us, share) / 1000, 1)


def targets(rows: Sequence[Row]) -> list[report.Target]:
    """Issue 3: the first picture in under 500 ms, here also at the 95th percentile."""
    return [
        report.at_most(
            f"{row.publishers} publishing: first picture p95 ms",
            _ms(row.first_us, 0.95),
            FIRST_LIMIT_MS,
        )
        for row in rows
    ]


def table(rows: Sequence[Row]) -> str:
    """One line for each number of publishers."""
    headings = ("publishing", "joins", "first p50 ms", "first p95", "all p50", "all p95")
    return report.table(headings, [tuple(row.to_json().values()) for row in rows])


class _Pictures:
    """Notes when each video stream of the joining person has its first whole key frame."""

    def __init__(self) -> None:
        self.times_ns: dict[int, int] = {}
        self.changed = asyncio.Event()
        self._watches: dict[int, KeyFrameWatch] = {}

    def take(self, reception: Reception, packet: bytes) -> None:
        """A packet has come."""
        if reception.video and reception.ssrc not in self.times_ns:
            watch = self._watches.setdefault(reception.ssrc, KeyFrameWatch())
            if watch.take(packet):
                self.times_ns[reception.ssrc] = time.perf_counter_ns()
                self.changed.set()

    async def wait(self, count: int) -> list[int]:
        """The times (ns) of ``count`` first pictures, in order."""
        async with asyncio.timeout(PICTURE_WITHIN_S):
            while len(self.times_ns) < count:
                self.changed.clear()
                await self.changed.wait()
        return sorted(self.times_ns.values())


async def _join(
    admin: sessions.Installation, onlooker: sessions.Person, booked: sessions.Booked, count: int
) -> tuple[int, int]:
    """One join; µs to the first and to the last of ``count`` pictures."""
    pictures = _Pictures()
    person = admin.same_person(onlooker, pictures.take)
    try:
        started_ns = time.perf_counter_ns()
        await person.join(booked.id)
        times_ns = await pictures.wait(count)
    finally:
        await person.hang_up()
    return (times_ns[0] - started_ns) // 1000, (times_ns[-1] - started_ns) // 1000


async def _row(cpus: processes.Cpus, encoded: media.Media, publishers: int, repeats: int) -> Row:
    tally, rng = Tally(), random.Random(SEED)
    async with servers.tingxun(cpus) as server, sessions.installation(server, tally) as admin:
        people = [await admin.person() for _ in range(publishers)]
        onlooker = await admin.person()
        roles = ["questioner", *["interpreter"] * (publishers - 1), "observer"]
        booked = await admin.book("witness", list(zip([*people, onlooker], roles, strict=True)))
        try:
            for person in people:
                await person.join(booked.id)
                await person.publish(encoded, sessions.CAMERA_AND_MICROPHONE, rng)
            times = []
            for _ in range(repeats):
                await asyncio.sleep(PAUSE_S + rng.random() / 10)
                times.append(await _join(admin, onlooker, booked, publishers))
        finally:
            await onlooker.leave()
            for person in people:
                await person.hang_up()
    first_us, all_us = zip(*times, strict=True)
    return Row(publishers, tuple(sorted(first_us)), tuple(sorted(all_us)))


async def _run(
    cpus: processes.Cpus, encoded: media.Media, counts: Sequence[int], repeats: int
) -> list[Row]:
    rows = []
    for count in counts:
        say(f"measuring {count} publishing")
        async with asyncio.timeout(120 + 20 * repeats):
            rows.append(await _row(cpus, encoded, count, repeats))
    return rows


def main(
    repeats: Annotated[int, typer.Option(help="Joins for each row.", min=1)] = 20,
    least: Annotated[int, typer.Option(help="Participants that publish: from.", min=1)] = 1,
    most: Annotated[int, typer.Option(help="Participants that publish: to.", max=MOST)] = MOST,
    json_output: JsonOutput = False,
) -> None:
    """Measure the time from joining to the first picture."""
    cpus, encoded = prepare("gcm")
    rows = run(_run(cpus, encoded, range(least, most + 1), repeats))
    show([row.to_json() for row in rows], table(rows), targets(rows), json_output=json_output)


if __name__ == "__main__":
    start(main)
