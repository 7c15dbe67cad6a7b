import json
from dataclasses import fields
from datetime import UTC, datetime
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from rooms.errors import EventMalformed
from rooms.events import (
    EVENT_TYPES,
    MAX_COPIES,
    MAX_T_US,
    ParticipantJoined,
    SessionPaused,
    from_record,
    to_record,
)
from rooms.media import Codec, Source
from rooms.moment import whole_ms
from rooms.phases import PauseReason
from rooms.roles import Role

IDS = st.text("abcXYZ0189-_.:", min_size=1, max_size=128)
TEXTS = st.text(st.characters(exclude_categories=["Cc", "Cs"]), min_size=1, max_size=60)
VALUES: dict[str, st.SearchStrategy[Any]] = {
    "wall": st.datetimes(timezones=st.just(UTC)).map(whole_ms),
    "t_us": st.none() | st.integers(0, MAX_T_US),
    "since_us": st.integers(0, 2**53 - 1),
    "participant_id": IDS,
    "connection_id": IDS,
    "name": TEXTS,
    "role": st.sampled_from(Role),
    "site_id": st.none() | IDS,
    "site_name": st.none() | TEXTS,
    "track_id": st.from_regex(r"(cam|wide|mic|evidence|doc)-[1-9][0-9]?", fullmatch=True),
    "source": st.sampled_from(Source),
    "codec": st.sampled_from(Codec),
    "muted": st.booleans(),
    "copies": st.integers(1, MAX_COPIES),
    "reason": st.sampled_from(PauseReason),
    "note": st.just("") | TEXTS,
    "text": TEXTS,
    "archive_id": IDS,
    "root_sha256": st.text("0123456789abcdef", min_size=64, max_size=64),
    "cause": TEXTS,
    "code": st.from_regex(r"[a-z][a-z0-9_]{0,63}", fullmatch=True),
}
EVENTS = st.sampled_from(sorted(EVENT_TYPES)).flatmap(
    lambda name: st.builds(
        EVENT_TYPES[name],
        **{field.name: VALUES[field.name] for field in fields(EVENT_TYPES[name])},
    )
)
JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=5),
    lambda inner: st.lists(inner, max_size=2) | st.dictionaries(st.text(max_size=3), inner),
    max_leaves=3,
)

JOINED = ParticipantJoined(
    wall=datetime(2026, 11, 23, 14, 5, 7, 123_000, tzinfo=UTC),
    t_us=None,
    participant_id="ann",
    name="安警官",
    role=Role.QUESTIONER,
    site_id="north",
    site_name=None,
    connection_id="c1",
)


def test_a_record_is_flat_json_in_a_fixed_order():
    assert json.dumps(to_record(JOINED), ensure_ascii=False) == (
        '{"type": "participant_joined", "wall": "2026-11-23T14:05:07.123Z", "t_us": null, '
        '"participant_id": "ann", "name": "安警官", "role": "questioner", "site_id": "north", '
        '"site_name": null, "connection_id": "c1"}'
    )


@given(EVENTS)
def test_every_event_comes_back_from_its_json(event):
    record = to_record(event)
    assert {type(value) for value in record.values()} <= {str, int, bool, type(None)}
    assert from_record(json.loads(json.dumps(record).encode())) == event


@given(EVENTS, st.data())
def test_a_changed_record_is_refused_or_an_event_of_the_same_shape(event, data):
    record = to_record(event)
    record[data.draw(st.sampled_from(sorted(record)))] = data.draw(JSON)
    try:
        again = from_record(record)
    except EventMalformed:
        return
    assert to_record(again) == record


@given(EVENTS, st.data())
def test_a_missing_field_is_refused(event, data):
    record = to_record(event)
    del record[data.draw(st.sampled_from(sorted(record)))]
    with pytest.raises(EventMalformed):
        from_record(record)


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("type", "participant_entered"),
        ("type", ["participant_joined"]),
        ("extra", 1),
        ("wall", "2026-11-23T14:05:07Z"),
        ("wall", 7),
        ("t_us", -1),
        ("t_us", True),
        ("t_us", 1.0),
        ("t_us", 2**53),
        ("participant_id", "a b"),
        ("name", "x" * 201),
        ("name", "a\x00"),
        ("role", "judge"),
        ("site_id", ""),
    ],
)
def test_fields_out_of_their_limits_are_refused(name, value):
    with pytest.raises(EventMalformed):
        from_record({**to_record(JOINED), name: value})


def test_a_pause_may_have_no_note_but_never_no_reason():
    paused = SessionPaused(
        wall=JOINED.wall, t_us=1, participant_id="ann", reason=PauseReason.REST, note=""
    )
    assert from_record(to_record(paused)) == paused
    with pytest.raises(EventMalformed):
        from_record({**to_record(paused), "reason": ""})
