"""What bad lines leave of a session, archived and live: ``python -m bench.lines``.

A headless terminal sends picture and sound and knows each frame that it sent; a real Chromium
receives them, and sends its own. All media takes the way through :mod:`bench.relay`, by seed. What
is in the archive is read from its ledger, what was seen from Chromium's own statistics.
"""

from __future__ import annotations

import asyncio
import re
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from typing import Annotated, Any

import av
import typer

from bench import processes, report, servers, sessions
from bench.command import JsonOutput, run, say, show, start
from bench.line import Trouble
from bench.onlooker import Onlooker, onlooker
from bench.packets import Tally
from bench.relay import BadLine, relay, without_candidates
from bench.tracks import Kept, archived_percent, kept, read_ledger
from server.agent.picture import FRAMES_PER_SECOND, ClockPicture
from server.agent.sources import (
    LATENCY_S,
    PACKETS_PER_SECOND,
    SoundSource,
    SourceClock,
    Tone,
    VideoSource,
)
from server.agent.terminal import Terminal
from server.sfu import seam

SETTLES_S = 5.0
"""Pictures wait longer once packets are lost; that change is no freeze of the line's."""

SEED = 11
HALF_WAY_S = 0.05
"""One way of every bad line: a round trip of 100 ms."""

LOOK_S = 1.0
"""Chromium tells of a freeze when it is over: a picture that never comes back shows here."""

LIVE_WITHIN_S, SEALED_WITHIN_S, MEDIA_WITHIN_S = 30.0, 60.0, 20.0
STEP_S = {"cam": 1 / FRAMES_PER_SECOND, "mic": 1 / PACKETS_PER_SECOND}

ARCHIVED_AT_5, SOUND_AT_20, FROZEN_AT_5, CONCEALED_WHEN_NARROW = 99.9, 99.0, 1.0, 5.0
UNSAID_S = 0.1


@dataclass(frozen=True, slots=True)
class Scenario:
    """One line: of those who publish (both ways), and of those who receive (both ways)."""

    name: str
    publishing: Trouble
    receiving: Trouble


@dataclass(frozen=True, slots=True)
class Row:
    """What one line left. Percent; ``archived`` of the terminal's own count of frames."""

    line: str
    archived_cam: float
    archived_mic: float
    browser_cam: float
    browser_mic: float
    gaps: int
    gap_s: float
    unsaid_s: float
    frozen: float
    concealed: float
    sent_per_s: float
    seen_per_s: float


def scenarios() -> list[Scenario]:
    """Every line that is measured."""

    def both(name: str, **trouble: Any) -> Scenario:
        made = Trouble(delay_s=HALF_WAY_S, **trouble)
        return Scenario(name, made, made)

    def down(name: str, **trouble: Any) -> Scenario:
        return Scenario(name, Trouble(delay_s=HALF_WAY_S), Trouble(delay_s=HALF_WAY_S, **trouble))

    return [
        both("loss-0"),
        both("loss-5", loss=0.05),
        both("loss-10", loss=0.10),
        both("loss-20", loss=0.20),
        both("burst-5", loss=0.05, burst=8.0),
        both("reorder", jitter_s=0.03, reorder=0.05),
        both("duplicate", duplicate=0.2),
        down("down-300k", rate_bps=300_000.0),
        down("down-300k-15", rate_bps=300_000.0, loss=0.15),
    ]


