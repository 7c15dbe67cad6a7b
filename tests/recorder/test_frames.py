"""The fast reader gives what the decoder of the wire format gives."""

from __future__ import annotations

import random

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from recorded import frames_of

from recorder import wire
from recorder.frames import Frames
from rooms.errors import MessageMalformed, MessageTooLarge


def read(pieces: list[bytes]) -> list[wire.Message]:
    found: list[wire.Message] = []
    frames = Frames(lambda *fields: found.append(wire.RtpInput(*fields)), found.append)
    for piece in pieces:
        frames.feed(piece)
    return found


@settings(max_examples=60, deadline=None)
@given(seed=st.integers(0, 1 << 30))
def test_same_messages_however_the_stream_is_cut(seed: int) -> None:
    chance = random.Random(seed)
    kinds = (
        lambda n: wire.RtpInput(n, n * 5000, chance.randrange(9), chance.randbytes(n * 7)),
        lambda n: wire.TickInput(n, n * 5000),
        lambda n: wire.SenderReportInput(n, n, 1, 1 << 63, 1 << 31),
        lambda n: wire.EventInput(n, n, {"type": "marker_added", "text": "供述"}),
    )
    sent = [chance.choice(kinds)(n) for n in range(1, 60)]
    stream = frames_of(sent)
    pieces, at = [], 0
    while at < len(stream):
        size = chance.choice((1, 3, 22, 23, 100, 5000))
        pieces.append(stream[at : at + size])
        at += size
    assert read(pieces) == sent


def test_nonsense_is_refused() -> None:
    with pytest.raises(MessageTooLarge):
        read([b"\xff\xff\xff\xff\x03" + bytes(40)])
    with pytest.raises(MessageMalformed):
        read([b"\x00\x00\x00\x02\x03ab"])
    with pytest.raises(MessageMalformed):
        read([b"\x00\x00\x00\x02\x63ab"])
