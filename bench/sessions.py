"""Load on our own server: people who join sessions through the signalling of any client.

Before this: :mod:`bench.load` and :class:`server.agent.signalling.Signalling`.
"""

from __future__ import annotations

import asyncio
import contextlib
import itertools
import random
from collections.abc import AsyncIterator, Callable, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

from bench.load import Publisher, Subscriber
from bench.media import Media
from bench.packets import Reception, Tally
from bench.servers import Tingxun
from bench.tracks import read_ledger
from server.agent.signalling import Signalling

LIVE_WITHIN_S = 30.0
SEALED_WITHIN_S = 120.0
MEDIA_WITHIN_S = 20.0
PLANNED_MINUTES = 30
CAMERA_AND_MICROPHONE = ("camera", "microphone")


class Person(Signalling):
    """One participant with at most one sending and one receiving connection."""

    def __init__(
        self,
        url: str,
        tally: Tally,
        on_packet: Callable[[Reception, bytes], None] | None = None,
    ) -> None:
        super().__init__(url)
        self.account: dict[str, Any] = {}
        self._tally = tally
        self._on_packet = on_packet
        self._publishing: Publisher | None = None
        self._receiving: Subscriber | None = None
        self._receiving_name = ""
        self.offered_tracks = 0
        self._hung_up = False

    @property
    def token(self) -> str:
        """What :meth:`use_token` takes, to be this person in another window."""
        return self._token

    async def offered(self, offer: dict[str, Any]) -> None:
        """Take what the server sends."""
        if self._hung_up:
            return
        if self._receiving is None or offer["peer"] != self._receiving_name:
            if self._receiving is not None:
                await self._receiving.close()
            self._receiving = Subscriber(self._tally, self._on_packet)
            self._receiving_name = offer["peer"]
        sdp = await self._receiving.answer(offer["sdp"])
        await self.send({"type": "answer", "peer": offer["peer"], "sdp": sdp})
        self.offered_tracks = len(offer["tracks"])

    async def publish(
        self,
        media: Media,
        sources: Sequence[str],
        rng: random.Random,
        rates: dict[str, float] | None = None,
    ) -> None:
        """Send these sources from now on."""
        publisher = self._publishing = Publisher(media, self._tally, sources)
        sdp = await publisher.offer()
        tracks = [{"mid": mid, "source": source} for source, mid in publisher.mids.items()]
        answer = await self.request("publish", peer="p1", sdp=sdp, tracks=tracks)
        await publisher.answered(answer["sdp"], rng, rates)

    async def receiving(self, tracks: int) -> None:
        """Wait until so many tracks are offered and their connection stands."""
        async with asyncio.timeout(MEDIA_WITHIN_S):
            while self.offered_tracks < tracks:
                await asyncio.sleep(0.02)
        if self._receiving is not None:
            await self._receiving.connected()

    async def hang_up(self) -> None:
        """End the connections and leave."""
        self._hung_up = True
        for peer in (self._publishing, self._receiving):
            if peer is not None:
                await peer.close()
        await self.leave()


@dataclass(frozen=True, slots=True)
class Booked:
    """A session in which people can take their seats."""

    id: str
    case_number: str


class Installation:
    """The administrator of the server under test: makes accounts and books sessions."""

    def __init__(self, server: Tingxun, tally: Tally) -> None:
        self.server = server
        self._tally = tally
        self._admin = Signalling(server.url)
        self._numbers = itertools.count(1)

    async def sign_in(self) -> None:
        """Be the administrator."""
        await self._admin.sign_in(*self.server.account)

    async def leave(self) -> None:
        """Sign off."""
        await self._admin.leave()

    async def person(
        self, role: str = "officer", on_packet: Callable[[Reception, bytes], None] | None = None
    ) -> Person:
        """Somebody new, signed in."""
        name = f"bench{next(self._numbers)}"
        made = await self._admin.call(
            "POST",
            "/api/people",
            {"name": name, "display_name": name, "role": role}
            | ({"site_id": "detention-centre"} if role == "terminal" else {}),
        )
        person = Person(self.server.url, self._tally, on_packet)
        person.account = await person.sign_in(name, made["one_time_password"])
        return person

    def same_person(
        self, person: Person, on_packet: Callable[[Reception, bytes], None] | None = None
    ) -> Person:
        """Another window of somebody who is signed in."""
        other = Person(self.server.url, self._tally, on_packet)
        other.account = person.account
        other.use_token(person.token)
        return other

    async def book(self, kind: str, seats: Sequence[tuple[Person, str]]) -> Booked:
        """A session of these people with these roles; each later than the one before.

        All can be held at once all the same; only rooms, of which there are few, are booked apart.
        """
        number = next(self._numbers)
        starts_at = datetime.now(UTC) + timedelta(minutes=PLANNED_MINUTES * number)
        case_number = f"BENCH-{number}"
        booked = await self._admin.call(
            "POST",
            "/api/sessions",
            {
                "case_number": case_number,
                "kind": kind,
                "title": "bench",
                "starts_at": starts_at.isoformat(),
                "planned_minutes": PLANNED_MINUTES,
                "room_id": "interrogation-1",
                "detention_room_id": "detention-1",
                "assignments": [
                    {"account_id": person.account["id"], "role": role} for person, role in seats
                ],
            },
        )
        return Booked(booked["id"], case_number)


@contextlib.asynccontextmanager
async def installation(server: Tingxun, tally: Tally) -> AsyncIterator[Installation]:
    """The administrator, signed in."""
    admin = Installation(server, tally)
    try:
        await admin.sign_in()
        yield admin
    finally:
        await admin.leave()


async def open_session(host: Person) -> None:
    """Open, and wait until media is on disk."""
    await host.open()
    await host.wait_for(
        "the session to be live", lambda state: state["phase"] == "live", timeout_s=LIVE_WITHIN_S
    )


async def close_session(host: Person, booked: Booked) -> None:
    """Close, and wait until the archive is sealed."""
    await host.close(booked.case_number)
    await host.wait_for(
        "the archive to be sealed",
        lambda state: state["phase"] == "sealed",
        timeout_s=SEALED_WITHIN_S,
    )


@dataclass(frozen=True, slots=True)
class Account:
    """What an archive's ledger says is missing."""

    lost_packets: int
    gaps: int
    gap_us: int

    @property
    def whole(self) -> bool:
        """Nothing is."""
        return self == Account(0, 0, 0)


def account_of(archive: Path) -> Account:
    """Sum up the ledger of a closed archive."""
    return sum_up((archive / "data" / "chain.jsonl").read_text())


def sum_up(ledger: str) -> Account:
    """Lost packets of all segments; gaps and their time as the last line, ``close``, counts them.

    Raises ValueError when there is no such line.
    """
    records = read_ledger(ledger)
    tracks = records[-1]["tracks"]
    return Account(
        sum(record["lost"] for record in records if record["type"] == "seg"),
        sum(track["gaps"] for track in tracks),
        sum(track["gap_us"] for track in tracks),
    )
