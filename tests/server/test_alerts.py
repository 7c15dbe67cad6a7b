"""What is written for the operator about ``/metrics`` names what there is, and all of it."""

from __future__ import annotations

import re
from pathlib import Path

import yaml
from prometheus_client.parser import text_string_to_metric_families
from running import Server

ROOT = Path(__file__).parents[2]
NAME = re.compile(r"\b(?:tingxun|process)_[a-z_]+")


async def published(server: Server) -> set[str]:
    """The names of all samples, and of families."""
    async with server.client().http.get("/metrics") as response:
        text = await response.text()
    found = set()
    for family in text_string_to_metric_families(text):
        found |= {family.name, *(sample.name for sample in family.samples)}
    return found


async def test_alarms_are_about_what_is_published(server: Server) -> None:
    rules = yaml.safe_load((ROOT / "docs/alerts.yaml").read_text("utf-8"))["groups"][0]["rules"]
    names = {name for rule in rules for name in NAME.findall(rule["expr"])}
    assert len(names) > 8
    assert names <= await published(server)
    assert len({rule["alert"] for rule in rules}) == len(rules)
    for rule in rules:
        assert rule["labels"]["severity"] in ("page", "ticket")
        assert rule["annotations"]["summary"]


async def test_every_figure_is_documented_and_no_other(server: Server) -> None:
    documented = set(NAME.findall((ROOT / "docs/HTTP.md").read_text("utf-8")))
    names = await published(server)
    plain = {re.sub(r"_(bucket|count|sum|created)$", "", name) for name in names}
    ours = {name for name in plain if name.startswith("tingxun_")}
    known = documented | {name.removesuffix("_total") for name in documented}
    assert ours <= known, f"not in docs/HTTP.md: {sorted(ours - known)}"
    assert documented <= names | plain, (
        f"only in docs/HTTP.md: {sorted(documented - names - plain)}"
    )
