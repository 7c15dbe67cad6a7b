"""The shapes of ledger records: which fields each type must have, and of which kind.

Fields that are not named here may stand in a record too: later versions add some. A type that is
not named is a finding, since nobody can say what it claims.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping
from typing import Any

MAX_INTEGER = 1 << 53
"""Integers lie between this and its negative, so that every JSON reader keeps them exact."""

_TRACK = re.compile(r"[a-z][a-z0-9-]{0,31}", re.ASCII)
_SHA256 = re.compile(r"[0-9a-f]{64}", re.ASCII)
_WALL = re.compile(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\.\d{3}Z", re.ASCII)

Check = Callable[[Any], bool]


def _integer(value: Any) -> bool:
    return type(value) is int and -MAX_INTEGER <= value <= MAX_INTEGER


def _count(value: Any) -> bool:
    return _integer(value) and value >= 0


def _positive(value: Any) -> bool:
    return _integer(value) and value > 0


def _integer_or_null(value: Any) -> bool:
    return value is None or _integer(value)


def _text(value: Any) -> bool:
    return isinstance(value, str) and value != ""


def _string(value: Any) -> bool:
    return isinstance(value, str)


def _string_or_null(value: Any) -> bool:
    return value is None or isinstance(value, str)


def _flag(value: Any) -> bool:
    return isinstance(value, bool)


def _present(value: Any) -> bool:
    return value is not None


def _object(value: Any) -> bool:
    return isinstance(value, dict)


def _matching(pattern: re.Pattern[str]) -> Check:
    return lambda value: isinstance(value, str) and pattern.fullmatch(value) is not None


def is_track(value: Any) -> bool:
    """Whether ``value`` can be the id of a track."""
    return isinstance(value, str) and _TRACK.fullmatch(value) is not None


def _session(value: Any) -> bool:
    return isinstance(value, dict) and _text(value.get("id"))


def _event(value: Any) -> bool:
    return isinstance(value, dict) and _text(value.get("type"))


def _intervals(value: Any) -> bool:
    """Pairs in order, none of which overlaps the one before."""
    end = -MAX_INTEGER
    for pair in value if isinstance(value, list) else [None]:
        if not (isinstance(pair, list) and len(pair) == 2 and all(map(_integer, pair))):
            return False
        if not end <= pair[0] <= pair[1]:
            return False
        end = pair[1]
    return True


def _accounts(value: Any) -> bool:
    """The close line's account of each track; each track once."""
    if not isinstance(value, list) or not all(isinstance(entry, dict) for entry in value):
        return False
    whole = all(check(entry.get(name)) for entry in value for name, check in _ACCOUNT.items())
    return whole and len({entry["track"] for entry in value}) == len(value)


_DIGEST, _TIME = _matching(_SHA256), _matching(_WALL)

_ACCOUNT: dict[str, Check] = {
    "track": is_track,
    "source": _text,
    "participant": _text,
    "site": _string_or_null,
    "codec": _text,
    "segments": _count,
    "samples": _count,
    "expected_us": _count,
    "captured_us": _count,
    "gap_us": _count,
    "gaps": _count,
}

_FIELDS: dict[str, dict[str, Check]] = {
    "open": {
        "format": lambda value: type(value) is int and value == 1,
        "session": _session,
        "opened_wall": _TIME,
        "origin": _text,
        "key": _text,
        "software": _text,
        "recorder": _text,
        "clock": _object,
    },
    "init": {
        "track": is_track,
        "source": _text,
        "participant": _text,
        "site": _string_or_null,
        "label": _string,
        "codec": _text,
        "container": lambda value: value in ("cmaf", "webm"),
        "file": _text,
        "size": _count,
        "sha256": _DIGEST,
        "timescale": _positive,
        "ssrc": _count,
    },
    "seg": {
        "track": is_track,
        "number": _positive,
        "file": _text,
        "size": _count,
        "sha256": _DIGEST,
        "t0_us": _integer,
        "end_us": _integer,
        "media_t0": _count,
        "media_end": _count,
        "samples": _positive,
        "key": _flag,
        "rtp": _object,
        "lost": _count,
        "wall": _TIME,
    },
    "gap": {"track": is_track, "from_us": _integer, "to_us": _integer, "cause": _text},
    "event": {"t_us": _integer_or_null, "wall": _TIME, "event": _event},
    "recover": {"cause": _text, "salvaged": _present, "lost": _present},
    "close": {
        "closed_us": _count,
        "live": _intervals,
        "tracks": _accounts,
        "checkpoints": _count,
    },
}

_ORDERED = {
    "seg": (("t0_us", "end_us"), ("media_t0", "media_end")),
    "gap": (("from_us", "to_us"),),
}
"""Pairs of fields of which the first is not above the second."""


def problem_of(record: Mapping[str, Any]) -> tuple[str, str] | None:
    """What is wrong with a record, as (expected, found); None when it has its shape."""
    kind = record.get("type")
    fields = _FIELDS.get(kind) if isinstance(kind, str) else None
    if fields is None:
        return f"a type of {', '.join(_FIELDS)}", repr(kind)
    for name, check in fields.items():
        if not check(record.get(name)):
            return f"{kind} with a valid {name}", f"{record.get(name)!r:.200}"
    for first, second in _ORDERED.get(str(kind), ()):
        if record[first] > record[second]:
            return f"{first} not after {second}", f"{record[first]} and {record[second]}"
    return None
