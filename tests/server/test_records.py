"""Records on a real database: bookings, conflicts, append-only events, archives, damage."""

from __future__ import annotations

import asyncio
import sqlite3
from collections.abc import AsyncIterator, Awaitable, Callable
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest
from sqlalchemy import delete, text, update
from sqlalchemy.exc import IntegrityError

from rooms.errors import (
    ArchiveUnknown,
    BookingConflict,
    ConfigInvalid,
    DataDirUnwritable,
    DiskFull,
    RoomUnknown,
    SessionUnknown,
)
from rooms.phases import Phase
from rooms.roles import Role
from rooms.session import Assignment, Session, SessionKind
from server import schema
from server.account_records import Account, AccountRecords
from server.config import Config
from server.database import Database
from server.records import Records

NINE = datetime(2026, 11, 23, 9, 0, tzinfo=UTC)
HOUR = timedelta(hours=1)


@pytest.fixture
async def database(config: Config) -> AsyncIterator[Database]:
    database = await Database.open(config.database_path)
    accounts = AccountRecords(database)
    for name in ("li", "wang", "zhao", "terminal"):
        await accounts.add(Account(f"a-{name}", name, name, "officer", None, False), "hash")
    yield database
    await database.close()


@pytest.fixture
def records(database: Database) -> Records:
    return Records(database)


def session(
    session_id: str = "s-1",
    starts_at: datetime = NINE,
    room: str = "interrogation-1",
    people: tuple[str, str] = ("li", "terminal"),
) -> Session:
    roles = (Role.QUESTIONER, Role.SUBJECT)
    sites = (("interrogation-centre", "讯问中心"), ("detention-centre", "看守所"))
    return Session(
        id=session_id,
        case_number=f"case-{session_id}",
        kind=SessionKind.INTERROGATION,
        title="讯问",
        starts_at=starts_at,
        room_id=room,
        site_ids=("interrogation-centre", "detention-centre"),
        assignments=tuple(
            Assignment(f"a-{name}", name, role, *site)
            for name, role, site in zip(people, roles, sites, strict=True)
        ),
    )


Book = Callable[..., Awaitable[None]]


@pytest.fixture
def book(records: Records) -> Book:
    async def book(one: Session, length: timedelta = HOUR, detention: str = "detention-1") -> None:
        await records.book(one, one.starts_at + length, detention, None)

    return book


async def test_five_rooms_and_a_detention_site_with_their_slots(records: Records) -> None:
    places = await records.places()
    assert [place.kind for place in places] == ["interrogation"] * 5 + ["detention"]
    for place in places:
        assert [device.slot for device in place.devices] == list(schema.DEVICE_SLOTS)


async def test_a_session_comes_back_as_it_was_booked(records: Records, book: Book) -> None:
    await book(session())
    assert await records.session("s-1") == session()
    booking = await records.booking("s-1")
    assert booking.phase is Phase.SCHEDULED
    assert booking.ends_at == NINE + HOUR
    assert booking.detention_room.id == "detention-1"
    assert booking.archive_id is None


async def test_unknown_session_and_room(records: Records, book: Book) -> None:
    with pytest.raises(SessionUnknown):
        await records.session("nothing")
    with pytest.raises(RoomUnknown):
        await book(session(room="nowhere"))
    with pytest.raises(SessionUnknown):
        await records.session("s-1")


async def test_overlapping_rooms_and_people_are_refused(records: Records, book: Book) -> None:
    """F9: overlapping room, officer or detainee is rejected, and nothing of it is stored."""
    await book(session())
    half_past = NINE + HOUR / 2
    with pytest.raises(BookingConflict, match="interrogation-1"):
        await book(session("s-2", half_past))
    with pytest.raises(BookingConflict, match="detention-1"):
        await book(session("s-2", half_past, "interrogation-2", ("wang", "zhao")))
    # The detention room is the only one, so that a person's conflict is seen with it free.
    await records.set_phase("s-1", "waiting")
    other = session("s-2", half_past, "interrogation-2", ("li", "zhao"))
    with pytest.raises(BookingConflict, match="li"):
        await book(other, detention="interrogation-3")
    assert [one.session.id for one in await records.bookings("a-li")] == ["s-1"]


async def test_back_to_back_and_after_the_end_is_no_conflict(records: Records, book: Book) -> None:
    await book(session())
    await book(session("s-2", NINE + HOUR))
    await book(session("s-0", NINE - HOUR))
    await records.set_phase("s-1", "closed")
    await book(session("s-3", NINE + HOUR / 4), HOUR / 4)


async def test_bookings_of_a_person_and_of_a_day(records: Records, book: Book) -> None:
    await book(session())
    await book(session("s-2", NINE + HOUR, people=("wang", "terminal")))
    await book(session("s-3", NINE + 48 * HOUR, people=("wang", "terminal")))

    async def ids(*arguments: Any) -> list[str]:
        return [booking.session.id for booking in await records.bookings(*arguments)]

    assert await ids("a-li") == ["s-1"]
    assert await ids("a-wang") == ["s-2", "s-3"]
    assert await ids(None, NINE, NINE + 24 * HOUR) == ["s-1", "s-2"]
    assert await ids("a-wang", NINE, NINE + HOUR) == ["s-1", "s-2", "s-3"]
    assert await ids("a-zhao") == []


