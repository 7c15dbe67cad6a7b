"""The rules, command by command; what the events then do is in test_state and test_room."""

from dataclasses import replace

import pytest

from rooms import errors
from rooms.commands import (
    Close,
    ConfirmRecording,
    Disconnect,
    Expire,
    FailRecording,
    FinishClosing,
    Interrupt,
    Join,
    Leave,
    Mark,
    Open,
    Pause,
    Publish,
    ReplaceRecorder,
    RestoreRecording,
    Resume,
    Seal,
    SetMuted,
    StallRecording,
    TakeOver,
    Unpublish,
)
from rooms.errors import IllegalPhase
from rooms.phases import PauseReason, Phase, RecordingState

SHA = "ab" * 32
CASE = "A-2026-0137"


# --- presence --------------------------------------------------------------------------------


def test_joining_opens_the_waiting_phase_and_says_who_came(held):
    (event,) = held.do(Join("ann", "c1"))
    assert held.room.phase is Phase.WAITING
    assert (event.name, event.role, event.site_id, event.site_name, event.connection_id) == (
        "安警官",
        "questioner",
        "north",
        "North station",
        "c1",
    )
    assert event.t_us is None and event.wall == held.now.wall


@pytest.mark.parametrize(
    "command",
    [Join("eve", "c1"), Leave("eve"), Disconnect("eve", "c1"), Expire("eve"), Open("eve")],
)
def test_the_unassigned_can_do_nothing(held, command):
    with pytest.raises(errors.NotAssigned):
        held.do(command)


@pytest.mark.parametrize(
    "command",
    [
        Leave("ann"),
        Publish("ann", "camera", "H264"),
        Unpublish("ann", "cam-1"),
        SetMuted("ann", "cam-1", True),
        Open("ann"),
        Pause("ann", "rest"),
        Resume("ann"),
        Close("ann", CASE),
        Mark("ann", "x"),
    ],
)
def test_who_has_not_joined_can_only_join(held, command):
    with pytest.raises(errors.NotJoined):
        held.do(command)


def test_the_newest_connection_counts(held):
    held.do(Join("ann", "c1"))
    assert held.do(Join("ann", "c1")) == []
    assert held.types(Join("ann", "c2")) == ["participant_returned"]
    assert held.do(Disconnect("ann", "c1")) == []
    assert held.room.connection("ann") == "c2"
    assert held.types(Disconnect("ann", "c2")) == ["participant_disconnected"]
    assert held.do(Disconnect("ann", "c2")) == []


def test_a_lost_connection_may_come_back_under_any_name(held):
    held.do(Join("ann", "c1"), Disconnect("ann", "c1"))
    assert held.types(Join("ann", "c1")) == ["participant_returned"]
    assert held.do(Expire("ann")) == []
    assert held.types(Disconnect("ann", "c1")) == ["participant_disconnected"]


def test_when_the_grace_is_over_the_tracks_go_first(live):
    live.do(Disconnect("sub", "c-sub"))
    events = live.do(Expire("sub"))
    assert [(event.type, getattr(event, "track_id", None)) for event in events] == [
        ("track_unpublished", "cam-2"),
        ("track_unpublished", "mic-2"),
        ("participant_left", None),
    ]
    assert live.do(Expire("sub")) == []
    assert live.types(Join("sub", "c9")) == ["participant_joined"]


def test_leaving_needs_no_grace(live):
    assert live.types(Leave("ann"))[-1] == "participant_left"
    with pytest.raises(errors.NotJoined):
        live.do(Leave("ann"))


def test_a_connection_id_must_be_storable(held):
    with pytest.raises(errors.FieldInvalid):
        held.do(Join("ann", "c 1"))


def test_nobody_joins_a_session_that_is_over(live):
    live.do(Disconnect("sub", "c-sub"), Close("ann", CASE))
    # Who was in it may still come back to see it closed properly; who was not may not come.
    live.do(Join("sub", "c2"))
    with pytest.raises(errors.SessionClosed):
        live.do(Join("ben", "c3"))
    live.do(FinishClosing())
    with pytest.raises(errors.SessionClosed):
        live.do(Join("sub", "c4"))
    live.do(Seal("s1", SHA))
    with pytest.raises(errors.SessionClosed):
        live.do(Join("ann", "c5"))
    assert live.types(Leave("ann"))[-1] == "participant_left"


# --- tracks ----------------------------------------------------------------------------------


