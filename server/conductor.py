"""Carries out what a room decides: one task owns each session.

Signalling asks, the :class:`~rooms.room.Room` decides, the events are stored, and only then does
anything happen: a peer is made, a packet forwarded, the recorder told. The server's own
observations (the recorder confirmed, stalled, died) take the same way. Requests wait in a bounded
queue. The people are in :mod:`server.attendance`, their media in :mod:`server.forwarding`, the
recording in :mod:`server.recording` and :mod:`server.lamp`.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable, Collection, Iterable
from typing import Any

from aiortc import RTCCertificate

from recorder import wire
from rooms import commands, events
from rooms.errors import Internal
from rooms.phases import ENDED, Phase, RecordingState
from rooms.room import Room
from server import clock
from server.attendance import Attendance
from server.config import Config
from server.figures import Figures
from server.forwarding import Forwarding
from server.lamp import Lamp
from server.member import Connection
from server.owner import Owner
from server.recording import Callbacks, Recording
from server.records import Records
from server.sfu.player_peer import PlayerPeer
from server.sfu.port import MediaPorts
from server.sfu.pulse import until_next
from server.sfu.sdp import RemoteDescription
from server.sfu.uptrack import UpTrack
from server.speakers import SAMPLE_S, Speaking
from server.succession import Succession

LAMP_S = 1.0

RECEIVING_NS = 10_000_000_000


class Conductor:
    """The owner of one session while anybody is in it or its recording is not yet sealed."""

    def __init__(
        self,
        room: Room,
        config: Config,
        records: Records,
        certificate: RTCCertificate,
        ports: MediaPorts,
        seal: wire.SealJob,
    ) -> None:
        self.room = room
        self.session_id = room.session.id
        self._config = config
        self._records = records
        self._forwarding = Forwarding(config, certificate, ports, room.audience, self._record)
        callbacks = Callbacks(
            on_durable=self._on_durable,
            on_sealed=self._on_sealed,
            on_failed=lambda code: self._decide_soon(commands.FailRecording(code)),
            on_replaced=lambda cause: self._decide_soon(commands.ReplaceRecorder(cause)),
            on_checkpoint=lambda note: self._people.tell({"type": "checkpoint", "note": note}),
        )
        self._recording = Recording(room.session, config, seal, callbacks)
        self._lamp = Lamp(
            room, self._recording, self._forwarding, config.recording, self._decide_soon
        )
        self._people = Attendance(
            room, config, self._forwarding, self._recording, self._decide, self._decide_soon
        )
        self.figures = Figures(self._forwarding, self._people.members, self._recording)
        self._speaking = Speaking(room, self._forwarding.ups, self._people.members)
        self._lamp_ns = 0
        self._owner = Owner(self.session_id)
        self._succession = Succession(
            room,
            config.signalling,
            records,
            self._recording,
            self._lamp,
            self._people,
            self._decide,
            self._owner.later,
        )
        self._tasks: set[asyncio.Task[None]] = set()
        self._spawn(self._watch())
        self._spawn(self._listen())

    # Asked from outside.

    @property
    def idle(self) -> bool:
        """Whether nobody is here and nothing is being recorded: the conductor may go."""
        busy = self.room.phase not in (Phase.SCHEDULED, Phase.WAITING, Phase.SEALED)
        return not busy and not self._people.members and self._owner.idle

    @property
    def receiving(self) -> bool:
        """Whether anybody sends media."""
        return any(
            time.monotonic_ns() - up.last_packet_ns < RECEIVING_NS
            for up in self._forwarding.ups.values()
        )

    @property
    def recorder_pid(self) -> int | None:
        """The recorder's process id, while one runs."""
        return self._recording.recorder_pid

    @property
    def unacknowledged_bytes(self) -> int:
        """Bytes that the recorder does not yet have on disk."""
        tap = self._recording.tap
        return 0 if tap is None else tap.unacknowledged_bytes

    def check_assigned(self, participant_id: str) -> None:
        """Raise ``not_assigned`` for anybody who has no seat in this session."""
        self.room.session.assignment(participant_id)

    async def join(self, participant_id: str, connection: Connection, resume: str | None) -> None:
        """Let a person in on ``connection``; ``resume`` keeps the media of the lost one."""
        await self._owner.ask(
            lambda: self._people.join(participant_id, connection, resume, alone=False)
        )

    async def join_alone(self, participant_id: str, connection: Connection) -> None:
        """Let a person in who is not in yet; else ``already_joined``, and nobody is replaced."""
        await self._owner.ask(
            lambda: self._people.join(participant_id, connection, None, alone=True)
        )

    async def withdraw(self, participant_id: str, connection_id: str) -> None:
        """Take back whatever a person publishes, and end the connection that it came on."""
        await self._owner.ask(lambda: self._people.withdraw(participant_id, connection_id))

    async def play(
        self,
        participant_id: str,
        player_name: str,
        remote: RemoteDescription,
        track_ids: Collection[str],
        on_closed: Callable[[str], None],
    ) -> tuple[PlayerPeer, str]:
        """Let a player receive in the place of a person who is in; see ``Forwarding.play``."""
        return await self._owner.ask(
            lambda: self._people.play(participant_id, player_name, remote, track_ids, on_closed)
        )

    def quiet_ns(self, participant_id: str) -> int | None:
        """For how long nothing has come from this person; None when nothing ever did."""
        return self._forwarding.quiet_ns(participant_id)

    async def disconnected(self, participant_id: str, connection_id: str) -> None:
        """A connection is gone; the person has some time to come back."""
        if not self._owner.stopped:
            await self._owner.ask(lambda: self._people.disconnected(participant_id, connection_id))

    async def request(
        self, participant_id: str, connection_id: str, message: Any
    ) -> dict[str, Any] | None:
        """Carry out one message of a person; returns the reply, if there is one."""
        return await self._owner.ask(
            lambda: self._people.request(participant_id, connection_id, message)
        )

    async def take_over(self, history: Iterable[events.Event]) -> None:
        """Go on with the session from where its events have left it; to be asked before all else.

        Where a server that held it has died, it is as live as before: its people may come back for
        ``signalling.takeover_s``, and its archive gets a declared gap. After that, or where the
        server was gone for longer, what there is is closed and sealed. Where it had not begun, what
        is on disk is set aside, and it can be opened anew.
        """
        await self._owner.ask(lambda: self._succession.begin(history))

    async def stop(self) -> None:
        """The server ends: everyone is told, the recorder writes down what it has."""
        for member in self._people.members.values():
            if member.connection is not None:
                member.connection.end(Internal("the server is stopping"))
        self._succession.stop()
        await self._owner.stop()
        for task in self._tasks:
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)
        await self._people.drop_peers()
        self._forwarding.close()
        await self._recording.stop()
        self.figures.look()

    # The owner: everything below runs in one task, in order, but for what the recorder reports.

    def _decide_soon(self, command: commands.Command) -> None:
        self._owner.later(lambda: self._decide(command))

    async def _decide(self, command: commands.Command) -> list[events.Event]:
        """Put a command to the room, store what it decides, then carry it out."""
        now = clock.now()
        decided = self.room.handle(command, now)
        if not decided:
            return decided
        if any(isinstance(event, events.SessionOpening) for event in decided):
            # The last moment at which it can be refused: nothing of it is stored yet.
            await self._recording.check_reserve()
        records = [events.to_record(event) for event in decided]
        await self._records.append_events(self.session_id, records)
        for event, record in zip(decided, records, strict=True):
            before = self.room.phase
            self.room.apply(event)
            await self._act(event, record, now.mono_us)
            if self.room.phase is not before:
                await self._records.set_phase(self.session_id, self.room.phase)
            self._people.tell({"type": "event", "event": record})
        await self._people.subscribe()
        self._people.tell({"type": "state", "state": self.room.snapshot(clock.now())})
        return decided

    async def _act(self, event: events.Event, record: dict[str, Any], now_us: int) -> None:
        """Do what an event means for media and recording; the ledger gets every event."""
        self._lamp.follow(event)
        match event:
            case events.SessionOpening():
                self.room.start_clock(now_us)
                await self._records.set_opened(self.session_id, clock.boot_id(), now_us)
                self._recording.open(now_us * 1000, event.wall)
                self._lamp.await_media(0)
                for up in self._forwarding.ups.values():
                    self._record(up)
            case events.SessionResuming():
                self._recording.feed(True)
                self._lamp.await_media(event.t_us or 0)
                for up in self._forwarding.ups.values():
                    up.request_key_frame()
            case events.SessionClosing():
                self._spawn(self._drain(event.t_us or 0))
            case events.TrackUnpublished():
                member = self._people.members.get(event.participant_id)
                released = self._forwarding.release(member, event.track_id)
                if released is not None:
                    self._recording.remove(released)
            case events.ParticipantLeft():
                await self._people.left(event.participant_id)
            case events.RecordingFailed() if self.room.phase is Phase.WAITING:
                await self._recording.stop()
        self._recording.event(record)
        if isinstance(event, events.SessionPaused):
            self._recording.feed(False)
        elif isinstance(event, events.SessionInterrupted):
            self._recording.close(None)

    # The recording.

    def _record(self, up: UpTrack) -> None:
        """A track has an SSRC, perhaps another: the recorder must know before its first packet."""
        seat = self.room.session.assignment(up.participant_id)
        self._recording.add(up, seat.site_id or "", seat.name)

    def _on_durable(self) -> None:
        self._lamp.durable()

    def _on_sealed(self, sealed: wire.Sealed) -> None:
        async def finish() -> None:
            await self._records.set_archive(self.session_id, self.session_id, sealed.archive)
            await self._decide(commands.FinishClosing())
            await self._decide(commands.Seal(self.session_id, sealed.root_sha256))
            await self._recording.stop()
            await self._people.drop_peers()

        self._owner.later(finish)

    async def _drain(self, closed_us: int) -> None:
        """What was still on its way when the session was closed belongs to it."""
        await asyncio.sleep(self._config.recording.drain_ms / 1000)
        self._recording.close(closed_us)

    async def _listen(self) -> None:
        """Tell everybody who is speaking."""
        while True:
            await asyncio.sleep(SAMPLE_S)
            self._speaking.sample(time.monotonic_ns())

    async def _watch(self) -> None:
        """Look after the recording; tell everybody about it, and about their lines."""
        while True:
            wait_s = until_next(self._forwarding.phase_s)
            due_s = time.monotonic() + wait_s
            await asyncio.sleep(wait_s)
            self.figures.late(time.monotonic() - due_s)
            self._lamp.watch()
            now_ns = time.monotonic_ns()
            state = self.room.recording.state
            if state is not RecordingState.OFF and now_ns - self._lamp_ns > LAMP_S * 1e9:
                self._lamp_ns = now_ns
                lamp = self.room.snapshot(clock.now())["recording"]
                self._people.tell({"type": "recording", "recording": lamp})
            network = self.figures.sample(now_ns)
            if network is not None and self.room.phase not in ENDED:
                self._people.tell(network)

    def _spawn(self, work: Any) -> None:
        task = asyncio.create_task(work)
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)
