"""Which layers fit: the lowest of all before better ones of some, large ones first."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from server.sfu.allocation import UP_MARGIN, Picture, Share, allocate, enough_level

LAYERS = (150_000, 500_000, 1_850_000)
HEIGHTS = (180, 360, 720)


def camera(shown_px: int | None = None, level: int | None = None) -> Picture:
    return Picture(LAYERS, HEIGHTS, shown_px, level)


def exhibit(shown_px: int | None = None, level: int | None = None) -> Picture:
    return Picture((1_500_000,), (1080,), shown_px, level)


def test_the_lowest_that_is_large_enough() -> None:
    shown = (0, 64, 200, 300, 420, 440, 460, 900, None)
    levels = [enough_level(camera(height)) for height in shown]
    assert levels == [None, 0, 0, 1, 1, 1, 2, 2, 2]


def test_without_a_limit_only_the_window_counts() -> None:
    shares = allocate(None, [camera(), camera(200), camera(0), exhibit()]).shares
    assert shares == (Share(2, None), Share(0, "view"), Share(None, "view"), Share(0, None))


def test_the_stage_comes_before_the_thumbnails() -> None:
    pictures = [camera(100), camera(700), camera(100)]
    assert [share.level for share in allocate(1_000_000, pictures).shares] == [0, 1, 0]
    # For one lowest layer alone: the stage has it.
    made = allocate(200_000, pictures)
    assert [share.level for share in made.shares] == [None, 0, None]
    assert [share.reason for share in made.shares] == ["paused", "line", "paused"]
    assert made.next_bps is not None
    assert made.next_bps > 300_000


def test_everybody_is_seen_before_anybody_is_seen_better() -> None:
    pictures = [camera(700) for _ in range(4)]
    assert [share.level for share in allocate(800_000, pictures).shares] == [0, 0, 0, 0]
    assert [share.level for share in allocate(1_200_000, pictures).shares] == [1, 0, 0, 0]


def test_a_picture_of_one_layer_is_sent_whole_or_not() -> None:
    assert allocate(1_000_000, [exhibit(900), camera(100)]).shares == (
        Share(None, "paused"),
        Share(0, "view"),
    )
    assert allocate(2_000_000, [exhibit(900), camera(100)]).shares[0] == Share(0, None)


pictures = st.builds(
    camera, st.one_of(st.none(), st.integers(0, 1200)), st.sampled_from([None, 0, 1, 2])
) | st.builds(exhibit, st.one_of(st.none(), st.integers(0, 1200)), st.sampled_from([None, 0]))


@given(st.integers(0, 10_000_000), st.lists(pictures, max_size=12))
def test_it_fits_and_stays(budget: int, wanted: list[Picture]) -> None:
    made = allocate(budget, wanted)
    assert made.bps <= budget
    assert made.bps == sum(
        picture.layer_bps[share.level]
        for picture, share in zip(wanted, made.shares, strict=True)
        if share.level is not None
    )
    for picture, share in zip(wanted, made.shares, strict=True):
        limit = enough_level(picture)
        assert share.level is None or (limit is not None and share.level <= limit)
        assert (share.reason in ("line", "paused")) == (share.level != limit)
    # What has been chosen is chosen again.
    now = [
        Picture(picture.layer_bps, picture.layer_px, picture.shown_px, share.level)
        for picture, share in zip(wanted, made.shares, strict=True)
    ]
    assert allocate(budget, now).shares == made.shares
    if made.next_bps is not None:
        assert made.next_bps > budget
        better = allocate(int(made.next_bps * UP_MARGIN), now)
        assert better.bps > made.bps


def test_a_place_that_moves_a_little_changes_no_picture() -> None:
    # 480 and 448 pixels by turns, as when a line of text comes and goes: whatever is sent stays.
    assert [enough_level(camera(shown, level=1)) for shown in (480, 448, 480)] == [1, 1, 1]
    assert enough_level(camera(480, level=2)) == 2
    assert enough_level(camera(448, level=2)) == 1
    assert enough_level(camera(520, level=1)) == 2
