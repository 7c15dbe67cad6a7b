"""Going on with a session that another process held: what is left of it, and for how long.

Part of the session's :class:`~server.conductor.Conductor`, whose one task calls it before all else.
``docs/PROCESSES.md`` has the whole of it.
"""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Iterable
from typing import Any

from rooms import commands, events
from rooms.moment import Moment
from rooms.phases import Phase, RecordingState
from rooms.room import Room
from server import clock
from server.attendance import Attendance, Decide
from server.config import SignallingSection
from server.lamp import Lamp
from server.recording import Recording
from server.records import Records

GIVE_UP_FIRST_S = 1.0
"""A session that nobody comes back to is closed before its people are counted as gone."""


class Succession:
    """``decide`` carries a command out; ``later`` has work done when the conductor comes to it."""

    def __init__(
        self,
        room: Room,
        limits: SignallingSection,
        records: Records,
        recording: Recording,
        lamp: Lamp,
        people: Attendance,
        decide: Decide,
        later: Callable[[Callable[[], Awaitable[Any]]], None],
    ) -> None:
        self._room = room
        self._limits = limits
        self._records = records
        self._recording = recording
        self._lamp = lamp
        self._people = people
        self._decide = decide
        self._later = later
        self._patience: asyncio.TimerHandle | None = None

    async def begin(self, history: Iterable[events.Event]) -> None:
        """Bring the room to where its events have left it, and go on from there."""
        for event in history:
            self._room.apply(event)
            self._lamp.follow(event)
        phase = self._room.phase
        if phase is Phase.WAITING:
            await self._begin_anew()
        elif phase not in (Phase.SCHEDULED, Phase.SEALED):
            now = clock.now()
            self._room.start_clock(await self._opened_us(now))
            self._recording.take_up((now.mono_us - self._clock_us(now)) * 1000)
            if phase in (Phase.LIVE, Phase.PAUSED):
                await self._go_on(now)
            else:
                self._recording.close(None)

    def stop(self) -> None:
        """The process ends: nobody is waited for here any more."""
        if self._patience is not None:
            self._patience.cancel()

    async def _begin_anew(self) -> None:
        """It was not open: an opening that was under way has failed, and can be tried again."""
        if self._room.recording.state is RecordingState.STARTING:
            await self._decide(commands.FailRecording("recorder_lost"))
        await self._recording.set_aside_left()
        await self._people.await_return(self._limits.reconnect_grace_s)

    async def _go_on(self, now: Moment) -> None:
        """It is as live or as paused as before, if it was not left for too long."""
        left = await self._recording.left() or now.wall
        dead_s = max((now.wall - left).total_seconds(), 0.0)
        patience_s = self._limits.takeover_s - dead_s
        if patience_s <= 0:
            await self._decide(commands.Interrupt("server"))
            return
        self._recording.feed(self._room.phase is Phase.LIVE)
        since_us = self._clock_us(now) - round(dead_s * 1e6)
        await self._decide(commands.TakeOver("server", since_us))
        loop = asyncio.get_running_loop()
        self._patience = loop.call_later(patience_s, self._later, self._give_up)
        await self._people.await_return(patience_s + GIVE_UP_FIRST_S)

    async def _give_up(self) -> None:
        """Nobody has come back to a live session: it is closed and sealed."""
        if self._room.phase is Phase.LIVE and not self._people.returned:
            await self._decide(commands.Interrupt("server"))

    def _clock_us(self, now: Moment) -> int:
        return self._room.session_clock_us(now) or 0

    async def _opened_us(self, now: Moment) -> int:
        """The monotonic time at which the session clock is 0, in this boot of the machine.

        After another boot the wall clock stands in, and no time is before the last event.
        """
        stored = await self._records.opened(self._room.session.id)
        if stored is not None and stored[0] and stored[0] == clock.boot_id():
            return stored[1]
        return now.mono_us - self._clock_us(now)
