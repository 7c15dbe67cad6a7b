"""The media processes: how many there are, which one holds which session, who follows a dead one.

There is always one that is ready, and while there may be more, one that holds nothing yet; so a
small installation has two, and a busy one as many as ``media.processes`` allows. A new session goes
to the process with the fewest. When one dies, its unfinished sessions are given to others at once.
A server that is started anew finds the processes of the one before by their sockets, and learns
from them what they hold; that no session is held twice is the claims' work, not this table's.
"""

from __future__ import annotations

import asyncio
import contextlib
import logging
import secrets
from collections import Counter
from collections.abc import Awaitable
from typing import Any
from weakref import WeakValueDictionary

from rooms.errors import (
    DataDirUnwritable,
    MediaProcessUnavailable,
    SessionHeldElsewhere,
    TingxunError,
)
from server.claims import Claims
from server.config import Config
from server.media_client import MediaProcess, names_in
from server.media_status import settings_of
from server.recording import unfinished
from server.unix_path import SocketFolder
from server.version import SOFTWARE

logger = logging.getLogger(__name__)

LOOK_S = 2.0
MISSES = 3
"""A process that has not answered so often in a row is ended, and its sessions go to others."""

PLACE_S = 20.0
"""How long a request waits for a process that can take its session."""

SPARE_AFTER_S = 3.0
"""The next process is not started in the very moment in which a session begins."""

RESTART_S = (0.0, 0.5, 1.0, 2.0, 5.0)
"""Pauses before a process is started after so many that did not come up."""

AGAIN_S = 0.1