def targets(rows: Sequence[Row]) -> list[report.Target]:
    """The issue's: 5 %, 20 %, nothing unsaid on any line, and sound first on a narrow one."""
    by = {row.line: row for row in rows}
    five, twenty, narrow = by.get("loss-5"), by.get("loss-20"), by.get("down-300k-15")
    found = [
        report.at_least(
            f"{name} in the archive at 5 %, percent",
            None if five is None else getattr(five, field),
            ARCHIVED_AT_5,
        )
        for name, field in (
            ("camera frames", "archived_cam"),
            ("sound packets", "archived_mic"),
            ("the browser's camera", "browser_cam"),
            ("the browser's sound", "browser_mic"),
        )
    ]
    found.append(
        report.at_most(
            "frozen live at 5 %, percent", None if five is None else five.frozen, FROZEN_AT_5
        ),
    )
    found += [
        report.at_least(
            f"{name} in the archive at 20 %, percent",
            None if twenty is None else getattr(twenty, field),
            SOUND_AT_20,
        )
        for name, field in (("sound packets", "archived_mic"), ("browser's sound", "browser_mic"))
    ]
    unsaid = max((abs(row.unsaid_s) for row in rows), default=None)
    found.append(report.at_most("missing and not declared on any line, s", unsaid, UNSAID_S))
    found.append(
        report.at_most(
            "sound concealed at 300 kbit/s and 15 %, percent",
            None if narrow is None else narrow.concealed,
            CONCEALED_WHEN_NARROW,
        )
    )
    return found


def table(rows: Sequence[Row]) -> str:
    """One line for each."""
    headings = (
        *("line", "cam %", "mic %", "browser cam %", "browser mic %", "gaps", "gap s"),
        *("unsaid s", "frozen %", "concealed %", "sent/s", "seen/s"),
    )
    return report.table(headings, [list(asdict(row).values()) for row in rows])


class _CountedPicture(VideoSource):
    """Notes the capture time of each frame that it gives."""

    def __init__(self, clock: SourceClock) -> None:
        super().__init__(clock, ClockPicture("LINE", "CAMERA", 640, 360))
        self.sent_s: list[float] = []

    async def recv(self) -> av.Packet[Any]:
        """The next packet."""
        packet = await super().recv()
        self.sent_s.append(_captured_s(packet))
        return packet


class _CountedSound(SoundSource):
    """Notes the capture time of each packet that it gives."""

    def __init__(self, clock: SourceClock) -> None:
        super().__init__(clock, Tone())
        self.sent_s: list[float] = []

    async def recv(self) -> av.Packet[Any]:
        """The next packet."""
        packet = await super().recv()
        self.sent_s.append(_captured_s(packet))
        return packet


def _captured_s(packet: av.Packet[Any]) -> float:
    assert packet.pts is not None
    assert packet.time_base is not None
    return float(packet.pts * packet.time_base)


class _Far(Terminal):
    """A terminal that does not tell its own addresses."""

    async def send(self, message: Mapping[str, Any]) -> None:
        """See :meth:`server.agent.signalling.Signalling.send`."""
        if "sdp" in message:
            message = {**message, "sdp": without_candidates(message["sdp"])}
        await super().send(message)


