from dataclasses import replace
from datetime import datetime

import pytest

from rooms.errors import FieldInvalid, NotAssigned
from rooms.roles import Role
from rooms.session import Assignment


def test_a_seat_is_found_by_the_persons_id(booked):
    assert booked.assignment("sub").role is Role.SUBJECT
    with pytest.raises(NotAssigned):
        booked.assignment("eve")


def test_a_booking_as_json(booked):
    record = booked.to_record()
    assert record["starts_at"] == "2026-11-23T14:00:00.000Z"
    assert record["kind"] == "interrogation" and record["site_ids"] == ["north", "detention"]
    assert record["assignments"][3] == {
        "participant_id": "sub",
        "name": "Subject",
        "role": "subject",
        "site_id": "detention",
        "site_name": "Detention site",
    }


@pytest.mark.parametrize("field", ["assignments", "twice", "starts_at"])
def test_bookings_on_which_no_room_can_be_held(booked, field):
    change = {
        "assignments": {"assignments": ()},
        "twice": {"assignments": booked.assignments + booked.assignments[:1]},
        "starts_at": {"starts_at": datetime(2026, 11, 23)},  # noqa: DTZ001
    }[field]
    with pytest.raises(FieldInvalid):
        replace(booked, **change)


@pytest.mark.parametrize(
    "seat",
    [
        ("", "Ann", "north", "North"),
        ("a b", "Ann", "north", "North"),
        ("ann", "", "north", "North"),
        ("ann", "Ann", "no rth", "North"),
        ("ann", "Ann", "north", "\x00"),
    ],
)
def test_seats_that_could_not_be_stored(seat):
    participant_id, name, site_id, site_name = seat
    with pytest.raises(FieldInvalid):
        Assignment(participant_id, name, Role.CLERK, site_id, site_name)
