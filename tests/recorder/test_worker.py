"""The recorder as a process: what it says on its socket, and what is left when it dies."""

from __future__ import annotations

import errno
import itertools
import os
import signal
import socket
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from recorded import decisions, frames_of, ledger, lines, make_job, media, record
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
from recorder.worker import Worker

END_US = 4_000_000
ROOT = Path(__file__).resolve().parents[2]


def session() -> list[wire.Input]:
    """A camera and a microphone for four seconds."""
    cam = picture_stream("H264", pictures("H264", 120, 30, 160, 96))
    mic = sound_stream(sounds(200))
    return numbered(
        binding(0, "cam-1", "H264", cam.ssrc),
        binding(1, "mic-1", "opus", mic.ssrc),
        packets_of(cam, 0),
        packets_of(mic, 1),
        event("session_opening", 0),
        event("session_live", 300_000),
        event("session_closing", END_US),
        ticks(END_US + 300_000),
        wire.CloseInput(0, END_US + 300_000, {"closed_us": END_US}),
    )


class Server:
    """The media server's end of the socket."""

    def __init__(self, connection: socket.socket) -> None:
        self._connection = connection
        self._decoder = wire.Decoder()
        self._heard: list[wire.Message] = []
        connection.settimeout(30)

    def send(self, *inputs: wire.Input) -> None:
        self._connection.sendall(frames_of(inputs))

    def job(self, job: wire.Job) -> int:
        """Give the job; returns what the recorder has already."""
        self._connection.sendall(wire.encode_job(job))
        hello = self.hear(wire.Hello)
        return hello.durable

    def hear(self, kind: type[Any], enough: Callable[[Any], bool] = lambda report: True) -> Any:
        """The next report of a kind; others before it are let go."""
        while True:
            while self._heard:
                report = self._heard.pop(0)
                if isinstance(report, kind) and enough(report):
                    return report
                if isinstance(report, wire.Failed):
                    raise AssertionError(report)
            chunk = self._connection.recv(1 << 16)
            if not chunk:
                raise ConnectionError("the recorder hung up")
            self._heard += self._decoder.feed(chunk)

    def hang_up(self) -> None:
        self._connection.close()


class Process:
    """A recorder in a process of its own."""

    def __init__(self, folder: Path) -> None:
        path = str(folder / "tap")
        with socket.socket(socket.AF_UNIX) as listener:
            listener.bind(path)
            listener.listen()
            listener.settimeout(30)
            self.child = subprocess.Popen(
                [sys.executable, "-m", "recorder.worker", "--session", "s-1", "--socket", path],
                cwd=ROOT,
                stderr=subprocess.PIPE,
            )
            self.server = Server(listener.accept()[0])
        (folder / "tap").unlink()

    def wait(self) -> int:
        code = self.child.wait(30)
        assert self.child.stderr is not None
        self.child.stderr.close()
        return code


@pytest.fixture
def start(tmp_path: Path) -> Iterator[Callable[[], Process]]:
    started: list[Process] = []

    def run() -> Process:
        started.append(Process(tmp_path))
        return started[-1]

    yield run
    for process in started:
        process.server.hang_up()
        if process.child.poll() is None:
            process.child.kill()
        process.wait()


@pytest.fixture
def parent(tmp_path: Path) -> Path:
    folder = tmp_path / "archives"
    folder.mkdir()
    return folder


def inside(job: wire.Job, inputs: list[wire.Input]) -> tuple[int, list[wire.Message]]:
    """A recorder in a thread: its exit code and everything that it said."""
    ours, theirs = socket.socketpair()
    codes: list[int] = []
    thread = threading.Thread(target=lambda: codes.append(Worker(theirs).run()), daemon=True)
    thread.start()
    sent = wire.encode_job(job) + frames_of(inputs)
    sender = threading.Thread(target=_send_all, args=(ours, sent), daemon=True)
    sender.start()
    said: list[wire.Message] = []
    decoder = wire.Decoder()
    while not said or not isinstance(said[-1], wire.Sealed | wire.Failed):
        chunk = ours.recv(1 << 16)
        if not chunk:
            break
        said += decoder.feed(chunk)
    ours.close()
    thread.join(30)
    theirs.close()
    return codes[0], said


def _send_all(connection: socket.socket, content: bytes) -> None:
    try:
        connection.sendall(content)
    except OSError:
        return


