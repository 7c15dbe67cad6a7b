"""One room of a session, as the server uses it.

    events = room.handle(command, now)   # judged; nothing has changed yet
    ...store the events...
    for event in events:
        room.apply(event)                # now it is so
    ...act on them...

A node that takes a room over applies the stored events to a fresh Room and has the same room.
"""

from __future__ import annotations

from typing import Any

from rooms.commands import Command
from rooms.decisions import decide
from rooms.errors import TrackUnknown
from rooms.events import Event
from rooms.media import Track
from rooms.moment import Moment, format_wall
from rooms.phases import ENDED, Phase
from rooms.roles import MATRIX, Permission
from rooms.session import Session
from rooms.state import Recording, RoomState

MAX_TRACKS_PER_PARTICIPANT = 5
"""One for each source."""


class Room:
    """The rules and the state of one session."""

    def __init__(
        self, session: Session, *, max_tracks_per_participant: int = MAX_TRACKS_PER_PARTICIPANT
    ) -> None:
        """Start as booked: scheduled, nobody present."""
        self._state = RoomState(session)
        self._max_tracks = max_tracks_per_participant

    def handle(self, command: Command, now: Moment) -> list[Event]:
        """Judge a command: return what is to happen, in order, without changing anything.

        An empty list means that it changes nothing. Raises a subclass of TingxunError when it is
        refused.
        """
        return decide(self._state, command, now, self._max_tracks)

    def apply(self, event: Event) -> None:
        """Take an event as a fact; event_malformed when it cannot have happened in this room."""
        self._state.apply(event)

    def start_clock(self, mono_us: int) -> None:
        """Say which monotonic time is 0 on the session clock: that at which SessionOpening applied.

        It is no event, as a monotonic time means nothing after the machine's next start. Until it
        is called the session clock follows wall time, as in a room that was replayed.
        """
        self._state.opened_mono_us = mono_us

    def set_recorded(self, recorded_ms: int) -> None:
        """Take over how much media is durable, in ms; no event, as it changes all the time."""
        self._state.set_recorded(recorded_ms)

    @property
    def session(self) -> Session:
        """The booking."""
        return self._state.session

    @property
    def phase(self) -> Phase:
        """The phase of the session."""
        return self._state.phase

    @property
    def recording(self) -> Recording:
        """State of the recording, durable ms, copies, and the error code if it failed."""
        return self._state.recording

    @property
    def present(self) -> frozenset[str]:
        """The ids of those who are in the room or reconnecting."""
        return self._state.present()

    def session_clock_us(self, now: Moment) -> int | None:
        """Return the session clock in µs, None before the session is opened."""
        return self._state.session_clock_us(now)

    def connection(self, participant_id: str) -> str | None:
        """Return the connection that counts for a person, None when they are not in the room."""
        seat = self._state.seats.get(participant_id)
        return seat.connection_id if seat else None

    def track(self, track_id: str) -> Track:
        """Return a track that the session has or had; else track_unknown."""
        try:
            return self._state.tracks[track_id]
        except KeyError:
            raise TrackUnknown(f"no track {track_id[:40]!r} in the session") from None

    def published(self, participant_id: str | None = None) -> list[Track]:
        """Return the published tracks of one person, or of all."""
        return self._state.published(participant_id)

    def may(self, participant_id: str, permission: Permission) -> bool:
        """Whether the role of a person permits this at all; False for the unassigned."""
        return any(
            permission in MATRIX[seat.role]
            for seat in self._state.session.assignments
            if seat.participant_id == participant_id
        )

    def audience(self, track_id: str) -> frozenset[str]:
        """Return who receives a track: all in the room who may subscribe, but not its publisher.

        Nobody receives an unpublished track, and from closing on nobody receives anything: nothing
        is said in a session that its recording does not hold. Raises track_unknown.
        """
        track = self.track(track_id)
        if not track.published or self.phase in ENDED:
            return frozenset()
        return frozenset(
            who
            for who in self._state.present()
            if who != track.participant_id and self.may(who, Permission.SUBSCRIBE)
        )

    def snapshot(self, now: Moment) -> dict[str, Any]:
        """Return the whole state as JSON values: the `state` of docs/PROTOCOL.md.

        `live_since` is the wall time at which the session first turned live.
        """
        state = self._state
        return {
            "phase": str(state.phase),
            "t_us": state.session_clock_us(now),
            "wall": format_wall(now.wall),
            "pause_reason": str(state.pause_reason) if state.pause_reason else None,
            "recording": state.recording.to_record(),
            "live_since": format_wall(state.live_since) if state.live_since else None,
            "participants": [
                {
                    "id": assignment.participant_id,
                    "name": assignment.name,
                    "role": str(assignment.role),
                    "site_id": assignment.site_id,
                    "site_name": assignment.site_name,
                    "present": str(state.seats[assignment.participant_id].presence),
                    "away_since": self._away_since(assignment.participant_id),
                    "tracks": [
                        {
                            "track_id": track.track_id,
                            "source": str(track.source),
                            "codec": str(track.codec),
                            "muted": track.muted,
                        }
                        for track in state.published(assignment.participant_id)
                    ],
                }
                for assignment in state.session.assignments
            ],
        }

    def _away_since(self, participant_id: str) -> str | None:
        since = self._state.seats[participant_id].away_since
        return format_wall(since) if since else None
