"""The texts of the pages: complete in both languages, every code has one, and none is left over."""

import json
import re
from pathlib import Path

import pytest

from rooms.errors import REGISTRY
from rooms.events import EVENT_TYPES
from rooms.media import Source
from rooms.phases import PauseReason, Phase, RecordingState
from rooms.roles import Role
from rooms.session import SessionKind

WEB = Path(__file__).resolve().parents[2] / "web"
TEXTS = {
    language: json.loads((WEB / "i18n" / f"{language}.json").read_text(encoding="utf-8"))
    for language in ("zh", "en")
}
FILES = [*WEB.glob("templates/*.j2"), *WEB.glob("static/js/**/*.js")]
SOURCE = "\n".join(path.read_text(encoding="utf-8") for path in FILES)

SPOKEN = {
    "error": set(REGISTRY),
    "event": set(EVENT_TYPES),
    "kind": set(SessionKind),
    "lamp": set(RecordingState),
    "pause_reason": set(PauseReason),
    "phase": set(Phase),
    "role": set(Role),
    "source": set(Source),
    "verdict": {f"step_{number}" for number in range(1, 11)},
}
"""Values of the server that are shown in words: first part of the key -> second parts."""


def test_both_languages_have_the_same_keys() -> None:
    assert TEXTS["zh"].keys() == TEXTS["en"].keys()


@pytest.mark.parametrize("language", TEXTS)
def test_no_text_is_empty_and_the_file_is_in_order(language: str) -> None:
    texts = TEXTS[language]
    assert all(text.strip() for text in texts.values())
    assert list(texts) == sorted(texts)


def test_both_languages_name_the_same_parameters() -> None:
    for key, text in TEXTS["zh"].items():
        parameters = re.findall(r"{\w+}", text)
        assert sorted(parameters) == sorted(re.findall(r"{\w+}", TEXTS["en"][key])), key


@pytest.mark.parametrize(("part", "values"), SPOKEN.items())
def test_every_value_of_the_server_has_a_text(part: str, values: set[str]) -> None:
    assert {f"{part}.{value}" for value in values} <= TEXTS["zh"].keys()


def test_every_key_that_a_page_names_has_a_text() -> None:
    named = set(re.findall(r"\bt\(\s*[\"']([^\"']+)[\"']\s*[,)]", SOURCE))
    named |= set(re.findall(r"data-t(?:-aria-label)?=\"([\w.]+)\"", SOURCE))
    named |= {f"error.{code}" for code in re.findall(r"errorText\(\"(\w+)\"\)", SOURCE)}
    assert len(named) > 100
    assert named <= TEXTS["zh"].keys()


def test_no_text_is_left_over() -> None:
    literals = set(re.findall(r"[\"'`]([\w.]+)[\"'`]", SOURCE))
    prefixes = tuple(set(re.findall(r"`([a-z_.]+)\$\{", SOURCE)))
    left = {
        key for key in TEXTS["zh"] if key not in literals and not key.startswith(prefixes or " ")
    }
    assert left == set()
