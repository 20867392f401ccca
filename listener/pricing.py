"""What collecting would ask and cost, told before it is done: for `check` and `collect --dry-run`.

Sources that can count posts before they read them are asked to; what that costs is in the ledger
and within the cap like everything else. Nothing but the ledger is written.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from datetime import datetime
from typing import Any

from connectors.base import (
    Budget,
    BudgetSpent,
    Compiles,
    ConnectorError,
    Estimate,
    Estimates,
    Query,
)

from .collect import Source, purse
from .config import Config
from .ingest import Place, read_cursor, save_page
from .store import Store, stamp

MONTH_DAYS = 30


@dataclass(frozen=True, slots=True, kw_only=True)
class Preview:
    """What one query would ask of one source; `estimate` is None where nobody can tell.

    `price` says in words what reading costs ("free"); `error` why there is no estimate, and `short`
    that it is money that was missing.
    """

    source: str
    query: str
    searches: tuple[str, ...] = ()
    price: str = "free"
    estimate: Estimate | None = None
    error: str | None = None
    short: bool = False

    @property
    def daily(self) -> tuple[float, float] | None:
        """Posts and micro-dollars of a day."""
        one = self.estimate
        return None if one is None else (one.posts / one.days, one.micro_dollars / one.days)


@dataclass(frozen=True, slots=True, kw_only=True)
class Total:
    """All queries of one source and its parts; posts and micro-dollars.

    `uncounted` queries are not in it; a post that two queries find is in it twice. `counting` is
    what the preview has cost, `left` what may still be spent this month (UTC), and `prices_of` the
    day of the table of prices.
    """

    source: str
    posts_a_day: float
    micro_dollars_a_day: float
    uncounted: int
    counting: int
    cap: int | None
    left: int | None
    prices_of: str | None


def preview(
    store: Store,
    sources: Sequence[Source],
    queries: Sequence[Query],
    *,
    budget: Budget = Budget(),
    now: datetime,
) -> list[Preview]:
    """A row for each source and query: the searches, and the estimate where the source gives one.

    Counting stops at the money of `budget` and at the cap of a source. A source that fails or asks
    to wait is not asked again.
    """
    found: list[Preview] = []
    for source in sources:
        connector: object = source.connector
        can = source.connector.capabilities()
        failed: ConnectorError | None = None
        for query in queries if can.by_query else (None,):
            row = Preview(source=source.name, query=query.name if query else "", price=can.cost)
            try:
                if query is not None and isinstance(connector, Compiles):
                    row = replace(row, searches=connector.compile(query).searches)
                if query is not None and isinstance(connector, Estimates) and failed is None:
                    share = _share(budget, found)
                    row = replace(row, estimate=_count(store, source, connector, query, share, now))
            except BudgetSpent as error:
                row = replace(row, error=str(error), short=True)
            except ConnectorError as error:
                failed = error
            if row.estimate is None and failed is not None:
                row = replace(row, error=str(failed))
            found.append(row)
    return found


def _count(
    store: Store,
    source: Source,
    connector: Estimates,
    query: Query,
    budget: Budget,
    now: datetime,
) -> Estimate:
    _, retry_at = read_cursor(store, Place(source.name, ""))
    if retry_at is not None and retry_at > stamp(now):
        raise ConnectorError(f"asked to wait until {retry_at}")
    budget = purse(store, source, budget, now)
    estimate = connector.estimate(query, budget=budget, now=now)
    place = Place(f"{source.name}:counts", query.name)
    save_page(store, place, (), cursor=None, cost=estimate.cost, now=now)
    return estimate


def _share(budget: Budget, rows: Sequence[Preview]) -> Budget:
    """The budget without what counting has cost so far."""
    if budget.micro_dollars is None:
        return budget
    return replace(budget, micro_dollars=max(budget.micro_dollars - _counting(rows), 0))


def _counting(rows: Sequence[Preview]) -> int:
    return sum(row.estimate.cost.micro_dollars for row in rows if row.estimate)


def totals(
    store: Store,
    sources: Sequence[Source],
    rows: Sequence[Preview],
    config: Config,
    *,
    now: datetime,
) -> list[Total]:
    """The sums of `rows` for each source of which something was counted, beside its cap."""
    found = []
    settings: dict[str, Any] = dict(config.sources.enabled())
    for site in dict.fromkeys(source.name.partition(":")[0] for source in sources):
        own = [row for row in rows if row.source.partition(":")[0] == site]
        days = [row.daily for row in own if row.daily]
        if not days:
            continue
        source = next(one for one in sources if one.name.partition(":")[0] == site)
        prices = getattr(settings.get(site), "prices", None)
        found.append(
            Total(
                source=site,
                posts_a_day=sum(posts for posts, _ in days),
                micro_dollars_a_day=sum(micro for _, micro in days),
                uncounted=sum(row.error is not None for row in own),
                counting=_counting(own),
                cap=source.monthly_cap,
                left=_left(store, source, now),
                prices_of=prices and prices.as_of.isoformat(),
            )
        )
    return found


def _left(store: Store, source: Source, now: datetime) -> int | None:
    try:
        return purse(store, source, Budget(), now).micro_dollars
    except BudgetSpent:
        return 0


def told(row: Preview) -> str:
    """One line about a query: posts and dollars, or why they are not known."""
    return _volume(*row.daily) if row.daily else row.error or row.price


def told_total(total: Total) -> str:
    """One line about a source: what its queries come to, beside the cap and what is left of it."""
    parts = [_volume(total.posts_a_day, total.micro_dollars_a_day)]
    if total.uncounted:
        parts.append(f"{total.uncounted} queries are not in it")
    if total.cap is not None and total.left is not None:
        parts.append(f"cap {_dollars(total.cap)} a month, {_dollars(total.left)} left of this one")
        if total.micro_dollars_a_day * MONTH_DAYS > total.cap:
            days = total.cap / total.micro_dollars_a_day
            parts.append(f"the cap lasts {days:.0f} days: narrow the queries or raise it")
    parts.append(f"counting has cost {_dollars(total.counting)}")
    if total.prices_of:
        parts.append(f"prices of {total.prices_of}")
    return "; ".join(parts)


def as_rows(rows: Sequence[Preview], sums: Sequence[Total]) -> list[dict[str, Any]]:
    """Both as rows of a table, in dollars, those of whole sources last.

    Searches are divided by line breaks.
    """
    found = []
    for row in rows:
        searches, note = "\n".join(row.searches), row.error or ("" if row.daily else row.price)
        found.append(_row(row.source, row.query, searches, row.daily, note))
    for one in sums:
        daily = one.posts_a_day, one.micro_dollars_a_day
        found.append(_row(one.source, "all", "", daily, told_total(one)))
    return found


def _row(
    source: str, query: str, searches: str, daily: tuple[float, float] | None, note: str
) -> dict[str, Any]:
    return {
        "source": source,
        "query": query,
        "searches": searches,
        "posts_a_day": daily and round(daily[0], 1),
        "dollars_a_day": daily and round(daily[1] / 1e6, 4),
        "dollars_a_month": daily and round(daily[1] * MONTH_DAYS / 1e6, 2),
        "note": note,
    }


def _volume(posts: float, micro: float) -> str:
    month = _dollars(micro * MONTH_DAYS)
    return f"{posts:,.1f} posts a day, {_dollars(micro)} a day, {month} a month"


def _dollars(micro: float) -> str:
    # What costs something is not free, however little it is.
    return f"${micro / 1e6:,.2f}" if micro >= 10_000 or not micro else f"${micro / 1e6:,.4f}"
