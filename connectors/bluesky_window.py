"""How far a list of Bluesky has been read: windows of time, walked from the newest item down.

`since` moves only when a window is finished, and then to the newest time of its first page, so that
an interrupted walk leaves no hole. A window goes on by its page token. Tokens of the search are
places in a list that ends after some thousand posts; behind the last one, and where a token is
refused or leads nowhere, the walk goes on below the oldest post that was given.
All times are milliseconds of the epoch by the order of Bluesky (`bluesky_map.sort_time`).
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import asdict, dataclass, replace
from datetime import UTC, datetime, timedelta
from typing import Any

from .base import Cursor

# Pages without an older item after which a token is no longer followed.
_IDLE_PAGES = 3
# Items at the end of a page by which it is told that the window is passed.
_LAST = 5
# So many items by tokens, and the list may have ended before the window did.
_DEEP = 1000
_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
_YEAR_9999 = 253_370_764_800_000


@dataclass(frozen=True, slots=True, kw_only=True)
class Window:
    """The time from `low` on, and before `until` if there is one.

    `newest` is that of the first page, `oldest` the earliest given so far; `token` leads to the
    next page, `read` counts the items that tokens gave since the last bound. `idle` counts pages
    in a row that brought nothing older.
    """

    low: int
    until: int | None = None
    newest: int | None = None
    oldest: int | None = None
    token: str | None = None
    read: int = 0
    idle: int = 0


@dataclass(frozen=True, slots=True, kw_only=True)
class Lane:
    """One list: all up to `since` was given, and `window` is being read.

    `polled` is the second of the epoch of the last page.
    """

    since: int | None = None
    polled: int = 0
    window: Window | None = None


def opened(lane: Lane, *, start: datetime, overlap: timedelta) -> Window:
    """The window to read: the unfinished one, or one from the last time, less `overlap`.

    A first window begins at `start`.
    """
    if lane.window is not None:
        return lane.window
    if lane.since is None:
        return Window(low=millis(start))
    return Window(low=max(lane.since - overlap // timedelta(milliseconds=1), 0))


def below(window: Window) -> Window:
    """The rest of `window` without its token; the last millisecond is read again."""
    until = window.until if window.oldest is None else window.oldest + 1
    return replace(window, token=None, read=0, idle=0, until=until)


def restarted(window: Window) -> Window:
    """`window` from its top again, for a list that cannot be asked for less."""
    return replace(window, token=None, read=0, idle=0)


def advanced(
    lane: Lane,
    window: Window,
    times: Sequence[datetime | None],
    token: str | None,
    *,
    full: bool,
    seeks: bool,
    now: datetime,
) -> Lane:
    """`lane` after the next page of `window`; without one when that was the last page.

    `times` are those of its items, `full` says whether it has as many as were asked for, and
    `seeks` whether the list takes bounds of time.
    """
    known = [millis(time) for time in times if time is not None]
    # A time of the future would hide all items until then.
    tops = [one for one in known if one <= millis(now)]
    older = bool(known) and (window.oldest is None or min(known) < window.oldest)
    following = replace(
        window,
        newest=window.newest if window.newest is not None else max(tops, default=None),
        oldest=min(known) if older else window.oldest,
        token=token,
        read=window.read + len(times),
        idle=0 if older else window.idle + 1,
    )
    lane = replace(lane, polled=int(now.timestamp()))
    # More than the last one: a single old item may stand out of order.
    if known and max(known[-_LAST:]) < window.low:
        return _closed(lane, following)
    if token is not None and following.idle < _IDLE_PAGES:
        return replace(lane, window=following)
    ended_early = token is not None or full or following.read >= _DEEP
    rest = below(following)
    done = rest.until is None or rest.until == window.until or rest.until <= window.low
    if done or not (seeks and ended_early):
        return _closed(lane, following)
    return replace(lane, window=rest)


def endless(lane: Lane, window: Window, token: str | None) -> bool:
    """Whether `window`, which `lane` had before, was given up though more pages were promised."""
    return lane.window is None and token is not None and window.idle + 1 >= _IDLE_PAGES


def rest_of(window: Window) -> str:
    """What of `window` is still to be read, in words."""
    upper = window.oldest if window.oldest is not None else window.until
    span = f"from {moment(window.low):%Y-%m-%d %H:%M} UTC on"
    return span if upper is None else f"{span}, before {moment(upper):%Y-%m-%d %H:%M} UTC"


def millis(time: datetime) -> int:
    """Milliseconds of the epoch, rounded down; times before 1970 count as its beginning."""
    return max((time - _EPOCH) // timedelta(milliseconds=1), 0)


def moment(milliseconds: int) -> datetime:
    """The time (aware UTC) of milliseconds of the epoch."""
    return _EPOCH + timedelta(milliseconds=min(milliseconds, _YEAR_9999))


def written(milliseconds: int) -> str:
    """A time as Bluesky's parameters take it."""
    return moment(milliseconds).isoformat(timespec="milliseconds").replace("+00:00", "Z")


def read_lanes(cursor: Cursor | None, names: Iterable[str]) -> dict[str, Lane]:
    """The lanes called `names` that `cursor` knows; what cannot be read starts anew."""
    known: Any = cursor.get("lanes") if cursor else None
    lanes = {}
    for name in names if isinstance(known, Mapping) else ():
        try:
            value = known[name]
            window = value["window"] and Window(**value["window"])
            since = None if value["since"] is None else int(value["since"])
            lane = Lane(since=since, polled=int(value["polled"]), window=window)
            numbers = (window.low, window.until, window.newest, window.oldest) if window else ()
            if all(one is None or int(one) >= 0 for one in numbers):
                lanes[name] = lane
        except (KeyError, TypeError, ValueError):
            continue
    return lanes


def write_lanes(lanes: Mapping[str, Lane]) -> dict[str, Any]:
    """The cursor that `read_lanes` reads."""
    return {"lanes": {name: asdict(lane) for name, lane in sorted(lanes.items())}}


def _closed(lane: Lane, window: Window) -> Lane:
    found = [one for one in (lane.since, window.newest) if one is not None]
    return Lane(since=max(found, default=window.low), polled=lane.polled)
