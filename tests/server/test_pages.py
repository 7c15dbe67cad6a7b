"""Pages in both languages, without inline scripts or styles; their files and no others."""

from __future__ import annotations

import re
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest
from running import Client, Server

from rooms.roles import Role
from rooms.session import Assignment, Session, SessionKind
from server.files import file_inside
from server.pages import WEB, local_path

INLINE = re.compile(r"(?i)<script(?![^>]*\ssrc=)|<style|\sstyle=|\son[a-z]+=|javascript:")
ELSEWHERE = re.compile(r"""(?:src|href)=["'](?!/(?!/)|#)""")


async def seated(server: Server) -> tuple[Client, str]:
    """An administrator with a seat in a session whose archive is stored."""
    client = await server.signed_in("admin", "管理员")
    assert client.account is not None
    seat = Assignment(
        client.account["id"], "管理员", Role.QUESTIONER, "interrogation-centre", "讯问中心"
    )
    now = datetime.now(UTC)
    session = Session(
        id="s-1",
        case_number="c-1",
        kind=SessionKind.WITNESS,
        title="询问",
        starts_at=now,
        room_id="interrogation-1",
        site_ids=("interrogation-centre",),
        assignments=(seat,),
    )
    await server.records.book(session, now + timedelta(hours=1), "detention-1", None)
    folder = server.config.archive_dir / "s-1"
    folder.mkdir(parents=True)
    await server.records.set_archive("s-1", "s-1", folder)
    return client, "s-1"


PAGES = ["/", "/archives", "/people", "/sessions/s-1", "/replay/s-1", "/nothing"]


@pytest.mark.parametrize("language", ["zh", "en"])
async def test_pages_in_both_languages(server: Server, language: str) -> None:
    client, _ = await seated(server)
    visitor = server.client()
    headers = {"Accept-Language": language}
    seen = [(path, await client.page(path, headers=headers)) for path in PAGES]
    seen.append(("/sign-in", await visitor.page("/sign-in", headers=headers)))
    for path, response in seen:
        html = await response.text()
        assert response.status == (404 if path == "/nothing" else 200), path
        assert response.content_type == "text/html"
        assert f'lang="{"zh-CN" if language == "zh" else "en"}"' in html
        assert not INLINE.search(html), (path, INLINE.search(html))
        assert not ELSEWHERE.search(html), (path, ELSEWHERE.search(html))
        assert "default-src 'none'" in response.headers["Content-Security-Policy"]
        title = re.search(r"<title>(.*?)</title>", html)
        assert title is not None
        assert bool(re.search(r"[\u4e00-\u9fff]", title[1])) == (language == "zh"), title[1]


async def test_every_file_that_a_page_names_is_there(server: Server) -> None:
    client, _ = await seated(server)
    named: set[str] = set()
    for path in PAGES:
        html = await (await client.page(path)).text()
        named |= set(re.findall(r'(?:src|href)="(/(?:static|vendor|i18n)/[^"]+)"', html))
    assert named
    for path in sorted(named):
        response = await client.page(path)
        assert response.status == 200, path
        assert response.content_type in ("text/css", "text/javascript", "image/svg+xml"), path


async def test_who_is_not_signed_in_is_sent_to_sign_in_and_back(server: Server) -> None:
    response = await server.client().page("/archives?case=1")
    assert response.status == 303
    assert response.headers["Location"] == "/sign-in?to=/archives?case=1"
    client = await server.signed_in("officer")
    response = await client.page("/sign-in")
    assert (response.status, response.headers["Location"]) == (303, "/")


async def test_pages_that_somebody_may_not_see(server: Server) -> None:
    await seated(server)
    for role, path, status in (
        ("terminal", "/archives", 403),
        ("terminal", "/people", 403),
        ("reviewer", "/people", 403),
        ("officer", "/sessions/s-1", 403),
        ("officer", "/replay/s-1", 403),
        ("reviewer", "/replay/s-1", 200),
        ("officer", "/sessions/nothing", 404),
        ("reviewer", "/replay/nothing", 404),
    ):
        client = await server.signed_in(role, f"{role}-{path.strip('/').replace('/', '-')}")
        response = await client.page(path)
        assert response.status == status, (role, path)
        if status != 200:
            assert 'data-page="problem"' in await response.text()


