"""Archives made to hurt whoever verifies them: a finding each, never a crash or a way out."""

from __future__ import annotations

import json
import os
import shutil
import socket
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from recorder.verify import Report, chain, render, tree, verify
from rooms.errors import ArchiveUnknown

CHAIN, CHECKPOINTS = "data/chain.jsonl", "data/checkpoints.txt"
MANIFEST, TAG_MANIFEST = "manifest-sha256.txt", "tagmanifest-sha256.txt"


def steps(report: Report) -> set[int]:
    return {failure.step for failure in report.failures}


def checked(root: Path, keys: Any) -> Report:
    """A report that can be shown in both forms, whatever the archive holds."""
    report = verify(root, keys.trust)
    json.dumps(report.to_json()).encode()
    render(report).encode("ascii", "replace")
    return report


@pytest.mark.parametrize(
    "line",
    [
        "../outside",
        "data/../../outside",
        "/etc/passwd",
        "data//chain.jsonl",
        "./data/chain.jsonl",
        "data/tracks/cam-1/",
        "data\\chain.jsonl",
        "C:/data/chain.jsonl",
        "data/%2e%2e/x",
        "data/a\0b",
        "data/a\rb",
        "data/\x1b[31mred",
        "data/\u202etxt",
        "data/" + "x" * 600,
        "~/x",
    ],
)
@pytest.mark.parametrize("manifest", [MANIFEST, TAG_MANIFEST])
def test_paths_that_lead_elsewhere(archive: Path, keys: Any, line: str, manifest: str) -> None:
    (archive.parent / "outside").write_text("secret")
    with (archive / manifest).open("ab") as file:
        file.write(f"{'0' * 64}  {line}\n".encode())
    report = checked(archive, keys)
    at = 3 if manifest == MANIFEST else 2
    assert any(f.step == at for f in report.failures)


@pytest.mark.parametrize(
    "content",
    [
        b"\xff\xfe\x00",
        b"\n" * 5000,
        b"0" * 70 + b"\n",
        b"A" * 64 + b"  data/chain.jsonl\n",
        b"\\" + b"a" * 64 + b"  data/chain.jsonl\n",
        b"a" * 64 + b" *data/chain.jsonl\n",
        b"a" * 64 + b"  data/chain.jsonl",
        b"a" * 64 + b"  data/\xff\n",
        b"x" * (1 << 20),
    ],
)
def test_manifests_that_are_none(archive: Path, keys: Any, content: bytes) -> None:
    (archive / MANIFEST).write_bytes(content)
    assert {2, 3} <= steps(checked(archive, keys))


def test_a_file_twice_in_the_manifest(archive: Path, keys: Any) -> None:
    text = (archive / MANIFEST).read_text()
    (archive / MANIFEST).write_text(text + text.splitlines()[0] + "\n")
    report = checked(archive, keys)
    assert any(f.step == 3 and f.expected == "each file once" for f in report.failures)


def append_line(root: Path, record: object) -> None:
    raw = record if isinstance(record, bytes) else json.dumps(record).encode()
    with (root / CHAIN).open("ab") as file:
        file.write(raw + b"\n")


@pytest.mark.parametrize(
    "line",
    [
        b"",
        b"null",
        b"[]",
        b'"text"',
        b"17",
        b"{}",
        b'{"n":16,"n":16}',
        b'{"n":16,"x":NaN}',
        b'{"n":16,"x":Infinity}',
        b'{"n":' + b"9" * 5000 + b"}",
        b'{"n":1e999}',
        b"[" * 200_000,
        b'{"a":' * 50_000,
        b'{"n":16,"type":{"a":1}}',
        b'{"n":16,"type":"unknown"}',
        b'{"n":true,"type":"open"}',
        b"\xef\xbb\xbf{}",
        b"\xff",
        '{"n":16}'.encode("utf-16"),
        b'{"n":16,"text":"\\ud800"}',
        b"\0" * 1000,
        b'{"n":16}\r',
    ],
)
def test_lines_that_are_no_record(archive: Path, keys: Any, line: bytes) -> None:
    append_line(archive, line)
    report = checked(archive, keys)
    assert any(f.step == 4 and f.place == "line 16" for f in report.failures)


