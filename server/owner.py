"""One task that does everything for a session, in order: the reason why its state needs no lock."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Awaitable, Callable
from typing import Any, TypeVar

from rooms.errors import Internal, MessageTooFrequent, TingxunError

logger = logging.getLogger(__name__)

REQUESTS = 256
"""Requests waiting for one owner; more are refused."""

T = TypeVar("T")


class Owner:
    """Does what it is asked, one thing after the other, until it is stopped."""

    def __init__(self, name: str) -> None:
        self._name = name
        self._requests: asyncio.Queue[tuple[Callable[[], Awaitable[Any]], asyncio.Future[Any]]]
        self._requests = asyncio.Queue(REQUESTS)
        self._task: asyncio.Task[None] | None = asyncio.create_task(self._work())

    @property
    def stopped(self) -> bool:
        """Whether nothing more is done."""
        return self._task is None

    @property
    def idle(self) -> bool:
        """Whether nothing is waiting."""
        return self._requests.empty()

    def ask(self, work: Callable[[], Awaitable[T]]) -> asyncio.Future[T]:
        """Have ``work`` done; the future has what comes of it.

        Raises ``message_too_frequent`` when too much is waiting, ``internal`` after the stop.
        """
        if self._task is None:
            raise Internal("the session is no longer served here")
        done: asyncio.Future[T] = asyncio.get_running_loop().create_future()
        try:
            self._requests.put_nowait((work, done))
        except asyncio.QueueFull:
            raise MessageTooFrequent("the session has too many requests waiting") from None
        return done

    def later(self, work: Callable[[], Awaitable[Any]]) -> None:
        """Have ``work`` done; nobody waits, so a refusal is only logged."""
        try:
            done = self.ask(work)
        except TingxunError as problem:
            logger.warning("session %s: a request is lost: %s", self._name, problem)
        else:
            done.add_done_callback(self._log_refusal)

    async def stop(self) -> None:
        """Do nothing more; whoever waits is told so."""
        task, self._task = self._task, None
        if task is None:
            return
        task.cancel()
        await asyncio.gather(task, return_exceptions=True)
        while not self._requests.empty():
            _, done = self._requests.get_nowait()
            if not done.done():
                done.set_exception(Internal("the session is no longer served here"))

    async def _work(self) -> None:
        # Not for ever: the cancelling by a stop can be swallowed by the work at hand (aioice does
        # so while it closes a connection), and would then not come again.
        while self._task is not None:
            work, done = await self._requests.get()
            try:
                result = await work()
            except asyncio.CancelledError:
                if not done.done():
                    done.set_exception(Internal("the session is no longer served here"))
                raise
            except Exception as error:  # noqa: BLE001 - it is raised where the work was asked for
                if not done.done():
                    done.set_exception(error)
            else:
                if not done.done():
                    done.set_result(result)

    def _log_refusal(self, done: asyncio.Future[Any]) -> None:
        error = None if done.cancelled() else done.exception()
        if isinstance(error, TingxunError):
            logger.info("session %s: %s", self._name, error)
        elif error is not None:
            logger.error("session %s", self._name, exc_info=error)
