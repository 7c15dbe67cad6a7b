"""The small text files as bytes."""

from __future__ import annotations

import json
from typing import Any

import pytest

from recorder import manifest
from recorder.manifest import Digest

PAYLOAD = {
    "data/tracks/b/000001.m4s": Digest(10, "b" * 64),
    "data/chain.jsonl": Digest(5, "a" * 64),
}


def segment(number: int, start: int, end: int, *, key: bool = True) -> dict[str, Any]:
    return {
        "file": f"data/tracks/cam-1/{number:06d}.m4s",
        "media_t0": start,
        "media_end": end,
        "key": key,
        "wall": f"2026-11-23T14:05:0{number}.000Z",
    }


INIT = {"file": "data/tracks/cam-1/init.mp4", "timescale": 90000}


def test_manifests_are_sorted_and_in_the_form_of_sha256sum() -> None:
    assert manifest.manifest(PAYLOAD).decode() == (
        f"{'a' * 64}  data/chain.jsonl\n{'b' * 64}  data/tracks/b/000001.m4s\n"
    )


def test_the_tag_manifest_covers_the_four_tag_files() -> None:
    tags = dict.fromkeys(("bagit.txt", "bag-info.txt", "session.json"), b"")
    text = manifest.tag_manifest({**tags, "manifest-sha256.txt": b"x"}).decode()
    names = [line.split("  ")[1] for line in text.splitlines()]
    assert names == ["bagit.txt", "bag-info.txt", "session.json", "manifest-sha256.txt"]
    empty = "e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855"
    assert text.startswith(f"{empty}  bagit.txt\n")


def test_bag_info_counts_octets_and_files() -> None:
    text = manifest.bag_info(
        session_id="s-1", sealed_on="2026-11-23", software="a\nEvil: b", payload=PAYLOAD
    ).decode()
    assert text.splitlines() == [
        "Bagging-Date: 2026-11-23",
        "Bag-Software-Agent: a Evil: b",
        "External-Identifier: s-1",
        "Payload-Oxum: 15.2",
    ]


def test_session_json_is_for_people_to_read() -> None:
    content = manifest.session_json({"id": "s-1", "title": "讯问\ud800"})
    assert json.loads(content) == {"format": 1, "session": {"id": "s-1", "title": "讯问?"}}
    assert "讯问".encode() in content
    assert content.endswith(b"}\n")


def test_a_playlist_without_gaps() -> None:
    text = manifest.playlist(INIT, [segment(1, 0, 360_000), segment(2, 360_000, 720_045)])
    assert text.decode().splitlines() == [
        "#EXTM3U",
        "#EXT-X-VERSION:7",
        "#EXT-X-TARGETDURATION:4",
        "#EXT-X-MEDIA-SEQUENCE:1",
        "#EXT-X-PLAYLIST-TYPE:VOD",
        "#EXT-X-INDEPENDENT-SEGMENTS",
        '#EXT-X-MAP:URI="init.mp4"',
        "#EXT-X-PROGRAM-DATE-TIME:2026-11-23T14:05:01.000Z",
        "#EXTINF:4.000000,",
        "000001.m4s",
        "#EXTINF:4.000500,",
        "000002.m4s",
        "#EXT-X-ENDLIST",
    ]


def test_a_playlist_says_where_the_media_time_jumps_and_that_a_segment_cannot_stand_alone() -> None:
    text = manifest.playlist(INIT, [segment(1, 0, 9000), segment(2, 900_000, 909_000, key=False)])
    lines = text.decode().splitlines()
    assert "#EXT-X-INDEPENDENT-SEGMENTS" not in lines
    at = lines.index("#EXT-X-DISCONTINUITY")
    assert lines[at + 1] == "#EXT-X-PROGRAM-DATE-TIME:2026-11-23T14:05:02.000Z"
    assert "#EXT-X-TARGETDURATION:1" in lines


@pytest.mark.parametrize(
    ("ticks", "target"), [(90_000 * 4 + 44_999, 4), (90_000 * 4 + 45_000, 5), (1, 1)]
)
def test_no_segment_is_longer_than_the_target_when_rounded(ticks: int, target: int) -> None:
    text = manifest.playlist(INIT, [segment(1, 0, ticks)]).decode()
    assert f"#EXT-X-TARGETDURATION:{target}\n" in text
