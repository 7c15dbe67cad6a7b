"""What can be asked of a room.

Commands carry what was asked, as it came (a source, codec or pause reason is a plain string); the
room judges it. Those with a `participant_id` first are asked by or about that person; the last
group is asked by the server itself, on the recorder's word or after another server has died, and
never by a participant.
"""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Join:
    """A person comes in on a connection; the newest one of a person is the one that counts."""

    participant_id: str
    connection_id: str


@dataclass(frozen=True, slots=True)
class Disconnect:
    """A connection was lost; ignored when the person has a newer one."""

    participant_id: str
    connection_id: str


@dataclass(frozen=True, slots=True)
class Expire:
    """The grace after a lost connection is over; ignored when the person is back."""

    participant_id: str


@dataclass(frozen=True, slots=True)
class Leave:
    """A person goes."""

    participant_id: str


@dataclass(frozen=True, slots=True)
class Publish:
    """A person offers a source (`media.Source`) in a codec (`media.Codec`)."""

    participant_id: str
    source: str
    codec: str


@dataclass(frozen=True, slots=True)
class Unpublish:
    """A person takes their own track back."""

    participant_id: str
    track_id: str


@dataclass(frozen=True, slots=True)
class SetMuted:
    """A person mutes or unmutes their own track."""

    participant_id: str
    track_id: str
    muted: bool


@dataclass(frozen=True, slots=True)
class Open:
    """Start the recording, and with it the session."""

    participant_id: str


@dataclass(frozen=True, slots=True)
class Pause:
    """Interrupt the session for a reason (`phases.PauseReason`); `other` needs a note."""

    participant_id: str
    reason: str
    note: str = ""


@dataclass(frozen=True, slots=True)
class Resume:
    """Go on after a pause."""

    participant_id: str


@dataclass(frozen=True, slots=True)
class Close:
    """End the session for good; the case number is typed by the person who closes."""

    participant_id: str
    case_number: str


@dataclass(frozen=True, slots=True)
class Mark:
    """Note something at this moment of the session."""

    participant_id: str
    text: str


@dataclass(frozen=True, slots=True)
class ConfirmRecording:
    """The recorder has media on disk, in this many copies: the session turns live."""

    copies: int


@dataclass(frozen=True, slots=True)
class StallRecording:
    """The recorder has confirmed nothing for too long; counts only while live."""


@dataclass(frozen=True, slots=True)
class RestoreRecording:
    """The recorder confirms again; counts only while live."""


@dataclass(frozen=True, slots=True)
class ReplaceRecorder:
    """Another recorder takes the recording over from one that is gone."""

    cause: str


@dataclass(frozen=True, slots=True)
class FailRecording:
    """The recording cannot go on, for the reason that this error code names."""

    code: str


@dataclass(frozen=True, slots=True)
class Interrupt:
    """The server that held the session is gone; what was recorded is kept, closed and sealed."""

    cause: str


@dataclass(frozen=True, slots=True)
class TakeOver:
    """The server that held the session is gone, and this one goes on with it.

    Nothing is recorded from `since_us` of the session clock on, until media is on disk again.
    """

    cause: str
    since_us: int


@dataclass(frozen=True, slots=True)
class FinishClosing:
    """All that was still on its way is in the recording; said again, it changes nothing."""


@dataclass(frozen=True, slots=True)
class Seal:
    """The archive is sealed under this id; `root_sha256` is the hash that stands for all of it."""

    archive_id: str
    root_sha256: str


ParticipantCommand = (
    Join
    | Disconnect
    | Expire
    | Leave
    | Publish
    | Unpublish
    | SetMuted
    | Open
    | Pause
    | Resume
    | Close
    | Mark
)
"""Asked by or about one person."""

ServerCommand = (
    ConfirmRecording
    | StallRecording
    | RestoreRecording
    | ReplaceRecorder
    | FailRecording
    | Interrupt
    | TakeOver
    | FinishClosing
    | Seal
)
"""Asked by the server itself; signalling must never make one from a message."""

Command = ParticipantCommand | ServerCommand
