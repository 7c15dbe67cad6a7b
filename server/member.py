"""One person in a session as the server holds them: their connection and their two peers."""

from __future__ import annotations

import asyncio
import secrets
from typing import Any, Protocol

from rooms.errors import TingxunError
from server.sfu.peer import PublishPeer, SubscribePeer


class Connection(Protocol):
    """A signalling connection, whatever carries it. Neither method blocks or fails."""

    id: str

    def send(self, message: dict[str, Any]) -> None:
        """Queue a message to the client."""

    def end(self, problem: TingxunError) -> None:
        """Say why, and close."""


class Member:
    """A person who is in the room, or was a moment ago and may come back."""

    def __init__(self, participant_id: str) -> None:
        self.participant_id = participant_id
        self.connection: Connection | None = None
        self.resume = ""
        self.publisher: PublishPeer | None = None
        self.subscriber: SubscribePeer | None = None
        self.subscriber_count = 0
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
        return [] if self.subscriber is None else [self.subscriber]

    async def drop_peers(self) -> None:
        """End both media connections."""
        publisher, self.publisher = self.publisher, None
        subscriber, self.subscriber = self.subscriber, None
        self.offer = None
        for peer in (publisher, subscriber):
            if peer is not None:
                await peer.close()
