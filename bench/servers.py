"""The servers under test as child processes on a CPU of their own: ``tingxun serve`` and Janus.

Both keep everything in a temporary folder, listen on 127.0.0.1 alone, and are ended by their
process id. Next: :mod:`bench.sessions` and :mod:`bench.videoroom`.
"""

from __future__ import annotations

import asyncio
import contextlib
import os
import shutil
import subprocess
import sys
import tempfile
from collections.abc import AsyncIterator, Mapping
from pathlib import Path
from typing import Any

import aiohttp

from bench import processes
from server.agent.hosting import HostedServer, choose_port, first_administrator, own_config
from server.config import Config

READY_WITHIN_S = 20.0
STOP_WITHIN_S = 10.0
LOG_LINES = 30
"""Shown of our server's log when a benchmark fails."""

_TEMPLATES = Path(__file__).parent / "janus"
_SETTINGS: dict[str, Any] = {
    "media.processes": 1,
    "media.video_max_kbps": 5000,
    "server.burst": 100_000,
    "server.rate_per_s": 10_000.0,
    "accounts.argon2_time_cost": 1,
    "accounts.argon2_memory_kib": 8,
    "accounts.argon2_parallelism": 1,
    "log.level": "warning",
}
"""One media process: what the usual settings give each core. All sessions are in it, and the server
itself beside it, on the same CPU. Nothing else that only slows the preparation down."""

_RECORDER = "recorder.worker"


class Tingxun:
    """A running server of ours. ``account`` is the administrator's name and one-time password."""

    name = "tingxun"

    def __init__(self, hosted: HostedServer, account: tuple[str, str]) -> None:
        self.url = hosted.url
        self.pid = hosted.pid
        self.archives = hosted.config.archive_dir
        self.account = account
        self._log = hosted.log

    def pids(self, *, recorders: bool) -> list[int]:
        """The server's own and its media processes, with the recorders if wanted."""
        found = processes.descendants(self.pid)
        return [self.pid, *(pid for pid in found if recorders or not _records(pid))]

    def said(self) -> str:
        """The last lines of its log, warnings and worse."""
        return "\n".join(self._log.read_text(errors="replace").splitlines()[-LOG_LINES:])

    def recorders(self) -> list[int]:
        """The recorders alone."""
        return [pid for pid in processes.descendants(self.pid) if _records(pid)]


def _records(pid: int) -> bool:
    return _RECORDER in processes.arguments(pid)


@contextlib.asynccontextmanager
async def tingxun(
    cpus: processes.Cpus, media: Mapping[str, Any] | None = None, *, codec: str = "VP8"
) -> AsyncIterator[Tingxun]:
    """``tingxun serve`` with an installation of its own, gone afterwards.

    ``codec`` is the load client's; ``media`` are settings of the section of that name that differ
    from the usual ones.
    """
    with tempfile.TemporaryDirectory(prefix="tingxun-bench-") as folder:
        settings = _SETTINGS | {"media.codecs": (codec,)}
        config = own_config(Config.load(None, settings), Path(folder), choose_port(0), None)
        if media:
            tree = config.model_dump(by_alias=True)
            tree["media"] |= media
            config = Config.model_validate(tree)
        account = await first_administrator(config)
        hosted = HostedServer(config)
        with cpus.for_server():
            await hosted.__aenter__()
        server = Tingxun(hosted, account)
        try:
            if config.media.process_count:
                await _has_media_process(hosted.url)
            yield server
        except BaseException:
            # The folder goes in a moment, and with it what the server said.
            print(server.said(), file=sys.stderr)
            raise
        finally:
            started = processes.descendants(hosted.pid)
            await hosted.stop()
            # Media processes outlive a server that had to be ended by force.
            processes.end(pid for pid in started if folder in " ".join(processes.arguments(pid)))


