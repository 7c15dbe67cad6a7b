"""Whether anything grows: ``python -m bench.soak --minutes 30``.

A recorded interrogation runs for that long while somebody else comes and goes every half minute.
Memory and descriptors of the server and of the recorder are noted, and how long the server's event
loop lets a message wait (a `ping` each half second). The last third is compared with the first,
after a warm-up.
"""

from __future__ import annotations

import asyncio
import contextlib
import random
import time
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from statistics import median
from typing import Annotated

import typer

from bench import media, processes, report, servers, sessions
from bench.command import JsonOutput, prepare, run, say, show, start
from bench.packets import Tally

SAMPLES = 60
"""At most one sample in ten seconds, and no more than so many lines of the table."""

SHORTEST_SAMPLE_S = 2.0
PING_EVERY_S = 0.5
VISIT_EVERY_S = 30.0
VISIT_S = 5.0
WARM_UP = 0.1
"""Share of the run that is left out: caches fill, allocators find their size."""

MEMORY_GROWTH_LIMIT_MIB = 8.0
DESCRIPTOR_GROWTH_LIMIT = 0.0
LAG_GROWTH_LIMIT_MS = 5.0
SEED = 42


@dataclass(frozen=True, slots=True)
class Sample:
    """The state at one moment; the lag is of the pings since the sample before."""

    at_s: float
    server_mib: float
    recorder_mib: float
    server_descriptors: int
    recorder_descriptors: int
    cpu_share: float
    lag_p50_ms: float
    lag_p99_ms: float


def growth(values: Sequence[float]) -> float | None:
    """Median of the last third less that of the first, the warm-up left out; None of too few."""
    kept = values[round(len(values) * WARM_UP) :]
    third = len(kept) // 3
    if not third:
        return None
    return round(median(kept[-third:]) - median(kept[:third]), 3)


def targets(samples: Sequence[Sample], archive: sessions.Account | None) -> list[report.Target]:
    """Everything stays flat, and nothing is missing in the archive."""
    found = []
    for name, of, limit in (
        ("server memory growth MiB", "server_mib", MEMORY_GROWTH_LIMIT_MIB),
        ("recorder memory growth MiB", "recorder_mib", MEMORY_GROWTH_LIMIT_MIB),
        ("server descriptors growth", "server_descriptors", DESCRIPTOR_GROWTH_LIMIT),
        ("recorder descriptors growth", "recorder_descriptors", DESCRIPTOR_GROWTH_LIMIT),
        ("event-loop lag p99 growth ms", "lag_p99_ms", LAG_GROWTH_LIMIT_MS),
    ):
        values = [float(getattr(sample, of)) for sample in samples]
        found.append(report.at_most(name, growth(values), limit))
    lost = None if archive is None else float(archive.lost_packets)
    found.append(report.at_most("packets lost in the archive", lost, 0.0))
    return found


def table(samples: Sequence[Sample]) -> str:
    """One line for each sample."""
    headings = (
        *("s", "server MiB", "recorder MiB", "server fds", "recorder fds"),
        *("CPU", "lag p50 ms", "lag p99 ms"),
    )
    rows = []
    for s in samples:
        row: list[object] = list(asdict(s).values())
        row[5] = f"{s.cpu_share:.1%}"
        rows.append(row)
    return report.table(headings, rows)


class _Soak:
    def __init__(self, server: servers.Tingxun, admin: sessions.Installation) -> None:
        self._server = server
        self._admin = admin
        self._lags_us: list[int] = []

    async def ping(self, person: sessions.Person) -> None:
        """Ask how long a message waits, for ever."""
        while True:
            started_ns = time.perf_counter_ns()
            await person.request("ping")
            self._lags_us.append((time.perf_counter_ns() - started_ns) // 1000)
            await asyncio.sleep(PING_EVERY_S)

    async def visit(self, onlooker: sessions.Person, booked: sessions.Booked) -> None:
        """Come, receive for a while, go; for ever."""
        while True:
            await asyncio.sleep(VISIT_EVERY_S - VISIT_S)
            person = self._admin.same_person(onlooker)
            try:
                await person.join(booked.id)
                await person.receiving(4)
                await asyncio.sleep(VISIT_S)
            finally:
                await person.hang_up()

    async def samples(self, seconds: float) -> list[Sample]:
        """Look at the processes at even intervals."""
        interval_s = max(seconds / SAMPLES, SHORTEST_SAMPLE_S)
        started_s, samples = time.monotonic(), []
        while True:
            pids = self._server.pids(recorders=True)
            before_ns, before_s = processes.cpu_ns(pids), time.monotonic()
            self._lags_us.clear()
            await asyncio.sleep(interval_s)
            spent_ns = processes.cpu_ns(pids) - before_ns
            server, recorders = self._server.pids(recorders=False), self._server.recorders()
            lags_us, now_s = sorted(self._lags_us), time.monotonic()
            samples.append(
                Sample(
                    at_s=round(now_s - started_s, 1),
                    server_mib=round(processes.memory_kib(server) / 1024, 1),
                    recorder_mib=round(processes.memory_kib(recorders) / 1024, 1),
                    server_descriptors=processes.descriptors(server),
                    recorder_descriptors=processes.descriptors(recorders),
                    cpu_share=round(spent_ns / 1e9 / (now_s - before_s), 4),
                    lag_p50_ms=round(report.percentile(lags_us, 0.5) / 1000, 2),
                    lag_p99_ms=round(report.percentile(lags_us, 0.99) / 1000, 2),
                )
            )
            if now_s - started_s >= seconds:
                return samples


async def _run(
    cpus: processes.Cpus, encoded: media.Media, seconds: float
) -> tuple[list[Sample], sessions.Account]:
    tally, rng = Tally(), random.Random(SEED)
    async with servers.tingxun(cpus) as server, sessions.installation(server, tally) as admin:
        people = [await admin.person() for _ in range(2)]
        onlooker = await admin.person()
        roles = ("questioner", "interpreter", "observer")
        booked = await admin.book("witness", list(zip([*people, onlooker], roles, strict=True)))
        soak = _Soak(server, admin)
        tasks: list[asyncio.Task[None]] = []
        try:
            for person in people:
                await person.join(booked.id)
                await person.publish(encoded, sessions.CAMERA_AND_MICROPHONE, rng)
            for person in people:
                await person.receiving(2)
            await sessions.open_session(people[0])
            tasks.append(asyncio.create_task(soak.ping(people[0])))
            tasks.append(asyncio.create_task(soak.visit(onlooker, booked)))
            samples = await soak.samples(seconds)
            for task in tasks:
                if task.done():
                    # Neither ends by itself: the run is worth nothing then.
                    task.result()
            await sessions.close_session(people[0], booked)
            account = sessions.account_of(server.archives / booked.id)
        finally:
            for task in tasks:
                task.cancel()
                with contextlib.suppress(asyncio.CancelledError):
                    await asyncio.wait([task], timeout=5.0)
            await onlooker.leave()
            for person in people:
                await person.hang_up()
    return samples, account


def main(
    minutes: Annotated[float, typer.Option(help="How long to run.")] = 30.0,
    json_output: JsonOutput = False,
) -> None:
    """Run a recorded session for long and see whether anything grows."""
    cpus, encoded = prepare("gcm")
    say(f"running for {minutes:g} minutes")
    samples, archive = run(_run(cpus, encoded, minutes * 60))
    rows = [asdict(sample) for sample in samples]
    show(rows, table(samples), targets(samples, archive), json_output=json_output)


if __name__ == "__main__":
    start(main)
