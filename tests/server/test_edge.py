"""The edge: names, origins, CSRF, limits, headers on everything, errors with their codes."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Awaitable, Callable
from typing import Any

import pytest
from aiohttp import web
from aiohttp.test_utils import make_mocked_request
from running import Client, Server

from rooms.errors import MessageTooFrequent
from server.config import Config
from server.edge import SECURITY_HEADERS, AddressPace, client_address
from server.keys import CONFIG

ORIGIN = "http://{host}"


async def raw(client: Client, method: str, path: str, **options: Any) -> tuple[int, Any]:
    async with client.http.request(method, path, **options) as response:
        return response.status, await response.json(content_type=None)


async def test_every_answer_has_the_security_headers(server: Server) -> None:
    client = await server.signed_in("admin")
    for path in (
        "/",
        "/sign-in",
        "/healthz",
        "/api/me",
        "/api/nothing",
        "/static/css/tokens.css",
        "/i18n/zh.json",
        "/static/nothing.js",
        "/nothing",
    ):
        async with client.http.get(path) as response:
            for name, value in SECURITY_HEADERS.items():
                assert response.headers[name] == value, (path, name)
            assert "Cache-Control" in response.headers


async def test_a_change_needs_a_sign_that_our_own_page_asks(server: Server) -> None:
    client = server.client()
    body = {"language": "en"}
    host = server.url.removeprefix("http://")

    async def change(headers: dict[str, str]) -> Any:
        return await raw(client, "POST", "/api/language", json=body, headers=headers)

    status, answer = await change({})
    assert (status, answer["code"]) == (403, "origin_refused")
    assert (await change({"X-Requested-With": "XMLHttpRequest"}))[0] == 403
    assert (await change({"X-Requested-With": "tingxun"}))[0] == 200
    assert (await change({"Origin": f"http://{host}"}))[0] == 200


@pytest.mark.parametrize(
    "origin", ["http://evil.example", "null", "http://127.0.0.1", "http://127.0.0.1:1", "x", ""]
)
async def test_another_origin_is_refused_even_with_the_header(server: Server, origin: str) -> None:
    client = await server.signed_in("admin")
    headers = {"Origin": origin, "X-Requested-With": "tingxun"}
    for method, path in (("POST", "/api/sign-out"), ("GET", "/api/me")):
        status, answer = await raw(client, method, path, headers=headers)
        assert (status, answer["code"]) == (403, "origin_refused")
    assert (await client.get("/api/me"))[0] == 200


async def test_pages_of_named_sites_may_send_and_play_and_nothing_else(
    start_server: Callable[..., Awaitable[Server]],
) -> None:
    site = "https://player.example"
    server = await start_server({"server.media_origins": (site,)})
    client = server.client()
    asking = {
        "Origin": site,
        "Access-Control-Request-Method": "POST",
        "Access-Control-Request-Headers": "authorization,content-type",
    }
    for path in ("/whip/sessions/s-1", "/whep/sessions/s-1", "/whep/sessions/s-1/some-session"):
        async with client.http.options(path, headers=asking) as response:
            assert response.status == 200
            assert response.headers["Access-Control-Allow-Origin"] == site
            assert "Authorization" in response.headers["Access-Control-Allow-Headers"]
            assert "PATCH" in response.headers["Access-Control-Allow-Methods"]
        # Without a token they learn no more than that.
        async with client.http.post(path, headers={"Origin": site}) as response:
            assert response.status in (401, 405)
            assert response.headers["Access-Control-Allow-Origin"] == site
            assert "Location" in response.headers["Access-Control-Expose-Headers"]
        stranger = {**asking, "Origin": "https://other.example"}
        async with client.http.options(path, headers=stranger) as response:
            assert response.status == 403
            assert "Access-Control-Allow-Origin" not in response.headers
    async with client.http.get("/api/me", headers={"Origin": site}) as response:
        assert response.status == 403
        assert "Access-Control-Allow-Origin" not in response.headers


@pytest.mark.parametrize("host", ["evil.example", "evil.example:8080", "localhost.evil.example"])
async def test_a_name_that_is_not_ours_is_refused(server: Server, host: str) -> None:
    status, answer = await raw(server.client(), "GET", "/healthz", headers={"Host": host})
    assert (status, answer["code"]) == (403, "origin_refused")
    assert "server.host_names" in answer["detail"]


async def test_addresses_localhost_and_configured_names_are_ours(
    start_server: Callable[..., Awaitable[Server]],
) -> None:
    server = await start_server(
        {
            "server.host_names": ("room.example",),
            "server.public_origin": "https://hearing.example:8443",
        }
    )
    for host in ("127.0.0.1:1", "[::1]:80", "localhost", "ROOM.example", "hearing.example:8443"):
        status, _ = await raw(server.client(), "GET", "/healthz", headers={"Host": host})
        assert status == 200, host
    status, _ = await raw(
        server.client(),
        "POST",
        "/api/language",
        json={"language": "en"},
        headers={"Origin": "https://hearing.example:8443", "Host": "hearing.example"},
    )
    assert status == 200


async def test_a_body_that_is_too_large(server: Server) -> None:
    status, answer = await raw(
        server.client(),
        "POST",
        "/api/sign-in",
        data=b'{"name":"' + b"x" * 70_000 + b'"}',
        headers={"X-Requested-With": "tingxun"},
    )
    assert (status, answer["code"]) == (413, "message_too_large")


async def test_a_body_that_goes_on_for_ever(server: Server) -> None:
    async def endless() -> Any:
        for _ in range(200):
            yield b" " * 4096

    client = server.client()
    headers = {"X-Requested-With": "tingxun"}
    try:
        status, answer = await raw(client, "POST", "/api/sign-in", data=endless(), headers=headers)
    except OSError:
        return  # The server closed the connection while we were still sending.
    assert (status, answer["code"]) == (413, "message_too_large")


async def test_one_address_that_asks_too_much_is_slowed_down(
    start_server: Callable[..., Awaitable[Server]],
) -> None:
    server = await start_server({"server.burst": 10, "server.rate_per_s": 0.001})
    client = server.client()
    statuses = [(await client.get("/api/me"))[0] for _ in range(12)]
    assert statuses == [401] * 10 + [429] * 2
    assert (await client.get("/healthz"))[0] == 200
    assert (await client.page("/static/css/tokens.css")).status == 200


def test_addresses_are_counted_apart_and_memory_is_bounded(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr("server.edge.REMEMBERED_ADDRESSES", 3)
    pace = AddressPace(burst=1, rate_per_s=1.0)
    pace.take("a", 0.0)
    with pytest.raises(MessageTooFrequent):
        pace.take("a", 0.5)
    pace.take("a", 1.5)
    for address in "bcdefg":
        pace.take(address, 1.5)
    assert len(pace._paces) == 3


@pytest.mark.parametrize(
    ("public", "remote", "expected"),
    [
        (None, "127.0.0.1", "127.0.0.1"),
        ("https://hearing.example", "127.0.0.1", "10.9.8.7"),
        ("https://hearing.example", "10.0.0.3", "10.0.0.3"),
    ],
)
def test_behind_our_proxy_the_last_forwarded_address_counts(
    public: str | None, remote: str, expected: str
) -> None:
    app = web.Application()
    app[CONFIG] = Config.load(None, {"server.public_origin": public})
    request = make_mocked_request(
        "GET", "/", headers={"X-Forwarded-For": "1.2.3.4, 10.9.8.7"}, app=app
    ).clone(remote=remote)
    assert client_address(request) == expected


@pytest.mark.parametrize(
    ("method", "path", "status", "code"),
    [
        ("GET", "/api/nothing", 404, "page_unknown"),
        ("DELETE", "/api/sessions", 405, "method_refused"),
        ("GET", "/api/sign-in", 405, "method_refused"),
        ("GET", "/api/sessions/nothing", 404, "session_unknown"),
        ("GET", "/api/archives/nothing/replay", 404, "archive_unknown"),
        ("GET", "/ws/sessions/nothing", 404, "session_unknown"),
    ],
)
async def test_errors_are_problem_details(
    server: Server, method: str, path: str, status: int, code: str
) -> None:
    client = await server.signed_in("admin")
    headers = {"X-Requested-With": "tingxun"}
    async with client.http.request(method, path, headers=headers) as response:
        assert response.status == status
        assert response.content_type == "application/problem+json"
        problem = await response.json()
    assert problem["code"] == code
    assert problem["status"] == status
    assert set(problem) == {"type", "title", "status", "code", "detail", "hint"}


async def test_what_breaks_inside_does_not_leak(
    server: Server, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    async def broken() -> None:
        raise RuntimeError("the secret of /var/lib")

    client = await server.signed_in("admin")
    monkeypatch.setattr(server.records, "places", broken)
    with caplog.at_level(logging.ERROR):
        status, answer = await client.get("/api/rooms")
    assert (status, answer["code"]) == (500, "internal")
    assert "secret" not in str(answer)
    assert "the secret of /var/lib" in caplog.text
    page = await client.page("/nothing")
    assert page.status == 404


async def test_a_bad_request_line_does_not_end_the_server(server: Server) -> None:
    port = int(server.url.rsplit(":", 1)[1])
    for junk in (b"\x00\xff\x16\x03\x01\r\n\r\n", b"GET /" + b"a" * 20_000 + b" HTTP/1.1\r\n\r\n"):
        reader, writer = await asyncio.open_connection("127.0.0.1", port)
        writer.write(junk)
        await writer.drain()
        await asyncio.wait_for(reader.read(), 5)
        writer.close()
    assert (await server.client().get("/healthz"))[0] == 200
