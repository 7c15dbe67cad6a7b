"""Carries out what a room decides: one task owns each session.

Signalling asks, the :class:`~rooms.room.Room` decides, the events are stored, and only then does
anything happen: a peer is made, a packet forwarded, the recorder told. The server's own
observations (the recorder confirmed, stalled, died) take the same way. Requests wait in a bounded
queue.
"""

from __future__ import annotations

import asyncio
import logging
import time
from collections.abc import Callable, Collection
from datetime import UTC, datetime
from typing import Any

from aiortc import RTCCertificate

from recorder import wire
from rooms import commands, events
from rooms.errors import AlreadyJoined, Internal, NotJoined, Replaced
from rooms.media import Source, Track, parse_codec, parse_source
from rooms.moment import Moment
from rooms.phases import Phase, RecordingState
from rooms.roles import Permission
from rooms.room import Room
from server import protocol
from server.config import Config
from server.figures import Figures
from server.forwarding import Forwarding
from server.member import Connection, Member
from server.owner import Owner
from server.recording import Callbacks, Recording
from server.records import Records
from server.sfu.player_peer import PlayerPeer
from server.sfu.sdp import RemoteDescription
from server.sfu.uptrack import UpTrack

logger = logging.getLogger(__name__)

WATCH_S = 0.25
LAMP_S = 1.0

ENDED = frozenset({Phase.CLOSING, Phase.CLOSED, Phase.SEALED})
"""Phases in which nothing is passed on any more."""


