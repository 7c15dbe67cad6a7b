"""``./run demo``: one interrogation held by itself, from joining to the replay.

Two headless terminals join a server of their own through the same signalling and WebRTC as a
browser does. The session is opened, held, closed, recorded by the recorder process, sealed,
verified and measured. Nothing here knows the inside of the server: it talks to it as people do.
"""

from __future__ import annotations

import asyncio
import contextlib
import signal
from collections.abc import AsyncIterator, Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import uvloop

from recorder import replay, verify
from rooms.errors import FieldInvalid, MediaUnreachable
from server.agent import hosting
from server.agent.film import Film, FilmPicture, FilmSound, check
from server.agent.picture import ClockPicture, EvidencePage, Picture
from server.agent.signalling import State, refusal
from server.agent.sources import Sound, SoundSource, SourceClock, Tone, VideoSource
from server.agent.terminal import Terminal
from server.config import Config
from server.demo_report import Narrator, Result, TrackResult
from server.measure import measure_described
from server.sfu import seam
from server.trust import trusted_files

CODECS = {"h264": "H264", "vp8": "VP8"}
MEDIA_WITHIN_S = 15.0
LIVE_WITHIN_S = 20.0
SEALED_WITHIN_S = 60.0
_LOOK_EVERY_S = 0.5
_STOPPED = 130
"""Exit code after Ctrl-C, as shells have it."""


@dataclass(frozen=True, slots=True)
class Wish:
    """What was asked for; ``camera`` and ``evidence`` are None for the test pictures."""

    seconds: float
    camera: Film | None
    evidence: Film | None
    codec: str
    exit_after: bool


def run(
    *,
    seconds: float = 20.0,
    camera: Path | None = None,
    evidence: Path | None = None,
    archive_dir: Path | None = None,
    codec: str = "h264",
    exit_after: bool = False,
    json_output: bool = False,
    port: int | None = None,
    config: Config,
) -> int:
    """Hold the demo and print what came of it; return the exit code.

    0 when the archive is sealed and no track lacks more than 0.5 %, 1 when not, 130 after Ctrl-C.
    Progress goes to standard error, the result to standard output: as text, or with ``json_output``
    as one JSON object. ``port`` defaults to the configured one, and with ``exit_after`` to any free
    one. Raises subclasses of :class:`rooms.errors.TingxunError`; whatever was started is stopped
    then.
    """
    if codec.lower() not in CODECS:
        raise FieldInvalid(f"codec: {codec!r} is none of {', '.join(CODECS)}")
    if not 1 <= seconds <= 24 * 3600:
        raise FieldInvalid(f"seconds: {seconds:g} is not between 1 and 86400")
    wish = Wish(
        seconds,
        None if camera is None else check(camera),
        None if evidence is None else check(evidence),
        CODECS[codec.lower()],
        exit_after,
    )
    wanted = port if port is not None else 0 if exit_after else config.server.port
    folder = config.data_dir / "demo" / f"{datetime.now(UTC):%Y%m%d-%H%M%S-%f}"[:-3]
    own = hosting.own_config(config, folder, hosting.choose_port(wanted), archive_dir)
    narrator = Narrator()
    with narrator:
        demo = _Demo(wish, own, config, narrator)
        return uvloop.run(_until_stopped(demo, json_output=json_output))


async def _until_stopped(demo: _Demo, *, json_output: bool) -> int:
    """Run the demo; SIGINT and SIGTERM end it in order."""
    holding = asyncio.create_task(demo.hold(json_output=json_output))
    loop = asyncio.get_running_loop()
    for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP):
        loop.add_signal_handler(number, holding.cancel)
    try:
        return await holding
    except asyncio.CancelledError:
        demo.narrator.say("stopped")
        return _STOPPED


