"""Upkeep: stored posts are looked up again at their source, and what became of them is stored.

One plan serves figures, edits and removals, since one look-up brings all three. A post is due when
it reaches an age of the plan, and whenever its last look-up is `deletions_days` old. Each page is
stored as it comes; posts count as looked up when their chunk is through, so a kill repeats a chunk
at most, and what was stored before comes to the same again.
"""

from __future__ import annotations

import json
import logging
from bisect import bisect_right
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import datetime, timedelta
from typing import TYPE_CHECKING

from connectors.base import Budget, BudgetSpent, ConnectorError, Refreshes, RetryAt

from .collect import Source, purse
from .coverage import month
from .ingest import Place, postpone, read_cursor, save_page
from .steps import Progress, ProgressOf, Stopped, silent
from .store import Store, StoreError, moment, stamp

if TYPE_CHECKING:
    from .config import Upkeep

log = logging.getLogger(__name__)

_CHUNK = 100
_BATCH = 20_000
_ADOPT = """
INSERT OR IGNORE INTO lookups (mention_id, source, due_at)
SELECT m.id, m.source, CASE WHEN t.at IS NULL THEN '' END FROM mentions m
LEFT JOIN tombstones t ON t.source = m.source AND t.native_id = m.native_id
WHERE m.id > (SELECT coalesce(max(mention_id), 0) FROM lookups) ORDER BY m.id LIMIT ?
"""
_NEW = """
SELECT (SELECT max(id) FROM mentions) > (SELECT coalesce(max(mention_id), 0) FROM lookups)
"""
_DUE = """
SELECT l.mention_id, m.native_id FROM lookups l JOIN mentions m ON m.id = l.mention_id
WHERE l.source = :source AND {due} ORDER BY l.due_at LIMIT :limit
"""
_DUE_NOW = _DUE.format(due="l.due_at <= :now")
_NOT_YET = _DUE.format(due="l.due_at IS NOT NULL AND (l.at IS NULL OR l.at < :now)")
_REPLAN = """
UPDATE lookups AS l SET due_at = (SELECT {due} FROM mentions m WHERE m.id = l.mention_id)
WHERE {which}
"""
_STATE = "upkeep:"


@dataclass(frozen=True, slots=True, kw_only=True)
class Swept:
    """What the look-ups at one source gave; `status` is ok, partial, waiting or failed.

    `removed` and `edited` count posts that were stored and changed; `left` are still due.
    """

    source: str
    status: str = "ok"
    looked_up: int = 0
    removed: int = 0
    edited: int = 0
    left: int = 0
    micro_dollars: int = 0
    warnings: tuple[str, ...] = ()
    error: str | None = None


@dataclass(frozen=True, slots=True)
class _Plan:
    """Ages in hours at which a post is looked up, and the most days between two look-ups."""

    hours: tuple[int, ...]
    days: int

    def ages(self) -> list[str]:
        """SQL: the times at which a mention `m` reaches each age."""
        return [_later("m.at", f"{hours} hours") for hours in self.hours]

    def due(self, last: str) -> str:
        """SQL: when a mention `m` that was last looked up at `last` is due."""
        waits = [f"CASE WHEN {age} > {last} THEN {age} ELSE '9999' END" for age in self.ages()]
        return f"min({', '.join([_later(last, f'{self.days} days'), *waits])}, '9999')"


def _later(time: str, span: str) -> str:
    return f"strftime('%Y-%m-%dT%H:%M:%SZ', {time}, '+{span}')"


def reserved(
    store: Store, sources: Sequence[Source], upkeep: Upkeep, *, now: datetime
) -> dict[str, int]:
    """Micro-dollars that the rest of the month's look-ups cost, by site.

    A site is the name of a source before ":", as in the ledger; only those with a monthly cap and
    dear look-ups are in it. What is left of the cap for collecting is the cap, less what the month
    has cost, less this. `now` is aware; the month is that of UTC. Call it before a purse is
    computed: it counts what is stored at that moment.
    """
    if not upkeep.enabled:
        return {}
    end = (month(now) + timedelta(days=32)).replace(day=1)
    found = {}
    for source, connector in refreshers(sources):
        if source.monthly_cap is None or not connector.refresh_cost(1).micro_dollars:
            continue
        name, plan = _arrange(store, source, connector, upkeep)
        posts = _looks(store, name, plan, now, end)
        found[_site(source)] = connector.refresh_cost(posts).micro_dollars if posts else 0
    return found


