"""CMAF and WebM files as others read them: FFmpeg, and Chromium's Media Source."""

from __future__ import annotations

import json
import struct
import subprocess
from collections.abc import AsyncIterator, Sequence
from pathlib import Path
from typing import Any

import pytest
from aiohttp import web
from playwright.async_api import Browser, async_playwright
from rtp_streams import pictures, sounds

from bench.chromium import start
from recorder import cmaf, webm
from recorder.cmaf import Sample
from recorder.depacketize import depacketizer
from recorder.h264 import H264Depacketizer

SMALL, LARGE = (320, 180), (640, 360)
START = 5 * 90_000
STEP = 3000
FRAMES = 30


def _avcc(picture: bytes) -> bytes:
    parts = [p for p in picture.replace(b"\0\0\0\1", b"\0\0\1").split(b"\0\0\1") if p]
    return b"".join(struct.pack("!I", len(part)) + part for part in parts)


def _parameter_sets(picture: bytes) -> tuple[bytes, bytes]:
    sink = depacketizer("H264", lambda unit: None)
    assert isinstance(sink, H264Depacketizer)
    aggregate = b"\x18"
    for part in picture.replace(b"\0\0\0\1", b"\0\0\1").split(b"\0\0\1"):
        if part and part[0] & 0x1F in (7, 8):
            aggregate += struct.pack("!H", len(part)) + part
    sink.push(bytes(12) + aggregate, 12, 12 + len(aggregate), False, 0, 1, 0)
    return sink.sps, sink.pps


def _picture_samples(codec: str, start: int = START) -> list[Sample]:
    """A second of small pictures and then a second of large ones."""
    both = [*pictures(codec, FRAMES, 15, *SMALL), *pictures(codec, FRAMES, 15, *LARGE)]
    return [
        Sample(start + i * STEP, STEP, i % 15 == 0, _avcc(p) if codec == "H264" else p)
        for i, p in enumerate(both)
    ]


def _chunks(samples: Sequence[Sample], count: int) -> list[Sequence[Sample]]:
    return [samples[at : at + count] for at in range(0, len(samples), count)]


def h264_file(start: int = START) -> bytes:
    init = cmaf.video_init(*_parameter_sets(pictures("H264", FRAMES, 15, *SMALL)[0]), *SMALL)
    chunks = _chunks(_picture_samples("H264", start), 7)
    return init + b"".join(
        cmaf.fragment(number, chunk, video=True) for number, chunk in enumerate(chunks, 1)
    )


def vp8_file(start: int = START) -> bytes:
    chunks = _chunks(_picture_samples("VP8", start), 7)
    return webm.video_init(*SMALL) + b"".join(map(webm.cluster, chunks))


def sound_file() -> bytes:
    """Two seconds of sound; half way one packet lasts 200 ms longer than it sounds."""
    samples, at = [], 5 * 48_000
    for index, payload in enumerate(sounds(100)):
        duration = 960 + 9600 * (index == 50)
        samples.append(Sample(at, duration, True, payload))
        at += duration
    chunks = _chunks(samples, 25)
    return cmaf.sound_init() + b"".join(
        cmaf.fragment(number, chunk, video=False) for number, chunk in enumerate(chunks, 1)
    )


def probe(path: Path) -> dict[str, Any]:
    """What ffprobe finds; every frame is decoded, and nothing may be wrong with it."""
    command = ["ffprobe", "-v", "error", "-show_streams", "-show_frames", "-of", "json", str(path)]
    done = subprocess.run(command, capture_output=True, timeout=30, check=True)
    assert done.stderr == b""
    found: dict[str, Any] = json.loads(done.stdout)
    return found


@pytest.mark.parametrize("codec", ["H264", "VP8"])
@pytest.mark.parametrize("start", [START, (1 << 33) + 9000])
def test_ffmpeg_decodes_every_picture_at_its_time(tmp_path: Path, codec: str, start: int) -> None:
    path = tmp_path / ("file.mp4" if codec == "H264" else "file.webm")
    path.write_bytes(h264_file(start) if codec == "H264" else vp8_file(start))
    found = probe(path)
    (stream,) = found["streams"]
    assert stream["codec_name"] == codec.lower()
    frames = found["frames"]
    assert len(frames) == 2 * FRAMES
    assert {(f["width"], f["height"]) for f in frames[:FRAMES]} == {SMALL}
    assert {(f["width"], f["height"]) for f in frames[FRAMES:]} == {LARGE}
    for index, frame in enumerate(frames):
        expected = (start + index * STEP) / 90_000
        tolerance = 0.0006 if codec == "VP8" else 1e-6
        assert float(frame["best_effort_timestamp_time"]) == pytest.approx(expected, abs=tolerance)
    assert [index for index, frame in enumerate(frames) if frame["key_frame"]] == [0, 15, 30, 45]


