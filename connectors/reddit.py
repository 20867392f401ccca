"""Reddit through its API, with an app of the user: search, and all that is new in subreddits."""

from __future__ import annotations

import logging
import re
from abc import ABC, abstractmethod
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass, replace
from datetime import UTC, datetime, timedelta
from typing import Any

from .base import (
    BadConfig,
    Budget,
    BudgetSpent,
    Capabilities,
    Compiled,
    Cost,
    Cursor,
    Mention,
    Page,
    Query,
    Transient,
)
from .mapping import OddRecord
from .reddit_api import Closed, RedditApi
from .reddit_map import listed, read_thing, to_mention
from .reddit_query import compile_query
from .reddit_threads import read_threads, read_updates, refresh_cost
from .values import require_aware

logger = logging.getLogger(__name__)

_LARGEST_PAGE = 100
# Reddit ends a listing after about this many posts and a search much sooner.
_LISTING_END, _SEARCH_END = 1000, 250
# Ids of the last page by which a walk goes on: the list is empty after one deleted since.
_ANCHORS = 5
# Streams that fail one after another before the rest is left for the next run.
_PATIENCE = 3
_SUBREDDIT = re.compile(r"/?(?:r/)?([A-Za-z0-9_]{2,24})/?")


@dataclass(frozen=True, slots=True, kw_only=True)
class _Stream:
    """A list that Reddit gives newest first, and how many posts it holds at most."""

    key: str
    name: str
    path: str
    params: Mapping[str, str | int]
    end: int


@dataclass(frozen=True, slots=True, kw_only=True)
class _Walk:
    """A way down a list: newest and oldest second seen, last ids given (the oldest last), posts
    read."""

    top: int
    oldest: int | None = None
    anchors: tuple[str, ...] = ()
    read: int = 0


@dataclass(frozen=True, slots=True, kw_only=True)
class _State:
    """One stream: all before `since` was given; the last walk began at `polled`, and is unfinished
    if there is a `walk`."""

    since: int
    polled: int
    walk: _Walk | None = None


