"""The root of all errors, and the register of their codes."""

from __future__ import annotations

from typing import ClassVar, Literal

Fault = Literal["caller", "peer", "operator", "us"]

REGISTRY: dict[str, type[TingxunError]] = {}
"""Every code with its class; filled as the classes are defined."""


class TingxunError(Exception):
    """The root of all errors that the platform raises on purpose.

    Class attributes: `code` (stable, snake_case; empty for the groups), `status` (HTTP),
    `fault` (who can put it right), `hint` (what to do, in English), `title` (first line of the
    class's docstring). `message` says what happened this time and defaults to the title.
    """

    code: ClassVar[str] = ""
    status: ClassVar[int] = 500
    fault: ClassVar[Fault] = "us"
    hint: ClassVar[str] = ""
    title: ClassVar[str] = "Error"

    def __init_subclass__(
        cls,
        *,
        code: str = "",
        status: int | None = None,
        fault: Fault | None = None,
        hint: str | None = None,
    ) -> None:
        """Take the attributes from the class line; what is not named there is inherited.

        Raises TypeError when a second class claims a code.
        """
        super().__init_subclass__()
        cls.title = (cls.__doc__ or code).strip().splitlines()[0].rstrip(".")
        if status is not None:
            cls.status = status
        if fault is not None:
            cls.fault = fault
        if hint is not None:
            cls.hint = hint
        if code:
            if code in REGISTRY:
                raise TypeError(f"error code {code} is taken by {REGISTRY[code].__name__}")
            cls.code = code
            REGISTRY[code] = cls

    def __init__(self, message: str = "") -> None:
        """Keep what happened this time; without a message the title stands for it."""
        self.message = message or self.title
        super().__init__(self.message)

    def to_problem(self) -> dict[str, str | int]:
        """Return the problem details object of RFC 9457 section 3 (application/problem+json)."""
        return {
            "type": f"urn:tingxun:error:{self.code}",
            "title": self.title,
            "status": self.status,
            "code": self.code,
            "detail": self.message,
            "hint": self.hint,
        }
