"""The drawn pictures: right size, readable, moving, flashing each second and at no other time."""

from datetime import UTC, datetime, timedelta

from av import VideoFrame

from server.agent.picture import FLASH_FRAMES, FRAMES_PER_SECOND, Canvas, ClockPicture, EvidencePage

START = datetime(2026, 11, 23, 14, 5, 7, tzinfo=UTC)


def luma(frame: VideoFrame) -> bytes:
    plane = frame.planes[0]
    pixels = bytes(plane)
    return b"".join(
        pixels[y * plane.line_size : y * plane.line_size + plane.width] for y in range(plane.height)
    )


def brightness(frame: VideoFrame) -> float:
    pixels = luma(frame)
    return sum(pixels[::97]) / len(pixels[::97])


def test_flashes_for_two_frames_at_each_second() -> None:
    picture = ClockPicture("Room 1", "camera")
    dark = brightness(picture.frame(10, START))
    bright = [
        n
        for n in range(20, 60)
        if brightness(picture.frame(n, START + timedelta(seconds=n / FRAMES_PER_SECOND)))
        > dark + 10
    ]
    assert bright == [25, 26, 50, 51]
    assert FLASH_FRAMES == 2


def test_each_frame_differs_and_the_clock_is_burnt_in() -> None:
    picture = ClockPicture("Room 1", "camera")
    first = picture.frame(3, START)
    # The same frame number at another time differs in the clock alone.
    later = picture.frame(3, START + timedelta(milliseconds=1))
    rows = {
        n // 1280 for n, (a, b) in enumerate(zip(luma(first), luma(later), strict=True)) if a != b
    }
    assert rows
    assert min(rows) >= 220
    assert max(rows) < 220 + 7 * 12
    assert (first.width, first.height, first.format.name) == (1280, 720, "yuv420p")


def test_canvas_draws_within_its_edges_at_any_size() -> None:
    canvas = Canvas(318, 180)
    canvas.fill(300, 170, 100, 100, 200)
    canvas.write(-5, 300, "OUTSIDE", 4, 235, 16)
    canvas.write(280, 4, "ÄB?讯", 4, 235, 16)
    pixels = luma(canvas.frame())
    assert pixels[-1] == 200
    assert pixels[171 * 318] == 16
    assert 235 in pixels[4 * 318 + 280 : 5 * 318]
    small = ClockPicture("A ROOM WITH A LONG NAME", "CAMERA", 160, 90).frame(0, START)
    assert (small.width, small.height) == (160, 90)


def test_evidence_turns_its_page() -> None:
    page = EvidencePage("Exhibit 1")
    frames = FRAMES_PER_SECOND * EvidencePage.SECONDS_PER_PAGE
    first, same, next_page = (luma(page.frame(n, START)) for n in (0, frames - 1, frames))
    assert first == same
    assert first != next_page
