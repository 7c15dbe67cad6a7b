"""What a verification found: numbered steps, one type of failure, two verdicts.

*Sealed*: nothing has changed since it was signed, and all that should be there is there (steps 1
to 9). *Anchored*: something outside this archive's own keys says so too (step 10).
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

STEPS = (
    "layout",
    "tag manifest",
    "payload manifest",
    "ledger chain",
    "media and ledger",
    "checkpoints",
    "signature",
    "time stamp",
    "completeness",
    "anchors",
)
"""Names of the steps 1 to 10, in order."""

SEALED_STEPS = 9
"""The verdict *sealed* is the steps up to this one; the one after it is *anchored*."""

MAX_FAILURES = 20
"""Each step names so many findings and counts the rest: a report stays readable and bounded."""

_MAX_TEXT = 300


@dataclass(frozen=True, slots=True)
class Failure:
    """One finding: at which step, in which file, where in it, what was expected, what was found.

    ``file`` is relative to the archive, as the manifest writes it (empty: the archive as a whole).
    """

    step: int
    file: str
    place: str
    expected: str
    found: str

    def to_json(self) -> dict[str, Any]:
        """The finding as JSON values."""
        return {
            "step": self.step,
            "file": self.file,
            "place": self.place,
            "expected": self.expected,
            "found": self.found,
        }


@dataclass(frozen=True, slots=True)
class Step:
    """The outcome of a step: the first ``failures`` of ``count``; ``detail`` says what held."""

    number: int
    name: str
    failures: tuple[Failure, ...]
    count: int
    detail: str

    @property
    def ok(self) -> bool:
        """Whether the step holds."""
        return self.count == 0

    @property
    def failure(self) -> Failure | None:
        """The first finding, if any."""
        return self.failures[0] if self.failures else None

    def to_json(self) -> dict[str, Any]:
        """The step as JSON values."""
        return {
            "number": self.number,
            "name": self.name,
            "ok": self.ok,
            "failure": self.failure.to_json() if self.failure else None,
            "failures": [failure.to_json() for failure in self.failures],
            "count": self.count,
            "detail": self.detail,
        }


@dataclass(frozen=True, slots=True)
class Report:
    """A whole verification. ``reasons`` say in words why it is anchored or is not.

    ``root_sha256`` is the SHA-256 of the tag manifest as found, the check value that people sign
    (empty when there is none).
    """

    archive: str
    steps: tuple[Step, ...]
    reasons: tuple[str, ...]
    root_sha256: str

    @property
    def sealed(self) -> bool:
        """Nothing has changed since it was signed."""
        return all(step.ok for step in self.steps[:SEALED_STEPS])

    @property
    def anchored(self) -> bool:
        """Sealed, and something outside this archive's own keys says so."""
        return self.sealed and self.steps[SEALED_STEPS].ok

    @property
    def failures(self) -> tuple[Failure, ...]:
        """The findings that speak against the seal, in the order of the steps."""
        return tuple(f for step in self.steps[:SEALED_STEPS] for f in step.failures)

    def to_json(self) -> dict[str, Any]:
        """The report as JSON values, for ``--json`` and for the page."""
        return {
            "archive": self.archive,
            "sealed": self.sealed,
            "anchored": self.anchored,
            "root_sha256": self.root_sha256,
            "steps": [step.to_json() for step in self.steps],
            "reasons": list(self.reasons),
        }


@dataclass(slots=True)
class Findings:
    """Collects what the steps find."""

    failures: dict[int, list[Failure]] = field(default_factory=dict)
    counts: dict[int, int] = field(default_factory=dict)
    details: dict[int, str] = field(default_factory=dict)

    def add(self, step: int, file: str, place: str, expected: str, found: str) -> None:
        """Note a finding; texts from the archive may be of any length and content."""
        self.counts[step] = self.counts.get(step, 0) + 1
        kept = self.failures.setdefault(step, [])
        if len(kept) < MAX_FAILURES:
            kept.append(Failure(step, *map(_printable, (file, place, expected, found))))

    def ok(self, step: int) -> bool:
        """Whether nothing was found at this step so far."""
        return step not in self.counts

    def blames(self, step: int, file: str) -> bool:
        """Whether this step found fault with this file."""
        return any(failure.file == file for failure in self.failures.get(step, ()))

    def steps(self) -> tuple[Step, ...]:
        """The outcome of every step."""
        return tuple(
            Step(
                number,
                name,
                tuple(self.failures.get(number, ())),
                self.counts.get(number, 0),
                self.details.get(number, "") if self.ok(number) else "",
            )
            for number, name in enumerate(STEPS, 1)
        )


def clock(time_us: int) -> str:
    """A session-clock time as ``h:mm:ss.mmm``."""
    sign, millis = ("-", -time_us // 1000) if time_us < 0 else ("", time_us // 1000)
    seconds, millis = divmod(millis, 1000)
    return f"{sign}{seconds // 3600}:{seconds // 60 % 60:02d}:{seconds % 60:02d}.{millis:03d}"


def render(report: Report) -> str:
    """The report in plain words, as ``tingxun verify`` prints it."""
    lines = [f"Archive {_printable(report.archive)}"]
    for step in report.steps:
        # The last step is no fault of the archive: it says what else speaks for it.
        mark = "ok" if step.ok else "FAILS" if step.number <= SEALED_STEPS else "no"
        lines.append(f"  {step.number:2d} {step.name:<17} {mark:<6}{step.detail}".rstrip())
        if step.number > SEALED_STEPS:
            continue
        for failure in step.failures:
            where = ", ".join(part for part in (failure.file, failure.place) if part)
            lines.append(f"       {where}")
            lines.append(f"         expected: {failure.expected}")
            lines.append(f"         found:    {failure.found}")
        if step.count > len(step.failures):
            lines.append(f"       and {step.count - len(step.failures)} more")
    lines.append(_sealed_words(report))
    verdict = "ANCHORED" if report.anchored else "NOT ANCHORED"
    lines.append(f"{verdict}: {'; '.join(report.reasons)}.")
    return "\n".join(lines) + "\n"


def _sealed_words(report: Report) -> str:
    if report.sealed:
        return (
            "SEALED: nothing has changed since it was signed.\n"
            f"  check value (SHA-256 of the tag manifest): {report.root_sha256}"
        )
    first = report.failures[0]
    where = ", ".join(part for part in (first.file, first.place) if part)
    return f"NOT SEALED: step {first.step}, {where}."


def _printable(text: str) -> str:
    """One bounded line that any terminal and any encoder takes."""
    cut = text if len(text) <= _MAX_TEXT else text[:_MAX_TEXT] + "..."
    return "".join(
        char if char.isprintable() else char.encode("unicode_escape").decode() for char in cut
    )
