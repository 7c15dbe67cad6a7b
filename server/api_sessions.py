"""The HTTP interface for bookings: which sessions there are, and booking a new one."""

from __future__ import annotations

import re
import secrets
from collections import Counter
from collections.abc import Mapping
from datetime import UTC, datetime, timedelta
from typing import Any

from aiohttp import web

from rooms.errors import FieldInvalid, RoomUnknown
from rooms.moment import format_wall, whole_ms
from rooms.roles import Role
from rooms.session import Assignment, Session, SessionKind
from rooms.text import MAX_NAME_CHARS, is_text
from server.access import Right, account_with, may, visible_booking
from server.account_records import Account
from server.bodies import BookingBody, SeatBody, read_body
from server.bookings import Booking, Place
from server.keys import ACCOUNTS, PAGES, RECORDS
from server.texts import language_of

_CASE_NUMBER = re.compile(r"[\w\-/.·()\[\]（）〔〕［］【】 ]{1,64}")
_EARLIEST, _LATEST = timedelta(days=-1), timedelta(days=366)
"""A booking starts within these of now: further away it is a slip of the hand."""

_SINGLE = (Role.QUESTIONER, Role.CLERK, Role.SUBJECT)
"""Roles that one person has alone; co-suspects are questioned apart (rules of 2020, art 202)."""


def add_routes(app: web.Application) -> None:
    """Mount the routes of sessions."""
    app.router.add_get("/api/sessions", _list)
    app.router.add_post("/api/sessions", _book)
    app.router.add_get("/api/sessions/{session_id}", _one)


def place_json(request: web.Request, place: Place) -> dict[str, Any]:
    """A room as the HTTP interface shows it, named in the reader's language where we have it."""
    return {
        "id": place.id,
        "name": _named(request, place.id, place.name),
        "site_id": place.site_id,
        "site_name": _named(request, place.site_id, place.site_name),
        "kind": place.kind,
        "devices": [{"slot": device.slot, "name": device.name} for device in place.devices],
    }


def _named(request: web.Request, place_id: str, name: str) -> str:
    """Rooms and sites of a new installation have texts; those that people add, only a name."""
    key = f"place.{place_id}"
    text = request.app[PAGES].texts.say(language_of(request), key)
    return name if text == key else text


def _session_json(request: web.Request, booking: Booking, account: Account) -> dict[str, Any]:
    session = booking.session
    seats = session.assignments
    my_role = next((seat.role.value for seat in seats if seat.participant_id == account.id), None)
    return {
        "id": session.id,
        "case_number": session.case_number,
        "kind": session.kind.value,
        "title": session.title,
        "starts_at": format_wall(session.starts_at),
        "ends_at": format_wall(booking.ends_at),
        "phase": booking.phase.value,
        "room": place_json(request, booking.room),
        "detention_site": place_json(request, booking.detention_room),
        "assignments": [{**seat.to_record(), "account_id": seat.participant_id} for seat in seats],
        "my_role": my_role,
        "archive_id": booking.archive_id,
    }


async def _list(request: web.Request) -> web.Response:
    account = await account_with(request)
    since = until = None
    if may(account, Right.SEE_DAY):
        # The day as the clock on the wall of this installation has it.
        since = datetime.now().astimezone().replace(hour=0, minute=0, second=0, microsecond=0)
        until = since + timedelta(days=1)
    bookings = await request.app[RECORDS].bookings(account.id, since, until)
    return web.json_response(
        {"sessions": [_session_json(request, booking, account) for booking in bookings]}
    )


async def _one(request: web.Request) -> web.Response:
    account = await account_with(request)
    booking = await visible_booking(request, account)
    return web.json_response(_session_json(request, booking, account))


async def _book(request: web.Request) -> web.Response:
    account = await account_with(request, Right.BOOK)
    body = await read_body(request, BookingBody)
    records = request.app[RECORDS]
    places = {place.id: place for place in await records.places()}
    room = _room(places, body.room_id, "room_id", "interrogation")
    detention_room = _room(places, body.detention_room_id, "detention_room_id", "detention")
    people = await request.app[ACCOUNTS].by_ids([seat.account_id for seat in body.assignments])
    session = _session(body, room, detention_room, people)
    ends_at = session.starts_at + timedelta(minutes=body.planned_minutes)
    await records.book(session, ends_at, detention_room.id, account.id)
    booking = await records.booking(session.id)
    return web.json_response(
        _session_json(request, booking, account),
        status=201,
        headers={"Location": f"/api/sessions/{session.id}"},
    )


def _room(places: Mapping[str, Place], room_id: str, field: str, kind: str) -> Place:
    place = places.get(room_id)
    if place is None:
        raise RoomUnknown(f"{field}: room {room_id} does not exist")
    if place.kind != kind:
        raise FieldInvalid(f"{field}: {room_id} is not a room of kind {kind}")
    return place


def _session(
    body: BookingBody, room: Place, detention_room: Place, people: Mapping[str, Account]
) -> Session:
    now = datetime.now(UTC)
    case_number, title = body.case_number.strip(), body.title.strip()
    if not _CASE_NUMBER.fullmatch(case_number):
        raise FieldInvalid("case_number: 1 to 64 letters, digits, spaces or -/.·()[]（）〔〕")
    if not is_text(title, MAX_NAME_CHARS) or "\n" in title:
        raise FieldInvalid(f"title: 1 to {MAX_NAME_CHARS} characters in one line")
    if not _EARLIEST <= body.starts_at - now <= _LATEST:
        raise FieldInvalid("starts_at: more than a day ago, or more than a year away")
    _check_roles(body.kind, [seat.role for seat in body.assignments])
    return Session(
        id=f"s-{now:%Y%m%d}-{secrets.token_hex(4)}",
        case_number=case_number,
        kind=body.kind,
        title=title,
        starts_at=whole_ms(body.starts_at),
        room_id=room.id,
        site_ids=tuple(dict.fromkeys((room.site_id, detention_room.site_id))),
        assignments=tuple(_seat(seat, room, detention_room, people) for seat in body.assignments),
    )


def _check_roles(kind: SessionKind, roles: list[Role]) -> None:
    count = Counter(roles)
    for role in _SINGLE:
        if count[role] > 1:
            raise FieldInvalid(f"assignments: more than one {role}")
    if count[Role.QUESTIONER] == 0:
        raise FieldInvalid("assignments: nobody is the questioner")
    if kind is SessionKind.INTERROGATION and count[Role.SUBJECT] == 0:
        raise FieldInvalid("assignments: nobody is the subject")


def _seat(
    seat: SeatBody, room: Place, detention_room: Place, people: Mapping[str, Account]
) -> Assignment:
    """A person's seat; who belongs to no site sits where their role does."""
    account = people.get(seat.account_id)
    if account is None:
        raise FieldInvalid(f"assignments: account {seat.account_id} does not exist")
    place = detention_room if seat.role is Role.SUBJECT else room
    here = next((one for one in (room, detention_room) if one.site_id == account.site_id), None)
    if account.role == "terminal" and here is None:
        raise FieldInvalid(f"assignments: terminal {account.name} stands at neither site")
    place = here or place
    return Assignment(account.id, account.display_name, seat.role, place.site_id, place.site_name)
