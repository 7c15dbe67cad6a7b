"""Names under which the parts of the running server are found in the aiohttp application.

``request.app[RECORDS]`` and so on. The types are imported for the checker alone, so that no part
has to import another to be found beside it.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from typing import TYPE_CHECKING

from aiohttp import web

if TYPE_CHECKING:
    from server.accounts import Accounts
    from server.conductors import Conductors
    from server.config import Config
    from server.media_processes import MediaProcesses
    from server.media_resources import MediaResources
    from server.metrics import Metrics
    from server.pages import Pages
    from server.records import Records
    from server.turn import Relays
    from server.verification import Verification

CONFIG: web.AppKey[Config] = web.AppKey("config")
RECORDS: web.AppKey[Records] = web.AppKey("records")
ACCOUNTS: web.AppKey[Accounts] = web.AppKey("accounts")
CONDUCTORS: web.AppKey[Conductors] = web.AppKey("conductors")
IDENTIFY: web.AppKey[Callable[[web.Request], Awaitable[str]]] = web.AppKey("identify")
"""Whose account a request comes from, by its id; raises ``not_signed_in`` or ``token_invalid``."""
MEDIA_PROCESSES: web.AppKey[MediaProcesses] = web.AppKey("media_processes")
MEDIA_RESOURCES: web.AppKey[MediaResources] = web.AppKey("media_resources")
METRICS: web.AppKey[Metrics] = web.AppKey("metrics")
OPEN_SOCKETS: web.AppKey[set[web.WebSocketResponse]] = web.AppKey("open_sockets")
"""The WebSockets that are passed on to media processes."""
PAGES: web.AppKey[Pages] = web.AppKey("pages")
RELAYS: web.AppKey[Relays] = web.AppKey("relays")
VERIFICATION: web.AppKey[Verification] = web.AppKey("verification")