def _looks(store: Store, name: str, plan: _Plan, now: datetime, end: datetime) -> int:
    """How many look-ups of posts are due from `now` until before `end`, or some more."""
    values = {"source": name, "now": stamp(now), "end": stamp(end)}
    total = 0
    for row in store.rows(
        "SELECT min(max(due_at, :now)) AS due, count(*) AS posts FROM lookups "
        "WHERE source = :source AND due_at < :end GROUP BY substr(max(due_at, :now), 1, 13)",
        values,
    ):
        first = max(moment(row["due"]), now)
        total += row["posts"] * (1 + (end - first) // timedelta(days=plan.days))
    for hours, age in zip(plan.hours, plan.ages(), strict=True):
        span = timedelta(hours=hours)
        total += store.value(
            "SELECT count(*) FROM mentions m JOIN lookups l ON l.mention_id = m.id "
            "WHERE m.at > :young AND m.at < :old AND l.source = :source AND l.due_at < :end "
            f"AND {age} > max(l.due_at, :now)",
            {**values, "young": stamp(now - span), "old": stamp(end - span)},
        )
    return total


def with_reserve(
    store: Store, sources: Sequence[Source], upkeep: Upkeep, *, now: datetime
) -> list[Source]:
    """The sources, each with what its site has `reserved`; for collecting, right before it."""
    kept = reserved(store, sources, upkeep, now=now)
    return [replace(source, reserved=kept.get(_site(source), 0)) for source in sources]


def refreshers(sources: Sequence[Source]) -> list[tuple[Source, Refreshes]]:
    """The sources that can look posts up, one for each source of mentions, in their order.

    Where several parts of a site can, it is the whole one (without ":" in its name).
    """
    chosen: dict[str, tuple[Source, Refreshes]] = {}
    for source in sorted(sources, key=lambda one: ":" in one.name):
        if isinstance(source.connector, Refreshes):
            chosen.setdefault(source.connector.source, (source, source.connector))
    return list(chosen.values())


def sweep(
    store: Store,
    sources: Sequence[Source],
    upkeep: Upkeep,
    *,
    everything: bool = False,
    now: datetime,
    progress: ProgressOf = silent,
) -> list[Swept]:
    """Look up what is due at `now`, or `everything` that is stored; one row for each source.

    A source that fails or asks to wait never stops another. A run goes on where the last one ended.
    """
    tick = progress("look up", None)
    results = []
    for source, connector in refreshers(sources):
        result = _sweep(store, source, connector, upkeep, everything, now, tick)
        if result.status == "failed":
            log.warning("look-ups at %s failed: %s", source.name, result.error)
        log.info("%s: %d looked up, %d gone", source.name, result.looked_up, result.removed)
        results.append(result)
    return results


def _sweep(
    store: Store,
    source: Source,
    connector: Refreshes,
    upkeep: Upkeep,
    everything: bool,
    now: datetime,
    tick: Progress,
) -> Swept:
    place = Place(f"{_site(source)}:refresh", "")
    result, tally = Swept(source=source.name), Counter[str]()
    _, retry_at = read_cursor(store, place)
    name, plan = _arrange(store, source, connector, upkeep)
    which, values = _NOT_YET if everything else _DUE_NOW, {"source": name, "now": stamp(now)}
    if retry_at is not None and retry_at > stamp(now):
        error = f"asked to wait until {retry_at}"
        return _counted(store, which, values, replace(result, status="waiting", error=error))
    try:
        while chunk := store.rows(which, {**values, "limit": _CHUNK}):
            budget = purse(store, replace(source, reserved=0), Budget(), now)
            chunk = chunk[: _affordable(connector, len(chunk), budget)]
            if not chunk:
                raise BudgetSpent(
                    "what is left of the month's cap is too little for look-ups; they go on next "
                    "month, or with a higher monthly_cap_dollars"
                )
            ids = [row["native_id"] for row in chunk]
            for page in connector.refresh(ids, budget=budget, now=now):
                save_page(
                    store,
                    place,
                    (),
                    updates=page.updates,
                    cursor=None,
                    cost=page.cost,
                    tally=tally,
                    now=now,
                )
                result = replace(
                    result,
                    removed=tally["removed"],
                    edited=tally["edited"],
                    micro_dollars=result.micro_dollars + page.cost.micro_dollars,
                    warnings=(*result.warnings, *page.warnings),
                )
                tick(0)
            _mark(store, [row["mention_id"] for row in chunk], plan, now)
            result = replace(result, looked_up=result.looked_up + len(chunk))
            tick(len(chunk))
    except RetryAt as error:
        postpone(store, place, error.when, now=now)
        result = replace(result, status="waiting", error=str(error))
    except BudgetSpent as error:
        result = replace(result, status="partial", error=str(error))
    except ConnectorError as error:
        result = replace(result, status="failed", error=str(error))
    except (StoreError, Stopped):
        raise
    except Exception as error:
        # As in a collection: a connector may be a plug-in, and its text may hold a post.
        log.debug("%s", place.source, exc_info=True)
        result = replace(result, status="failed", error=f"unexpected {type(error).__name__}")
    return _counted(store, which, values, result)


def _counted(store: Store, which: str, values: Mapping[str, str], result: Swept) -> Swept:
    left = store.value(f"SELECT count(*) FROM ({which})", {**values, "limit": -1})
    return replace(result, left=int(left))


def _affordable(connector: Refreshes, most: int, budget: Budget) -> int:
    """How many posts, at most `most`, can be looked up for the money of `budget`."""
    if budget.micro_dollars is None:
        return most
    posts = range(1, most + 1)
    return bisect_right(
        posts, budget.micro_dollars, key=lambda n: connector.refresh_cost(n).micro_dollars
    )


def _arrange(
    store: Store, source: Source, connector: Refreshes, upkeep: Upkeep
) -> tuple[str, _Plan]:
    """Bring the table of look-ups up to date; returns the source of mentions and its plan.

    New posts are taken in, and where the plan has changed all its dates are set anew.
    """
    dear = connector.refresh_cost(1).micro_dollars > 0
    hours = () if dear and not upkeep.paid_figures else upkeep.figures_hours
    plan = _Plan(hours, upkeep.deletions_days)
    name = source.connector.source
    while store.value(_NEW):
        with store.write() as connection:
            connection.execute(_ADOPT, (_BATCH,))
    key, version = _STATE + name, f"{plan.days} {plan.hours}"
    changed = store.value("SELECT value FROM state WHERE key = ?", (key,)) != version
    which = "source = ? AND " + ("due_at IS NOT NULL" if changed else "due_at = ''")
    due = plan.due("coalesce(l.at, m.first_seen_at)")
    replan = _REPLAN.format(due=due, which=f"{which} AND mention_id BETWEEN ? AND ?")
    ((low, high),) = store.rows(
        f"SELECT min(mention_id), max(mention_id) FROM lookups WHERE {which}", (name,)
    )
    for start in range(low, high + 1, _BATCH) if low is not None else ():
        with store.write() as connection:
            connection.execute(replan, (name, start, start + _BATCH - 1))
    if changed:
        with store.write() as connection:
            connection.execute("INSERT OR REPLACE INTO state VALUES (?, ?)", (key, version))
    return name, plan


def _mark(store: Store, mention_ids: Sequence[int], plan: _Plan, now: datetime) -> None:
    """Note that these were looked up; what was taken down meanwhile is never due again."""
    chosen = json.dumps(list(mention_ids))
    which = "due_at IS NOT NULL AND mention_id IN (SELECT value FROM json_each(?))"
    with store.write() as connection:
        connection.execute(f"UPDATE lookups SET at = ? WHERE {which}", (stamp(now), chosen))
        connection.execute(_REPLAN.format(due=plan.due("l.at"), which=which), (chosen,))


def _site(source: Source) -> str:
    return source.name.partition(":")[0]
