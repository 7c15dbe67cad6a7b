"""Tables of the records, their versions, and what a new installation starts with.

Text ids everywhere, wall times as fixed-width ISO 8601 UTC text (:func:`rooms.moment.format_wall`),
so that order by text is order by time and every database stores the same. The statements are
SQLAlchemy Core; what only SQLite understands is marked by its dialect.
"""

from __future__ import annotations

from sqlalchemy import (
    DDL,
    Boolean,
    Column,
    Connection,
    ForeignKey,
    Index,
    Integer,
    MetaData,
    String,
    Table,
    Text,
    UniqueConstraint,
    event,
    insert,
    select,
)

from rooms.errors import ConfigInvalid

VERSION = 1
"""Version of the tables below; a database of a later version is refused, never guessed at."""

DEVICE_SLOTS = ("tv", "camera", "pickup", "evidence_screen", "printer", "host_pc")
"""Places for a device in every room (feature F1)."""

metadata = MetaData()

schema_version = Table("schema_version", metadata, Column("version", Integer, primary_key=True))

sites = Table(
    "sites",
    metadata,
    Column("id", String(64), primary_key=True),
    Column("name", Text, nullable=False),
    Column("kind", String(16), nullable=False),
)

rooms = Table(
    "rooms",
    metadata,
    Column("id", String(64), primary_key=True),
    Column("site_id", ForeignKey("sites.id"), nullable=False),
    Column("name", Text, nullable=False),
    Column("kind", String(16), nullable=False),
)

devices = Table(
    "devices",
    metadata,
    Column("room_id", ForeignKey("rooms.id"), primary_key=True),
    Column("slot", String(32), primary_key=True),
    Column("name", Text, nullable=False),
)

accounts = Table(
    "accounts",
    metadata,
    Column("id", String(64), primary_key=True),
    Column("name", String(64), nullable=False, unique=True),
    Column("display_name", Text, nullable=False),
    Column("role", String(16), nullable=False),
    Column("site_id", ForeignKey("sites.id"), nullable=True),
    Column("password_hash", Text, nullable=False),
    Column("must_change_password", Boolean, nullable=False),
    Column("created_wall", String(24), nullable=False),
)

tokens = Table(
    "tokens",
    metadata,
    Column("sha256", String(64), primary_key=True),
    Column("account_id", ForeignKey("accounts.id"), nullable=False, index=True),
    Column("kind", String(16), nullable=False),
    Column("expires_wall", String(24), nullable=False, index=True),
)

sessions = Table(
    "sessions",
    metadata,
    Column("id", String(64), primary_key=True),
    Column("case_number", Text, nullable=False),
    Column("kind", String(32), nullable=False),
    Column("title", Text, nullable=False),
    Column("starts_wall", String(24), nullable=False, index=True),
    Column("ends_wall", String(24), nullable=False),
    Column("room_id", ForeignKey("rooms.id"), nullable=False),
    Column("detention_room_id", ForeignKey("rooms.id"), nullable=False),
    Column("phase", String(16), nullable=False),
    Column("booked_by", ForeignKey("accounts.id"), nullable=True),
    Column("booked_wall", String(24), nullable=False),
)

assignments = Table(
    "assignments",
    metadata,
    Column("session_id", ForeignKey("sessions.id"), primary_key=True),
    Column("seat", Integer, primary_key=True),
    Column("account_id", ForeignKey("accounts.id"), nullable=False, index=True),
    Column("role", String(32), nullable=False),
    Column("site_id", ForeignKey("sites.id"), nullable=True),
    UniqueConstraint("session_id", "account_id"),
)

events = Table(
    "events",
    metadata,
    Column("session_id", ForeignKey("sessions.id"), primary_key=True),
    Column("n", Integer, primary_key=True),
    Column("type", String(64), nullable=False),
    Column("wall", String(24), nullable=False),
    Column("record", Text, nullable=False),
)
Index("events_by_type", events.c.session_id, events.c.type)

clocks = Table(
    "clocks",
    metadata,
    Column("session_id", ForeignKey("sessions.id"), primary_key=True),
    Column("boot_id", String(64), nullable=False),
    Column("opened_mono_us", Integer, nullable=False),
)

archives = Table(
    "archives",
    metadata,
    Column("id", String(64), primary_key=True),
    Column("session_id", ForeignKey("sessions.id"), nullable=False, index=True),
    Column("path", Text, nullable=False),
    Column("stored_wall", String(24), nullable=False),
)

# Events are the audit trail: the database itself refuses to change or to delete one.
for _act in ("UPDATE", "DELETE"):
    event.listen(
        events,
        "after_create",
        DDL(  # type: ignore[no-untyped-call]
            f"CREATE TRIGGER events_no_{_act.lower()} BEFORE {_act} ON events "
            "BEGIN SELECT RAISE(ABORT, 'events are append-only'); END"
        ).execute_if(dialect="sqlite"),
    )

_SITES = (
    {"id": "interrogation-centre", "name": "讯问中心", "kind": "interrogation"},
    {"id": "detention-centre", "name": "看守所", "kind": "detention"},
)
_ROOMS = (
    *(
        {
            "id": f"interrogation-{n}",
            "site_id": "interrogation-centre",
            "name": f"第{numeral}讯问室",
            "kind": "interrogation",
        }
        for n, numeral in enumerate("一二三四五", start=1)
    ),
    {
        "id": "detention-1",
        "site_id": "detention-centre",
        "name": "远程讯问终端室",
        "kind": "detention",
    },
)


def create(connection: Connection) -> None:
    """Make the tables of a new database and its first rooms, or check the version of an old one.

    Raises :class:`~rooms.errors.ConfigInvalid` for a database of another version.
    """
    metadata.create_all(connection)
    found = connection.scalar(select(schema_version.c.version))
    if found is None:
        connection.execute(insert(schema_version), {"version": VERSION})
        connection.execute(insert(sites), [dict(site) for site in _SITES])
        connection.execute(insert(rooms), [dict(room) for room in _ROOMS])
        connection.execute(
            insert(devices),
            [
                {"room_id": room["id"], "slot": slot, "name": ""}
                for room in _ROOMS
                for slot in DEVICE_SLOTS
            ],
        )
    elif found != VERSION:
        raise ConfigInvalid(
            f"data_dir: the database there has version {found}, this program uses {VERSION}"
        )
