"""The HTTP interface for bookings: who sees which, what cannot be booked."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from running import Client, Server


async def people(server: Server) -> tuple[Client, Client]:
    return await server.signed_in("officer", "li"), await server.signed_in("terminal", "t1")


def booking(officer: Client, terminal: Client, **changes: Any) -> dict[str, Any]:
    assert officer.account is not None
    assert terminal.account is not None
    return {
        "case_number": "京公讯〔2026〕0412号",
        "kind": "interrogation",
        "title": "李某盗窃案 第一次讯问",
        "starts_at": datetime.now(UTC).isoformat(),
        "room_id": "interrogation-1",
        "detention_room_id": "detention-1",
        "assignments": [
            {"account_id": officer.account["id"], "role": "questioner"},
            {"account_id": terminal.account["id"], "role": "subject"},
        ],
        **changes,
    }


async def test_booking_and_seeing_it(server: Server) -> None:
    officer, terminal = await people(server)
    status, made = await officer.post("/api/sessions", booking(officer, terminal))
    assert status == 201
    assert made["phase"] == "scheduled"
    assert made["my_role"] == "questioner"
    assert made["archive_id"] is None
    assert made["room"]["id"] == "interrogation-1"
    assert made["detention_site"]["site_id"] == "detention-centre"
    seats = {seat["role"]: seat for seat in made["assignments"]}
    assert seats["questioner"]["site_id"] == "interrogation-centre"
    assert seats["subject"]["site_name"] == "看守所"
    assert seats["subject"]["participant_id"] == terminal.account["id"]  # type: ignore[index]
    _, seen = await terminal.get(f"/api/sessions/{made['id']}")
    assert seen == {**made, "my_role": "subject"}
    _, listed = await terminal.get("/api/sessions")
    assert [one["id"] for one in listed["sessions"]] == [made["id"]]
    assert (await server.records.session(made["id"])).case_number == "京公讯〔2026〕0412号"


async def test_only_those_with_a_seat_or_who_book_see_it(server: Server) -> None:
    officer, terminal = await people(server)
    _, made = await officer.post("/api/sessions", booking(officer, terminal))
    path = f"/api/sessions/{made['id']}"
    for role in ("terminal", "reviewer"):
        other = await server.signed_in(role, f"other-{role}")
        status, answer = await other.get(path)
        assert (status, answer["code"]) == (403, "not_assigned")
        assert (await other.get("/api/sessions"))[1]["sessions"] == []
        status, answer = await other.get(f"/ws/sessions/{made['id']}")
        assert (status, answer["code"]) == (403, "not_assigned")
    for role in ("officer", "admin"):
        other = await server.signed_in(role, f"other-{role}")
        status, answer = await other.get(path)
        assert (status, answer["my_role"]) == (200, None)
        assert len((await other.get("/api/sessions"))[1]["sessions"]) == 1


async def test_conflicts_are_refused(server: Server) -> None:
    officer, terminal = await people(server)
    first = booking(officer, terminal)
    _, made = await officer.post("/api/sessions", first)
    assert "id" in made
    for changes in ({}, {"room_id": "interrogation-2"}):
        status, answer = await officer.post("/api/sessions", {**first, **changes})
        assert (status, answer["code"]) == (409, "booking_conflict")
    later = (datetime.now(UTC) + timedelta(hours=2)).isoformat()
    status, _ = await officer.post("/api/sessions", {**first, "starts_at": later})
    assert status == 201


def far(days: float) -> str:
    return (datetime.now(UTC) + timedelta(days=days)).isoformat()


@pytest.mark.parametrize(
    ("changes", "named"),
    [
        ({"case_number": ""}, "case_number"),
        ({"case_number": "   "}, "case_number"),
        ({"case_number": "x" * 65}, "case_number"),
        ({"case_number": "a\nb"}, "case_number"),
        ({"case_number": "<script>"}, "case_number"),
        ({"case_number": None}, "case_number"),
        ({"kind": "party"}, "kind"),
        ({"title": ""}, "title"),
        ({"title": "a\tb"}, "title"),
        ({"title": "x" * 201}, "title"),
        ({"starts_at": "2026-11-23T09:00:00"}, "starts_at"),
        ({"starts_at": "tomorrow"}, "starts_at"),
        ({"starts_at": far(-3)}, "starts_at"),
        ({"starts_at": far(400)}, "starts_at"),
        ({"starts_at": "9999-12-31T23:59:59Z"}, "starts_at"),
        ({"planned_minutes": 0}, "planned_minutes"),
        ({"planned_minutes": 100_000}, "planned_minutes"),
        ({"room_id": "detention-1"}, "room_id"),
        ({"detention_room_id": "interrogation-2"}, "detention_room_id"),
        ({"assignments": []}, "assignments"),
        ({"assignments": [{"account_id": "a-0", "role": "judge"}]}, "assignments.0.role"),
    ],
)
async def test_fields_that_cannot_be(server: Server, changes: dict[str, Any], named: str) -> None:
    officer, terminal = await people(server)
    status, answer = await officer.post("/api/sessions", booking(officer, terminal, **changes))
    assert (status, answer["code"]) == (422, "field_invalid")
    assert answer["detail"].startswith(f"{named}:")


async def test_rooms_that_are_not_there(server: Server) -> None:
    officer, terminal = await people(server)
    for field in ("room_id", "detention_room_id"):
        body = booking(officer, terminal, **{field: "nowhere"})
        status, answer = await officer.post("/api/sessions", body)
        assert (status, answer["code"]) == (404, "room_unknown")


async def test_assignments_that_cannot_be(server: Server) -> None:
    officer, terminal = await people(server)
    good = booking(officer, terminal)
    questioner, subject = good["assignments"]
    second = await server.signed_in("officer", "wang")
    elsewhere = await server.signed_in("terminal", "t2", "interrogation-centre")
    assert second.account is not None
    assert elsewhere.account is not None
    for assignments, words in (
        ([subject], "nobody is the questioner"),
        ([questioner], "nobody is the subject"),
        ([questioner, subject, {**questioner, "role": "clerk"}], "twice"),
        ([questioner, subject, {**subject, "account_id": "a-none"}], "more than one subject"),
        (
            [questioner, subject, {"account_id": second.account["id"], "role": "questioner"}],
            "more than one questioner",
        ),
        ([questioner, {"account_id": "a-none", "role": "subject"}], "does not exist"),
    ):
        body = {**good, "assignments": assignments}
        status, answer = await officer.post("/api/sessions", body)
        assert (status, answer["code"]) == (422, "field_invalid"), words
        assert words in answer["detail"]
    assert (await officer.get("/api/sessions"))[1]["sessions"] == []


async def test_a_witness_session_needs_no_subject(server: Server) -> None:
    officer, terminal = await people(server)
    body = booking(officer, terminal, kind="witness")
    body["assignments"].pop()
    assert (await officer.post("/api/sessions", body))[0] == 201
