"""The resume state: whole, newest, or none."""

from __future__ import annotations

import threading
from pathlib import Path

import pytest

from recorder.state import SLOT_BYTES, StateFile, await_release
from rooms.errors import ArchiveBroken, ArchiveBusy, ArchiveDirUnwritable


def test_the_newest_state_comes_back(tmp_path: Path) -> None:
    path = tmp_path / "s.state.json"
    file, nothing = StateFile.open(path)
    assert nothing is None
    for n in range(5):
        file.write({"n": n, "packet": bytes([n]) * 3000, "nested": [[b"", b"x" * n], {"供": None}]})
    file.close()
    _, state = StateFile.open(path)
    assert state == {"n": 4, "packet": b"\x04" * 3000, "nested": [[b"", b"xxxx"], {"供": None}]}


@pytest.mark.parametrize("kept", [0, 1, 20, 56, 60, 3000])
def test_a_torn_write_leaves_the_one_before(tmp_path: Path, kept: int) -> None:
    path = tmp_path / "s.state.json"
    file, _ = StateFile.open(path)
    file.write({"n": 1, "packet": bytes(5000)})
    file.write({"n": 2, "packet": b"b" * 5000})
    whole = path.read_bytes()[:6000]
    file.write({"n": 3, "packet": b"c" * 5000})
    file.close()
    with path.open("r+b") as raw:
        # The third state went to the slot of the first one, and was written only in part.
        newest = raw.seek(SLOT_BYTES) and raw.read(6000)
        raw.seek(SLOT_BYTES + kept)
        raw.write(bytes(6000 - kept))
    assert newest
    assert whole
    _, state = StateFile.open(path)
    assert state is not None
    assert state["n"] == 2


def test_other_content_is_no_state(tmp_path: Path) -> None:
    path = tmp_path / "s.state.json"
    path.write_bytes(b'{"n": 1}' * 100)
    assert StateFile.open(path)[1] is None


def test_a_state_of_another_version_is_not_overlooked(tmp_path: Path) -> None:
    """To begin anew would throw away what was recorded."""
    path = tmp_path / "s.state.json"
    file, _ = StateFile.open(path)
    file.write({"n": 1})
    file.close()
    with path.open("r+b") as raw:
        raw.seek(SLOT_BYTES)
        raw.write(b"TXSTATE1")
    with pytest.raises(ArchiveBroken, match="another version"):
        StateFile.open(path)


def test_the_key_is_overwritten(tmp_path: Path) -> None:
    path = tmp_path / "s.state.json"
    other = tmp_path / "other name of the same file"
    file, _ = StateFile.open(path)
    file.write({"seed": b"secret" * 5})
    file.write({"seed": b"secret" * 5})
    other.hardlink_to(path)
    file.remove()
    assert not path.exists()
    with other.open("rb") as raw:
        for slot in (0, SLOT_BYTES):
            raw.seek(slot)
            assert b"secret" not in raw.read(1 << 16)


def test_only_the_owner_reads_it(tmp_path: Path) -> None:
    path = tmp_path / "s.state.json"
    StateFile.open(path)[0].close()
    assert path.stat().st_mode & 0o777 == 0o600


def test_problems_have_their_errors(tmp_path: Path) -> None:
    with pytest.raises(ArchiveDirUnwritable):
        StateFile.open(tmp_path / "missing" / "s.state.json")
    file, _ = StateFile.open(tmp_path / "s.state.json")
    with pytest.raises(ArchiveBroken):
        file.write({"packet": bytes(SLOT_BYTES)})
    with pytest.raises(TypeError):
        file.write({"packet": {1, 2}})
    file.close()


def test_two_recorders_never_have_the_same_state(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = tmp_path / "s.state.json"
    file, _ = StateFile.open(path)
    with monkeypatch.context() as patch:
        patch.setattr("recorder.state.LOCK_WAIT_S", 0.05)
        with pytest.raises(ArchiveBusy):
            StateFile.open(path)
        with pytest.raises(ArchiveBusy):
            await_release(path)
    timer = threading.Timer(0.2, file.close)
    timer.start()
    successor, _ = StateFile.open(path)
    successor.close()
    await_release(path)
    await_release(tmp_path / "none.state.json")


def test_who_waited_for_a_sealed_archive_finds_no_state(tmp_path: Path) -> None:
    path = tmp_path / "s.state.json"
    file, _ = StateFile.open(path)
    file.write({"n": 1})
    timer = threading.Timer(0.2, file.remove)
    timer.start()
    # The name may stand for another file by now: the one that was waited for is not it.
    successor, state = StateFile.open(path)
    assert state is None
    assert path.exists()
    successor.close()
