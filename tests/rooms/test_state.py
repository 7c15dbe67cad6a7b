"""What events do, and that a store which cannot be true is refused."""

from dataclasses import replace

import pytest

from rooms.commands import (
    Close,
    ConfirmRecording,
    Disconnect,
    FailRecording,
    FinishClosing,
    Interrupt,
    Open,
    Pause,
    Publish,
    ReplaceRecorder,
    RestoreRecording,
    Resume,
    Seal,
    StallRecording,
    Unpublish,
)
from rooms.errors import EventMalformed
from rooms.events import (
    ParticipantDisconnected,
    ParticipantLeft,
    SessionLive,
    TrackMuted,
    TrackPublished,
    TrackUnpublished,
)
from rooms.media import Codec, Source
from rooms.moment import Moment
from rooms.phases import Phase
from rooms.room import Room
from rooms.state import Recording

CASE = "A-2026-0137"


def states(held, *commands):
    """Carry commands out; return phase and lamp after each."""
    seen = []
    for command in commands:
        held.do(command)
        seen.append(f"{held.room.phase} {held.room.recording.state}")
    return seen


def test_phase_and_lamp_from_opening_to_seal(held):
    assert states(
        held.fill(),
        Open("ann"),
        ConfirmRecording(2),
        StallRecording(),
        RestoreRecording(),
        Pause("ann", "rest"),
        Resume("ann"),
        ConfirmRecording(1),
        Close("ann", CASE),
        FinishClosing(),
        Seal("s1", "ab" * 32),
    ) == [
        "waiting starting",
        "live recording",
        "live stalled",
        "live recording",
        "paused paused",
        "paused starting",
        "live recording",
        "closing sealing",
        "closed sealing",
        "sealed sealed",
    ]
    assert held.room.recording.copies == 1


def test_a_failed_opening_goes_back_and_may_be_tried_again(held):
    held.fill().do(Open("ann"))
    (event,) = held.do(FailRecording("recorder_not_started"))
    assert event.t_us == 10_000
    assert held.room.phase is Phase.WAITING
    assert held.room.recording == Recording("failed", 0, 0, "recorder_not_started")
    assert held.room.session_clock_us(held.now) is None
    held.wait(60_000_000)
    held.do(Open("ann"))
    assert held.room.recording == Recording("starting", 0, 0, None)
    assert held.room.session_clock_us(held.now) == 0


def test_a_failure_while_live_stops_neither_session_nor_clock(live):
    assert states(live, FailRecording("disk_full"), ReplaceRecorder("killed")) == [
        "live failed",
        "live failed",
    ]
    assert live.room.recording.reason == "disk_full"
    # Only what the new recorder confirms lights the lamp again.
    assert states(live, RestoreRecording()) == ["live recording"]
    assert live.room.recording.reason is None


def test_a_pause_does_not_mend_a_failed_recording_but_resuming_may(live):
    assert states(
        live,
        FailRecording("disk_full"),
        Pause("ann", "technical"),
        Resume("ann"),
        FailRecording("disk_full"),
        Resume("ann"),
        ConfirmRecording(1),
    ) == [
        "live failed",
        "paused failed",
        "paused starting",
        "paused failed",
        "paused starting",
        "live recording",
    ]


def test_a_failed_seal_can_be_made_up_for(live):
    assert states(
        live,
        Close("ann", CASE),
        FailRecording("disk_full"),
        ReplaceRecorder("disk full"),
        FinishClosing(),
        Seal("s1", "ab" * 32),
    ) == [
        "closing sealing",
        "closing failed",
        "closing failed",
        "closed failed",
        "sealed sealed",
    ]


@pytest.mark.parametrize("steps", [[], [Pause("ann", "rest")], [FailRecording("disk_full")]])
def test_a_session_that_lost_its_server_is_closed_and_sealed(live, steps):
    live.do(*steps)
    live.room = live.replayed()
    assert states(live, Interrupt("server"), FinishClosing(), Seal("s1", "ab" * 32)) == [
        "closing sealing",
        "closed sealing",
        "sealed sealed",
    ]


def test_a_new_recorder_leaves_the_lamp_as_it_is(live):
    assert states(live, ReplaceRecorder("killed")) == ["live recording"]
    assert states(live, StallRecording(), ReplaceRecorder("killed"))[1] == "live stalled"


def test_the_session_clock_never_runs_backwards(live):
    live.room.start_clock(live.now.mono_us - 3_000_000)
    live.do(Pause("ann", "rest"))
    assert live.room.session_clock_us(live.now) == 3_010_000
    earlier = Moment(live.now.mono_us - 2_000_000, live.now.wall)
    assert live.room.session_clock_us(earlier) == 3_010_000


def test_a_replayed_room_goes_on_from_wall_time_until_its_clock_is_started(live):
    room = live.replayed()
    elsewhere = Moment(77, live.now.wall)
    assert room.session_clock_us(elsewhere) == live.room.session_clock_us(live.now) == 10_000
    room.start_clock(77 - 20_000)
    assert room.session_clock_us(elsewhere) == 20_000


# --- a store that cannot be true -------------------------------------------------------------


def at(held, cls, **fields):
    return cls(wall=held.now.wall, t_us=None, **fields)


def test_events_out_of_order_are_refused(held):
    held.go_live()
    room = Room(held.session)
    with pytest.raises(EventMalformed, match="session_live while scheduled"):
        room.apply(at(held, SessionLive, copies=1))


def test_a_record_that_was_left_out_is_noticed(live):
    lines = [line for line in live.stored if "session_opening" not in line]
    assert len(lines) == len(live.stored) - 1
    live.stored = lines
    with pytest.raises(EventMalformed):
        live.replayed()


def test_events_about_strangers_are_refused(live):
    for cls in (ParticipantDisconnected, ParticipantLeft):
        with pytest.raises(EventMalformed):
            live.room.apply(at(live, cls, participant_id="eve"))


def test_events_about_tracks_that_are_not_there_are_refused(live):
    for who, track_id in (("ann", "cam-7"), ("ann", "cam-2")):
        with pytest.raises(EventMalformed):
            live.room.apply(at(live, TrackUnpublished, track_id=track_id, participant_id=who))
        with pytest.raises(EventMalformed):
            event = at(live, TrackMuted, track_id=track_id, participant_id=who, muted=True)
            live.room.apply(event)


def test_an_id_that_changes_hands_is_refused(live):
    live.do(Unpublish("ann", "cam-1"))
    published = at(
        live,
        TrackPublished,
        track_id="cam-1",
        participant_id="ann",
        source=Source.CAMERA,
        codec=Codec.H264,
    )
    for change in ({"participant_id": "sub"}, {"codec": Codec.VP8}):
        with pytest.raises(EventMalformed):
            live.room.apply(replace(published, **change))
    live.room.apply(published)


def test_reconnecting_keeps_tracks_and_presence(live):
    live.do(Disconnect("sub", "c-sub"))
    assert "sub" in live.room.present
    assert [track.track_id for track in live.room.published("sub")] == ["cam-2", "mic-2"]
    live.do(Publish("ann", "evidence_display", "VP8"))
    assert live.room.track("evidence-1").codec is Codec.VP8
