"""Commands judged: what is to happen, or the error that says why not.

Nothing is changed here. The order of the questions is always the same: is the person assigned,
have they joined, does their role permit it, does the phase allow it, is what they say right.
"""

from __future__ import annotations

from typing import assert_never

from rooms import commands as co
from rooms import events as ev
from rooms.errors import (
    AlreadyPublishing,
    CaseNumberMismatch,
    FieldInvalid,
    IllegalPhase,
    NoteMissing,
    NothingToRecord,
    NotJoined,
    NotPermitted,
    ParticipantsMissing,
    SessionClosed,
    TooManyTracks,
    TrackUnknown,
)
from rooms.media import Track, next_track_id, parse_codec, parse_source
from rooms.moment import Moment
from rooms.phases import PauseReason, Phase, Presence, is_possible
from rooms.roles import MATRIX, SOURCES, Permission, Role
from rooms.session import Assignment
from rooms.state import RoomState, Seat
from rooms.text import MAX_NOTE_CHARS, is_id, is_text, storable


def decide(state: RoomState, command: co.Command, now: Moment, max_tracks: int) -> list[ev.Event]:
    """Return what is to happen, in order; nothing when the command changes nothing.

    `max_tracks` bounds what one participant publishes at a time. Raises a subclass of
    TingxunError when the command is refused; the state is never changed.
    """
    return _Judgement(state, now, max_tracks).of(command)


