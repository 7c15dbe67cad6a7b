"""How good a person's line is, from counters: loss over the last seconds, and a class for it.

Pure: :mod:`server.figures` brings the counters, once a second. The classes are those of feature
F35: less than 10 % lost is good, from 15 % on it is bad. Loss is what the line lost, before
retransmission has repaired it.
"""

from __future__ import annotations

from collections import deque
from enum import StrEnum

WEAK_LOSS = 0.10
BAD_LOSS = 0.15

MARGIN = 0.01
"""A class turns better only when the loss is this far below its limit ..."""

BETTER_AFTER = 3
"""... for this many samples in a row."""

WORSE_AFTER = 2
"""It turns worse after this many in a row that say so."""

WINDOW = 8
"""Loss is taken over this many samples, of a second each: at the hundred packets a second of a
small picture with sound, chance alone then moves it by little more than a point.
"""


class NetworkClass(StrEnum):
    """A line in one word."""

    GOOD = "good"
    WEAK = "weak"
    BAD = "bad"


_ORDER = list(NetworkClass)


def class_of(loss: float) -> NetworkClass:
    """The class of a loss (0 to 1) taken by itself."""
    if loss < WEAK_LOSS:
        return NetworkClass.GOOD
    return NetworkClass.WEAK if loss < BAD_LOSS else NetworkClass.BAD


class Grade:
    """The class of one line over time: soon worse, better only when it lasts."""

    def __init__(self) -> None:
        self.value: NetworkClass | None = None
        """None until something is known."""
        self._better = self._worse = 0

    def take(self, loss: float | None) -> NetworkClass | None:
        """Take a sample; None, where nothing was measured, changes nothing."""
        if loss is None:
            return self.value
        now, before = class_of(loss), self.value
        if before is None:
            self.value = now
        elif _ORDER.index(now) >= _ORDER.index(before):
            self._better = 0
            self._worse = self._worse + 1 if now is not before else 0
            if self._worse == WORSE_AFTER:
                self.value, self._worse = now, 0
        else:
            self._worse = 0
            calm = class_of(loss + MARGIN)
            self._better = self._better + 1 if calm is not before else 0
            if self._better == BETTER_AFTER:
                self.value, self._better = calm, 0
        return self.value


class Window:
    """The last samples of some counters that only grow (or fall a little, as ``lost`` does)."""

    def __init__(self) -> None:
        self._samples: deque[tuple[int, ...]] = deque(maxlen=WINDOW + 1)

    def take(self, *counters: int) -> tuple[int, ...]:
        """Take the counters as they are now; returns how much each has grown in the window."""
        self._samples.append(counters)
        return tuple(new - old for new, old in zip(counters, self._samples[0], strict=True))
