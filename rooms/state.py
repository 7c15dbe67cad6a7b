"""What is so in a room: the events of a session, applied in order.

Nothing is judged here. An event that cannot have happened (a damaged or forged store) raises
event_malformed; everything else is taken as the fact that it is.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from datetime import datetime, timedelta

from rooms import events as ev
from rooms.errors import EventMalformed
from rooms.media import Track
from rooms.moment import Moment
from rooms.phases import PauseReason, Phase, Presence, RecordingState, after, is_possible
from rooms.session import Session


@dataclass(frozen=True, slots=True)
class Recording:
    """What is known of the recording. `recorded_ms` is durable media, as the recorder confirms it.

    `reason` is an error code, and set only while the state is `failed`.
    """

    state: RecordingState = RecordingState.OFF
    recorded_ms: int = 0
    copies: int = 0
    reason: str | None = None

    def to_record(self) -> dict[str, str | int | None]:
        """Return it as JSON values: the `recording` of docs/PROTOCOL.md."""
        return {
            "state": str(self.state),
            "recorded_ms": self.recorded_ms,
            "copies": self.copies,
            "reason": self.reason,
        }


@dataclass(frozen=True, slots=True)
class Seat:
    """Where an assigned person is; `connection_id` names their newest connection while present.

    `away_since` is when it broke, while the person is reconnecting.
    """

    presence: Presence = Presence.NO
    connection_id: str | None = None
    away_since: datetime | None = None


class RoomState:
    """The present state of one session. Only `apply` and `Room`'s two setters write it."""

    def __init__(self, session: Session) -> None:
        """Start with nobody present and nothing recorded."""
        self.session = session
        self.phase = Phase.SCHEDULED
        self.recording = Recording()
        self.seats = {seat.participant_id: Seat() for seat in session.assignments}
        self.tracks: dict[str, Track] = {}
        self.pause_reason: PauseReason | None = None
        self.live_since: datetime | None = None
        self.opened_wall: datetime | None = None
        self.opened_mono_us: int | None = None
        self.last_t_us = 0

    def session_clock_us(self, now: Moment) -> int | None:
        """Return the session clock, or None when the session has not been opened.

        Never behind an event that has happened. Without `opened_mono_us` (a room that was replayed)
        the wall clock stands in.
        """
        if self.opened_wall is None:
            return None
        if self.opened_mono_us is not None:
            t_us = now.mono_us - self.opened_mono_us
        else:
            t_us = (now.wall - self.opened_wall) // timedelta(microseconds=1)
        return max(t_us, self.last_t_us)

    def published(self, participant_id: str | None = None) -> list[Track]:
        """Return the published tracks, of one person or of all, oldest id first."""
        return [
            track
            for track in self.tracks.values()
            if track.published and participant_id in {None, track.participant_id}
        ]

    def present(self) -> frozenset[str]:
        """Return the ids of those who are in the room, or may be back in a moment."""
        return frozenset(
            who for who, seat in self.seats.items() if seat.presence is not Presence.NO
        )

    def apply(self, event: ev.Event) -> None:
        """Take an event as a fact; event_malformed when it cannot have happened here."""
        if not is_possible(event.type, self.phase, self.recording.state):
            raise EventMalformed(
                f"{event.type} while {self.phase} and the recording is {self.recording.state}"
            )
        participant_id: str | None = getattr(event, "participant_id", None)
        if participant_id is not None and participant_id not in self.seats:
            raise EventMalformed(f"{event.type} of a person who is not assigned")
        before = self.phase
        self._apply_to_people(event)
        self._apply_to_tracks(event)
        self.phase, state = after(event.type, self.phase, self.recording.state)
        if state is not self.recording.state:
            self.recording = replace(self.recording, state=state, reason=None)
        self._apply_to_session(event, before)
        if event.t_us is not None and self.opened_wall is not None:
            self.last_t_us = max(self.last_t_us, event.t_us)

    def set_recorded(self, recorded_ms: int) -> None:
        """Take over how much media is durable, in ms."""
        self.recording = replace(self.recording, recorded_ms=recorded_ms)

    def _apply_to_people(self, event: ev.Event) -> None:
        match event:
            case ev.ParticipantJoined() | ev.ParticipantReturned():
                self.seats[event.participant_id] = Seat(Presence.YES, event.connection_id)
            case ev.ParticipantDisconnected():
                seat = self.seats[event.participant_id]
                self.seats[event.participant_id] = replace(
                    seat, presence=Presence.RECONNECTING, away_since=event.wall
                )
            case ev.ParticipantLeft():
                self.seats[event.participant_id] = Seat()

    def _apply_to_tracks(self, event: ev.Event) -> None:
        match event:
            case ev.TrackPublished():
                self.tracks[event.track_id] = self._published_as(event)
            case ev.TrackUnpublished():
                self.tracks[event.track_id] = replace(self._track_of(event), published=False)
            case ev.TrackMuted():
                self.tracks[event.track_id] = replace(self._track_of(event), muted=event.muted)

    def _published_as(self, event: ev.TrackPublished) -> Track:
        track = Track(event.track_id, event.participant_id, event.source, event.codec)
        known = self.tracks.get(event.track_id)
        if known is not None and replace(known, published=True, muted=False) != track:
            raise EventMalformed(f"{event.type}: {event.track_id} was another track before")
        return track

    def _track_of(self, event: ev.TrackUnpublished | ev.TrackMuted) -> Track:
        track = self.tracks.get(event.track_id)
        if track is None or track.participant_id != event.participant_id or not track.published:
            raise EventMalformed(f"{event.type}: {event.track_id} is no such track")
        return track

    def _apply_to_session(self, event: ev.Event, before: Phase) -> None:
        match event:
            case ev.SessionOpening():
                self.opened_wall, self.opened_mono_us, self.last_t_us = event.wall, None, 0
                self.recording = Recording(RecordingState.STARTING)
            case ev.SessionLive():
                self.live_since = event.wall
                self.recording = replace(self.recording, copies=event.copies)
            case ev.SessionPaused():
                self.pause_reason = event.reason
            case ev.SessionResumed():
                self.pause_reason = None
                self.recording = replace(self.recording, copies=event.copies)
            case ev.SessionClosing() | ev.SessionInterrupted():
                self.pause_reason = None
            case ev.RecordingFailed():
                self.recording = replace(self.recording, reason=event.code)
                if before is Phase.WAITING:
                    # It was never open: the next opening starts the session clock again.
                    self.opened_wall = self.opened_mono_us = None
