"""A recording is a function of its inputs, whoever dies in between."""

from __future__ import annotations

import random
import shutil
from collections.abc import Iterable
from pathlib import Path

import pytest
from hypothesis import HealthCheck, Phase, given, settings
from hypothesis import strategies as st
from recorded import (
    Killed,
    account,
    decisions,
    durable,
    feed,
    killed_at_call,
    ledger,
    lines,
    make_job,
    media,
    record,
)
from rtp_streams import (
    binding,
    event,
    numbered,
    packets_of,
    picture_stream,
    pictures,
    sound_stream,
    sounds,
    ticks,
)
from scribe import Keys

from recorder import wire
from recorder.archive import Layout
from recorder.verify import verify
from recorder.worker import begin
from rooms.errors import ArchiveBroken, MessageMalformed

SECONDS = 4
END_US = SECONDS * 1_000_000


def _disturbed(packets: Iterable[wire.RtpInput], chance: random.Random) -> list[wire.RtpInput]:
    """Packets as a bad network delivers them: some lost, some twice, some late or far too late."""
    arrived = []
    for packet in packets:
        luck = chance.random()
        if luck < 0.02:
            continue
        if luck < 0.04:
            arrived.append(packet._replace(arrival_us=packet.arrival_us + 5_000))
        if luck > 0.92:
            late_us = chance.choice((2_000, 60_000, 250_000, 900_000))
            packet = packet._replace(arrival_us=packet.arrival_us + late_us)
        arrived.append(packet)
    return arrived


def _session(seed: int) -> list[wire.Input]:
    """Three tracks with a bad network, a pause, and a reconnection of the camera."""
    chance = random.Random(seed)
    encoded = pictures("H264", 30 * SECONDS, 30, 160, 96)
    half = len(encoded) // 2
    cam = picture_stream("H264", encoded[:half])
    again = picture_stream("H264", encoded[half:], ssrc=0x5555, start_us=2_100_000, first_seq=7)
    screen = picture_stream("VP8", pictures("VP8", 30 * SECONDS, 30, 160, 96), ssrc=0x3333)
    mic = sound_stream(sounds(50 * SECONDS))
    inputs: list[object] = [
        binding(0, "cam-1", "H264", cam.ssrc),
        binding(1, "mic-1", "opus", mic.ssrc),
        binding(2, "evidence-1", "VP8", screen.ssrc, 50_000),
        binding(3, "cam-1", "H264", again.ssrc, 2_090_000),
        event("session_opening", 0),
        event("session_live", 300_000),
        event("session_closing", END_US),
        wire.CloseInput(0, END_US + 300_000, {"closed_us": END_US}),
        ticks(END_US + 300_000),
    ]
    for stream, index in ((cam, 0), (mic, 1), (screen, 2), (again, 3)):
        inputs.append(iter(_disturbed(packets_of(stream, index), chance)))
        reports = (stream.report(0, index, at_us) for at_us in range(500_000, END_US, 700_000))
        inputs.append(one._replace(arrival_us=one.arrival_us + 20_000) for one in reports)
    if chance.random() < 0.5:
        at_us = chance.randrange(500_000, 3_000_000)
        inputs += [
            event("session_paused", at_us, reason="rest"),
            event("session_resuming", at_us + 300_000),
            event("session_resumed", at_us + 500_000),
        ]
    every = numbered(*inputs)  # type: ignore[arg-type]
    # What comes after the order to close comes too late.
    return every[: next(n for n, one in enumerate(every, 1) if isinstance(one, wire.CloseInput))]


@pytest.fixture(autouse=True)
def _no_sync(monkeypatch: pytest.MonkeyPatch) -> None:
    """A killed process loses nothing that it wrote; what a power cut takes is not tried here."""
    monkeypatch.setattr("os.fdatasync", lambda descriptor: None)
    monkeypatch.setattr("os.fsync", lambda descriptor: None)


@pytest.fixture
def parent(tmp_path: Path) -> Path:
    folder = tmp_path / "archives"
    folder.mkdir()
    return folder


def _empty(folder: Path) -> None:
    for path in folder.rglob("*"):
        if path.is_dir():
            path.chmod(0o755)
    shutil.rmtree(folder)
    folder.mkdir()


def _same(one: Layout, other: Layout) -> None:
    assert media(one) == media(other)
    assert decisions(one) == decisions(other)


