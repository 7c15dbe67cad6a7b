"""The signalling protocol, version 1, as types: what a client may say, and the limits of saying it.

``docs/PROTOCOL.md`` is the text of it. No I/O: :mod:`server.signalling` owns the socket.
"""

from __future__ import annotations

from typing import Annotated, Any, Literal

from pydantic import BaseModel, ConfigDict, Field, TypeAdapter, ValidationError

from rooms import commands
from rooms.errors import MessageMalformed, MessageTooFrequent, TingxunError
from rooms.phases import PauseReason
from server.sfu.allowance import Allowance

VERSION = 1

Tag = Annotated[str, Field(min_length=1, max_length=64)]
"""A client's own name for a request, echoed in the reply."""

Name = Annotated[str, Field(pattern=r"^[A-Za-z0-9._-]{1,32}$")]
Mid = Annotated[str, Field(min_length=1, max_length=16)]
Sdp = Annotated[str, Field(min_length=1, max_length=60_000)]
TrackId = Annotated[str, Field(max_length=32)]


class _Said(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True)
    id: Tag | None = None


class Hello(_Said):
    """First message of a connection; ``resume`` takes over from a lost one."""

    type: Literal["hello"]
    version: int
    resume: Annotated[str, Field(max_length=128)] | None = None


class PublishedSection(BaseModel):
    """Which media section of an offer carries which source."""

    model_config = ConfigDict(extra="forbid", frozen=True)
    mid: Mid
    source: Annotated[str, Field(max_length=32)]


class Publish(_Said):
    """Offer to send; the same ``peer`` renegotiates, another one replaces the connection."""

    type: Literal["publish"]
    peer: Name
    sdp: Sdp
    tracks: Annotated[list[PublishedSection], Field(max_length=32)]


class Candidate(_Said):
    """A trickled ICE candidate; null ends them."""

    type: Literal["candidate"]
    peer: Name
    candidate: Annotated[str, Field(max_length=512)] | None
    mid: Mid | None = None


class Answer(_Said):
    """The answer to an offer of the server."""

    type: Literal["answer"]
    peer: Name
    sdp: Sdp


class View(_Said):
    """At which height in pixels each picture is shown; 0: not at all. Replaces the former view."""

    type: Literal["view"]
    heights: Annotated[dict[TrackId, Annotated[int, Field(ge=0, le=16_384)]], Field(max_length=256)]


class Renew(_Said):
    """The receiving connection failed: offer a new one."""

    type: Literal["renew"]


class Unpublish(_Said):
    """Take a track back."""

    type: Literal["unpublish"]
    track_id: TrackId


class Mute(_Said):
    """Say that a track is muted, or no longer is."""

    type: Literal["mute"]
    track_id: TrackId
    muted: bool


class Open(_Said):
    """Open the session: recording starts."""

    type: Literal["open"]


class Pause(_Said):
    """Pause, for a reason."""

    type: Literal["pause"]
    reason: PauseReason
    note: Annotated[str, Field(max_length=500)] = ""


class Resume(_Said):
    """Go on after a pause."""

    type: Literal["resume"]


class Close(_Said):
    """Close the session for good."""

    type: Literal["close"]
    case_number: Annotated[str, Field(max_length=200)]


class Mark(_Said):
    """Set a marker."""

    type: Literal["mark"]
    text: Annotated[str, Field(max_length=500)]


class Ping(_Said):
    """Ask for the server's clock."""

    type: Literal["ping"]


class Leave(_Said):
    """Go."""

    type: Literal["leave"]


ClientMessage = Annotated[
    Hello
    | Publish
    | Candidate
    | Answer
    | View
    | Renew
    | Unpublish
    | Mute
    | Open
    | Pause
    | Resume
    | Close
    | Mark
    | Ping
    | Leave,
    Field(discriminator="type"),
]

_ADAPTER: TypeAdapter[Any] = TypeAdapter(ClientMessage)


def parse(text: str) -> Any:
    """The message in ``text``, as one of the classes above; else :class:`MessageMalformed`."""
    try:
        return _ADAPTER.validate_json(text)
    except ValidationError as error:
        first = error.errors(include_url=False, include_input=False)[0]
        place = ".".join(str(part) for part in first["loc"]) or "message"
        raise MessageMalformed(f"{place}: {first['msg']}"[:300]) from None


def to_command(participant_id: str, message: Any) -> commands.Command:
    """The room command that a client's message stands for."""
    match message:
        case Unpublish(track_id=track_id):
            return commands.Unpublish(participant_id, track_id)
        case Mute(track_id=track_id, muted=muted):
            return commands.SetMuted(participant_id, track_id, muted)
        case Open():
            return commands.Open(participant_id)
        case Pause(reason=reason, note=note):
            return commands.Pause(participant_id, reason, note)
        case Resume():
            return commands.Resume(participant_id)
        case Close(case_number=case_number):
            return commands.Close(participant_id, case_number)
        case Mark(text=text):
            return commands.Mark(participant_id, text)
        case Leave():
            return commands.Leave(participant_id)
        case _:
            raise MessageMalformed(f"type: {type(message).__name__} asks nothing of a room")


def error(problem: TingxunError, tag: str | None = None) -> dict[str, Any]:
    """The ``error`` message for ``problem``, in answer to the request ``tag``."""
    message: dict[str, Any] = {"type": "error"}
    if tag is not None:
        message["id"] = tag
    return message | {"error": problem.code, "message": problem.message, "hint": problem.hint}


class Pace:
    """How often a client may speak: ``burst`` at once, ``rate_per_s`` in the long run."""

    def __init__(self, burst: int, rate_per_s: float) -> None:
        self._allowance = Allowance(burst, rate_per_s)

    def take(self, now_s: float) -> None:
        """Count one message; :class:`MessageTooFrequent` when it is one too many."""
        if not self._allowance.take(1, int(now_s * 1e9)):
            raise MessageTooFrequent("more messages than the server takes from one connection")
