"""Words about everybody's line, and the figures behind them: by keyboard; none for the kiosk."""

from __future__ import annotations

import re
from typing import Any

import pytest
from playwright.async_api import expect

pytestmark = [pytest.mark.browser, pytest.mark.timeout(120)]

ROW = re.compile(r"\d+\s+\d+\s+\d+\.\d%\s+\d+(\.\d)? [kM]bit/s")


async def test_figures_are_one_key_away(window: Any, installation: Any) -> None:
    path = f"/sessions/{installation.session_id}"
    officer, detention = await window("officer", path), await window("detention", path)
    for one in (officer, detention):
        await one.page.get_by_test_id("join").click()
    button = officer.page.get_by_test_id("statistics")
    await expect(button).to_have_attribute("aria-label", re.compile("figures"))
    await button.focus()
    await officer.page.keyboard.press("Enter")
    dialog = officer.page.get_by_role("dialog")
    await expect(dialog).to_be_visible()
    await expect(dialog.get_by_role("button", name="Back")).to_be_focused()
    words = dialog.get_by_test_id("statistics-words")
    for name in ("You", "Detention terminal", "Server"):
        row = words.locator("li", has_text=name)
        await expect(row).to_contain_text(re.compile("Good|Keeps up"), timeout=20_000)
    await expect(dialog.locator("table").first).not_to_be_visible()
    await dialog.get_by_test_id("statistics-figures").press("Enter")
    lines, tracks = dialog.locator("table").nth(0), dialog.locator("table").nth(1)
    for name in ("Officer Li", "Detention terminal"):
        row = lines.locator("tr", has_text=name)
        await expect(row).to_contain_text(re.compile(r"Good\s*0\.0%\s*0\.0%\s*\d"), timeout=20_000)
    for source in ("Camera", "Microphone"):
        rows = tracks.locator("tr", has_text=source)
        # One received, and one sent for each size of the picture.
        await expect(rows.nth(1)).to_be_visible(timeout=20_000)
        for one in (await rows.all())[:2]:
            await expect(one).to_have_text(re.compile(r"\d%"), timeout=20_000)
            assert ROW.search((await one.inner_text()).replace("\t", " ")), await one.inner_text()
    await officer.page.keyboard.press("Escape")
    await expect(dialog).to_have_count(0)
    await expect(button).to_be_focused()
    await expect(detention.page.get_by_test_id("stage")).to_be_visible()
    await expect(detention.page.get_by_test_id("statistics")).to_have_count(0)
    await button.click()
    await officer.page.get_by_test_id("show-evidence").click()
    await expect(dialog).to_have_count(1)
    await expect(dialog).to_have_attribute("aria-label", "Show evidence")
    assert officer.problems == detention.problems == []