class _Reddit(ABC):
    """What search and subreddits have in common.

    A list is walked from its newest post down to the last time, less `overlap`, as posts turn up
    late (held for moderators, indexed late) and `before` gives nothing once its post is deleted. An
    interrupted walk goes on after the last ids it gave. A stream that fails is a warning; only when
    all of them fail is the first error raised.
    """

    def __init__(
        self,
        api: RedditApi,
        subreddits: Sequence[str] = (),
        source: str = "reddit",
        *,
        first_days: float = 7.0,
        overlap: timedelta = timedelta(hours=2),
        page_size: int = _LARGEST_PAGE,
    ) -> None:
        self._api = api
        self._subreddits = tuple(dict.fromkeys(map(_subreddit, subreddits)))
        self._source = source
        self._first = timedelta(days=first_days)
        self._overlap = int(overlap.total_seconds())
        self._page_size = min(max(page_size, 1), _LARGEST_PAGE)

    @property
    def source(self) -> str:
        """Name that goes into `Mention.source`."""
        return self._source

    @abstractmethod
    def capabilities(self) -> Capabilities:
        """What this connector can do; makes no request."""

    @abstractmethod
    def _streams(self, query: Query | None) -> list[_Stream]: ...

    def collect(
        self, query: Query | None, cursor: Cursor | None, *, budget: Budget, now: datetime
    ) -> Iterator[Page]:
        """Pages of each list, newest first; the cursor holds the state of all of them.

        Raises `BudgetSpent` after the last page that the budget allows when there is more.
        """
        now = require_aware(now)
        streams = self._streams(query)
        states = _states(cursor, streams)
        # Who waited longest comes first, so that no stream starves under a small budget.
        streams.sort(key=lambda one: _turn(states.get(one.key)))
        pages, given = 0, set[str]()
        failures: list[Closed | Transient] = []
        untold: list[str] = []
        row = 0
        for place, stream in enumerate(streams, start=1):
            first = budget.since or now - self._first
            state = states.get(stream.key) or _State(since=_epoch(first), polled=0)
            if state.walk is None:
                state = _begun(state, now)
            while state.walk is not None:
                left = None if budget.mentions is None else budget.mentions - len(given)
                if (left is not None and left <= 0) or pages == budget.pages:
                    raise BudgetSpent(
                        f"{self._source}: the budget ended after {pages} pages and {len(given)} "
                        "mentions; the next run goes on from there"
                    )
                try:
                    page, walk, done = self._page(stream, state, state.walk, given, left, now)
                except (Closed, Transient) as error:
                    failures.append(error)
                    untold.append(f"{stream.name}: {error}")
                    begun = state.walk if state.walk.read else None
                    states[stream.key] = replace(state, polled=_epoch(now), walk=begun)
                    row = row + 1 if isinstance(error, Transient) else 0
                    break
                row = 0
                state = _advanced(state, walk, now, done=done)
                states[stream.key] = state
                pages += 1
                warnings = (*untold, *page.warnings)
                untold.clear()
                more = state.walk is not None or place < len(streams)
                yield replace(page, cursor=_cursor(states), more=more, warnings=warnings)
            if row == _PATIENCE:
                break
        if len(failures) == len(streams) and not pages:
            raise failures[0]
        if untold:
            yield Page(cursor=_cursor(states), warnings=tuple(untold))
        if row == _PATIENCE:
            raise failures[-1]

    def refresh(self, ids: Sequence[str], *, budget: Budget, now: datetime) -> Iterator[Page]:
        """Figures, edits and removals of posts and comments that are known; see `read_updates`."""
        return read_updates(self._api, self._source, ids, budget=budget, now=require_aware(now))

    def refresh_cost(self, posts: int) -> Cost:
        """The requests that looking up so many posts takes; they are free."""
        return refresh_cost(posts)

    def thread(self, ids: Sequence[str], *, budget: Budget, now: datetime) -> Iterator[Page]:
        """Whole conversations by the ids of their first posts; see `read_threads`."""
        return read_threads(self._api, self._source, ids, budget=budget, now=require_aware(now))

    def _page(
        self,
        stream: _Stream,
        state: _State,
        walk: _Walk,
        given: set[str],
        left: int | None,
        now: datetime,
    ) -> tuple[Page, _Walk, bool]:
        """The next page of `walk`, the way on, and whether that is its end.

        At most `left` mentions; ids in `given` are not given again, and new ones are added to it.
        """
        before = self._api.requests
        limit = self._page_size if left is None else min(left, self._page_size)
        records, token = self._ask(stream, walk, limit, now)
        low = state.since - self._overlap
        mentions: list[Mention] = []
        faults: Counter[str] = Counter()
        seconds: list[int] = []
        ids: list[str] = []
        for record in records:
            try:
                thing = read_thing(record)
                ids.append(thing.fullname)
                if (second := thing.second) is not None:
                    seconds.append(second)
                    if second < low:
                        continue
                if thing.fullname in given:
                    continue
                mention, notes = to_mention(thing, self._source, now)
            except OddRecord as odd:
                faults[f"skipped, {odd.reason}"] += 1
                continue
            given.add(mention.native_id)
            mentions.append(mention)
            faults.update(notes)
        # An empty list after all the anchors: they are gone, and the way starts at the top again.
        lost = not records and bool(walk.anchors)
        anchors = tuple(ids[-_ANCHORS:]) or ((token,) if token and not lost else ())
        read = walk.read + (limit if lost else len(records))
        endless = read > 2 * stream.end or (bool(anchors) and anchors == walk.anchors)
        # More than the last one: a single old post may stand out of order.
        reached = bool(seconds) and max(seconds[-_ANCHORS:]) < low
        finished = endless or reached or not (token or lost)
        oldest = min([*seconds, *([] if walk.oldest is None else [walk.oldest])], default=None)
        broken = endless or (finished and not reached and read > 0.9 * stream.end)
        if endless:
            faults["the list does not end; the rest was left out"] += 1
        elif broken:
            faults[f"Reddit ends the list after {read} posts; older ones are missing"] += 1
        gaps: tuple[tuple[datetime, datetime], ...] = ()
        if broken and oldest is not None and oldest > state.since:
            gaps = ((_time(state.since), _time(oldest)),)
        logger.info("%s: %d records, %d new", stream.name, len(records), len(mentions))
        page = Page(
            mentions=tuple(mentions),
            cost=Cost(requests=self._api.requests - before),
            returned=len(records),
            warnings=tuple(f"{stream.name}: {why} ({n})" for why, n in faults.items()),
            gaps=gaps,
        )
        top = max([walk.top, *seconds])
        return page, _Walk(top=top, oldest=oldest, anchors=anchors, read=read), finished

    def _ask(
        self, stream: _Stream, walk: _Walk, limit: int, now: datetime
    ) -> tuple[list[object], str | None]:
        """At most `limit` records after the last anchor that Reddit still knows, and a token for
        more; none when it knows none of them. Transient for an answer that is no list."""
        todo, tried = [*walk.anchors] or [""], set[str]()
        while todo and len(tried) < 2 * _ANCHORS:
            anchor = todo.pop()
            tried.add(anchor)
            params: dict[str, str | int] = {**stream.params, "limit": limit}
            params |= {"after": anchor} if anchor else {}
            found = listed(self._api.get(stream.path, params, now=now))
            if found is None:
                raise Transient("Reddit gave no list of posts; the next run tries again")
            records, token = found
            if records:
                return records[:limit], token or ("more" if len(records) > limit else None)
            if token and token not in tried:
                # Posts that were filtered out leave an empty page with a way on.
                todo.append(token)
        return [], None


