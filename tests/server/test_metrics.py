"""GET /metrics: who gets it, that it is well formed, and that its figures are the session's."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from typing import Any

import pytest
from prometheus_client.parser import text_string_to_metric_families
from running import Client, Server
from session_in_hand import Session, in_hand

from server.metrics import CONTENT_TYPE

Start = Callable[..., Awaitable[Server]]
Samples = dict[tuple[str, tuple[str, ...]], float]

BEHIND_PROXY = {"server.public_origin": "https://hearing.example"}


def parsed(text: str) -> Samples:
    """Every sample by name and label values; fails where the format is broken."""
    return {
        (sample.name, tuple(sample.labels.values())): sample.value
        for family in text_string_to_metric_families(text)
        for sample in family.samples
    }


async def scraped(client: Client, **headers: str) -> Samples:
    """Everything as it is now."""
    async with client.http.get("/metrics", headers=headers) as response:
        assert response.status == 200
        assert response.headers["Content-Type"] == CONTENT_TYPE
        return parsed(await response.text())


async def token_of(server: Server, role: str) -> dict[str, str]:
    """The header of somebody with this role."""
    account, _ = await server.accounts.add(f"{role}-2", role, role, "detention-centre")  # type: ignore[arg-type]
    sign_in = await server.accounts.issue_token(account)
    return {"Authorization": f"Bearer {sign_in.token}"}


async def test_this_machine_needs_no_token(server: Server) -> None:
    found = await scraped(server.client())
    assert found["tingxun_sessions", ("live",)] == 0
    assert found["process_open_fds", ()] > found["tingxun_open_sockets", ("server",)] > 0
    assert found["process_resident_memory_bytes", ()] > 1 << 20


@pytest.mark.parametrize("header", ["X-Forwarded-For", "Forwarded", "X-Real-IP", "Via"])
async def test_what_a_proxy_passes_on_is_not_from_this_machine(server: Server, header: str) -> None:
    status, answer = await server.client().get("/metrics", headers={header: "198.51.100.7"})
    assert (status, answer["code"]) == (401, "not_signed_in")


async def test_behind_a_proxy_only_by_choice(start_server: Start) -> None:
    server = await start_server(BEHIND_PROXY)
    assert (await server.client().get("/metrics"))[0] == 401
    chosen = await start_server({**BEHIND_PROXY, "server.metrics_behind_proxy": True})
    await scraped(chosen.client())


@pytest.mark.parametrize(
    ("role", "status"), [("admin", 200), ("officer", 403), ("reviewer", 403), ("terminal", 403)]
)
async def test_who_else(start_server: Start, role: str, status: int) -> None:
    server = await start_server(BEHIND_PROXY)
    headers = await token_of(server, role)
    async with server.client().http.get("/metrics", headers=headers) as response:
        assert response.status == status


async def test_neither_a_cookie_nor_a_wrong_token(start_server: Start) -> None:
    server = await start_server(BEHIND_PROXY)
    admin = await server.signed_in("admin")
    assert (await admin.get("/metrics"))[0] == 401
    wrong = {"Authorization": "Bearer nothing"}
    assert (await server.client().get("/metrics", headers=wrong))[0] == 401


async def until(check: Callable[[], Awaitable[Any]], seconds: float = 15.0) -> None:
    """Wait until ``check`` gives something true."""
    async with asyncio.timeout(seconds):
        while not await check():
            await asyncio.sleep(0.1)


def steady(one: Samples, other: Samples) -> bool:
    """Whether no counter of ``other`` is below that of ``one``, which came before it."""
    return all(
        other[key] >= value
        for key, value in one.items()
        if key[0].endswith(("_total", "_count", "_bucket"))
    )


@pytest.mark.timeout(90)
async def test_a_session_in_figures(server: Server) -> None:
    account, password = await server.accounts.add("chief", "chief", "admin")
    client = server.client()
    before = await scraped(client)
    async with in_hand(server.url, account.name, password) as session:
        await session.join("VP8")
        await session.go_live()
        live = await scraped(client)
        assert steady(before, live)
        assert live["tingxun_sessions", ("live",)] == 1
        assert live["tingxun_recordings", ("recording",)] == 1
        assert live["tingxun_participants_present", ()] == 2
        for kind in ("audio", "video"):
            assert live["tingxun_rtp_packets_total", ("in", kind)] > 0
            assert live["tingxun_rtp_bytes_total", ("in", kind)] > 0

        async def more() -> bool:
            now = await scraped(client)
            return all(
                now["tingxun_rtp_packets_total", (direction, kind)]
                > live["tingxun_rtp_packets_total", (direction, kind)]
                for direction in ("in", "out")
                for kind in ("audio", "video")
            )

        await until(more)
        await seen_by_everyone(session)
        text = await (await client.http.get("/metrics")).text()
        for name in (session.session_id, "officer", "cell", "2026-0501"):
            assert name not in text
        await session.close()
        sealed = await scraped(client)
        assert steady(live, sealed)
        assert sealed["tingxun_sessions", ("sealed",)] == 1
        assert sealed["tingxun_tap_unacknowledged_bytes", ()] == 0
    assert sealed["tingxun_event_loop_lag_seconds_count", ("server",)] > 0


async def seen_by_everyone(session: Session) -> None:
    """Both terminals are told of both lines: one sends, the other receives."""
    sender = str(session.site.welcome["participant_id"])
    receiver = str(session.officer.welcome["participant_id"])

    async def told() -> bool:
        lines = [terminal.network for terminal in (session.officer, session.site)]
        return all(
            line.get(sender, {}).get("up_loss") == 0
            and line.get(receiver, {}).get("down_loss") == 0
            and line[receiver]["rtt_ms"] is not None
            and line[sender]["class"] == line[receiver]["class"] == "good"
            for line in lines
        )

    await until(told)
