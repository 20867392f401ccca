"""How far a search or timeline of X has been read: windows of ids, walked from the newest down.

`since` moves only when a window is finished, and then to the newest id of its first page, so that
an interrupted walk leaves no hole. A window goes on by its page token; where that is refused or
leads nowhere, below the oldest post that was given.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import asdict, dataclass, replace
from datetime import datetime, timedelta
from typing import Any

from .base import Cursor
from .twarc import first_id, id_time
from .values import read_id

# Pages without an older post after which a token is no longer followed.
_IDLE_PAGES = 3

Gap = tuple[datetime, datetime]
"""A span of time whose posts cannot be asked for any more."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Window:
    """The ids above `low`, and below `until` if there is one.

    `newest` is that of the first page, `oldest` the lowest given so far; `token` leads to the next
    page. `idle` counts pages in a row that brought no older post.
    """

    low: str
    until: str | None = None
    newest: str | None = None
    oldest: str | None = None
    token: str | None = None
    idle: int = 0


@dataclass(frozen=True, slots=True, kw_only=True)
class Lane:
    """One search or timeline: all up to `since` was given, and `window` is being read.

    `polled` is the second of the epoch of the last page.
    """

    since: str | None = None
    polled: int = 0
    window: Window | None = None


def opened(lane: Lane, *, start: datetime, reach: datetime | None) -> tuple[Lane, tuple[Gap, ...]]:
    """`lane` with a window to read, and the spans that it should cover and that are out of reach.

    A first window begins at `start`. Nothing before `reach` can be asked for; a window that lies
    there as a whole gives way to the next one.
    """
    window = lane.window or Window(low=lane.since or str(first_id(start)))
    if reach is None or int(window.low) >= first_id(reach):
        return replace(lane, window=window), ()
    # A token belongs to the bounds that it was given for.
    rest = replace(below(window), low=str(first_id(reach)))
    if rest.until is None or int(rest.until) > int(rest.low):
        return replace(lane, window=rest), _gap(window.low, reach)
    gaps = _gap(window.low, id_time(rest.until) or reach)
    lane, more = opened(_closed(lane, window), start=start, reach=reach)
    return lane, (*gaps, *more)


def below(window: Window) -> Window:
    """The rest of `window` without its token."""
    return replace(window, token=None, idle=0, until=window.oldest or window.until)


def advanced(lane: Lane, window: Window, body: Mapping[str, Any], now: datetime) -> Lane:
    """`lane` after the next page of `window`; without one when that was the last page."""
    meta = body.get("meta")
    meta = meta if isinstance(meta, Mapping) else {}
    data = body.get("data")
    posts = data if isinstance(data, list) else []
    ids = [int(one) for post in posts if (one := _number(post, "id"))]
    # An id of the future would hide all posts until then.
    latest = first_id(now + timedelta(days=1))
    tops = [one for one in (*ids, int(_number(meta, "newest_id") or 0)) if 0 < one <= latest]
    older = bool(ids) and (window.oldest is None or min(ids) < int(window.oldest))
    following = replace(
        window,
        newest=window.newest or (str(max(tops)) if tops else None),
        oldest=str(min(ids)) if older else window.oldest,
        token=read_id(meta.get("next_token")),
        idle=0 if older else window.idle + 1,
    )
    lane = replace(lane, polled=int(now.timestamp()))
    if following.token is None or (ids and max(ids) <= int(window.low)):
        return _closed(lane, following)
    if following.idle < _IDLE_PAGES:
        return replace(lane, window=following)
    rest = below(following)
    if rest.until == window.until:
        return _closed(lane, following)
    return replace(lane, window=rest)


def endless(lane: Lane, window: Window) -> bool:
    """Whether `window`, which `lane` had before, was given up though more pages were promised."""
    return lane.window is None and window.idle + 1 >= _IDLE_PAGES


def rest_of(window: Window) -> str:
    """What of `window` is still to be read, in words."""
    upper = window.oldest or window.until
    span = f"after {_minute(window.low)}"
    return f"{span} and before {_minute(upper)}" if upper else span


def read_lanes(cursor: Cursor | None, names: Iterable[str]) -> dict[str, Lane]:
    """The lanes called `names` that `cursor` knows; what cannot be read starts anew."""
    known: Any = cursor.get("lanes") if cursor else None
    lanes = {}
    for name in names if isinstance(known, Mapping) else ():
        try:
            value = known[name]
            window = value["window"] and Window(**value["window"])
            lane = Lane(since=value["since"], polled=int(value["polled"]), window=window)
            bounds = [lane.since, *((window.low, window.until, window.oldest) if window else ())]
            if all(one is None or int(one) >= 0 for one in bounds):
                lanes[name] = lane
        except (KeyError, TypeError, ValueError):
            continue
    return lanes


def write_lanes(lanes: Mapping[str, Lane]) -> dict[str, Any]:
    """The cursor that `read_lanes` reads."""
    return {"lanes": {name: asdict(lane) for name, lane in sorted(lanes.items())}}


def _gap(low: str, end: datetime) -> tuple[Gap, ...]:
    start = id_time(low)
    return ((start, end),) if start is not None and start < end else ()


def _closed(lane: Lane, window: Window) -> Lane:
    since = max(int(window.newest or 0), int(window.low))
    return Lane(since=str(since), polled=lane.polled)


def _number(value: object, name: str) -> str | None:
    found = read_id(value.get(name)) if isinstance(value, Mapping) else None
    return found if found and found.isascii() and found.isdecimal() and len(found) < 20 else None


def _minute(native_id: str) -> str:
    time = id_time(native_id)
    return f"{time:%Y-%m-%d %H:%M} UTC" if time else "the first posts"