class _Demo:
    """One run: a server, two terminals, one session."""

    def __init__(
        self, wish: Wish, config: Config, installation: Config, narrator: Narrator
    ) -> None:
        self.narrator = narrator
        self._wish = wish
        self._config = config
        self._installation = installation
        self._case_number = f"DEMO-{datetime.now(UTC):%Y%m%d-%H%M%S}"

    async def hold(self, *, json_output: bool) -> int:
        say = self.narrator.say
        folder = self._config.data_dir
        await asyncio.to_thread(folder.mkdir, parents=True)
        await asyncio.to_thread(hosting.share_keys, self._installation, self._config)
        say(f"preparing a server in {folder}")
        name, password = await hosting.first_administrator(self._config)
        async with hosting.HostedServer(self._config) as server:
            say(f"server ready at {server.url} (process {server.pid})")
            officer_id, session_id, published, close_to_sealed_ms = await self._session(
                server, name, password
            )
            result = await self._examine(session_id, published, close_to_sealed_ms)
            path = f"/replay/{session_id}"
            result.replay_url = server.url + path
            if not self._wish.exit_after:
                token = await hosting.ticket(self._config, officer_id)
                result.replay_url = f"{server.url}/ticket/{token}?to={path}"
            result.print(json_output=json_output, serving=not self._wish.exit_after)
            if not self._wish.exit_after:
                say("serving until Ctrl-C; the address signs you in, once")
                with contextlib.suppress(asyncio.CancelledError):
                    await server.ended()
                    server.check()
                say("stopping")
        return 0 if result.ok else 1

    # -- the session ----------------------------------------------------------------------------

    async def _session(
        self, server: hosting.HostedServer, name: str, password: str
    ) -> tuple[str, str, dict[str, Published], int]:
        """Book, join, open, hold, close; return officer, session, tracks, and ms until sealed."""
        say = self.narrator.say
        seam.bind_address(hosting.HOST)
        async with _terminals(server.url) as (admin, room, site):
            await admin.sign_in(name, password)
            officer = await _person(admin, room, "officer", "讯问室 Interrogation room")
            detainee = await _person(admin, site, "terminal", "看守所 Detention site")
            booked = await admin.call("POST", "/api/sessions", self._booking(officer, detainee))
            session_id = booked["id"]
            say(f"session {session_id} booked for case {self._case_number}")
            published = await self._join(session_id, room, site)
            await room.wait_for_media(2, timeout_s=MEDIA_WITHIN_S)
            await site.wait_for_media(3, timeout_s=MEDIA_WITHIN_S)
            say("picture and sound arrive on both sides")
            say("opening: recording begins")
            await room.open()
            await room.wait_for("the session to be live", _live, timeout_s=LIVE_WITHIN_S)
            pids = hosting.processes_of(["recorder.worker", session_id])
            say(f"live; recorder process {', '.join(map(str, pids)) or 'unknown'}")
            await self._hold(session_id, server, room, site)
            say("closing")
            loop = asyncio.get_running_loop()
            closed_s = loop.time()
            await room.close(self._case_number)
            await room.wait_for("the archive to be sealed", _sealed, timeout_s=SEALED_WITHIN_S)
            close_to_sealed_ms = round((loop.time() - closed_s) * 1000)
            say(f"sealed {close_to_sealed_ms} ms after closing")
        return officer["id"], session_id, published, close_to_sealed_ms

    def _booking(self, officer: Mapping[str, Any], detainee: Mapping[str, Any]) -> dict[str, Any]:
        return {
            "case_number": self._case_number,
            "kind": "interrogation",
            "title": "演示讯问 Demonstration",
            "starts_at": datetime.now(UTC).isoformat(),
            "room_id": "interrogation-1",
            "detention_room_id": "detention-1",
            "assignments": [
                {"account_id": officer["id"], "role": "questioner"},
                {"account_id": detainee["id"], "role": "subject"},
            ],
        }

    async def _join(self, session_id: str, room: Terminal, site: Terminal) -> dict[str, Published]:
        await room.join(session_id)
        await site.join(session_id)
        film = self._wish.camera
        clock = SourceClock()
        camera: Picture = (
            FilmPicture(film) if film else ClockPicture("INTERROGATION ROOM", "CAMERA")
        )
        voice: Sound = FilmSound(film) if film is not None and film.has_sound else Tone()
        page = self._wish.evidence
        ids = await room.publish(
            {
                "camera": VideoSource(clock, camera),
                "microphone": SoundSource(clock, voice),
                "evidence_display": VideoSource(
                    clock, FilmPicture(page) if page else EvidencePage("EXHIBIT 1")
                ),
            },
            [self._wish.codec],
        )
        published = {ids[s]: Published(s, self._codec(s), "interrogation room") for s in ids}
        clock = SourceClock()
        ids = await site.publish(
            {
                "camera": VideoSource(clock, ClockPicture("DETENTION SITE", "CAMERA")),
                "microphone": SoundSource(clock, Tone()),
            },
            [self._wish.codec],
        )
        published |= {ids[s]: Published(s, self._codec(s), "detention site") for s in ids}
        self.narrator.say(f"both sites have joined: {', '.join(published)}")
        return published

    def _codec(self, source: str) -> str:
        return "opus" if source == "microphone" else self._wish.codec

    async def _hold(
        self, session_id: str, server: hosting.HostedServer, room: Terminal, site: Terminal
    ) -> None:
        """Let the session run; a server that dies or a recording that fails ends it."""
        loop = asyncio.get_running_loop()
        started_s = loop.time()
        pids = hosting.processes_of(["recorder.worker", session_id])
        while (passed_s := loop.time() - started_s) < self._wish.seconds:
            server.check()
            recording = room.state["recording"]
            if room.state["phase"] != "live":
                raise refusal(recording.get("reason") or "recorder_lost", "the session ended early")
            frames = sum(r.frames for t in (room, site) for r in t.received.values())
            self.narrator.holding(
                passed_s,
                self._wish.seconds,
                f"{recording['state']}, {recording['recorded_ms'] / 1000:.1f} s on disk, "
                f"{frames} frames received",
            )
            now = hosting.processes_of(["recorder.worker", session_id])
            if now and now != pids:
                self.narrator.say(f"the recorder was replaced: process {now[0]}")
                pids = now
            await asyncio.sleep(min(_LOOK_EVERY_S, self._wish.seconds - passed_s))
        still = [
            r.track_id
            for t in (room, site)
            for r in t.received.values()
            if r.source == "camera" and r.frames > 50 and not r.moves
        ]
        if still:
            raise MediaUnreachable(f"the picture of {', '.join(still)} stands still")

    # -- afterwards -----------------------------------------------------------------------------

    async def _examine(
        self, session_id: str, published: Mapping[str, Published], close_to_sealed_ms: int
    ) -> Result:
        """Verify and measure what is on disk, from the files alone."""
        root = self._config.archive_dir / session_id
        self.narrator.say(f"verifying {root}")
        trust = verify.Trust.load(*trusted_files(self._config))
        report = await asyncio.to_thread(verify.verify, root, trust)
        described = await asyncio.to_thread(replay.describe, root)
        offset = await asyncio.to_thread(measure_described, root, described)
        found = {track["track_id"]: track for track in described["tracks"]}
        live_us = sum(to - at for at, to in described["live"])
        tracks = [
            TrackResult(
                track_id,
                found.get(track_id, {}).get("site") or made.site,
                made.source,
                found.get(track_id, {}).get("codec") or made.codec,
                round(found.get(track_id, {}).get("expected_us", live_us) / 1000),
                round(found.get(track_id, {}).get("captured_us", 0) / 1000),
                [dict(gap) for gap in found.get(track_id, {}).get("gaps", [])],
            )
            for track_id, made in published.items()
        ]
        return Result(
            archive=root,
            session_id=session_id,
            tracks=tracks,
            offset=offset,
            close_to_sealed_ms=close_to_sealed_ms,
            report=report,
            trusted=trusted_files(self._config),
        )


