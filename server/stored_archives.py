"""Archives as rows of the database: the queries behind :mod:`server.records`.

Functions of a connection; they run inside a transaction of :class:`server.database.Database`.
"""

from __future__ import annotations

import json
from dataclasses import dataclass
from pathlib import Path

from sqlalchemy import Connection, select

from rooms.phases import Phase
from server import schema

LISTED_ARCHIVES = 500
"""Most archives in one list: a page shows no more, and an answer stays small."""


@dataclass(frozen=True, slots=True)
class StoredArchive:
    """Where a session's archive lies, and what a list of archives shows of it."""

    id: str
    session_id: str
    path: Path
    case_number: str
    title: str
    opened_wall: str | None
    duration_ms: int | None
    tracks: int
    sealed: bool


def load_archives(
    connection: Connection, *, account_id: str | None = None, archive_id: str | None = None
) -> list[StoredArchive]:
    """Archives, newest first: of sessions with a seat for one person, or one by its id."""
    table, sessions = schema.archives, schema.sessions
    query = (
        select(table, sessions.c.case_number, sessions.c.title, sessions.c.phase)
        .join(sessions, sessions.c.id == table.c.session_id)
        .order_by(table.c.stored_wall.desc(), table.c.id)
        .limit(LISTED_ARCHIVES)
    )
    if account_id is not None:
        mine = select(schema.assignments.c.session_id).where(
            schema.assignments.c.account_id == account_id
        )
        query = query.where(table.c.session_id.in_(mine))
    if archive_id is not None:
        query = query.where(table.c.id == archive_id)
    rows = connection.execute(query).all()
    facts = _event_facts(connection, [row.session_id for row in rows])
    return [
        StoredArchive(
            row.id,
            row.session_id,
            Path(row.path),
            row.case_number,
            row.title,
            *facts[row.session_id],
            sealed=row.phase == Phase.SEALED.value,
        )
        for row in rows
    ]


def _event_facts(
    connection: Connection, session_ids: list[str]
) -> dict[str, tuple[str | None, int | None, int]]:
    """When each session was opened, how long it was in ms, and how many tracks it had."""
    table = schema.events
    query = (
        select(table.c.session_id, table.c.type, table.c.record)
        .where(
            table.c.session_id.in_(session_ids),
            table.c.type.in_(["session_opening", "session_closing", "track_published"]),
        )
        .order_by(table.c.session_id, table.c.n)
    )
    opened: dict[str, str] = {}
    closed_ms: dict[str, int] = {}
    tracks: dict[str, set[str]] = {session_id: set() for session_id in session_ids}
    for session_id, kind, text in connection.execute(query):
        record = json.loads(text)
        if kind == "session_opening":
            opened.setdefault(session_id, record["wall"])
        elif kind == "session_closing":
            closed_ms[session_id] = record["t_us"] // 1000
        else:
            tracks[session_id].add(record["track_id"])
    return {
        session_id: (opened.get(session_id), closed_ms.get(session_id), len(tracks[session_id]))
        for session_id in session_ids
    }
