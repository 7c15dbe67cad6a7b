"""What the demo says: progress while it works, and its result at the end.

Progress goes to standard error, as a moving bar on a terminal and as plain lines elsewhere. The
result goes to standard output, as text or as one JSON object whose fields are fixed.
"""

from __future__ import annotations

import json
import sys
import time
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Self

from rich.console import Console
from rich.progress import BarColumn, Progress, TaskID, TextColumn

from recorder.verify.report import Report
from server.measure import Offset

ALLOWED_LOSS = 0.005
"""Share of a track's expected time that may be missing."""

_PLAIN_EVERY_S = 5.0


@dataclass(frozen=True, slots=True)
class TrackResult:
    """One track of the archive; ``gaps`` are those of :func:`recorder.replay.describe`."""

    id: str
    site: str
    source: str
    codec: str
    expected_ms: int
    captured_ms: int
    gaps: list[dict[str, Any]]

    @property
    def whole(self) -> bool:
        """Whether no more is missing than is allowed."""
        return self.captured_ms >= self.expected_ms * (1 - ALLOWED_LOSS) and self.expected_ms > 0

    def to_json(self) -> dict[str, Any]:
        """The track as the JSON result shows it."""
        return {
            "id": self.id,
            "site": self.site,
            "source": self.source,
            "codec": self.codec,
            "expected_ms": self.expected_ms,
            "captured_ms": self.captured_ms,
            "gaps": self.gaps,
        }


@dataclass(slots=True)
class Result:
    """What came of a demo."""

    archive: Path
    session_id: str
    tracks: list[TrackResult]
    offset: Offset | None
    close_to_sealed_ms: int
    report: Report
    trusted: list[Path]
    """Certificates that the archive was verified against."""
    replay_url: str = field(default="")

    @property
    def ok(self) -> bool:
        """Whether the archive is sealed and no track lacks too much."""
        return self.report.sealed and all(track.whole for track in self.tracks)

    def to_json(self) -> dict[str, Any]:
        """The object that ``--json`` prints."""
        return {
            "archive": str(self.archive),
            "session_id": self.session_id,
            "tracks": [track.to_json() for track in self.tracks],
            "av_offset_ms": None if self.offset is None else self.offset.offset_ms,
            "close_to_sealed_ms": self.close_to_sealed_ms,
            "verify": {
                "sealed": self.report.sealed,
                "anchored": self.report.anchored,
                "steps": [step.to_json() for step in self.report.steps],
            },
            "replay_url": self.replay_url,
        }

    def print(self, *, json_output: bool, serving: bool) -> None:
        """Print the result to standard output; ``serving``: the replay can be looked at now."""
        if json_output:
            text = json.dumps(self.to_json(), ensure_ascii=False)
        else:
            text = self._text()
            text += "" if serving else " (to look at it, run without --exit)"
        sys.stdout.write(text + "\n")
        sys.stdout.flush()

    def _text(self) -> str:
        lines = [f"archive          {self.archive}"]
        for track in self.tracks:
            share = track.captured_ms / track.expected_ms if track.expected_ms else 0.0
            lines.append(
                f"{track.id:<16} {track.source:<16} {track.codec:<12} {track.site}: "
                f"captured {track.captured_ms} of {track.expected_ms} ms ({share:.2%}), "
                f"{len(track.gaps)} gap{'' if len(track.gaps) == 1 else 's'}"
            )
        if self.offset is None:
            lines.append("sound - picture  not measured: no flash and beep in the recording")
        else:
            lines.append(
                f"sound - picture  {self.offset.offset_ms:+.1f} ms "
                f"({self.offset.pairs} pairs, spread {self.offset.spread_ms:.1f} ms)"
            )
        lines.append(f"close to sealed  {self.close_to_sealed_ms} ms")
        lines.append(f"sealed           {'yes' if self.report.sealed else 'no'}")
        lines += [
            f"  step {failure.step}, {failure.file} {failure.place}: "
            f"expected {failure.expected}, found {failure.found}"
            for failure in self.report.failures
        ]
        lines.append(
            f"anchored         {'yes' if self.report.anchored else 'no'} "
            f"({'; '.join(self.report.reasons)})"
        )
        lines.append(f"trusted          {', '.join(map(str, self.trusted))}")
        lines.append(f"replay           {self.replay_url}")
        return "\n".join(lines)


class Narrator:
    """Says on standard error what is being done. Use as ``with Narrator() as narrator``."""

    def __init__(self) -> None:
        self._console = Console(stderr=True, highlight=False)
        self._bar: Progress | None = None
        self._task = TaskID(0)
        self._said_s = 0.0

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self._end_bar()

    def say(self, text: str) -> None:
        """One line with the time of day."""
        self._end_bar()
        self._console.print(f"{time.strftime('%H:%M:%S')} {text}", markup=False, soft_wrap=True)

    def holding(self, passed_s: float, total_s: float, text: str) -> None:
        """How far the session is; on a terminal a bar, elsewhere a line now and then."""
        if not self._console.is_terminal:
            now_s = time.monotonic()
            if now_s - self._said_s >= _PLAIN_EVERY_S:
                self._said_s = now_s
                self.say(f"{passed_s:.0f} of {total_s:.0f} s: {text}")
            return
        if self._bar is None:
            self._bar = Progress(
                TextColumn("{task.completed:.0f}/{task.total:.0f} s"),
                BarColumn(),
                TextColumn("{task.description}"),
                console=self._console,
                transient=True,
            )
            self._bar.start()
            self._task = self._bar.add_task(text, total=total_s)
        self._bar.update(self._task, completed=passed_s, description=text)

    def _end_bar(self) -> None:
        if self._bar is not None:
            self._bar.stop()
            self._bar = None
