"""All new posts of Bluesky through Jetstream, a public stream that needs no account.

A call reads what was posted since the last one, as the server keeps about three days, and ends when
it has caught up. Posts come without handles, names and figures: authors are DIDs.
"""

from __future__ import annotations

import json
import logging
import time
from collections import Counter
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime, timedelta
from typing import Any, Protocol

from .base import (
    Budget,
    BudgetSpent,
    Capabilities,
    ConnectorError,
    Cost,
    Cursor,
    Mention,
    Page,
    Query,
    Transient,
    Update,
)
from .bluesky_map import POSTS, post_uri, record_mention
from .mapping import OddRecord
from .values import require_aware

logger = logging.getLogger(__name__)

SERVER = "wss://jetstream2.us-east.bsky.network/subscribe"

Gap = tuple[datetime, datetime]


class Search(Protocol):
    """Another way to the posts of a span of time, such as `BlueskySearch`."""

    def between(
        self, query: Query, start: datetime, end: datetime, *, budget: Budget, now: datetime
    ) -> Iterator[Page]:
        """Pages of the posts for `query`, without cursors."""
        ...


_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
_MICRO = timedelta(microseconds=1)
# Servers differ in the time of an event, and clients in which of one instant they have seen.
_OVERLAP = timedelta(seconds=5)
# All of Bluesky is never silent for so long: the server has nothing of that time.
_HOLE = timedelta(minutes=5)
# What a check reads, of which one must be an event.
_FIRST_MESSAGES, _FIRST_SECONDS = 10, 10.0


@dataclass
class _Batch:
    """What was read since the last page; `last` is the time of the newest event ever read.

    `fresh` counts what lies behind where the call began; the overlap before it is not counted, so
    that every call gets on.
    """

    source: str
    begin: int
    last: int
    mentions: list[Mention] = field(default_factory=list)
    updates: list[Update] = field(default_factory=list)
    faults: Counter[str] = field(default_factory=Counter)
    gaps: list[Gap] = field(default_factory=list)
    events: int = 0
    returned: int = 0
    fresh: int = 0

    def add(self, message: str | bytes, now: datetime) -> None:
        """Take in one message; an odd one is counted with its reason."""
        try:
            event = json.loads(message)
            micros = event["time_us"]
            if type(micros) is not int or not 0 < micros < _micros(now + timedelta(days=1)):
                raise OddRecord("an event without a time")
        except (ValueError, TypeError, KeyError, RecursionError, OddRecord):
            self.faults["skipped, no event"] += 1
            return
        self.events += 1
        if micros - self.last > _HOLE // _MICRO:
            self.gaps.append((_time(self.last), _time(micros)))
        self.last = max(self.last, micros)
        commit = event.get("commit")
        if not isinstance(commit, Mapping) or commit.get("collection") != POSTS:
            return  # accounts and their names are in the stream whatever is asked for
        self.returned += 1
        self.fresh += micros > self.begin
        try:
            self._take(event.get("did"), commit, micros, now)
        except OddRecord as odd:
            self.faults[f"skipped, {odd.reason}"] += 1

    def _take(self, did: object, commit: Mapping[str, Any], micros: int, now: datetime) -> None:
        rkey, operation, record = (commit.get(one) for one in ("rkey", "operation", "record"))
        if not (isinstance(did, str) and did and isinstance(rkey, str) and rkey):
            raise OddRecord("a post without id")
        if operation == "delete":
            self._update(did, rkey, micros, kind="tombstone", reason="deleted at the source")
            return
        if not isinstance(record, Mapping):
            raise OddRecord("a post without record")
        view = {"indexedAt": micros, "cid": commit.get("cid")}
        mention, notes = record_mention(did, rkey, record, view, source=self.source, now=now)
        self.mentions.append(mention)
        self.faults.update(notes)
        if operation == "update":
            # The new text may name nothing of ours, and the mention then not be kept.
            self._update(did, rkey, micros, kind="edit", text=mention.text)

    def _update(self, did: str, rkey: str, micros: int, **what: Any) -> None:
        native_id = post_uri(did, rkey)
        self.updates.append(
            Update(source=self.source, native_id=native_id, at=_time(micros), **what)
        )


