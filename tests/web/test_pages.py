"""What the pages may hold: no inline script or style, no other host, colours in one place."""

import re
from pathlib import Path

import pytest

WEB = Path(__file__).resolve().parents[2] / "web"
FILES = [
    *WEB.glob("templates/*.j2"),
    *WEB.glob("static/js/**/*.js"),
    *WEB.glob("static/css/*.css"),
    *WEB.glob("static/*.svg"),
]
TOKENS = (WEB / "static" / "css" / "tokens.css").read_text(encoding="utf-8")

TEXT_ON = [
    ("text", "page"),
    ("text", "surface"),
    ("text", "raised"),
    ("text", "action-wash"),
    ("text-soft", "page"),
    ("text-soft", "surface"),
    ("text-soft", "raised"),
    ("on-action", "action"),
    ("on-action", "action-strong"),
    ("on-danger", "danger"),
    ("danger-text", "page"),
    ("danger-text", "raised"),
    ("danger-text", "danger-wash"),
    ("text", "danger-wash"),
    ("on-attention", "attention"),
    ("attention-text", "page"),
    ("attention-text", "surface"),
    ("text", "attention-wash"),
    ("on-verified", "verified"),
    ("verified-text", "page"),
    ("verified-text", "raised"),
    ("text", "verified-wash"),
]
"""Colours of text and what it stands on: WCAG 2.2 AA asks for 4.5."""

SEEN_ON = [
    ("control-line", "page"),
    ("control-line", "raised"),
    ("focus", "page"),
    ("focus", "surface"),
    ("focus", "raised"),
]
"""Outlines of controls and of the focus: WCAG 2.2 AA asks for 3."""


def colours(tone: str) -> dict[str, str]:
    """The colours of a tone by name; the dark tone changes some of the light one's."""
    light, dark = TOKENS.split('[data-tone="dark"]')
    pattern = r"--colour-([\w-]+): (#[0-9a-f]{6});"
    found = dict(re.findall(pattern, light))
    return found if tone == "light" else found | dict(re.findall(pattern, dark))


def luminance(colour: str) -> float:
    """Relative luminance (WCAG 2.2, definition)."""
    channels = [int(colour[i : i + 2], 16) / 255 for i in (1, 3, 5)]
    red, green, blue = (
        c / 12.92 if c <= 0.04045 else ((c + 0.055) / 1.055) ** 2.4 for c in channels
    )
    return 0.2126 * red + 0.7152 * green + 0.0722 * blue


def contrast(one: str, other: str) -> float:
    """Contrast ratio of two colours."""
    light, dark = sorted((luminance(one), luminance(other)), reverse=True)
    return (light + 0.05) / (dark + 0.05)


@pytest.mark.parametrize("tone", ["light", "dark"])
def test_contrast(tone: str) -> None:
    found = colours(tone)
    for least, pairs in ((4.5, TEXT_ON), (3.0, SEEN_ON)):
        for front, back in pairs:
            ratio = contrast(found[front], found[back])
            assert ratio >= least, f"{tone}: {front} on {back} is {ratio:.2f}"


@pytest.mark.parametrize("path", FILES, ids=lambda path: path.name)
def test_nothing_inline_and_no_other_host(path: Path) -> None:
    text = path.read_text(encoding="utf-8")
    assert not re.search(r"\sstyle=", text)
    assert not re.search(r"\son[a-z]+=[\"'$]", text)
    assert not re.search(r"<style|<script(?![^>]*\ssrc=)", text)
    hosts = set(re.findall(r"(?:https?:)?//([\w.-]+\.[a-z]{2,})", text))
    assert hosts <= {"www.w3.org"}


@pytest.mark.parametrize("path", [*WEB.glob("static/css/*.css")], ids=lambda path: path.name)
def test_colours_are_named_in_one_file_alone(path: Path) -> None:
    text = path.read_text(encoding="utf-8")
    if path.name != "tokens.css":
        assert not re.search(r"#[0-9a-fA-F]{3,8}\b|\brgba?\(|\bhsl", text)
    assert set(re.findall(r"var\((--colour-[\w-]+)", text)) <= {
        f"--colour-{name}" for name in colours("dark")
    }


@pytest.mark.parametrize("path", FILES, ids=lambda path: path.name)
def test_files_stay_readable(path: Path) -> None:
    lines = path.read_text(encoding="utf-8").splitlines()
    assert len(lines) <= 350
    if path.suffix in {".js", ".css"}:
        assert max(map(len, lines)) <= 130