class MediaProcesses:
    """Starts, finds, watches and ends them; runs from :meth:`start` to :meth:`stop`."""

    def __init__(self, config: Config) -> None:
        """Raises :class:`~rooms.errors.DataDirUnwritable`."""
        self.past: Counter[tuple[str, str]] = Counter()
        """What the media of processes that are gone had counted when it was last asked for."""
        self.deaths = 0
        """Processes that ended although nobody had told them to."""
        self.leaving = False
        """Whether the processes stay as they are when this server stops: another follows it."""
        self._config = config
        self._wanted = config.media.process_count
        self._settings = settings_of(config)
        try:
            self._sockets = SocketFolder(config.run_dir)
        except OSError as error:
            raise DataDirUnwritable(f"{config.run_dir}: {error.strerror}") from error
        self._claims = Claims(config.claims_dir, "server")
        self._processes: dict[str, MediaProcess] = {}
        self._holders: dict[str, MediaProcess] = {}
        self._places: WeakValueDictionary[str, asyncio.Lock] = WeakValueDictionary()
        self._totals: dict[str, Counter[tuple[str, str]]] = {}
        self._changed = asyncio.Event()
        self._starting: asyncio.Task[None] | None = None
        self._failures = 0
        self._tasks: set[asyncio.Task[None]] = set()

    async def start(self) -> None:
        """Find the processes of a server before; what nobody holds is taken up by and by."""
        names = names_in(self._sockets.path)
        for process in await asyncio.gather(
            *(MediaProcess.find(self._sockets, name) for name in names)
        ):
            if process is not None:
                logger.warning("media process %s (%d) is found again", process.name, process.pid)
                self._add(process)
        self._grow(0.0)
        for session_id in unfinished(self._config.archive_dir):
            if session_id not in self._holders:
                self._spawn(self._recover(session_id))

    async def stop(self) -> None:
        """End every process in order, unless they are left for the server to come."""
        for task in [*self._tasks, *([self._starting] if self._starting else [])]:
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)
        if self._starting is not None:
            await asyncio.gather(self._starting, return_exceptions=True)
        processes = list(self._processes.values())
        if not self.leaving:
            await asyncio.gather(*(process.stop() for process in processes))
        for process in processes:
            await process.close()
        self._sockets.close()

    async def place(self, session_id: str) -> MediaProcess:
        """The process that holds a session; one takes it where nobody does.

        Raises :class:`~rooms.errors.MediaProcessUnavailable` when none can in
        :data:`PLACE_S`, or what the process says, such as ``session_unknown``.
        """
        lock = self._places.setdefault(session_id, asyncio.Lock())
        try:
            async with asyncio.timeout(PLACE_S), lock:
                while True:
                    process = self._holders.get(session_id) or await self._choose(session_id)
                    if process.gone.is_set():
                        await asyncio.sleep(AGAIN_S)
                        continue
                    if self._holders.get(session_id) is process:
                        return process
                    # Counted at once: others are being placed meanwhile.
                    self._holders[session_id] = process
                    try:
                        await process.hold(session_id)
                    except (SessionHeldElsewhere, MediaProcessUnavailable) as problem:
                        self._holders.pop(session_id, None)
                        logger.warning("session %s is not taken: %s", session_id, problem.message)
                        await asyncio.sleep(AGAIN_S)
                    except BaseException:
                        self._holders.pop(session_id, None)
                        raise
                    else:
                        self._grow(SPARE_AFTER_S)
                        return process
        except TimeoutError:
            raise MediaProcessUnavailable(f"no process takes {session_id}") from None

    def forget(self, session_id: str, process: MediaProcess) -> None:
        """The process says that it does not hold this session: look for the one that does."""
        if self._holders.get(session_id) is process:
            del self._holders[session_id]

    def running(self) -> dict[str, dict[str, Any]]:
        """Sessions that are held now, as of some seconds ago, with the name of their process."""
        return {
            session_id: {**about, "process": process.name}
            for process in self._processes.values()
            for session_id, about in process.sessions.items()
        }

    def to_json(self) -> list[dict[str, Any]]:
        """The processes that live: name, process id, and the sessions that they hold."""
        return [
            {"name": one.name, "pid": one.pid, "sessions": sorted(one.sessions)}
            for one in self._processes.values()
        ]

    async def figures(self) -> dict[str, dict[str, Any]]:
        """The figures of every process that answers, by its name."""
        processes = list(self._processes.values())
        answers = await asyncio.gather(
            *(process.figures() for process in processes), return_exceptions=True
        )
        found = {}
        for process, answer in zip(processes, answers, strict=True):
            if isinstance(answer, dict):
                found[process.name] = answer
                counts = {(name, kind): count for name, kind, count in answer["totals"]}
                self._totals[process.name] = Counter(counts)
        return found

    # Which process.

    async def _choose(self, session_id: str) -> MediaProcess:
        """Who holds the session by the claims, else the one with the fewest."""
        while True:
            name = self._claims.holder(session_id)
            holder = None if name is None else self._processes.get(name)
            if holder is not None:
                return holder
            held = Counter(process.name for process in self._holders.values())
            ready = [one for one in self._processes.values() if self._current(one)]
            if ready:
                return min(ready, key=lambda one: held[one.name])
            self._changed.clear()
            await self._changed.wait()

    def _current(self, process: MediaProcess) -> bool:
        """Whether it may take sessions: one of another version or settings only keeps its own."""
        status = process.status
        return (status.get("software"), status.get("settings")) == (SOFTWARE, self._settings)

    # Their lives.

    def _add(self, process: MediaProcess) -> None:
        self._processes[process.name] = process
        for session_id in process.sessions:
            self._holders[session_id] = process
        self._spawn(self._watch(process))
        self._changed.set()

    def _grow(self, after_s: float) -> None:
        """Start a process where none is ready, or none is idle and there may be more."""
        if self._starting is None or self._starting.done():
            self._starting = asyncio.create_task(self._start_wanted(after_s))

    def _lacking(self) -> bool:
        current = [one for one in self._processes.values() if self._current(one)]
        busy = {process.name for process in self._holders.values()}
        idle = any(one.name not in busy for one in current)
        return not current or (not idle and len(current) < self._wanted)

    async def _start_wanted(self, after_s: float) -> None:
        if any(self._current(one) for one in self._processes.values()):
            await asyncio.sleep(after_s)
        while self._lacking():
            await asyncio.sleep(RESTART_S[min(self._failures, len(RESTART_S) - 1)])
            name = f"media-{secrets.token_hex(3)}"
            try:
                process = await MediaProcess.start(self._config, self._sockets, name)
            except (MediaProcessUnavailable, OSError) as problem:
                self._failures += 1
                logger.error("no media process: %s", problem)  # noqa: TRY400
                continue
            self._failures = 0
            logger.info("media process %s (%d) is ready", name, process.pid)
            self._add(process)

    async def _watch(self, process: MediaProcess) -> None:
        """Look at it now and then, until it is gone; then have others go on with its sessions."""
        misses = 0
        retired = False
        while not process.gone.is_set():
            with contextlib.suppress(TimeoutError):
                async with asyncio.timeout(LOOK_S):
                    await process.gone.wait()
            if process.gone.is_set():
                break
            before = set(process.sessions)
            if await process.look():
                misses = 0
                for session_id in before - set(process.sessions):
                    self.forget(session_id, process)
                if not process.sessions and not self._current(process):
                    retired = True
                    await process.stop()
            else:
                misses += 1
                if misses == MISSES and not process.gone.is_set():
                    logger.error("media process %s does not answer: ended", process.name)
                    process.kill()
        self.deaths += not retired
        await self._bury(process)

    async def _bury(self, process: MediaProcess) -> None:
        del self._processes[process.name]
        lost = {session_id for session_id, one in self._holders.items() if one is process}
        lost |= set(process.sessions)
        for session_id in lost:
            self.forget(session_id, process)
        self.past.update(self._totals.pop(process.name, Counter()))
        (self._sockets.path / f"{process.name}.sock").unlink(missing_ok=True)
        await process.close()
        logger.warning(
            "media process %s (%d) is gone; it held %s",
            process.name,
            process.pid,
            ", ".join(sorted(lost)) or "nothing",
        )
        self._grow(0.0)
        for session_id in lost & set(unfinished(self._config.archive_dir)):
            self._spawn(self._recover(session_id))

    async def _recover(self, session_id: str) -> None:
        """Have a session taken over that was being recorded."""
        while True:
            try:
                process = await self.place(session_id)
            except MediaProcessUnavailable:
                continue
            except TingxunError as problem:
                # One damaged recording must not keep the others; it stays on disk.
                logger.error("session %s cannot be taken over: %s", session_id, problem)  # noqa: TRY400
                return
            logger.warning("session %s is taken over by %s", session_id, process.name)
            return

    def _spawn(self, work: Awaitable[None]) -> None:
        task = asyncio.ensure_future(work)
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)
