"""What a client may say, and how often."""

from __future__ import annotations

import json

import pytest
from hypothesis import given
from hypothesis import strategies as st

from rooms.errors import MessageMalformed, MessageTooFrequent, NotPermitted
from server import protocol


def test_a_whole_message_is_understood() -> None:
    message = protocol.parse(
        json.dumps(
            {
                "type": "publish",
                "id": "7",
                "peer": "p1",
                "sdp": "v=0",
                "tracks": [{"mid": "0", "source": "camera"}],
            }
        )
    )
    assert isinstance(message, protocol.Publish)
    assert message.tracks[0].source == "camera"


@pytest.mark.parametrize(
    "text",
    [
        "",
        "null",
        "[]",
        "{}",
        '{"type":"fly"}',
        '{"type":"hello"}',
        '{"type":"hello","version":1,"more":1}',
        '{"type":"mute","track_id":"mic-1","muted":"perhaps"}',
        '{"type":"publish","peer":"../x","sdp":"v=0","tracks":[]}',
        '{"type":"pause","reason":"boredom"}',
        '{"type":"mark","text":"' + "x" * 501 + '"}',
        "[" * 100_000,
    ],
)
def test_anything_else_is_refused_with_its_place(text: str) -> None:
    with pytest.raises(MessageMalformed) as refused:
        protocol.parse(text)
    assert len(refused.value.message) <= 300


@given(st.text(max_size=200) | st.binary(max_size=50).map(lambda b: b.decode("latin-1")))
def test_no_text_raises_anything_else(text: str) -> None:
    with pytest.raises(MessageMalformed):
        protocol.parse(text)


def test_the_pace_allows_a_burst_and_then_a_rate() -> None:
    pace = protocol.Pace(3, 2.0)
    for _ in range(3):
        pace.take(0.0)
    with pytest.raises(MessageTooFrequent):
        pace.take(0.0)
    pace.take(0.5)
    with pytest.raises(MessageTooFrequent):
        pace.take(0.6)


def test_an_error_names_its_request() -> None:
    message = protocol.error(NotPermitted("no"), "7")
    assert message["id"] == "7"
    assert message["error"] == "not_permitted"
    assert message["hint"]


def test_a_view_names_heights() -> None:
    message = protocol.parse('{"type": "view", "heights": {"cam-1": 720, "cam-2": 0}}')
    assert message.heights == {"cam-1": 720, "cam-2": 0}
    many = ", ".join(f'"cam-{n}": 1' for n in range(257))
    for heights in ('{"cam-1": -1}', '{"cam-1": 1e9}', '{"cam-1": "big"}', f"{{{many}}}"):
        with pytest.raises(MessageMalformed):
            protocol.parse(f'{{"type": "view", "heights": {heights}}}')
