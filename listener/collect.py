"""The collect step: ask each source, keep what fits, store page by page.

Sources are asked side by side, so that one that hangs delays no other; those that cost money are
asked one after the other, since they share a purse. One that fails is reported and stops no other.
"""

from __future__ import annotations

import logging
import threading
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, replace
from datetime import datetime
from functools import partial

from connectors.base import (
    Budget,
    BudgetSpent,
    Connector,
    ConnectorError,
    Mention,
    Page,
    Query,
    RetryAt,
    Transient,
)
from nlp.matching import Matcher

from . import coverage
from .ingest import Place, postpone, read_cursor, save_page
from .keeping import keeper
from .lanes import side_by_side
from .steps import Progress, ProgressOf, Stopped, silent
from .store import Store, StoreError, stamp

log = logging.getLogger(__name__)
STOPPED = "stopped"
REPEATS = 50
"""Pages like the one before, with nothing new, after which a source is not believed any more.

Not few: one that searches for many terms under one cursor may find nothing for each of them."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Source:
    """A configured connector.

    `name` keys its cursors: that of the configuration, with `:` and more behind it for a file or a
    part. `monthly_cap` is what all its parts together may spend in a month (UTC), `reserved` what
    of it is kept for looking stored posts up again, in micro-dollars.
    """

    name: str
    connector: Connector
    monthly_cap: int | None = None
    reserved: int = 0


@dataclass(frozen=True, slots=True, kw_only=True)
class Collected:
    """What one source gave for one query in one run; `status` is ok, partial, waiting or failed.

    `passing`: what failed may work at the next try.
    """

    source: str
    query: str
    status: str = "ok"
    pages: int = 0
    returned: int = 0
    kept: int = 0
    new: int = 0
    warnings: tuple[str, ...] = ()
    error: str | None = None
    passing: bool = False


@dataclass(frozen=True, kw_only=True)
class _Round:
    """What the questions of one round have in common."""

    queries: Sequence[Query]
    matcher: Matcher
    budget: Budget
    before: int
    since: str
    now: datetime
    tick: Progress
    # spaCy's matcher is not for threads.
    matching: threading.Lock


def collect(
    store: Store,
    sources: Sequence[Source],
    queries: Sequence[Query],
    matcher: Matcher,
    *,
    budget: Budget = Budget(),
    since: str = "",
    now: datetime,
    progress: ProgressOf = silent,
) -> list[Collected]:
    """Ask every source for every query; returns one row each. Stops only when the store fails.

    A source that fails or asks to wait is not asked its remaining queries.
    `budget` bounds each question by pages and mentions, and all of them together by money.
    With `since`, a name for where `budget.since` lies, it is a look back of its own: the cursors of
    the usual collections stay where they are.
    """
    stop = threading.Event()
    advance = progress("collect", None)

    def tick(count: int) -> None:
        if stop.is_set():
            raise Stopped
        advance(count)

    whole = _Round(
        queries=queries,
        matcher=matcher,
        budget=budget,
        before=spent(store, ""),
        since=since,
        now=now,
        tick=tick,
        matching=threading.Lock(),
    )
    if not since:
        places = [
            Place(source.name, query.name if query else "")
            for source in sources
            for query in _questions(source, queries)
        ]
        reserved = {
            source.name.partition(":")[0]: source.reserved
            for source in sources
            if source.monthly_cap is not None
        }
        coverage.begin(store, places, reserved=reserved, now=now)
    found: dict[int, list[Collected]] = {}

    def ask(own: Store, place: int) -> None:
        found[place] = _ask_all(own, sources[place], whole)

    lanes = _lanes(sources)
    if len(lanes) > 1 and store.path.is_file():
        side_by_side(store.path, lanes, ask, stop)
    else:
        for place in range(len(sources)):
            ask(store, place)
    return [result for place in range(len(sources)) for result in found[place]]


def _questions(source: Source, queries: Sequence[Query]) -> Sequence[Query | None]:
    return queries if source.connector.capabilities().by_query else (None,)


def _lanes(sources: Sequence[Source]) -> list[list[int]]:
    """Which sources are asked one after the other: parts of one, and all that cost money."""
    lanes: dict[str, list[int]] = {}
    for place, source in enumerate(sources):
        paid = source.monthly_cap is not None or source.connector.capabilities().cost != "free"
        lanes.setdefault("" if paid else source.name.partition(":")[0], []).append(place)
    return list(lanes.values())


def _ask_all(store: Store, source: Source, whole: _Round) -> list[Collected]:
    """One row for each question that was asked, in the order in which they were asked."""
    results = []
    left = list(_questions(source, whole.queries))
    while left:
        result = _ask(store, source, left.pop(0), whole)
        record(store, result, whole.now)
        results.append(result)
        if result.status == "failed":
            log.warning("%s failed: %s", source.name, result.error)
        if result.status in ("failed", "waiting"):
            break
    if left and not whole.since:
        unasked = [Place(source.name, query.name if query else "") for query in left]
        coverage.unheard(store, unasked, now=whole.now)
    return results


def _ask(store: Store, source: Source, query: Query | None, whole: _Round) -> Collected:
    name = query.name if query else ""
    usual = Place(source.name, name)
    place = usual
    if whole.since:
        place = Place(f"{source.name}:since", f"{whole.since} {name}".strip())
    result = Collected(source=place.source, query=name)
    cursor, _ = read_cursor(store, place)
    waits = [until for one in (place, usual) if (until := read_cursor(store, one)[1])]
    if waits and max(waits) > stamp(whole.now):
        return replace(result, status="waiting", error=f"asked to wait until {max(waits)}")
    try:
        budget = purse(store, source, _share(store, whole), whole.now)
    except BudgetSpent as error:
        return replace(result, status="partial", error=str(error))
    excluded = {author for one in whole.queries for author in one.not_authors}
    choose = keeper(store, source.connector, whole.matcher, excluded)

    def keep(mentions: Sequence[Mention]) -> list[Mention]:
        with whole.matching:
            return choose(mentions)

    return take(
        store,
        place,
        lambda: source.connector.collect(query, cursor, budget=budget, now=whole.now),
        keep,
        now=whole.now,
        tick=whole.tick,
        query=name,
        waits=usual,
        firehose=source.connector.capabilities().firehose,
    )


def _share(store: Store, whole: _Round) -> Budget:
    """The budget of the next question: what the round has not spent yet."""
    if whole.budget.micro_dollars is None:
        return whole.budget
    left = whole.budget.micro_dollars - (spent(store, "") - whole.before)
    return replace(whole.budget, micro_dollars=max(left, 0))


def purse(store: Store, source: Source, budget: Budget, now: datetime) -> Budget:
    """`budget`, bounded by what `source` may still spend this month.

    That is its cap less what is spent and what is reserved. Raises `BudgetSpent` when nothing is
    left.
    """
    if source.monthly_cap is None:
        return budget
    name = source.name.partition(":")[0]
    uncommitted = source.monthly_cap - spent(store, name, since=coverage.month(now))
    left = uncommitted - source.reserved
    if left <= 0:
        used = "used up"
        if uncommitted > 0:
            used += f", but for {source.reserved / 1e6:.2f} reserved for deletions"
        raise BudgetSpent(
            f"the cap of {source.monthly_cap / 1e6:g} dollars a month is {used}; it goes on "
            "next month, or with a higher monthly_cap_dollars"
        )
    bounded = left if budget.micro_dollars is None else min(left, budget.micro_dollars)
    return replace(budget, micro_dollars=bounded)


def spent(store: Store, source: str, *, since: datetime | None = None) -> int:
    """Micro-dollars in the ledger of a source and its parts ("": of all), from `since` on."""
    return int(
        store.value(
            "SELECT coalesce(sum(micro_dollars), 0) FROM spend WHERE at >= :since "
            "AND (:source IN ('', source) OR source GLOB :source || ':*')",
            {"source": source, "since": stamp(since) if since else ""},
        )
    )


def take(
    store: Store,
    place: Place,
    pages: Callable[[], Iterator[Page]],
    keep: Callable[[Sequence[Mention]], list[Mention]],
    *,
    now: datetime,
    tick: Progress,
    query: str | None = None,
    waits: Place | None = None,
    firehose: bool = False,
) -> Collected:
    """Store what `keep` chooses of each page, with the cursor of `place`; returns how it went.

    `query` is the name in the row where that of the place says more; `waits` is the place that
    waits when the source asks to, `place` itself without one. Raises `StoreError` and `Stopped`,
    the latter with the run written down.
    """
    result = Collected(source=place.source, query=place.query if query is None else query)
    before: Page | None = None
    repeats = 0
    try:
        for page in pages():
            kept = keep(page.mentions)
            new = save_page(
                store,
                place,
                kept,
                updates=page.updates,
                cursor=page.cursor,
                cost=page.cost,
                firehose=firehose,
                now=now,
                within=partial(
                    coverage.note_page, Place(result.source, result.query), page, len(kept), now
                ),
            )
            result = replace(
                result,
                pages=result.pages + 1,
                returned=result.returned + page.returned,
                kept=result.kept + len(kept),
                new=result.new + new,
                warnings=(*result.warnings, *page.warnings),
            )
            tick(len(kept))
            repeats = repeats + 1 if not new and _repeated(before, page) else 0
            if repeats == REPEATS:
                stuck = "the same page came again and again; the next run tries again"
                warnings = (*result.warnings, stuck)
                return replace(result, status="partial", error=stuck, warnings=warnings)
            before = page
    except RetryAt as error:
        postpone(store, waits or place, error.when, now=now)
        return replace(result, status="waiting", error=str(error))
    except BudgetSpent as error:
        return replace(result, status="partial", error=str(error))
    except ConnectorError as error:
        passing = isinstance(error, Transient)
        return replace(result, status="failed", error=str(error), passing=passing)
    except Stopped:
        # What is stored is told of in the runs, from which the digest says what it covers.
        record(store, replace(result, status="partial", error=STOPPED), now)
        raise
    except StoreError:
        raise
    except Exception as error:
        # A connector may be a plug-in or trip over something new at its site; the round goes on.
        # The type is named, not the text, which may hold a post.
        log.debug("%s", place.source, exc_info=True)
        return replace(result, status="failed", error=f"unexpected {type(error).__name__}")
    if before is not None and before.more:
        rest = "it ended with more to read; the next run goes on from there"
        return replace(result, status="partial", error=rest)
    return result


def _repeated(before: Page | None, page: Page) -> bool:
    """Whether a page says that there is more, yet is the one before it."""
    return (
        before is not None
        and page.more
        and not page.updates
        and page.cursor == before.cursor
        and [one.native_id for one in page.mentions] == [one.native_id for one in before.mentions]
    )


def record(store: Store, result: Collected, now: datetime) -> None:
    """Write down how a source went, also one that could not be made, and what it covered."""
    with store.write() as connection:
        connection.execute(
            "INSERT INTO runs (source, query, started_at, status, pages, returned, kept, new, "
            "warnings, error) VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?)",
            (
                result.source,
                result.query,
                stamp(now),
                result.status,
                result.pages,
                result.returned,
                result.kept,
                result.new,
                len(result.warnings),
                result.error,
            ),
        )
        coverage.note_run(
            connection,
            Place(result.source, result.query),
            now,
            complete=result.status == "ok",
            truncated=result.status == "partial" and result.error != STOPPED,
            limited=result.status == "waiting",
            failed=result.status == "failed",
        )
