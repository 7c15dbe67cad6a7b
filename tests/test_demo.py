"""``tingxun demo`` as people run it: both codecs, a killed recorder, films, and bad input."""

from __future__ import annotations

import asyncio
import contextlib
import json
import os
import signal
import socket
import sys
import time
from asyncio.subprocess import PIPE, Process
from collections.abc import AsyncIterator
from fractions import Fraction
from pathlib import Path
from typing import Any

import aiohttp
import av
import pytest
import yaml

from server.agent.hosting import choose_port, processes_of
from server.agent.sources import SoundEncoder, Tone

TOP = Path(__file__).resolve().parent.parent
FIELDS = {
    "archive",
    "session_id",
    "tracks",
    "av_offset_ms",
    "close_to_sealed_ms",
    "verify",
    "replay_url",
}


@contextlib.asynccontextmanager
async def demo(folder: Path, *options: object) -> AsyncIterator[Process]:
    """A demo as a process of its own that keeps its data in ``folder``."""
    settings = folder / "config.yaml"
    settings.write_text(yaml.safe_dump({"data_dir": str(folder / "var")}))
    command = ["-m", "server.cli", "demo", "--config", str(settings), *map(str, options)]
    process = await asyncio.create_subprocess_exec(
        sys.executable, *command, cwd=TOP, stdout=PIPE, stderr=PIPE
    )
    try:
        yield process
    finally:
        if process.returncode is None:
            process.kill()
            await process.wait()


async def finished(process: Process) -> tuple[int, str, str]:
    """Exit code, standard output and standard error."""
    out, err = await asyncio.wait_for(process.communicate(), 100)
    assert process.returncode is not None
    return process.returncode, out.decode(), err.decode()


async def kill_recorder(process: Process, after_s: float) -> list[str]:
    """Read the demo's progress; ``after_s`` into the session kill its recorder. Return the rest."""
    assert process.stderr is not None
    lines = []
    while line := (await process.stderr.readline()).decode():
        lines.append(line)
        if "recorder process" in line:
            pid = int(line.split()[-1])
            await asyncio.sleep(after_s)
            # The demo names the process so that it can be found and killed: it must be the one.
            session_id = next(at.split()[2] for at in lines if " booked for " in at)
            assert pid in processes_of(["recorder.worker", session_id])
            os.kill(pid, signal.SIGKILL)
    return lines


def check_result(result: dict[str, Any], codec: str) -> None:
    assert set(result) == FIELDS
    assert result["verify"]["sealed"] is True
    assert all(step["ok"] for step in result["verify"]["steps"][:9])
    assert result["verify"]["anchored"] is False  # nothing outside the archive's own keys says so
    assert Path(result["archive"]).name == result["session_id"]
    tracks = {track["id"]: track for track in result["tracks"]}
    assert set(tracks) == {"cam-1", "mic-1", "evidence-1", "cam-2", "mic-2"}
    for track in tracks.values():
        assert set(track) == {
            "id", "site", "source", "codec", "expected_ms", "captured_ms", "gaps",
        }  # fmt: skip
        assert track["expected_ms"] > 3000
        assert track["captured_ms"] >= 0.995 * track["expected_ms"], track
        assert track["captured_ms"] <= track["expected_ms"]
        assert track["codec"].startswith("opus" if track["source"] == "microphone" else codec)
    assert {t["site"] for t in tracks.values()} == {"interrogation-centre", "detention-centre"}
    assert abs(result["av_offset_ms"]) < 10  # nothing in it depends on the machine's speed
    assert f"/replay/{result['session_id']}" in result["replay_url"]


@pytest.mark.parametrize(("codec", "archived"), [("h264", "avc3."), ("vp8", "vp8")])
async def test_a_killed_recorder_leaves_no_gap(tmp_path: Path, codec: str, archived: str) -> None:
    options = ("--seconds", 6, "--codec", codec, "--exit", "--json")
    async with demo(tmp_path, *options, "--archive-dir", tmp_path / "archives") as process:
        progress = await kill_recorder(process, 3.0)
        code, out, _ = await finished(process)
    assert code == 0, (out, progress)
    assert any("recorder was replaced" in line for line in progress)
    result = json.loads(out)
    check_result(result, archived)
    assert [gap for track in result["tracks"] for gap in track["gaps"]] == []
    assert Path(result["archive"]).parent == tmp_path / "archives"
    ledger = (Path(result["archive"]) / "data" / "chain.jsonl").read_text()
    assert '"type":"recover"' in ledger
    assert "recorder_replaced" in ledger
    assert processes_of(["recorder.worker", result["session_id"]]) == []


def make_film(path: Path) -> Path:
    """Two seconds of an ordinary film: high profile with B frames, 24 pictures a second, AAC."""
    with av.open(str(path), "w") as container:
        video = container.add_stream("libx264", rate=24, options={"crf": "23", "bf": "2"})
        video.width, video.height, video.pix_fmt = 640, 360, "yuv420p"
        sound = container.add_stream("aac", rate=48000, layout="mono")
        for n in range(48):
            frame = av.VideoFrame(640, 360, "yuv420p")
            for at, plane in enumerate(frame.planes):
                level = 60 + 2 * n if at == 0 else 128
                plane.update(bytes([level]) * plane.buffer_size)
            frame.pts, frame.time_base = n, Fraction(1, 24)
            container.mux(video.encode(frame))
        container.mux(video.encode())
        silence = av.AudioFrame("s16", "mono", 1024)
        silence.planes[0].update(bytes(2048))
        for start in range(0, 96000, 1024):
            silence.sample_rate, silence.pts = 48000, start
            container.mux(sound.encode(silence))
        container.mux(sound.encode())
    return path


