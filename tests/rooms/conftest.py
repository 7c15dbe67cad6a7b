"""A room with all six roles in it, a clock that the test owns, and the stored records."""

from __future__ import annotations

import json
from collections.abc import Callable
from dataclasses import replace
from datetime import UTC, datetime, timedelta

import pytest
from hypothesis import HealthCheck, settings

from rooms.commands import Command, ConfirmRecording, Join, Open, Publish
from rooms.events import Event, from_record, to_record
from rooms.moment import Moment
from rooms.roles import Role
from rooms.room import Room
from rooms.session import Assignment, Session, SessionKind

# What a busy machine takes to draw an example says nothing about the rules.
settings.register_profile("unhurried", deadline=None, suppress_health_check=[HealthCheck.too_slow])
settings.load_profile("unhurried")

BOOKED = Session(
    id="s1",
    case_number="A-2026-0137",
    kind=SessionKind.INTERROGATION,
    title="Questioning of the detainee",
    starts_at=datetime(2026, 11, 23, 14, tzinfo=UTC),
    room_id="room-1",
    site_ids=("north", "detention"),
    assignments=(
        Assignment("ann", "安警官", Role.QUESTIONER, "north", "North station"),
        Assignment("ben", "Ben", Role.SECOND_OFFICER, "north", "North station"),
        Assignment("cat", "Cat", Role.CLERK, "north", "North station"),
        Assignment("sub", "Subject", Role.SUBJECT, "detention", "Detention site"),
        Assignment("ida", "Ida", Role.INTERPRETER, None, None),
        Assignment("obi", "Obi", Role.OBSERVER, None, None),
    ),
)


class Held:
    """A room driven as the conductor drives it: judge, store, apply; 10 ms for each command."""

    def __init__(self, session: Session, max_tracks: int) -> None:
        self.session = session
        self.room = Room(session, max_tracks_per_participant=max_tracks)
        self.now = Moment(5_000_000, datetime(2026, 11, 23, 14, 0, 0, 123_000, tzinfo=UTC))
        self.stored: list[str] = []

    def wait(self, us: int) -> None:
        wall = self.now.wall + timedelta(microseconds=us)
        self.now = Moment(self.now.mono_us + us, wall)

    def do(self, *commands: Command) -> list[Event]:
        """Carry commands out; return the events of the last."""
        events: list[Event] = []
        for command in commands:
            self.wait(10_000)
            events = self.room.handle(command, self.now)
            self.stored += [json.dumps(to_record(event)) for event in events]
            for event in events:
                self.room.apply(event)
        return events

    def types(self, *commands: Command) -> list[str]:
        """Carry commands out; return the types of the last one's events."""
        return [event.type for event in self.do(*commands)]

    def replayed(self) -> Room:
        """Return a fresh room with the stored records applied."""
        room = Room(self.session)
        for line in self.stored:
            room.apply(from_record(json.loads(line)))
        return room

    def fill(self) -> Held:
        """Bring questioner and subject in, each with camera and microphone."""
        self.do(Join("ann", "c-ann"), Join("sub", "c-sub"))
        for who in ("ann", "sub"):
            self.do(Publish(who, "camera", "H264"), Publish(who, "microphone", "opus"))
        return self

    def go_live(self) -> Held:
        """Open, and have the recorder confirm."""
        self.fill().do(Open("ann"), ConfirmRecording(2))
        return self


@pytest.fixture
def booked() -> Session:
    return BOOKED


@pytest.fixture
def hold() -> Callable[..., Held]:
    """Make a held room; keyword arguments change the booking."""

    def make(*, max_tracks: int = 5, **changes: object) -> Held:
        return Held(replace(BOOKED, **changes), max_tracks)

    return make


@pytest.fixture
def held(hold: Callable[..., Held]) -> Held:
    return hold()


@pytest.fixture
def live(held: Held) -> Held:
    return held.go_live()
