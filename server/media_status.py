"""What a media process says of itself to the server, and takes from it.

``GET /status``: who it is and which sessions it holds. ``PUT /held/{session_id}``: hold this one.
``GET /figures``: what the operator's metrics are made of (:mod:`server.process_figures`).
"""

from __future__ import annotations

import hashlib
import json
import os
import time
from typing import Any

from aiohttp import web

from server.conductors import Conductors
from server.config import Config
from server.keys import CONDUCTORS
from server.process_figures import ProcessFigures
from server.version import SOFTWARE

STATUS: web.AppKey[Status] = web.AppKey("status")


def add_routes(app: web.Application) -> None:
    """Mount what only the server asks."""
    app.router.add_get("/status", _status)
    app.router.add_get("/figures", _figures)
    app.router.add_put("/held/{session_id}", _hold)


def settings_of(config: Config) -> str:
    """Stands for the settings that matter to a media process: another value, other settings."""
    tree = config.model_dump(mode="json", by_alias=True, exclude={"server", "accounts", "log"})
    return hashlib.sha256(json.dumps(tree, sort_keys=True).encode()).hexdigest()[:16]


class Status:
    """This media process, from its start to :meth:`stop`."""

    def __init__(self, name: str, config: Config, conductors: Conductors) -> None:
        self._about = {
            "name": name,
            "pid": os.getpid(),
            "software": SOFTWARE,
            "settings": settings_of(config),
        }
        self._conductors = conductors
        self._figures = ProcessFigures(conductors)
        self.asked_s = time.monotonic()
        """When the server last asked for it."""

    def stop(self) -> None:
        """Measure no more."""
        self._figures.stop()

    def to_json(self) -> dict[str, Any]:
        """Who this is and what it holds."""
        self.asked_s = time.monotonic()
        return {**self._about, "sessions": self._conductors.running()}

    def figures(self) -> dict[str, Any]:
        """See :class:`~server.process_figures.ProcessFigures`."""
        return self._figures.to_json()


async def _status(request: web.Request) -> web.Response:
    return web.json_response(request.app[STATUS].to_json())


async def _figures(request: web.Request) -> web.Response:
    return web.json_response(request.app[STATUS].figures())


async def _hold(request: web.Request) -> web.Response:
    await request.app[CONDUCTORS].get(request.match_info["session_id"])
    return web.Response(status=204)
