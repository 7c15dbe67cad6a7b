"""One media process as the server sees it: started or found again, asked, watched, ended."""

from __future__ import annotations

import asyncio
import contextlib
import json
import logging
import os
import signal
import socket
import struct
import subprocess
import sys
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any, Self

import aiohttp

from rooms.errors import REGISTRY, MediaProcessUnavailable, TingxunError
from server.config import Config
from server.unix_path import SocketFolder

logger = logging.getLogger(__name__)

ANSWER_S = 5.0
"""How long a process may take to answer the server itself."""

READY_S = 30.0
"""How long one that was just started may take, on a machine that is busy."""

END_S = 6.0
"""How long one may take to end in order."""

MAX_MESSAGE_BYTES = 16 << 20
HOST = "http://media"
"""What stands for a host in the address: a Unix socket has none."""

_CREDENTIALS = struct.Struct("3i")


class MediaProcess:
    """A media process that lives, until :attr:`gone` is set."""

    def __init__(self, name: str, pid: int, address: str) -> None:
        """Watch the process ``pid``. Raises :class:`ProcessLookupError` when it is not there."""
        self.name = name
        self.pid = pid
        self.gone = asyncio.Event()
        self.status: Mapping[str, Any] = {}
        """Its newest answer; empty before the first."""
        self._pidfd = os.pidfd_open(pid)
        self._child: subprocess.Popen[bytes] | None = None
        self._loop = asyncio.get_running_loop()
        self._loop.add_reader(self._pidfd, self._ended)
        self._http = aiohttp.ClientSession(
            HOST,
            connector=aiohttp.UnixConnector(address, limit=0),
            timeout=aiohttp.ClientTimeout(total=None),
            auto_decompress=False,
        )

    @classmethod
    async def start(cls, config: Config, sockets: SocketFolder, name: str) -> Self:
        """Start one, and wait until it answers.

        Raises :class:`~rooms.errors.MediaProcessUnavailable` when it does not.
        """
        command = [sys.executable, "-P", "-m", "server.media_process"]
        command += ["--run", str(sockets.path), "--name", name]
        child = await asyncio.to_thread(
            subprocess.Popen,
            command,
            stdin=subprocess.PIPE,
            # Neither Ctrl-C nor a closed terminal is for it, and it outlives this process.
            start_new_session=True,
        )
        assert child.stdin is not None
        with child.stdin as stdin, contextlib.suppress(BrokenPipeError):
            stdin.write(json.dumps(config.model_dump(mode="json", by_alias=True)).encode())
        process = cls(name, child.pid, sockets.address(f"{name}.sock"))
        process._child = child
        try:
            async with asyncio.timeout(READY_S):
                while not await process.look():
                    if process.gone.is_set():
                        raise MediaProcessUnavailable(f"{name} ended as it was started")
                    await asyncio.sleep(0.05)
        except TimeoutError:
            raise MediaProcessUnavailable(f"{name} was not ready in {READY_S:.0f} s") from None
        finally:
            if not process.status:
                process.kill()
                await process.close()
        return process

    @classmethod
    async def find(cls, sockets: SocketFolder, name: str) -> Self | None:
        """The process behind a socket that a server before has left; None where there is none.

        One that does not answer is ended: it cannot be told from one that never will.
        """
        pid = await asyncio.to_thread(_listener, sockets.address(f"{name}.sock"))
        try:
            process = None if pid is None else cls(name, pid, sockets.address(f"{name}.sock"))
        except ProcessLookupError:
            process = None
        if process is None:
            (sockets.path / f"{name}.sock").unlink(missing_ok=True)
            return None
        if await process.look():
            return process
        logger.error("media process %s (%d) does not answer: ended", name, process.pid)
        process.kill()
        await process.gone.wait()
        await process.close()
        return None

    @property
    def sessions(self) -> Mapping[str, Mapping[str, Any]]:
        """The sessions that it holds, as of its newest answer."""
        found: Mapping[str, Mapping[str, Any]] = self.status.get("sessions", {})
        return found

    async def look(self) -> bool:
        """Ask for its status; whether it has answered."""
        try:
            self.status = await self._get("/status")
        except (aiohttp.ClientError, TimeoutError, OSError, ValueError):
            return False
        return True

    async def figures(self) -> dict[str, Any]:
        """What it has counted. Raises :class:`~rooms.errors.MediaProcessUnavailable`."""
        try:
            return await self._get("/figures")
        except (aiohttp.ClientError, TimeoutError, OSError, ValueError) as error:
            raise MediaProcessUnavailable(f"{self.name}: {error!r}") from error

    async def hold(self, session_id: str) -> None:
        """Have it hold a session.

        Raises what it answers (``session_held_elsewhere``), or MediaProcessUnavailable.
        """
        try:
            async with (
                asyncio.timeout(2 * ANSWER_S),
                self._http.put(f"/held/{session_id}") as response,
            ):
                if response.status != 204:
                    raise _refusal(await response.json(content_type=None))
        except (aiohttp.ClientError, TimeoutError, OSError, ValueError) as error:
            raise MediaProcessUnavailable(f"{self.name}: {error!r}") from error

    def request(
        self, method: str, path: str, headers: Mapping[str, str], body: bytes
    ) -> contextlib.AbstractAsyncContextManager[aiohttp.ClientResponse]:
        """Pass a request on; what goes wrong on the way is aiohttp's."""
        return self._http.request(method, path, headers=headers, data=body, allow_redirects=False)

    async def socket(
        self, path: str, headers: Mapping[str, str]
    ) -> aiohttp.ClientWebSocketResponse:
        """Open a WebSocket; what goes wrong on the way is aiohttp's."""
        return await self._http.ws_connect(path, headers=headers, max_msg_size=MAX_MESSAGE_BYTES)

    def kill(self) -> None:
        """End it at once: for one that does not answer."""
        self._signal(signal.SIGKILL)

    async def stop(self) -> None:
        """End it in order, or by force after :data:`END_S`."""
        self._signal(signal.SIGTERM)
        try:
            async with asyncio.timeout(END_S):
                await self.gone.wait()
        except TimeoutError:
            logger.error("media process %s does not end: killed", self.name)  # noqa: TRY400
            self.kill()
            await self.gone.wait()

    async def close(self) -> None:
        """Let go of it; it goes on, unless it is gone."""
        if self._pidfd >= 0:
            self._loop.remove_reader(self._pidfd)
            os.close(self._pidfd)
            self._pidfd = -1
        await self._http.close()

    async def _get(self, path: str) -> dict[str, Any]:
        async with asyncio.timeout(ANSWER_S), self._http.get(path) as response:
            response.raise_for_status()
            answer: dict[str, Any] = await response.json()
            return answer

    def _signal(self, number: signal.Signals) -> None:
        # By the descriptor: the number may be another process's by now.
        if self._pidfd >= 0:
            with contextlib.suppress(ProcessLookupError):
                signal.pidfd_send_signal(self._pidfd, number)

    def _ended(self) -> None:
        self._loop.remove_reader(self._pidfd)
        if self._child is not None:
            self._child.poll()
        else:
            # A child of ours nevertheless, where this program was started anew in its place.
            with contextlib.suppress(ChildProcessError):
                os.waitpid(self.pid, os.WNOHANG)
        self.gone.set()


def names_in(folder: Path) -> list[str]:
    """The names of the processes that have a socket in ``folder``."""
    return sorted(path.stem for path in folder.glob("*.sock"))


def _listener(address: str) -> int | None:
    """Who listens there, by the kernel's word; None where nobody does."""
    with socket.socket(socket.AF_UNIX, socket.SOCK_STREAM) as probe:
        probe.settimeout(ANSWER_S)
        try:
            probe.connect(address)
            raw = probe.getsockopt(socket.SOL_SOCKET, socket.SO_PEERCRED, _CREDENTIALS.size)
        except OSError:
            return None
    pid: int = _CREDENTIALS.unpack(raw)[0]
    return pid


def _refusal(answer: object) -> TingxunError:
    code = answer.get("code", "") if isinstance(answer, dict) else ""
    cls: Callable[[str], TingxunError] = REGISTRY.get(str(code), MediaProcessUnavailable)
    return cls(str(answer.get("detail", "")) if isinstance(answer, dict) else "")
