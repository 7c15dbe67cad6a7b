"""Where the files of an archive lie."""

from __future__ import annotations

from pathlib import Path

import pytest

from recorder.archive import Layout, check_session_id
from rooms.errors import FieldInvalid, FileUnknown


def test_paths_while_recording_and_after(tmp_path: Path) -> None:
    recording = Layout.recording(tmp_path, "s-1")
    sealed = Layout.sealed(tmp_path, "s-1")
    assert recording.root == tmp_path / "s-1.recording"
    assert recording.sealed_root == sealed.root == tmp_path / "s-1"
    assert recording.in_progress
    assert not sealed.in_progress
    assert recording.archive_id == sealed.archive_id == "s-1"
    assert recording.state == sealed.state == tmp_path / "s-1.state.json"


def test_names_of_tracks(tmp_path: Path) -> None:
    layout = Layout(tmp_path)
    assert layout.relative(layout.init("cam-1", "cmaf")) == "data/tracks/cam-1/init.mp4"
    assert layout.relative(layout.segment("cam-1", 1, "cmaf")) == "data/tracks/cam-1/000001.m4s"
    assert layout.relative(layout.init("doc-2", "webm")) == "data/tracks/doc-2/init.webm"
    assert layout.relative(layout.segment("doc-2", 12, "webm")) == "data/tracks/doc-2/000012.webm"
    assert layout.relative(layout.playlist("cam-1")) == "data/tracks/cam-1/index.m3u8"
    assert layout.part("cam-1").parent == layout.track_dir("cam-1")


@pytest.mark.parametrize("name", ["", "..", "a/b", "/etc", "Cam", "cam 1", "-a", "a" * 33, "cam\n"])
def test_a_track_id_is_a_plain_name(tmp_path: Path, name: str) -> None:
    with pytest.raises(FieldInvalid):
        Layout(tmp_path).track_dir(name)


@pytest.mark.parametrize("name", ["", "..", "a/b", ".hidden", "a.b", "a b", "x" * 65, "é", "a\n"])
def test_a_session_id_is_a_plain_name(name: str) -> None:
    with pytest.raises(FieldInvalid):
        check_session_id(name)


def test_resolve_gives_files_inside(tmp_path: Path) -> None:
    layout = Layout(tmp_path / "s-1")
    layout.make_directories()
    layout.make_directories()
    layout.chain.write_text("x")
    assert layout.resolve("data/chain.jsonl") == layout.chain


@pytest.mark.parametrize(
    "name",
    [
        "", "/", "/etc/passwd", "../outside", "data/../../outside", "data//chain.jsonl", "data",
        "./data/chain.jsonl", "data/missing", "link", "folder/outside", "data\\chain.jsonl",
        "data/chain.jsonl/x", "a\0b", "x" * 5000,
    ],
)  # fmt: skip
def test_resolve_never_leaves_the_archive(tmp_path: Path, name: str) -> None:
    (tmp_path / "outside").write_text("secret")
    layout = Layout(tmp_path / "s-1")
    layout.make_directories()
    layout.chain.write_text("x")
    (layout.root / "link").symlink_to(tmp_path / "outside")
    (layout.root / "folder").symlink_to(tmp_path)
    with pytest.raises(FileUnknown):
        layout.resolve(name)
