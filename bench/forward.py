"""What forwarding a packet costs, ours beside Janus VideoRoom: ``python -m bench.forward``.

The same clients, media, rates and SRTP profile on both; for each row the two servers are measured
one after the other, and without recording the floor (:mod:`bench.floor`), below which no server in
Python can be on this machine. Prints a table, or with ``--json`` one object with ``rows`` and
``targets``.
"""

from __future__ import annotations

import asyncio
import contextlib
import random
import re
from collections.abc import AsyncIterator, Sequence
from dataclasses import asdict, dataclass
from enum import StrEnum
from typing import Annotated, Any

import typer

from bench import floor, media, processes, report, servers, sessions
from bench.command import JsonOutput, janus_present, prepare, run, say, show, start
from bench.load import PROFILES
from bench.packets import Tally
from bench.videoroom import video_room
from bench.windows import Figures, Window, figures, window

SETTLE_S = 4.0
"""After the last connection and before the first window."""

SEED = 42
RATIO_LIMIT, RATIO_LIMIT_RECORDED, LATENCY_RATIO_LIMIT = 0.45, 0.6, 1.0
BUSY_CLIENT = 0.85
"""A client that uses more than this of its CPU adds latency of its own."""


class Profile(StrEnum):
    """SRTP protection profiles by the names of the command line."""

    GCM = "gcm"
    CM = "cm"


class Codec(StrEnum):
    """Video codecs by the names of the command line."""

    VP8 = "vp8"
    H264 = "h264"


@dataclass(frozen=True, slots=True)
class Scenario:
    """``publishers`` of ``people`` send; everybody receives what the others send."""

    name: str
    publishers: int
    people: int
    record: bool


def scenarios() -> list[Scenario]:
    """The rows: each without recording, then each with."""
    plain = [Scenario(f"mesh-{n}", n, n, False) for n in (2, 6)]
    plain += [Scenario(f"one-to-{n}", 1, n + 1, False) for n in (5, 10, 20)]
    recorded = [Scenario(f"{s.name}+rec", s.publishers, s.people, True) for s in plain]
    return plain + recorded


@dataclass(frozen=True, slots=True)
class Row:
    """One scenario on both servers; ``janus`` and ``floor`` are None when not measured."""

    scenario: Scenario
    codec: str
    ours: Figures
    janus: Figures | None
    floor: Figures | None
    archive: sessions.Account | None
    """What our archive lacks, where there was a recording."""

    @property
    def cost_ratio(self) -> float | None:
        """Our µs for each packet over Janus's."""
        return report.ratio(self.ours.packet_us, self.janus.packet_us if self.janus else None)

    @property
    def latency_ratio(self) -> float | None:
        """Our p99 latency over Janus's."""
        return report.ratio(self.ours.p99_ms, self.janus.p99_ms if self.janus else None)

    def to_json(self) -> dict[str, Any]:
        """The row as ``--json`` has it."""
        return {
            "name": self.scenario.name,
            "publishers": self.scenario.publishers,
            "people": self.scenario.people,
            "record": self.scenario.record,
            "codec": self.codec,
            "ours": asdict(self.ours),
            "janus": asdict(self.janus) if self.janus else None,
            "floor": asdict(self.floor) if self.floor else None,
            "cost_ratio": self.cost_ratio,
            "p99_ratio": self.latency_ratio,
            "archive": asdict(self.archive) if self.archive else None,
        }


def targets(rows: Sequence[Row]) -> list[report.Target]:
    """Issue 3: at most 0.45 of Janus, 0.6 with recording; p99 latency no higher."""
    found = []
    for row in rows:
        limit = RATIO_LIMIT_RECORDED if row.scenario.record else RATIO_LIMIT
        name = row.scenario.name
        found.append(report.at_most(f"{name}: µs a packet / Janus", row.cost_ratio, limit))
        found.append(
            report.at_most(f"{name}: p99 latency / Janus", row.latency_ratio, LATENCY_RATIO_LIMIT)
        )
    return found


def table(rows: Sequence[Row]) -> str:
    """Up to three lines for each row: ours, Janus, the floor."""
    lines: list[tuple[object, ...]] = []
    for row in rows:
        for name, f in (("tingxun", row.ours), ("janus", row.janus), ("floor", row.floor)):
            if f is None:
                continue
            ours = name == "tingxun"
            lines.append(
                (
                    row.scenario.name if ours else "",
                    name,
                    round(f.in_per_s),
                    round(f.out_per_s),
                    f"{f.cpu_share:.1%}",
                    f"{f.packet_us_least:.1f}/{f.packet_us:.1f}/{f.packet_us_most:.1f}",
                    row.cost_ratio if ours else None,
                    f"{f.p50_ms:.2f}/{f.p99_ms:.2f}",
                    row.latency_ratio if ours else None,
                    f.memory_kib,
                    f.lost,
                    (row.archive.lost_packets if row.archive else None) if ours else None,
                    f"{f.client_share:.0%}",
                    round(f.client_us, 1),
                )
            )
    headings = (
        *("row", "server", "in/s", "out/s", "CPU", "µs a packet min/med/max", "ratio"),
        *("ms p50/p99", "ratio", "KiB/person", "lost", "archive lost", "client CPU", "µs"),
    )
    return report.table(headings, lines)


@contextlib.asynccontextmanager
async def _hung_up(people: Sequence[sessions.Person]) -> AsyncIterator[None]:
    try:
        yield
    finally:
        for person in people:
            await person.hang_up()