async def test_with_a_film_serving_until_ctrl_c(tmp_path: Path) -> None:
    film = make_film(tmp_path / "film.mp4")
    port = choose_port(0)
    options = ("--seconds", 5, "--camera", film, "--evidence", film, "--port", port, "--json")
    async with demo(tmp_path, *options) as process:
        assert process.stdout is not None
        reading = asyncio.create_task(process.stderr.read())  # type: ignore[union-attr]
        result = json.loads(await asyncio.wait_for(process.stdout.readline(), 100))
        check_result(result, "avc3.")
        # The address signs in, once, and leads to the replay.
        jar = aiohttp.CookieJar(unsafe=True)
        async with aiohttp.ClientSession(cookie_jar=jar) as browser:
            page = {"Accept": "text/html"}
            async with browser.get(result["replay_url"], headers=page) as response:
                assert response.status == 200
                assert response.url.path == f"/replay/{result['session_id']}"
            address = f"http://127.0.0.1:{port}/api/archives/{result['session_id']}/replay"
            async with browser.get(address) as response:
                assert len((await response.json())["tracks"]) == 5
        async with aiohttp.ClientSession() as late, late.get(result["replay_url"]) as response:
            assert response.status == 401
        process.send_signal(signal.SIGINT)
        started_s = time.monotonic()
        assert await asyncio.wait_for(process.wait(), 20) == 0
        assert time.monotonic() - started_s < 15
        assert "Traceback" not in (await reading).decode()
        assert await process.stdout.read() == b""
    with socket.socket() as probe:
        assert probe.connect_ex(("127.0.0.1", port)) != 0


async def test_ctrl_c_in_the_middle_stops_everything(tmp_path: Path) -> None:
    async with demo(tmp_path, "--seconds", 60, "--exit") as process:
        assert process.stderr is not None
        text = ""
        while "recorder process" not in text:
            text += (await asyncio.wait_for(process.stderr.readline(), 60)).decode()
        session_id = text.split("session ")[1].split()[0]
        process.send_signal(signal.SIGINT)
        code, out, err = await finished(process)
    assert code == 130
    assert out == ""
    assert "Traceback" not in err
    assert processes_of(["recorder.worker", session_id]) == []
    assert processes_of(["serve", str(tmp_path)]) == []
    # Nothing recorded so far is lost: it lies there to be taken up.
    assert list((tmp_path / "var").glob(f"demo/*/archives/{session_id}*"))


async def test_a_server_that_dies_is_one_clear_line(tmp_path: Path) -> None:
    async with demo(tmp_path, "--seconds", 60, "--exit") as process:
        assert process.stderr is not None
        text = ""
        while "recorder process" not in text:
            text += (await asyncio.wait_for(process.stderr.readline(), 60)).decode()
        server = int(text.split("(process ")[1].split(")")[0])
        assert server in processes_of(["server.cli", "serve"])
        os.kill(server, signal.SIGKILL)
        code, out, err = await finished(process)
    assert (code, out) == (1, "")
    assert "tingxun: internal: the server ended" in err.splitlines()[-1]
    assert "server.log" in err


async def refused(folder: Path, *options: object) -> str:
    """Run a demo that must not start; return the one line that it says."""
    async with demo(folder, "--exit", "--json", "--seconds", 2, *options) as process:
        code, out, err = await finished(process)
    assert code == 1
    assert out == ""
    assert "Traceback" not in err
    said = [line for line in err.splitlines() if line.startswith("tingxun:")]
    assert len(said) == 1, err
    return said[0]


async def test_media_files_are_checked_before_anything_starts(tmp_path: Path) -> None:
    broken = tmp_path / "broken.mp4"
    broken.write_bytes(b"\0\0\0\x18ftypmp42" + bytes(200))
    sound = tmp_path / "sound.mka"
    with av.open(str(sound), "w") as container:
        stream = container.add_stream("libopus", rate=48000, layout="mono")
        for packet in SoundEncoder(Tone()).encode_some(0, 50):
            packet.stream = stream
            container.mux(packet)
    missing = await refused(tmp_path, "--camera", tmp_path / "none.mp4")
    assert "media_file_missing" in missing
    assert "none.mp4" in missing
    assert "media_file_broken" in await refused(tmp_path, "--camera", broken)
    assert "media_file_broken" in await refused(tmp_path, "--evidence", sound)
    assert not (tmp_path / "var" / "demo").exists()


async def test_a_port_in_use_and_a_folder_that_is_none(tmp_path: Path) -> None:
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        taken.listen()
        port = taken.getsockname()[1]
        assert "port_in_use" in await refused(tmp_path, "--port", port)
    (tmp_path / "file").write_text("")
    said = await refused(tmp_path, "--archive-dir", tmp_path / "file")
    assert "archive_dir_unwritable" in said
