"""The collect step: ask each source, keep what fits, store page by page.

One source that fails is reported and never stops the others.
"""

from __future__ import annotations

import logging
from collections.abc import Sequence
from dataclasses import dataclass, replace
from datetime import datetime

from connectors.base import Budget, BudgetSpent, Connector, ConnectorError, Query, RetryAt
from nlp.matching import Matcher

from .ingest import Place, postpone, read_cursor, save_page
from .keeping import keeper
from .steps import Progress, ProgressOf, Stopped, silent
from .store import Store, StoreError, stamp

log = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True, kw_only=True)
class Source:
    """A configured connector.

    `name` keys its cursors: that of the configuration, with `:` and more behind it for a file or a
    part. `monthly_cap` is what all its parts together may spend in a month (UTC), in micro-dollars.
    """

    name: str
    connector: Connector
    monthly_cap: int | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Collected:
    """What one source gave for one query in one run; `status` is ok, partial, waiting or failed."""

    source: str
    query: str
    status: str = "ok"
    pages: int = 0
    returned: int = 0
    kept: int = 0
    new: int = 0
    warnings: tuple[str, ...] = ()
    error: str | None = None


def collect(
    store: Store,
    sources: Sequence[Source],
    queries: Sequence[Query],
    matcher: Matcher,
    *,
    budget: Budget = Budget(),
    now: datetime,
    progress: ProgressOf = silent,
) -> list[Collected]:
    """Ask every source for every query; returns one row each. Stops only when the store fails.

    A source that fails or asks to wait is not asked its remaining queries.
    `budget` bounds each question by pages and mentions, and all of them together by money.
    """
    tick = progress("collect", None)
    results = []
    before = _spent(store, "")
    for source in sources:
        asked: Sequence[Query | None] = (
            queries if source.connector.capabilities().by_query else (None,)
        )
        for query in asked:
            purse = None
            if budget.micro_dollars is not None:
                purse = max(budget.micro_dollars - (_spent(store, "") - before), 0)
            share = replace(budget, micro_dollars=purse)
            result = _ask(store, source, query, matcher, share, now, tick)
            record(store, result, now)
            results.append(result)
            if result.status == "failed":
                log.warning("%s failed: %s", source.name, result.error)
            if result.status in ("failed", "waiting"):
                break
    return results


def _ask(
    store: Store,
    source: Source,
    query: Query | None,
    matcher: Matcher,
    budget: Budget,
    now: datetime,
    tick: Progress,
) -> Collected:
    place = Place(source.name, query.name if query else "")
    cursor, retry_at = read_cursor(store, place)
    result = Collected(source=place.source, query=place.query)
    if retry_at is not None and retry_at > stamp(now):
        return replace(result, status="waiting", error=f"asked to wait until {retry_at}")
    if source.monthly_cap is not None:
        month = now.replace(day=1, hour=0, minute=0, second=0, microsecond=0)
        left = source.monthly_cap - _spent(store, source.name.partition(":")[0], since=month)
        if left <= 0:
            error = (
                f"the cap of {source.monthly_cap / 1e6:g} dollars a month is used up; it goes on "
                "next month, or with a higher monthly_cap_dollars"
            )
            return replace(result, status="partial", error=error)
        purse = left if budget.micro_dollars is None else min(left, budget.micro_dollars)
        budget = replace(budget, micro_dollars=purse)
    keep = keeper(store, source.connector, matcher)
    try:
        for page in source.connector.collect(query, cursor, budget=budget, now=now):
            kept = keep(page.mentions)
            new = save_page(
                store,
                place,
                kept,
                updates=page.updates,
                cursor=page.cursor,
                cost=page.cost,
                now=now,
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
    except RetryAt as error:
        postpone(store, place, error.when, now=now)
        return replace(result, status="waiting", error=str(error))
    except BudgetSpent as error:
        return replace(result, status="partial", error=str(error))
    except ConnectorError as error:
        return replace(result, status="failed", error=str(error))
    except Stopped:
        # What is stored is told of in the runs, from which the digest says what it covers.
        record(store, replace(result, status="partial", error="stopped"), now)
        raise
    except StoreError:
        raise
    except Exception as error:
        # A connector may be a plug-in or trip over something new at its site; the round goes on.
        # The type is named, not the text, which may hold a post.
        log.debug("%s", place.source, exc_info=True)
        return replace(result, status="failed", error=f"unexpected {type(error).__name__}")
    return result


def _spent(store: Store, source: str, *, since: datetime | None = None) -> int:
    """Micro-dollars in the ledger of a source and its parts ("": of all), from `since` on."""
    return int(
        store.value(
            "SELECT coalesce(sum(micro_dollars), 0) FROM spend WHERE at >= :since "
            "AND (:source IN ('', source) OR source GLOB :source || ':*')",
            {"source": source, "since": stamp(since) if since else ""},
        )
    )


def record(store: Store, result: Collected, now: datetime) -> None:
    """Write down how a source went."""
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
