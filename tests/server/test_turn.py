"""Credentials of relays: as coturn computes them, for whoever joins, and renewed in time."""

from __future__ import annotations

import base64
import hashlib
import hmac
from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import Any

import pytest
from http_media import held, offer, until
from running import Server

from rooms.errors import ConfigInvalid
from server.config import Config, TurnSection
from server.turn import Relays

SECRET = "a secret of the relay's"
URLS = (
    "stun:relay.example",
    "turn:relay.example:3478?transport=udp",
    "turn:relay.example?transport=tcp",
    "turns:[2001:db8::7]:443?transport=tcp",
)


def relays(**settings: Any) -> Relays:
    return Relays(TurnSection(urls=URLS, secret=SECRET, **settings), lambda: 1_700_000_000.7)


def test_the_credential_is_the_keyed_hash_of_the_expiring_name() -> None:
    stun, turn = relays(ttl_s=600).ice_servers("p-1")
    assert stun == {"urls": ["stun:relay.example"]}
    assert turn["urls"] == list(URLS[1:])
    assert turn["username"] == "1700000600:p-1"
    digest = hmac.new(SECRET.encode(), b"1700000600:p-1", hashlib.sha1).digest()
    assert turn["credential"] == base64.b64encode(digest).decode()


def test_each_address_is_a_link() -> None:
    links = relays().links('a"b')
    assert links[0] == '<stun:relay.example>; rel="ice-server"'
    assert links[3].startswith(
        '<turns:[2001:db8::7]:443?transport=tcp>; rel="ice-server"; username="1700003600:a%22b"; '
    )
    assert links[3].endswith('"; credential-type="password"')


def test_without_relays_nothing_is_said_or_renewed() -> None:
    none = Relays(TurnSection())
    assert (none.ice_servers("p"), none.links("p"), none.renew_s) == ([], [], None)
    stun = Relays(TurnSection(urls=("stun:relay.example",)))
    assert (stun.links("p"), stun.renew_s) == (['<stun:relay.example>; rel="ice-server"'], None)


def test_the_secret_from_a_file(tmp_path: Path) -> None:
    file = tmp_path / "secret"
    file.write_text(SECRET + "\n")
    clock = lambda: 1_700_000_000.7  # noqa: E731
    section = TurnSection(urls=URLS, secret_file=file)
    assert Relays(section, clock).ice_servers("p") == relays().ice_servers("p")
    for content in ("", "\n"):
        file.write_text(content)
        with pytest.raises(ConfigInvalid, match="empty"):
            Relays(section)
    with pytest.raises(ConfigInvalid, match="turn.secret_file"):
        Relays(TurnSection(urls=URLS, secret_file=tmp_path / "none"))


@pytest.mark.parametrize(
    "turn",
    [
        {"urls": ["turn:relay.example"]},
        {"secret": SECRET},
        {"urls": ["stun:relay.example"], "secret": SECRET},
        {"urls": URLS, "secret": SECRET, "secret_file": "secret"},
        {"urls": URLS, "secret": "short"},
        {"urls": URLS, "secret": SECRET, "ttl_s": 5},
        {"urls": ["https://relay.example"], "secret": SECRET},
        {"urls": ["turn:relay.example?transport=sctp"], "secret": SECRET},
        {"urls": ['turn:relay.example>;"'], "secret": SECRET},
    ],
)
def test_settings_that_cannot_be_meant(turn: dict[str, Any]) -> None:
    with pytest.raises(ConfigInvalid, match="turn"):
        Config.load(None, {f"turn.{key}": value for key, value in turn.items()})


async def test_whoever_joins_gets_relays_and_then_new_credentials(
    start_server: Callable[..., Awaitable[Server]], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(Relays, "renew_s", 0.3)
    server = await start_server({"turn.urls": URLS, "turn.secret": SECRET})
    async with held(server) as place:
        site = place.session.site
        welcome = await site.join(place.session.session_id)
        first = welcome["ice_servers"]
        assert first[1]["username"].endswith(f":{welcome['participant_id']}")
        site.welcome["ice_servers"] = []
        await until(lambda: bool(site.welcome["ice_servers"]))
        assert site.welcome["ice_servers"][0] == first[0]


async def test_encoders_and_players_are_told_by_link(
    start_server: Callable[..., Awaitable[Server]],
) -> None:
    server = await start_server({"turn.urls": URLS, "turn.secret": SECRET})
    async with held(server) as place:
        made = await place.ask("POST", place.whip, offer())
        assert made.status == 201, made.text
        links = made.headers.getall("Link")
        assert [link.split(">")[0][1:] for link in links] == list(URLS)
        assert 'credential-type="password"' in links[1]
        assert "Link" not in (await place.ask("OPTIONS", place.whip, who=None)).headers