def test_track_ids_are_numbered_by_source_in_order_of_publication(held):
    held.fill()
    ids = [track.track_id for track in held.room.published()]
    assert ids == ["cam-1", "mic-1", "cam-2", "mic-2"]


def test_a_track_keeps_its_id_while_a_new_codec_is_a_new_track(held):
    held.fill().do(Unpublish("ann", "cam-1"))
    (event,) = held.do(Publish("ann", "camera", "VP8"))
    assert event.track_id == "cam-3"
    held.do(Unpublish("ann", "cam-3"))
    (event,) = held.do(Publish("ann", "camera", "H264"))
    assert event.track_id == "cam-1"
    held.do(Leave("ann"), Join("ann", "c2"))
    (event,) = held.do(Publish("ann", "camera", "H264"))
    assert event.track_id == "cam-1"


def test_one_track_for_each_source_of_a_person(held):
    held.fill()
    for codec in ("H264", "VP8"):
        with pytest.raises(errors.AlreadyPublishing):
            held.do(Publish("ann", "camera", codec))


def test_the_number_of_tracks_is_bounded(hold):
    held = hold(max_tracks=2).fill()
    with pytest.raises(errors.TooManyTracks):
        held.do(Publish("ann", "wide_camera", "H264"))
    held.do(Unpublish("ann", "mic-1"), Publish("ann", "wide_camera", "H264"))


@pytest.mark.parametrize(
    ("who", "source", "codec", "error"),
    [
        ("obi", "camera", "H264", errors.NotPermitted),
        ("sub", "evidence_display", "H264", errors.NotPermitted),
        ("ann", "hologram", "H264", errors.FieldInvalid),
        ("ann", "camera", "AV1", errors.CodecUnsupported),
        ("ann", "camera", "opus", errors.CodecUnsupported),
        ("ann", "microphone", "H264", errors.CodecUnsupported),
    ],
)
def test_what_may_not_be_published(held, who, source, codec, error):
    held.do(Join(who, "c1"))
    with pytest.raises(error):
        held.do(Publish(who, source, codec))


def test_tracks_belong_to_those_who_publish_them(live):
    for command in (Unpublish("ann", "cam-2"), SetMuted("ann", "cam-2", True)):
        with pytest.raises(errors.NotPermitted):
            live.do(command)
    for command in (Unpublish("ann", "cam-9"), SetMuted("ann", "cam-9", True)):
        with pytest.raises(errors.TrackUnknown):
            live.do(command)
    live.do(Unpublish("ann", "cam-1"))
    with pytest.raises(errors.TrackUnknown):
        live.do(Unpublish("ann", "cam-1"))


def test_muting_twice_is_once(live):
    assert live.types(SetMuted("sub", "mic-2", True)) == ["track_muted"]
    assert live.do(SetMuted("sub", "mic-2", True)) == []
    assert live.types(SetMuted("sub", "mic-2", False)) == ["track_muted"]


def test_media_that_ends_while_its_owner_reconnects_is_taken_back(live):
    live.do(Disconnect("sub", "c-sub"))
    assert live.types(Unpublish("sub", "cam-2")) == ["track_unpublished"]
    with pytest.raises(errors.NotJoined):
        live.do(Publish("sub", "camera", "H264"))


def test_nothing_is_published_once_the_session_is_closing(live):
    live.do(Unpublish("ann", "cam-1"), Close("ann", CASE))
    with pytest.raises(errors.IllegalPhase):
        live.do(Publish("ann", "camera", "H264"))
    with pytest.raises(errors.IllegalPhase):
        live.do(SetMuted("ann", "mic-1", True))
    assert live.types(Unpublish("ann", "mic-1")) == ["track_unpublished"]


# --- the session -----------------------------------------------------------------------------


def test_opening_needs_the_subject_and_something_to_record(held):
    held.do(Join("ann", "c1"))
    with pytest.raises(errors.ParticipantsMissing):
        held.do(Open("ann"))
    held.do(Join("sub", "c2"))
    with pytest.raises(errors.NothingToRecord):
        held.do(Open("ann"))
    held.do(Publish("sub", "microphone", "opus"), Disconnect("sub", "c2"))
    with pytest.raises(errors.ParticipantsMissing):
        held.do(Open("ann"))
    held.do(Join("sub", "c3"))
    assert held.types(Open("ann")) == ["session_opening"]


