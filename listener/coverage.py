"""What was not heard: counts of each hour, and the spans that a source has not covered.

A place (a source and one of its queries) has covered everything up to the start of its last
collection that left nothing out, since a collection goes on from its cursor. Blind is what is
behind that point, and for ever what the source can no longer give (`Page.gaps`).
"""

from __future__ import annotations

import sqlite3
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta

from connectors.base import Page

from .ingest import Place
from .spans import Span, by_hour, clipped, merged
from .store import Store, moment, stamp

KEPT = timedelta(days=400)
"""How long hours, gaps and runs are kept."""
_TIMELESS = frozenset({"files", "import", "sample"})
_ASIDE = frozenset({"refresh", "since", "threads"})
_HOUR = 13
"""Characters of a stamp that name its hour."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Listening:
    """What one place has covered: all from `since` to `covered_until` except its `gaps`.

    `covered_until` is None while no collection was complete.
    """

    place: Place
    since: datetime
    covered_until: datetime | None = None
    gaps: tuple[Span, ...] = ()

    def blind(self, until: datetime, *, grace: timedelta = timedelta()) -> tuple[Span, ...]:
        """Spans up to `until` that were not heard.

        What came since the last collection counts only when it is longer than `grace`: a source
        that is asked every hour is not blind in between.
        """
        start = self.covered_until or self.since
        behind = [(start, until)] if until - start > grace else []
        return clipped((*self.gaps, *behind), until - KEPT, until)


def aside(source: str) -> bool:
    """Whether a part of a source reads again what was heard: look-backs, look-ups, threads."""
    return source.partition(":")[2] in _ASIDE


def listens(source: str) -> bool:
    """Whether a source covers time. Files do not, nor does what is read again."""
    return source.partition(":")[0] not in _TIMELESS and not aside(source)


def month(now: datetime) -> datetime:
    """The start of the month (UTC) that `now` lies in."""
    return now.astimezone(UTC).replace(day=1, hour=0, minute=0, second=0, microsecond=0)


def begin(
    store: Store, places: Iterable[Place], *, reserved: Mapping[str, int], now: datetime
) -> None:
    """Write down that these places are asked at `now`: from then on they stand for their source.

    A place that is asked for the first time has been listened to from `now` on. `reserved` is what
    sources keep for looking stored posts up, in micro-dollars.
    """
    with store.write() as connection:
        _ask(connection, [place for place in places if listens(place.source)], now)
        connection.executemany(
            "INSERT OR REPLACE INTO state VALUES (?, ?)",
            [(f"reserved:{source}", str(money)) for source, money in reserved.items()],
        )


def reserved(store: Store, source: str) -> int:
    """Micro-dollars that a source kept for looking stored posts up when it was asked last."""
    found = store.value("SELECT value FROM state WHERE key = ?", (f"reserved:{source}",))
    return int(found or 0)


def note_page(
    place: Place, page: Page, kept: int, now: datetime, connection: sqlite3.Connection, new: int
) -> None:
    """Count a page in the hour of its collection, and keep its gaps; inside its transaction."""
    connection.execute(
        "INSERT INTO coverage (hour, source, query, fetched, kept, new) VALUES (?, ?, ?, ?, ?, ?) "
        "ON CONFLICT DO UPDATE SET fetched = fetched + excluded.fetched, "
        "kept = kept + excluded.kept, new = new + excluded.new",
        (stamp(now)[:_HOUR], place.source, place.query, page.returned, kept, new),
    )
    if page.gaps and listens(place.source):
        _keep_gaps(connection, place, clipped(page.gaps, now - KEPT, now))
        _write_blind(connection, place, now)


def note_run(
    connection: sqlite3.Connection,
    place: Place,
    now: datetime,
    *,
    complete: bool,
    truncated: bool,
    limited: bool,
    failed: bool,
) -> None:
    """Count a run that began at `now` and has ended; when `complete`, all up to then is covered.

    A run of a place that was never begun is that of a source that could not be made: nothing that
    it listened to is heard.
    """
    if truncated or limited or failed:
        connection.execute(
            "INSERT INTO coverage (hour, source, query, truncated, limited, failed) "
            "VALUES (?, ?, ?, ?, ?, ?) ON CONFLICT DO UPDATE SET "
            "truncated = truncated + excluded.truncated, limited = limited + excluded.limited, "
            "failed = failed + excluded.failed",
            (stamp(now)[:_HOUR], *_key(place), truncated, limited, failed),
        )
    if not listens(place.source):
        return
    if complete:
        connection.execute(
            "UPDATE coverage_places SET covered_until = max(coalesce(covered_until, ''), ?) "
            "WHERE source = ? AND query = ?",
            (stamp(now), *_key(place)),
        )
    for one in _begun(connection, place, now):
        _write_blind(connection, one, now)


def unheard(store: Store, places: Iterable[Place], *, now: datetime) -> None:
    """Write down that these places were begun at `now` and not asked after all."""
    with store.write() as connection:
        for place in places:
            if listens(place.source):
                _write_blind(connection, place, now)


def listening(store: Store) -> list[Listening]:
    """The places that are listened to now: those that were asked with the others of their source.

    Parts of a source (`x:mentions`) belong together, as they are asked together.
    """
    rows = store.rows(
        "SELECT source, query, since, covered_until, asked_at, "
        "max(asked_at) OVER (PARTITION BY iif(instr(source, ':'), "
        "substr(source, 1, instr(source, ':') - 1), source)) AS last "
        "FROM coverage_places ORDER BY source, query"
    )
    gaps: dict[Place, list[Span]] = {}
    for row in store.rows("SELECT source, query, start_at, end_at FROM coverage_gaps"):
        span = (moment(row["start_at"]), moment(row["end_at"]))
        gaps.setdefault(Place(row["source"], row["query"]), []).append(span)
    return [
        _listening(row, gaps.get(Place(row["source"], row["query"]), ()))
        for row in rows
        if row["asked_at"] == row["last"]
    ]


def _key(place: Place) -> tuple[str, str]:
    return place.source, place.query


def _listening(row: sqlite3.Row, gaps: Sequence[Span]) -> Listening:
    return Listening(
        place=Place(row["source"], row["query"]),
        since=moment(row["since"]),
        covered_until=moment(row["covered_until"]) if row["covered_until"] else None,
        gaps=merged(gaps),
    )


def _begun(connection: sqlite3.Connection, place: Place, now: datetime) -> list[Place]:
    """`place`, or where it was not begun, those that its source was last asked for."""
    last = [
        Place(place.source, row["query"])
        for row in connection.execute(
            "SELECT query FROM coverage_places WHERE source = :source AND asked_at = "
            "(SELECT max(asked_at) FROM coverage_places WHERE source = :source)",
            {"source": place.source},
        )
    ]
    if place in last:
        return [place]
    _ask(connection, last or [place], now)
    return last or [place]


def _ask(connection: sqlite3.Connection, places: Iterable[Place], now: datetime) -> None:
    connection.executemany(
        "INSERT INTO coverage_places (source, query, since, asked_at) "
        "VALUES (:source, :query, :now, :now) "
        "ON CONFLICT DO UPDATE SET asked_at = max(asked_at, :now)",
        [{"source": one.source, "query": one.query, "now": stamp(now)} for one in places],
    )


def _gaps(connection: sqlite3.Connection, place: Place) -> list[Span]:
    return [
        (moment(row["start_at"]), moment(row["end_at"]))
        for row in connection.execute(
            "SELECT start_at, end_at FROM coverage_gaps WHERE source = ? AND query = ?",
            _key(place),
        )
    ]


def _keep_gaps(connection: sqlite3.Connection, place: Place, found: Sequence[Span]) -> None:
    """Add gaps to those of a place, so that they stay disjoint."""
    spans = merged((*_gaps(connection, place), *found))
    connection.execute(
        "DELETE FROM coverage_gaps WHERE source = ? AND query = ?",
        _key(place),
    )
    connection.executemany(
        "INSERT INTO coverage_gaps VALUES (?, ?, ?, ?)",
        [(*_key(place), stamp(start), stamp(end)) for start, end in spans],
    )


def _write_blind(connection: sqlite3.Connection, place: Place, now: datetime) -> None:
    """Make the blind minutes of every hour of a place those that are known at `now`."""
    row = connection.execute(
        "SELECT source, query, since, covered_until FROM coverage_places "
        "WHERE source = ? AND query = ?",
        _key(place),
    ).fetchone()
    hours = by_hour(_listening(row, _gaps(connection, place)).blind(now))
    written = {
        row["hour"]: row["blind_minutes"]
        for row in connection.execute(
            "SELECT hour, blind_minutes FROM coverage "
            "WHERE source = ? AND query = ? AND blind_minutes > 0",
            _key(place),
        )
    }
    changed = {hour: 0 for hour in written if hour not in hours} | {
        hour: blind for hour, blind in hours.items() if written.get(hour) != blind
    }
    connection.executemany(
        "INSERT INTO coverage (hour, source, query, blind_minutes) VALUES (?, ?, ?, ?) "
        "ON CONFLICT DO UPDATE SET blind_minutes = excluded.blind_minutes",
        [(hour, *_key(place), blind) for hour, blind in changed.items()],
    )
