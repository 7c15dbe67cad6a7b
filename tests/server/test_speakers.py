"""Who is speaking, from levels: latency, coughs, pauses, contests; and who is told."""

from __future__ import annotations

from datetime import UTC, datetime
from itertools import pairwise
from types import SimpleNamespace
from typing import Any, cast

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from rooms.commands import Command, Disconnect, Join, Publish, SetMuted
from rooms.moment import Moment
from rooms.roles import Role
from rooms.room import Room
from rooms.session import Assignment, Session, SessionKind
from server.member import Member
from server.speakers import BEGIN, HOLD_NS, LOUD, SAMPLE_S, SILENCE_NS, Speakers, Speaking

SAMPLE_NS = round(SAMPLE_S * 1e9)
SPEECH, NOISE = 30, 75

Heard = dict[str, int | None]


class Meeting:
    """Samples of somebody's levels, one after the other."""

    def __init__(self) -> None:
        self.speakers = Speakers()
        self.now_ns = 0

    def sample(self, **levels: int | None) -> str | None:
        self.now_ns += SAMPLE_NS
        return self.speakers.take(levels, self.now_ns)

    def samples(self, count: int, **levels: int | None) -> list[str | None]:
        return [self.sample(**levels) for _ in range(count)]


def test_who_speaks_is_the_speaker_within_a_second() -> None:
    meeting = Meeting()
    meeting.samples(10, ann=NOISE, sub=NOISE)
    assert meeting.samples(BEGIN, ann=NOISE, sub=SPEECH) == [None, None, None, "sub"]
    assert BEGIN * SAMPLE_S < 1.0


@pytest.mark.parametrize("level", [0, 20, LOUD])
def test_a_cough_changes_nothing(level: int) -> None:
    meeting = Meeting()
    meeting.samples(10, ann=SPEECH, sub=NOISE)
    for ann in (SPEECH, NOISE):
        told = [*meeting.samples(3, ann=ann, sub=level), *meeting.samples(5, ann=ann, sub=NOISE)]
        assert set(told) == {"ann"}


def test_pauses_between_words_do_not_end_a_speaker() -> None:
    meeting = Meeting()
    meeting.samples(8, ann=SPEECH, sub=NOISE)
    for _ in range(5):
        assert set(meeting.samples(6, ann=NOISE, sub=NOISE)) == {"ann"}
        assert set(meeting.samples(2, ann=SPEECH, sub=NOISE)) == {"ann"}


def test_nobody_speaks_after_three_seconds_of_silence() -> None:
    meeting = Meeting()
    meeting.samples(8, ann=SPEECH, sub=NOISE)
    quiet = round(SILENCE_NS / SAMPLE_NS)
    assert set(meeting.samples(quiet - 1, ann=NOISE, sub=NOISE)) == {"ann"}
    assert meeting.sample(ann=NOISE, sub=NOISE) is None


def test_an_answer_takes_over_once_the_question_has_ended() -> None:
    meeting = Meeting()
    meeting.samples(20, ann=SPEECH, sub=NOISE)
    told = meeting.samples(10, ann=NOISE, sub=SPEECH)
    assert told.index("sub") * SAMPLE_S <= 1.4
    assert set(told[told.index("sub") :]) == {"sub"}


def test_who_talks_against_the_speaker_has_to_be_clearly_louder() -> None:
    meeting = Meeting()
    meeting.samples(20, ann=40, sub=NOISE)
    assert set(meeting.samples(30, ann=40, sub=36)) == {"ann"}
    assert meeting.samples(12, ann=40, sub=28)[-1] == "sub"


def test_very_loud_is_no_louder_than_loud() -> None:
    meeting = Meeting()
    meeting.samples(20, ann=22, sub=NOISE)
    assert set(meeting.samples(30, ann=22, sub=0)) == {"ann"}


def test_who_is_muted_or_gone_stops_being_the_speaker_at_once() -> None:
    meeting = Meeting()
    meeting.samples(4, ann=SPEECH, sub=NOISE)
    assert meeting.sample(sub=NOISE) is None
    assert set(meeting.samples(3, ann=SPEECH, sub=NOISE)) == {None}, "and begins anew"


def test_a_sender_that_tells_no_level_is_never_the_speaker() -> None:
    meeting = Meeting()
    assert set(meeting.samples(30, ann=None)) == {None}


def test_of_two_who_begin_together_the_first_seat_speaks() -> None:
    assert Meeting().samples(BEGIN, ann=SPEECH, sub=SPEECH)[-1] == "ann"


LEVEL = st.one_of(st.none(), st.integers(0, 127), st.sampled_from([SPEECH, NOISE]))
PERSON = st.sampled_from(["ann", "ben", "sub"])
COURSE = st.lists(
    st.tuples(st.dictionaries(PERSON, LEVEL), st.integers(1, 12)), min_size=1, max_size=30
)
"""What is heard, and for how many samples."""