async def _measure(scenario: Scenario, cpus: processes.Cpus, seconds: float, seed: int) -> Row:
    async with relay(Trouble(), seed) as line:
        media = {name.partition(".")[2]: value for name, value in line.overrides.items()}
        async with (
            servers.tingxun(cpus, media) as server,
            sessions.installation(server, Tally()) as admin,
        ):
            sender, watcher = await admin.person(), await admin.person()
            booked = await admin.book("witness", [(sender, "questioner"), (watcher, "interpreter")])
            async with (
                _Far(server.url) as terminal,
                onlooker(server.url, watcher.token, booked.id) as page,
            ):
                terminal.use_token(sender.token)
                await terminal.join(booked.id)
                clock = SourceClock()
                picture, sound = _CountedPicture(clock), _CountedSound(clock)
                named = await terminal.publish({"camera": picture, "microphone": sound}, ["VP8"])
                await page.join()
                await terminal.wait_for_media(2, timeout_s=MEDIA_WITHIN_S)
                await terminal.open()
                await _phase(terminal, "live", LIVE_WITHIN_S)
                _begin(line, scenario)
                await asyncio.sleep(SETTLES_S)
                before, sent = await page.seen(), len(picture.sent_s)
                stood_s = await _watch(page, seconds)
                seen = (await page.seen()).since(before)
                sent = len(picture.sent_s) - sent
                until_s = clock.wall(clock.now_s() - HALF_WAY_S).timestamp()
                await terminal.close(booked.case_number)
                await _phase(terminal, "sealed", SEALED_WITHIN_S)
            for person in (sender, watcher):
                await person.leave()
            if sum(flow.media_up > 0 for flow in line.flows.values()) < 2:
                raise RuntimeError("the media went past the relay")
            ledger = server.archives / booked.id / "data" / "chain.jsonl"
            tracks = kept(read_ledger(await asyncio.to_thread(ledger.read_text)))
    wall_s = clock.wall(LATENCY_S).timestamp()
    shares = {
        name: archived_percent(
            tracks[name], [wall_s + at_s for at_s in source.sent_s], until_s, STEP_S[name[:3]]
        )
        for name, source in ((named["camera"], picture), (named["microphone"], sound))
    }
    theirs = {name[:3]: track for name, track in tracks.items() if name not in shares}
    return Row(
        scenario.name,
        shares[named["camera"]],
        shares[named["microphone"]],
        theirs["cam"].captured_percent,
        theirs["mic"].captured_percent,
        sum(track.gaps for track in tracks.values()),
        round(sum(track.gap_us for track in tracks.values()) / 1e6, 2),
        _worst_unsaid_s(tracks),
        round(100 * max(seen.frozen_s, stood_s) / seconds, 2),
        round(100 * seen.concealed / max(seen.samples, 1), 2),
        round(sent / seconds, 1),
        round(seen.frames / seconds, 1),
    )


async def _watch(page: Onlooker, seconds: float) -> float:
    """How many of so many seconds, looked at by :data:`LOOK_S`, had no picture at all."""
    stood_s, frames = 0.0, (await page.seen()).frames
    until_s = asyncio.get_running_loop().time() + seconds
    while asyncio.get_running_loop().time() < until_s:
        await asyncio.sleep(LOOK_S)
        before, frames = frames, (await page.seen()).frames
        stood_s += LOOK_S * (frames == before)
    return min(stood_s, seconds)


def _begin(line: BadLine, scenario: Scenario) -> None:
    line.change(**asdict(scenario.receiving))
    line.change(publishing=True, **asdict(scenario.publishing))


async def _phase(terminal: Terminal, name: str, within_s: float) -> None:
    await terminal.wait_for(name, lambda state: state["phase"] == name, timeout_s=within_s)


def _worst_unsaid_s(tracks: Mapping[str, Kept]) -> float:
    return max((track.unsaid_s for track in tracks.values()), key=abs)


async def _run(
    chosen: Sequence[Scenario], cpus: processes.Cpus, seconds: float, seed: int
) -> list[Row]:
    rows = []
    for scenario in chosen:
        say(f"{scenario.name}: {seconds:g} s")
        rows.append(await _measure(scenario, cpus, seconds, seed))
        say(table(rows[-1:]))
    return rows


def main(
    rows: Annotated[str, typer.Option(help="Lines whose names match this.")] = "",
    seconds: Annotated[float, typer.Option(help="How long each line is measured.")] = 60.0,
    seed: Annotated[int, typer.Option(help="Of everything that the lines do.")] = SEED,
    json_output: JsonOutput = False,
) -> None:
    """Measure sessions on bad lines."""
    seam.bind_address("127.0.0.1")
    cpus = processes.choose_cpus()
    say(f"load average before: {processes.load_average():.1f}")
    chosen = [scenario for scenario in scenarios() if re.search(rows, scenario.name)]
    measured = run(_run(chosen, cpus, seconds, seed))
    found = [asdict(row) for row in measured]
    show(found, table(measured), targets(measured), json_output=json_output)


if __name__ == "__main__":
    start(main)
