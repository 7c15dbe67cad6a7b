"""How many interrogations one core holds: ``python -m bench.capacity``.

A session: a questioner with camera, microphone and evidence display, a subject with camera and
microphone, each receiving the other, recorded. The number is doubled on a fresh server until a step
fails: a packet lost in an archive, a live packet lost, or p99 latency over the limit. Then the
middle between what held and what failed is tried, until they are close. The server, its media
process and all its recorders share one CPU.
"""

from __future__ import annotations

import asyncio
import random
from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass
from enum import StrEnum
from typing import Annotated, Any

import typer

from bench import media, processes, report, servers, sessions
from bench.command import JsonOutput, prepare, run, say, show, start
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
LEAST_FORWARDED = 0.98
"""Of what comes in, in a room of two: less, and a picture was withheld."""

FULL = 0.93
"""A CPU that is used more than this has nothing left."""


class Evidence(StrEnum):
    """What the evidence display shows: a film (30 pictures a second) or a page (5)."""

    FILM = "film"
    PAGE = "page"


@dataclass(frozen=True, slots=True)
class Step:
    """So many sessions at once, and what became of them.

    ``failure`` says why it did not hold, ``limit`` which resource had nothing left.
    """

    sessions: int
    window: Window | None
    archives: Account
    server_mib: int
    recorders_mib: int
    failure: str
    limit: str = ""

    def to_json(self) -> dict[str, Any]:
        """The row as ``--json`` has it."""
        measured = asdict(self.window) if self.window else None
        return {
            "sessions": self.sessions,
            "window": measured,
            "packet_us": round(self.window.packet_us, 2) if self.window else None,
            "archives": asdict(self.archives),
            "server_mib": self.server_mib,
            "recorders_mib": self.recorders_mib,
            "failure": self.failure,
            "limit": self.limit,
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
    forwarded = measured.received / max(1, measured.sent)
    if forwarded < LEAST_FORWARDED:
        return f"only {forwarded:.0%} of what was sent came out live"
    if measured.p99_ms > LATENCY_LIMIT_MS:
        return f"p99 latency {measured.p99_ms:.1f} ms"
    return ""


def limit_of(measured: Window) -> str:
    """Which resource had nothing left, of those that are measured."""
    server = measured.cpu_share - measured.recorder_share
    shares = f"server {server:.0%}, recorders {measured.recorder_share:.0%}"
    if measured.client_share > BUSY_CLIENT:
        return f"the clients' CPU; {shares}"
    if measured.cpu_share > FULL:
        return f"the server's CPU: {shares}"
    if measured.cpu_share + measured.others_share > FULL:
        return f"others' processes took {measured.others_share:.0%} of the server's CPU; {shares}"
    return f"no CPU was full: {shares}, clients {measured.client_share:.0%}"


def next_count(steps: Sequence[Step], least: int, close: int, most: int) -> int | None:
    """How many sessions to try next: twice as many, after a failure the middle; None at the end.

    The end is when the least that failed is at most ``close`` above the most that held.
    """
    if not steps:
        return min(least, most)
    best = held(steps)
    failed = min((step.sessions for step in steps if step.failure), default=None)
    if failed is None:
        return min(2 * best, most) if best < most else None
    return (best + failed) // 2 if failed - best > close else None


def held(steps: Sequence[Step]) -> int:
    """The most sessions that held, of those below the first number that did not."""
    failed = min((step.sessions for step in steps if step.failure), default=None)
    return max(
        (s.sessions for s in steps if not s.failure and (failed is None or s.sessions < failed)),
        default=0,
    )


def targets(steps: Sequence[Step]) -> list[report.Target]:
    """Issue 3: 40 a core."""
    return [report.at_least("sessions one core holds", held(steps), SESSIONS_WANTED)]


def table(steps: Sequence[Step]) -> str:
    """One line for each step, by the number of sessions."""
    rows = []
    for step in sorted(steps, key=lambda step: step.sessions):
        w = step.window
        rows.append(
            (
                step.sessions,
                round(w.sent / w.seconds) if w else None,
                round(w.received / w.seconds) if w else None,
                f"{w.cpu_share - w.recorder_share:.0%}" if w else None,
                f"{w.recorder_share:.0%}" if w else None,
                round(w.packet_us, 1) if w else None,
                f"{w.p50_ms:.2f}/{w.p99_ms:.2f}/{w.max_ms:.1f}" if w else None,
                w.lost if w else None,
                step.archives.lost_packets,
                round(step.archives.gap_us / 1000),
                step.server_mib,
                step.recorders_mib,
                f"{w.client_share:.0%}" if w else None,
                round(w.client_us, 1) if w else None,
                f"{step.failure} ({step.limit})" if step.failure else "held",
            )
        )
    headings = (
        *("sessions", "in/s", "out/s", "server CPU", "recorders", "µs a packet"),
        *("ms p50/p99/max", "lost", "archive lost", "gap ms", "server MiB", "recorders"),
        *("client CPU", "µs", ""),
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
    measured, archives, memory_mib = None, Account(0, 0, 0), (0, 0)
    limit = ""
    async with servers.tingxun(cpus) as server, sessions.installation(server, tally) as admin:
        hall = _Hall(admin, encoded, fps)
        try:
            for _ in range(count):
                await hall.add()
            await asyncio.sleep(SETTLE_S)
            pids, recorders = server.pids(recorders=True), server.recorders()
            measured = await window(tally, pids, seconds, recorders=recorders, cpu=cpus.server)
            limit = limit_of(measured)
            memory_mib = (
                processes.memory_kib(server.pids(recorders=False)) // 1024,
                processes.memory_kib(recorders) // 1024,
            )
            archives = await hall.close()
            failure = failure_of(measured, archives)
            if failure:
                say(server.said())
        except (TingxunError, TimeoutError, ConnectionError) as error:
            # Overload shows like this too: a step that cannot be set up or sealed did not hold.
            failure = f"{type(error).__name__}: {error}"
            limit = limit or "it could not be set up"
            say(server.said())
        finally:
            await hall.hang_up()
    return Step(count, measured, archives, *memory_mib, failure, limit if failure else "")


async def _run(
    cpus: processes.Cpus,
    encoded: media.Media,
    following: Callable[[Sequence[Step]], int | None],
    seconds: float,
    fps: float,
) -> list[Step]:
    steps: list[Step] = []
    while (count := following(steps)) is not None:
        say(f"measuring {count} sessions")
        async with asyncio.timeout(300 + seconds + 10 * count):
            step = await _step(cpus, encoded, count, seconds, fps)
        steps.append(step)
        if step.window and step.window.client_share > BUSY_CLIENT:
            say(f"{count} sessions: the clients were at their limit, the latency is theirs too")
        if step.failure:
            say(f"{count} sessions did not hold: {step.failure} ({step.limit})")
    return steps


def main(
    seconds: Annotated[float, typer.Option(help="Length of a step's window.")] = 20.0,
    least: Annotated[int, typer.Option(help="Sessions of the first step.", min=1)] = 10,
    step: Annotated[int, typer.Option(help="So close is close enough.", min=1)] = 3,
    most: Annotated[int, typer.Option(help="No more sessions than this.", min=1)] = 60,
    evidence: Annotated[Evidence, typer.Option(help="What is displayed.")] = Evidence.FILM,
    json_output: JsonOutput = False,
) -> None:
    """Find how many recorded interrogations one core holds."""
    cpus, encoded = prepare("gcm")
    fps = media.FPS if evidence is Evidence.FILM else PAGE_FPS

    def following(steps: Sequence[Step]) -> int | None:
        return next_count(steps, least, step, most)

    steps = run(_run(cpus, encoded, following, seconds, fps))
    show([s.to_json() for s in steps], table(steps), targets(steps), json_output=json_output)


if __name__ == "__main__":
    start(main)
