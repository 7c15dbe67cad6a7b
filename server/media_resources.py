"""Places in sessions that are held over HTTP: what a WHIP or a WHEP session is to the server.

A WHIP client (RFC 9725) and a WHEP player (draft-ietf-wish-whep) have no WebSocket. For a person
who is not in, :class:`MediaResources` takes the seat with a connection that has nobody to talk to,
and gives it back when the last resource of that person has ended. A player of somebody who is
already in by another client only looks on in their place. :mod:`server.whip` and :mod:`server.whep`
are the addresses; what may be done is decided by the session's conductor and room, as for everyone.
"""

from __future__ import annotations

import asyncio
import contextlib
import secrets
from collections.abc import Callable, Collection
from typing import Any

from rooms.errors import AlreadyJoined, ResourceUnknown, TingxunError
from rooms.phases import Phase
from server import protocol
from server.conductor import Conductor
from server.member import Connection
from server.sfu.player_peer import PlayerPeer
from server.sfu.sdp import RemoteDescription

FLOWING_NS = 2_000_000_000
"""A WHIP client whose last packet is not older than this is at work, and is not replaced."""


class _HttpConnection(Connection):
    """A person's connection with nobody at its other end: only what ends it matters."""

    receives = False

    def __init__(self, on_lost: Callable[[], None], on_end: Callable[[bool], None]) -> None:
        self.id = secrets.token_hex(8)
        self._on_lost = on_lost
        self._on_end = on_end

    def send(self, message: dict[str, Any]) -> None:
        """Take no notice, but for the end of the session."""
        if message["type"] == "state" and message["state"]["phase"] == Phase.SEALED:
            self._on_end(False)

    def end(self, problem: TingxunError) -> None:
        """The place is another client's now, or the server ends."""
        self._on_end(True)

    def lost(self, peer: str) -> None:
        """The sending connection is over."""
        self._on_lost()


class MediaResource:
    """One WHIP or WHEP session: what its URL stands for."""

    def __init__(self, seat: _Seat, remote: RemoteDescription) -> None:
        self.id = secrets.token_urlsafe(24)
        self.etag = f'"{secrets.token_hex(8)}"'
        self.name = f"http-{self.id[:8]}"
        self.remote_ufrag = remote.ice.usernameFragment
        self.seat = seat
        self.player: PlayerPeer | None = None
        """The player's connection; None for a WHIP session."""

    async def add_candidate(self, text: str) -> None:
        """Take a trickled candidate (``candidate:...``)."""
        if self.player is not None:
            self.player.add_candidate(text)
        elif self.seat.connection is not None:
            message = protocol.Candidate(type="candidate", peer=self.name, candidate=text)
            await self.seat.request(message)


class _Seat:
    """One person in one session, as far as HTTP holds or uses their place."""

    def __init__(self, conductor: Conductor, participant_id: str) -> None:
        self.conductor = conductor
        self.participant_id = participant_id
        self.connection: _HttpConnection | None = None
        """None while nobody, or another client, has the place."""
        self.ingest: MediaResource | None = None
        self.players: dict[str, MediaResource] = {}
        self.changing = asyncio.Lock()
        self.asked = 0
        """Requests that wait for their turn."""

    @property
    def empty(self) -> bool:
        """Whether nothing is left for which the place would be held."""
        return self.ingest is None and not self.players

    async def request(self, message: Any) -> dict[str, Any] | None:
        """Have the conductor carry out a message of this person."""
        assert self.connection is not None
        return await self.conductor.request(self.participant_id, self.connection.id, message)