def test_a_session_without_a_subject_can_open(hold, booked):
    held = hold(assignments=booked.assignments[:2])
    held.do(Join("ann", "c1"), Publish("ann", "camera", "VP8"))
    assert held.types(Open("ann")) == ["session_opening"]


def test_one_of_several_subjects_is_enough(hold, booked):
    second = replace(booked.assignment("sub"), participant_id="sub2")
    held = hold(assignments=(*booked.assignments, second)).fill()
    assert held.types(Open("ann")) == ["session_opening"]


def test_opening_twice_is_refused(held):
    held.fill().do(Open("ann"))
    with pytest.raises(errors.IllegalPhase):
        held.do(Open("ann"))
    held.do(ConfirmRecording(1))
    with pytest.raises(errors.IllegalPhase):
        held.do(Open("ann"))


@pytest.mark.parametrize("who", ["ben", "cat", "sub", "ida", "obi"])
def test_only_the_questioner_opens_pauses_resumes_and_closes(held, who):
    held.fill()
    if who != "sub":
        held.do(Join(who, "c1"))
    with pytest.raises(errors.NotPermitted):
        held.do(Open(who))
    held.do(Open("ann"), ConfirmRecording(1))
    for command in (Pause(who, "rest"), Close(who, CASE)):
        with pytest.raises(errors.NotPermitted):
            held.do(command)
    held.do(Pause("ann", "rest"))
    for command in (Resume(who), Close(who, CASE)):
        with pytest.raises(errors.NotPermitted):
            held.do(command)


@pytest.mark.parametrize("command", [Pause("ann", "rest"), Resume("ann"), Close("ann", CASE)])
def test_what_cannot_be_done_before_opening(held, command):
    held.fill()
    with pytest.raises(errors.IllegalPhase):
        held.do(command)


@pytest.mark.parametrize("reason", PauseReason)
def test_a_pause_has_a_reason(live, reason):
    (event,) = live.do(Pause("ann", str(reason), " a note "))
    assert (event.reason, event.note) == (reason, "a note")


@pytest.mark.parametrize(
    ("reason", "note", "error"),
    [
        ("", "", errors.FieldInvalid),
        ("coffee", "", errors.FieldInvalid),
        ("other", "", errors.NoteMissing),
        ("other", " \n", errors.NoteMissing),
        ("rest", "x" * 501, errors.FieldInvalid),
        ("rest", "a\x00b", errors.FieldInvalid),
    ],
)
def test_pauses_that_are_refused(live, reason, note, error):
    with pytest.raises(error):
        live.do(Pause("ann", reason, note))
    assert live.room.phase is Phase.LIVE


def test_pause_and_resume_once_each(live):
    live.do(Pause("ann", "meal"))
    with pytest.raises(errors.IllegalPhase):
        live.do(Pause("ann", "meal"))
    live.do(Resume("ann"))
    with pytest.raises(errors.IllegalPhase):
        live.do(Resume("ann"))
    assert live.room.phase is Phase.PAUSED
    assert live.types(ConfirmRecording(2)) == ["session_resumed"]
    with pytest.raises(errors.IllegalPhase):
        live.do(Resume("ann"))


@pytest.mark.parametrize("typed", ["", "a-2026-0137", " A-2026-0137", "A-2026-0137 ", "A-2026-013"])
def test_closing_needs_the_case_number_exactly(live, typed):
    with pytest.raises(errors.CaseNumberMismatch):
        live.do(Close("ann", typed))
    assert live.room.phase is Phase.LIVE


@pytest.mark.parametrize(
    "steps", [[], [Pause("ann", "rest")], [Pause("ann", "rest"), Resume("ann")]]
)
def test_closing_is_final(live, steps):
    live.do(*steps)
    live.do(Close("ann", CASE))
    for step in (FinishClosing(), Seal("s1", SHA), None):
        for command in (
            Open("ann"),
            Resume("ann"),
            Pause("ann", "rest"),
            Close("ann", CASE),
            Mark("ann", "late"),
            ConfirmRecording(1),
        ):
            with pytest.raises(errors.IllegalPhase):
                live.do(command)
        if step:
            live.do(step)
    assert live.room.phase is Phase.SEALED


def test_markers(live):
    (event,) = live.do(Mark("ann", " shown exhibit 3 "))
    assert event.text == "shown exhibit 3" and event.t_us == 20_000
    for text in ("", "  ", "x" * 501, "a\x07"):
        with pytest.raises(errors.FieldInvalid):
            live.do(Mark("ann", text))
    with pytest.raises(errors.NotPermitted):
        live.do(Mark("sub", "note"))
    live.do(Pause("ann", "rest"), Mark("ann", "still possible"))