@given(COURSE)
@settings(deadline=None)
def test_whatever_is_heard(course: list[tuple[Heard, int]]) -> None:
    meeting, told, at = Meeting(), list[str | None](), list[int]()
    heard: list[Heard] = [levels for levels, count in course for _ in range(count)]
    for levels in heard:
        speaker = meeting.sample(**levels)
        assert speaker is None or speaker in levels
        told.append(speaker)
    for n, (before, after) in enumerate(pairwise(told), 1):
        if before == after:
            continue
        at.append(n)
        if after is not None:
            loud = [(level := levels.get(after)) is not None and level <= LOUD for levels in heard]
            assert sum(loud[max(n - 7, 0) : n + 1]) >= BEGIN
            begun = [m for m in at[:-1] if (n - m) * SAMPLE_NS < HOLD_NS]
            assert not begun, "no two speakers within the least time"


@given(COURSE)
@settings(deadline=None)
def test_whatever_was_heard_before_one_who_speaks_alone_is_heard(
    course: list[tuple[Heard, int]],
) -> None:
    meeting = Meeting()
    for levels, count in course:
        meeting.samples(count, **levels)
    others = dict.fromkeys(("ann", "ben"), NOISE)
    assert meeting.samples(20, **others, sub=SPEECH)[-1] == "sub"
    assert meeting.samples(40, **others, sub=NOISE)[-1] is None


class Link:
    """Stands for a person's signalling connection, and keeps what is sent."""

    receives = True

    def __init__(self, name: str) -> None:
        self.id = name
        self.told: list[str | None] = []

    def send(self, message: dict[str, Any]) -> None:
        assert message["type"] == "speaker"
        self.told.append(message["participant_id"])


class Scene:
    """A real room with four people, of whom all but the observer have a microphone."""

    def __init__(self) -> None:
        names = {
            "ann": Role.QUESTIONER,
            "ben": Role.CLERK,
            "sub": Role.SUBJECT,
            "obi": Role.OBSERVER,
        }
        seats = tuple(Assignment(name, name, role, None, None) for name, role in names.items())
        booked = datetime(2026, 11, 23, tzinfo=UTC)
        self.room = Room(
            Session("s1", "A-1", SessionKind.HEARING, "T", booked, "room-1", (), seats)
        )
        self.now_ns = 0
        self.levels = dict.fromkeys(("mic-1", "mic-2", "mic-3"), NOISE)
        ups = {one: SimpleNamespace(loudness=lambda o=one: self.levels[o]) for one in self.levels}
        self.members: dict[str, Member] = {}
        self.links = {}
        for name in names:
            self.do(Join(name, f"c-{name}"))
            self.members[name] = Member(name)
            self.links[name] = self.attach(name, f"c-{name}")
        for name in ("ann", "ben", "sub"):
            self.do(Publish(name, "microphone", "opus"))
        self.speaking = Speaking(self.room, cast(Any, ups), self.members)

    def attach(self, name: str, connection_id: str) -> Link:
        link = Link(connection_id)
        self.members[name].connection = cast(Any, link)
        return link

    def do(self, command: Command) -> None:
        for event in self.room.handle(command, Moment(self.now_ns // 1000, datetime.now(UTC))):
            self.room.apply(event)

    def pass_s(self, seconds: float) -> None:
        for _ in range(round(seconds / SAMPLE_S)):
            self.now_ns += SAMPLE_NS
            self.speaking.sample(self.now_ns)

    def told(self) -> dict[str, list[str | None]]:
        return {name: link.told for name, link in self.links.items()}


def test_everybody_is_told_once_and_told_of_silence() -> None:
    scene = Scene()
    scene.levels["mic-3"] = SPEECH
    scene.pass_s(4)
    assert scene.told() == {name: ["sub"] for name in scene.links}
    scene.levels["mic-3"] = NOISE
    scene.pass_s(8)
    assert scene.told() == {name: ["sub", None] for name in scene.links}


def test_the_muted_are_never_the_speaker() -> None:
    scene = Scene()
    scene.do(SetMuted("ben", "mic-2", True))
    scene.levels["mic-2"] = SPEECH
    scene.pass_s(4)
    assert scene.told()["ann"] == []
    scene.do(SetMuted("ben", "mic-2", False))
    scene.pass_s(2)
    scene.do(SetMuted("ben", "mic-2", True))
    scene.pass_s(0.2)
    assert scene.told()["ann"] == ["ben", None]


def test_who_may_not_hear_a_track_is_not_told_of_it(monkeypatch: pytest.MonkeyPatch) -> None:
    scene = Scene()
    monkeypatch.setattr(scene.room, "audience", lambda track_id: frozenset({"ben"}))
    scene.levels["mic-1"] = SPEECH
    scene.pass_s(4)
    assert scene.told() == {"ann": ["ann"], "ben": ["ann"], "sub": [], "obi": []}


def test_who_comes_back_is_told_who_speaks_now() -> None:
    scene = Scene()
    scene.levels["mic-1"] = SPEECH
    scene.pass_s(2)
    scene.do(Disconnect("ben", "c-ben"))
    scene.members["ben"].connection = None
    scene.pass_s(1)
    scene.do(Join("ben", "c-ben-2"))
    scene.links["ben"] = scene.attach("ben", "c-ben-2")
    scene.pass_s(1)
    assert scene.told()["ben"] == ["ann"]
