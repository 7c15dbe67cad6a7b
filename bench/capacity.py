"""How many interrogations one core holds: ``python -m bench.capacity``.

A session: a questioner with camera, microphone and evidence display, a subject with camera and
microphone, each receiving the other, recorded. Sessions are added step by step on a fresh server
until a step fails: a packet lost in an archive, a live packet lost, or p99 latency over the limit.
The server and all its recorders share one CPU.
"""

from __future__ import annotations

import asyncio
import random
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from enum import StrEnum
from typing import Annotated, Any

import typer

from bench import media, processes, report, servers, sessions
from bench.command import prepare, run, say, start
from bench.packets import Tally
from bench.sessions import Account
from bench.windows import Window, window
from rooms.errors import TingxunError

LATENCY_LIMIT_MS = 20.0
SESSIONS_WANTED = 40
SETTLE_S = 3.0
SEED = 42
PAGE_FPS = 5.0
BUSY_CLIENT = 0.9


class Evidence(StrEnum):
    """What the evidence display shows: a film (30 pictures a second) or a page (5)."""

    FILM = "film"
    PAGE = "page"


@dataclass(frozen=True, slots=True)
class Step:
    """So many sessions at once, and what became of them. ``failure`` says why it did not hold."""

    sessions: int
    window: Window | None
    archives: Account
    memory_mib: int
    failure: str

    def to_json(self) -> dict[str, Any]:
        """The row as ``--json`` has it."""
        measured = asdict(self.window) if self.window else None
        return {
            "sessions": self.sessions,
            "window": measured,
            "packet_us": round(self.window.packet_us, 2) if self.window else None,
            "archives": asdict(self.archives),
            "memory_mib": self.memory_mib,
            "failure": self.failure,
        }


def failure_of(measured: Window, archives: Account) -> str:
    """Why a step does not hold; empty when it does."""
    if not archives.whole:
        return (
            f"archives lack {archives.lost_packets} packets, "
            f"{archives.gap_us / 1000:.0f} ms in {archives.gaps} gaps"
        )
    if measured.lost:
        return f"{measured.lost} live packets lost"
    if measured.p99_ms > LATENCY_LIMIT_MS:
        return f"p99 latency {measured.p99_ms:.1f} ms"
    return ""


def held(steps: Sequence[Step]) -> int:
    """The most sessions that held."""
    return max((step.sessions for step in steps if not step.failure), default=0)


def targets(steps: Sequence[Step]) -> list[report.Target]:
    """Issue 3: 40 a core."""
    return [report.at_least("sessions one core holds", held(steps), SESSIONS_WANTED)]


def table(steps: Sequence[Step]) -> str:
    """One line for each step."""
    rows = []
    for step in steps:
        w = step.window
        rows.append(
            (
                step.sessions,
                round(w.sent / w.seconds) if w else None,
                round(w.received / w.seconds) if w else None,
                f"{w.cpu_share:.0%}" if w else None,
                round(w.packet_us, 1) if w else None,
                f"{w.p50_ms:.2f}/{w.p99_ms:.2f}/{w.max_ms:.1f}" if w else None,
                w.lost if w else None,
                step.archives.lost_packets,
                round(step.archives.gap_us / 1000),
                step.memory_mib,
                f"{w.client_share:.0%}" if w else None,
                step.failure or "held",
            )
        )
    headings = (
        *("sessions", "in/s", "out/s", "CPU", "µs a packet", "ms p50/p99/max", "lost"),
        *("archive lost", "gap ms", "MiB", "client CPU", ""),
    )
    return report.table(headings, rows)


