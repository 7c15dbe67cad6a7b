"""The words of the pages in both languages (``web/i18n``), and which one a person reads."""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any, Literal, get_args

from aiohttp import web

Language = Literal["zh", "en"]
LANGUAGES: tuple[Language, ...] = get_args(Language)
COOKIE = "language"


class Texts:
    """Every text by key, for each language."""

    def __init__(self, folder: Path) -> None:
        self._texts: dict[Language, Mapping[str, str]] = {
            language: json.loads((folder / f"{language}.json").read_text(encoding="utf-8"))
            for language in LANGUAGES
        }

    def say(self, language: Language, key: str, **values: Any) -> str:
        """The text of ``key`` with ``{name}`` replaced; the key itself when there is no text."""
        text = self._texts[language].get(key, key)
        for name, value in values.items():
            text = text.replace(f"{{{name}}}", str(value))
        return text


def language_of(request: web.BaseRequest) -> Language:
    """The language to answer in: the one chosen before, else the browser's, else Chinese."""
    chosen = request.cookies.get(COOKIE)
    if chosen in LANGUAGES:
        return chosen
    best, best_weight = LANGUAGES[0], 0.0
    for entry in request.headers.get("Accept-Language", "")[:500].split(","):
        name, _, weight_text = entry.strip().partition(";q=")
        primary = name.split("-")[0].strip().lower()
        try:
            weight = float(weight_text or 1)
        except ValueError:
            continue
        if primary in LANGUAGES and weight > best_weight:
            best, best_weight = primary, weight
    return best