async def test_phase_must_be_one(records: Records, book: Book) -> None:
    await book(session())
    await records.set_phase("s-1", "live")
    assert (await records.booking("s-1")).phase is Phase.LIVE
    with pytest.raises(ValueError, match="asleep"):
        await records.set_phase("s-1", "asleep")


def event(kind: str = "marker_added", **fields: Any) -> dict[str, Any]:
    return {"type": kind, "wall": "2026-11-23T09:00:00.000Z", "t_us": 0, **fields}


async def test_events_are_numbered_and_kept_in_order(records: Records, book: Book) -> None:
    await book(session())
    assert await records.append_events("s-1", [event(text="甲"), event(text="乙")]) == 0
    assert await records.append_events("s-1", []) == 2
    await asyncio.gather(*(records.append_events("s-1", [event(text=str(n))]) for n in range(20)))
    texts = [record["text"] for record in await records.events("s-1")]
    assert texts[:2] == ["甲", "乙"]
    assert sorted(texts[2:], key=int) == [str(n) for n in range(20)]
    assert await records.events("s-2") == []


async def test_events_of_no_session_are_refused(records: Records) -> None:
    with pytest.raises(IntegrityError):
        await records.append_events("nothing", [event()])


async def test_the_database_itself_refuses_to_change_events(
    database: Database, records: Records, book: Book, config: Config
) -> None:
    await book(session())
    await records.append_events("s-1", [event()])
    for statement in (update(schema.events).values(type="x"), delete(schema.events)):
        with pytest.raises(IntegrityError, match="append-only"):
            await database.run(lambda connection, s=statement: connection.execute(s))
    other = sqlite3.connect(config.database_path)
    with pytest.raises(sqlite3.IntegrityError, match="append-only"):
        other.execute("DELETE FROM events")
    other.close()


async def test_archives_with_what_their_events_say(
    records: Records, book: Book, tmp_path: Path
) -> None:
    await book(session())
    await records.append_events(
        "s-1",
        [
            event("track_published", track_id="cam-1"),
            event("session_opening", wall="2026-11-23T09:05:00.000Z"),
            event("track_published", track_id="mic-1"),
            event("track_published", track_id="cam-1"),
            event("session_closing", t_us=61_500_000),
            event("session_closed", t_us=62_000_000),
        ],
    )
    await records.set_archive("s-1", "s-1", tmp_path / "elsewhere")
    await records.set_archive("s-1", "s-1", tmp_path)
    (archive,) = await records.archives()
    assert archive == await records.archive("s-1")
    assert (archive.tracks, archive.duration_ms, archive.sealed) == (2, 61_500, False)
    assert archive.opened_wall == "2026-11-23T09:05:00.000Z"
    assert archive.path == tmp_path
    assert (await records.booking("s-1")).archive_id == "s-1"
    await records.set_phase("s-1", "sealed")
    assert (await records.archive("s-1")).sealed
    assert [one.id for one in await records.archives("a-li")] == ["s-1"]
    assert await records.archives("a-zhao") == []
    with pytest.raises(ArchiveUnknown):
        await records.archive("s-2")


async def test_everything_is_there_after_opening_again(config: Config) -> None:
    first = await Database.open(config.database_path)
    accounts = AccountRecords(first)
    for name in ("li", "terminal"):
        await accounts.add(Account(f"a-{name}", name, name, "officer", None, False), "hash")
    await Records(first).book(session(), NINE + HOUR, "detention-1", None)
    await Records(first).append_events("s-1", [event()])
    await first.close()
    second = await Database.open(config.database_path)
    assert await Records(second).session("s-1") == session()
    assert await Records(second).events("s-1") == [event()]
    assert len(await Records(second).places()) == 6
    await second.close()


async def test_a_later_version_is_refused(config: Config, database: Database) -> None:
    await database.run(
        lambda connection: connection.execute(text("UPDATE schema_version SET version = 99"))
    )
    with pytest.raises(ConfigInvalid, match="version 99"):
        await Database.open(config.database_path)


async def test_a_folder_that_cannot_be_made(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    with pytest.raises(DataDirUnwritable, match="file"):
        await Database.open(tmp_path / "file" / "var" / "x.sqlite3")


async def test_a_file_that_is_no_database(tmp_path: Path) -> None:
    (tmp_path / "x.sqlite3").write_bytes(b"not a database" * 1000)
    with pytest.raises(DataDirUnwritable, match="not a database"):
        await Database.open(tmp_path / "x.sqlite3")


async def test_a_full_disk_is_said_and_loses_nothing(
    database: Database, records: Records, book: Book
) -> None:
    await book(session())
    await database.run(lambda connection: connection.execute(text("PRAGMA max_page_count = 60")))
    stored = 0
    with pytest.raises(DiskFull):
        for _ in range(1000):
            await records.append_events("s-1", [event(text="x" * 500)])
            stored += 1
    assert stored > 0
    assert len(await records.events("s-1")) == stored
    await database.run(lambda connection: connection.execute(text("PRAGMA max_page_count = 9999")))
    assert await records.append_events("s-1", [event()]) == stored


async def test_a_failed_transaction_leaves_nothing(records: Records, book: Book) -> None:
    await book(session())
    with pytest.raises(KeyError):
        await records.append_events("s-1", [event(), {"type": "no wall"}])
    assert await records.events("s-1") == []
    with pytest.raises(IntegrityError):
        await book(replace(session(starts_at=NINE + 2 * HOUR)))