def test_a_line_without_end(archive: Path, keys: Any) -> None:
    with (archive / CHAIN).open("ab") as file:
        file.truncate(chain.MAX_LINE_BYTES * 5)
    report = checked(archive, keys)
    found = next(f for f in report.failures if f.step == 4)
    assert found.found == "a longer line"


SEG = {
    "type": "seg",
    "track": "cam-1",
    "number": 4,
    "file": "data/tracks/cam-1/000004.m4s",
    "size": 1,
    "sha256": "0" * 64,
    "t0_us": 0,
    "end_us": 1,
    "media_t0": 0,
    "media_end": 1,
    "samples": 1,
    "key": True,
    "rtp": {},
    "lost": 0,
    "wall": "2026-11-23T14:05:07.123Z",
}


@pytest.mark.parametrize(
    "change",
    [
        {"track": "../../etc"},
        {"track": "Cam"},
        {"track": 5},
        {"number": 0},
        {"number": True},
        {"number": 1.0},
        {"number": 2**60},
        {"size": -1},
        {"sha256": "0" * 63},
        {"sha256": "G" * 64},
        {"sha256": None},
        {"t0_us": "0"},
        {"t0_us": 5, "end_us": 4},
        {"media_t0": 5, "media_end": 4},
        {"samples": 0},
        {"key": 1},
        {"rtp": []},
        {"wall": "yesterday"},
        {"type": "gap", "from_us": 5, "to_us": 4, "cause": "loss"},
        {"type": "gap", "from_us": 0, "to_us": 4, "cause": ""},
        {"type": "event", "t_us": 0.5, "event": {"type": "x"}},
        {"type": "event", "t_us": 0, "event": {}},
        {"type": "close", "closed_us": 1, "live": [[3, 1]], "tracks": [], "checkpoints": 1},
        {"type": "close", "closed_us": 1, "live": [[0, 2], [1, 3]], "tracks": [], "checkpoints": 1},
        {"type": "close", "closed_us": 1, "live": [[0]], "tracks": [], "checkpoints": 1},
        {"type": "close", "closed_us": 1, "live": [], "tracks": [{}], "checkpoints": 1},
        {"type": "close", "closed_us": 1, "live": [], "tracks": 3, "checkpoints": 1},
        {"type": "open"},
        {"type": "init", "container": "mkv"},
        {"type": "init", "timescale": 0},
        {"type": "recover"},
    ],
)
def test_fields_that_make_no_sense(archive: Path, keys: Any, change: dict[str, Any]) -> None:
    append_line(archive, {"n": 16, "prev": "", **SEG, **change})
    report = checked(archive, keys)
    shape = [f for f in report.failures if f.step == 4 and f.place == "line 16"]
    # The wrong prev is one finding, the field another.
    assert len(shape) == 2, shape


@pytest.mark.parametrize(
    "file",
    ["../../outside", "/etc/passwd", "bagit.txt", "data/tracks/mic-1/000001.m4s", "data/\0"],
)
def test_a_segment_line_that_names_another_file(archive: Path, keys: Any, file: str) -> None:
    append_line(archive, {"n": 16, "prev": "", **SEG, "file": file})
    assert 5 in steps(checked(archive, keys))


def test_the_session_is_no_object(archive: Path, keys: Any) -> None:
    for content in (b"[]", b'{"format":1,"session":[]}', b'{"format":2}', b"[" * 99_999, b"\xff"):
        (archive / "session.json").write_bytes(content)
        assert {2, 9} <= steps(checked(archive, keys))


@pytest.mark.parametrize(
    "content",
    [
        b"",
        b"\n" * 100,
        b"x\n" * 7,
        "tingxun.test/s-2026-0001\n1\nAAAA\n\n\u2014 x y\n".encode(),
        b"a\n99999999999999999999\nb\n\nc\n",
        b"o\n01\nAA==\n\n\xe2\x80\x94 o AA==\n",
        b"\xff" * 3000,
        b"x" * 5000,
    ],
)
def test_checkpoints_that_are_none(archive: Path, keys: Any, content: bytes) -> None:
    (archive / CHECKPOINTS).write_bytes(content)
    assert {3, 6} <= steps(checked(archive, keys))


