"""The figures of a digest: what is counted, what is usual, and how the last days went."""

from __future__ import annotations

import sqlite3
from collections import defaultdict
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from zoneinfo import ZoneInfo

from .digest_cards import COUNTED, Period
from .digest_changes import Change, Figure, What, changes
from .messages import DayCount
from .rollup import TOWARD
from .rules import LEAST_WEEKS
from .store import Store, moment, stamp

_WEEKS = 4
_DAYS = 14
_DAY = timedelta(days=1)
_STAGES: tuple[What, ...] = ("awareness", "consideration", "decision", "post_purchase")
_COLUMNS: tuple[What, ...] = ("mentions", "positive", "negative", *_STAGES)

Week = Mapping[tuple[str, str], sqlite3.Row]
"""Sums of the roll-up in one period, by kind and name."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Counted:
    """What a period brought: posts, those of them from before it, and its unusual figures.

    `entities` have name, mentions, positive, neutral and negative; ours first.
    """

    mentions: int
    late: int
    usual: float | None
    stages: Mapping[str, int]
    entities: Sequence[sqlite3.Row]
    changes: tuple[Change, ...]


def counted(store: Store, brand: str, period: Period) -> Counted:
    """The figures of `period`; a product counts for the brand, once.

    Against the usual stands what was published in the period alone.
    """
    span = period.parameters()
    (total,) = store.rows(
        "SELECT count(*) AS n, count(*) FILTER (WHERE m.at > :since) AS fresh "
        f"FROM mentions m WHERE {COUNTED}",
        span,
    )
    stages = store.rows(
        "SELECT t.label, count(*) AS n, count(*) FILTER (WHERE m.at > :since) AS fresh "
        "FROM mentions m JOIN tags t ON t.mention_id = m.id AND t.tagger = 'funnel' "
        f"AND t.kind = 'stage' WHERE {COUNTED} GROUP BY t.label",
        span,
    )
    entities = _entities(store, span, brand)
    past = _past(store, period.since, period.until)
    fresh: dict[tuple[str, str, What], int] = defaultdict(int)
    for row in stages:
        if row["label"] in _STAGES:
            fresh["all", "", row["label"]] = row["fresh"]
    for row in entities:
        fresh[row["kind"], row["name"], "mentions"] = row["fresh"]
        if row["kind"] == "brand":
            fresh["brand", row["name"], "positive"] = row["fresh_positive"]
            fresh["brand", row["name"], "negative"] = row["fresh_negative"]
    return Counted(
        mentions=total["n"],
        late=total["n"] - total["fresh"],
        usual=_mean([_sum(week, "all", "", "mentions") for week in past]),
        stages={row["label"]: row["n"] for row in stages},
        entities=entities,
        changes=changes(_figures(fresh, past)),
    )


def _figures(fresh: Mapping[tuple[str, str, What], int], past: Sequence[Week]) -> list[Figure]:
    """What may be unusual: our mentions and their sentiment, others' mentions, stages of all."""
    looked_at: dict[tuple[str, str, What], int] = dict(fresh)
    for week in past:
        for kind, name in week:
            wanted: Sequence[What] = _STAGES
            if kind != "all":
                wanted = ("mentions", "positive", "negative") if kind == "brand" else ("mentions",)
            for what in wanted:
                looked_at.setdefault((kind, name, what), 0)
    return [
        Figure(
            what=what,
            name=name,
            count=count,
            weeks=tuple(_sum(week, kind, name, what) for week in past),
        )
        for (kind, name, what), count in looked_at.items()
    ]


def _entities(store: Store, span: dict[str, str], brand: str) -> list[sqlite3.Row]:
    """Mentions of each maker by sentiment toward it."""
    return store.rows(
        "WITH named AS (SELECT DISTINCT m.id, m.at > :since AS fresh, "
        "iif(x.kind = 'competitor', x.kind, 'brand') AS kind, "
        "iif(x.kind = 'product', :brand, x.name) AS name FROM mentions m "
        "JOIN relevant_matches x ON x.mention_id = m.id "
        f"AND x.kind IN ('brand', 'product', 'competitor') WHERE {COUNTED}), "
        f"judged AS (SELECT n.kind, n.name, n.fresh, {TOWARD} AS sentiment FROM named n) "
        "SELECT kind, name, count(*) AS mentions, "
        "count(*) FILTER (WHERE sentiment = 'pos') AS positive, "
        "count(*) FILTER (WHERE sentiment = 'neu') AS neutral, "
        "count(*) FILTER (WHERE sentiment = 'neg') AS negative, "
        "count(*) FILTER (WHERE fresh) AS fresh, "
        "count(*) FILTER (WHERE fresh AND sentiment = 'pos') AS fresh_positive, "
        "count(*) FILTER (WHERE fresh AND sentiment = 'neg') AS fresh_negative FROM judged "
        "GROUP BY kind, name ORDER BY kind, mentions DESC, name",
        {**span, "brand": brand},
    )


def _past(store: Store, since: datetime, until: datetime) -> list[Week]:
    """The same hours of the last four weeks, as far as they were observed."""
    first = store.value("SELECT min(hour) FROM rollup_hourly")
    sums = ", ".join(f"sum({name}) AS {name}" for name in _COLUMNS)
    found: list[Week] = []
    for week in range(1, _WEEKS + 1):
        start, end = (stamp(t - timedelta(weeks=week))[:13] for t in (since, until))
        if first is None or start < first:
            break
        rows = store.rows(
            f"SELECT kind, name, {sums} FROM rollup_hourly WHERE hour >= ? AND hour < ? "
            "AND kind IN ('all', 'brand', 'competitor') GROUP BY kind, name",
            (start, end),
        )
        found.append({(row["kind"], row["name"]): row for row in rows})
    return found


def _sum(week: Week, kind: str, name: str, what: What) -> int:
    row = week.get((kind, name))
    return int(row[what]) if row else 0


def _mean(counts: Sequence[int]) -> float | None:
    """None below two weeks: one day is no habit."""
    return sum(counts) / len(counts) if len(counts) >= LEAST_WEEKS else None


def trend(store: Store, brand: str, until: datetime, timezone: str) -> tuple[DayCount, ...]:
    """Sentiment toward `brand` in the last 14 spans of 24 hours, the last one up to `until`.

    Days before anything was stored are left out. A span has the date of its end in `timezone`.
    """
    start = until - _DAYS * _DAY
    first = store.value("SELECT min(hour) FROM rollup_hourly")
    if first is None:
        return ()
    sums = [[0, 0, 0] for _ in range(_DAYS)]
    for row in store.rows(
        "SELECT hour, sum(positive) AS positive, sum(neutral) AS neutral, "
        "sum(negative) AS negative FROM rollup_hourly WHERE kind = 'brand' AND name = ? "
        "AND hour >= ? AND hour <= ? GROUP BY hour",
        (brand, stamp(start)[:13], stamp(until)[:13]),
    ):
        # The hour in which the spans begin is cut in two; it counts for the first of them.
        at = min(max((moment(f"{row['hour']}:00:00Z") - start) // _DAY, 0), _DAYS - 1)
        for place, name in enumerate(("positive", "neutral", "negative")):
            sums[at][place] += row[name]
    known = max((moment(f"{first}:00:00Z") - start) // _DAY, 0)
    zone = ZoneInfo(timezone)
    return tuple(
        DayCount(
            day=(start + (at + 1) * _DAY).astimezone(zone).date(),
            positive=positive,
            neutral=neutral,
            negative=negative,
        )
        for at, (positive, neutral, negative) in enumerate(sums)
        if at >= known
    )
