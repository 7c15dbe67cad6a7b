"""Messages of every shape, within their size: understood or refused, in no time."""

from __future__ import annotations

import json
import time
from typing import Any, get_args

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from rooms.errors import MessageMalformed
from server import protocol

MAX_BYTES = 65_536

kinds = [
    get_args(one.model_fields["type"].annotation)[0]
    for one in get_args(get_args(protocol.ClientMessage)[0])
]
fields = sorted(
    {name for one in get_args(get_args(protocol.ClientMessage)[0]) for name in one.model_fields}
)
anything = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=20),
    lambda inner: (
        st.lists(inner, max_size=4) | st.dictionaries(st.text(max_size=8), inner, max_size=4)
    ),
    max_leaves=10,
)
likely = st.sampled_from(
    ["p1", "0", "cam-1", "candidate:1 1 udp 1 127.0.0.1 9 typ host", "v=0\r\n", "\0", "x" * 200]
)
messages = st.builds(
    lambda kind, rest: {**rest, "type": kind},
    st.sampled_from(kinds),
    st.dictionaries(st.sampled_from(fields), likely | anything, max_size=5),
)


@settings(max_examples=400, deadline=None)
@given(messages | anything)
def test_no_shape_raises_anything_else(message: Any) -> None:
    text = json.dumps(message)
    try:
        understood = protocol.parse(text)
    except MessageMalformed as refused:
        assert len(refused.message) <= 400
    else:
        assert understood.type == message["type"]


@pytest.mark.parametrize(
    "text",
    [
        "[" * (MAX_BYTES // 2),
        '{"a":' * (MAX_BYTES // 6),
        '{"type":"publish","peer":"p","sdp":"v","tracks":['
        + ",".join(['{"mid":"0","source":"camera"}'] * 2000)
        + "]}",
        '{"type":"view","heights":{' + ",".join(f'"t{n}":1' for n in range(5000)) + "}}",
        '{"type":"mark","text":"' + "\\u0000" * 10_000 + '"}',
        '{"type":"ping","id":"' + "9" * 60_000 + '"}',
        '{"type":"hello","version":' + "9" * 5000 + "}",
        '{"type":"hello","version":1e400}',
        '{"type":"mark","text":"\\ud800"}',
        "9" * MAX_BYTES,
    ],
    ids=[
        "lists",
        "objects",
        "tracks",
        "heights",
        "nul",
        "name",
        "number",
        "huge",
        "half",
        "digits",
    ],
)
def test_the_longest_messages_take_no_time(text: str) -> None:
    started = time.thread_time()
    with pytest.raises(MessageMalformed):
        protocol.parse(text[:MAX_BYTES])
    assert time.thread_time() - started < 0.2
