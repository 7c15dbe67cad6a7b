"""The people in one session: who is connected, what they ask, what they send and receive.

Part of the session's :class:`~server.conductor.Conductor`, whose one task calls everything here in
order. What is allowed is decided by the room; what follows for the media is done by
:mod:`server.forwarding`.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import Awaitable, Callable, Collection
from typing import Any

from rooms import commands, events
from rooms.errors import AlreadyJoined, NotJoined, Replaced
from rooms.media import Source, Track, parse_codec, parse_source
from rooms.roles import Permission
from rooms.room import Room
from server import clock, protocol
from server.config import Config
from server.forwarding import Forwarding
from server.member import Connection, Member
from server.recording import Recording
from server.sfu.player_peer import PlayerPeer
from server.sfu.sdp import RemoteDescription

Decide = Callable[[commands.Command], Awaitable[list[events.Event]]]


class Attendance:
    """Everybody who is in the session, or was a moment ago and may come back.

    ``decide`` puts a command to the room and carries out what it decides; ``decide_soon`` does so
    when the conductor comes to it.
    """

    def __init__(
        self,
        room: Room,
        config: Config,
        forwarding: Forwarding,
        recording: Recording,
        decide: Decide,
        decide_soon: Callable[[commands.Command], None],
    ) -> None:
        self.members: dict[str, Member] = {}
        self._room = room
        self._config = config
        self._forwarding = forwarding
        self._recording = recording
        self._decide = decide
        self._decide_soon = decide_soon

    def tell(self, message: dict[str, Any]) -> None:
        """Send a message to everybody who is connected."""
        for member in self.members.values():
            member.send(message)

    async def subscribe(self) -> None:
        """Let everybody receive what the room allows."""
        for member in list(self.members.values()):
            await self._forwarding.subscribe(member)

    async def left(self, participant_id: str) -> None:
        """This person is gone for good."""
        member = self.members.pop(participant_id, None)
        if member is not None:
            await member.drop_peers()

    async def drop_peers(self) -> None:
        """End everybody's media connections."""
        for member in self.members.values():
            await member.drop_peers()

    @property
    def returned(self) -> bool:
        """Whether anybody has been connected to this process."""
        return any(member.resume for member in self.members.values())

    async def await_return(self, grace_s: float) -> None:
        """Everybody who was here was connected to a process that is gone, and may come back."""
        for participant_id in self._room.present:
            connection_id = self._room.connection(participant_id)
            if connection_id is not None:
                await self._decide(commands.Disconnect(participant_id, connection_id))
            member = self.members[participant_id] = Member(participant_id)
            self._expire_later(member, grace_s)

    def _expire_later(self, member: Member, grace_s: float) -> None:
        member.expiry = asyncio.get_running_loop().call_later(
            grace_s, self._decide_soon, commands.Expire(member.participant_id)
        )

    async def join(
        self, participant_id: str, connection: Connection, resume: str | None, *, alone: bool
    ) -> None:
        """Let a person in; with ``alone`` only one who is not in by another client."""
        member = self.members.get(participant_id)
        if alone and member is not None and member.resume:
            raise AlreadyJoined("you are in this session by another client, or were a moment ago")
        kept = member is not None and resume is not None and member.resume == resume
        await self._decide(commands.Join(participant_id, connection.id))
        if member is None:
            member = self.members[participant_id] = Member(participant_id)
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
            "session": self._room.session.to_record(),
            "state": self._room.snapshot(clock.now()),
            "publishing": None if member.publisher is None else member.publisher.name,
            "receiving": None if member.subscriber is None else member.subscriber.name,
            "permissions": [p for p in Permission if self._room.may(participant_id, p)],
            "server_wall_ms": time.time_ns() // 1_000_000,
            "codecs": list(media.codecs),
            "video_max_kbps": media.video_max_kbps,
            "simulcast": media.simulcast,
        }

    async def disconnected(self, participant_id: str, connection_id: str) -> None:
        """A connection is gone; the person has some time to come back."""
        member = self.members.get(participant_id)
        if member is None or member.connection is None or member.connection.id != connection_id:
            return
        member.connection = None
        await self._decide(commands.Disconnect(participant_id, connection_id))
        if participant_id in self.members:
            self._expire_later(member, self._config.signalling.reconnect_grace_s)

    async def request(
        self, participant_id: str, connection_id: str, message: Any
    ) -> dict[str, Any] | None:
        """Carry out one message of a person; returns the reply, if there is one."""
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
            case protocol.View():
                self._forwarding.show(member, message.heights)
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
        await self.subscribe()
        return {
            "type": "published",
            "peer": message.peer,
            "sdp": answer,
            "tracks": [{"mid": mid, "track_id": up.track_id} for mid, (up, _) in tracks.items()],
        }

    async def withdraw(self, participant_id: str, connection_id: str) -> None:
        """Take back whatever a person publishes, and end the connection that it came on."""
        member = self._member(participant_id, connection_id)
        await self._unpublish(participant_id)
        publisher, member.publisher = member.publisher, None
        if publisher is not None:
            await publisher.close()

    async def play(
        self,
        participant_id: str,
        player_name: str,
        remote: RemoteDescription,
        track_ids: Collection[str],
        on_closed: Callable[[str], None],
    ) -> tuple[PlayerPeer, str]:
        """Let a player receive in the place of a person who is in; see ``Forwarding.play``."""
        member = self.members.get(participant_id)
        if member is None:
            raise NotJoined
        return await self._forwarding.play(member, player_name, remote, track_ids, on_closed)

    def _member(self, participant_id: str, connection_id: str) -> Member:
        member = self.members.get(participant_id)
        if member is None or member.connection is None or member.connection.id != connection_id:
            raise NotJoined("this connection is no longer the person's")
        return member

    async def _unpublish(self, participant_id: str) -> None:
        for track in self._room.published(participant_id):
            await self._decide(commands.Unpublish(participant_id, track.track_id))

    def _published(self, participant_id: str, source: Source) -> Track | None:
        return next((t for t in self._room.published(participant_id) if t.source is source), None)
