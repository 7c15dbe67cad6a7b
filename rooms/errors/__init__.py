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

Each group is in a module of its own; all names are imported from here, which fills `REGISTRY`.

A code is public: it is translated (`web/i18n`, key `error.<code>`), documented and tested.
Raise the most specific class with a message that names the thing ("track cam-3 is not published");
convert once, at the edge: HTTP by `to_problem`, WebSocket by `code`, `message` and `hint`, the
command line by one line and an exit code.
"""

from __future__ import annotations

from rooms.errors.access import (
    AccessError,
    NotAssigned,
    NotPermitted,
    NotSignedIn,
    OriginRefused,
    TokenInvalid,
    TooManyAttempts,
    WrongPassword,
)
from rooms.errors.connection import (
    ConnectionLost,
    MediaProcessUnavailable,
    MediaUnreachable,
    ServerUnreachable,
    SessionHeldElsewhere,
)
from rooms.errors.input import (
    CodecUnsupported,
    ContentTypeUnsupported,
    FieldInvalid,
    IceRestartUnsupported,
    InputError,
    MediaFileBroken,
    MediaFileMissing,
    MessageMalformed,
    MessageTooFrequent,
    MessageTooLarge,
    MethodRefused,
    NoteMissing,
    OfferUnsupported,
    SdpInvalid,
    VersionUnsupported,
)
from rooms.errors.internal import Internal
from rooms.errors.recording import (
    ArchiveBroken,
    ArchiveBusy,
    ArchiveDirUnwritable,
    DiskFull,
    EventMalformed,
    RecorderLost,
    RecorderNotStarted,
    RecordingError,
    TimestampRefused,
)
from rooms.errors.root import REGISTRY, Fault, TingxunError
from rooms.errors.start import (
    ConfigInvalid,
    DataDirUnwritable,
    MediaPortUnavailable,
    PortInUse,
    StartError,
)
from rooms.errors.state import (
    AlreadyJoined,
    AlreadyPublishing,
    BookingConflict,
    CaseNumberMismatch,
    IllegalPhase,
    NameTaken,
    NothingToPlay,
    NothingToRecord,
    NotJoined,
    ParticipantsMissing,
    PreconditionFailed,
    PreconditionRequired,
    Replaced,
    SessionClosed,
    StateError,
    TooManyTracks,
)
from rooms.errors.unknown import (
    ArchiveUnknown,
    FileUnknown,
    PageUnknown,
    ResourceUnknown,
    RoomUnknown,
    SessionUnknown,
    SiteUnknown,
    TrackUnknown,
    UnknownError,
)

__all__ = [
    "REGISTRY",
    "AccessError",
    "AlreadyJoined",
    "AlreadyPublishing",
    "ArchiveBroken",
    "ArchiveBusy",
    "ArchiveDirUnwritable",
    "ArchiveUnknown",
    "BookingConflict",
    "CaseNumberMismatch",
    "CodecUnsupported",
    "ConfigInvalid",
    "ConnectionLost",
    "ContentTypeUnsupported",
    "DataDirUnwritable",
    "DiskFull",
    "EventMalformed",
    "Fault",
    "FieldInvalid",
    "FileUnknown",
    "IceRestartUnsupported",
    "IllegalPhase",
    "InputError",
    "Internal",
    "MediaFileBroken",
    "MediaFileMissing",
    "MediaPortUnavailable",
    "MediaProcessUnavailable",
    "MediaUnreachable",
    "MessageMalformed",
    "MessageTooFrequent",
    "MessageTooLarge",
    "MethodRefused",
    "NameTaken",
    "NotAssigned",
    "NotJoined",
    "NotPermitted",
    "NotSignedIn",
    "NoteMissing",
    "NothingToPlay",
    "NothingToRecord",
    "OfferUnsupported",
    "OriginRefused",
    "PageUnknown",
    "ParticipantsMissing",
    "PortInUse",
    "PreconditionFailed",
    "PreconditionRequired",
    "RecorderLost",
    "RecorderNotStarted",
    "RecordingError",
    "Replaced",
    "ResourceUnknown",
    "RoomUnknown",
    "SdpInvalid",
    "ServerUnreachable",
    "SessionClosed",
    "SessionHeldElsewhere",
    "SessionUnknown",
    "SiteUnknown",
    "StartError",
    "StateError",
    "TimestampRefused",
    "TingxunError",
    "TokenInvalid",
    "TooManyAttempts",
    "TooManyTracks",
    "TrackUnknown",
    "UnknownError",
    "VersionUnsupported",
    "WrongPassword",
]
