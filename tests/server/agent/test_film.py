"""Media files as sources: what is refused, how long they are, looping, fitting, sound in step."""

import math
from array import array
from datetime import UTC, datetime
from pathlib import Path

import av
import pytest

from rooms.errors import MediaFileBroken, MediaFileMissing
from server.agent.film import FilmPicture, FilmSound, check

NOW = datetime(2026, 11, 23, tzinfo=UTC)


def make_film(path, *, frames=30, rate=10, size=(320, 180), sound_s=0.0):
    """A film whose frame n is grey level 20 + 5 n, and a sine of 440 Hz for a sound."""
    with av.open(str(path), "w") as container:
        video = container.add_stream("libx264", rate=rate, options={"crf": "5"})
        video.width, video.height, video.pix_fmt = *size, "yuv420p"
        sound = container.add_stream("aac", rate=48000, layout="mono") if sound_s else None
        for n in range(frames):
            frame = av.VideoFrame(*size, "yuv420p")
            for at, plane in enumerate(frame.planes):
                plane.update(bytes([20 + 5 * n if at == 0 else 128]) * plane.buffer_size)
            frame.pts = n
            container.mux(video.encode(frame))
        container.mux(video.encode())
        for start in range(0, round(sound_s * 48000), 1024):
            wave = (math.sin(2 * math.pi * 440 * (start + n) / 48000) for n in range(1024))
            part = av.AudioFrame("s16", "mono", 1024)
            part.planes[0].update(array("h", (round(8000 * v) for v in wave)).tobytes())
            part.sample_rate, part.pts = 48000, start
            container.mux(sound.encode(part))
        if sound is not None:
            container.mux(sound.encode())
    return path


def level(picture: FilmPicture, index: int) -> int:
    """Which of the film's frames is shown at ``index`` / 25 s."""
    frame = picture.frame(index, NOW)
    return round((bytes(frame.planes[0])[5000] - 20) / 5)


def test_missing_and_broken_files_are_refused(tmp_path: Path) -> None:
    with pytest.raises(MediaFileMissing):
        check(tmp_path / "none.mp4")
    with pytest.raises(MediaFileMissing):
        check(tmp_path)
    text = tmp_path / "text.mp4"
    text.write_text("this is no film")
    with pytest.raises(MediaFileBroken):
        check(text)
    whole = make_film(tmp_path / "whole.mp4").read_bytes()
    torn = tmp_path / "torn.mp4"
    torn.write_bytes(whole[: len(whole) // 2])
    with pytest.raises(MediaFileBroken):
        check(torn)
    only_sound = tmp_path / "sound.wav"
    with av.open(str(only_sound), "w") as container:
        stream = container.add_stream("pcm_s16le", rate=48000, layout="mono")
        part = av.AudioFrame("s16", "mono", 960)
        part.sample_rate = 48000
        container.mux(stream.encode(part))
    with pytest.raises(MediaFileBroken, match="no picture"):
        check(only_sound)


def test_resampled_to_25_frames_and_looped(tmp_path: Path) -> None:
    film = check(make_film(tmp_path / "film.mp4"))
    assert (film.frames, film.has_sound) == (75, False)
    picture = FilmPicture(film)
    # 10 frames a second shown at 25: film frame n from 1/25 s number 2.5 n on.
    assert [level(picture, n) for n in range(11)] == [0, 0, 0, 1, 1, 2, 2, 2, 3, 3, 4]
    assert [level(picture, n) for n in range(11, 75)][-1] == 29
    assert level(picture, 75) == 0
    # Too late for many frames, it decodes few at a time, until it has caught up.
    late = [level(picture, 75 * 4 + n) for n in range(25, 51)]
    assert late[:4] == [1, 2, 3, 4]
    assert late[-1] == 20
    picture.close()


def test_fitted_into_1280_by_720_keeping_the_aspect(tmp_path: Path) -> None:
    film = check(make_film(tmp_path / "large.mp4", frames=2, size=(1440, 1080)))
    assert (film.width, film.height) == (960, 720)
    frame = FilmPicture(film).frame(0, NOW)
    assert (frame.width, frame.height, frame.format.name) == (960, 720, "yuv420p")
    small = check(make_film(tmp_path / "small.mp4", frames=2, size=(320, 180)))
    assert (small.width, small.height) == (320, 180)


def test_a_still_image_stands(tmp_path: Path) -> None:
    path = tmp_path / "page.png"
    with av.open(str(path), "w") as container:
        stream = container.add_stream("png")
        stream.width, stream.height, stream.pix_fmt = 640, 480, "rgb24"
        frame = av.VideoFrame(640, 480, "rgb24")
        frame.planes[0].update(bytes([200]) * frame.planes[0].buffer_size)
        container.mux(stream.encode(frame))
        container.mux(stream.encode())
    picture = FilmPicture(check(path))
    first, later = picture.frame(0, NOW), picture.frame(1000, NOW)
    assert bytes(first.planes[0])[:100] == bytes(later.planes[0])[:100]


def loudness(samples: bytes) -> float:
    values = array("h", samples)
    return math.sqrt(sum(v * v for v in values) / len(values))


def test_sound_of_the_film_loops_with_its_picture(tmp_path: Path) -> None:
    film = check(make_film(tmp_path / "film.mp4", sound_s=1.5))
    assert film.has_sound
    one_pass = film.frames * 1920
    sound = FilmSound(film)
    assert loudness(sound.read(0, 960)[960:]) > 2000
    assert loudness(sound.read(48000, 9600)) == pytest.approx(8000 / math.sqrt(2), rel=0.05)
    # Silence where the picture goes on without sound, then the next pass begins.
    assert loudness(sound.read(2 * 48000, 9600)) == 0
    across = sound.read(one_pass - 4800, 9600)
    assert len(across) == 9600 * 2
    assert loudness(across[: 4800 * 2]) == 0
    assert loudness(across[6000 * 2 :]) > 4000
    sound.close()
