"""Every error of the platform, each with a code that never changes.

    TingxunError
    ├── AccessError               who is asking, and whether they may
    │   ├── not_assigned          403
    │   ├── not_permitted         403
    │   ├── not_signed_in         401
    │   ├── origin_refused        403
    │   ├── token_invalid         401
    │   ├── too_many_attempts     429
    │   └── wrong_password        401
    ├── UnknownError              what was named does not exist
    │   ├── archive_unknown       404
    │   ├── file_unknown          404
    │   ├── page_unknown          404
    │   ├── resource_unknown      404
    │   ├── room_unknown          404
    │   ├── session_unknown       404
    │   ├── site_unknown          404
    │   └── track_unknown         404
    ├── StateError                not now
    │   ├── already_joined        409
    │   ├── already_publishing    409
    │   ├── booking_conflict      409
    │   ├── case_number_mismatch  409
    │   ├── illegal_phase         409
    │   ├── name_taken            409
    │   ├── not_joined            409
    │   ├── nothing_to_play       409
    │   ├── nothing_to_record     409
    │   ├── participants_missing  409
    │   ├── precondition_failed   412
    │   ├── precondition_required 428
    │   ├── replaced              409
    │   ├── session_closed        409
    │   └── too_many_tracks       409
    ├── InputError                what was sent cannot be used
    │   ├── codec_unsupported     415
    │   ├── content_type_unsupported 415
    │   ├── field_invalid         422
    │   ├── ice_restart_unsupported 422
    │   ├── media_file_broken     400
    │   ├── media_file_missing    400
    │   ├── message_malformed     400
    │   ├── message_too_frequent  429
    │   ├── message_too_large     413
    │   ├── method_refused        405
    │   ├── note_missing          422
    │   ├── offer_unsupported     422
    │   ├── sdp_invalid           400
    │   └── version_unsupported   400
    ├── ConnectionLost            the way to the other side
    │   ├── media_process_unavailable 503
    │   ├── media_unreachable     504
    │   ├── server_unreachable    504
    │   └── session_held_elsewhere 503
    ├── RecordingError            the recording or its storage
    │   ├── archive_broken        500
    │   ├── archive_busy          503
    │   ├── archive_dir_unwritable 500
    │   ├── disk_full             507
    │   ├── event_malformed       500
    │   ├── recorder_lost         503
    │   ├── recorder_not_started  503
    │   └── timestamp_refused     502
    ├── StartError                the server cannot start as configured
    │   ├── config_invalid        500
    │   ├── data_dir_unwritable   500
    │   ├── media_port_unavailable 500
    │   └── port_in_use           500
    └── internal                  500

A code is public: it is translated (`web/i18n`, key `error.<code>`), documented and tested.
Raise the most specific class with a message that names the thing ("track cam-3 is not published");
convert once, at the edge: HTTP by `to_problem`, WebSocket by `code`, `message` and `hint`, the
command line by one line and an exit code.
"""

from __future__ import annotations

from typing import ClassVar, Literal

Fault = Literal["caller", "peer", "operator", "us"]

REGISTRY: dict[str, type[TingxunError]] = {}
"""Every code with its class; filled as the classes are defined."""


class TingxunError(Exception):
    """The root of all errors that the platform raises on purpose.

    Class attributes: `code` (stable, snake_case; empty for the groups), `status` (HTTP),
    `fault` (who can put it right), `hint` (what to do, in English), `title` (first line of the
    class's docstring). `message` says what happened this time and defaults to the title.
    """

    code: ClassVar[str] = ""
    status: ClassVar[int] = 500
    fault: ClassVar[Fault] = "us"
    hint: ClassVar[str] = ""
    title: ClassVar[str] = "Error"

    def __init_subclass__(
        cls,
        *,
        code: str = "",
        status: int | None = None,
        fault: Fault | None = None,
        hint: str | None = None,
    ) -> None:
        """Take the attributes from the class line; what is not named there is inherited.

        Raises TypeError when a second class claims a code.
        """
        super().__init_subclass__()
        cls.title = (cls.__doc__ or code).strip().splitlines()[0].rstrip(".")
        if status is not None:
            cls.status = status
        if fault is not None:
            cls.fault = fault
        if hint is not None:
            cls.hint = hint
        if code:
            if code in REGISTRY:
                raise TypeError(f"error code {code} is taken by {REGISTRY[code].__name__}")
            cls.code = code
            REGISTRY[code] = cls

    def __init__(self, message: str = "") -> None:
        """Keep what happened this time; without a message the title stands for it."""
        self.message = message or self.title
        super().__init__(self.message)

    def to_problem(self) -> dict[str, str | int]:
        """Return the problem details object of RFC 9457 section 3 (application/problem+json)."""
        return {
            "type": f"urn:tingxun:error:{self.code}",
            "title": self.title,
            "status": self.status,
            "code": self.code,
            "detail": self.message,
            "hint": self.hint,
        }


