"""The offset of sound against picture, found again in files whose offset is known."""

from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest

from recorder import cmaf, webm
from server.agent.picture import ClockPicture, EvidencePage
from server.agent.sources import SoundEncoder, Tone, VideoEncoder
from server.measure import measure_described

SEGMENT_FRAMES = 50
SECONDS = 5


def units(packet: bytes) -> list[bytes]:
    """The NAL units of an Annex B access unit."""
    parts = packet.replace(b"\0\0\0\1", b"\0\0\1").split(b"\0\0\1")
    return [part for part in parts if part]


def write_video(root: Path, codec: str, picture: Any, media0: int) -> tuple[bytes, list[bytes]]:
    encoder, now = VideoEncoder(codec, 640, 360), datetime.now(UTC)
    samples, init = [], b""
    for n in range(SECONDS * 25):
        packet = encoder.encode(picture.frame(n, now), n, key=n % SEGMENT_FRAMES == 0)
        payload = bytes(packet)
        if codec == "H264":
            nals = units(payload)
            if not init:
                init = cmaf.video_init(nals[0], nals[1], 640, 360)
            payload = b"".join(len(nal).to_bytes(4, "big") + nal for nal in nals)
        samples.append(cmaf.Sample(media0 + packet.pts, 3600, packet.is_keyframe, payload))
    runs = [samples[n : n + SEGMENT_FRAMES] for n in range(0, len(samples), SEGMENT_FRAMES)]
    if codec == "VP8":
        return webm.video_init(640, 360), [webm.cluster(run) for run in runs]
    return init, [cmaf.fragment(n, run, video=True) for n, run in enumerate(runs, 1)]


def write_sound(media0: int) -> tuple[bytes, list[bytes]]:
    packets = SoundEncoder(Tone()).encode_some(0, SECONDS * 50)
    samples = [cmaf.Sample(media0 + p.pts, 960, True, bytes(p)) for p in packets]
    runs = [samples[n : n + 100] for n in range(0, len(samples), 100)]
    return cmaf.sound_init(), [cmaf.fragment(n, run, video=False) for n, run in enumerate(runs, 1)]


def track(
    root: Path, source: str, who: str, files: tuple[bytes, list[bytes]], t0_us: int, media0_us: int
) -> dict[str, Any]:
    """Files on disk, and a track as recorder.replay.describe gives it."""
    folder = root / f"{source}-{who}"
    folder.mkdir()
    init, runs = files
    (folder / "init").write_bytes(init)
    segments = []
    for n, run in enumerate(runs):
        (folder / f"{n}").write_bytes(run)
        start, end = t0_us + n * 2_000_000, t0_us + min((n + 1) * 2, SECONDS) * 1_000_000
        offset = t0_us - media0_us
        file = f"{folder.name}/{n}"
        segments.append({"file": file, "t0_us": start, "end_us": end, "offset_us": offset})
    return {
        "track_id": source,
        "source": source,
        "participant_id": who,
        "init": {"file": f"{folder.name}/init"},
        "segments": segments,
    }


@pytest.mark.parametrize("codec", ["H264", "VP8"])
@pytest.mark.parametrize("late_us", [0, 37_000, -80_000])
def test_known_offset_is_found(tmp_path: Path, codec: str, late_us: int) -> None:
    picture = ClockPicture("R", "C", 640, 360)
    files = write_video(tmp_path, codec, picture, 90_000 * 7)
    tracks = [
        track(tmp_path, "camera", "a", files, 1_000_000, 7_000_000),
        track(tmp_path, "microphone", "a", write_sound(0), 1_000_000 + late_us, 0),
    ]
    found = measure_described(tmp_path, {"duration_us": 6_000_000, "tracks": tracks})
    assert found is not None
    assert found.offset_ms == pytest.approx(late_us / 1000, abs=2)
    assert found.spread_ms < 3
    assert found.pairs >= 3
    assert found.participant_id == "a"


def test_a_camera_without_flash_leaves_it_to_the_other_site(tmp_path: Path) -> None:
    page = EvidencePage("a film", 640, 360)
    tracks = [
        track(tmp_path, "camera", "a", write_video(tmp_path, "H264", page, 0), 0, 0),
        track(tmp_path, "microphone", "a", write_sound(0), 0, 0),
    ]
    assert measure_described(tmp_path, {"duration_us": 5_000_000, "tracks": tracks}) is None
    picture = ClockPicture("R", "C", 640, 360)
    tracks += [
        track(tmp_path, "camera", "b", write_video(tmp_path, "H264", picture, 0), 0, 0),
        track(tmp_path, "microphone", "b", write_sound(0), 20_000, 0),
    ]
    found = measure_described(tmp_path, {"duration_us": 5_000_000, "tracks": tracks})
    assert found is not None
    assert (found.participant_id, round(found.offset_ms)) == ("b", 20)


def test_nothing_to_measure(tmp_path: Path) -> None:
    assert measure_described(tmp_path, {"duration_us": 0, "tracks": []}) is None
