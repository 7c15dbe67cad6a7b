"""What went wrong in the platform itself."""

from __future__ import annotations

from rooms.errors.root import TingxunError


class Internal(
    TingxunError, code="internal", status=500, fault="us", hint="Report it with the server's log."
):
    """Something went wrong in the platform itself."""