@settings(
    max_examples=15,
    deadline=None,
    phases=(Phase.explicit, Phase.reuse, Phase.generate),
    suppress_health_check=[HealthCheck.function_scoped_fixture],
)
@given(seed=st.integers(0, 10_000), kills=st.lists(st.floats(0, 1), min_size=1, max_size=3))
def test_killed_between_inputs(parent: Path, keys: Keys, seed: int, kills: list[float]) -> None:
    """Killed anywhere and replaced, the recorder makes the same files and the same decisions."""
    _empty(parent)
    inputs = _session(seed)
    (parent / "whole").mkdir()
    whole = record(make_job(parent / "whole", keys.job), inputs)
    job = make_job(parent, keys.job)
    done = 0
    for kill in sorted(kills):
        intake = begin(job)
        done = durable(intake)
        feed(intake, inputs[done : int(kill * (len(inputs) - 1))])
        intake.release()
    intake = begin(job)
    again = inputs[max(durable(intake) - 3, 0) :]
    reports = feed(intake, again)
    assert isinstance(reports[-1], wire.Sealed)
    killed = Layout(Path(reports[-1].archive))
    _same(whole, killed)
    assert len(lines(killed, "recover")) <= len(kills) + 1
    report = verify(killed.root, keys.trust)
    assert report.sealed, report.to_json()


@settings(
    max_examples=30,
    deadline=None,
    phases=(Phase.explicit, Phase.reuse, Phase.generate),
    suppress_health_check=[HealthCheck.function_scoped_fixture],
)
@given(seed=st.integers(0, 3), calls=st.lists(st.integers(1, 330), min_size=1, max_size=3))
def test_killed_inside_a_commit(parent: Path, keys: Keys, seed: int, calls: list[int]) -> None:
    """The same when it dies at any change of the disk, in the middle of a write."""
    _empty(parent)
    inputs = _session(seed)
    (parent / "whole").mkdir()
    whole = record(make_job(parent / "whole", keys.job), inputs)
    job = make_job(parent, keys.job)
    sealed = None
    for call in [*calls, 1 << 30]:
        intake = None
        try:
            with killed_at_call(call):
                intake = begin(job)
                reports = feed(intake, inputs[durable(intake) :])
                sealed = reports[-1]
                break
        except Killed:
            if intake is not None:
                intake.release()
    if not isinstance(sealed, wire.Sealed):
        pytest.fail(str(sealed))
    killed = Layout(Path(sealed.archive))
    _same(whole, killed)
    report = verify(killed.root, keys.trust)
    assert report.sealed, report.to_json()


def test_hung_up_while_it_seals(parent: Path, keys: Keys, monkeypatch: pytest.MonkeyPatch) -> None:
    """The order to close is acknowledged by the seal alone, whoever comes and goes before it."""

    def dies(*args: object) -> None:
        raise Killed

    inputs = _session(1)
    job = make_job(parent, keys.job)
    intake = begin(job)
    with monkeypatch.context() as patch:
        patch.setattr("recorder.seal.seal_archive", dies)
        with pytest.raises(Killed):
            feed(intake, inputs)
    intake.release()
    for _ in range(2):
        intake = begin(job)
        assert durable(intake) == len(inputs) - 1
        intake.stop()
    # Another server, which counts anew, can order it as well.
    intake = begin(make_job(parent, keys.job, recover=True, session_key=bytes(32)))
    assert durable(intake) == 0
    end = wire.CloseInput(2, 0, {"closed_us": None})
    reports = feed(intake, [wire.TickInput(1, 9_000_000), end])
    sealed = reports[-1]
    assert isinstance(sealed, wire.Sealed)
    layout = Layout(Path(sealed.archive))
    assert not lines(layout, "recover")
    assert verify(layout.root, keys.trust).sealed


def test_protocol_errors(parent: Path, keys: Keys) -> None:
    intake = begin(make_job(parent, keys.job))
    cam = binding(0, "cam-1", "H264", 1)._replace(n=1)
    feed(intake, [cam])
    other = cam._replace(n=2, codec="VP8")
    with pytest.raises(MessageMalformed, match="changes its codec"):
        intake.take(other)
    with pytest.raises(MessageMalformed, match="no such codec"):
        intake.take(cam._replace(n=3, track_id="cam-2", codec="AV1"))
    with pytest.raises(MessageMalformed, match="is no input"):
        intake.take(wire.Hello(1))
    with pytest.raises(MessageMalformed, match="5 follows 3"):
        intake.take(wire.TickInput(5, 0))
    intake.release()


def test_a_ledger_that_does_not_fit_its_state(parent: Path, keys: Keys) -> None:
    job = make_job(parent, keys.job)
    intake = begin(job)
    feed(intake, _session(1)[:200])
    intake.release()
    chain = Layout.recording(parent, job.session_id).chain
    whole = chain.read_bytes()
    chain.write_bytes(b"".join(whole.splitlines(keepends=True)[:2]))
    with pytest.raises(ArchiveBroken):
        begin(job)
    chain.write_bytes(whole)
    assert len(ledger(Layout.recording(parent, job.session_id))) > 2
    begin(job).release()


def test_times_that_run_backwards_do_no_harm(parent: Path, keys: Keys) -> None:
    inputs = _session(2)
    mixed = [
        one._replace(arrival_us=max(one.arrival_us - 400_000, 0)) if one.n % 7 == 0 else one
        for one in inputs
    ]
    layout = record(make_job(parent, keys.job), mixed)
    assert verify(layout.root, keys.trust).sealed
    assert account(layout, "mic-1")["captured_us"] > 2_000_000
