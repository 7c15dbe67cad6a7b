"""The HTTP interface for people: signing in and out, language, password, rooms, accounts."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import Any

import pytest
from running import Server

GOOD = "a good long password"


async def test_signing_in_and_out(server: Server) -> None:
    client = await server.signed_in("officer", "li")
    cookie = next(iter(client.http.cookie_jar))
    assert cookie.key == "tingxun"
    assert cookie["httponly"]
    assert cookie["samesite"] == "Strict"
    assert not cookie["secure"]
    status, answer = await client.get("/api/me")
    assert status == 200
    assert answer["account"]["name"] == "li"
    assert answer["language"] == "zh"
    token = cookie.value
    assert (await client.post("/api/sign-out"))[0] == 200
    assert not list(client.http.cookie_jar)
    assert (await client.get("/api/me"))[1]["code"] == "not_signed_in"
    # The token is over on the server too, not only forgotten by the browser.
    stolen = server.client()
    status, answer = await stolen.get("/api/me", headers={"Cookie": f"tingxun={token}"})
    assert (status, answer["code"]) == (401, "not_signed_in")
    assert (await client.post("/api/sign-out"))[0] == 200


async def test_signing_in_again_ends_the_sign_in_before(server: Server) -> None:
    client = await server.signed_in("officer", "li")
    before = next(iter(client.http.cookie_jar)).value
    _, password = await server.accounts.add("wang", "wang", "officer")
    assert (await client.post("/api/sign-in", {"name": "wang", "password": password}))[0] == 200
    assert (await client.get("/api/me"))[1]["account"]["name"] == "wang"
    stolen = server.client()
    assert (await stolen.get("/api/me", headers={"Cookie": f"tingxun={before}"}))[0] == 401


async def test_the_cookie_is_secure_where_the_browser_comes_by_https(
    start_server: Callable[..., Awaitable[Server]],
) -> None:
    server = await start_server({"server.public_origin": "https://hearing.example"})
    _, password = await server.accounts.add("li", "li", "officer")
    async with server.client().http.post(
        "/api/sign-in",
        json={"name": "li", "password": password},
        headers={"X-Requested-With": "tingxun"},
    ) as response:
        assert "Secure" in response.headers["Set-Cookie"]


async def test_a_program_signs_in_with_a_bearer_token(server: Server) -> None:
    _, password = await server.accounts.add("agent", "agent", "officer")
    client = server.client()
    _, answer = await client.post(
        "/api/sign-in", {"name": "agent", "password": password, "bearer": True}
    )
    assert not list(client.http.cookie_jar)
    headers = {"Authorization": f"Bearer {answer['token']}"}
    assert (await client.get("/api/me", headers=headers))[0] == 200
    for wrong in ("Bearer x", "Bearer ", "Basic abc", f"Bearer {answer['token']}x"):
        status, answer_ = await client.get("/api/me", headers={"Authorization": wrong})
        assert (status, answer_["code"]) == (401, "token_invalid"), wrong
    # A bearer token is not sent by a browser on its own, so no other sign is needed.
    async with client.http.post("/api/sign-out", headers=headers) as response:
        assert response.status == 200
    assert (await client.get("/api/me", headers=headers))[1]["code"] == "token_invalid"


async def test_wrong_password_and_lockout(server: Server) -> None:
    _, password = await server.accounts.add("li", "li", "officer")
    client = server.client()
    codes = [
        (await client.post("/api/sign-in", {"name": "li", "password": "guess"}))[1]["code"]
        for _ in range(7)
    ]
    assert codes == ["wrong_password"] * 5 + ["too_many_attempts"] * 2
    status, _ = await client.post("/api/sign-in", {"name": "li", "password": password})
    assert status == 429
    status, answer = await client.post("/api/sign-in", {"name": "nobody", "password": "guess"})
    assert (status, answer["code"]) == (401, "wrong_password")


@pytest.mark.parametrize(
    ("content", "status", "code", "named"),
    [
        (b"", 400, "message_malformed", "JSON"),
        (b"{", 400, "message_malformed", "JSON"),
        (b"\xff\xfe", 400, "message_malformed", "JSON"),
        (b'"\\ud800"', 400, "message_malformed", "JSON"),
        (b"[" * 30_000, 400, "message_malformed", "JSON"),
        (b"[]", 422, "field_invalid", "body"),
        (b"null", 422, "field_invalid", "body"),
        (b"{}", 422, "field_invalid", "name"),
        (b'{"name": 1, "password": "x"}', 422, "field_invalid", "name"),
        (b'{"name": "x", "password": "x", "admin": true}', 422, "field_invalid", "admin"),
    ],
)
async def test_bodies_that_cannot_be_used(
    server: Server, content: bytes, status: int, code: str, named: str
) -> None:
    async with server.client().http.post(
        "/api/sign-in", data=content, headers={"X-Requested-With": "tingxun"}
    ) as response:
        answer = await response.json(content_type=None)
    assert (response.status, answer["code"]) == (status, code)
    assert named in answer["detail"]


async def test_language_is_kept(server: Server) -> None:
    client = await server.signed_in("officer")
    assert (await client.post("/api/language", {"language": "en"}))[0] == 200
    assert (await client.get("/api/me"))[1]["language"] == "en"
    status, answer = await client.post("/api/language", {"language": "tlh"})
    assert (status, answer["code"]) == (422, "field_invalid")


async def test_changing_the_password_ends_the_other_sign_ins(server: Server) -> None:
    _, password = await server.accounts.add("li", "li", "officer")
    here, there = server.client(), server.client()
    for client in (here, there):
        status, answer = await client.post("/api/sign-in", {"name": "li", "password": password})
        assert status == 200
        assert answer["account"]["must_change_password"]
    status, answer = await here.post("/api/password", {"old": "guess", "new": GOOD})
    assert (status, answer["code"]) == (401, "wrong_password")
    status, answer = await here.post("/api/password", {"old": password, "new": "short"})
    assert (status, answer["code"]) == (422, "field_invalid")
    assert (await here.post("/api/password", {"old": password, "new": GOOD}))[0] == 200
    assert not (await here.get("/api/me"))[1]["account"]["must_change_password"]
    assert (await there.get("/api/me"))[0] == 401


async def test_rooms_are_named_in_the_readers_language(server: Server) -> None:
    client = await server.signed_in("officer")
    for language, name in (("zh", "第一讯问室"), ("en", "Interrogation room 1")):
        _, rooms = await client.get("/api/rooms", headers={"Accept-Language": language})
        assert rooms[0]["name"] == name


async def test_people(server: Server) -> None:
    admin = await server.signed_in("admin")
    person = {"name": "wang", "display_name": "王警官", "role": "officer"}
    status, answer = await admin.post("/api/people", person)
    assert status == 201
    assert "password" not in answer["account"]
    client = server.client()
    sign_in = {"name": "wang", "password": answer["one_time_password"]}
    assert (await client.post("/api/sign-in", sign_in))[0] == 200
    _, people = await client.get("/api/people")
    assert {one["name"] for one in people["people"]} == {"admin", "wang"}
    status, answer = await admin.post("/api/people", person)
    assert (status, answer["code"]) == (409, "name_taken")


@pytest.mark.parametrize(
    ("change", "status", "code"),
    [
        ({"role": "judge"}, 422, "field_invalid"),
        ({"name": "a b"}, 422, "field_invalid"),
        ({"display_name": "x" * 201}, 422, "field_invalid"),
        ({"role": "terminal"}, 422, "field_invalid"),
        ({"role": "terminal", "site_id": "nowhere"}, 404, "site_unknown"),
    ],
)
async def test_people_that_cannot_be(
    server: Server, change: dict[str, Any], status: int, code: str
) -> None:
    admin = await server.signed_in("admin")
    person = {"name": "wang", "display_name": "王", "role": "officer", **change}
    assert (await admin.post("/api/people", person))[1]["code"] == code
    assert len((await admin.get("/api/people"))[1]["people"]) == 1
    assert (await admin.post("/api/people", person))[0] == status


ANYBODY = {"admin": 200, "officer": 200, "terminal": 200, "reviewer": 200, None: 401}
RIGHTS: dict[tuple[str, str], dict[str | None, int]] = {
    ("GET", "/api/me"): ANYBODY,
    ("GET", "/api/rooms"): ANYBODY,
    ("GET", "/api/sessions"): ANYBODY,
    ("GET", "/api/people"): {**ANYBODY, "terminal": 403, "reviewer": 403},
    ("GET", "/api/archives"): {**ANYBODY, "terminal": 403},
    # 422: allowed, and told that the body is empty.
    ("POST", "/api/people"): {
        "admin": 422, "officer": 403, "terminal": 403, "reviewer": 403, None: 401,
    },
    ("POST", "/api/sessions"): {
        "admin": 422, "officer": 422, "terminal": 403, "reviewer": 403, None: 401,
    },
    ("POST", "/api/password"): {role: 401 if role is None else 422 for role in ANYBODY},
    ("GET", "/api/sessions/nothing"): {role: 401 if role is None else 404 for role in ANYBODY},
    ("GET", "/api/archives/nothing/replay"): {
        "admin": 404, "officer": 404, "terminal": 403, "reviewer": 404, None: 401,
    },
    ("POST", "/api/archives/nothing/verify"): {
        "admin": 404, "officer": 404, "terminal": 403, "reviewer": 404, None: 401,
    },
    ("GET", "/api/archives/nothing/files/bagit.txt"): {
        "admin": 404, "officer": 404, "terminal": 403, "reviewer": 404, None: 401,
    },
    ("GET", "/ws/sessions/nothing"): {role: 401 if role is None else 404 for role in ANYBODY},
}  # fmt: skip
"""The matrix of roles and routes: what each gets."""


@pytest.mark.parametrize("role", list(ANYBODY))
async def test_who_may_do_what(server: Server, role: str | None) -> None:
    client = await server.signed_in(role) if role else server.client()
    for (method, path), expected in RIGHTS.items():
        status, answer = await client.call(method, path, {} if method == "POST" else None)
        assert status == expected[role], (method, path, answer)


async def test_every_route_of_the_interface_is_in_the_matrix(server: Server) -> None:
    open_to_all = {
        "/healthz", "/api/sign-in", "/api/sign-out", "/api/language",
    }  # fmt: skip
    routes = set()
    for route in server.app.router.routes():
        path = route.resource.canonical if route.resource else ""
        if route.method != "HEAD" and path.startswith(("/api/", "/ws/", "/healthz")):
            routes.add((route.method, path))
    listed = {
        (method, path.replace("/nothing", "/{id}").replace("bagit.txt", "{path}"))
        for method, path in RIGHTS
    }
    assert {
        (method, path.replace("{session_id}", "{id}").replace("{archive_id}", "{id}"))
        for method, path in routes
        if path not in open_to_all
    } == listed


async def test_every_route_of_the_interface_is_documented(server: Server) -> None:
    text = (Path(__file__).parents[2] / "docs" / "HTTP.md").read_text(encoding="utf-8")
    for route in server.app.router.routes():
        path = route.resource.canonical if route.resource else ""
        if route.method != "HEAD" and path.startswith(
            ("/api/", "/ws/", "/healthz", "/ticket/", "/whip/", "/whep/")
        ):
            assert f"`{route.method} {path}" in text, (route.method, path)
