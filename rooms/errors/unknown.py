"""What was named does not exist."""

from __future__ import annotations

from rooms.errors.root import TingxunError


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