def test_ffmpeg_decodes_every_sound(tmp_path: Path) -> None:
    path = tmp_path / "sound.mp4"
    path.write_bytes(sound_file())
    found = probe(path)
    (stream,) = found["streams"]
    assert (stream["codec_name"], stream["sample_rate"], stream["channels"]) == ("opus", "48000", 2)
    times = [float(frame["pts_time"]) for frame in found["frames"]]
    assert len(times) == 100
    expected = [5 + index * 0.02 + 0.2 * (index > 50) for index in range(100)]
    assert times == pytest.approx(expected, abs=1e-5)


def test_the_same_input_gives_the_same_bytes() -> None:
    assert h264_file() == h264_file()
    assert vp8_file() == vp8_file()
    assert sound_file() == sound_file()


def test_names_of_codecs() -> None:
    assert cmaf.codec_name(bytes.fromhex("6742e01f")) == "avc3.42E01F"


def test_sizes_of_large_elements() -> None:
    """EBML lengths of four bytes end at 2^28 - 2; a cluster may be longer."""
    small, large = Sample(0, 3000, True, bytes(10)), Sample(0, 3000, False, bytes(1 << 20))
    assert webm.cluster([small])[4:8] == struct.pack("!I", 0x10000000 | 36)
    assert len(webm.cluster([large])) > 1 << 20


PAGE = """<!doctype html><meta charset=utf-8><video id=v muted></video><script type=module>
const video = document.getElementById('v');
window.play = async (sources) => {
  const media = new MediaSource();
  video.src = URL.createObjectURL(media);
  await new Promise(done => media.addEventListener('sourceopen', done, {once: true}));
  const buffers = sources.map(([type]) => {
    if (!MediaSource.isTypeSupported(type)) throw new Error('unsupported ' + type);
    return media.addSourceBuffer(type);
  });
  for (const [index, [type, url]] of sources.entries()) {
    const buffer = buffers[index];
    const bytes = await (await fetch(url)).arrayBuffer();
    await new Promise((done, failed) => {
      buffer.addEventListener('updateend', done, {once: true});
      buffer.addEventListener('error', () => failed(new Error('append ' + type)), {once: true});
      buffer.appendBuffer(bytes);
    });
  }
  media.endOfStream();
  const sizes = new Set(), times = [];
  const look = (now, frame) => {
    sizes.add(frame.width + 'x' + frame.height);
    times.push(frame.mediaTime);
    video.requestVideoFrameCallback(look);
  };
  video.requestVideoFrameCallback(look);
  const ranges = [];
  for (let i = 0; i < video.buffered.length; i++)
    ranges.push([video.buffered.start(i), video.buffered.end(i)]);
  video.currentTime = ranges[0][0];
  const ended = new Promise((done, failed) => {
    video.addEventListener('ended', done, {once: true});
    video.addEventListener('error', () => failed(new Error(video.error.message)), {once: true});
    setTimeout(() => failed(new Error('stuck at ' + video.currentTime)), 15000);
  });
  await video.play();
  await ended;
  const quality = video.getVideoPlaybackQuality();
  return {ranges, sizes: [...sizes], times, decoded: quality.totalVideoFrames,
    corrupted: quality.corruptedVideoFrames, sound: video.webkitAudioDecodedByteCount};
};
window.ready = true;
</script>"""


@pytest.fixture
async def address() -> AsyncIterator[str]:
    """A page that plays by Media Source, and the files to play."""

    async def page(_: web.Request) -> web.Response:
        return web.Response(text=PAGE, content_type="text/html")

    def serve(content: bytes) -> Any:
        async def answer(_: web.Request) -> web.Response:
            return web.Response(body=content)

        return answer

    app = web.Application()
    app.router.add_get("/", page)
    for name, content in (("h264", h264_file()), ("vp8", vp8_file()), ("sound", sound_file())):
        app.router.add_get(f"/{name}", serve(content))
    runner = web.AppRunner(app)
    await runner.setup()
    site = web.TCPSite(runner, "127.0.0.1", 0)
    await site.start()
    yield f"http://127.0.0.1:{runner.addresses[0][1]}"
    await runner.cleanup()


@pytest.fixture
async def chromium() -> AsyncIterator[Browser]:
    async with async_playwright() as tools:
        browser = await start(tools)
        yield browser
        await browser.close()


@pytest.mark.browser
async def test_chromium_plays_them(address: str, chromium: Browser) -> None:
    page = await chromium.new_page()
    await page.goto(address)
    await page.wait_for_function("window.ready")
    sound = ['audio/mp4; codecs="opus"', "/sound"]
    kinds = {"h264": 'video/mp4; codecs="avc3.42E01F"', "vp8": 'video/webm; codecs="vp8"'}
    for codec, kind in kinds.items():
        found = await page.evaluate("sources => window.play(sources)", [[kind, f"/{codec}"], sound])
        (start, end), *others = found["ranges"]
        assert not others, found["ranges"]
        assert start == pytest.approx(5, abs=0.002)
        assert end == pytest.approx(7.0, abs=0.25)
        assert found["decoded"] == 2 * FRAMES
        assert found["corrupted"] == 0
        assert set(found["sizes"]) == {"320x180", "640x360"}
        assert found["sound"] > 0
