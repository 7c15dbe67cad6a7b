"""The recording and its storage."""

from __future__ import annotations

from rooms.errors.root import TingxunError


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
