"""What can happen in a room, and how that is stored.

An event is stored before anything acts on it; the stored events of a session are its audit trail,
and the recorder puts them into the ledger. Applied in order to a fresh room they give the same
room again. A record is flat JSON, in this order: `type`, `wall`, `t_us`, then the event's own
fields. `from_record` takes exactly what `to_record` writes, and nothing else.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass, fields
from datetime import datetime
from typing import Any, ClassVar

from rooms.errors import EventMalformed
from rooms.media import TRACK_ID_PATTERN, Codec, Source
from rooms.moment import format_wall, parse_wall
from rooms.phases import PauseReason
from rooms.roles import Role
from rooms.text import MAX_NAME_CHARS, MAX_NOTE_CHARS, is_id, is_text

MAX_COPIES = 16
MAX_T_US = 2**53 - 1
"""The largest integer that every JSON reader keeps exact (RFC 8259 section 6); 285 years."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Event:
    """Something that happened. `t_us` is on the session clock, None before opening."""

    type: ClassVar[str] = ""
    wall: datetime
    t_us: int | None


@dataclass(frozen=True, slots=True, kw_only=True)
class ParticipantJoined(Event):
    """An assigned person came in, for the first time or after having left."""

    type: ClassVar[str] = "participant_joined"
    participant_id: str
    name: str
    role: Role
    site_id: str | None
    site_name: str | None
    connection_id: str


@dataclass(frozen=True, slots=True, kw_only=True)
class ParticipantDisconnected(Event):
    """The connection of a person was lost; their tracks stay published for the grace period."""

    type: ClassVar[str] = "participant_disconnected"
    participant_id: str


@dataclass(frozen=True, slots=True, kw_only=True)
class ParticipantReturned(Event):
    """A person is on a new connection, after a loss or because they took over from the old one."""

    type: ClassVar[str] = "participant_returned"
    participant_id: str
    connection_id: str


@dataclass(frozen=True, slots=True, kw_only=True)
class ParticipantLeft(Event):
    """A person is gone; their tracks were unpublished just before."""

    type: ClassVar[str] = "participant_left"
    participant_id: str


@dataclass(frozen=True, slots=True, kw_only=True)
class TrackPublished(Event):
    """A person publishes a source; the track id is the archive's."""

    type: ClassVar[str] = "track_published"
    track_id: str
    participant_id: str
    source: Source
    codec: Codec


@dataclass(frozen=True, slots=True, kw_only=True)
class TrackUnpublished(Event):
    """A track is no longer published; it keeps its id."""

    type: ClassVar[str] = "track_unpublished"
    track_id: str
    participant_id: str


@dataclass(frozen=True, slots=True, kw_only=True)
class TrackMuted(Event):
    """A person muted or unmuted their track."""

    type: ClassVar[str] = "track_muted"
    track_id: str
    participant_id: str
    muted: bool


@dataclass(frozen=True, slots=True, kw_only=True)
class SessionOpening(Event):
    """A person asked to open; the session clock starts here, `t_us` is 0."""

    type: ClassVar[str] = "session_opening"
    participant_id: str


@dataclass(frozen=True, slots=True, kw_only=True)
class SessionLive(Event):
    """The recorder confirmed the first media on disk; from here the session counts."""

    type: ClassVar[str] = "session_live"
    copies: int


@dataclass(frozen=True, slots=True, kw_only=True)
class SessionPaused(Event):
    """The session is interrupted, by whom and why."""

    type: ClassVar[str] = "session_paused"
    participant_id: str
    reason: PauseReason
    note: str


@dataclass(frozen=True, slots=True, kw_only=True)
class SessionResuming(Event):
    """A person asked to go on; the recorder has yet to confirm."""

    type: ClassVar[str] = "session_resuming"
    participant_id: str


@dataclass(frozen=True, slots=True, kw_only=True)
class SessionResumed(Event):
    """The recorder confirmed media after a pause; the session is live again."""

    type: ClassVar[str] = "session_resumed"
    copies: int


@dataclass(frozen=True, slots=True, kw_only=True)
class SessionClosing(Event):
    """The session has ended; what is still on its way is being recorded."""

    type: ClassVar[str] = "session_closing"
    participant_id: str


@dataclass(frozen=True, slots=True, kw_only=True)
class SessionInterrupted(Event):
    """The session ended because the platform could not hold it any longer, not by a person."""

    type: ClassVar[str] = "session_interrupted"
    cause: str


@dataclass(frozen=True, slots=True, kw_only=True)
class SessionTakenOver(Event):
    """The server process that held the session died; another goes on with it.

    `since_us` is the session time from which on nothing was recorded, as far as is known then; the
    gap of each track is declared when its media is back.
    """

    type: ClassVar[str] = "session_taken_over"
    cause: str
    since_us: int


@dataclass(frozen=True, slots=True, kw_only=True)
class SessionClosed(Event):
    """The recording is complete."""

    type: ClassVar[str] = "session_closed"


@dataclass(frozen=True, slots=True, kw_only=True)
class SessionSealed(Event):
    """The archive is sealed."""

    type: ClassVar[str] = "session_sealed"
    archive_id: str
    root_sha256: str


@dataclass(frozen=True, slots=True, kw_only=True)
class MarkerAdded(Event):
    """A person noted something at this moment."""

    type: ClassVar[str] = "marker_added"
    participant_id: str
    text: str


@dataclass(frozen=True, slots=True, kw_only=True)
class RecordingStalled(Event):
    """The recorder has confirmed nothing for too long."""

    type: ClassVar[str] = "recording_stalled"


