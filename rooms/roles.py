"""Who may do what: the one table of roles and permissions in a session.

The recording has no entry: no role can start or stop it by itself. It follows the session, from
`open` to `close`, and only a reasoned pause by one who may interrupts it.
"""

from __future__ import annotations

from collections.abc import Mapping
from enum import StrEnum

from rooms.media import Source


class Role(StrEnum):
    """What a person is in one session (not what their account may do on the platform)."""

    QUESTIONER = "questioner"
    SECOND_OFFICER = "second_officer"
    CLERK = "clerk"
    SUBJECT = "subject"
    INTERPRETER = "interpreter"
    OBSERVER = "observer"


class Permission(StrEnum):
    """One thing that a role may be allowed to do in a room."""

    PUBLISH = "publish"
    SUBSCRIBE = "subscribe"
    OPEN = "open"
    PAUSE = "pause"
    RESUME = "resume"
    CLOSE = "close"
    MARK = "mark"


_SEE_AND_SPEAK = frozenset({Permission.PUBLISH, Permission.SUBSCRIBE})

MATRIX: Mapping[Role, frozenset[Permission]] = {
    Role.QUESTIONER: frozenset(Permission),
    Role.SECOND_OFFICER: _SEE_AND_SPEAK | {Permission.MARK},
    Role.CLERK: _SEE_AND_SPEAK | {Permission.MARK},
    Role.SUBJECT: _SEE_AND_SPEAK,
    Role.INTERPRETER: _SEE_AND_SPEAK,
    Role.OBSERVER: frozenset({Permission.SUBSCRIBE}),
}
"""Every role with its permissions; the questioner is the host."""

_ALL_SOURCES = frozenset(Source)

SOURCES: Mapping[Role, frozenset[Source]] = {
    Role.QUESTIONER: _ALL_SOURCES,
    Role.SECOND_OFFICER: _ALL_SOURCES,
    Role.CLERK: _ALL_SOURCES,
    Role.SUBJECT: _ALL_SOURCES - {Source.EVIDENCE_DISPLAY},
    Role.INTERPRETER: _ALL_SOURCES,
    Role.OBSERVER: frozenset(),
}
"""Every role with the sources that it may publish; evidence is shown to the subject, not by."""
