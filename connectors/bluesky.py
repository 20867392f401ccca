"""Bluesky as an account of the user: post search, and what its notifications bring."""

from __future__ import annotations

import logging
from abc import ABC, abstractmethod
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import datetime, timedelta
from typing import Any

from .base import (
    BadConfig,
    Budget,
    BudgetSpent,
    Capabilities,
    Compiled,
    Cost,
    Cursor,
    Page,
    Query,
    Transient,
)
from .bluesky_api import BlueskyApi, Refused
from .bluesky_lookup import read_threads, read_updates, updates_cost
from .bluesky_map import map_payload, sort_time
from .bluesky_query import compile_query, language
from .bluesky_window import (
    Lane,
    Window,
    advanced,
    below,
    endless,
    millis,
    opened,
    read_lanes,
    rest_of,
    restarted,
    write_lanes,
    written,
)
from .values import read_text, require_aware

logger = logging.getLogger(__name__)

_LARGEST_PAGE = 100
_SEARCH, _NOTIFICATIONS = "app.bsky.feed.searchPosts", "app.bsky.notification.listNotifications"
_REASONS = ("mention", "reply", "quote")


@dataclass(frozen=True, slots=True, kw_only=True)
class _List:
    """A list that Bluesky gives newest first: its method, parameters, and where its items are.

    `seeks`: it takes bounds of time. `key` is its lane in cursors, `name` is for people.
    """

    key: str
    name: str
    method: str
    params: Mapping[str, Any]
    items: str
    seeks: bool


class _Tally:
    """What one call has used of its budget."""

    def __init__(self, who: str, budget: Budget) -> None:
        self._who = who
        self._budget = budget
        self.pages = self._posts = 0

    def room(self, left_out: str) -> int:
        """How many posts the next page may have; BudgetSpent, with what is left out, for none."""
        budget = self._budget
        left = _LARGEST_PAGE if budget.mentions is None else budget.mentions - self._posts
        if left < 1 or self.pages == budget.pages:
            raise self.spent(left_out)
        return min(left, _LARGEST_PAGE)

    def spent(self, left_out: str) -> BudgetSpent:
        """The error that tells what was used and what was left out."""
        return BudgetSpent(
            f"{self._who}: the budget ended after {self.pages} pages and {self._posts} posts; "
            f"left out: {left_out}; the next run goes on"
        )

    def add(self, page: Page) -> Page:
        """`page`, counted."""
        self.pages += 1
        self._posts += page.returned
        return page


class _Bluesky(ABC):
    """What search and notifications have in common.

    A first run looks `first_days` back; later ones look again at the last `overlap`, as the index
    lags. `max_pages` bounds each list in one call of `collect`.
    """

    def __init__(
        self,
        api: BlueskyApi,
        source: str = "bluesky",
        *,
        first_days: float = 7.0,
        max_pages: int = 50,
        overlap: timedelta = timedelta(minutes=30),
    ) -> None:
        self._api = api
        self._source = source
        self._first = timedelta(days=first_days)
        self._max_pages = max_pages
        self._overlap = overlap

    @property
    def source(self) -> str:
        """Name that goes into `Mention.source`."""
        return self._source

    @abstractmethod
    def capabilities(self) -> Capabilities:
        """What this connector can do; makes no request."""

    @abstractmethod
    def _lists(self, query: Query | None) -> list[_List]: ...

    def collect(
        self, query: Query | None, cursor: Cursor | None, *, budget: Budget, now: datetime
    ) -> Iterator[Page]:
        """Pages of each list, newest first; the cursor holds how far all of them were read.

        Raises BudgetSpent after the last page that the budget or `max_pages` allows when there is
        more.
        """
        now = require_aware(now)
        lists = self._lists(query)
        tally = _Tally(f"{self._source}, {query.name!r}" if query else self._source, budget)
        lanes = read_lanes(cursor, [one.key for one in lists])
        start = now - self._first if budget.since is None else require_aware(budget.since)
        # Who waited longest comes first, so that no list starves under a small budget.
        lists.sort(key=lambda one: lanes.get(one.key, Lane()).polled)
        for place, listed in enumerate(lists, start=1):
            lane = lanes.get(listed.key, Lane())
            lane = replace(lane, window=opened(lane, start=start, overlap=self._overlap))
            for after, page in self._walk(listed, lane, tally, now):
                lanes[listed.key] = after
                more = after.window is not None or place < len(lists)
                yield replace(page, cursor=write_lanes(lanes), more=more)

    def check(self, *, now: datetime) -> str:
        """One page of one post, which shows whether the account is accepted."""
        listed = self._lists(Query(name="check", kind="brand", any_of=("bluesky",)))[0]
        params = {**listed.params, "limit": 1}
        _items(self._api.query(listed.method, params, now=require_aware(now)), listed)
        return f"{self._source}: the account is accepted, {listed.name} can be read"

    def refresh(self, ids: Sequence[str], *, budget: Budget, now: datetime) -> Iterator[Page]:
        """Figures and removals of posts that are known; see `read_updates`."""
        return read_updates(self._api, self._source, ids, budget=budget, now=require_aware(now))

    def refresh_cost(self, posts: int) -> Cost:
        """The most requests that looking up so many posts takes; they are free."""
        return updates_cost(posts)

    def thread(self, ids: Sequence[str], *, budget: Budget, now: datetime) -> Iterator[Page]:
        """Whole conversations by the ids of their first posts; see `read_threads`."""
        return read_threads(self._api, self._source, ids, budget=budget, now=require_aware(now))

    def _walk(
        self, listed: _List, lane: Lane, tally: _Tally, now: datetime
    ) -> Iterator[tuple[Lane, Page]]:
        """The pages of the window of `lane`, each with the lane after it."""
        first, again = tally.pages, False
        while (window := lane.window) is not None:
            left_out = f"{listed.name} {rest_of(window)}"
            if tally.pages - first >= self._max_pages:
                raise tally.spent(left_out)
            limit, before = tally.room(left_out), self._api.requests
            params = {**listed.params, **_bounds(listed, window), "limit": limit}
            try:
                body = self._api.query(listed.method, params, now=now)
            except Refused:
                # Tokens end where Bluesky pages no deeper, and some do not outlive a while.
                if window.token is None or again:
                    raise
                again = not listed.seeks
                rest = below(window) if listed.seeks else restarted(window)
                lane = replace(lane, window=rest)
                continue
            items, token = _items(body, listed), read_text(body.get("cursor"))
            times = [sort_time(item) for item in items]
            full = len(items) >= limit
            lane = advanced(lane, window, times, token, full=full, seeks=listed.seeks, now=now)
            found = map_payload(items, source=self._source, now=now)
            faults = Counter([*found.notes, *(f"skipped, {why}" for why in found.skipped)])
            warnings = [f"{self._source}: {what} ({n})" for what, n in faults.items()]
            if endless(lane, window, token):
                warnings.append(f"{self._source}: {listed.name}: pages without end; given up")
            page = Page(
                mentions=found.mentions,
                cost=Cost(requests=self._api.requests - before),
                returned=len(items),
                warnings=tuple(warnings),
            )
            logger.info("%s: %d records", listed.name, len(items))
            yield lane, tally.add(page)