async def test_names_are_escaped(server: Server) -> None:
    account, _ = await server.accounts.add("x", '<img src=x onerror="alert(1)">', "officer")
    client = server.client()
    ticket = await server.accounts.issue_ticket(account.id)
    assert (await client.page(f"/ticket/{ticket}")).status == 303
    html = await (await client.page("/")).text()
    assert "<img" not in html
    assert "&lt;img" in html


async def test_a_ticket_signs_in_once_and_goes_on(server: Server) -> None:
    account, _ = await server.accounts.add("li", "li", "officer")
    ticket = await server.accounts.issue_ticket(account.id)
    client = server.client()
    async with client.http.head(f"/ticket/{ticket}") as response:
        assert response.status == 405
    response = await client.page(f"/ticket/{ticket}?to=/replay/s-1?t=5")
    assert (response.status, response.headers["Location"]) == (303, "/replay/s-1?t=5")
    assert (await client.get("/api/me"))[0] == 200
    response = await server.client().page(f"/ticket/{ticket}")
    assert response.status == 401
    assert "token_invalid" in await response.text()


@pytest.mark.parametrize(
    ("wanted", "path"),
    [
        (None, "/"),
        ("", "/"),
        ("/replay/x", "/replay/x"),
        ("//evil.example", "/"),
        ("/\\evil.example", "/"),
        ("https://evil.example", "/"),
        ("evil", "/"),
        ("/\t/evil.example", "/"),
        ("/a\r\nSet-Cookie: x", "/"),
    ],
)
def test_a_link_goes_on_only_within_this_server(wanted: str | None, path: str) -> None:
    assert local_path(wanted) == path


@pytest.mark.parametrize(
    "path",
    [
        "/static/../package.json",
        "/static/..%2fpackage.json",
        "/static/%2e%2e/package.json",
        "/static/js/..%2f..%2fpackage.json",
        "/static//etc/passwd",
        "/static/%2fetc%2fpasswd",
        "/static/js",
        "/static/%00.js",
        "/static/nothing.js",
        "/vendor/typescript/package.json",
        "/vendor/../package.json",
        "/vendor/lit-html",
        "/vendor/lit-html/..%2f..%2fpackage.json",
        "/vendor/lit-html/LICENSE",
        "/i18n/..%2fpackage.json",
        "/i18n/fr.json",
        "/templates/layout.html.j2",
    ],
)
async def test_files_beside_ours_are_not_sent(server: Server, path: str) -> None:
    from yarl import URL

    async with server.client().http.get(URL(server.url + path, encoded=True)) as response:
        answer = await response.json(content_type=None)
        assert response.status == 404
        assert answer["code"] in ("file_unknown", "page_unknown")


async def test_packages_of_the_front_end_are_sent(server: Server) -> None:
    if not (WEB / "node_modules" / "lit-html").exists():
        pytest.skip("the front end's packages are not installed; ./run installs them")
    response = await server.client().page("/vendor/lit-html/lit-html.js")
    assert response.status == 200
    assert response.content_type == "text/javascript"


async def test_files_are_asked_for_again_and_not_sent_twice(server: Server) -> None:
    client = server.client()
    response = await client.page("/static/css/tokens.css")
    assert response.headers["Cache-Control"] == "no-cache"
    again = await client.page(
        "/static/css/tokens.css", headers={"If-None-Match": response.headers["ETag"]}
    )
    assert again.status == 304


def test_a_link_within_a_folder_cannot_lead_out(tmp_path: Path) -> None:
    inside = tmp_path / "inside"
    inside.mkdir()
    (tmp_path / "secret").write_text("x")
    (inside / "own").write_text("x")
    (inside / "out").symlink_to(tmp_path / "secret")
    (inside / "loop").symlink_to(inside / "loop")
    assert file_inside(inside, "own") == inside / "own"
    for path in ("out", "loop", "../secret", str(tmp_path / "secret"), "", ".", "a\0b", "x" * 5000):
        assert file_inside(inside, path) is None, path
    assert file_inside(tmp_path / "nowhere", "own") is None
