"""Forums that run Discourse, by their search; each is a site of its own with ids of its own."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from datetime import datetime, timedelta

from .base import (
    BadConfig,
    Budget,
    Capabilities,
    Clause,
    Compiled,
    ConnectorError,
    Cost,
    Cursor,
    NeedsAuth,
    Page,
    Query,
    RetryAt,
    Transient,
)
from .discourse_api import DiscourseApi, Forum
from .discourse_query import compile_query
from .discourse_round import Round
from .discourse_threads import read_threads, read_updates
from .lanes import read_in_turn
from .values import require_aware


class Discourse:
    """Posts of `forums` that hold a term of the query, with those around them in their topic.

    The search gives only the beginning of one post for each topic, so the topic is read: its posts
    since the last time, less `overlap`, as posts may be held for review. What comes back is matched
    again. A forum that fails is a warning; only when all fail is the first error raised.
    """

    def __init__(
        self,
        api: DiscourseApi,
        forums: Sequence[Forum],
        source: str = "discourse",
        *,
        first_days: float = 7.0,
        max_pages: int = 50,
        overlap: timedelta = timedelta(hours=2),
    ) -> None:
        self._api = api
        self._forums = {forum.key: forum for forum in forums}
        self._source = source
        self._first = timedelta(days=first_days)
        self._max_pages = max_pages
        self._overlap = overlap

    @property
    def source(self) -> str:
        """Name that goes into `Mention.source`."""
        return self._source

    def capabilities(self) -> Capabilities:
        """One search for each term of a query, in each forum and category."""
        return Capabilities(
            by_query=True,
            gives="posts of forums that run Discourse",
            needs="addresses of forums; an API key where they are for members only",
        )

    def collect(
        self, query: Query | None, cursor: Cursor | None, *, budget: Budget, now: datetime
    ) -> Iterator[Page]:
        """Pages of the searches, newest first, and of the topics that they find.

        A page of a topic may bring up to 20 mentions more than the budget has left. Raises
        `BudgetSpent` after the last page that the budget or `max_pages` allows when there is more.
        """
        now = require_aware(now)
        if query is None:
            raise BadConfig(f"{self._source} searches; call it with a query")
        searches = {
            f"{forum.key} {search}": (forum, search)
            for forum in self._need_forums()
            for search in compile_query(query, forum.categories).searches
        }
        start = budget.since or now - self._first
        lists = Round(
            self._api,
            self._source,
            cursor or {},
            searches,
            start=start,
            overlap=self._overlap,
            now=now,
        )
        # Who waited longest comes first, so that none starves under a small budget.
        yield from read_in_turn(
            self._source,
            lists,
            sorted(searches, key=lists.polled),
            budget=budget,
            max_pages=self._max_pages,
            held=(BadConfig, NeedsAuth, RetryAt, Transient),
        )

    def compile(self, query: Query) -> Compiled:
        """The searches for `query` in all forums together; categories are local to a forum."""
        compiled = [compile_query(query, forum.categories) for forum in self._need_forums()]
        searches = dict.fromkeys(search for one in compiled for search in one.searches)
        clauses: tuple[Clause, ...] = compiled[0].clauses
        return Compiled(searches=tuple(searches), clauses=clauses)

    def check(self, *, now: datetime) -> str:
        """The newest topics of each forum; raises the first error when none can be read."""
        now = require_aware(now)
        failures: list[ConnectorError] = []
        forums = self._need_forums()
        for forum in forums:
            try:
                body = self._api.get(forum, "latest.json", now=now)
                if not isinstance(body, dict) or "topic_list" not in body:
                    raise BadConfig(f"{forum.key} does not answer like Discourse; check its url")
            except ConnectorError as error:
                failures.append(error)
        if len(failures) == len(forums):
            raise failures[0]
        told = "".join(f"; {failure}" for failure in failures)
        good = len(forums) - len(failures)
        return f"{self._source}: {good} of {len(forums)} forums answer{told}"

    def refresh(self, ids: Sequence[str], *, budget: Budget, now: datetime) -> Iterator[Page]:
        """Figures, edits and removals of posts that are known; see `read_updates`."""
        now = require_aware(now)
        return read_updates(self._api, self._source, self._forums, ids, budget=budget, now=now)

    def refresh_cost(self, posts: int) -> Cost:
        """One request for each post; tries after a passing fault are not counted."""
        return Cost(requests=max(posts, 0))

    def thread(self, ids: Sequence[str], *, budget: Budget, now: datetime) -> Iterator[Page]:
        """Whole topics by the ids of their first posts; see `read_threads`."""
        now = require_aware(now)
        return read_threads(self._api, self._source, self._forums, ids, budget=budget, now=now)

    def _need_forums(self) -> list[Forum]:
        if not self._forums:
            raise BadConfig(
                f"source {self._source!r} has no forums; add [[sources.discourse.forums]] with url"
            )
        return [*self._forums.values()]
