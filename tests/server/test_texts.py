"""Which language a request is answered in, and what is said when a text is missing."""

import json
from pathlib import Path

import pytest
from aiohttp.test_utils import make_mocked_request

from server.texts import Texts, language_of


@pytest.mark.parametrize(
    ("headers", "language"),
    [
        ({}, "zh"),
        ({"Accept-Language": "en"}, "en"),
        ({"Accept-Language": "en-GB,en;q=0.9"}, "en"),
        ({"Accept-Language": "zh-CN,zh;q=0.9,en;q=0.8"}, "zh"),
        ({"Accept-Language": "fr,de;q=0.7"}, "zh"),
        ({"Accept-Language": "fr, en;q=0.5, zh;q=0.4"}, "en"),
        ({"Accept-Language": "en;q=0, zh;q=0.1"}, "zh"),
        ({"Accept-Language": "en;q=high,zh"}, "zh"),
        ({"Accept-Language": ",;=;,en"}, "en"),
        ({"Accept-Language": "en", "Cookie": "language=zh"}, "zh"),
        ({"Accept-Language": "zh", "Cookie": "language=en"}, "en"),
        ({"Cookie": "language=tlh"}, "zh"),
    ],
)
def test_language(headers: dict[str, str], language: str) -> None:
    assert language_of(make_mocked_request("GET", "/", headers=headers)) == language


def test_texts_with_values_and_without(tmp_path: Path) -> None:
    (tmp_path / "zh.json").write_text(json.dumps({"hello": "{name}，您好"}), encoding="utf-8")
    (tmp_path / "en.json").write_text(json.dumps({"hello": "Hello {name}"}), encoding="utf-8")
    texts = Texts(tmp_path)
    assert texts.say("zh", "hello", name="李") == "李，您好"
    assert texts.say("en", "hello", name="{name}") == "Hello {name}"
    assert texts.say("en", "missing") == "missing"
