"""A camera in three sizes, from a real browser: who gets which, and what the archive gets."""

from __future__ import annotations

import asyncio
import subprocess
from pathlib import Path
from typing import Any

import pytest
from in_page import close_session, eventually, open_session, received, sealed, take_seats
from playwright.async_api import Browser
from session_in_hand import gaps, ledger, tracks

from bench.chromium import see
from server.keys import CONDUCTORS
from server.sfu.uptrack import UpTrack

pytestmark = [pytest.mark.browser, pytest.mark.timeout(120)]

TOP_LAYER = """async (active) => {
  for (const connection of window.connections) {
    for (const sender of connection.getSenders()) {
      const terms = sender.getParameters();
      if (terms.encodings.length < 3) continue;
      terms.encodings[2].active = active;
      await sender.setParameters(terms);
    }
  }
}"""

MAX_FREEZE_S = 1.0
"""A change of layer waits for a key frame, and nothing stands for longer than that takes."""


@pytest.fixture(params=["H264", "VP8"])
def overrides(request: pytest.FixtureRequest) -> dict[str, Any]:
    return {"media.codecs": [request.param], "media.processes": 0}


@pytest.fixture(scope="session")
def busy_picture(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A camera's picture that takes all the bitrate there is: noise."""
    path = tmp_path_factory.mktemp("camera") / "busy.mjpeg"
    source = "testsrc2=size=1280x720:rate=20:duration=2,noise=alls=6:allf=t"
    command = ["ffmpeg", "-v", "error", "-f", "lavfi", "-i", source, "-q:v", "5", str(path)]
    subprocess.run(command, check=True, timeout=60)
    return path


@pytest.fixture
async def browser(launch: Any, busy_picture: Path) -> Browser:
    started = await launch(f"--use-file-for-fake-video-capture={busy_picture}")
    assert isinstance(started, Browser)
    return started


async def enter(window: Any, installation: Any, small: tuple[int, int]) -> list[Any]:
    """The officer goes in with a large window, the detention terminal with a small one."""
    path = f"/sessions/{installation.session_id}"
    windows = [
        await window("officer", path, width=1920, height=1080),
        await window("detention", path, width=small[0], height=small[1]),
    ]
    await take_seats(*windows)
    for one in windows:
        await see(one.page)
    return windows


async def cameras(installation: Any) -> dict[str, UpTrack]:
    """The cameras' tracks as the server has them, by whose they are."""
    conductor = await installation.app[CONDUCTORS].get(installation.session_id)
    people = {person.account.id: name for name, person in installation.people.items()}
    return {
        people[up.participant_id]: up
        for up in conductor._forwarding.ups.values()
        if up.source == "camera"
    }


async def shows(one: Any, heights: range) -> bool:
    """Whether the picture that this window receives has such a height."""
    picture = (await received(one.page))["video"]
    return picture.get("frameHeight") in heights


async def test_each_receiver_gets_what_fits_its_window(window: Any, installation: Any) -> None:
    officer, detention = await enter(window, installation, (420, 300))
    await eventually(lambda: shows(officer, range(700, 721)), 10, "the large window has 720 lines")
    await eventually(lambda: shows(detention, range(90, 361)), 10, "the small one has fewer")
    before = (await received(detention.page))["video"]
    (down,) = (await cameras(installation))["officer"].downs
    switches = down.switches
    await detention.page.set_viewport_size({"width": 1920, "height": 1080})
    await eventually(lambda: shows(detention, range(700, 721)), 10, "it grows with its window")
    await detention.page.set_viewport_size({"width": 420, "height": 300})
    await eventually(lambda: shows(detention, range(90, 361)), 10, "and shrinks")
    after = (await received(detention.page))["video"]
    assert down.switches == switches + 2
    frozen_s = after["totalFreezesDuration"] - before["totalFreezesDuration"]
    assert frozen_s < 2 * MAX_FREEZE_S
    assert [one.problems for one in (officer, detention)] == [[], []]


async def test_the_archive_gets_the_best_layer(window: Any, installation: Any) -> None:
    """Also while the best one stops for a while: one track, one timeline, other sizes (F39)."""
    officer, detention = await enter(window, installation, (420, 300))
    await open_session(officer.page)
    up = (await cameras(installation))["detention"]

    async def recorded(rid: str) -> bool:
        layer = None if up._feed is None else up._feed.layer
        return layer is not None and layer.rid == rid

    await eventually(lambda: recorded("h"), 10, "the whole size is recorded")
    await asyncio.sleep(3)
    await detention.page.evaluate(TOP_LAYER, False)
    await eventually(lambda: recorded("m"), 5, "the next one is, when it stops")
    await asyncio.sleep(3)
    await detention.page.evaluate(TOP_LAYER, True)
    await eventually(lambda: recorded("h"), 5, "and the whole size again")
    await asyncio.sleep(3)
    await close_session(officer.page)
    archive = sealed(installation)
    lines = ledger(archive)
    told = tracks(lines)[up.track_id]
    assert told["captured_us"] > 0.97 * told["expected_us"], gaps(lines, up.track_id)
    assert sum(line["to_us"] - line["from_us"] for line in gaps(lines, up.track_id)) < 1_200_000
    heights = decoded_heights(archive, up.track_id)
    changes = [n for n, height in enumerate(heights) if not n or heights[n - 1] != height]
    assert [heights[n] for n in changes][-3:] == [720, 360, 720]


def decoded_heights(archive: Path, track_id: str) -> list[int]:
    """The height of every picture of a track, by a stock decoder of the whole track."""
    folder = next(path for path in archive.rglob(track_id) if path.is_dir())
    files = sorted(path for path in folder.iterdir() if path.is_file())
    init = [path for path in files if "init" in path.name]
    media = b"".join(path.read_bytes() for path in [*init, *(f for f in files if f not in init)])
    command = "ffprobe -v error -select_streams v -show_entries frame=height -of csv=p=0 -"
    found = subprocess.run(
        command.split(),
        input=media,
        capture_output=True,
        check=True,
        timeout=60,
    )
    return [int(line.strip(b",")) for line in found.stdout.split()]


@pytest.mark.parametrize("who", ["officer", "detention"])
async def test_everything_is_sent_within_five_seconds(
    window: Any, installation: Any, who: str
) -> None:
    """On a clean line: all three layers, at most of the bitrate that is asked for.

    One browser on one machine, as in a room: two that encode are short of its two cores.
    """
    one = await window(who, f"/sessions/{installation.session_id}")
    await take_seats(one)

    async def begun() -> bool:
        up = (await cameras(installation)).get(who)
        return up is not None and up.packets > 0

    await eventually(begun)
    up = (await cameras(installation))[who]
    wanted_bps = 0.7 * installation.config.media.video_max_kbps * 1000

    async def all_of_it() -> bool:
        return len(up.arriving()) == 3 and sum(layer.bps for layer in up.layers) > wanted_bps

    await eventually(all_of_it, 5, "all layers, and their whole bitrate")