# --- who is asking ---------------------------------------------------------------------------


class AccessError(TingxunError, status=403, fault="caller"):
    """Who is asking is not known, or may not do this."""


class NotAssigned(
    AccessError, code="not_assigned", hint="Ask the person who booked the session to assign you."
):
    """You are not assigned to this session."""


class NotPermitted(AccessError, code="not_permitted", hint="Ask someone whose role permits it."):
    """Your role does not permit this."""


class NotSignedIn(AccessError, code="not_signed_in", status=401, hint="Sign in and try again."):
    """You are not signed in."""


class OriginRefused(
    AccessError, code="origin_refused", hint="Open the platform at its own address."
):
    """The request comes from a page of another origin."""


class TokenInvalid(
    AccessError, code="token_invalid", status=401, hint="Sign in again for a new token."
):
    """The token is unknown, used up or expired."""


class TooManyAttempts(
    AccessError, code="too_many_attempts", status=429, hint="Wait a few minutes, then try again."
):
    """Too many attempts to sign in."""


class WrongPassword(
    AccessError,
    code="wrong_password",
    status=401,
    hint="Check the name and the password; an administrator can set a new one.",
):
    """The name or the password is wrong."""


# --- what was named does not exist -----------------------------------------------------------


class UnknownError(TingxunError, status=404, fault="caller"):
    """What was named does not exist."""


class ArchiveUnknown(UnknownError, code="archive_unknown", hint="Check the path or the address."):
    """There is no such archive."""


class FileUnknown(UnknownError, code="file_unknown", hint="Use a path from the manifest."):
    """There is no such file in the archive."""


class PageUnknown(UnknownError, code="page_unknown", hint="Start again from the lobby."):
    """There is nothing at this address."""


class ResourceUnknown(
    UnknownError, code="resource_unknown", hint="It has ended; send a new offer to the endpoint."
):
    """There is no such WHIP or WHEP session."""


class RoomUnknown(UnknownError, code="room_unknown", hint="Choose a room from the list."):
    """There is no such room."""


class SessionUnknown(UnknownError, code="session_unknown", hint="Choose a session in the lobby."):
    """There is no such session."""


class SiteUnknown(UnknownError, code="site_unknown", hint="Choose a site from the list."):
    """There is no such site."""


class TrackUnknown(UnknownError, code="track_unknown", hint="Use a track id of the room's state."):
    """There is no such track in the session."""


# --- not now ---------------------------------------------------------------------------------


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


# --- what was sent cannot be used ------------------------------------------------------------


class InputError(TingxunError, status=400, fault="caller"):
    """What was sent cannot be used."""


class CodecUnsupported(
    InputError, code="codec_unsupported", status=415, hint="Offer H.264, VP8 or Opus."
):
    """The codec is not one that the platform takes for this source."""


class ContentTypeUnsupported(
    InputError,
    code="content_type_unsupported",
    status=415,
    hint="Send application/sdp to begin, application/trickle-ice-sdpfrag to go on.",
):
    """This address does not take that type of content."""


class FieldInvalid(
    InputError, code="field_invalid", status=422, hint="Correct the field that is named."
):
    """A field has a value that is not allowed."""


class IceRestartUnsupported(
    InputError,
    code="ice_restart_unsupported",
    status=422,
    hint="End the session and send a new offer to the endpoint.",
):
    """ICE is not restarted here."""


class MediaFileBroken(
    InputError, code="media_file_broken", hint="Choose a file that a media player can play."
):
    """The media file cannot be read."""


class MediaFileMissing(InputError, code="media_file_missing", hint="Check the path of the file."):
    """The media file does not exist."""


class MessageMalformed(
    InputError, code="message_malformed", hint="See docs/PROTOCOL.md for the shape of messages."
):
    """The message is not as the protocol describes it."""


class MessageTooFrequent(
    InputError, code="message_too_frequent", status=429, hint="Send fewer messages."
):
    """Messages come too fast."""


class MessageTooLarge(
    InputError, code="message_too_large", status=413, hint="Send a smaller message."
):
    """The message is too large."""


