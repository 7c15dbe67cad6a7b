"""Which addresses are opened and told: one, several, all of a family, all."""

from __future__ import annotations

from typing import Any

import pytest

from rooms.errors import ConfigInvalid
from server.config import Config
from server.sfu import binding
from server.sfu.binding import Binding


@pytest.fixture(autouse=True)
def machine(monkeypatch: pytest.MonkeyPatch) -> None:
    """A machine with two addresses."""

    def addresses(use_ipv4: bool, use_ipv6: bool) -> list[str]:
        return ["192.0.2.7"] * use_ipv4 + ["2001:db8::7"] * use_ipv6

    monkeypatch.setattr(binding, "get_host_addresses", addresses)


@pytest.mark.parametrize(
    ("address", "opened"),
    [
        ("127.0.0.1", ["127.0.0.1"]),
        ("::1", ["::1"]),
        ("0.0.0.0", ["192.0.2.7"]),
        ("::", ["192.0.2.7", "2001:db8::7"]),
        (("10.0.0.1", "2001:db8::1"), ["10.0.0.1", "2001:db8::1"]),
        (("0.0.0.0", "::1"), ["192.0.2.7", "::1"]),
    ],
)
def test_what_is_opened(address: str | tuple[str, ...], opened: list[str]) -> None:
    assert Binding(address).addresses() == opened


def test_an_announced_address_replaces_those_of_its_family() -> None:
    one = Binding("::", "203.0.113.9")
    assert one.announced_for("192.0.2.7") == "203.0.113.9"
    assert one.announced_for("2001:db8::7") == "2001:db8::7"
    both = Binding("::", ("203.0.113.9", "2001:db8::9"))
    assert both.announced_for("2001:db8::7") == "2001:db8::9"
    assert Binding().announced_for("192.0.2.7") == "192.0.2.7"


def test_ports_of_the_range() -> None:
    assert sorted(Binding(port_min=5, port_max=7).ports()) == [5, 6, 7]
    assert Binding().ports() == [0]


def test_addresses_in_the_settings() -> None:
    media = Config.load(None, {"media.bind_address": ["10.0.0.1", "2001:DB8::1"]}).media
    assert media.bind_address == ("10.0.0.1", "2001:db8::1")
    wrong: list[dict[str, Any]] = [
        {"media.bind_address": "media.example"},
        {"media.bind_address": []},
        {"media.announced_address": "300.1.1.1"},
    ]
    for overrides in wrong:
        with pytest.raises(ConfigInvalid, match="media"):
            Config.load(None, overrides)