class Jetstream:
    """Every post of Bluesky, deletions included; which of them to keep is chosen by the caller.

    A first run looks `first_hours` back. One call reads for `seconds` at most and gives pages of
    `page_size` posts; a server that is silent for `idle_seconds` has no more. What the server does
    not keep any more is told in `Page.gaps`, unless `search` gives it for all of `queries`.
    """

    def __init__(
        self,
        url: str = SERVER,
        source: str = "bluesky",
        *,
        first_hours: float = 1.0,
        seconds: float = 240.0,
        page_size: int = 1000,
        idle_seconds: float = 5.0,
        search: Search | None = None,
        queries: Sequence[Query] = (),
        monotonic: Callable[[], float] = time.monotonic,
    ) -> None:
        self._url = url
        self._source = source
        self._first = timedelta(hours=first_hours)
        self._seconds = seconds
        self._page_size = page_size
        self._idle = idle_seconds
        self._search = search
        self._queries = tuple(queries)
        self._monotonic = monotonic

    @property
    def source(self) -> str:
        """Name that goes into `Mention.source`: that of Bluesky's search, as the posts are one."""
        return self._source

    def capabilities(self) -> Capabilities:
        """One stream, whatever the queries are."""
        return Capabilities(
            by_query=False, firehose=True, gives="every post of Bluesky, without names and figures"
        )

    def collect(
        self, query: Query | None, cursor: Cursor | None, *, budget: Budget, now: datetime
    ) -> Iterator[Page]:
        """Pages of posts and removals since `cursor`, oldest first; `query` plays no part.

        Raises BudgetSpent when the time or the budget ends before it has caught up, and Transient
        when the server ends the stream before that. What lies before the cursor and is read once
        more, for safety, does not count for the budget.
        """
        now = require_aware(now)
        begin, missing = self._start(cursor, budget, now)
        batch = _Batch(source=self._source, begin=begin, last=begin)
        if self._search is None:
            batch.gaps, missing = missing, []
        pages = given = 0
        end = "caught up"
        if not _room(budget, pages, given):
            raise self._spent(batch, "budget")
        until = self._monotonic() + self._seconds
        connections = 1
        with self._open(begin, now) as receive:
            while batch.last < _micros(now):
                left = until - self._monotonic()
                if left <= 0:
                    end = "time"
                    break
                try:
                    message = receive(min(left, self._idle))
                except EOFError:
                    end = "closed"
                    break
                if message is None and left > self._idle:
                    break
                if message is None:
                    continue
                batch.add(message, now)
                if batch.fresh >= self._size(budget, given) or len(batch.updates) >= 5_000:
                    page = self._page(batch, missing, connections)
                    pages, given, connections = pages + 1, given + batch.fresh, 0
                    batch = _Batch(source=self._source, begin=begin, last=batch.last)
                    yield replace(page, more=True)
                    if not _room(budget, pages, given):
                        raise self._spent(batch, "budget")
        silent = not pages and not batch.events and _time(begin) < now - _HOLE
        page = self._page(batch, missing, connections)
        if silent:
            told = f"the stream gave nothing since {_time(begin):%Y-%m-%d %H:%M} UTC"
            page = replace(page, warnings=(*page.warnings, f"{self._source}: {told}"))
        if batch.events or page.warnings:
            yield replace(page, more=end != "caught up" or bool(missing))
        if end == "time":
            raise self._spent(batch, "time")
        if end == "closed":
            raise Transient("the stream ended before it had caught up; the next run goes on")
        yield from self._filled(missing, batch.last, budget, now)

    def check(self, *, now: datetime) -> str:
        """Whether the stream gives events; waits for the first ones for some seconds at most."""
        now = require_aware(now)
        batch = _Batch(source=self._source, begin=0, last=_micros(now))
        with self._open(_micros(now - timedelta(minutes=1)), now) as receive:
            for _ in range(_FIRST_MESSAGES):
                try:
                    message = receive(_FIRST_SECONDS)
                except EOFError:
                    break
                if message is not None:
                    batch.add(message, now)
                if message is None or batch.events:
                    break
        if not batch.events:
            raise Transient("the stream gives no events; check its address, or wait")
        return f"{self._source} stream: connected, events arrive"

    def _start(self, cursor: Cursor | None, budget: Budget, now: datetime) -> tuple[int, list[Gap]]:
        """Where to read from, in microseconds, and the spans that are still to be filled."""
        since = now - self._first if budget.since is None else require_aware(budget.since)
        known: Any = cursor or {}
        micros = known.get("time_us")
        if not isinstance(micros, int) or not 0 < micros <= _micros(now + timedelta(days=1)):
            return _micros(since), []
        spans = known.get("gaps")
        missing = [
            (_time(start), _time(stop))
            for start, stop in (spans if isinstance(spans, list) else [])
            if isinstance(start, int) and isinstance(stop, int) and 0 < start < stop <= micros
        ]
        return micros, missing

    def _open(self, begin: int, now: datetime) -> Any:
        # Here, as websockets is loaded only when a stream is read.
        from .bluesky_stream import open_stream

        cursor = max(begin - _OVERLAP // _MICRO, 1)
        params = [("wantedCollections", POSTS), ("cursor", str(cursor))]
        return open_stream(self._url, params, now=now)

    def _size(self, budget: Budget, given: int) -> int:
        left = self._page_size if budget.mentions is None else budget.mentions - given
        return min(left, self._page_size)

    def _page(self, batch: _Batch, missing: list[Gap], connections: int) -> Page:
        """The page of a batch; its gaps are told, or go to those that are to be filled."""
        gaps = tuple(batch.gaps)
        if self._search is not None:
            missing.extend(gaps)
            gaps = ()
        lost = [f"{_span(gap)} is not kept by the server any more" for gap in gaps]
        faults = [f"{what} ({n})" for what, n in batch.faults.items()]
        logger.info("%s: %d events, %d posts", self._source, batch.events, len(batch.mentions))
        return Page(
            mentions=tuple({one.native_id: one for one in batch.mentions}.values()),
            updates=tuple(batch.updates),
            cursor=_cursor(batch.last, missing),
            cost=Cost(requests=connections),
            returned=batch.returned,
            warnings=tuple(f"{self._source}: {what}" for what in (*lost, *faults)),
            gaps=gaps,
        )

    def _filled(
        self, missing: list[Gap], last: int, budget: Budget, now: datetime
    ) -> Iterator[Page]:
        """Pages of the search for each missing span; it leaves the cursor when it is done."""
        while missing and self._search is not None:
            gap = missing[0]
            told = Page()
            try:
                for query in self._queries:
                    for page in self._search.between(query, *gap, budget=budget, now=now):
                        yield replace(page, cursor=_cursor(last, missing), more=True)
            except BudgetSpent as spent:
                why = f"{_span(gap)} was not searched to its end: {spent}"
                told = Page(gaps=(gap,), warnings=(f"{self._source}: {why}",))
            except ConnectorError as error:
                why = f"{_span(gap)} is missing, as the search failed: {error}"
                told = Page(gaps=(gap,), warnings=(f"{self._source}: {why}",))
            missing = missing[1:]
            yield replace(told, cursor=_cursor(last, missing), more=bool(missing))

    def _spent(self, batch: _Batch, what: str) -> BudgetSpent:
        return BudgetSpent(
            f"{self._source}, stream: the {what} ended at posts of "
            f"{_time(batch.last):%Y-%m-%d %H:%M} UTC; left out: later ones; the next run goes on"
        )


def _room(budget: Budget, pages: int, given: int) -> bool:
    mentions = budget.mentions is None or given < budget.mentions
    return mentions and (budget.pages is None or pages < budget.pages)


def _cursor(last: int, missing: list[Gap]) -> dict[str, Any]:
    spans = [[_micros(start), _micros(stop)] for start, stop in missing]
    return {"time_us": last, "gaps": spans} if spans else {"time_us": last}


def _span(gap: Gap) -> str:
    return f"{gap[0]:%Y-%m-%d %H:%M} to {gap[1]:%Y-%m-%d %H:%M} UTC"


def _micros(when: datetime) -> int:
    return max((when - _EPOCH) // _MICRO, 0)


def _time(micros: int) -> datetime:
    return _EPOCH + micros * _MICRO
