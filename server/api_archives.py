"""The HTTP interface for archives: the list, one for replay, its files, its verification.

Files are sent as they lie, with ranges, and only from inside the archive. What is sealed never
changes, so that a browser may keep it.
"""

from __future__ import annotations

import asyncio
import json
from pathlib import Path
from typing import Any

from aiohttp import web

from recorder import replay
from rooms.errors import FileUnknown
from server.access import Right, account_with, may, visible_archive
from server.files import file_inside
from server.keys import RECORDS, VERIFICATION
from server.stored_archives import StoredArchive

_TYPES = {
    ".json": "application/json",
    ".jsonl": "application/x-ndjson",
    ".m3u8": "application/vnd.apple.mpegurl",
    ".m4s": "video/iso.segment",
    ".mp4": "video/mp4",
    ".p7s": "application/pkcs7-signature",
    ".pem": "application/x-pem-file",
    ".tsr": "application/timestamp-reply",
    ".txt": "text/plain; charset=utf-8",
    ".webm": "video/webm",
}
_IMMUTABLE = "private, max-age=31536000, immutable"


def add_routes(app: web.Application) -> None:
    """Mount the routes of archives."""
    app.router.add_get("/api/archives", _list)
    app.router.add_get("/api/archives/{archive_id}/replay", _replay)
    app.router.add_get("/api/archives/{archive_id}/files/{path:.+}", _file)
    app.router.add_post("/api/archives/{archive_id}/verify", _verify)


def _archive_json(archive: StoredArchive) -> dict[str, Any]:
    return {
        "id": archive.id,
        "session_id": archive.session_id,
        "case_number": archive.case_number,
        "title": archive.title,
        "opened_wall": archive.opened_wall,
        "duration_ms": archive.duration_ms,
        "tracks": archive.tracks,
        "sealed": archive.sealed,
    }


async def _list(request: web.Request) -> web.Response:
    account = await account_with(request, Right.SEE_OWN_ARCHIVES)
    whose = None if may(account, Right.SEE_ALL_ARCHIVES) else account.id
    archives = await request.app[RECORDS].archives(whose)
    return web.json_response({"archives": [_archive_json(archive) for archive in archives]})


async def _replay(request: web.Request) -> web.Response:
    archive = await visible_archive(request, await account_with(request))
    text = await asyncio.to_thread(_described, archive.path)
    return web.Response(text=text, content_type="application/json")


def _described(path: Path) -> str:
    return json.dumps(replay.describe(path), ensure_ascii=False, separators=(",", ":"))


async def _file(request: web.Request) -> web.StreamResponse:
    archive = await visible_archive(request, await account_with(request))
    path = request.match_info["path"]
    file = await asyncio.to_thread(file_inside, archive.path, path)
    if file is None:
        raise FileUnknown(f"archive {archive.id} has no file {path[:200]}")
    return web.FileResponse(
        file,
        headers={
            "Content-Type": _TYPES.get(file.suffix, "application/octet-stream"),
            "Cache-Control": _IMMUTABLE if archive.sealed else "no-cache",
        },
    )


async def _verify(request: web.Request) -> web.Response:
    archive = await visible_archive(request, await account_with(request))
    return web.json_response(await request.app[VERIFICATION].verify(archive.path))
