"""The ledger: chained lines, durable, and what a crash may leave of it."""

from __future__ import annotations

import hashlib
import json
import os
import resource
import signal
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from recorder.ledger import FIRST_PREV, MAX_LINE_BYTES, AppendFile, Ledger, read_records
from rooms.errors import (
    ArchiveBroken,
    ArchiveDirUnwritable,
    DiskFull,
    FieldInvalid,
    MessageTooLarge,
)


def lines_of(path: Path) -> list[bytes]:
    return path.read_bytes().splitlines(keepends=True)


def test_lines_hold_the_hash_of_the_whole_line_before(tmp_path: Path) -> None:
    ledger = Ledger.create(tmp_path / "chain.jsonl")
    written = [ledger.append({"type": "event", "i": i, "text": "供述\n"}) for i in range(5)]
    lines = lines_of(tmp_path / "chain.jsonl")
    assert [line.raw for line in written] == lines
    prev = FIRST_PREV
    for n, line in enumerate(lines):
        record = json.loads(line)
        assert list(record)[:3] == ["n", "type", "prev"]
        assert (record["n"], record["prev"]) == (n, prev)
        prev = hashlib.sha256(line).hexdigest()
    assert ledger.size == 5


def test_the_chain_can_be_checked_by_hand(tmp_path: Path) -> None:
    ledger = Ledger.create(tmp_path / "chain.jsonl")
    for i in range(9):
        ledger.append({"type": "event", "i": i})
    command = "sed -n 7p chain.jsonl | sha256sum"
    out = subprocess.run(command, shell=True, cwd=tmp_path, capture_output=True, check=True)
    assert json.loads(lines_of(tmp_path / "chain.jsonl")[7])["prev"] == out.stdout[:64].decode()


def test_a_record_has_no_number_of_its_own(tmp_path: Path) -> None:
    ledger = Ledger.create(tmp_path / "chain.jsonl")
    for name in ("n", "prev"):
        with pytest.raises(FieldInvalid):
            ledger.append({"type": "seg", name: 1})
    assert ledger.size == 0


def test_what_no_utf8_can_carry_does_not_stop_a_recording(tmp_path: Path) -> None:
    ledger = Ledger.create(tmp_path / "chain.jsonl")
    ledger.append({"type": "event", "text": "a\ud800b"})
    assert json.loads(lines_of(tmp_path / "chain.jsonl")[0].decode())["text"] == "a?b"


def test_a_line_too_long_leaves_no_trace(tmp_path: Path) -> None:
    ledger = Ledger.create(tmp_path / "chain.jsonl")
    with pytest.raises(MessageTooLarge):
        ledger.append({"type": "event", "text": "x" * MAX_LINE_BYTES})
    ledger.append({"type": "event"})
    assert len(lines_of(tmp_path / "chain.jsonl")) == 1


def test_an_existing_ledger_is_never_started_again(tmp_path: Path) -> None:
    Ledger.create(tmp_path / "chain.jsonl").close()
    with pytest.raises(ArchiveDirUnwritable):
        Ledger.create(tmp_path / "chain.jsonl")


@pytest.mark.parametrize("torn", [b"", b'{"n":3', b"\0" * 4096, b'{"n":3,"type":"seg"}'])
def test_a_torn_last_line_is_cut_off(tmp_path: Path, torn: bytes) -> None:
    path = tmp_path / "chain.jsonl"
    ledger = Ledger.create(path)
    for i in range(3):
        ledger.append({"type": "event", "i": i})
    root, whole = ledger.root(), path.read_bytes()
    ledger.close()
    with path.open("ab") as file:
        file.write(torn)

    resumed = Ledger.resume(path)
    assert resumed.torn_bytes == len(torn)
    assert (resumed.size, resumed.root()) == (3, root)
    assert path.read_bytes() == whole
    resumed.append({"type": "recover", "cause": "killed"})
    assert [record["n"] for record in read_records(path)] == [0, 1, 2, 3]


def test_any_prefix_of_the_file_can_be_resumed(tmp_path: Path) -> None:
    path = tmp_path / "chain.jsonl"
    ledger = Ledger.create(path)
    for i in range(3):
        ledger.append({"type": "event", "i": i})
    whole = path.read_bytes()
    for size in range(0, len(whole) + 1, 11):
        path.write_bytes(whole[:size])
        resumed = Ledger.resume(path)
        assert resumed.size == whole[:size].count(b"\n")
        resumed.close()


