"""When a recording may be called running: what lights the lamp at every terminal, and what dims it.

Follows the session's events and what the recorder reports to be on its disk, and asks the session's
:class:`~server.conductor.Conductor` for the commands that follow from it. Nothing else lights the
lamp.
"""

from __future__ import annotations

import time
from collections.abc import Callable

from rooms import commands, events
from rooms.phases import Phase, RecordingState
from rooms.room import Room
from server.config import RecordingSection
from server.forwarding import Forwarding
from server.recording import Recording

CONFIRM_COPIES = 1


class Lamp:
    """The watch over one session's recording. ``decide`` has a command judged, soon."""

    def __init__(
        self,
        room: Room,
        recording: Recording,
        forwarding: Forwarding,
        limits: RecordingSection,
        decide: Callable[[commands.Command], None],
    ) -> None:
        self._room = room
        self._recording = recording
        self._forwarding = forwarding
        self._limits = limits
        self._decide = decide
        self._live: list[tuple[int, int | None]] = []
        """Session time (µs) in which media was recorded; the last interval may be open."""
        self._confirming = False
        self._since_us = 0
        """Media has to be later than this to confirm anything."""
        self._confirm_by_ns = 0
        self._returning_us: int | None = None
        """When the session was taken over from a server that died, until media is back."""

    def follow(self, event: events.Event) -> None:
        """Take a stored event, new or of long ago, for how much is recorded."""
        at_us = event.t_us or 0
        match event:
            case events.SessionOpening():
                self._live.clear()
            case events.SessionLive() | events.SessionResumed():
                self._live.append((at_us, None))
            case events.SessionPaused() | events.SessionClosing() | events.SessionInterrupted():
                self._end_live(at_us)
                self._returning_us = None
            case events.SessionTakenOver():
                self._end_live(event.since_us)
                if self._room.phase is Phase.LIVE:
                    self._returning_us = at_us
            case events.RecordingRestored() if self._returning_us is not None:
                self._live.append((at_us, None))
                self._returning_us = None

    def await_media(self, since_us: int) -> None:
        """Opening or going on: confirm it once media later than ``since_us`` is on disk."""
        self._confirming = True
        self._since_us = since_us
        self._confirm_by_ns = time.monotonic_ns() + self._limits.start_timeout_ms * 1_000_000

    def durable(self) -> None:
        """The recorder has reported what is on its disk."""
        self._room.set_recorded(self._recording.recorded_ms(self._live))
        if self._confirming:
            self._check_confirmation()
        elif (
            self._room.recording.state in (RecordingState.STALLED, RecordingState.FAILED)
            and self._returned()
        ):
            self._decide(commands.RestoreRecording())

    def watch(self) -> None:
        """Notice what does not happen: a recorder that falls silent, a start that never comes."""
        if self._confirming:
            self._check_confirmation()
        elif self._room.recording.state is RecordingState.RECORDING and self._recording.stalled(
            self._limits.stall_ms
        ):
            self._decide(commands.StallRecording())

    def _returned(self) -> bool:
        if self._returning_us is None:
            return True
        return self._recording.confirmed(self._forwarding.ups.values(), self._returning_us)[0]

    def _check_confirmation(self) -> None:
        every, some = self._recording.confirmed(self._forwarding.ups.values(), self._since_us)
        late = time.monotonic_ns() > self._confirm_by_ns
        if every or (late and some):
            self._confirming = False
            self._decide(commands.ConfirmRecording(CONFIRM_COPIES))
        elif late:
            self._confirming = False
            self._decide(commands.FailRecording("recorder_not_started"))

    def _end_live(self, at_us: int) -> None:
        if self._live and self._live[-1][1] is None:
            self._live[-1] = (self._live[-1][0], at_us)