class RedditSearch(_Reddit):
    """Posts that hold a term of the query, in all of Reddit or in `subreddits`.

    The search knows posts, not comments; it is loose, so what comes back is matched again.
    """

    def capabilities(self) -> Capabilities:
        """One search or more for each query."""
        return Capabilities(
            by_query=True,
            gives="posts of Reddit, by search",
            needs="an approved app of Reddit",
        )

    def check(self, *, now: datetime) -> str:
        """One list of new posts, which shows whether the app is accepted."""
        newest = _newest(self._api, "r/all/new", require_aware(now))
        return f"{self._source}: the app is accepted, newest post of {newest}"

    def compile(self, query: Query) -> Compiled:
        """The searches for `query`, and which of its clauses Reddit runs; see `compile_query`."""
        return compile_query(query)

    def _streams(self, query: Query | None) -> list[_Stream]:
        if query is None:
            raise BadConfig(f"{self._source} searches; call it with a query")
        return [
            _Stream(
                key=f"{subreddit}/{search}",
                name=f"search of r/{subreddit}",
                path=f"r/{subreddit}/search",
                params={"q": search, "sort": "new", "t": "all", "type": "link", "restrict_sr": 1},
                end=_SEARCH_END,
            )
            for subreddit in self._subreddits or ("all",)
            for search in self.compile(query).searches
        ]


class RedditNew(_Reddit):
    """All new posts and comments of `subreddits`, whatever the queries are."""

    def capabilities(self) -> Capabilities:
        """Two lists for each subreddit."""
        return Capabilities(
            by_query=False,
            gives="new posts and comments of subreddits",
            needs="an approved app of Reddit and names of subreddits",
        )

    def check(self, *, now: datetime) -> str:
        """The newest post of each subreddit; raises the first error when none can be read."""
        now = require_aware(now)
        told, closed = list[str](), list[Closed]()
        for stream in self._streams(None)[::2]:
            try:
                told.append(f"{stream.name}: newest of {_newest(self._api, stream.path, now)}")
            except Closed as error:
                closed.append(error)
                told.append(f"{stream.name}: {error}")
        if len(closed) == len(told):
            raise closed[0]
        return f"{self._source}: {'; '.join(told)}"

    def _streams(self, query: Query | None) -> list[_Stream]:
        if not self._subreddits:
            raise BadConfig(f"source {self._source!r} has no subreddits; name at least one")
        return [
            _Stream(
                key=f"{subreddit}/{kind}",
                name=f"r/{subreddit}/{kind}",
                path=f"r/{subreddit}/{kind}",
                params={},
                end=_LISTING_END,
            )
            for subreddit in self._subreddits
            for kind in ("new", "comments")
        ]


def _newest(api: RedditApi, path: str, now: datetime) -> str:
    found = listed(api.get(path, {"limit": 1}, now=now))
    if found is None:
        raise Transient("Reddit gave no list of posts; the next run tries again")
    try:
        second = read_thing(next(iter(found[0]), None)).second
    except OddRecord:
        second = None
    return "an unknown time" if second is None else f"{_time(second):%Y-%m-%d %H:%M} UTC"


def _subreddit(name: str) -> str:
    match = _SUBREDDIT.fullmatch(name.strip())
    if match is None:
        raise BadConfig(f"{name[:40]!r} is not the name of a subreddit; write one such as espresso")
    return match[1].lower()


def _turn(state: _State | None) -> tuple[int, bool]:
    return (state.polled, state.walk is None) if state else (0, True)


def _begun(state: _State, now: datetime) -> _State:
    return replace(state, polled=_epoch(now), walk=_Walk(top=state.since))


def _advanced(state: _State, walk: _Walk, now: datetime, *, done: bool) -> _State:
    if not done:
        return replace(state, walk=walk)
    # Clocks of records may run ahead; what is new would be taken for old.
    ended = replace(state, since=max(state.since, min(walk.top, _epoch(now))), walk=None)
    return _begun(ended, now) if ended.polled < _epoch(now) else ended


def _states(cursor: Cursor | None, streams: Sequence[_Stream]) -> dict[str, _State]:
    """The states of `streams` that `cursor` knows; what cannot be read starts anew."""
    known: Any = cursor.get("streams") if cursor else None
    states = {}
    for stream in streams if isinstance(known, Mapping) else ():
        try:
            value = known[stream.key]
            walk = value["walk"]
            states[stream.key] = _State(
                since=int(value["since"]),
                polled=int(value["polled"]),
                walk=walk
                and _Walk(
                    top=int(walk["top"]),
                    oldest=None if walk.get("oldest") is None else int(walk["oldest"]),
                    anchors=tuple(map(str, walk["anchors"])),
                    read=int(walk["read"]),
                ),
            )
        except (KeyError, TypeError, ValueError):
            continue
    return states


def _cursor(states: Mapping[str, _State]) -> Cursor:
    return {"streams": {key: asdict(state) for key, state in sorted(states.items())}}


def _epoch(when: datetime) -> int:
    return int(when.timestamp())


def _time(second: int) -> datetime:
    return datetime.fromtimestamp(second, UTC)