@pytest.mark.parametrize(
    "change",
    [
        lambda lines: lines[:1] + lines[2:],
        lambda lines: [lines[0], lines[1].replace(b'"i":1', b'"i":7'), lines[2]],
        lambda lines: [lines[0], b"no json\n", lines[2]],
        lambda lines: [lines[0], b"[1]\n", lines[2]],
        lambda lines: [lines[0], b"[" * 100_000 + b"\n", lines[2]],
        lambda lines: [lines[0], b"\xff\xfe\n", lines[2]],
        lambda lines: [b"x" * (MAX_LINE_BYTES + 2)],
    ],
)
def test_a_whole_line_that_does_not_belong_is_refused(tmp_path: Path, change: Any) -> None:
    path = tmp_path / "chain.jsonl"
    ledger = Ledger.create(path)
    for i in range(3):
        ledger.append({"type": "event", "i": i})
    path.write_bytes(b"".join(change(lines_of(path))))
    with pytest.raises(ArchiveBroken):
        Ledger.resume(path)
    with pytest.raises(ArchiveBroken):
        list(read_records(path))


def test_a_full_disk_leaves_the_last_whole_line(tmp_path: Path) -> None:
    """A limit on the file's size stands for the full disk: the write stops half way in a line."""
    path = tmp_path / "chain.jsonl"
    ledger = Ledger.create(path)
    ledger.append({"type": "event", "i": 0})
    before = path.read_bytes()
    old = resource.getrlimit(resource.RLIMIT_FSIZE)
    handler = signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
    try:
        resource.setrlimit(resource.RLIMIT_FSIZE, (len(before) + 20, old[1]))
        with pytest.raises(DiskFull):
            ledger.append({"type": "event", "i": 1})
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, old)
        signal.signal(signal.SIGXFSZ, handler)
    assert path.read_bytes() == before
    ledger.append({"type": "event", "i": 1})
    assert [record["n"] for record in read_records(path)] == [0, 1]


def test_a_killed_writer_loses_no_line_that_it_was_told_is_durable(tmp_path: Path) -> None:
    program = (
        "import os, signal, sys\n"
        "from pathlib import Path\n"
        "from recorder.ledger import Ledger\n"
        "ledger = Ledger.create(Path(sys.argv[1]))\n"
        "for i in range(20): ledger.append({'type': 'event', 'i': i})\n"
        "os.write(1, b'durable')\n"
        "ledger.append({'type': 'event', 'i': 20}, sync=False)\n"
        "os.kill(os.getpid(), signal.SIGKILL)\n"
    )
    path = tmp_path / "chain.jsonl"
    child = subprocess.run(
        [sys.executable, "-c", program, str(path)],
        capture_output=True,
        timeout=30,
        check=False,
        env={**os.environ, "PYTHONPATH": str(Path(__file__).parents[2])},
    )
    assert (child.returncode, child.stdout) == (-signal.SIGKILL, b"durable")
    assert Ledger.resume(path).size >= 20


def test_append_file_resumes_at_a_size(tmp_path: Path) -> None:
    path = tmp_path / "file"
    path.write_bytes(b"abcdef")
    file = AppendFile.resume(path, 3)
    file.append(b"X", sync=False)
    file.sync()
    assert path.read_bytes() == b"abcX"
    assert file.size == 4


@settings(
    max_examples=15, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture]
)
@given(
    st.lists(
        st.dictionaries(
            st.text().filter(lambda key: key not in {"n", "prev", "type"}),
            st.recursive(
                st.none() | st.booleans() | st.integers(-(2**53), 2**53) | st.text(),
                lambda inner: st.lists(inner) | st.dictionaries(st.text(), inner),
                max_leaves=5,
            ),
        ),
        max_size=5,
    )
)
def test_what_is_written_is_read_again(tmp_path: Path, records: list[dict[str, Any]]) -> None:
    path = tmp_path / "chain.jsonl"
    path.unlink(missing_ok=True)
    ledger = Ledger.create(path)
    for record in records:
        ledger.append({"type": "event", **record}, sync=False)
    ledger.close()
    found = list(read_records(path))
    for record, line in zip(records, found, strict=True):
        del line["n"], line["prev"], line["type"]
        assert line == record
