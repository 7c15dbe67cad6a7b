"""Recorders that die, and disks that fill: the session goes on, and nothing is lost."""

from __future__ import annotations

import asyncio
import os
import signal
import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest
from running import Server
from session_in_hand import in_hand, ledger, phase, recording

from recorder.verify import Trust, verify
from rooms.errors import DiskFull
from server.keys import ACCOUNTS, CONDUCTORS

pytestmark = pytest.mark.timeout(90)


@pytest.fixture
def small_disk(tmp_path: Path) -> Iterator[Path]:
    """A file system of 2 MiB, which only root may make."""
    folder = tmp_path / "small"
    folder.mkdir()
    made = subprocess.run(
        ["mount", "-t", "tmpfs", "-o", "size=2m", "tmpfs", str(folder)],
        check=False,
        capture_output=True,
        timeout=10,
    )
    if made.returncode:
        pytest.skip("file systems cannot be mounted here")
    yield folder
    subprocess.run(["umount", "-l", str(folder)], check=False, timeout=10)


async def administrator(server: Server) -> tuple[str, str]:
    """An administrator's name and password."""
    account, password = await server.app[ACCOUNTS].add("chief", "Chief", "admin", None)
    return account.name, password


async def make_room(disk: Path) -> None:
    """Let the small disk have 64 MiB."""
    grow = ["mount", "-o", "remount,size=64m", str(disk)]
    await asyncio.to_thread(subprocess.run, grow, check=True, timeout=10)


async def test_no_session_is_opened_on_less_than_the_reserve(
    start_server: object, small_disk: Path
) -> None:
    server: Server = await start_server(  # type: ignore[operator]
        {"recording.archive_dir": str(small_disk), "recording.reserve_mib": 3}
    )
    async with in_hand(server.url, *await administrator(server)) as session:
        await session.join()
        with pytest.raises(DiskFull, match="reserve_mib"):
            await session.officer.open()
        assert session.officer.state["phase"] == "waiting"
        assert session.officer.state["recording"]["state"] == "off"
        stored = await server.records.events(session.session_id)
        assert "session_opening" not in {event["type"] for event in stored}
        assert list(small_disk.iterdir()) == []
        await make_room(small_disk)
        await session.go_live()
        await asyncio.sleep(1)
        await session.close()
    archive = small_disk / session.session_id
    assert verify(archive, Trust.of_installation(server.config.certificates_dir)).sealed


async def test_the_reserve_is_that_of_the_disk_a_missing_folder_would_be_on(
    start_server: object, tmp_path: Path
) -> None:
    folder = tmp_path / "archives"
    server: Server = await start_server(  # type: ignore[operator]
        {"recording.archive_dir": str(folder), "recording.reserve_mib": 1 << 40}
    )
    async with in_hand(server.url, *await administrator(server)) as session:
        await session.join()
        folder.rmdir()
        with pytest.raises(DiskFull):
            await session.officer.open()
        assert not folder.exists()


async def test_a_full_disk_is_said_and_what_it_kept_out_is_written_later(
    start_server: object, small_disk: Path
) -> None:
    # Less than the reserve is left soon: a session that is live goes on all the same.
    server: Server = await start_server(  # type: ignore[operator]
        {"recording.archive_dir": str(small_disk), "recording.reserve_mib": 1}
    )
    async with in_hand(server.url, *await administrator(server)) as session:
        await session.join()
        await session.go_live()
        await session.officer.wait_for("failure", recording("failed"), timeout_s=40)
        assert session.officer.state["recording"]["reason"] == "disk_full"
        assert session.officer.state["phase"] == "live"
        await make_room(small_disk)
        await session.officer.wait_for("recovery", recording("recording"), timeout_s=20)
        await session.close()
    archive = small_disk / session.session_id
    assert verify(archive, Trust.of_installation(server.config.certificates_dir)).sealed
    for track in ledger(archive)[-1]["tracks"]:
        assert track["gaps"] == 0, track
        assert track["captured_us"] > 0.98 * track["expected_us"], track


async def test_recorders_killed_again_and_again_lose_nothing(server: Server) -> None:
    async with in_hand(server.url, *await administrator(server)) as session:
        await session.join("VP8")
        await session.go_live()
        for wait_s in (1.3, 0.9, 2.1):
            await asyncio.sleep(wait_s)
            pid = server.app[CONDUCTORS].running()[session.session_id]["recorder_pid"]
            if pid is not None:
                os.kill(pid, signal.SIGKILL)
        await asyncio.sleep(1)
        await session.close()
    archive = server.config.archive_dir / session.session_id
    assert verify(archive, Trust.of_installation(server.config.certificates_dir)).sealed
    for track in ledger(archive)[-1]["tracks"]:
        assert track["gaps"] == 0, track
        assert track["captured_us"] > 0.98 * track["expected_us"], track


async def test_a_recorder_killed_while_it_seals(server: Server) -> None:
    async with in_hand(server.url, *await administrator(server)) as session:
        await session.join()
        await session.go_live()
        await asyncio.sleep(2)
        await session.officer.close("2026-0501")
        pid = server.app[CONDUCTORS].running()[session.session_id]["recorder_pid"]
        await asyncio.sleep(0.25)
        if pid is not None:
            os.kill(pid, signal.SIGKILL)
        await session.officer.wait_for("sealed", phase("sealed"), timeout_s=30)
    archive = server.config.archive_dir / session.session_id
    assert verify(archive, Trust.of_installation(server.config.certificates_dir)).sealed


async def test_a_start_without_a_recorder_fails_in_time_and_can_be_tried_again(
    start_server: object, tmp_path: Path
) -> None:
    folder = tmp_path / "archives"
    server: Server = await start_server(  # type: ignore[operator]
        {"recording.archive_dir": str(folder), "recording.start_timeout_ms": 1500}
    )
    async with in_hand(server.url, *await administrator(server)) as session:
        await session.join()
        folder.rmdir()
        folder.write_text("not a folder")
        await session.officer.open()
        await session.officer.wait_for("failure", recording("failed"), timeout_s=20)
        assert session.officer.state["phase"] == "waiting"
        assert session.officer.state["recording"]["reason"] == "archive_dir_unwritable"
        folder.unlink()
        folder.mkdir()
        await session.go_live()
        await asyncio.sleep(1)
        await session.close()
    assert verify(
        folder / session.session_id, Trust.of_installation(server.config.certificates_dir)
    ).sealed
