"""Mastodon and servers that speak like it: hashtags, and posts that mention an account.

Each connector asks one server. Posts that two servers give are the same mention (see
`mastodon_map`), so several servers may be read side by side.
"""

from __future__ import annotations

import logging
from abc import ABC, abstractmethod
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime, timedelta
from typing import Any

from .base import (
    BadConfig,
    Budget,
    BudgetSpent,
    Capabilities,
    Compiled,
    ConnectorError,
    Cost,
    Cursor,
    Mention,
    NeedsAuth,
    Page,
    Query,
)
from .mapping import OddRecord
from .mastodon_api import LARGEST_LOOKUP, LARGEST_PAGE, Server
from .mastodon_map import read_statuses, to_mention, uri_of
from .mastodon_posts import OpenServer, read_threads, read_updates
from .mastodon_query import compile_tags, read_tag
from .mastodon_walk import Item, Lane, advance, read_lanes, write_lanes
from .values import read_id, read_time, require_aware

logger = logging.getLogger(__name__)

# What `check` asks for where no hashtag is configured; most servers know it.
_COMMON_TAG = "coffee"


@dataclass(slots=True)
class Run:
    """One call of `collect`: what it may give, what it gave, and the posts that it knows by id."""

    source: str
    budget: Budget
    pages: int = 0
    given: set[str] = field(default_factory=set)
    known: dict[str, str] = field(default_factory=dict)
    answers_found: bool = True

    def room(self, largest: int) -> int:
        """How many posts the next page may hold; raises BudgetSpent when that is none."""
        left = None if self.budget.mentions is None else self.budget.mentions - len(self.given)
        if (left is not None and left <= 0) or self.pages == self.budget.pages:
            raise BudgetSpent(
                f"{self.source}: the budget ended after {self.pages} pages and {len(self.given)} "
                "mentions; the next run goes on from there"
            )
        self.pages += 1
        return largest if left is None else min(left, largest)


class MastodonConnector(ABC):
    """What the connectors of one server have in common.

    `overlap` is how much is read again each time, as posts of other servers arrive late.
    `open_origin` opens the servers that hold posts of others, for looking them up; None: they are
    not asked.
    """

    def __init__(
        self,
        server: Server,
        source: str = "mastodon",
        *,
        first_days: float = 7.0,
        overlap: timedelta = timedelta(hours=1),
        page_size: int = LARGEST_PAGE,
        max_pages: int = 50,
        open_origin: OpenServer | None = None,
    ) -> None:
        self._server = server
        self._source = source
        self._first = timedelta(days=first_days)
        self._overlap = overlap
        self._page_size = min(max(page_size, 1), LARGEST_PAGE)
        self._max_pages = max(max_pages, 1)
        self._open_origin = open_origin

    @property
    def source(self) -> str:
        """Name that goes into `Mention.source`."""
        return self._source

    @abstractmethod
    def capabilities(self) -> Capabilities:
        """What this connector can do; makes no request."""

    def refresh(self, ids: Sequence[str], *, budget: Budget, now: datetime) -> Iterator[Page]:
        """Figures, edits and removals of posts by their uris; see `read_updates`."""
        return read_updates(
            self._server,
            self._source,
            ids,
            open_origin=self._open_origin,
            budget=budget,
            now=require_aware(now),
        )

    def refresh_cost(self, posts: int) -> Cost:
        """At most three requests a post: in a list, by itself, and by searching."""
        return Cost(requests=3 * max(posts, 0))

    def thread(self, ids: Sequence[str], *, budget: Budget, now: datetime) -> Iterator[Page]:
        """Whole conversations by the uris of their first posts; see `read_threads`."""
        return read_threads(
            self._server,
            self._source,
            ids,
            open_origin=self._open_origin,
            budget=budget,
            now=require_aware(now),
        )

    def _page(self, run: Run, records: Sequence[object], what: str, now: datetime) -> Page:
        """The mentions in `records` that `run` has not given yet; without cursor and cost."""
        statuses = read_statuses(records)
        faults = Counter({f"skipped, {why}": n for why, n in statuses.skipped.items()})
        run.known |= {one.local_id: one.uri for one in statuses.found if one.local_id}
        answers = {one.answers for one in statuses.found if one.answers}
        if answers - run.known.keys() and not self._learn(run, sorted(answers), now):
            faults["what posts answer is not known"] += 1
        mentions: list[Mention] = []
        for one in statuses.found:
            if one.uri in run.given:
                continue
            try:
                parent = run.known.get(one.answers) if one.answers else None
                mentions.append(to_mention(one, self._source, parent=parent))
            except OddRecord as odd:
                faults[f"skipped, {odd.reason}"] += 1
            else:
                run.given.add(one.uri)
        logger.info("%s: %d records, %d new", what, len(records), len(mentions))
        return Page(
            mentions=tuple(mentions),
            returned=len(records),
            warnings=tuple(f"{what}: {why} ({n})" for why, n in faults.items()),
        )

    def _learn(self, run: Run, local_ids: Sequence[str], now: datetime) -> bool:
        """Look up the uris of posts that are answered; whether the server can be asked that.

        Servers before Mastodon 4.3, and others, cannot; one question is enough to know.
        """
        wanted = [one for one in local_ids if one not in run.known]
        for start in range(0, len(wanted) if run.answers_found else 0, LARGEST_LOOKUP):
            try:
                found = self._server.statuses(wanted[start : start + LARGEST_LOOKUP], now=now)
            except ConnectorError as error:
                logger.info("%s: posts by ids: %s", self._server.host, type(error).__name__)
                run.answers_found = False
                break
            for record in found:
                if isinstance(record, Mapping):
                    local_id, uri = read_id(record.get("id")), uri_of(record)
                    if local_id and uri:
                        run.known[local_id] = uri
        return run.answers_found

    def _since(self, budget: Budget, now: datetime) -> int:
        return to_second(budget.since or now - self._first)


