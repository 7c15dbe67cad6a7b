"""The HTTP interface for archives: who sees which, ranges, no way out, verification beside."""

from __future__ import annotations

import asyncio
import shutil
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest
from running import Client, Server
from scribe import make_writable, write_session

from recorder import certificates
from rooms.errors import MessageTooFrequent
from rooms.roles import Role
from rooms.session import Assignment, Session, SessionKind
from server.config import Config
from server.verification import AT_ONCE, WAITING, Verification


@pytest.fixture
def archive(server: Server) -> Iterator[Path]:
    """A sealed archive of a session in which the account "officer" has a seat, not yet booked."""
    job = certificates.ensure(server.config.certificates_dir)
    root = write_session(server.config.archive_dir).seal(job).layout.root
    make_writable(root)
    yield root
    make_writable(root)


async def stored(server: Server, archive: Path, *, sealed: bool = True) -> tuple[Client, str]:
    """The archive in the records; returns an officer with a seat in its session, and its id."""
    officer = await server.signed_in("officer")
    assert officer.account is not None
    seat = Assignment(officer.account["id"], "officer", Role.QUESTIONER, None, None)
    now = datetime.now(UTC)
    session = Session(
        id=archive.name,
        case_number="c-1",
        kind=SessionKind.WITNESS,
        title="t",
        starts_at=now,
        room_id="interrogation-1",
        site_ids=(),
        assignments=(seat,),
    )
    await server.records.book(session, now + timedelta(hours=1), "detention-1", None)
    await server.records.set_archive(session.id, archive.name, archive)
    if sealed:
        await server.records.set_phase(session.id, "sealed")
    return officer, f"/api/archives/{archive.name}"


async def test_who_sees_an_archive(server: Server, archive: Path) -> None:
    officer, base = await stored(server, archive)
    others = {
        "officer": (await server.signed_in("officer", "other"), 403, 0),
        "terminal": (await server.signed_in("terminal"), 403, None),
        "reviewer": (await server.signed_in("reviewer"), 200, 1),
        "admin": (await server.signed_in("admin"), 200, 1),
        "assigned": (officer, 200, 1),
    }
    for role, (client, expected, listed) in others.items():
        for path in (f"{base}/replay", f"{base}/files/bagit.txt"):
            async with client.http.get(path) as response:
                assert response.status == expected, (role, path)
        status, answer = await client.get("/api/archives")
        if listed is None:
            assert status == 403
        else:
            assert len(answer["archives"]) == listed
    # A token for another room opens nothing here.
    assert (await others["officer"][0].get(f"{base}/replay"))[1]["code"] == "not_assigned"


async def test_what_there_is_to_replay(server: Server, archive: Path) -> None:
    officer, base = await stored(server, archive)
    status, described = await officer.get(f"{base}/replay")
    assert status == 200
    assert {track["track_id"] for track in described["tracks"]} == {"cam-1", "mic-1", "evidence-1"}
    for track in described["tracks"]:
        for part in (track["init"], *track["segments"]):
            async with officer.http.get(f"{base}/files/{part['file']}") as response:
                assert response.status == 200
                assert len(await response.read()) == part["size"]


async def test_files_with_types_ranges_and_caching(server: Server, archive: Path) -> None:
    officer, base = await stored(server, archive)
    for path, kind in (
        ("data/tracks/cam-1/init.mp4", "video/mp4"),
        ("data/tracks/cam-1/000001.m4s", "video/iso.segment"),
        ("data/tracks/cam-1/index.m3u8", "application/vnd.apple.mpegurl"),
        ("data/tracks/evidence-1/000001.webm", "video/webm"),
        ("data/chain.jsonl", "application/x-ndjson"),
        ("session.json", "application/json"),
        ("bagit.txt", "text/plain"),
        ("seal/seal.p7s", "application/pkcs7-signature"),
    ):
        content = (archive / path).read_bytes()
        async with officer.http.get(f"{base}/files/{path}") as response:
            assert (response.status, response.content_type) == (200, kind), path
            assert "immutable" in response.headers["Cache-Control"]
            assert response.headers["X-Content-Type-Options"] == "nosniff"
            assert await response.read() == content
        async with officer.http.get(
            f"{base}/files/{path}", headers={"Range": "bytes=2-11"}
        ) as response:
            assert response.status == 206
            assert await response.read() == content[2:12]
            assert response.headers["Content-Range"] == f"bytes 2-11/{len(content)}"
    async with officer.http.get(
        f"{base}/files/bagit.txt", headers={"Range": "bytes=100000-"}
    ) as response:
        assert response.status == 416


async def test_what_is_not_sealed_yet_is_not_kept_by_browsers(
    server: Server, archive: Path
) -> None:
    officer, base = await stored(server, archive, sealed=False)
    async with officer.http.get(f"{base}/files/bagit.txt") as response:
        assert response.headers["Cache-Control"] == "no-cache"
    assert not (await officer.get("/api/archives"))[1]["archives"][0]["sealed"]


@pytest.mark.parametrize(
    "path",
    [
        "../secret.txt",
        "..%2fsecret.txt",
        "%2e%2e/secret.txt",
        "data/../../secret.txt",
        "data/..%2f..%2fsecret.txt",
        "%2fetc%2fpasswd",
        "/etc/passwd",
        "..%5csecret.txt",
        "data",
        "data/tracks/",
        ".",
        "way-out.txt",
        "nothing",
        "%00",
        "x" * 3000,
    ],
)
async def test_no_way_out_of_an_archive(server: Server, archive: Path, path: str) -> None:
    from yarl import URL

    (archive.parent / "secret.txt").write_text("secret")
    (archive / "way-out.txt").symlink_to(archive.parent / "secret.txt")
    officer, base = await stored(server, archive)
    url = URL(f"{server.url}{base}/files/{path}", encoded=True)
    async with officer.http.get(url) as response:
        assert response.status == 404
        assert (await response.json(content_type=None))["code"] in ("file_unknown", "page_unknown")


async def test_verification_says_what_the_command_says(server: Server, archive: Path) -> None:
    officer, base = await stored(server, archive)
    status, report = await officer.post(f"{base}/verify")
    assert status == 200
    assert report["sealed"], report
    assert report["archive"] == archive.name
    segment = archive / "data/tracks/cam-1/000002.m4s"
    segment.write_bytes(segment.read_bytes()[:-1] + b"\0")
    _, report = await officer.post(f"{base}/verify")
    assert not report["sealed"]
    failed = next(step for step in report["steps"] if not step["ok"])
    assert failed["failure"]["file"] == "data/tracks/cam-1/000002.m4s"
    shutil.rmtree(archive)
    status, answer = await officer.post(f"{base}/verify")
    assert (status, answer["code"]) == (404, "archive_unknown")


async def test_verifications_wait_their_turn_and_no_more_than_some(
    config: Config, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    running, most, gate = 0, 0, asyncio.Event()

    async def slow(_self: Verification, archive: Path) -> dict[str, Any]:
        nonlocal running, most
        running += 1
        most = max(most, running)
        await gate.wait()
        running -= 1
        return {"archive": archive.name}

    monkeypatch.setattr(Verification, "_verify", slow)
    verification = Verification(config)
    asked = [asyncio.create_task(verification.verify(tmp_path)) for _ in range(AT_ONCE + WAITING)]
    await asyncio.sleep(0)
    with pytest.raises(MessageTooFrequent):
        await verification.verify(tmp_path)
    gate.set()
    assert len(await asyncio.gather(*asked)) == AT_ONCE + WAITING
    assert most == AT_ONCE
    await verification.verify(tmp_path)
