"""What the platform remembers of bookings, rooms, events and archives.

Every method runs as one transaction in the database's worker thread (:mod:`server.database`). The
events of a session are append-only and numbered from 0 without a hole; they are stored before they
are acted on. Accounts and tokens are beside this, in :mod:`server.account_records`.
"""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from datetime import datetime
from pathlib import Path
from typing import Any

from sqlalchemy import Column, ColumnElement, Connection, and_, func, insert, or_, select, update

from rooms.errors import ArchiveUnknown, SessionUnknown
from rooms.moment import format_wall
from rooms.phases import Phase
from rooms.session import Session
from server import clock, schema
from server.bookings import Booking, Place, load_bookings, places_by_id, store_booking
from server.database import Database
from server.stored_archives import StoredArchive, load_archives

LISTED_SESSIONS = 500
"""Most sessions in one list: a page shows no more, and an answer stays small."""


class Records:
    """Bookings, rooms, events and archives."""

    def __init__(self, database: Database) -> None:
        self._run = database.run

    # --- rooms ---------------------------------------------------------------------------

    async def places(self) -> list[Place]:
        """Every room of every site with its devices, in the order of their ids."""
        return await self._run(lambda connection: list(places_by_id(connection).values()))

    async def site_exists(self, site_id: str) -> bool:
        """Whether there is such a site."""
        query = select(schema.sites.c.id).where(schema.sites.c.id == site_id)
        return await self._run(lambda connection: connection.scalar(query) is not None)

    # --- sessions ------------------------------------------------------------------------

    async def book(
        self, session: Session, ends_at: datetime, detention_room_id: str, booked_by: str | None
    ) -> None:
        """Store a new session.

        Raises :class:`~rooms.errors.BookingConflict` when a room or a person of it is taken by
        another session between ``starts_at`` and ``ends_at`` (feature F9), and
        :class:`~rooms.errors.RoomUnknown`.
        """
        await self._run(
            lambda connection: store_booking(
                connection, session, ends_at, detention_room_id, booked_by
            )
        )

    async def session(self, session_id: str) -> Session:
        """The booked session; raises :class:`~rooms.errors.SessionUnknown`."""
        return (await self.booking(session_id)).session

    async def booking(self, session_id: str) -> Booking:
        """The session with its rooms, phase and archive; raises SessionUnknown."""
        query = select(schema.sessions).where(schema.sessions.c.id == session_id)
        found = await self._run(lambda connection: load_bookings(connection, query))
        if not found:
            raise SessionUnknown(f"session {session_id[:64]} does not exist")
        return found[0]

    async def bookings(
        self,
        account_id: str | None = None,
        since: datetime | None = None,
        until: datetime | None = None,
    ) -> list[Booking]:
        """Sessions by time: those of one person, those starting in a span of time, or both lists.

        With ``account_id`` and a span, a session is listed when either holds.
        """
        table = schema.sessions
        wanted: list[ColumnElement[bool]] = []
        if account_id is not None:
            mine = select(schema.assignments.c.session_id).where(
                schema.assignments.c.account_id == account_id
            )
            wanted.append(table.c.id.in_(mine))
        if since is not None and until is not None:
            wanted.append(
                and_(
                    table.c.starts_wall >= format_wall(since),
                    table.c.starts_wall < format_wall(until),
                )
            )
        # The latest ones where there are more than fit; shown in the order of time.
        query = (
            select(table)
            .where(or_(*wanted))
            .order_by(table.c.starts_wall.desc(), table.c.id)
            .limit(LISTED_SESSIONS)
        )
        return (await self._run(lambda connection: load_bookings(connection, query)))[::-1]

    async def set_phase(self, session_id: str, phase: str) -> None:
        """Store the phase that a session has come to, for lists; the events are the truth."""
        statement = (
            update(schema.sessions)
            .where(schema.sessions.c.id == session_id)
            .values(phase=Phase(phase).value)
        )
        await self._run(lambda connection: connection.execute(statement).close())

    # --- events --------------------------------------------------------------------------

    async def append_events(self, session_id: str, records: Sequence[Mapping[str, Any]]) -> int:
        """Store room events (:func:`rooms.events.to_record`) and return the number of the first.

        All of them or none; when this returns they are on the disk.
        """
        return await self._run(lambda connection: _append(connection, session_id, records))

    async def events(self, session_id: str) -> list[dict[str, Any]]:
        """Every event of a session in order, as records."""
        query = (
            select(schema.events.c.record)
            .where(schema.events.c.session_id == session_id)
            .order_by(schema.events.c.n)
        )
        return await self._run(
            lambda connection: [json.loads(record) for record in connection.scalars(query)]
        )

    async def set_opened(self, session_id: str, boot_id: str, opened_mono_us: int) -> None:
        """Store the monotonic time at which the session clock is 0, and of which boot it is."""
        values = {"boot_id": boot_id, "opened_mono_us": opened_mono_us}
        key = schema.clocks.c.session_id
        await self._run(lambda connection: _put(connection, key, session_id, values))

    async def opened(self, session_id: str) -> tuple[str, int] | None:
        """What :meth:`set_opened` stored last."""
        table = schema.clocks
        query = select(table.c.boot_id, table.c.opened_mono_us).where(
            table.c.session_id == session_id
        )

        def work(connection: Connection) -> tuple[str, int] | None:
            row = connection.execute(query).first()
            return None if row is None else (row.boot_id, row.opened_mono_us)

        return await self._run(work)

    # --- archives ------------------------------------------------------------------------

    async def set_archive(self, session_id: str, archive_id: str, path: str | Path) -> None:
        """Store where the archive of a session lies; said again, the new path holds."""
        values = {"session_id": session_id, "path": str(path), "stored_wall": clock.wall()}
        key = schema.archives.c.id
        await self._run(lambda connection: _put(connection, key, archive_id, values))

    async def archives(self, account_id: str | None = None) -> list[StoredArchive]:
        """Archives, newest first: all of them, or those of sessions with a seat for one person."""
        return await self._run(lambda connection: load_archives(connection, account_id=account_id))

    async def archive(self, archive_id: str) -> StoredArchive:
        """One archive; raises :class:`~rooms.errors.ArchiveUnknown`."""
        found = await self._run(lambda connection: load_archives(connection, archive_id=archive_id))
        if not found:
            raise ArchiveUnknown(f"archive {archive_id[:64]} does not exist")
        return found[0]


def _put(connection: Connection, key: Column[str], name: str, values: Mapping[str, object]) -> None:
    """Store the row whose ``key`` is ``name``, over the one that is there already."""
    changed = connection.execute(update(key.table).where(key == name).values(**values))
    if changed.rowcount == 0:
        connection.execute(insert(key.table).values({key.name: name, **values}))


def _append(connection: Connection, session_id: str, records: Sequence[Mapping[str, Any]]) -> int:
    table = schema.events
    last = connection.scalar(select(func.max(table.c.n)).where(table.c.session_id == session_id))
    first = 0 if last is None else last + 1
    if records:
        connection.execute(
            insert(table),
            [
                {
                    "session_id": session_id,
                    "n": n,
                    "type": record["type"],
                    "wall": record["wall"],
                    "record": json.dumps(record, ensure_ascii=False, separators=(",", ":")),
                }
                for n, record in enumerate(records, start=first)
            ],
        )
    return first
