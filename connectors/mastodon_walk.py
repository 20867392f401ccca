"""The way through a timeline by the ids of a server, as a cursor remembers it.

The first walk goes from the newest post down to a date; each later one goes up from where the last
one ended, `min_id` after `min_id`, so that nothing that arrives meanwhile is passed over. Posts of
other servers arrive late, but their ids follow the time of writing: so a walk up begins again at a
post that is older than `overlap`.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, replace
from typing import Any

from .base import Cursor


@dataclass(frozen=True, slots=True, kw_only=True)
class Item:
    """A record of a timeline: its id there, and when it was written (seconds of the epoch)."""

    id: str
    second: int | None
    record: object


@dataclass(frozen=True, slots=True, kw_only=True)
class Lane:
    """How far one timeline was read; all from `since` up to the id `top` was given or is under way.

    `floor` is where the next walk up begins. `down` and `up` are the places of a walk that was
    interrupted; `polled` is when one last ended.
    """

    since: int
    top: str | None = None
    floor: str | None = None
    down: str | None = None
    up: str | None = None
    polled: int = 0

    @property
    def rising(self) -> bool:
        """Whether the first walk is over."""
        return self.top is not None and self.down is None

    @property
    def place(self) -> dict[str, str | None]:
        """The parameters that ask for the next page."""
        if self.rising:
            return {"min_id": self.up or self.floor or self.top, "max_id": None}
        return {"min_id": None, "max_id": self.down}


@dataclass(frozen=True, slots=True)
class Step:
    """What a page did to a lane: the way on, its new items, whether the walk is over, and whether
    that is because the server goes in circles."""

    lane: Lane
    fresh: tuple[Item, ...]
    done: bool
    circling: bool


def order(native_id: str) -> tuple[int, str]:
    """What ids of one server are sorted by: numbers by size, ULIDs and their like by letters."""
    return len(native_id), native_id


def advance(lane: Lane, items: Sequence[Item], *, ended: int, late: int) -> Step:
    """`lane` after the page of items that `lane.place` asked for.

    `ended` is the second to remember when the walk is over; items older than `late` (a second too)
    are taken to have no more late-comers below them.
    """
    low, high = lane.place["min_id"], lane.place["max_id"]
    fresh = tuple(
        item
        for item in items
        if (low is None or order(item.id) > order(low))
        and (high is None or order(item.id) < order(high))
    )
    ids = sorted((item.id for item in fresh), key=order)
    settled = [one.id for one in fresh if one.second is not None and one.second <= late]
    floor = max([*settled, *([lane.floor] if lane.floor else [])], key=order, default=None)
    done, rising = not fresh, lane.rising
    if fresh:
        lane = replace(lane, floor=floor, top=max(ids[-1], lane.top or "", key=order))
    if rising:
        lane = replace(lane, up=None if done else ids[-1])
    elif fresh:
        seconds = [item.second for item in fresh if item.second is not None]
        done = bool(seconds) and max(seconds) < lane.since
        lane = replace(lane, down=ids[0])
        fresh = tuple(one for one in fresh if one.second is None or one.second >= lane.since)
    if done:
        # Without an older post the lowest one that was seen is where late-comers are looked for.
        lane = replace(lane, down=None, floor=lane.floor or lane.down, polled=ended)
    return Step(lane, fresh, done, circling=bool(items) and not ids)


def read_lanes(cursor: Cursor | None, names: Sequence[str]) -> dict[str, Lane]:
    """The lanes of `names` that a cursor knows; what cannot be read starts anew."""
    known: Any = cursor.get("lanes") if cursor else None
    lanes = {}
    for name in names if isinstance(known, Mapping) else ():
        try:
            value = known[name]
            lanes[name] = Lane(
                since=int(value["since"]),
                polled=int(value["polled"]),
                **{key: _id(value[key]) for key in ("top", "floor", "down", "up")},
            )
        except (KeyError, TypeError, ValueError):
            continue
    return lanes


def write_lanes(lanes: Mapping[str, Lane]) -> Cursor:
    """The cursor that `read_lanes` reads."""
    return {"lanes": {name: asdict(lane) for name, lane in sorted(lanes.items())}}


def _id(value: object) -> str | None:
    if value is None or isinstance(value, str):
        return value or None
    raise TypeError("an id is text")