@dataclass(frozen=True, slots=True, kw_only=True)
class RecordingRestored(Event):
    """The recorder confirms again."""

    type: ClassVar[str] = "recording_restored"


@dataclass(frozen=True, slots=True, kw_only=True)
class RecorderReplaced(Event):
    """Another recorder took over; the cause says what became of the one before."""

    type: ClassVar[str] = "recorder_replaced"
    cause: str


@dataclass(frozen=True, slots=True, kw_only=True)
class RecordingFailed(Event):
    """The recording cannot go on; `code` is an error code of the platform."""

    type: ClassVar[str] = "recording_failed"
    code: str


EVENT_TYPES: Mapping[str, type[Event]] = {
    cls.type: cls
    for cls in (
        ParticipantJoined,
        ParticipantDisconnected,
        ParticipantReturned,
        ParticipantLeft,
        TrackPublished,
        TrackUnpublished,
        TrackMuted,
        SessionOpening,
        SessionLive,
        SessionPaused,
        SessionResuming,
        SessionResumed,
        SessionClosing,
        SessionInterrupted,
        SessionTakenOver,
        SessionClosed,
        SessionSealed,
        MarkerAdded,
        RecordingStalled,
        RecordingRestored,
        RecorderReplaced,
        RecordingFailed,
    )
}
"""Every event type string with its class."""


def to_record(event: Event) -> dict[str, Any]:
    """Return the event as JSON values, in the order in which it is stored."""
    record: dict[str, Any] = {"type": event.type}
    for field in fields(event):
        value = getattr(event, field.name)
        if isinstance(value, datetime):
            value = format_wall(value)
        elif isinstance(value, str):
            # Plain text rather than an enum member, so that every JSON writer takes it.
            value = str(value)
        record[field.name] = value
    return record


def from_record(record: Mapping[str, object]) -> Event:
    """Return the event that was stored as this record.

    Raises event_malformed when the type is unknown, a field is missing, unknown or of the wrong
    type, or a value is outside its limits.
    """
    event_type = record.get("type")
    cls = EVENT_TYPES.get(event_type) if isinstance(event_type, str) else None
    if cls is None:
        raise EventMalformed(f"unknown event type {str(event_type)[:40]!r}")
    names = [field.name for field in fields(cls)]
    if record.keys() != {"type", *names}:
        odd = sorted(record.keys() ^ {"type", *names})
        raise EventMalformed(f"{event_type}: missing or unknown fields {', '.join(odd)[:100]}")
    values: dict[str, Any] = {}
    for name in names:
        try:
            values[name] = _PARSERS[name](record[name])
        except ValueError as problem:
            raise EventMalformed(f"{event_type}: {name}: {problem}") from None
    return cls(**values)


def is_code(value: object) -> bool:
    """Whether the value has the form of an error code, as in "disk_full"."""
    return isinstance(value, str) and bool(re.fullmatch(r"[a-z][a-z0-9_]{0,63}", value))


def is_sha256(value: object) -> bool:
    """Whether the value is a SHA-256 digest in lower-case hexadecimal."""
    return isinstance(value, str) and bool(re.fullmatch(r"[0-9a-f]{64}", value))


def is_count(value: object, low: int, high: int) -> bool:
    """Whether the value is an integer in these limits; `True` is not 1 here."""
    return isinstance(value, int) and not isinstance(value, bool) and low <= value <= high


def _checked(accept: Callable[[object], bool]) -> Callable[[object], object]:
    """Make a parser that hands on what is accepted and raises ValueError for the rest."""

    def parse(value: object) -> object:
        if not accept(value):
            raise ValueError(f"not allowed: {str(value)[:40]!r}")
        return value

    return parse


def _parsed(parse_text: Callable[[str], object]) -> Callable[[object], object]:
    """Make a parser of texts from one that raises ValueError for a text that it does not know."""

    def parse(value: object) -> object:
        if not isinstance(value, str):
            raise ValueError("not a text")
        return parse_text(value)

    return parse


# A field name means the same in every event, so one table reads them all.
_PARSERS: Mapping[str, Callable[[object], object]] = {
    "wall": _parsed(parse_wall),
    "t_us": _checked(lambda value: value is None or is_count(value, 0, MAX_T_US)),
    "since_us": _checked(lambda value: is_count(value, 0, MAX_T_US)),
    "participant_id": _checked(is_id),
    "connection_id": _checked(is_id),
    "name": _checked(lambda value: is_text(value, MAX_NAME_CHARS)),
    "role": _parsed(Role),
    "site_id": _checked(lambda value: value is None or is_id(value)),
    "site_name": _checked(lambda value: value is None or is_text(value, MAX_NAME_CHARS)),
    "track_id": _checked(
        lambda value: isinstance(value, str) and bool(re.fullmatch(TRACK_ID_PATTERN, value))
    ),
    "source": _parsed(Source),
    "codec": _parsed(Codec),
    "muted": _checked(lambda value: isinstance(value, bool)),
    "copies": _checked(lambda value: is_count(value, 1, MAX_COPIES)),
    "reason": _parsed(PauseReason),
    "note": _checked(lambda value: value == "" or is_text(value, MAX_NOTE_CHARS)),
    "text": _checked(lambda value: is_text(value, MAX_NOTE_CHARS)),
    "archive_id": _checked(is_id),
    "root_sha256": _checked(is_sha256),
    "cause": _checked(lambda value: is_text(value, MAX_NOTE_CHARS)),
    "code": _checked(is_code),
}
