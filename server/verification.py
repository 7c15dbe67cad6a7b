"""Verifying archives without holding up the media: each in a child process, two at a time.

The child is the command ``tingxun verify --json`` itself, so that a page and a person at a terminal
get the same report from the same code. It runs at low priority: forwarding comes first.
"""

from __future__ import annotations

import asyncio
import contextlib
import json
import logging
import os
import sys
from pathlib import Path
from typing import Any

from rooms.errors import ArchiveUnknown, Internal, MessageTooFrequent
from server.config import Config
from server.trust import trusted_files

logger = logging.getLogger(__name__)

AT_ONCE = 2
WAITING = 8
TIMEOUT_S = 900.0
"""Longer than 100 GB take; a child that hangs is ended."""

_NICENESS = 10
_SEALED, _NOT_SEALED, _NO_ARCHIVE = 0, 1, 2
"""Exit codes of ``tingxun verify``."""


class Verification:
    """Runs verifications; those beyond :data:`AT_ONCE` wait their turn, a few of them."""

    def __init__(self, config: Config) -> None:
        self._config = config
        self._turn = asyncio.Semaphore(AT_ONCE)
        self._asked = 0

    async def verify(self, archive: Path) -> dict[str, Any]:
        """The report of :mod:`recorder.verify` on an archive, as JSON values.

        Raises :class:`~rooms.errors.ArchiveUnknown`, or :class:`~rooms.errors.MessageTooFrequent`
        when too many are waiting already.
        """
        if self._asked >= AT_ONCE + WAITING:
            raise MessageTooFrequent("too many verifications are waiting; try again in a minute")
        self._asked += 1
        try:
            async with self._turn:
                return await self._verify(archive)
        finally:
            self._asked -= 1

    async def _verify(self, archive: Path) -> dict[str, Any]:
        child = await asyncio.create_subprocess_exec(
            sys.executable,
            *("-P", "-m", "server.cli", "verify", "--json"),
            *(f"--trust={path}" for path in trusted_files(self._config)),
            str(archive),
            stdin=asyncio.subprocess.DEVNULL,
            stdout=asyncio.subprocess.PIPE,
            stderr=asyncio.subprocess.PIPE,
        )
        try:
            with contextlib.suppress(ProcessLookupError):
                os.setpriority(os.PRIO_PROCESS, child.pid, _NICENESS)
            out, err = await asyncio.wait_for(child.communicate(), TIMEOUT_S)
        except TimeoutError:
            raise Internal("the verification took too long") from None
        finally:
            if child.returncode is None:
                child.kill()
                await child.wait()
        if child.returncode == _NO_ARCHIVE:
            raise ArchiveUnknown(f"{archive.name} is no archive any more")
        if child.returncode not in (_SEALED, _NOT_SEALED):
            logger.error("verify %s: exit %s: %s", archive, child.returncode, err.decode()[-2000:])
            raise Internal("the verification did not finish")
        report: dict[str, Any] = json.loads(out)
        # Where on this machine it lies is nobody's business but the operator's.
        return {**report, "archive": archive.name}
