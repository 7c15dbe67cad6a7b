"""Chromium on IPv6, on both families at once, and through a 1:1 address translation."""

from __future__ import annotations

import shutil
import subprocess
from typing import Any

import pytest
from in_page import HEARS, PATHS, join
from namespaces import Lines, ip, lines

__all__ = ["lines"]

pytestmark = [pytest.mark.browser, pytest.mark.timeout(120)]


async def hold(browser: Any, window_in: Any, installation: Any) -> set[str]:
    """Both join, and hear each other; the addresses of the server that they ended up with."""
    path = f"/sessions/{installation.session_id}"
    people = [await window_in(browser, who, path) for who in ("officer", "detention")]
    await join(*people)
    addresses = set()
    for one in people:
        assert await one.page.evaluate(HEARS)
        assert one.problems == []
        addresses |= {path["address"] for path in await one.page.evaluate(PATHS)}
    return addresses


class TestLoopback:
    @pytest.fixture
    def overrides(self) -> dict[str, Any]:
        return {"server.host": "::1", "media.bind_address": "::1"}

    async def test_ipv6(self, browser: Any, window_in: Any, installation: Any) -> None:
        assert installation.url.startswith("http://[::1]:")
        assert await hold(browser, window_in, installation) == {"::1"}


class TestBothFamilies:
    @pytest.fixture
    def overrides(self, lines: Lines) -> dict[str, Any]:
        return {
            "server.host": lines.address,
            "media.bind_address": [lines.address, lines.address6],
        }

    async def test_media_takes_the_family_that_passes(
        self, lines: Lines, launch_at: Any, window_in: Any, installation: Any
    ) -> None:
        place = lines.place("site")
        ip("-4", "rule", "add", "from", place.address, "ipproto", "udp", "priority", "9",
           "blackhole", namespace=lines.router)  # fmt: skip
        browser = await launch_at(place)
        assert await hold(browser, window_in, installation) == {lines.address6}


class TestTranslation:
    """The server has a private address only; a router gives it a public one."""

    @pytest.fixture
    def public(self, lines: Lines) -> str:
        return f"10.{lines.x}.250.1"

    @pytest.fixture
    def overrides(self, lines: Lines, public: str) -> dict[str, Any]:
        nft = shutil.which("nft")
        if nft is None:
            pytest.skip("needs nftables")
        rules = f"""table ip translation {{
          chain direct {{ type filter hook prerouting priority raw;
            ip daddr {lines.address} drop
          }}
          chain to {{ type nat hook prerouting priority dstnat;
            ip daddr {public} dnat to {lines.address}
          }}
          chain from {{ type nat hook postrouting priority srcnat;
            ip saddr {lines.address} snat to {public}
          }}
        }}"""
        subprocess.run(
            ["ip", "netns", "exec", lines.router, nft, "-f", "-"],
            input=rules, text=True, check=True, timeout=10,
        )  # fmt: skip
        return {
            "server.host": lines.address,
            "media.bind_address": lines.address,
            "media.announced_address": public,
        }

    async def test_announced_address(
        self,
        lines: Lines,
        public: str,
        launch_at: Any,
        window_in: Any,
        installation: Any,
    ) -> None:
        place = lines.place("site")
        installation.url = installation.url.replace(lines.address, public)
        browser = await launch_at(place)
        assert await hold(browser, window_in, installation) == {public}
