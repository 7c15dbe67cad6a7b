"""Which layer of which picture a receiver gets, within what its line carries. Pure.

Sound is not in question: it is sent first and always, and what is left is for pictures. Every
picture gets its lowest layer before any gets a better one, and those that are shown large come
before those that are shown small.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal

UP_MARGIN = 1.15
"""A better layer has to fit with this much to spare; one that is sent already just has to fit."""

ENOUGH = 0.8
STAYS_ENOUGH = 0.7
"""A layer is large enough for a place on the screen if it has this part of its height; the one that
is sent stays enough for longer: a page that moves a little must not change pictures to and fro."""

UNKNOWN_HEIGHT = 1 << 14
"""A picture whose place nobody has told is shown as large as it comes."""

Reason = Literal["view", "line", "paused"]


@dataclass(frozen=True, slots=True)
class Picture:
    """One picture as it could be sent. All about layers is from the lowest to the best.

    ``shown_px`` is the height at which it is shown; 0 where it is not, None where nobody has told.
    ``level`` is the layer that it has now, None for none.
    """

    layer_bps: Sequence[int]
    layer_px: Sequence[int]
    shown_px: int | None
    level: int | None


@dataclass(frozen=True, slots=True)
class Share:
    """What a picture gets: a layer (None: none), and why it is not the best one."""

    level: int | None
    reason: Reason | None


@dataclass(frozen=True, slots=True)
class Allocation:
    """Shares in the order of the pictures; what they take, and what the next step up takes."""

    shares: tuple[Share, ...]
    bps: int
    next_bps: int | None
    """Of everything, with the next layer that is held back; None where none is."""


def enough_level(picture: Picture) -> int | None:
    """The lowest layer that is large enough for the picture's place; None where it has none."""
    if picture.shown_px == 0:
        return None
    top = len(picture.layer_px) - 1
    shown_px = UNKNOWN_HEIGHT if picture.shown_px is None else picture.shown_px
    return next(
        (
            n
            for n, px in enumerate(picture.layer_px)
            if px >= shown_px * (STAYS_ENOUGH if n == picture.level else ENOUGH)
        ),
        top,
    )


def allocate(budget_bps: int | None, pictures: Sequence[Picture]) -> Allocation:
    """Divide what is left for pictures; None is without limit."""
    limits = [enough_level(picture) for picture in pictures]
    if budget_bps is None:
        return _allocation(pictures, limits, limits, None)
    order = sorted(
        (n for n, limit in enumerate(limits) if limit is not None),
        key=lambda n: (-_shown(pictures[n]), n),
    )
    levels: list[int | None] = [None] * len(pictures)
    spent = 0
    next_bps: int | None = None
    for level in range(max((limit for limit in limits if limit is not None), default=-1) + 1):
        for n in order:
            picture, limit, below = pictures[n], limits[n], levels[n]
            if limit is None or level > limit or (level and below != level - 1):
                continue
            more = picture.layer_bps[level] - (picture.layer_bps[level - 1] if level else 0)
            sent = picture.level is not None and picture.level >= level
            if (spent + more) * (1.0 if sent else UP_MARGIN) <= budget_bps:
                levels[n] = level
                spent += more
            elif next_bps is None:
                next_bps = more
    if next_bps is not None:
        next_bps = int((spent + next_bps) * UP_MARGIN) + 1
    return _allocation(pictures, limits, levels, next_bps)


def _shown(picture: Picture) -> int:
    return UNKNOWN_HEIGHT if picture.shown_px is None else picture.shown_px


def _allocation(
    pictures: Sequence[Picture],
    limits: Sequence[int | None],
    levels: Sequence[int | None],
    next_bps: int | None,
) -> Allocation:
    shares, bps = [], 0
    for picture, limit, level in zip(pictures, limits, levels, strict=True):
        reason: Reason | None = None
        if level is None:
            reason = "view" if limit is None else "paused"
        elif limit is not None and level < limit:
            reason = "line"
        elif level < len(picture.layer_px) - 1:
            reason = "view"
        shares.append(Share(level, reason))
        if level is not None:
            bps += picture.layer_bps[level]
    return Allocation(tuple(shares), bps, next_bps)