@dataclass(frozen=True, slots=True)
class Published:
    """A track that a terminal published."""

    source: str
    codec: str
    site: str


@contextlib.asynccontextmanager
async def _terminals(url: str) -> AsyncIterator[tuple[Terminal, Terminal, Terminal]]:
    """The administrator, the interrogation room and the detention site; all leave in the end."""
    async with Terminal(url) as admin, Terminal(url) as room, Terminal(url) as site:
        yield admin, room, site


async def _person(admin: Terminal, terminal: Terminal, role: str, name: str) -> dict[str, Any]:
    """Have the administrator make an account, and sign the terminal in with it."""
    site = "detention-centre" if role == "terminal" else "interrogation-centre"
    body = {"name": f"demo-{role}", "display_name": name, "role": role, "site_id": site}
    made = await admin.call("POST", "/api/people", body)
    return await terminal.sign_in(made["account"]["name"], made["one_time_password"])


def _live(state: State) -> bool:
    if state["recording"]["state"] == "failed":
        raise refusal(state["recording"].get("reason") or "recorder_not_started", "not recording")
    return bool(state["phase"] == "live")


def _sealed(state: State) -> bool:
    if state["recording"]["state"] == "failed":
        raise refusal(state["recording"].get("reason") or "recorder_lost", "not sealed")
    return bool(state["phase"] == "sealed")
