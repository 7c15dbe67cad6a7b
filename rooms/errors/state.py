"""Not now: what was asked does not fit the present state."""

from __future__ import annotations

from rooms.errors.root import TingxunError


class StateError(TingxunError, status=409, fault="caller"):
    """What was asked does not fit the present state."""


class AlreadyJoined(
    StateError, code="already_joined", hint="Leave there first, or use an account of its own."
):
    """You are already in this session by another client."""


class AlreadyPublishing(
    StateError, code="already_publishing", hint="Unpublish the first track of this source."
):
    """You are already publishing this source."""


class BookingConflict(
    StateError, code="booking_conflict", hint="Choose another time, room or person."
):
    """The room or a person is already booked at that time."""


class CaseNumberMismatch(
    StateError, code="case_number_mismatch", hint="Type the case number exactly as it is booked."
):
    """The case number is not the one of this session."""


class IllegalPhase(
    StateError, code="illegal_phase", hint="Look at the phase of the session and try again."
):
    """The session is not in a phase that allows this."""


class NameTaken(StateError, code="name_taken", hint="Choose another name."):
    """The name is already in use."""


class NotJoined(StateError, code="not_joined", hint="Join the session first."):
    """You have not joined the session."""


class NothingToPlay(StateError, code="nothing_to_play", hint="Try again when somebody sends."):
    """Nobody is sending anything that you could receive."""


class NothingToRecord(
    StateError, code="nothing_to_record", hint="Turn on a camera or a microphone first."
):
    """Nobody is publishing anything that could be recorded."""


class ParticipantsMissing(
    StateError, code="participants_missing", hint="Wait until the other side has joined."
):
    """Somebody without whom the session cannot open is not present."""


class PreconditionFailed(
    StateError, code="precondition_failed", status=412, hint="Send the ETag of the 201 answer."
):
    """If-Match names another ICE session."""


class PreconditionRequired(
    StateError, code="precondition_required", status=428, hint="Send If-Match with the ETag."
):
    """The request needs If-Match."""


class Replaced(
    StateError, code="replaced", hint="Go on in the other window, or load this page again."
):
    """The same person has joined from another window or device."""


class SessionClosed(
    StateError, code="session_closed", hint="Closing is final; book a session that follows it."
):
    """The session is closed."""


class TooManyTracks(
    StateError, code="too_many_tracks", hint="Unpublish a track before publishing another."
):
    """You are publishing as many tracks as are allowed."""