async def _has_media_process(url: str) -> None:
    """Wait until the server has started one, which it does by itself."""
    async with asyncio.timeout(READY_WITHIN_S), aiohttp.ClientSession() as http:
        while True:
            async with http.get(f"{url}/metrics") as response:
                text = await response.text()
            if text.count("\ntingxun_process_resident_memory_bytes{") > 1:
                return
            await asyncio.sleep(0.1)


class Janus:
    """A running Janus. ``folder`` takes its recordings."""

    name = "janus"

    def __init__(self, url: str, pid: int, folder: Path) -> None:
        self.url = url
        self.pid = pid
        self.folder = folder

    def pids(self, *, recorders: bool) -> list[int]:
        """Janus's one process; it records by itself, whatever ``recorders`` says."""
        del recorders
        return [self.pid]


def janus_missing() -> str | None:
    """One line that says what to install before Janus can be measured; None when all is there."""
    missing = [name for name in ("janus", "gcc") if shutil.which(name) is None]
    if missing or _library() is None:
        names = " ".join(missing or ["janus"])
        return f"Janus is not measured, {names} missing: apt-get install {names} libc6-dev"
    return None


def _library() -> Path | None:
    """Where Debian put the plug-ins."""
    found = sorted(Path("/usr/lib").glob("**/janus/plugins/libjanus_videoroom.so"))
    return found[0].parent.parent if found else None


def _prepare(folder: Path, port: int) -> Path:
    """Write the settings and compile the shim into ``folder``; return the shim."""
    library = _library()
    assert library is not None
    for template in _TEMPLATES.glob("*.jcfg"):
        text = template.read_text().replace("@FOLDER@", str(folder))
        text = text.replace("@LIBRARY@", str(library)).replace("@PORT@", str(port))
        (folder / template.name).write_text(text)
    shim = folder / "loopback.so"
    source = _TEMPLATES / "loopback.c"
    subprocess.run(
        ["gcc", "-shared", "-fPIC", "-O2", "-o", shim, source, "-ldl"], check=True, timeout=60
    )
    return shim


@contextlib.asynccontextmanager
async def janus(cpus: processes.Cpus) -> AsyncIterator[Janus]:
    """Debian's Janus with its VideoRoom, on loopback alone."""
    with tempfile.TemporaryDirectory(prefix="janus-bench-") as name:
        folder, port = Path(name), choose_port(0)
        shim = await asyncio.to_thread(_prepare, folder, port)
        with (folder / "janus.log").open("wb") as log, cpus.for_server():
            process = await asyncio.create_subprocess_exec(
                "janus",
                "-C",
                str(folder / "janus.jcfg"),
                "-F",
                str(folder),
                "-o",
                stdin=asyncio.subprocess.DEVNULL,
                stdout=log,
                stderr=log,
                env={**os.environ, "LD_PRELOAD": str(shim)},
                start_new_session=True,
            )
        try:
            url = f"ws://127.0.0.1:{port}"
            await _answers(url, process, folder / "janus.log")
            yield Janus(url, process.pid, folder)
        finally:
            await _end(process)


async def _answers(url: str, process: asyncio.subprocess.Process, log: Path) -> None:
    try:
        async with asyncio.timeout(READY_WITHIN_S), aiohttp.ClientSession() as http:
            while process.returncode is None:
                with contextlib.suppress(aiohttp.ClientError):
                    async with http.ws_connect(url, protocols=["janus-protocol"]):
                        return
                await asyncio.sleep(0.1)
    except TimeoutError:
        pass
    lines = log.read_text(errors="replace").strip().splitlines()
    raise RuntimeError(f"Janus did not start: {lines[-1] if lines else 'it said nothing'}")


async def _end(process: asyncio.subprocess.Process) -> None:
    with contextlib.suppress(ProcessLookupError):
        process.terminate()
        try:
            async with asyncio.timeout(STOP_WITHIN_S):
                await process.wait()
        except TimeoutError:
            process.kill()
            await process.wait()