@pytest.mark.parametrize("file", ["seal/seal.p7s", "seal/seal.tsr"])
@pytest.mark.parametrize(
    "content",
    [
        b"\x30\x80",
        b"\x30\x84\xff\xff\xff\xff",
        b"\x30\x03\x02\x01\x00" * 50,
        b"\x30\x00",
        b"\x31" * 5000,
        b"".join(b"\x30\x82" + (60_000 - 4 * i).to_bytes(2, "big") for i in range(14_000)),
        b"-----BEGIN CMS-----\n",
        bytes(2 << 20),
    ],
)
def test_signatures_that_are_none(archive: Path, keys: Any, file: str, content: bytes) -> None:
    (archive / file).write_bytes(content)
    report = checked(archive, keys)
    assert file in {failure.file for failure in report.failures}


def link_out(root: Path) -> str:
    (root.parent / "outside").mkdir()
    (root.parent / "outside" / "file").write_text("secret")
    (root / "data/outside").symlink_to(root.parent / "outside")
    return "data/outside"


def link_to_itself(root: Path) -> str:
    (root / "data/loop").symlink_to(root)
    return "data/loop"


def broken_link(root: Path) -> str:
    (root / "seal/receipts").symlink_to("/nowhere")
    return "seal/receipts"


def pipe(root: Path) -> str:
    (root / CHAIN).unlink()
    os.mkfifo(root / CHAIN)
    return CHAIN


def endless_device(root: Path) -> str:
    (root / "data/tracks/cam-1/000001.m4s").unlink()
    (root / "data/tracks/cam-1/000001.m4s").symlink_to("/dev/zero")
    return "data/tracks/cam-1/000001.m4s"


def folder_in_place_of_a_file(root: Path) -> str:
    (root / CHECKPOINTS).unlink()
    (root / CHECKPOINTS).mkdir()
    return CHECKPOINTS


def name_that_is_no_text(root: Path) -> str:
    (root / os.fsdecode(b"data/\xff\xfe")).write_bytes(b"")
    return "data/\\udcff\\udcfe"


def name_with_a_line_break(root: Path) -> str:
    (root / "data/a\nb").write_bytes(b"")
    return "data/a\\nb"


def many_folders(root: Path) -> str:
    path = root / "data/1/2/3/4/5/6/7/8"
    path.mkdir(parents=True)
    (path / "file").write_text("")
    return "data/1/2/3/4/5/6/7/8"


@pytest.mark.parametrize(
    "change",
    [
        link_out, link_to_itself, broken_link, pipe, endless_device, folder_in_place_of_a_file,
        name_that_is_no_text, name_with_a_line_break, many_folders,
    ],
)  # fmt: skip
def test_what_is_no_plain_file(archive: Path, keys: Any, change: Callable[[Path], str]) -> None:
    file = change(archive)
    report = checked(archive, keys)
    assert (1, file) in {(f.step, f.file) for f in report.failures}


def test_a_socket(archive: Path, keys: Any) -> None:
    with socket.socket(socket.AF_UNIX) as listener:
        here = Path.cwd()
        os.chdir(archive / "seal")
        try:
            listener.bind("s")
        finally:
            os.chdir(here)
        assert (1, "seal/s") in {(f.step, f.file) for f in checked(archive, keys).failures}


def test_more_files_than_any_archive_has(
    archive: Path, keys: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(tree, "MAX_FILES", 10)
    assert 1 in steps(checked(archive, keys))


def test_more_lines_than_any_ledger_has(
    archive: Path, keys: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(chain, "MAX_FILES", 10)
    report = checked(archive, keys)
    assert any(f.step == 4 and f.place == "line 10" for f in report.failures)


def test_what_is_no_archive(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    (tmp_path / "empty").mkdir()
    for name in ("missing", "file", "empty", "file/x"):
        with pytest.raises(ArchiveUnknown):
            verify(tmp_path / name)


def test_an_archive_that_is_still_recorded(tmp_path: Path, scribe: Any, keys: Any) -> None:
    scribe.init("cam-1", "camera", "avc3.42E01F", "cmaf")
    scribe.segment("cam-1", 0)
    report = checked(scribe.layout.root, keys)
    assert not report.sealed
    assert {1, 2, 7, 8, 9} <= steps(report)
    assert report.steps[3].ok


def test_only_the_ledger_is_left(archive: Path, keys: Any) -> None:
    for path in archive.iterdir():
        if path.name != "data":
            shutil.rmtree(path) if path.is_dir() else path.unlink()
    assert steps(checked(archive, keys)) == {1, 2, 3, 7, 8, 9}