class BlueskySearch(_Bluesky):
    """Posts that hold a term of the query, one search for each.

    The search is loose, so what comes back is matched again.
    """

    def capabilities(self) -> Capabilities:
        """One search or more for each query."""
        return Capabilities(
            by_query=True,
            gives="posts of Bluesky, by search",
            needs="an account on Bluesky and an app password",
        )

    def compile(self, query: Query) -> Compiled:
        """The searches for `query`, and which of its clauses Bluesky runs."""
        return compile_query(query)

    def between(
        self, query: Query, start: datetime, end: datetime, *, budget: Budget, now: datetime
    ) -> Iterator[Page]:
        """Pages of the posts for `query` from `start` on and before `end`, without cursors.

        Raises BudgetSpent when there are more than the budget allows.
        """
        tally = _Tally(f"{self._source}, {query.name!r}", budget)
        for listed in self._lists(query):
            lane = Lane(window=Window(low=millis(start), until=millis(end)))
            for _, page in self._walk(listed, lane, tally, require_aware(now)):
                yield page

    def _lists(self, query: Query | None) -> list[_List]:
        if query is None:
            raise BadConfig(f"{self._source} searches; call it with a query")
        searches, lang = compile_query(query).searches, language(query)
        return [
            _List(
                key=f"{search} lang:{lang}" if lang else search,
                name=f"search {place} of {len(searches)}" if len(searches) > 1 else "the search",
                method=_SEARCH,
                params={"q": search, "sort": "latest", "lang": lang},
                items="posts",
                seeks=True,
            )
            for place, search in enumerate(searches, start=1)
        ]


class BlueskyNotifications(_Bluesky):
    """Posts that mention, answer or quote the account itself, from its notifications.

    They hold the whole posts without figures, which a refresh brings. Nothing is marked as read.
    """

    def capabilities(self) -> Capabilities:
        """One list, whatever the queries are."""
        return Capabilities(
            by_query=False,
            gives="posts of Bluesky that mention, answer or quote the account",
            needs="an account on Bluesky and an app password",
        )

    def _lists(self, query: Query | None) -> list[_List]:
        return [
            _List(
                key="notifications",
                name="the notifications",
                method=_NOTIFICATIONS,
                params={"reasons": list(_REASONS)},
                items="notifications",
                seeks=False,
            )
        ]


def _bounds(listed: _List, window: Window) -> dict[str, Any]:
    """The parameters that ask for the next page of `window`; None for those that are left out."""
    if not listed.seeks:
        return {"cursor": window.token}
    until = None if window.until is None else written(window.until)
    return {"cursor": window.token, "since": written(window.low), "until": until}


def _items(body: Mapping[str, Any], listed: _List) -> list[object]:
    items = body.get(listed.items)
    if not isinstance(items, list):
        raise Transient("Bluesky gave an answer without posts; the next run tries again")
    return items
