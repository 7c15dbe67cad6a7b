from datetime import UTC, datetime, timedelta, timezone

import pytest
from hypothesis import given
from hypothesis import strategies as st

from rooms.moment import Moment, format_wall, parse_wall

BEIJING = timezone(timedelta(hours=8))


def test_wall_time_is_brought_to_utc_and_whole_milliseconds():
    now = Moment(1, datetime(2026, 11, 23, 22, 5, 7, 123_999, tzinfo=BEIJING))
    assert now.wall == datetime(2026, 11, 23, 14, 5, 7, 123_000, tzinfo=UTC)
    assert format_wall(now.wall) == "2026-11-23T14:05:07.123Z"


def test_a_naive_wall_time_is_refused():
    with pytest.raises(ValueError, match="offset"):
        Moment(1, datetime(2026, 11, 23))  # noqa: DTZ001


@given(st.datetimes(timezones=st.just(UTC)))
def test_what_is_written_is_read_back(wall):
    now = Moment(0, wall)
    assert parse_wall(format_wall(now.wall)) == now.wall


@pytest.mark.parametrize(
    "text",
    [
        "",
        "2026-11-23T14:05:07Z",
        "2026-11-23T14:05:07.123",
        "2026-11-23T14:05:07.123+00:00",
        "2026-11-23 14:05:07.123Z",
        "2026-13-23T14:05:07.123Z",
        "２026-11-23T14:05:07.123Z",
        "2026-11-23T14:05:07.123Z\n",
    ],
)
def test_other_forms_are_refused(text):
    with pytest.raises(ValueError):
        parse_wall(text)
