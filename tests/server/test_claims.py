"""No session is held twice, also not by a process that was thought dead."""

from __future__ import annotations

import signal
import subprocess
import sys
from pathlib import Path

import pytest

from rooms.errors import DataDirUnwritable, FieldInvalid, SessionHeldElsewhere
from server.claims import Claims

HOLDS = """
import sys, time
from pathlib import Path
from server.claims import Claims
claims = Claims(Path(sys.argv[1]), "media-1")
claims.take("s-1")
print("held", flush=True)
time.sleep(60)
"""


def test_one_process_at_a_time(tmp_path: Path) -> None:
    first, second = Claims(tmp_path, "media-1"), Claims(tmp_path, "media-2")
    first.take("s-1")
    first.take("s-1")
    assert first.holder("s-1") == second.holder("s-1") == "media-1"
    with pytest.raises(SessionHeldElsewhere, match="media-1"):
        second.take("s-1")
    second.take("s-2")
    first.release("s-1")
    assert second.holder("s-1") is None
    second.take("s-1")
    second.release_all()
    assert [first.holder(name) for name in ("s-1", "s-2")] == [None, None]
    assert not list(tmp_path.iterdir())
    first.release("s-1")


@pytest.mark.timeout(20)
def test_a_process_that_hangs_keeps_its_sessions_until_it_is_dead(tmp_path: Path) -> None:
    process = subprocess.Popen(
        [sys.executable, "-c", HOLDS, str(tmp_path)], stdout=subprocess.PIPE, text=True
    )
    try:
        assert process.stdout is not None
        assert process.stdout.readline() == "held\n"
        process.send_signal(signal.SIGSTOP)
        claims = Claims(tmp_path, "media-2")
        with pytest.raises(SessionHeldElsewhere, match="media-1"):
            claims.take("s-1")
        process.kill()
        process.wait()
        claims.take("s-1")
        assert claims.holder("s-1") == "media-2"
    finally:
        process.kill()
        process.wait()


def test_a_name_that_is_still_there_but_held_by_nobody(tmp_path: Path) -> None:
    claims = Claims(tmp_path, "media-1")
    (tmp_path / "s-1.lock").write_text("media-9")
    assert claims.holder("s-1") is None
    claims.take("s-1")
    claims.release("s-1")


def test_many_at_once_want_the_same_session(tmp_path: Path) -> None:
    held = []
    for n in range(4):
        one = Claims(tmp_path, f"media-{n}")
        try:
            one.take("s-1")
        except SessionHeldElsewhere:
            continue
        held.append(n)
    assert held == [0]


def test_bad_names_and_folders(tmp_path: Path) -> None:
    with pytest.raises(FieldInvalid):
        Claims(tmp_path, "media-1").take("../s-1")
    (tmp_path / "file").write_text("")
    with pytest.raises(DataDirUnwritable):
        Claims(tmp_path / "file", "media-1")
