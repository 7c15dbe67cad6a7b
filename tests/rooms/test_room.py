"""What the server asks a room, and the invariants under any sequence of commands."""

import copy
import json
from datetime import UTC, datetime, timedelta

import pytest
from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, rule

from rooms import commands as co
from rooms.errors import REGISTRY, TingxunError, TrackUnknown
from rooms.events import from_record, to_record
from rooms.media import Source
from rooms.moment import Moment
from rooms.phases import ENDED, TRANSITIONS, PauseReason, Phase
from rooms.roles import MATRIX, SOURCES, Permission, Role
from rooms.room import Room
from rooms.session import Assignment, Session, SessionKind

CASE = "A-2026-0137"


def test_the_snapshot_is_the_state_of_the_protocol(live):
    live.do(co.SetMuted("sub", "mic-2", True), co.Disconnect("sub", "c-sub"))
    live.room.set_recorded(1234)
    live.do(co.Pause("ann", "lawyer_request", "at 15:00"))
    state = live.room.snapshot(live.now)
    assert json.loads(json.dumps(state)) == state
    people = state.pop("participants")
    assert state == {
        "phase": "paused",
        "t_us": 40_000,
        "wall": "2026-11-23T14:00:00.233Z",
        "pause_reason": "lawyer_request",
        "recording": {"state": "paused", "recorded_ms": 1234, "copies": 2, "reason": None},
        "live_since": "2026-11-23T14:00:00.203Z",
    }
    assert [person["id"] for person in people] == ["ann", "ben", "cat", "sub", "ida", "obi"]
    assert people[1]["present"] == "no" and people[1]["tracks"] == []
    assert people[3] == {
        "id": "sub",
        "name": "Subject",
        "role": "subject",
        "site_id": "detention",
        "site_name": "Detention site",
        "present": "reconnecting",
        "away_since": "2026-11-23T14:00:00.223Z",
        "tracks": [
            {"track_id": "cam-2", "source": "camera", "codec": "H264", "muted": False},
            {"track_id": "mic-2", "source": "microphone", "codec": "opus", "muted": True},
        ],
    }


def test_the_reason_of_a_pause_is_shown_until_the_session_is_live_again(live):
    def shown():
        return live.room.snapshot(live.now)["pause_reason"]

    live.do(co.Pause("ann", "meal"), co.Resume("ann"))
    assert shown() == "meal"
    live.do(co.ConfirmRecording(1))
    assert shown() is None
    live.do(co.Pause("ann", "rest"), co.Close("ann", CASE))
    assert shown() is None


def test_before_opening_there_is_no_session_clock(held):
    state = held.room.snapshot(held.now)
    assert state["phase"] == "scheduled"
    assert state["t_us"] is state["live_since"] is state["pause_reason"] is None


def test_the_audience_is_everybody_else_in_the_room(live):
    live.do(co.Join("obi", "c-obi"), co.Join("ida", "c-ida"), co.Disconnect("ida", "c-ida"))
    assert live.room.audience("cam-2") == {"ann", "obi", "ida"}
    assert live.room.audience("mic-1") == {"sub", "obi", "ida"}
    live.do(co.Expire("ida"), co.Unpublish("sub", "cam-2"))
    assert live.room.audience("mic-1") == {"sub", "obi"}
    assert live.room.audience("cam-2") == frozenset()
    with pytest.raises(TrackUnknown):
        live.room.audience("cam-3")


def test_nothing_is_forwarded_that_is_not_recorded_any_more(live):
    live.do(co.Close("ann", CASE))
    assert live.room.audience("cam-2") == frozenset()


def test_permissions_follow_the_role(live):
    assert live.room.may("ann", Permission.CLOSE)
    assert not live.room.may("ben", Permission.CLOSE)
    assert not live.room.may("eve", Permission.SUBSCRIBE)


def test_connections_and_tracks_of_those_who_are_not_there(held):
    assert held.room.connection("ann") is None and held.room.connection("eve") is None
    held.do(co.Join("ann", "c1"))
    assert held.room.connection("ann") == "c1"
    with pytest.raises(TrackUnknown):
        held.room.track("cam-1")


def test_a_room_is_replayed_from_its_records(live):
    live.do(co.Pause("ann", "other", "fire alarm"), co.Leave("sub"), co.Resume("ann"))
    assert live.replayed().snapshot(live.now) == live.room.snapshot(live.now)


