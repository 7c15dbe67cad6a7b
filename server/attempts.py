"""Counting failed sign-ins, so that passwords cannot be guessed. Time is an argument; no I/O.

An attempt is counted before the password is looked at and forgiven when it was right: a hundred
guesses sent at once get no more answers than a hundred sent one after another.
"""

from __future__ import annotations

from collections import OrderedDict

from rooms.errors import TooManyAttempts

REMEMBERED = 20_000
"""Names or addresses remembered; the one that was quiet for longest is forgotten first."""


class Attempts:
    """Failures by key (a name, or an address): after ``limit`` the key is locked for ``lock_s``."""

    def __init__(self, limit: int, lock_s: float) -> None:
        self._limit = limit
        self._lock_s = lock_s
        self._failures: OrderedDict[str, tuple[int, float]] = OrderedDict()

    def begin(self, key: str, now_s: float) -> None:
        """Count an attempt; raises :class:`~rooms.errors.TooManyAttempts` while the key is locked.

        The lock lasts ``lock_s`` from the last counted attempt; one refused does not extend it.
        """
        count, last_s = self._failures.get(key, (0, now_s))
        if now_s - last_s >= self._lock_s:
            count = 0
        if count >= self._limit:
            raise TooManyAttempts(f"locked for {self._lock_s - (now_s - last_s):.0f} s more")
        self._failures[key] = (count + 1, now_s)
        self._failures.move_to_end(key)
        if len(self._failures) > REMEMBERED:
            self._failures.popitem(last=False)

    def forgive(self, key: str) -> None:
        """Take one attempt back: it was right."""
        count, last_s = self._failures.get(key, (0, 0.0))
        if count > 1:
            self._failures[key] = (count - 1, last_s)
        else:
            self._failures.pop(key, None)

    def clear(self, key: str) -> None:
        """Forget a key: its owner has shown the password, or has a new one."""
        self._failures.pop(key, None)
