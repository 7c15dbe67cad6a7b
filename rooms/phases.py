"""The phases of a session and of its recording, and the tables of what can happen in each.

    scheduled -> waiting -> live <-> paused
                             │         │
                             └────┬────┘
                               closing -> closed -> sealed

The phase turns live only when the recorder has confirmed media on disk. Closing is final: nothing
leads from closing, closed or sealed back to an earlier phase.
"""

from __future__ import annotations

from collections.abc import Mapping
from enum import StrEnum


class Phase(StrEnum):
    """Where a session is between booking and seal."""

    SCHEDULED = "scheduled"
    WAITING = "waiting"
    LIVE = "live"
    PAUSED = "paused"
    CLOSING = "closing"
    CLOSED = "closed"
    SEALED = "sealed"


class RecordingState(StrEnum):
    """What the recording lamp shows; lit for `recording` alone."""

    OFF = "off"
    STARTING = "starting"
    RECORDING = "recording"
    STALLED = "stalled"
    PAUSED = "paused"
    SEALING = "sealing"
    SEALED = "sealed"
    FAILED = "failed"


class Presence(StrEnum):
    """Whether an assigned person is in the room."""

    YES = "yes"
    RECONNECTING = "reconnecting"
    NO = "no"


class PauseReason(StrEnum):
    """Why a session is paused; `other` needs a note."""

    REST = "rest"
    MEAL = "meal"
    MEDICAL = "medical"
    TECHNICAL = "technical"
    CONSULT_COUNSEL = "consult_counsel"
    LAWYER_REQUEST = "lawyer_request"
    OTHER = "other"


_HELD = (Phase.WAITING, Phase.LIVE, Phase.PAUSED)
ENDED = (Phase.CLOSING, Phase.CLOSED, Phase.SEALED)
"""The phases after the last word: no media is recorded any more, and so none is forwarded."""


def _stay(*phases: Phase) -> dict[Phase, Phase]:
    return {phase: phase for phase in phases}


TRANSITIONS: Mapping[str, Mapping[Phase, Phase]] = {
    "participant_joined": {Phase.SCHEDULED: Phase.WAITING, **_stay(*_HELD)},
    "participant_returned": _stay(*_HELD, Phase.CLOSING),
    "participant_disconnected": _stay(*_HELD, *ENDED),
    "participant_left": _stay(*_HELD, *ENDED),
    "track_published": _stay(*_HELD),
    "track_muted": _stay(*_HELD),
    "track_unpublished": _stay(*_HELD, *ENDED),
    "session_opening": _stay(Phase.WAITING),
    "session_live": {Phase.WAITING: Phase.LIVE},
    "session_paused": {Phase.LIVE: Phase.PAUSED},
    "session_resuming": _stay(Phase.PAUSED),
    "session_resumed": {Phase.PAUSED: Phase.LIVE},
    "session_closing": {Phase.LIVE: Phase.CLOSING, Phase.PAUSED: Phase.CLOSING},
    "session_interrupted": {Phase.LIVE: Phase.CLOSING, Phase.PAUSED: Phase.CLOSING},
    "session_taken_over": _stay(Phase.LIVE, Phase.PAUSED),
    "session_closed": {Phase.CLOSING: Phase.CLOSED},
    "session_sealed": {Phase.CLOSED: Phase.SEALED},
    "marker_added": _stay(Phase.LIVE, Phase.PAUSED),
    "recording_stalled": _stay(Phase.LIVE),
    "recording_restored": _stay(Phase.LIVE),
    "recorder_replaced": _stay(*_HELD, Phase.CLOSING, Phase.CLOSED),
    "recording_failed": _stay(*_HELD, Phase.CLOSING, Phase.CLOSED),
}
"""Event type -> phase before -> phase after. What is not in the table cannot happen."""

_ACTIVE = (
    RecordingState.STARTING,
    RecordingState.RECORDING,
    RecordingState.STALLED,
    RecordingState.PAUSED,
    RecordingState.SEALING,
    RecordingState.FAILED,
)

RECORDING_TRANSITIONS: Mapping[str, Mapping[RecordingState, RecordingState]] = {
    "session_opening": {
        RecordingState.OFF: RecordingState.STARTING,
        RecordingState.FAILED: RecordingState.STARTING,
    },
    "session_live": {RecordingState.STARTING: RecordingState.RECORDING},
    "session_paused": {
        RecordingState.RECORDING: RecordingState.PAUSED,
        RecordingState.STALLED: RecordingState.PAUSED,
        # A pause does not mend a recording; the next resume starts it again.
        RecordingState.FAILED: RecordingState.FAILED,
    },
    "session_resuming": {
        RecordingState.PAUSED: RecordingState.STARTING,
        RecordingState.FAILED: RecordingState.STARTING,
    },
    "session_resumed": {RecordingState.STARTING: RecordingState.RECORDING},
    "session_closing": dict.fromkeys(_ACTIVE, RecordingState.SEALING),
    "session_interrupted": dict.fromkeys(_ACTIVE, RecordingState.SEALING),
    # Nothing is on its way to a disk until somebody sends again; a resumption is to be asked anew.
    "session_taken_over": {
        RecordingState.RECORDING: RecordingState.STALLED,
        RecordingState.STALLED: RecordingState.STALLED,
        RecordingState.STARTING: RecordingState.PAUSED,
        RecordingState.PAUSED: RecordingState.PAUSED,
        RecordingState.FAILED: RecordingState.FAILED,
    },
    "session_sealed": {
        RecordingState.SEALING: RecordingState.SEALED,
        RecordingState.FAILED: RecordingState.SEALED,
    },
    "recording_stalled": {RecordingState.RECORDING: RecordingState.STALLED},
    "recording_restored": {
        RecordingState.STALLED: RecordingState.RECORDING,
        RecordingState.FAILED: RecordingState.RECORDING,
    },
    # The lamp follows what the new recorder confirms, not that there is one.
    "recorder_replaced": {state: state for state in _ACTIVE},
    "recording_failed": dict.fromkeys(_ACTIVE, RecordingState.FAILED),
}
"""Event type -> recording state before -> after. Types that are not named leave it as it is."""


def is_possible(event_type: str, phase: Phase, recording: RecordingState) -> bool:
    """Whether an event of this type can happen in this phase with the recording in this state."""
    return phase in TRANSITIONS.get(event_type, {}) and (
        event_type not in RECORDING_TRANSITIONS or recording in RECORDING_TRANSITIONS[event_type]
    )


def after(event_type: str, phase: Phase, recording: RecordingState) -> tuple[Phase, RecordingState]:
    """Return phase and recording state after an event; KeyError when it is not possible."""
    step = RECORDING_TRANSITIONS.get(event_type)
    return TRANSITIONS[event_type][phase], step[recording] if step else recording
