import itertools

import pytest

from rooms.events import EVENT_TYPES
from rooms.phases import (
    ENDED,
    RECORDING_TRANSITIONS,
    TRANSITIONS,
    Phase,
    RecordingState,
    after,
    is_possible,
)


def test_the_table_names_every_event_and_no_other():
    assert TRANSITIONS.keys() == EVENT_TYPES.keys()
    assert RECORDING_TRANSITIONS.keys() <= EVENT_TYPES.keys()


def test_the_changes_of_phase():
    changes = {
        (str(before), name, str(then))
        for name, row in TRANSITIONS.items()
        for before, then in row.items()
        if before is not then
    }
    assert changes == {
        ("scheduled", "participant_joined", "waiting"),
        ("waiting", "session_live", "live"),
        ("live", "session_paused", "paused"),
        ("paused", "session_resumed", "live"),
        ("live", "session_closing", "closing"),
        ("paused", "session_closing", "closing"),
        ("live", "session_interrupted", "closing"),
        ("paused", "session_interrupted", "closing"),
        ("closing", "session_closed", "closed"),
        ("closed", "session_sealed", "sealed"),
    }


def test_closing_is_final():
    for row in TRANSITIONS.values():
        for before, then in row.items():
            assert (before in ENDED) <= (then in ENDED)


def test_nothing_turns_the_lamp_on_but_the_recorders_word():
    lit_by = {
        name
        for name, row in RECORDING_TRANSITIONS.items()
        for before, then in row.items()
        if then is RecordingState.RECORDING and before is not RecordingState.RECORDING
    }
    assert lit_by == {"session_live", "session_resumed", "recording_restored"}


def test_what_is_possible_has_a_result_and_nothing_else_has():
    for name, phase, state in itertools.product(TRANSITIONS, Phase, RecordingState):
        if is_possible(name, phase, state):
            assert after(name, phase, state)[0] in Phase
        else:
            with pytest.raises(KeyError):
                after(name, phase, state)


def test_an_unknown_event_is_not_possible():
    assert not is_possible("session_reopened", Phase.CLOSED, RecordingState.SEALING)
