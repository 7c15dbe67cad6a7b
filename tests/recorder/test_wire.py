"""The tap's framing: what goes in comes out, in any cut, and nothing hostile passes."""

from __future__ import annotations

import contextlib

import pytest
from hypothesis import given
from hypothesis import strategies as st
from recorded import frames_of

from recorder import wire
from rooms.errors import MessageMalformed, MessageTooLarge, TingxunError

NUMBER = st.integers(0, 2**53)
TEXT = st.text(max_size=20)
INPUTS = st.one_of(
    st.builds(wire.RtpInput, NUMBER, NUMBER, st.integers(0, 65535), st.binary(max_size=1500)),
    st.builds(wire.TickInput, NUMBER, NUMBER),
    st.builds(wire.EventInput, NUMBER, NUMBER, st.dictionaries(TEXT, TEXT, max_size=4)),
    st.builds(wire.CloseInput, NUMBER, NUMBER, st.fixed_dictionaries({"closed_us": NUMBER})),
    st.builds(
        wire.SenderReportInput,
        NUMBER,
        NUMBER,
        st.integers(0, 65535),
        st.integers(0, 2**64 - 1),
        st.integers(0, 2**32 - 1),
    ),
    st.builds(
        wire.TrackInput,
        n=NUMBER,
        arrival_us=NUMBER,
        track_index=st.integers(0, 65535),
        track_id=TEXT,
        source=TEXT,
        codec=TEXT,
        clock_hz=st.sampled_from([48000, 90000]),
        ssrc=st.integers(0, 2**32 - 1),
        participant_id=TEXT,
        site_id=TEXT,
        label=TEXT,
    ),
)


@given(st.lists(INPUTS, max_size=8), st.integers(1, 50))
def test_inputs_survive_any_cut(inputs: list[wire.Input], step: int) -> None:
    stream = frames_of(inputs)
    decoder = wire.Decoder()
    out: list[wire.Message] = []
    for at in range(0, len(stream), step):
        out += decoder.feed(stream[at : at + step])
    assert out == inputs


def test_job_and_reports_survive() -> None:
    job = wire.Job(
        session_id="s",
        archive_parent="/a",
        session_key=bytes(range(32)),
        origin="tingxun/s",
        opened_wall="2026-11-23T14:05:07.123Z",
        session={"case_number": "讯-1"},
        software="tingxun/1",
        segment_target_us=4_000_000,
        chunk_us=500_000,
        repair_wait_us=2_000_000,
        recover=False,
        seal=wire.SealJob("c", "k", "h", "tc", "tk"),
    )
    reports: list[wire.Report] = [
        wire.Hello(3),
        wire.Durable(9, 8, 7, {"cam-1": {"segments": 1, "captured_us": 2, "last_us": 3}}),
        wire.KeyFrameWanted(2),
        wire.CheckpointMade("note\n"),
        wire.Sealed("/a/s", "00", [{"track": "cam-1"}]),
        wire.Failed("disk_full", "no room"),
    ]
    stream = wire.encode_job(job) + b"".join(wire.encode_report(report) for report in reports)
    assert list(wire.Decoder().feed(stream)) == [job, *reports]


def test_a_length_that_nobody_sends_is_refused() -> None:
    with pytest.raises(MessageTooLarge):
        list(wire.Decoder().feed(b"\xff\xff\xff\xff\x03"))


@pytest.mark.parametrize(
    "frame",
    [b"\0\0\0\0\x63", b"\0\0\0\x02\x03ab", b"\0\0\0\x02\x21[]", b"\0\0\0\x02\x21{}"],
    ids=["unknown kind", "short", "no object", "fields missing"],
)
def test_malformed_frames_have_a_code(frame: bytes) -> None:
    with pytest.raises(MessageMalformed):
        list(wire.Decoder().feed(frame))


@given(st.binary(max_size=300))
def test_nothing_else_is_ever_raised(stream: bytes) -> None:
    with contextlib.suppress(TingxunError):
        list(wire.Decoder().feed(stream))
