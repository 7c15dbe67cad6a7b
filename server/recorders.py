"""Keeping a recorder alive: a child process for each recording, replaced when it dies.

The recorder (:mod:`recorder.worker`) connects back over a Unix socket, gets its job and then the
numbered inputs of the :class:`~server.sfu.tap.Tap`. It is started ahead of time, when the first
track of a session is published, so that opening a session does not wait for an interpreter to
start.
"""

from __future__ import annotations

import asyncio
import contextlib
import logging
import sys
import tempfile
import time
from collections import deque
from collections.abc import Callable
from pathlib import Path
from typing import Any

from recorder import wire
from rooms.errors import TingxunError
from server.sfu.tap import Tap

logger = logging.getLogger(__name__)

RESTARTS = 8
"""Recorders that may crash within :data:`RESTART_WINDOW_S` before the recording is given up."""

RESTART_WINDOW_S = 60.0
RESTART_DELAY_S = 0.1
FAILED_DELAY_S = 2.0
"""After a recorder said why it cannot go on (a full disk), the next one waits this long."""

READ_BYTES = 1 << 16


class Recorder:
    """One recording's recorder, whichever process it is at the moment.

    ``on_report`` gets everything that a recorder says but ``Hello``; ``on_replaced`` is called with
    the cause each time another process takes over; ``on_lost`` when none could be kept alive.
    """

    def __init__(
        self,
        session_id: str,
        on_report: Callable[[wire.Report], None],
        on_replaced: Callable[[str], None],
        on_lost: Callable[[], None],
    ) -> None:
        self.pid: int | None = None
        self._session_id = session_id
        self._on_report = on_report
        self._on_replaced = on_replaced
        self._on_lost = on_lost
        self._job: asyncio.Future[wire.Job] = asyncio.get_running_loop().create_future()
        self._tap: Tap | None = None
        self._finished = False
        self._failed = False
        self._task: asyncio.Task[None] | None = None
        self._writer: asyncio.StreamWriter | None = None

    @property
    def recording(self) -> bool:
        """Whether a job was given."""
        return self._job.done()

    def prepare(self) -> None:
        """Start a process that waits for its job."""
        if self._task is None:
            self._task = asyncio.create_task(self._keep_alive())

    def record(self, job: wire.Job, tap: Tap) -> None:
        """Give the job; from now on the tap is drained and the recorder replaced if it dies."""
        self._tap = tap
        self._job.set_result(job)
        self.prepare()

    async def stop(self) -> None:
        """End the process: it writes down what it has, and exits."""
        self._finished = True
        if self._writer is not None:
            self._writer.close()
        if self._task is not None:
            _, pending = await asyncio.wait([self._task], timeout=5.0)
            for task in pending:
                task.cancel()
                await asyncio.gather(task, return_exceptions=True)

    def _over(self) -> bool:
        return self._finished

    async def _keep_alive(self) -> None:
        starts: deque[float] = deque(maxlen=RESTARTS)
        with tempfile.TemporaryDirectory(prefix="tingxun-") as folder:
            path = str(Path(folder) / "tap")
            server = await asyncio.start_unix_server(self._connected, path)
            try:
                while not self._over():
                    now = time.monotonic()
                    if len(starts) == RESTARTS and now - starts[0] < RESTART_WINDOW_S:
                        self._on_lost()
                        return
                    code = await self._run_once(path)
                    if self._over():
                        return
                    cause = f"signal {-code}" if code < 0 else f"exit {code}"
                    logger.warning("recorder of %s ended: %s", self._session_id, cause)
                    if self.recording:
                        self._on_replaced(cause)
                    if self._failed:
                        # It said why, and somebody may be making room at this moment: try for as
                        # long as the tap can wait.
                        self._failed = False
                        await asyncio.sleep(FAILED_DELAY_S)
                    else:
                        starts.append(now)
                        await asyncio.sleep(RESTART_DELAY_S)
            finally:
                server.close()

    async def _run_once(self, path: str) -> int:
        process = await asyncio.create_subprocess_exec(
            sys.executable,
            # No folder of that name beside the caller may stand in for ours.
            "-P",
            "-m",
            "recorder.worker",
            "--session",
            self._session_id,
            "--socket",
            path,
            stdin=asyncio.subprocess.DEVNULL,
            stdout=asyncio.subprocess.DEVNULL,
        )
        self.pid = process.pid
        try:
            return await process.wait()
        except asyncio.CancelledError:
            with contextlib.suppress(ProcessLookupError):
                process.kill()
            await process.wait()
            raise
        finally:
            self.pid = None

    async def _connected(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self._writer = writer
        decoder = wire.Decoder()
        ended = asyncio.ensure_future(reader.read(READ_BYTES))
        try:
            # A process that dies while it waits for its job must not hold the connection.
            waits: list[asyncio.Future[Any]] = [self._job, ended]
            await asyncio.wait(waits, return_when=asyncio.FIRST_COMPLETED)
            if not self._job.done():
                return
            writer.write(wire.encode_job(self._job.result()))
            while chunk := await ended:
                for message in decoder.feed(chunk):
                    self._take(message, writer)
                ended = asyncio.ensure_future(reader.read(READ_BYTES))
        except (ConnectionError, TingxunError) as error:
            logger.warning("tap of %s: %s", self._session_id, error)
        finally:
            ended.cancel()
            if self._tap is not None:
                self._tap.detach(writer)
            writer.close()

    def _take(self, message: wire.Message, writer: asyncio.StreamWriter) -> None:
        assert self._tap is not None
        match message:
            case wire.Hello(durable):
                self._tap.attach(writer, durable)
                return
            case wire.Durable(n=n):
                self._tap.acknowledge(n)
            case wire.Sealed():
                self._finished = True
            case wire.Failed():
                self._failed = True
            case wire.KeyFrameWanted() | wire.CheckpointMade():
                pass
            case _:
                logger.warning("recorder of %s said %s", self._session_id, type(message).__name__)
                return
        self._on_report(message)