class MediaResources:
    """Every WHIP and WHEP session of this server."""

    def __init__(self) -> None:
        self._resources: dict[str, MediaResource] = {}
        self._seats: dict[tuple[str, str], _Seat] = {}
        self._tasks: set[asyncio.Task[None]] = set()

    def find(self, resource_id: str, session_id: str, participant_id: str) -> MediaResource:
        """The resource with this id, of this person and session; else ``resource_unknown``.

        Somebody else's is not told from one that does not exist.
        """
        resource = self._resources.get(resource_id)
        if resource is not None:
            seat = resource.seat
            if (seat.conductor.session_id, seat.participant_id) == (session_id, participant_id):
                return resource
        raise ResourceUnknown(f"no such session at {resource_id[:40]!r}")

    async def publish(
        self,
        conductor: Conductor,
        participant_id: str,
        remote: RemoteDescription,
        offer: str,
        tracks: list[protocol.PublishedSection],
    ) -> tuple[MediaResource, str]:
        """Begin a WHIP session; returns it and the answer.

        Raises ``already_joined`` where the person is in by another client, or by a WHIP client
        that is sending now; and whatever the room refuses.
        """
        seat = self._seat(conductor, participant_id)
        async with self._turn(seat):
            if seat.ingest is not None:
                quiet_ns = conductor.quiet_ns(participant_id)
                if quiet_ns is not None and quiet_ns < FLOWING_NS:
                    raise AlreadyJoined("another WHIP client is sending in your name")
                # An encoder that was started again does not wait for the end of its former life.
                await self._finish(seat.ingest)
            if seat.connection is None:
                await self._join(seat)
            resource = MediaResource(seat, remote)
            message = protocol.Publish(type="publish", peer=resource.name, sdp=offer, tracks=tracks)
            seat.ingest = self._resources[resource.id] = resource
            try:
                reply = await seat.request(message)
            except BaseException:
                await self._finish(resource)
                raise
            assert reply is not None
            return resource, str(reply["sdp"])

    async def play(
        self,
        conductor: Conductor,
        participant_id: str,
        remote: RemoteDescription,
        track_ids: Collection[str],
    ) -> tuple[MediaResource, str]:
        """Begin a WHEP session; returns it and the answer. Raises what ``Forwarding.play`` does."""
        seat = self._seat(conductor, participant_id)
        async with self._turn(seat):
            if seat.connection is None:
                # Where the person is in by another client, the player looks on in their place.
                with contextlib.suppress(AlreadyJoined):
                    await self._join(seat)
            resource = MediaResource(seat, remote)
            seat.players[resource.id] = self._resources[resource.id] = resource
            try:
                resource.player, answer = await conductor.play(
                    participant_id,
                    resource.name,
                    remote,
                    track_ids,
                    lambda name: self._end_soon(resource),
                )
            except BaseException:
                await self._finish(resource)
                raise
            return resource, answer

    async def end(self, resource: MediaResource) -> None:
        """End a resource; the place is given back with the last one. Can be called again."""
        async with self._turn(resource.seat):
            await self._finish(resource)

    async def close(self) -> None:
        """Forget everything: the conductors have ended the connections."""
        for task in self._tasks:
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)
        self._resources.clear()
        self._seats.clear()

    def _seat(self, conductor: Conductor, participant_id: str) -> _Seat:
        place = (conductor.session_id, participant_id)
        seat = self._seats.get(place)
        if seat is None or seat.conductor is not conductor:
            seat = self._seats[place] = _Seat(conductor, participant_id)
        return seat

    @contextlib.asynccontextmanager
    async def _turn(self, seat: _Seat) -> Any:
        """One change of a seat after the other; it is forgotten when nothing is left of it."""
        seat.asked += 1
        try:
            async with seat.changing:
                yield
        finally:
            seat.asked -= 1
            place = (seat.conductor.session_id, seat.participant_id)
            if seat.empty and not seat.asked and self._seats.get(place) is seat:
                del self._seats[place]

    async def _join(self, seat: _Seat) -> None:
        def ended(gone: bool) -> None:
            if gone:
                seat.connection = None
            else:
                for player in seat.players.values():
                    self._end_soon(player)
            lost()

        def lost() -> None:
            if seat.ingest is not None:
                self._end_soon(seat.ingest)

        connection = _HttpConnection(lost, ended)
        await seat.conductor.join_alone(seat.participant_id, connection)
        seat.connection = connection

    async def _finish(self, resource: MediaResource) -> None:
        if self._resources.pop(resource.id, None) is None:
            return
        seat = resource.seat
        seat.players.pop(resource.id, None)
        if seat.ingest is resource:
            seat.ingest = None
        if resource.player is not None:
            await resource.player.close()
        connection = seat.connection
        if connection is None:
            return
        # Refused only where the place is another client's already, or the server is ending.
        with contextlib.suppress(TingxunError):
            if seat.empty:
                seat.connection = None
                await seat.conductor.request(
                    seat.participant_id, connection.id, protocol.Leave(type="leave")
                )
            elif resource.player is None:
                await seat.conductor.withdraw(seat.participant_id, connection.id)

    def _end_soon(self, resource: MediaResource) -> None:
        if resource.id in self._resources:
            task = asyncio.create_task(self.end(resource))
            self._tasks.add(task)
            task.add_done_callback(self._tasks.discard)