# --- the recording ---------------------------------------------------------------------------


@pytest.mark.parametrize(
    "command",
    [
        ConfirmRecording(1),
        ReplaceRecorder("killed"),
        FailRecording("disk_full"),
        Interrupt("server"),
        FinishClosing(),
    ],
)
def test_what_the_server_cannot_say_before_opening(held, command):
    held.fill()
    with pytest.raises(errors.IllegalPhase):
        held.do(command)


def test_a_confirmation_counts_once_and_not_after_a_failure(held):
    held.fill().do(Open("ann"), FailRecording("recorder_not_started"))
    with pytest.raises(errors.IllegalPhase):
        held.do(ConfirmRecording(1))
    held.do(Open("ann"))
    assert held.types(ConfirmRecording(1)) == ["session_live"]
    with pytest.raises(errors.IllegalPhase):
        held.do(ConfirmRecording(1))


def test_a_late_watchdog_is_no_error(held):
    assert held.do(StallRecording()) == []
    held.go_live()
    assert held.do(RestoreRecording()) == []
    assert held.types(StallRecording()) == ["recording_stalled"]
    assert held.do(StallRecording()) == []
    assert held.types(RestoreRecording()) == ["recording_restored"]
    held.do(Pause("ann", "rest"))
    assert held.do(StallRecording()) == held.do(RestoreRecording()) == []


def test_the_same_failure_is_reported_once(live):
    assert live.types(FailRecording("disk_full")) == ["recording_failed"]
    assert live.do(FailRecording("disk_full")) == []
    assert live.types(FailRecording("recorder_lost")) == ["recording_failed"]


def test_a_failure_is_never_lost_over_its_form(live):
    (event,) = live.do(FailRecording("Disk full!"))
    assert event.code == "internal"
    (event,) = live.do(ReplaceRecorder("signal 9\x00" + "x" * 600))
    assert event.cause.startswith("signal 9 x") and len(event.cause) == 500


@pytest.mark.parametrize("copies", [0, -1, 17, True])
def test_a_confirmation_of_no_copies_is_none(held, copies):
    held.fill().do(Open("ann"))
    with pytest.raises(errors.FieldInvalid):
        held.do(ConfirmRecording(copies))


@pytest.mark.parametrize(("archive_id", "root"), [("", SHA), ("a b", SHA), ("s1", "AB" * 32)])
def test_a_seal_names_an_archive_and_its_hash(live, archive_id, root):
    live.do(Close("ann", CASE), FinishClosing())
    with pytest.raises(errors.FieldInvalid):
        live.do(Seal(archive_id, root))


def test_the_order_of_closing(live):
    live.do(Close("ann", CASE))
    with pytest.raises(errors.IllegalPhase):
        live.do(Seal("s1", SHA))
    assert live.types(FinishClosing()) == ["session_closed"]
    assert live.do(FinishClosing()) == []
    assert live.types(Seal("s1", SHA)) == ["session_sealed"]


def test_another_server_goes_on_with_a_live_session(live):
    live.do(Disconnect("sub", "c-sub"))
    taken, *gone = live.do(TakeOver("signal 9", 5))
    assert (taken.type, taken.cause, taken.since_us) == ("session_taken_over", "signal 9", 5)
    assert [(one.type, one.participant_id) for one in gone] == [("participant_disconnected", "ann")]
    assert live.room.phase is Phase.LIVE
    assert live.room.recording.state is RecordingState.STALLED
    assert {track.track_id for track in live.room.published()} == {
        "cam-1",
        "mic-1",
        "cam-2",
        "mic-2",
    }
    assert live.types(RestoreRecording()) == ["recording_restored"]
    assert live.room.recording.state is RecordingState.RECORDING


def test_a_resumption_that_was_under_way_is_asked_anew_after_a_takeover(live):
    live.do(Pause("ann", "rest"), Resume("ann"), TakeOver("signal 9", 10**12))
    assert live.room.recording.state is RecordingState.PAUSED
    live.do(Join("ann", "c-2"))
    assert live.types(Resume("ann")) == ["session_resuming"]


def test_only_an_open_session_is_taken_over(held):
    with pytest.raises(IllegalPhase):
        held.do(TakeOver("signal 9", 0))
