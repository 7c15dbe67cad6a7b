"""What was booked: one session, its case and the people assigned to it."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime
from enum import StrEnum
from typing import Any

from rooms.errors import FieldInvalid, NotAssigned
from rooms.moment import format_wall
from rooms.roles import Role
from rooms.text import MAX_NAME_CHARS, is_id, is_text


class SessionKind(StrEnum):
    """What the session is held for."""

    INTERROGATION = "interrogation"
    WITNESS = "witness"
    EVIDENCE_EXCHANGE = "evidence_exchange"
    HEARING = "hearing"
    MEDIATION = "mediation"


@dataclass(frozen=True, slots=True)
class Assignment:
    """One person's seat in a session. `participant_id` is the account's id.

    The site is where the person sits; None for somebody who joins from no registered site.
    Raises field_invalid for ids and names that could not be stored in an event.
    """

    participant_id: str
    name: str
    role: Role
    site_id: str | None
    site_name: str | None

    def __post_init__(self) -> None:
        """Refuse what could not be stored later, when the person joins."""
        if not is_id(self.participant_id):
            raise FieldInvalid(f"participant_id: {self.participant_id[:40]!r} cannot be an id")
        if self.site_id is not None and not is_id(self.site_id):
            raise FieldInvalid(f"site_id: {self.site_id[:40]!r} cannot be an id")
        for name in (self.name, self.site_name):
            if name is not None and not is_text(name, MAX_NAME_CHARS):
                raise FieldInvalid(f"name: empty, longer than {MAX_NAME_CHARS} characters, or odd")

    def to_record(self) -> dict[str, str | None]:
        """Return the seat as JSON values."""
        return {
            "participant_id": self.participant_id,
            "name": self.name,
            "role": str(self.role),
            "site_id": self.site_id,
            "site_name": self.site_name,
        }


@dataclass(frozen=True, slots=True)
class Session:
    """A booked session. `assignments` are in seat order; `starts_at` is aware.

    Raises field_invalid when the same person has two seats, nobody has one, or `starts_at` has no
    offset from UTC: a room cannot be held on such a booking.
    """

    id: str
    case_number: str
    kind: SessionKind
    title: str
    starts_at: datetime
    room_id: str
    site_ids: tuple[str, ...]
    assignments: tuple[Assignment, ...]

    def __post_init__(self) -> None:
        """Refuse a booking on which no room can be held."""
        if self.starts_at.tzinfo is None:
            raise FieldInvalid("starts_at: without an offset from UTC")
        if not self.assignments:
            raise FieldInvalid("assignments: nobody is assigned")
        if len({seat.participant_id for seat in self.assignments}) < len(self.assignments):
            raise FieldInvalid("assignments: the same person is assigned twice")

    def assignment(self, participant_id: str) -> Assignment:
        """Return the seat of a person; not_assigned when they have none."""
        for seat in self.assignments:
            if seat.participant_id == participant_id:
                return seat
        raise NotAssigned(f"not assigned to session {self.id}")

    def to_record(self) -> dict[str, Any]:
        """Return the booking as JSON values, for the recorder and the clients."""
        return {
            "id": self.id,
            "case_number": self.case_number,
            "kind": str(self.kind),
            "title": self.title,
            "starts_at": format_wall(self.starts_at),
            "room_id": self.room_id,
            "site_ids": list(self.site_ids),
            "assignments": [seat.to_record() for seat in self.assignments],
        }