class _Judgement:
    """One command, at one moment, on one state."""

    def __init__(self, state: RoomState, now: Moment, max_tracks: int) -> None:
        self.state = state
        self.max_tracks = max_tracks
        self.wall = now.wall
        self.t_us = state.session_clock_us(now)

    def of(self, command: co.Command) -> list[ev.Event]:
        match command:
            case co.Join() | co.Disconnect() | co.Expire() | co.Leave():
                return self._presence(command)
            case co.Publish():
                return self._publish(command)
            case co.Unpublish():
                track = self._own_track(command.participant_id, command.track_id)
                return [self._unpublished(track)]
            case co.SetMuted():
                return self._set_muted(command)
            case co.Open():
                return self._open(command)
            case co.Pause():
                return self._pause(command)
            case co.Resume():
                return self._resume(command)
            case co.Close():
                return self._close(command)
            case co.Mark():
                return self._mark(command)
            case _:
                return self._recording(command)

    # --- presence ----------------------------------------------------------------------------

    def _presence(self, command: co.Join | co.Disconnect | co.Expire | co.Leave) -> list[ev.Event]:
        assignment, seat = self._seat(command.participant_id)
        match command:
            case co.Join():
                return self._join(command, assignment, seat)
            case co.Disconnect():
                # An older connection of somebody who has taken over on a newer one.
                if seat.presence is not Presence.YES or seat.connection_id != command.connection_id:
                    return []
                return [
                    ev.ParticipantDisconnected(
                        wall=self.wall, t_us=self.t_us, participant_id=command.participant_id
                    )
                ]
            case co.Expire():
                if seat.presence is not Presence.RECONNECTING:
                    return []
                return self._gone(command.participant_id)
            case co.Leave():
                if seat.presence is Presence.NO:
                    raise NotJoined
                return self._gone(command.participant_id)

    def _join(self, command: co.Join, assignment: Assignment, seat: Seat) -> list[ev.Event]:
        if not is_id(command.connection_id):
            raise FieldInvalid("connection_id: cannot be an id")
        back = seat.presence is not Presence.NO
        event_type = ev.ParticipantReturned if back else ev.ParticipantJoined
        if not self._possible(event_type):
            raise SessionClosed(f"the session is {self.state.phase}")
        if not back:
            return [
                ev.ParticipantJoined(
                    wall=self.wall,
                    t_us=self.t_us,
                    participant_id=assignment.participant_id,
                    name=assignment.name,
                    role=assignment.role,
                    site_id=assignment.site_id,
                    site_name=assignment.site_name,
                    connection_id=command.connection_id,
                )
            ]
        if seat == Seat(Presence.YES, command.connection_id):
            return []
        return [
            ev.ParticipantReturned(
                wall=self.wall,
                t_us=self.t_us,
                participant_id=command.participant_id,
                connection_id=command.connection_id,
            )
        ]

    def _gone(self, participant_id: str) -> list[ev.Event]:
        return [
            *(self._unpublished(track) for track in self.state.published(participant_id)),
            ev.ParticipantLeft(wall=self.wall, t_us=self.t_us, participant_id=participant_id),
        ]

    # --- tracks ------------------------------------------------------------------------------

    def _publish(self, command: co.Publish) -> list[ev.Event]:
        assignment = self._permitted(command.participant_id, Permission.PUBLISH)
        source = parse_source(command.source)
        if source not in SOURCES[assignment.role]:
            raise NotPermitted(f"as {assignment.role} you may not publish {source}")
        codec = parse_codec(command.codec, source)
        self._require(ev.TrackPublished)
        published = self.state.published(command.participant_id)
        if any(track.source is source for track in published):
            raise AlreadyPublishing(f"you are already publishing {source}")
        if len(published) >= self.max_tracks:
            raise TooManyTracks(f"you are publishing {len(published)} tracks")
        known = next(
            (
                track.track_id
                for track in self.state.tracks.values()
                if (track.participant_id, track.source, track.codec)
                == (command.participant_id, source, codec)
            ),
            None,
        )
        return [
            ev.TrackPublished(
                wall=self.wall,
                t_us=self.t_us,
                track_id=known or next_track_id(source, self.state.tracks.values()),
                participant_id=command.participant_id,
                source=source,
                codec=codec,
            )
        ]

    def _set_muted(self, command: co.SetMuted) -> list[ev.Event]:
        track = self._own_track(command.participant_id, command.track_id)
        if track.muted is command.muted:
            return []
        self._require(ev.TrackMuted)
        return [
            ev.TrackMuted(
                wall=self.wall,
                t_us=self.t_us,
                track_id=track.track_id,
                participant_id=track.participant_id,
                muted=command.muted,
            )
        ]

    def _unpublished(self, track: Track) -> ev.Event:
        return ev.TrackUnpublished(
            wall=self.wall,
            t_us=self.t_us,
            track_id=track.track_id,
            participant_id=track.participant_id,
        )

    def _own_track(self, participant_id: str, track_id: str) -> Track:
        """Return a published track of a person who may be reconnecting; else an error."""
        _, seat = self._seat(participant_id)
        if seat.presence is Presence.NO:
            raise NotJoined
        track = self.state.tracks.get(track_id)
        if track is None or not track.published:
            raise TrackUnknown(f"{track_id[:40]!r} is not published")
        if track.participant_id != participant_id:
            raise NotPermitted(f"{track_id} is the track of somebody else")
        return track

    # --- the session -------------------------------------------------------------------------

    def _open(self, command: co.Open) -> list[ev.Event]:
        self._permitted(command.participant_id, Permission.OPEN)
        self._require(ev.SessionOpening)
        subjects = [
            self.state.seats[assignment.participant_id]
            for assignment in self.state.session.assignments
            if assignment.role is Role.SUBJECT
        ]
        if subjects and all(seat.presence is not Presence.YES for seat in subjects):
            raise ParticipantsMissing("the subject is not present")
        if not self.state.published():
            raise NothingToRecord
        return [ev.SessionOpening(wall=self.wall, t_us=0, participant_id=command.participant_id)]

    def _pause(self, command: co.Pause) -> list[ev.Event]:
        self._permitted(command.participant_id, Permission.PAUSE)
        self._require(ev.SessionPaused)
        try:
            reason = PauseReason(command.reason)
        except ValueError:
            raise FieldInvalid(
                f"reason: {command.reason[:40]!r} is none of {', '.join(PauseReason)}"
            ) from None
        note = command.note.strip()
        if note and not is_text(note, MAX_NOTE_CHARS):
            raise FieldInvalid(f"note: more than {MAX_NOTE_CHARS} characters, or odd ones")
        if reason is PauseReason.OTHER and not note:
            raise NoteMissing
        return [
            ev.SessionPaused(
                wall=self.wall,
                t_us=self.t_us,
                participant_id=command.participant_id,
                reason=reason,
                note=note,
            )
        ]

    def _resume(self, command: co.Resume) -> list[ev.Event]:
        self._permitted(command.participant_id, Permission.RESUME)
        self._require(ev.SessionResuming)
        return [
            ev.SessionResuming(
                wall=self.wall, t_us=self.t_us, participant_id=command.participant_id
            )
        ]

    def _close(self, command: co.Close) -> list[ev.Event]:
        self._permitted(command.participant_id, Permission.CLOSE)
        self._require(ev.SessionClosing)
        if command.case_number != self.state.session.case_number:
            raise CaseNumberMismatch
        return [
            ev.SessionClosing(wall=self.wall, t_us=self.t_us, participant_id=command.participant_id)
        ]

    def _mark(self, command: co.Mark) -> list[ev.Event]:
        self._permitted(command.participant_id, Permission.MARK)
        self._require(ev.MarkerAdded)
        text = command.text.strip()
        if not is_text(text, MAX_NOTE_CHARS):
            raise FieldInvalid(f"text: empty, more than {MAX_NOTE_CHARS} characters, or odd ones")
        return [
            ev.MarkerAdded(
                wall=self.wall, t_us=self.t_us, participant_id=command.participant_id, text=text
            )
        ]

    # --- the recording -----------------------------------------------------------------------

    def _recording(self, command: co.ServerCommand) -> list[ev.Event]:
        event = self._recording_event(command)
        if isinstance(event, ev.RecordingStalled | ev.RecordingRestored):
            # Watchdogs may be a moment late; what no longer matters is no error.
            return [event] if self._possible(type(event)) else []
        if isinstance(event, ev.SessionClosed) and self.state.phase is Phase.CLOSED:
            # Said again by a server that was restarted between closing and sealing.
            return []
        self._require(type(event))
        if isinstance(event, ev.SessionTakenOver):
            # Nobody is connected to the new server yet, and everybody may come back.
            return [event, *self._all_disconnected()]
        if isinstance(event, ev.RecordingFailed) and event.code == self.state.recording.reason:
            return []
        return [event]

    def _all_disconnected(self) -> list[ev.Event]:
        return [
            ev.ParticipantDisconnected(
                wall=self.wall, t_us=self.t_us, participant_id=participant_id
            )
            for participant_id, seat in self.state.seats.items()
            if seat.presence is Presence.YES
        ]

    def _recording_event(self, command: co.ServerCommand) -> ev.Event:
        wall, t_us = self.wall, self.t_us
        match command:
            case co.ConfirmRecording():
                if not ev.is_count(command.copies, 1, ev.MAX_COPIES):
                    raise FieldInvalid(f"copies: {command.copies} is not 1 to {ev.MAX_COPIES}")
                resuming = self.state.phase is Phase.PAUSED
                confirmed = ev.SessionResumed if resuming else ev.SessionLive
                return confirmed(wall=wall, t_us=t_us, copies=command.copies)
            case co.StallRecording():
                return ev.RecordingStalled(wall=wall, t_us=t_us)
            case co.RestoreRecording():
                return ev.RecordingRestored(wall=wall, t_us=t_us)
            case co.ReplaceRecorder():
                cause = storable(command.cause, MAX_NOTE_CHARS)
                return ev.RecorderReplaced(wall=wall, t_us=t_us, cause=cause)
            case co.FailRecording():
                code = command.code if ev.is_code(command.code) else "internal"
                return ev.RecordingFailed(wall=wall, t_us=t_us, code=code)
            case co.Interrupt():
                cause = storable(command.cause, MAX_NOTE_CHARS)
                return ev.SessionInterrupted(wall=wall, t_us=t_us, cause=cause)
            case co.TakeOver():
                cause = storable(command.cause, MAX_NOTE_CHARS)
                since_us = max(min(command.since_us, t_us or 0), 0)
                return ev.SessionTakenOver(wall=wall, t_us=t_us, cause=cause, since_us=since_us)
            case co.FinishClosing():
                return ev.SessionClosed(wall=wall, t_us=t_us)
            case co.Seal():
                if not (is_id(command.archive_id) and ev.is_sha256(command.root_sha256)):
                    raise FieldInvalid("archive_id or root_sha256: not of the right form")
                return ev.SessionSealed(
                    wall=wall,
                    t_us=t_us,
                    archive_id=command.archive_id,
                    root_sha256=command.root_sha256,
                )
            case _:
                assert_never(command)

    # --- questions ---------------------------------------------------------------------------

    def _seat(self, participant_id: str) -> tuple[Assignment, Seat]:
        assignment = self.state.session.assignment(participant_id)
        return assignment, self.state.seats[participant_id]

    def _permitted(self, participant_id: str, permission: Permission) -> Assignment:
        """Return the assignment of a person who is present and has the permission."""
        assignment, seat = self._seat(participant_id)
        if seat.presence is not Presence.YES:
            raise NotJoined
        if permission not in MATRIX[assignment.role]:
            raise NotPermitted(f"as {assignment.role} you may not {permission}")
        return assignment

    def _possible(self, event_type: type[ev.Event]) -> bool:
        return is_possible(event_type.type, self.state.phase, self.state.recording.state)

    def _require(self, event_type: type[ev.Event]) -> None:
        if not self._possible(event_type):
            lamp = self.state.recording.state
            raise IllegalPhase(f"the session is {self.state.phase}, the recording is {lamp}")
