"""How far the comments of a channel or video have been read: walks from the newest down.

`since` moves only when a walk is finished, so that an interrupted one leaves no hole.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace

from .lanes import Second

# Threads whose number of answers is remembered, for each channel or video.
_MOST_KNOWN = 2_000


@dataclass(frozen=True, slots=True, kw_only=True)
class Todo:
    """A thread whose answers are still to be read: when it was begun, and how many there are."""

    thread: str
    video: str | None
    second: Second
    replies: int
    token: str | None = None
    pages: int = 0


@dataclass(frozen=True, slots=True, kw_only=True)
class Walk:
    """A way down a list.

    All from the second `low` on is given, and answers to threads from `floor` on. `top` and
    `oldest` are the newest and oldest second met. `token` leads on; `ended` says that only the
    answers in `todo` are left. `known_pages` counts pages below `low`, `idle` those in a row that
    brought nothing new, `anew` how often the list was begun again.
    """

    low: Second
    floor: Second
    top: Second
    oldest: Second | None = None
    token: str | None = None
    pages: int = 0
    known_pages: int = 0
    idle: int = 0
    anew: int = 0
    ended: bool = False
    todo: tuple[Todo, ...] = ()


@dataclass(frozen=True, slots=True, kw_only=True)
class Lane:
    """One channel or video: all before `since` was given; the last walk began at `polled`.

    `known` has, by thread, the number of answers that were read and the second of the thread.
    """

    since: Second
    polled: Second = 0
    walk: Walk | None = None
    known: Mapping[str, tuple[int, Second]]


def begun(lane: Lane, second: int, *, overlap: int, look_back: int) -> Lane:
    """`lane` with a new walk; the first one goes down to `since` and no further."""
    back = overlap if lane.polled else 0
    floor = lane.since - max(look_back, overlap) if lane.polled else lane.since
    walk = Walk(low=lane.since - back, floor=floor, top=lane.since)
    return replace(lane, polled=second, walk=walk)


def ended(lane: Lane, walk: Walk, second: int, *, look_back: int) -> Lane:
    """`lane` after `walk`; what is too old to be read again is forgotten."""
    # Clocks may run ahead; what is new would be taken for old.
    since = max(lane.since, min(walk.top, second))
    recent = sorted(lane.known.items(), key=lambda one: -one[1][1])[:_MOST_KNOWN]
    known = {key: value for key, value in recent if value[1] >= since - look_back}
    return replace(lane, since=since, walk=None, known=known)
