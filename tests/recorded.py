"""Runs a recording in the test's own process, kills it where the test says, reads the result."""

from __future__ import annotations

import json
import os
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest

from recorder import wire
from recorder.archive import Layout
from recorder.intake import Intake
from recorder.journal import SealedArchive
from recorder.worker import begin

SESSION_ID = "s-1"


def make_job(parent: Path, seal: wire.SealJob, **changes: Any) -> wire.Job:
    """A job with small segments."""
    fields: dict[str, Any] = {
        "session_id": SESSION_ID,
        "archive_parent": str(parent),
        "session_key": bytes(range(32)),
        "origin": f"tingxun/{SESSION_ID}",
        "opened_wall": "2026-11-23T14:05:07.123Z",
        "session": {"id": SESSION_ID, "case_number": "（2026）沪0101刑初17号"},
        "software": "tingxun-test/1",
        "segment_target_us": 1_000_000,
        "chunk_us": 500_000,
        "repair_wait_us": 300_000,
        "recover": False,
        "seal": seal,
    }
    return wire.Job(**{**fields, **changes})


def frames_of(inputs: Iterable[wire.Input]) -> bytes:
    """Inputs as the server writes them to the socket."""
    return b"".join(map(_frame, inputs))


def _frame(one: wire.Input) -> bytes:
    match one:
        case wire.RtpInput():
            return wire.encode_rtp(*one)
        case wire.TrackInput():
            return wire.encode_track(one)
        case wire.SenderReportInput():
            return wire.encode_sender_report(*one)
        case wire.EventInput():
            return wire.encode_event(*one)
        case wire.TickInput():
            return wire.encode_tick(*one)
        case wire.CloseInput():
            return wire.encode_close(*one)


def feed(intake: Intake | SealedArchive, inputs: Iterable[wire.Input]) -> list[wire.Report]:
    """Hand over inputs; returns what was reported since the last time."""
    for one in inputs:
        intake.take(one)
    reports, intake.reports = intake.reports, []
    return reports


def durable(intake: Intake | SealedArchive) -> int:
    """What a recorder that has just started says it has."""
    hello = intake.reports[0]
    assert isinstance(hello, wire.Hello)
    return hello.durable


def record(job: wire.Job, inputs: Iterable[wire.Input]) -> Layout:
    """The sealed archive of an undisturbed recording."""
    reports = feed(begin(job), inputs)
    assert isinstance(reports[-1], wire.Sealed), reports[-1]
    return Layout(Path(reports[-1].archive))


def ledger(layout: Layout) -> list[dict[str, Any]]:
    """The ledger's records."""
    return [json.loads(line) for line in layout.chain.read_bytes().splitlines()]


def lines(layout: Layout, kind: str, track: str | None = None) -> list[dict[str, Any]]:
    """The records of one type, of one track."""
    return [
        one
        for one in ledger(layout)
        if one["type"] == kind and (track is None or one["track"] == track)
    ]


def account(layout: Layout, track: str) -> dict[str, Any]:
    """The ``close`` record's account of a track."""
    (found,) = [one for one in lines(layout, "close")[0]["tracks"] if one["track"] == track]
    return found


def media(layout: Layout) -> dict[str, bytes]:
    """All files of all tracks."""
    return {
        layout.relative(path): path.read_bytes()
        for path in sorted(layout.tracks.rglob("*"))
        if path.is_file()
    }


def decisions(layout: Layout) -> list[dict[str, Any]]:
    """The ledger without what differs when a recorder was replaced."""
    kept = [one for one in ledger(layout) if one["type"] not in ("open", "recover")]
    return [
        {key: value for key, value in one.items() if key not in ("n", "prev", "checkpoints")}
        for one in kept
    ]


class Killed(BaseException):
    """Stands for ``kill -9``: nothing of the recorder catches it."""


@contextmanager
def killed_at_call(number: int) -> Iterator[Callable[[], int]]:
    """Kill the recorder at a certain system call that changes the disk; a write is then torn.

    Gives a function that says how many calls there were. Syncs do nothing: ``kill -9`` leaves what
    was written.
    """
    count = 0

    def strike() -> bool:
        nonlocal count
        count += 1
        return count == number

    def counted(module: Any, name: str) -> None:
        real = getattr(module, name)

        def call(*args: Any, **options: Any) -> Any:
            if count >= number:
                raise Killed
            if strike():
                if name in ("write", "pwrite"):
                    descriptor, content, *rest = args
                    real(descriptor, content[: len(content) // 2], *rest)
                raise Killed
            return real(*args, **options)

        patch.setattr(module, name, call)

    with pytest.MonkeyPatch.context() as patch:
        for name in ("write", "pwrite", "open", "ftruncate"):
            counted(os, name)
        for name in ("rename", "unlink", "mkdir"):
            counted(Path, name)
        for name in ("fdatasync", "fsync"):
            patch.setattr(os, name, lambda descriptor: None)
        yield lambda: count
