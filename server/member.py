"""One person in a session as the server holds them: signalling and media connections."""

from __future__ import annotations

import asyncio
import secrets
from collections.abc import Mapping
from typing import Any, Protocol

from rooms.errors import TingxunError
from server.sfu.player_peer import PlayerPeer
from server.sfu.publish_peer import PublishPeer
from server.sfu.subscribe_peer import SubscribePeer


class Connection(Protocol):
    """A signalling connection, whatever carries it. No method blocks or fails."""

    id: str

    receives: bool = True
    """Whether it can be offered a receiving connection."""

    def send(self, message: dict[str, Any]) -> None:
        """Queue a message to the client."""

    def end(self, problem: TingxunError) -> None:
        """Say why, and close."""

    def lost(self, peer: str) -> None:
        """The media connection of that name has failed, or was ended by the other side."""


class Member:
    """A person who is in the room, or was a moment ago and may come back."""

    def __init__(self, participant_id: str) -> None:
        self.participant_id = participant_id
        self.connection: Connection | None = None
        self.resume = ""
        self.publisher: PublishPeer | None = None
        self.subscriber: SubscribePeer | None = None
        self.heights: Mapping[str, int] = {}
        """At which height the person's client shows each picture, by track."""
        self.players: dict[str, PlayerPeer] = {}
        """WHEP players that receive in this person's place, by name."""
        self.offer: dict[str, Any] | None = None
        """The offer that waits for its answer; sent again to a client that comes back."""
        self.expiry: asyncio.TimerHandle | None = None

    def attach(self, connection: Connection) -> None:
        """This connection is now the person's; a lost one's end of grace is off."""
        self.connection = connection
        self.resume = secrets.token_urlsafe(24)
        if self.expiry is not None:
            self.expiry.cancel()
            self.expiry = None

    def send(self, message: dict[str, Any]) -> None:
        """Send to the person, if they are connected."""
        if self.connection is not None:
            self.connection.send(message)

    @property
    def receiving(self) -> list[SubscribePeer]:
        """Every connection on which the person receives."""
        own = [] if self.subscriber is None else [self.subscriber]
        return [*own, *self.players.values()]

    async def drop_peers(self) -> None:
        """End every media connection: the client's two, and those of players."""
        await self.drop_client()
        for player in list(self.players.values()):
            await player.close()

    async def drop_client(self) -> None:
        """End both media connections of the person's own client."""
        publisher, self.publisher = self.publisher, None
        subscriber, self.subscriber = self.subscriber, None
        self.offer = None
        for peer in (publisher, subscriber):
            if peer is not None:
                await peer.close()
