"""The way to the other side."""

from __future__ import annotations

from rooms.errors.root import TingxunError


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