class MethodRefused(
    InputError, code="method_refused", status=405, hint="Use a method that this address takes."
):
    """This address does not take that method."""


class NoteMissing(
    InputError, code="note_missing", status=422, hint="Write in a few words why it is done."
):
    """This reason needs a note."""


class OfferUnsupported(
    InputError,
    code="offer_unsupported",
    status=422,
    hint="Offer at most one picture in H.264 or VP8 and one sound in Opus.",
):
    """The offer asks for more, or for something else, than this address gives."""


class SdpInvalid(
    InputError, code="sdp_invalid", fault="peer", hint="Reload the page; if it stays, report it."
):
    """The session description makes no sense."""


class VersionUnsupported(
    InputError, code="version_unsupported", hint="Reload the page, or update the program."
):
    """This version of the protocol is not spoken here."""


# --- the way to the other side ---------------------------------------------------------------


class ConnectionLost(TingxunError, status=504, fault="peer"):
    """The other side cannot be reached."""


class MediaProcessUnavailable(
    ConnectionLost,
    code="media_process_unavailable",
    status=503,
    fault="us",
    hint="Try again in a moment; a media process that died is replaced by itself.",
):
    """No media process can take the session now."""


class MediaUnreachable(
    ConnectionLost,
    code="media_unreachable",
    hint="Check that the network lets UDP through to the server's media ports.",
):
    """No media connection could be made."""


class ServerUnreachable(
    ConnectionLost,
    code="server_unreachable",
    hint="Check the server's address, that it runs, and the network between.",
):
    """The server cannot be reached, or did not answer in time."""


class SessionHeldElsewhere(
    ConnectionLost,
    code="session_held_elsewhere",
    status=503,
    fault="us",
    hint="Try again in a moment; a process that died lets go of its sessions by itself.",
):
    """Another process of the server holds the session."""


# --- the recording and its storage -----------------------------------------------------------


class RecordingError(TingxunError, status=500, fault="operator"):
    """The recording or its storage failed."""


class ArchiveBroken(
    RecordingError, code="archive_broken", hint="Verify the archive; it names what was changed."
):
    """The archive is not as a recorder leaves it."""


class ArchiveBusy(
    RecordingError,
    code="archive_busy",
    status=503,
    hint="It is tried again; end the recorder process that does not let go of it.",
):
    """Another recorder is still writing the archive."""


class ArchiveDirUnwritable(
    RecordingError,
    code="archive_dir_unwritable",
    hint="Give the server the right to write to recording.archive_dir.",
):
    """The archive directory cannot be written."""


class DiskFull(
    RecordingError, code="disk_full", status=507, hint="Make room on the disk of the archives."
):
    """The disk of the archives is full."""


class EventMalformed(
    RecordingError,
    code="event_malformed",
    hint="The stored events were damaged or changed; restore them from a backup.",
):
    """A stored event is not as the platform writes it."""


class RecorderLost(
    RecordingError, code="recorder_lost", status=503, hint="A new recorder is started by itself."
):
    """The recorder has stopped."""


class RecorderNotStarted(
    RecordingError,
    code="recorder_not_started",
    status=503,
    hint="Try to open again; if it stays, look at the server's log.",
):
    """The recorder did not confirm that it records."""


class TimestampRefused(
    RecordingError,
    code="timestamp_refused",
    status=502,
    hint="Check seal.tsa_url; until then the built-in authority stamps.",
):
    """The time-stamp authority gave no usable token."""


# --- starting --------------------------------------------------------------------------------


class StartError(TingxunError, status=500, fault="operator"):
    """The server cannot start as it is configured."""


class ConfigInvalid(
    StartError, code="config_invalid", hint="Compare the file with config.yaml of the release."
):
    """The configuration is not valid."""


class DataDirUnwritable(
    StartError,
    code="data_dir_unwritable",
    hint="Give the server the right to write to data_dir, or set another one.",
):
    """The folder for the database and the keys cannot be written."""


class MediaPortUnavailable(
    StartError,
    code="media_port_unavailable",
    hint="Set media.bind_address to an address of this machine, and a range with a free UDP port.",
):
    """No UDP port for media can be opened."""


class PortInUse(StartError, code="port_in_use", hint="Stop the other program or set server.port."):
    """Another program uses the port."""


class Internal(
    TingxunError, code="internal", status=500, fault="us", hint="Report it with the server's log."
):
    """Something went wrong in the platform itself."""
