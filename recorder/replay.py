"""An archive as a player needs it: tracks, segments on the session clock, gaps, events.

Before this: a sealed archive, or one that is still being recorded or was never sealed. After it:
the page of the replay, which places each segment at ``t0_us``. The description says what the
ledger says and verifies nothing but the chain; that is for :mod:`recorder.verify`.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

from recorder.archive import Layout
from recorder.ledger import read_records
from rooms.errors import ArchiveBroken, ArchiveUnknown

_MIME = {
    ("cmaf", True): 'video/mp4; codecs="{}"',
    ("cmaf", False): 'audio/mp4; codecs="{}"',
    ("webm", True): 'video/webm; codecs="{}"',
}


def describe(root: Path) -> dict[str, Any]:
    """What there is to play in the archive at ``root``, as JSON values.

    All times are integer microseconds of the session clock. ``tracks[].segments[].offset_us`` is
    what to add to the media time in the file to get there. ``unsealed`` is True for an archive
    that is in progress or was never sealed; then the counts are those of the segments so far.
    ``file`` is relative to ``root`` and comes from the ledger: open it with
    :meth:`recorder.archive.Layout.resolve`.

    Raises :class:`ArchiveUnknown` when there is no ledger and :class:`ArchiveBroken` when it is
    not one that a recorder writes.
    """
    layout = Layout(root)
    try:
        return _describe(layout, read_records(layout.chain))
    except (FileNotFoundError, NotADirectoryError) as error:
        raise ArchiveUnknown(f"{root.name} is no archive") from error
    except OSError as error:
        raise ArchiveUnknown(f"{root.name} cannot be read: {error.strerror}") from error
    except (KeyError, TypeError, ValueError, AttributeError, ZeroDivisionError) as error:
        raise ArchiveBroken(f"a ledger record is malformed: {error}") from error


def _describe(layout: Layout, records: Iterator[dict[str, Any]]) -> dict[str, Any]:
    opening: dict[str, Any] | None = None
    closing: dict[str, Any] | None = None
    tracks: dict[str, dict[str, Any]] = {}
    scales: dict[str, int] = {}
    gaps: dict[str, list[dict[str, Any]]] = {}
    events: list[dict[str, Any]] = []
    for record in records:
        kind = record["type"]
        if kind == "open":
            opening = record
        elif kind == "init":
            tracks[record["track"]] = _track(record)
            scales[record["track"]] = record["timescale"]
        elif kind == "seg":
            segment = _segment(record, scales[record["track"]])
            tracks[record["track"]]["segments"].append(segment)
        elif kind == "gap":
            gaps.setdefault(record["track"], []).append(
                {name: record[name] for name in ("from_us", "to_us", "cause")}
            )
        elif kind == "event":
            events.append(_event(record))
        elif kind == "close":
            closing = record
    if opening is None:
        raise ArchiveBroken("the ledger has no open line")
    accounts = {account["track"]: account for account in closing["tracks"]} if closing else {}
    for account in accounts.values():
        # A track that was published and never brought a picture has only its gaps.
        tracks.setdefault(account["track"], _silent_track(account))
    for name, track in tracks.items():
        track["gaps"] = gaps.get(name, [])
        track.update(_counts(track, accounts.get(name)))
    ends = [s["end_us"] for track in tracks.values() for s in track["segments"]]
    return {
        "archive_id": layout.archive_id,
        "session": _session(opening["session"]),
        "opened_wall": opening["opened_wall"],
        "duration_us": closing["closed_us"] if closing else max(ends, default=0),
        "live": closing["live"] if closing else _live(events, max(ends, default=0)),
        "tracks": list(tracks.values()),
        "events": events,
        "unsealed": not (closing and layout.seal.is_file() and not layout.in_progress),
    }


def _session(booking: Mapping[str, Any]) -> dict[str, Any]:
    """The booking, with its seats as the participants that a page shows."""
    shown = {name: booking[name] for name in ("id", "case_number", "kind", "title")}
    seats = (dict(seat) for seat in booking["assignments"])
    return {**shown, "participants": [{"id": seat.pop("participant_id"), **seat} for seat in seats]}


def _track(init: Mapping[str, Any]) -> dict[str, Any]:
    video = init["codec"] != "opus"
    return {
        "track_id": init["track"],
        "source": init["source"],
        "participant_id": init["participant"],
        "label": init["label"],
        "site": init["site"],
        "codec": init["codec"],
        "mime": _MIME[init["container"], video].format(init["codec"]),
        "container": init["container"],
        "init": {name: init[name] for name in ("file", "size", "sha256")} | {"line": init["n"]},
        "segments": [],
    }


def _silent_track(account: Mapping[str, Any]) -> dict[str, Any]:
    return {
        "track_id": account["track"],
        "source": account["source"],
        "participant_id": account["participant"],
        "label": "",
        "site": account["site"],
        "codec": account["codec"],
        "mime": "",
        "container": None,
        "init": None,
        "segments": [],
    }


def _segment(record: Mapping[str, Any], timescale: int) -> dict[str, Any]:
    return {
        "n": record["number"],
        "file": record["file"],
        "size": record["size"],
        "sha256": record["sha256"],
        "t0_us": record["t0_us"],
        "end_us": record["end_us"],
        "offset_us": record["t0_us"] - record["media_t0"] * 1_000_000 // timescale,
        "line": record["n"],
    }


def _event(record: Mapping[str, Any]) -> dict[str, Any]:
    """The room's event, with the position of its line: what it calls ``t_us`` and ``wall`` wins."""
    event: dict[str, Any] = dict(record["event"])
    return {"t_us": record["t_us"], "wall": record["wall"], **event, "line": record["n"]}


def _counts(track: Mapping[str, Any], account: Mapping[str, Any] | None) -> dict[str, int]:
    if account is not None:
        return {name: account[name] for name in ("expected_us", "captured_us")}
    captured = sum(s["end_us"] - s["t0_us"] for s in track["segments"])
    missing = sum(gap["to_us"] - gap["from_us"] for gap in track["gaps"])
    return {"expected_us": captured + missing, "captured_us": captured}


def _live(events: list[dict[str, Any]], end_us: int) -> list[list[int]]:
    """The live intervals so far, from the events of an archive that is not closed yet."""
    live: list[list[int]] = []
    since: int | None = None
    for event in events:
        at_us = event["t_us"]
        if event["type"] in ("session_live", "session_resumed") and since is None:
            since = at_us
        elif event["type"] in ("session_paused", "session_closing") and since is not None:
            live.append([since, at_us])
            since = None
    if since is not None:
        live.append([since, max(since, end_us)])
    return live
