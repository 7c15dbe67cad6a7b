"""Which texts may be stored: bounded, without control characters, always encodable as UTF-8."""

from __future__ import annotations

import unicodedata

MAX_ID_CHARS = 128
MAX_NAME_CHARS = 200
MAX_NOTE_CHARS = 500


def is_text(value: object, max_chars: int) -> bool:
    """Whether the value is a text of 1 to `max_chars` characters that may be stored.

    Control characters other than the line feed are refused, and so are lone surrogates: JSON can
    carry them (RFC 8259 section 8.2), UTF-8 cannot.
    """
    return (
        isinstance(value, str)
        and 0 < len(value) <= max_chars
        and all(char == "\n" or unicodedata.category(char) not in {"Cc", "Cs"} for char in value)
    )


def is_id(value: object) -> bool:
    """Whether the value may serve as an id: a short text of printable ASCII without spaces."""
    return (
        isinstance(value, str)
        and 0 < len(value) <= MAX_ID_CHARS
        and value.isascii()
        and value.isprintable()
        and " " not in value
    )


def storable(text: str, max_chars: int) -> str:
    """Return the text in a form that `is_text` accepts: what is refused there becomes a space.

    For texts of our own making, where the fact that they report must not be lost over their form.
    """
    cut = "".join(char if is_text(char, 1) else " " for char in text[:max_chars])
    return cut if cut.strip() else "unknown"