def test_a_recording_from_start_to_seal(
    start: Callable[[], Process], parent: Path, keys: Keys
) -> None:
    process = start()
    server = process.server
    title = Path(f"/proc/{process.child.pid}/cmdline").read_bytes()
    assert b"recorder.worker" in title
    assert b"--session\0s-1" in title
    assert server.job(make_job(parent, keys.job)) == 0
    *inputs, close = session()
    first = next(n for n, one in enumerate(inputs) if one.arrival_us > 170_000)
    server.send(*inputs[:first])
    begun = server.hear(wire.Durable, lambda said: "cam-1" in said.tracks)
    assert begun.n > 0
    assert begun.tracks["cam-1"]["captured_us"] > 0
    assert begun.tracks["cam-1"]["last_us"] > 120_000
    server.send(*inputs[first:])
    assert server.hear(wire.CheckpointMade).note.startswith("tingxun/s-1\n")
    server.hear(wire.Durable, lambda said: said.recorded_us > 3_000_000)
    asked = time.monotonic()
    server.send(close)
    sealed = server.hear(wire.Sealed)
    assert time.monotonic() - asked < 5
    assert process.wait() == 0
    layout = Layout(Path(sealed.archive))
    assert layout.root == parent / "s-1"
    assert not layout.state.exists()
    assert verify(layout.root, keys.trust).sealed
    assert [one["track"] for one in sealed.tracks] == ["cam-1", "mic-1"]
    assert all(one["gaps"] == 0 for one in sealed.tracks)


def test_kill_9_loses_nothing(start: Callable[[], Process], parent: Path, keys: Keys) -> None:
    inputs = session()
    (parent / "whole").mkdir()
    whole = record(make_job(parent / "whole", keys.job), inputs)
    job = make_job(parent, keys.job)
    done = 0
    for share in (0.3, 0.6, 0.8):
        process = start()
        done = process.server.job(job)
        process.server.send(*inputs[done : int(share * len(inputs))])
        process.server.hear(wire.Durable, lambda said, least=done + 30: said.n > least)
        process.child.send_signal(signal.SIGKILL)
        assert process.wait() == -signal.SIGKILL
    process = start()
    done = process.server.job(job)
    assert done > len(inputs) // 2
    process.server.send(*inputs[done:])
    sealed = process.server.hear(wire.Sealed)
    killed = Layout(Path(sealed.archive))
    assert media(killed) == media(whole)
    assert decisions(killed) == decisions(whole)
    assert [one["cause"] for one in lines(killed, "recover")] == ["recorder_replaced"] * 3
    assert verify(killed.root, keys.trust).sealed


def test_a_server_that_ends_leaves_a_recording_that_another_can_close(
    start: Callable[[], Process], parent: Path, keys: Keys
) -> None:
    inputs = session()
    half = len(inputs) // 2
    process = start()
    process.server.job(make_job(parent, keys.job))
    process.server.send(*inputs[:half])
    process.server.hang_up()
    assert process.wait() == 0
    # The server that comes after it has another key and another count, and knows no packets.
    process = start()
    job = make_job(parent, keys.job, recover=True, session_key=bytes(32), session={"id": "s-1"})
    assert process.server.job(job) == 0
    end = wire.CloseInput(2, 5_000_000, {"closed_us": END_US})
    process.server.send(wire.TickInput(1, 0), end)
    sealed = process.server.hear(wire.Sealed)
    layout = Layout(Path(sealed.archive))
    (recovered,) = lines(layout, "recover")
    assert recovered["cause"] == "server_restarted"
    last_us = recovered["lost"]["since_us"]
    assert last_us == inputs[half - 1].arrival_us
    causes = {one["cause"] for one in lines(layout, "gap")}
    assert causes == {"recorder"}
    assert verify(layout.root, keys.trust).sealed


def test_another_server_goes_on_with_the_recording_of_a_dead_one(
    start: Callable[[], Process], parent: Path, keys: Keys
) -> None:
    inputs = session()
    # A key frame comes next, as from a new connection.
    half = next(i for i, one in enumerate(inputs) if one.arrival_us >= 2_110_000)
    first = start()
    first.server.job(make_job(parent, keys.job))
    first.server.send(*inputs[:half])
    first.server.hang_up()
    # It need not have ended when its successor starts: that one waits for it.
    second = start()
    job = make_job(parent, keys.job, recover=True, session_key=bytes(32), session={"id": "s-1"})
    assert second.server.job(job) == 0
    assert first.wait() == 0
    later_us = 2_000_000
    numbers = itertools.count(1)
    tracks = [one for one in inputs[:half] if isinstance(one, wire.TrackInput)]
    for one in (*(one._replace(ssrc=one.ssrc + 1000) for one in tracks), *inputs[half:]):
        at_us = max(one.arrival_us, inputs[half].arrival_us) + later_us
        moved = one._replace(n=next(numbers), arrival_us=at_us)
        if isinstance(moved, wire.TrackInput | wire.RtpInput | wire.SenderReportInput):
            # The same two numbers, for the other track each.
            moved = moved._replace(track_index=1 - moved.track_index)
        if isinstance(moved, wire.RtpInput):
            ssrc = int.from_bytes(moved.packet[8:12]) + 1000
            moved = moved._replace(packet=moved.packet[:8] + ssrc.to_bytes(4) + moved.packet[12:])
        if isinstance(moved, wire.EventInput) and isinstance(moved.record.get("t_us"), int):
            record = {**moved.record, "t_us": moved.record["t_us"] + later_us}
            moved = moved._replace(record=record)
        if isinstance(moved, wire.CloseInput):
            moved = moved._replace(record={"closed_us": END_US + later_us})
        second.server.send(moved)
    sealed = second.server.hear(wire.Sealed)
    layout = Layout(Path(sealed.archive))
    assert verify(layout.root, keys.trust).sealed
    for track in sealed.tracks:
        told = [one for one in lines(layout, "gap") if one["track"] == track["track"]]
        assert [one["cause"] for one in told] == ["recorder"], told
        assert 1_900_000 < told[0]["to_us"] - told[0]["from_us"] < 2_700_000
        assert track["captured_us"] + track["gap_us"] == track["expected_us"]


