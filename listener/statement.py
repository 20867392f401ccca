"""The coverage statement: what each source heard in a period, what it did not, what it cost."""

from __future__ import annotations

import sqlite3
from collections import Counter
from dataclasses import dataclass, field
from datetime import datetime, timedelta

from .config import Config
from .config_source import Source
from .coverage import Listening, aside, listening, month, reserved
from .ingest import Place
from .spans import clipped, minutes
from .store import Store, moment, stamp

_ASKING = timedelta(minutes=10)
"""How long a collection may take before its source counts as late."""
_ORDER = ("ok", "partial", "waiting", "failed")
_COUNTS = ("fetched", "kept", "new", "truncated", "limited", "failures")
_RUNS = """
SELECT source, query, started_at, status, error, returned AS fetched, kept, new,
    status = 'partial' AND error IS NOT 'stopped' AS truncated, status = 'waiting' AS limited,
    status = 'failed' AS failures
FROM runs WHERE started_at > :since AND started_at <= :until ORDER BY started_at, id
"""


@dataclass(frozen=True, kw_only=True)
class SourceCoverage:
    """One source, or one of its queries, in a period.

    Records `fetched`, `kept` after matching, `new`. `state` is "ok", "partial", "waiting" (it asked
    to wait, until `waits_until` if that is known), "failed" or "silent" (enabled, but not asked in
    the period) after its last run; `failed` is the error behind it or None. An error makes "ok"
    "failed".
    Runs that left something out (`truncated`), that the source asked to wait (`limited`) and that
    failed (`failures`). `searches` are listened to, of which `blind_searches` have gaps of
    `blind_minutes` together, `lost_minutes` of them for ever, and `cut` were last left unfinished.
    Everything before `covered_until` was heard but for what is lost; None: not yet, or not a matter
    of time.
    Micro-dollars: `spent` in the month, of `cap`, less `reserved` for looking posts up.
    """

    source: str
    query: str = ""
    fetched: int
    kept: int
    new: int
    failed: str | None
    state: str = "ok"
    truncated: int = 0
    limited: int = 0
    failures: int = 0
    searches: int = 0
    blind_searches: int = 0
    blind_minutes: int = 0
    lost_minutes: int = 0
    cut: int = 0
    covered_until: datetime | None = None
    waits_until: datetime | None = None
    spent: int = 0
    cap: int | None = None
    reserved: int = 0

    def __post_init__(self) -> None:
        if self.state == "ok" and self.failed is not None:
            object.__setattr__(self, "state", "failed")

    @property
    def whole(self) -> bool:
        """Whether it was heard without a gap."""
        return self.state == "ok" and not self.blind_minutes


@dataclass(kw_only=True)
class _Found:
    """What is added up for one source or query."""

    counts: Counter[str] = field(default_factory=Counter)
    state: str = "silent"
    error: str | None = None
    last: str = ""
    # Whether the last run of each place left something out.
    cut: dict[Place, bool] = field(default_factory=dict)
    heard: list[Listening] = field(default_factory=list)
    spent: int = 0


def statement(
    store: Store, config: Config, *, since: datetime, until: datetime, by_query: bool = False
) -> tuple[SourceCoverage, ...]:
    """What was heard after `since` up to `until`: one row for each source, or for each query.

    Sources that are enabled always have one, and others when they ran in the period. A source is
    not late before the minutes between its collections are over.
    """

    def key(source: str, query: str) -> Place:
        return Place(source, query) if by_query else Place(_name(source), "")

    enabled = dict(config.sources.enabled())
    found: dict[Place, _Found] = {}
    for one in listening(store):
        if _name(one.place.source) in enabled:
            row = found.setdefault(key(one.place.source, one.place.query), _Found())
            row.heard.append(one)
    for run in store.rows(_RUNS, {"since": stamp(since), "until": stamp(until)}):
        _count(found.setdefault(key(run["source"], run["query"]), _Found()), run)
    silent = set(enabled) - {_name(place.source) for place in found}
    found |= {Place(name, ""): _Found() for name in silent}
    for spend in store.rows(
        "SELECT source, query, sum(micro_dollars) AS micro_dollars FROM spend "
        "WHERE at >= ? AND at <= ? GROUP BY source, query",
        (stamp(month(until)), stamp(until)),
    ):
        if (place := key(spend["source"], spend["query"])) in found:
            found[place].spent += spend["micro_dollars"]
    order = {name: at for at, name in enumerate(enabled)}
    places = sorted(found, key=lambda place: order.get(_name(place.source), len(order)))
    return tuple(
        _row(store, place, found[place], enabled.get(_name(place.source)), since, until, by_query)
        for place in places
    )


def _name(source: str) -> str:
    """The source as it is called in the configuration; behind the colon stands a part or a path."""
    return source.partition(":")[0]


def _count(found: _Found, run: sqlite3.Row) -> None:
    """Add a run; of those that began together the worst tells how it went."""
    found.counts.update({name: run[name] for name in _COUNTS})
    if aside(run["source"]):
        return
    if found.last != run["started_at"] or _ORDER.index(run["status"]) > _ORDER.index(found.state):
        found.state = run["status"]
        found.error = run["error"] if run["status"] != "ok" else None
    found.last = run["started_at"]
    found.cut[Place(run["source"], run["query"])] = bool(run["truncated"])


def _row(
    store: Store,
    place: Place,
    found: _Found,
    settings: Source | None,
    since: datetime,
    until: datetime,
    by_query: bool,
) -> SourceCoverage:
    grace = _ASKING + timedelta(minutes=settings.every_minutes if settings else 0)
    blind = [
        spans
        for one in found.heard
        if (spans := clipped(one.blind(until, grace=grace), since, until))
    ]
    covered = [one.covered_until for one in found.heard]
    cap = getattr(settings, "monthly_cap_dollars", None)
    return SourceCoverage(
        source=place.source,
        query=place.query,
        **{name: found.counts[name] for name in _COUNTS},
        state=found.state,
        failed=found.error,
        searches=len(found.heard),
        blind_searches=len(blind),
        blind_minutes=minutes(span for spans in blind for span in spans),
        lost_minutes=minutes(
            span for one in found.heard for span in clipped(one.gaps, since, until)
        ),
        cut=sum(found.cut.values()),
        covered_until=min((one for one in covered if one), default=None)
        if None not in covered
        else None,
        waits_until=_waits(store, place.source, until) if found.state == "waiting" else None,
        spent=found.spent,
        cap=None if cap is None or by_query else round(cap * 1_000_000),
        reserved=0 if by_query else reserved(store, place.source),
    )


def _waits(store: Store, source: str, until: datetime) -> datetime | None:
    """When a source that asked to wait after `until` may be asked again."""
    found = [
        row["retry_at"]
        for row in store.rows(
            "SELECT source, retry_at FROM cursors WHERE retry_at > :until "
            "AND (source = :source OR source GLOB :source || ':*')",
            {"source": source, "until": stamp(until)},
        )
        if not aside(row["source"])
    ]
    return moment(max(found)) if found else None