class Conductor:
    """The owner of one session while anybody is in it or its recording is not yet sealed."""

    def __init__(
        self,
        room: Room,
        config: Config,
        records: Records,
        certificate: RTCCertificate,
        seal: wire.SealJob,
    ) -> None:
        self.room = room
        self.session_id = room.session.id
        self._config = config
        self._records = records
        self._members: dict[str, Member] = {}
        self._forwarding = Forwarding(config, certificate, room.audience, self._bound)
        callbacks = Callbacks(
            on_durable=self._on_durable,
            on_sealed=self._on_sealed,
            on_failed=lambda code, _: self._decide_soon(commands.FailRecording(code)),
            on_replaced=lambda cause: self._decide_soon(commands.ReplaceRecorder(cause)),
            on_checkpoint=self._on_checkpoint,
        )
        self._recording = Recording(room.session, config, seal, callbacks)
        self.figures = Figures(self._forwarding, self._members, self._recording)
        self._live: list[tuple[int, int | None]] = []
        self._confirm_since_us = 0
        self._confirm_by_ns = 0
        self._confirming = False
        self._lamp_ns = 0
        self._owner = Owner(self.session_id)
        self._tasks: set[asyncio.Task[None]] = set()
        self._spawn(self._watch())

    # Asked from outside.

    @property
    def idle(self) -> bool:
        """Whether nobody is here and nothing is being recorded: the conductor may go."""
        busy = self.room.phase not in (Phase.SCHEDULED, Phase.WAITING, Phase.SEALED)
        return not busy and not self._members and self._owner.idle

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
        await self._owner.ask(lambda: self._join(participant_id, connection, resume))

    async def join_alone(self, participant_id: str, connection: Connection) -> None:
        """Let a person in who is not in yet; else ``already_joined``, and nobody is replaced."""
        await self._owner.ask(lambda: self._join(participant_id, connection, None, alone=True))

    async def withdraw(self, participant_id: str, connection_id: str) -> None:
        """Take back whatever a person publishes, and end the connection that it came on."""
        await self._owner.ask(lambda: self._withdraw(participant_id, connection_id))

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
            lambda: self._play(participant_id, player_name, remote, track_ids, on_closed)
        )

    def quiet_ns(self, participant_id: str) -> int | None:
        """For how long nothing has come from this person; None when nothing ever did."""
        return self._forwarding.quiet_ns(participant_id)

    async def disconnected(self, participant_id: str, connection_id: str) -> None:
        """A connection is gone; the person has some time to come back."""
        if not self._owner.stopped:
            await self._owner.ask(lambda: self._disconnected(participant_id, connection_id))

    async def request(
        self, participant_id: str, connection_id: str, message: Any
    ) -> dict[str, Any] | None:
        """Carry out one message of a person; returns the reply, if there is one."""
        return await self._owner.ask(lambda: self._request(participant_id, connection_id, message))

    async def recover(self) -> bool:
        """Seal what a server that died has left of this session's recording.

        False where the session had not begun: what is on disk is then set aside, and it can be
        opened anew.
        """
        return await self._owner.ask(self._recover)

    async def stop(self) -> None:
        """The server ends: everyone is told, the recorder writes down what it has."""
        for member in self._members.values():
            if member.connection is not None:
                member.connection.end(Internal("the server is stopping"))
        await self._owner.stop()
        for task in self._tasks:
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)
        for member in self._members.values():
            await member.drop_peers()
        self._forwarding.close()
        await self._recording.stop()
        self.figures.look()

    # The owner: everything below runs in one task, in order, but for what the recorder reports.

    def _decide_soon(self, command: commands.Command) -> None:
        self._owner.later(lambda: self._decide(command))

    async def _decide(self, command: commands.Command) -> list[events.Event]:
        """Put a command to the room, store what it decides, then carry it out."""
        now = _moment()
        decided = self.room.handle(command, now)
        if not decided:
            return decided
        records = [events.to_record(event) for event in decided]
        await self._records.append_events(self.session_id, records)
        for event, record in zip(decided, records, strict=True):
            before = self.room.phase
            self.room.apply(event)
            await self._act(event, record, now.mono_us)
            if self.room.phase is not before:
                await self._records.set_phase(self.session_id, self.room.phase)
            for member in self._members.values():
                member.send({"type": "event", "event": record})
        for member in list(self._members.values()):
            await self._forwarding.subscribe(member)
        self._send_state()
        return decided

    async def _act(self, event: events.Event, record: dict[str, Any], now_us: int) -> None:
        """Do what an event means for media and recording; the ledger gets every event."""
        match event:
            case events.SessionOpening():
                self.room.start_clock(now_us)
                self._recording.open(now_us * 1000, event.wall)
                self._live.clear()
                self._await_confirmation(0)
                for up in self._forwarding.ups.values():
                    self._record(up)
            case events.SessionResuming():
                self._recording.feed(True)
                self._await_confirmation(event.t_us or 0)
                for up in self._forwarding.ups.values():
                    up.request_key_frame()
            case events.SessionLive() | events.SessionResumed():
                self._live.append((event.t_us or 0, None))
            case events.SessionPaused():
                self._end_live(event.t_us or 0)
            case events.SessionClosing():
                self._end_live(event.t_us or 0)
                self._spawn(self._drain(event.t_us or 0))
            case events.TrackUnpublished():
                member = self._members.get(event.participant_id)
                released = self._forwarding.release(member, event.track_id)
                if released is not None:
                    self._recording.remove(released)
            case events.ParticipantLeft():
                left = self._members.pop(event.participant_id, None)
                if left is not None:
                    await left.drop_peers()
            case events.RecordingFailed() if self.room.phase is Phase.WAITING:
                await self._recording.stop()
        self._recording.event(record)
        if isinstance(event, events.SessionPaused):
            self._recording.feed(False)

    async def _recover(self) -> bool:
        if self.room.phase in (Phase.SCHEDULED, Phase.WAITING):
            if self.room.recording.state is RecordingState.STARTING:
                await self._decide(commands.FailRecording("recorder_lost"))
            self._recording.set_aside()
            return False
        await self._recording.take_up()
        if self.room.phase in (Phase.LIVE, Phase.PAUSED):
            await self._decide(commands.Interrupt("server"))
        self._recording.close(None)
        return True

    # People.

    async def _join(
        self,
        participant_id: str,
        connection: Connection,
        resume: str | None,
        *,
        alone: bool = False,
    ) -> None:
        member = self._members.get(participant_id)
        if alone and member is not None:
            raise AlreadyJoined("you are in this session by another client, or were a moment ago")
        kept = member is not None and resume is not None and member.resume == resume
        await self._decide(commands.Join(participant_id, connection.id))
        if member is None:
            member = self._members[participant_id] = Member(participant_id)
        if not kept:
            if member.connection is not None and not member.connection.receives:
                # A page goes on with what it sent before; with an encoder's tracks it cannot.
                await self._unpublish(participant_id)
            await member.drop_client()
        if member.connection is not None:
            member.connection.end(Replaced("the session was opened in another window"))
        member.attach(connection)
        # Nothing may reach a client before its welcome: only now is the connection the member's.
        member.send(self._welcome(member))
        await self._forwarding.subscribe(member)
        if kept and member.offer is not None:
            member.send(member.offer)

    def _welcome(self, member: Member) -> dict[str, Any]:
        participant_id, media = member.participant_id, self._config.media
        return {
            "type": "welcome",
            "version": protocol.VERSION,
            "participant_id": participant_id,
            "resume": member.resume,
            "session": self.room.session.to_record(),
            "state": self.room.snapshot(_moment()),
            "permissions": [p for p in Permission if self.room.may(participant_id, p)],
            "server_wall_ms": time.time_ns() // 1_000_000,
            "ice_servers": [],
            "codecs": list(media.codecs),
            "video_max_kbps": media.video_max_kbps,
        }

    async def _disconnected(self, participant_id: str, connection_id: str) -> None:
        member = self._members.get(participant_id)
        if member is None or member.connection is None or member.connection.id != connection_id:
            return
        member.connection = None
        await self._decide(commands.Disconnect(participant_id, connection_id))
        if participant_id in self._members:
            member.expiry = asyncio.get_running_loop().call_later(
                self._config.signalling.reconnect_grace_s,
                self._decide_soon,
                commands.Expire(participant_id),
            )

    async def _request(
        self, participant_id: str, connection_id: str, message: Any
    ) -> dict[str, Any] | None:
        member = self._member(participant_id, connection_id)
        match message:
            case protocol.Ping():
                return {"type": "pong", "server_wall_ms": time.time_ns() // 1_000_000}
            case protocol.Candidate():
                self._forwarding.candidate(member, message)
                return None
            case protocol.Answer():
                self._forwarding.answered(member, message)
                return None
            case protocol.Renew():
                await self._forwarding.renew(member)
            case protocol.Publish():
                return await self._publish(member, message)
            case protocol.Hello():
                raise NotJoined("hello was already said")
            case _:
                await self._decide(protocol.to_command(participant_id, message))
        return {"type": "ok"}

    async def _publish(self, member: Member, message: protocol.Publish) -> dict[str, Any]:
        participant_id = member.participant_id
        remote, offered = self._forwarding.choose(message)
        tracks = {}
        for mid, offer in offered.items():
            source = parse_source(offer.source)
            codec = parse_codec(offer.codec.name, source)
            known = self._published(participant_id, source)
            if known is not None and known.codec is not codec:
                await self._decide(commands.Unpublish(participant_id, known.track_id))
                known = None
            if known is None:
                await self._decide(commands.Publish(participant_id, source, codec))
                known = self._published(participant_id, source)
                assert known is not None
            up = self._forwarding.track(known.track_id, participant_id, source, codec)
            tracks[mid] = (up, offer.codec)
        self._recording.prepare()
        answer = await self._forwarding.answer(member, message.peer, remote, tracks)
        for other in list(self._members.values()):
            await self._forwarding.subscribe(other)
        return {
            "type": "published",
            "peer": message.peer,
            "sdp": answer,
            "tracks": [{"mid": mid, "track_id": up.track_id} for mid, (up, _) in tracks.items()],
        }

    def _member(self, participant_id: str, connection_id: str) -> Member:
        member = self._members.get(participant_id)
        if member is None or member.connection is None or member.connection.id != connection_id:
            raise NotJoined("this connection is no longer the person's")
        return member

    async def _withdraw(self, participant_id: str, connection_id: str) -> None:
        member = self._member(participant_id, connection_id)
        await self._unpublish(participant_id)
        publisher, member.publisher = member.publisher, None
        if publisher is not None:
            await publisher.close()

    async def _unpublish(self, participant_id: str) -> None:
        for track in self.room.published(participant_id):
            await self._decide(commands.Unpublish(participant_id, track.track_id))

    async def _play(
        self,
        participant_id: str,
        player_name: str,
        remote: RemoteDescription,
        track_ids: Collection[str],
        on_closed: Callable[[str], None],
    ) -> tuple[PlayerPeer, str]:
        member = self._members.get(participant_id)
        if member is None:
            raise NotJoined
        return await self._forwarding.play(member, player_name, remote, track_ids, on_closed)

    def _published(self, participant_id: str, source: Source) -> Track | None:
        return next((t for t in self.room.published(participant_id) if t.source is source), None)

    # The recording.

    def _bound(self, up: UpTrack) -> None:
        """A track has a new SSRC: the recorder must know before its first packet."""
        if self.room.recording.state not in (RecordingState.OFF, RecordingState.FAILED):
            self._record(up)

    def _record(self, up: UpTrack) -> None:
        seat = self.room.session.assignment(up.participant_id)
        self._recording.add(up, seat.site_id or "", seat.name)

    def _await_confirmation(self, since_us: int) -> None:
        self._confirming = True
        self._confirm_since_us = since_us
        timeout_ms = self._config.recording.start_timeout_ms
        self._confirm_by_ns = time.monotonic_ns() + timeout_ms * 1_000_000

    def _on_durable(self) -> None:
        self.room.set_recorded(self._recording.recorded_ms(self._live))
        if self._confirming:
            self._check_confirmation()
        elif self.room.recording.state in (RecordingState.STALLED, RecordingState.FAILED):
            self._decide_soon(commands.RestoreRecording())

    def _check_confirmation(self) -> None:
        every, some = self._recording.confirmed(
            self._forwarding.ups.values(), self._confirm_since_us
        )
        late = time.monotonic_ns() > self._confirm_by_ns
        if every or (late and some):
            self._confirming = False
            self._decide_soon(commands.ConfirmRecording(copies=1))
        elif late:
            self._confirming = False
            self._decide_soon(commands.FailRecording("recorder_not_started"))

    def _on_checkpoint(self, note: str) -> None:
        for member in self._members.values():
            member.send({"type": "checkpoint", "note": note})

    def _on_sealed(self, sealed: wire.Sealed) -> None:
        async def finish() -> None:
            await self._records.set_archive(self.session_id, self.session_id, sealed.archive)
            await self._decide(commands.FinishClosing())
            await self._decide(commands.Seal(self.session_id, sealed.root_sha256))
            await self._recording.stop()
            for member in self._members.values():
                await member.drop_peers()

        self._owner.later(finish)

    async def _drain(self, closed_us: int) -> None:
        """What was still on its way when the session was closed belongs to it."""
        await asyncio.sleep(self._config.recording.drain_ms / 1000)
        self._recording.close(closed_us)

    def _end_live(self, at_us: int) -> None:
        if self._live and self._live[-1][1] is None:
            self._live[-1] = (self._live[-1][0], at_us)

    async def _watch(self) -> None:
        """Notice what does not happen: a recorder that falls silent, a start that never comes."""
        while True:
            await asyncio.sleep(WATCH_S)
            state = self.room.recording.state
            if self._confirming:
                self._check_confirmation()
            elif state is RecordingState.RECORDING and self._recording.stalled(
                self._config.recording.stall_ms
            ):
                self._decide_soon(commands.StallRecording())
            now_ns = time.monotonic_ns()
            if state is not RecordingState.OFF and now_ns - self._lamp_ns > LAMP_S * 1e9:
                self._lamp_ns = now_ns
                lamp = self.room.snapshot(_moment())["recording"]
                for member in self._members.values():
                    member.send({"type": "recording", "recording": lamp})
            network = self.figures.sample(now_ns)
            if network is not None and self.room.phase not in ENDED:
                for member in self._members.values():
                    member.send(network)

    def _send_state(self) -> None:
        state = self.room.snapshot(_moment())
        for member in self._members.values():
            member.send({"type": "state", "state": state})

    def _spawn(self, work: Any) -> None:
        task = asyncio.create_task(work)
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)


def _moment() -> Moment:
    return Moment(time.monotonic_ns() // 1000, datetime.now(UTC))