# --- any sequence of commands ----------------------------------------------------------------

PEOPLE = {
    "ann": Role.QUESTIONER,
    "ben": Role.SECOND_OFFICER,
    "sub": Role.SUBJECT,
    "obi": Role.OBSERVER,
}
WHO = st.sampled_from([*PEOPLE, *PEOPLE, "ann", "ann", "eve"])
CONNECTION = st.sampled_from(["c1", "c2", "c 3"])
TRACK = st.sampled_from(["cam-1", "cam-2", "mic-1", "mic-2", "evidence-1", "nonsense"])
NOTE = st.sampled_from(["", "a note", "\x00", "x" * 501])
START = datetime(2026, 11, 23, 14, tzinfo=UTC)


class AnyRoom(RuleBasedStateMachine):
    """Random commands, in any order, by anyone; the invariants hold after each."""

    def __init__(self):
        super().__init__()
        self.session = Session(
            "s1",
            CASE,
            SessionKind.INTERROGATION,
            "t",
            START,
            "r1",
            (),
            tuple(Assignment(who, who, role, None, None) for who, role in PEOPLE.items()),
        )
        self.room = Room(self.session, max_tracks_per_participant=3)
        self.elapsed_ms = 0
        self.stored = []

    @property
    def now(self):
        wall = START + timedelta(milliseconds=self.elapsed_ms)
        return Moment(900 + self.elapsed_ms * 1000, wall)

    def ask(self, command):
        """Judge, check, store, apply."""
        before = self.room.snapshot(self.now)
        inside = copy.deepcopy(vars(self.room._state))
        try:
            events = self.room.handle(command, self.now)
        except TingxunError as error:
            events = []
            assert REGISTRY[error.code] is type(error)
        assert self.room.snapshot(self.now) == before
        assert vars(self.room._state) == inside
        for event in events:
            record = json.dumps(to_record(event))
            assert from_record(json.loads(record)) == event
            phase = self.room.phase
            self.room.apply(event)
            self.stored.append(record)
            assert TRANSITIONS[event.type][phase] is self.room.phase
            assert (phase in ENDED) <= (self.room.phase in ENDED)
            assert (
                event.t_us is None
                or event.t_us <= (self.room.session_clock_us(self.now) or 0)
                or event.type == "recording_failed"
            )
        return events

    def by_participant(self, command):
        """A participant's command never takes a running recording away but by pause or close."""
        before = self.room.recording.state
        types = {event.type for event in self.ask(command)}
        if before != self.room.recording.state:
            assert PEOPLE[command.participant_id] is Role.QUESTIONER
            assert types <= {
                "session_opening",
                "session_paused",
                "session_resuming",
                "session_closing",
            }
            assert self.room.recording.state != "recording"

    @rule(ms=st.integers(0, 5000))
    def time_passes(self, ms):
        self.elapsed_ms += ms

    @rule(who=WHO, connection=CONNECTION)
    def join(self, who, connection):
        self.by_participant(co.Join(who, connection))

    @rule(who=WHO, connection=CONNECTION)
    def disconnect(self, who, connection):
        self.by_participant(co.Disconnect(who, connection))

    @rule(who=WHO, how=st.sampled_from([co.Expire, co.Leave]))
    def go(self, who, how):
        self.by_participant(how(who))

    @rule(
        who=WHO,
        source=st.sampled_from([*Source, "hologram"]),
        codec=st.sampled_from(["H264", "H264", "VP8", "opus", "opus", "AV1"]),
    )
    def publish(self, who, source, codec):
        self.by_participant(co.Publish(who, source, codec))

    @rule(who=WHO, track=TRACK, muted=st.none() | st.booleans())
    def change_track(self, who, track, muted):
        command = co.Unpublish(who, track) if muted is None else co.SetMuted(who, track, muted)
        self.by_participant(command)

    @rule(who=WHO)
    def open(self, who):
        self.by_participant(co.Open(who))

    @initialize(come=st.booleans())
    def people_come(self, come):
        for who in ("ann", "sub") if come else ():
            self.by_participant(co.Join(who, "c1"))
            self.by_participant(co.Publish(who, "camera", "H264"))

    def next_steps(self):
        """Return the commands that lead on from here, so that every phase is reached often."""
        recording = self.room.recording.state
        if self.room.phase is Phase.CLOSING:
            return [co.FinishClosing(), co.FailRecording("disk_full")]
        if self.room.phase is Phase.CLOSED:
            return [co.Seal("s1", "0" * 64)]
        if recording == "starting":
            return [co.ConfirmRecording(2), co.FailRecording("disk_full")]
        return {
            Phase.WAITING: [co.Open("ann")],
            Phase.LIVE: [
                co.Pause("ann", "rest"),
                co.Close("ann", CASE),
                co.StallRecording(),
                co.RestoreRecording(),
                co.ReplaceRecorder("killed"),
                co.FailRecording("disk_full"),
                co.Interrupt("server"),
            ],
            Phase.PAUSED: [co.Resume("ann"), co.Close("ann", CASE), co.Interrupt("server")],
        }.get(self.room.phase, [co.Join("ann", "c1")])

    @rule(data=st.data(), back=st.booleans())
    def the_session_goes_on(self, data, back):
        if back:
            self.by_participant(co.Join("ann", "c1"))
            self.by_participant(co.Join("sub", "c1"))
        self.ask(data.draw(st.sampled_from(self.next_steps())))

    @rule(data=st.data())
    def the_session_goes_on_again(self, data):
        self.the_session_goes_on(data, True)

    @rule(who=WHO, reason=st.sampled_from([*PauseReason, "coffee"]), note=NOTE)
    def pause(self, who, reason, note):
        self.by_participant(co.Pause(who, reason, note))

    @rule(who=WHO)
    def resume(self, who):
        self.by_participant(co.Resume(who))

    @rule(who=WHO, number=st.sampled_from(["", "x", "y", CASE]))
    def close(self, who, number):
        self.by_participant(co.Close(who, number))

    @rule(who=WHO, text=NOTE)
    def mark(self, who, text):
        self.by_participant(co.Mark(who, text))

    @rule(
        command=st.sampled_from(
            [
                co.ConfirmRecording(1),
                co.ConfirmRecording(2),
                co.ConfirmRecording(0),
                co.StallRecording(),
                co.RestoreRecording(),
                co.ReplaceRecorder("killed"),
                co.FailRecording("disk_full"),
                co.FailRecording("no code"),
                co.FinishClosing(),
                co.Seal("s1", "0" * 64),
                co.Seal("s1", "short"),
            ]
        )
    )
    def server_says(self, command):
        self.ask(command)

    @invariant()
    def replay_gives_the_same_room(self):
        again = Room(self.session, max_tracks_per_participant=3)
        for record in self.stored:
            again.apply(from_record(json.loads(record)))
        assert again.snapshot(self.now) == self.room.snapshot(self.now)
        assert vars(again._state) == vars(self.room._state)

    @invariant()
    def tracks_go_only_to_others_who_are_there(self):
        state = self.room.snapshot(self.now)
        there = {person["id"] for person in state["participants"] if person["present"] != "no"}
        assert self.room.present == there
        for track in self.room.published():
            audience = self.room.audience(track.track_id)
            assert audience <= there - {track.participant_id}
            assert all(Permission.SUBSCRIBE in MATRIX[PEOPLE[who]] for who in audience)

    @invariant()
    def what_is_published_may_be(self):
        tracks = self.room.published()
        slots = [(track.participant_id, track.source) for track in tracks]
        assert len(slots) == len(set(slots))
        for who, role in PEOPLE.items():
            mine = self.room.published(who)
            assert len(mine) <= 3 and {track.source for track in mine} <= SOURCES[role]
            if who not in self.room.present:
                assert mine == []

    @invariant()
    def the_lamp_belongs_to_the_phase(self):
        allowed = {
            Phase.SCHEDULED: {"off"},
            Phase.WAITING: {"off", "starting", "failed"},
            Phase.LIVE: {"recording", "stalled", "failed"},
            Phase.PAUSED: {"paused", "starting", "failed"},
            Phase.CLOSING: {"sealing", "failed"},
            Phase.CLOSED: {"sealing", "failed"},
            Phase.SEALED: {"sealed"},
        }
        recording = self.room.recording
        assert recording.state in allowed[self.room.phase]
        assert (recording.reason is not None) == (recording.state == "failed")


TestAnyRoom = AnyRoom.TestCase
TestAnyRoom.settings = settings(max_examples=120, stateful_step_count=40, deadline=None)