@dataclass(frozen=True, slots=True)
class Bench:
    """One run's settings."""

    cpus: processes.Cpus
    media: media.Media
    profile: str
    """By its name on the command line."""
    seconds: float
    windows: int
    with_janus: bool
    with_floor: bool

    async def row(self, scenario: Scenario) -> Row:
        """Measure both servers, and the floor where nothing is recorded."""
        ours, archive = await self.tingxun(scenario)
        janus = await self.janus(scenario) if self.with_janus else None
        bare = self.with_floor and not scenario.record
        lowest = await self.floor(scenario) if bare else None
        return Row(scenario, self.media.codec, ours, janus, lowest, archive)

    async def tingxun(self, scenario: Scenario) -> tuple[Figures, sessions.Account | None]:
        """Measure ours; with recording also read what the sealed archive says is missing."""
        tally, rng = Tally(), random.Random(SEED)
        async with (
            servers.tingxun(self.cpus, codec=self.media.codec) as server,
            sessions.installation(server, tally) as admin,
        ):
            before_kib = processes.memory_kib(server.pids(recorders=True))
            people = [await admin.person() for _ in range(scenario.people)]
            async with _hung_up(people):
                # An observer may only look on; an interpreter may also publish.
                roles = ["questioner", *["interpreter"] * (scenario.publishers - 1)]
                roles += ["observer"] * (scenario.people - scenario.publishers)
                booked = await admin.book("witness", list(zip(people, roles, strict=True)))
                for person in people:
                    await person.join(booked.id)
                publishers = people[: scenario.publishers]
                for person in publishers:
                    await person.publish(self.media, sessions.CAMERA_AND_MICROPHONE, rng)
                for person in people:
                    others = scenario.publishers - (person in publishers)
                    await person.receiving(2 * others)
                if scenario.record:
                    await sessions.open_session(people[0])
                pids = server.pids(recorders=scenario.record)
                found = await self._windows(tally, pids)
                after_kib = processes.memory_kib(server.pids(recorders=True))
                archive = None
                if scenario.record:
                    await sessions.close_session(people[0], booked)
                    archive = sessions.account_of(server.archives / booked.id)
        memory_kib = round((after_kib - before_kib) / scenario.people)
        return self._figures(found, memory_kib), archive

    async def janus(self, scenario: Scenario) -> Figures:
        """Measure Janus; with recording it writes .mjr files."""
        tally, rng = Tally(), random.Random(SEED)
        async with (
            servers.janus(self.cpus) as server,
            video_room(server, tally, self.media.codec, record=scenario.record) as room,
        ):
            pids = server.pids(recorders=True)
            before_kib = processes.memory_kib(pids)
            feeds = [
                await room.publish(self.media, sessions.CAMERA_AND_MICROPHONE, rng)
                for _ in range(scenario.publishers)
            ]
            for number in range(scenario.people):
                wanted = [feed for at, feed in enumerate(feeds) if at != number]
                if wanted:
                    await room.subscribe(wanted)
            found = await self._windows(tally, pids)
            after_kib = processes.memory_kib(pids)
        return self._figures(found, round((after_kib - before_kib) / scenario.people))

    async def floor(self, scenario: Scenario) -> Figures:
        """Measure the floor."""
        tally, rng = Tally(), random.Random(SEED)
        async with floor.floor(self.cpus, self.profile, scenario.people) as bare:
            before_kib = processes.memory_kib([bare.pid])
            bare.connect(self.media, tally, rng, scenario.publishers)
            found = await self._windows(tally, [bare.pid])
            after_kib = processes.memory_kib([bare.pid])
        return self._figures(found, round((after_kib - before_kib) / scenario.people))

    def _figures(self, found: Sequence[Window], memory_kib: int) -> Figures:
        return figures(found, PROFILES[self.profile].decode(), memory_kib)

    async def _windows(self, tally: Tally, pids: list[int]) -> list[Window]:
        await asyncio.sleep(SETTLE_S)
        return [await window(tally, pids, self.seconds) for _ in range(self.windows)]


async def _run(bench: Bench, wanted: Sequence[Scenario]) -> list[Row]:
    rows = []
    for scenario in wanted:
        say(f"measuring {scenario.name}")
        # Three minutes beyond the windows are for starting, connecting and sealing.
        limit_s = 3 * bench.windows * bench.seconds + 180
        async with asyncio.timeout(limit_s):
            row = await bench.row(scenario)
        for name, f in (("tingxun", row.ours), ("janus", row.janus)):
            if f is not None and f.client_share > BUSY_CLIENT:
                say(f"{scenario.name}: the clients of {name} were busy: its latency is theirs too")
        rows.append(row)
    return rows


def main(
    seconds: Annotated[float, typer.Option(help="Length of a window.")] = 20.0,
    windows: Annotated[int, typer.Option(help="Windows for each row and server.", min=1)] = 3,
    rows: Annotated[str, typer.Option(help="Only rows whose name this matches (regex).")] = ".",
    profile: Annotated[Profile, typer.Option(help="SRTP profile on both sides.")] = Profile.GCM,
    codec: Annotated[Codec, typer.Option(help="Video codec.")] = Codec.VP8,
    with_floor: Annotated[
        bool, typer.Option("--floor/--no-floor", help="Measure the least possible in Python too.")
    ] = True,
    json_output: JsonOutput = False,
) -> None:
    """Compare what forwarding costs with Janus VideoRoom."""
    wanted = [scenario for scenario in scenarios() if re.search(rows, scenario.name)]
    if not wanted:
        raise typer.BadParameter(f"no row matches {rows!r}")
    with_janus = janus_present()
    cpus, encoded = prepare(profile.value, codec.value.upper())
    bench = Bench(cpus, encoded, profile.value, seconds, windows, with_janus, with_floor)
    found = run(_run(bench, wanted))
    show([row.to_json() for row in found], table(found), targets(found), json_output=json_output)


if __name__ == "__main__":
    start(main)