def test_nothing_to_recover(parent: Path, keys: Keys) -> None:
    code, said = inside(make_job(parent, keys.job, recover=True), [])
    assert code == 1
    assert isinstance(said[-1], wire.Failed)
    assert said[-1].code == "archive_unknown"


def test_died_before_anything_was_recorded(parent: Path, keys: Keys) -> None:
    Layout.recording(parent, "s-1").make_directories()
    code, said = inside(make_job(parent, keys.job, recover=True, opened_wall=""), [])
    assert code == 1
    assert isinstance(said[-1], wire.Failed)
    assert said[-1].code == "archive_unknown"


def test_sealed_but_not_said(parent: Path, keys: Keys) -> None:
    """It died between sealing and saying so: the next one says it, whatever it is sent."""
    job = make_job(parent, keys.job)
    inputs = session()
    code, said = inside(job, inputs)
    assert code == 0
    before = said[-1]
    code, said = inside(job, inputs[-3:])
    assert code == 0
    assert said == [wire.Hello(0), before]


@pytest.mark.parametrize("call", [20, 28, 40])
def test_a_full_disk_stops_and_is_taken_up_again(
    parent: Path, keys: Keys, call: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    job = make_job(parent, keys.job)
    inputs = session()
    (parent / "whole").mkdir()
    whole = record(make_job(parent / "whole", keys.job), inputs)
    calls = 0
    real = os.write

    def write(descriptor: int, content: bytes) -> int:
        nonlocal calls
        calls += 1
        if calls >= call:
            real(descriptor, content[:10])
            raise OSError(errno.ENOSPC, "No space left on device")
        return real(descriptor, content)

    with monkeypatch.context() as patch:
        patch.setattr(os, "write", write)
        code, said = inside(job, inputs)
    assert code == 1
    failed = said[-1]
    assert isinstance(failed, wire.Failed)
    assert failed.code == "disk_full"
    acknowledged = max(one.n for one in said if isinstance(one, wire.Durable))
    ours, theirs = socket.socketpair()
    thread = threading.Thread(target=Worker(theirs).run, daemon=True)
    thread.start()
    server = Server(ours)
    done = server.job(job)
    assert done >= acknowledged
    server.send(*inputs[done:])
    sealed = server.hear(wire.Sealed)
    thread.join(30)
    ours.close()
    theirs.close()
    assert media(Layout(Path(sealed.archive))) == media(whole)


def test_an_archive_directory_that_cannot_be_written(tmp_path: Path, keys: Keys) -> None:
    blocked = tmp_path / "a file, no folder"
    blocked.write_text("")
    code, said = inside(make_job(blocked, keys.job), session())
    assert code == 1
    assert isinstance(said[-1], wire.Failed)
    assert said[-1].code == "archive_dir_unwritable"


def test_a_hole_in_the_numbers_is_refused_and_a_repetition_is_not(parent: Path, keys: Keys) -> None:
    inputs = session()
    code, said = inside(make_job(parent, keys.job), [*inputs[:50], *inputs[20:50], *inputs[51:]])
    assert code == 1
    failed = said[-1]
    assert isinstance(failed, wire.Failed)
    assert failed.code == "message_malformed"
    assert "52 follows 50" in failed.message
    # What came before it is there.
    code, said = inside(make_job(parent, keys.job), inputs[50:])
    assert code in (0, 1)


@pytest.mark.parametrize(
    "content",
    [wire.encode_tick(1, 0), wire.encode_rtp(1, 0, 0, bytes(12)), b"\0\0\0\1\x63x", b"\xff" * 40],
)
def test_nonsense_before_the_job(content: bytes) -> None:
    ours, theirs = socket.socketpair()
    ours.sendall(content)
    assert Worker(theirs).run() == 1
    said = list(wire.Decoder().feed(ours.recv(1 << 16)))
    assert isinstance(said[0], wire.Failed)
    assert said[0].code in ("message_malformed", "message_too_large")
    ours.close()
    theirs.close()


def test_a_lost_state_is_said(parent: Path, keys: Keys) -> None:
    """Without its state a recording cannot go on, and nothing of it is overwritten."""
    job = make_job(parent, keys.job)
    code, _ = inside(job, [*session()[:200], wire.TickInput(999, 0)])
    assert code == 1
    layout = Layout.recording(parent, "s-1")
    before = len(ledger(layout))
    layout.state.unlink()
    code, said = inside(job, [])
    assert code == 1
    assert isinstance(said[-1], wire.Failed)
    assert said[-1].code == "archive_broken"
    assert len(ledger(layout)) == before