class _Hall:
    """The sessions of one step."""

    def __init__(self, admin: sessions.Installation, encoded: media.Media, fps: float) -> None:
        self._admin = admin
        self._media = encoded
        self._rates = {"evidence_display": fps}
        self._rng = random.Random(SEED)
        self._held: list[tuple[sessions.Booked, sessions.Person, sessions.Person]] = []

    async def add(self) -> None:
        """One more interrogation, up to being recorded."""
        officer = await self._admin.person()
        subject = await self._admin.person("terminal")
        booked = await self._admin.book(
            "interrogation", [(officer, "questioner"), (subject, "subject")]
        )
        self._held.append((booked, officer, subject))
        await officer.join(booked.id)
        await subject.join(booked.id)
        sources = (*sessions.CAMERA_AND_MICROPHONE, "evidence_display")
        await officer.publish(self._media, sources, self._rng, self._rates)
        await subject.publish(self._media, sessions.CAMERA_AND_MICROPHONE, self._rng)
        await officer.receiving(2)
        await subject.receiving(3)
        await sessions.open_session(officer)

    async def close(self) -> Account:
        """Close and seal all of them; what their archives lack together."""
        accounts = []
        await asyncio.gather(*(sessions.close_session(o, b) for b, o, _ in self._held))
        for booked, _, _ in self._held:
            archive = self._admin.server.archives / booked.id
            accounts.append(await asyncio.to_thread(sessions.account_of, archive))
        return Account(
            sum(a.lost_packets for a in accounts),
            sum(a.gaps for a in accounts),
            sum(a.gap_us for a in accounts),
        )

    async def hang_up(self) -> None:
        """End all connections."""
        for _, officer, subject in self._held:
            await officer.hang_up()
            await subject.hang_up()


async def _step(
    cpus: processes.Cpus, encoded: media.Media, count: int, seconds: float, fps: float
) -> Step:
    tally = Tally()
    measured, memory_mib, archives = None, 0, Account(0, 0, 0)
    async with servers.tingxun(cpus) as server, sessions.installation(server, tally) as admin:
        hall = _Hall(admin, encoded, fps)
        try:
            for _ in range(count):
                await hall.add()
            await asyncio.sleep(SETTLE_S)
            pids = server.pids(recorders=True)
            measured = await window(tally, pids, seconds)
            memory_mib = processes.memory_kib(pids) // 1024
            archives = await hall.close()
            failure = failure_of(measured, archives)
        except (TingxunError, TimeoutError, ConnectionError) as error:
            # Overload shows like this too: a step that cannot be set up or sealed did not hold.
            failure = f"{type(error).__name__}: {error}"
        finally:
            await hall.hang_up()
    return Step(count, measured, archives, memory_mib, failure)


async def _run(
    cpus: processes.Cpus, encoded: media.Media, counts: Sequence[int], seconds: float, fps: float
) -> list[Step]:
    steps: list[Step] = []
    for count in counts:
        say(f"measuring {count} sessions")
        async with asyncio.timeout(300 + seconds + 10 * count):
            step = await _step(cpus, encoded, count, seconds, fps)
        steps.append(step)
        if step.window and step.window.client_share > BUSY_CLIENT:
            say(f"{count} sessions: the clients were at their limit, the latency is theirs too")
        if step.failure:
            say(f"{count} sessions did not hold: {step.failure}")
            break
    return steps


def main(
    seconds: Annotated[float, typer.Option(help="Length of a step's window.")] = 20.0,
    least: Annotated[int, typer.Option(help="Sessions of the first step.", min=1)] = 4,
    step: Annotated[int, typer.Option(help="Sessions more at each step.", min=1)] = 4,
    most: Annotated[int, typer.Option(help="Sessions of the last step.")] = 60,
    evidence: Annotated[Evidence, typer.Option(help="What is displayed.")] = Evidence.FILM,
    json_output: Annotated[bool, typer.Option("--json", help="Print one JSON object.")] = False,
) -> None:
    """Find how many recorded interrogations one core holds."""
    cpus, encoded = prepare("gcm")
    fps = media.FPS if evidence is Evidence.FILM else PAGE_FPS
    steps = run(_run(cpus, encoded, range(least, most + 1, step), seconds, fps))
    reached = targets(steps)
    if json_output:
        print(report.as_json([s.to_json() for s in steps], reached))
    else:
        print(f"{table(steps)}\n\n{report.targets_text(reached)}")


if __name__ == "__main__":
    start(main)