class _Timelines(MastodonConnector):
    """Lists that are read upwards by `min_id`; see `mastodon_walk`."""

    @abstractmethod
    def _names(self, query: Query | None) -> list[str]:
        """The lists to read."""

    @abstractmethod
    def _ask(
        self, name: str, place: Mapping[str, str | None], limit: int, now: datetime
    ) -> list[object]:
        """The records at a place of a list."""

    @abstractmethod
    def _post(self, record: Mapping[str, object]) -> object | None:
        """The post in a record; None when the record is not of the wanted type."""

    def collect(
        self, query: Query | None, cursor: Cursor | None, *, budget: Budget, now: datetime
    ) -> Iterator[Page]:
        """Pages of each list: the first time newest first, later on oldest first.

        Raises BudgetSpent after the last page that the budget allows when there may be more.
        """
        now = require_aware(now)
        names = self._names(query)
        lanes = read_lanes(cursor, names)
        run = Run(self._source, budget)
        # Who waited longest comes first, so that no list starves under a small budget.
        names.sort(key=lambda name: lanes[name].polled if name in lanes else 0)
        for position, name in enumerate(names, start=1):
            lane = lanes.get(name) or Lane(since=self._since(budget, now))
            for read in range(1, self._max_pages + 1):
                before = self._server.requests
                limit = run.room(self._page_size)
                records = self._ask(name, lane.place, limit, now)
                items = [item for one in records if (item := read_item(one))]
                late = to_second(now - self._overlap)
                step = advance(lane, items, ended=to_second(now), late=late)
                posts = [
                    post
                    for item in step.fresh
                    if isinstance(item.record, Mapping)
                    and (post := self._post(item.record)) is not None
                ]
                page = self._page(run, posts, name, now)
                warnings = list(page.warnings)
                if odd := len(records) - len(items):
                    warnings.append(f"{name}: skipped, without an id ({odd})")
                if step.circling:
                    warnings.append(f"{name}: the server repeats a page; the rest is out of reach")
                elif not step.done and read == self._max_pages:
                    warnings.append(f"{name}: read {read} pages; the next run goes on from there")
                gaps = _gaps(lane, items) if step.circling else ()
                lane = lanes[name] = step.lane
                yield replace(
                    page,
                    gaps=gaps,
                    cursor=write_lanes(lanes),
                    more=not step.done or position < len(names),
                    cost=Cost(requests=self._server.requests - before),
                    returned=len(records),
                    warnings=tuple(warnings),
                )
                if step.done:
                    break


