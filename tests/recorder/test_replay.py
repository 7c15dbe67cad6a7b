"""The description of an archive for a player."""

from __future__ import annotations

import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from recorder.archive import Layout
from recorder.replay import describe
from rooms.errors import ArchiveBroken, ArchiveUnknown


def test_a_sealed_archive(archive: Path) -> None:
    shown = describe(archive)
    assert shown["archive_id"] == "s-2026-0001"
    assert shown["session"] == {
        "id": "s-2026-0001",
        "case_number": "（2026）沪0101刑初17号",
        "kind": "interrogation",
        "title": "Questioning of L.",
        "participants": [
            {
                "id": "officer-1",
                "name": "王警官",
                "role": "questioner",
                "site_id": "bureau",
                "site_name": "Bureau",
            }
        ],
    }
    assert (shown["duration_us"], shown["live"]) == (12_000_000, [[0, 12_000_000]])
    assert not shown["unsealed"]
    tracks = {track["track_id"]: track for track in shown["tracks"]}
    assert [tracks[name]["mime"] for name in ("cam-1", "mic-1", "evidence-1")] == [
        'video/mp4; codecs="avc3.42E01F"',
        'audio/mp4; codecs="opus"',
        'video/webm; codecs="vp8"',
    ]
    assert tracks["evidence-1"]["gaps"] == [
        {"from_us": 4_000_000, "to_us": 6_500_000, "cause": "network"}
    ]
    assert tracks["evidence-1"]["expected_us"] == 12_000_000
    assert tracks["evidence-1"]["captured_us"] == 9_500_000
    assert [s["n"] for s in tracks["cam-1"]["segments"]] == [1, 2, 3]
    lines = (archive / "data/chain.jsonl").read_text().splitlines()
    for track in shown["tracks"]:
        for file in (track["init"], *track["segments"]):
            assert Layout(archive).resolve(file["file"]).stat().st_size == file["size"]
            assert file["sha256"] in lines[file["line"]]
    marker = shown["events"][-1]
    assert (marker["type"], marker["t_us"], marker["text"]) == ("marker_added", 11_000_000, "供述")
    assert "marker_added" in lines[marker["line"]]


def test_offsets_bring_media_time_to_the_session_clock(tmp_path: Path, scribe: Any) -> None:
    scribe.init("cam-1", "camera", "avc3.42E01F", "cmaf")
    scribe.segment("cam-1", 5_000_000)
    path = scribe.layout.chain
    text = path.read_text().replace('"media_t0":240000', '"media_t0":144000')
    path.write_text(text)
    track = describe(scribe.layout.root)["tracks"][0]
    assert track["segments"][0]["offset_us"] == 2_000_000


def test_an_archive_in_progress(scribe: Any) -> None:
    scribe.event(0, {"type": "session_live", "copies": 1})
    scribe.init("cam-1", "camera", "avc3.42E01F", "cmaf")
    scribe.segment("cam-1", 0)
    scribe.event(4_000_000, {"type": "session_paused", "reason": "rest"})
    scribe.event(6_000_000, {"type": "session_resumed", "copies": 1})
    scribe.gap("cam-1", 6_000_000, 7_000_000)
    scribe.segment("cam-1", 7_000_000)
    with scribe.layout.chain.open("ab") as file:
        file.write(b'{"n":9,"torn')
    shown = describe(scribe.layout.root)
    assert shown["unsealed"]
    assert shown["archive_id"] == "s-2026-0001"
    assert shown["live"] == [[0, 4_000_000], [6_000_000, 11_000_000]]
    assert shown["duration_us"] == 11_000_000
    track = shown["tracks"][0]
    assert (track["captured_us"], track["expected_us"]) == (8_000_000, 9_000_000)


def test_closed_but_never_sealed(tmp_path: Path, write: Callable[[Path], Any]) -> None:
    assert describe(write(tmp_path).layout.root)["unsealed"]


def test_a_track_that_never_brought_anything(tmp_path: Path, scribe: Any) -> None:
    account = {
        "track": "doc-1", "source": "document_camera", "participant": "officer-1", "site": "bureau",
        "codec": "H264", "segments": 0, "samples": 0, "expected_us": 5, "captured_us": 0,
        "gap_us": 5, "gaps": 1,
    }  # fmt: skip
    scribe.ledger.append(
        {"type": "gap", "track": "doc-1", "from_us": 0, "to_us": 5, "cause": "never_arrived"}
    )
    scribe.close(5, tracks=[account])
    track = describe(scribe.layout.root)["tracks"][0]
    assert (track["track_id"], track["init"], track["segments"]) == ("doc-1", None, [])
    assert track["gaps"] == [{"from_us": 0, "to_us": 5, "cause": "never_arrived"}]
    assert (track["expected_us"], track["captured_us"]) == (5, 0)


def test_what_is_no_archive(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    for name in ("missing", "file", "."):
        with pytest.raises(ArchiveUnknown):
            describe(tmp_path / name)


@pytest.mark.parametrize(
    "record",
    [
        {"type": "seg", "track": "cam-9"},
        {"type": "init", "track": "cam-1", "codec": []},
        {"type": "event", "event": 5, "t_us": 0, "wall": ""},
        {"type": "close", "tracks": 7},
        {"no": "type"},
    ],
)
def test_a_ledger_that_no_recorder_writes(tmp_path: Path, scribe: Any, record: Any) -> None:
    scribe.ledger.append({"type": "x", **record})
    path = scribe.layout.chain
    if "type" not in record:
        path.write_text(path.read_text().replace('"type":"x"', '"kind":"x"'))
    with pytest.raises(ArchiveBroken):
        describe(scribe.layout.root)


def test_an_empty_ledger(tmp_path: Path) -> None:
    layout = Layout(tmp_path / "s-1")
    layout.make_directories()
    layout.chain.write_bytes(b"")
    with pytest.raises(ArchiveBroken):
        describe(layout.root)
    shutil.rmtree(layout.root)
