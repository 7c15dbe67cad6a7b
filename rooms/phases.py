"""The phases of a session and of its recording, and the one table of changes between them.

    scheduled -> waiting -> live <-> paused
                             │         │
                             └────┬────┘
                               closing -> closed -> sealed

The phase turns live only when the recorder has confirmed media on disk. Closing is final: no event
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
    """What the recording lamp shows; lit red for `recording` alone."""

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


TRANSITIONS: Mapping[str, Mapping[Phase, Phase]] = {
    "participant_joined": {Phase.SCHEDULED: Phase.WAITING},
    "session_live": {Phase.WAITING: Phase.LIVE},
    "session_paused": {Phase.LIVE: Phase.PAUSED},
    "session_resumed": {Phase.PAUSED: Phase.LIVE},
    "session_closing": {Phase.LIVE: Phase.CLOSING, Phase.PAUSED: Phase.CLOSING},
    "session_closed": {Phase.CLOSING: Phase.CLOSED},
    "session_sealed": {Phase.CLOSED: Phase.SEALED},
}
"""Event type -> phase before -> phase after. Every other event leaves the phase as it is."""

ENDED = frozenset({Phase.CLOSING, Phase.CLOSED, Phase.SEALED})
"""Phases after the last word: nothing more is recorded, so nothing more is forwarded."""


def phase_after(phase: Phase, event_type: str) -> Phase:
    """Return the phase after an event of this type."""
    return TRANSITIONS.get(event_type, {}).get(phase, phase)