class MastodonTags(_Timelines):
    """Posts with the hashtags of a query, or with `hashtags`, whatever the queries are."""

    def __init__(
        self,
        server: Server,
        source: str = "mastodon",
        *,
        hashtags: Sequence[str] = (),
        **shared: Any,
    ) -> None:
        super().__init__(server, source, **shared)
        self._tags = sorted({read_tag(tag) for tag in hashtags})

    def capabilities(self) -> Capabilities:
        """A list for each hashtag."""
        return Capabilities(
            by_query=not self._tags,
            gives="posts with a hashtag that a server of Mastodon knows of",
            needs="a server; some want a token",
        )

    def compile(self, query: Query) -> Compiled:
        """The hashtags of `query`; makes no request."""
        return compile_tags(query)

    def check(self, *, now: datetime) -> str:
        """One post of a hashtag, which shows whether the server gives them."""
        now = require_aware(now)
        tag = self._tags[0] if self._tags else _COMMON_TAG
        found = self._server.tag(tag, min_id=None, max_id=None, limit=1, now=now)
        who = "the token is accepted" if self._server.has_token else "no token is needed"
        told = "it gives posts" if found else "it has none at the moment"
        return f"{self._source} hashtags at {self._server.host}: {who}, {told}"

    def _names(self, query: Query | None) -> list[str]:
        if self._tags:
            return [f"#{tag}" for tag in self._tags]
        if query is None:
            raise BadConfig(f"{self._source} reads hashtags of queries; call it with a query")
        return [f"#{tag}" for tag in compile_tags(query).searches]

    def _ask(
        self, name: str, place: Mapping[str, str | None], limit: int, now: datetime
    ) -> list[object]:
        return self._server.tag(name.removeprefix("#"), limit=limit, now=now, **place)

    def _post(self, record: Mapping[str, object]) -> object | None:
        return record


class MastodonMentions(_Timelines):
    """Public posts that mention the account behind the token; private ones are never kept."""

    def capabilities(self) -> Capabilities:
        """One list, whatever the queries are."""
        return Capabilities(
            by_query=False,
            gives="public posts of Mastodon that mention an account",
            needs="a token of the account, scope read",
        )

    def check(self, *, now: datetime) -> str:
        """One notification, which shows whether the token may read them."""
        now = require_aware(now)
        self._require_token()
        self._server.mentions(min_id=None, max_id=None, limit=1, now=now)
        return f"{self._source} mentions at {self._server.host}: the token is accepted"

    def _names(self, query: Query | None) -> list[str]:
        self._require_token()
        return ["mentions"]

    def _ask(
        self, name: str, place: Mapping[str, str | None], limit: int, now: datetime
    ) -> list[object]:
        return self._server.mentions(limit=limit, now=now, **place)

    def _post(self, record: Mapping[str, object]) -> object | None:
        return record.get("status") if record.get("type") == "mention" else None

    def _require_token(self) -> None:
        if not self._server.has_token:
            raise NeedsAuth(
                f"{self._server.host} gives mentions to their account only; set access_token "
                "under [[sources.mastodon.servers]]"
            )


def to_second(when: datetime) -> int:
    """A time in whole seconds of the epoch."""
    return int(when.timestamp())


def _gaps(lane: Lane, items: Sequence[Item]) -> tuple[tuple[datetime, datetime], ...]:
    """What lies below a first walk that came no further down."""
    lowest = min((item.second for item in items if item.second is not None), default=lane.since)
    if lane.rising or lowest <= lane.since:
        return ()
    return ((datetime.fromtimestamp(lane.since, UTC), datetime.fromtimestamp(lowest, UTC)),)


def read_item(record: object) -> Item | None:
    """A record with its id and time; None for one without an id."""
    if not isinstance(record, Mapping) or (native_id := read_id(record.get("id"))) is None:
        return None
    time = read_time(record.get("created_at"))
    return Item(id=native_id, second=to_second(time[0]) if time else None, record=record)
