"""Bookings and rooms as rows of the database: the queries behind :mod:`server.records`.

Functions of a connection; they run inside a transaction of :class:`server.database.Database`.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from sqlalchemy import Connection, Row, Select, and_, insert, or_, select

from rooms.errors import BookingConflict, RoomUnknown
from rooms.moment import format_wall, parse_wall
from rooms.phases import ENDED, Phase
from rooms.roles import Role
from rooms.session import Assignment, Session, SessionKind
from server import clock, schema


@dataclass(frozen=True, slots=True)
class Device:
    """One place for a device in a room; ``name`` is empty while nothing is there."""

    slot: str
    name: str


@dataclass(frozen=True, slots=True)
class Place:
    """A room of a site: where one end of a session sits."""

    id: str
    name: str
    kind: str
    site_id: str
    site_name: str
    devices: tuple[Device, ...] = ()


@dataclass(frozen=True, slots=True)
class Booking:
    """A session with what a list of sessions shows beside it."""

    session: Session
    ends_at: datetime
    phase: Phase
    room: Place
    detention_room: Place
    archive_id: str | None


def places_by_id(connection: Connection) -> dict[str, Place]:
    """Every room with its devices, by its id: interrogation rooms first."""
    slots: dict[str, list[Device]] = {}
    order = {slot: n for n, slot in enumerate(schema.DEVICE_SLOTS)}
    for row in connection.execute(select(schema.devices)):
        slots.setdefault(row.room_id, []).append(Device(row.slot, row.name))
    query = (
        select(schema.rooms, schema.sites.c.name.label("site_name"))
        .join(schema.sites)
        .order_by(schema.rooms.c.kind.desc(), schema.rooms.c.id)
    )
    return {
        row.id: Place(
            row.id,
            row.name,
            row.kind,
            row.site_id,
            row.site_name,
            tuple(sorted(slots.get(row.id, ()), key=lambda device: order.get(device.slot, 99))),
        )
        for row in connection.execute(query)
    }


def store_booking(
    connection: Connection,
    session: Session,
    ends_at: datetime,
    detention_room_id: str,
    booked_by: str | None,
) -> None:
    """Store a new session; raises RoomUnknown and BookingConflict."""
    places = places_by_id(connection)
    for room_id in (session.room_id, detention_room_id):
        if room_id not in places:
            raise RoomUnknown(f"room {room_id[:64]} does not exist")
    _refuse_conflict(connection, session, ends_at, (session.room_id, detention_room_id))
    connection.execute(
        insert(schema.sessions).values(
            id=session.id,
            case_number=session.case_number,
            kind=session.kind.value,
            title=session.title,
            starts_wall=format_wall(session.starts_at),
            ends_wall=format_wall(ends_at),
            room_id=session.room_id,
            detention_room_id=detention_room_id,
            phase=Phase.SCHEDULED.value,
            booked_by=booked_by,
            booked_wall=clock.wall(),
        )
    )
    connection.execute(
        insert(schema.assignments),
        [
            {
                "session_id": session.id,
                "seat": seat,
                "account_id": assignment.participant_id,
                "role": assignment.role.value,
                "site_id": assignment.site_id,
            }
            for seat, assignment in enumerate(session.assignments)
        ],
    )


_OVER = tuple(phase.value for phase in ENDED)
"""Phases in which a session no longer needs its rooms and people."""


def _refuse_conflict(
    connection: Connection, session: Session, ends_at: datetime, room_ids: Iterable[str]
) -> None:
    table, seats = schema.sessions, schema.assignments
    overlapping = and_(
        table.c.starts_wall < format_wall(ends_at),
        table.c.ends_wall > format_wall(session.starts_at),
        table.c.phase.not_in(_OVER),
    )
    for room_id in dict.fromkeys(room_ids):
        taken = or_(table.c.room_id == room_id, table.c.detention_room_id == room_id)
        other = connection.scalar(select(table.c.case_number).where(overlapping, taken))
        if other is not None:
            raise BookingConflict(f"room {room_id} is taken at that time by case {other}")
    people = [assignment.participant_id for assignment in session.assignments]
    query = (
        select(table.c.case_number, schema.accounts.c.display_name)
        .join(seats, seats.c.session_id == table.c.id)
        .join(schema.accounts, schema.accounts.c.id == seats.c.account_id)
        .where(overlapping, seats.c.account_id.in_(people))
    )
    busy = connection.execute(query).first()
    if busy is not None:
        raise BookingConflict(
            f"{busy.display_name} is taken at that time by case {busy.case_number}"
        )


def load_bookings(connection: Connection, query: Select[Any]) -> list[Booking]:
    """The sessions that a query on the table of sessions finds, in its order."""
    rows = connection.execute(query).all()
    if not rows:
        return []
    ids = [row.id for row in rows]
    places = places_by_id(connection)
    seats: dict[str, list[Assignment]] = {session_id: [] for session_id in ids}
    table, accounts, sites = schema.assignments, schema.accounts, schema.sites
    seat_query = (
        select(table, accounts.c.display_name, sites.c.name.label("site_name"))
        .join(accounts, accounts.c.id == table.c.account_id)
        .outerjoin(sites, sites.c.id == table.c.site_id)
        .where(table.c.session_id.in_(ids))
        .order_by(table.c.session_id, table.c.seat)
    )
    for row in connection.execute(seat_query):
        seats[row.session_id].append(
            Assignment(row.account_id, row.display_name, Role(row.role), row.site_id, row.site_name)
        )
    archive_ids = {
        row.session_id: row.id
        for row in connection.execute(
            select(schema.archives).where(schema.archives.c.session_id.in_(ids))
        )
    }
    return [_booking(row, seats[row.id], places, archive_ids.get(row.id)) for row in rows]


def _booking(
    row: Row[Any], seats: list[Assignment], places: Mapping[str, Place], archive_id: str | None
) -> Booking:
    room, detention_room = places[row.room_id], places[row.detention_room_id]
    session = Session(
        id=row.id,
        case_number=row.case_number,
        kind=SessionKind(row.kind),
        title=row.title,
        starts_at=parse_wall(row.starts_wall),
        room_id=row.room_id,
        site_ids=tuple(dict.fromkeys((room.site_id, detention_room.site_id))),
        assignments=tuple(seats),
    )
    ends_at = parse_wall(row.ends_wall)
    return Booking(session, ends_at, Phase(row.phase), room, detention_room, archive_id)
