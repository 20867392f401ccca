from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import closing
from dataclasses import replace
from datetime import datetime, timedelta
from pathlib import Path

import pytest
from builders import (
    NOW,
    FakeConnector,
    at,
    config,
    matcher,
    mention,
    page,
    store_in,
)
from hypothesis import given
from hypothesis import strategies as st
from sqlite_utils import Database

from connectors.base import BudgetSpent, Cost, Page, Query, RetryAt, Transient
from listener.collect import Collected, Source, collect, record
from listener.coverage import Listening, listening
from listener.ingest import Place, read_cursor
from listener.schema import migrations
from listener.spans import Span, merged, minutes
from listener.store import Store
from listener.vocabulary import queries

HOURS = st.integers(-40, 40).map(at)
SPANS = st.lists(st.tuples(HOURS, HOURS), max_size=5)
PLACE = Place("s", "")


@pytest.fixture
def store(tmp_path: Path) -> Iterator[Store]:
    yield from store_in(tmp_path)


def run(
    store: Store,
    hours: float,
    *pages: Page,
    error: Exception | None = None,
    asked: Sequence[Query] = (),
    name: str = "s",
) -> None:
    connector = FakeConnector(pages, error=error, by_query=bool(asked))
    collect(store, [Source(name=name, connector=connector)], asked, matcher(), now=at(hours))


def blind(store: Store, query: str = "", source: str = "s") -> dict[str, int]:
    """Blind minutes by day and hour, where there are any."""
    rows = store.rows(
        "SELECT hour, blind_minutes FROM coverage_hourly WHERE source = ? AND query = ? "
        "AND blind_minutes > 0 ORDER BY hour",
        (source, query),
    )
    return {row["hour"][8:]: row["blind_minutes"] for row in rows}


# -- intervals


@given(gaps=SPANS, since=HOURS, until=HOURS)
def test_blind_is_what_is_behind_and_what_is_lost(
    gaps: list[Span], since: datetime, until: datetime
) -> None:
    one = Listening(place=PLACE, since=since, gaps=merged(gaps))
    found = one.blind(until)
    assert all(start < end <= until for start, end in found)
    again = Listening(place=PLACE, since=since, gaps=merged(reversed(gaps)))
    assert again.blind(until) == found


@given(gaps=SPANS, since=HOURS, covered=HOURS, until=HOURS)
def test_catching_up_removes_exactly_what_it_covers(
    gaps: list[Span], since: datetime, covered: datetime, until: datetime
) -> None:
    before = Listening(place=PLACE, since=since, gaps=merged(gaps))
    after = replace(before, covered_until=max(covered, since))
    lost = {point for point in _points() if any(a <= point < b for a, b in gaps) and point < until}

    def in_blind(one: Listening) -> set[datetime]:
        return {p for p in _points() if any(a <= p < b for a, b in one.blind(until))}

    caught_up = {p for p in _points() if since <= p < max(covered, since)}
    assert in_blind(after) == in_blind(before) - (caught_up - lost)


def _points() -> list[datetime]:
    return [at(n + 0.5) for n in range(-41, 41)]


def test_a_source_is_not_blind_between_its_collections() -> None:
    one = Listening(place=PLACE, since=at(-9), covered_until=at(0))
    hour = timedelta(hours=1)
    assert one.blind(at(1), grace=hour) == ()
    assert one.blind(at(1.5), grace=hour) == ((at(0), at(1.5)),)
    assert one.blind(at(-3)) == ()


# -- counts


def test_counts_are_those_of_the_hour_in_which_a_collection_began(store: Store) -> None:
    cost = Cost(requests=1, micro_dollars=30)
    run(store, 0, page(mention("1"), mention("2"), returned=5, cost=cost), page(returned=3))
    run(store, 0.9, page(mention("2"), returned=2), error=BudgetSpent("later"))
    run(store, 0.95, error=RetryAt(at(1)))
    run(store, 0.97)
    run(store, 1, error=Transient("no network"))
    names = "fetched", "kept", "new", "truncated", "limited", "failed", "micro_dollars"
    rows = store.rows(f"SELECT {', '.join(names)} FROM coverage_hourly ORDER BY hour")
    assert [tuple(row) for row in rows] == [(10, 3, 2, 1, 2, 0, 30), (0, 0, 0, 0, 0, 1, 0)]


def test_money_is_that_of_the_ledger_whoever_spent_it(store: Store) -> None:
    with store.write() as connection:
        connection.execute(
            "INSERT INTO spend (at, source, query, requests, resources, micro_dollars) "
            "VALUES ('2026-03-10T12:59:59Z', 'x:refresh', '', 1, 1, 70)"
        )
    (row,) = store.rows("SELECT hour, source, fetched, micro_dollars FROM coverage_hourly")
    assert tuple(row) == ("2026-03-10T12", "x:refresh", 0, 70)


# -- blind minutes


def test_a_healthy_source_is_never_blind(store: Store) -> None:
    for hours in range(9):
        run(store, hours, page(mention(f"{hours}")))
    assert blind(store) == {}
    (one,) = listening(store)
    assert (one.since, one.covered_until) == (at(0), at(8))


def test_a_source_that_is_down_is_blind_until_it_catches_up(store: Store) -> None:
    run(store, 0.5, page(mention("1")))
    for hours in (1.5, 2.75):
        run(store, hours, error=Transient("no network"))
    assert blind(store) == {"10T12": 30, "10T13": 60, "10T14": 45}
    run(store, 3, page(mention("2")), error=BudgetSpent("later"))
    assert blind(store) == {"10T12": 30, "10T13": 60, "10T14": 60}
    run(store, 3.25)
    assert blind(store) == {}
    assert store.value("SELECT sum(failed) FROM coverage") == 2, "what happened stays"


def test_what_a_source_can_no_longer_give_is_blind_for_ever(store: Store) -> None:
    run(store, 0)
    gaps = ((at(1.25), at(1.75)), (at(1.5), at(2)))
    run(store, 5, Page(gaps=gaps, cursor={"at": 1}))
    assert blind(store) == {"10T13": 45}
    run(store, 6, Page(gaps=((at(0.5), at(1.25)), (at(5.5), at(99)))))
    assert blind(store) == {"10T12": 30, "10T13": 60, "10T17": 30}
    run(store, 7)
    assert blind(store) == {"10T12": 30, "10T13": 60, "10T17": 30}
    assert store.value("SELECT count(*) FROM coverage_gaps") == 2


def test_a_gap_is_kept_with_the_cursor_that_steps_over_it(store: Store) -> None:
    run(store, 0)

    def kill(_: int) -> None:
        raise KeyboardInterrupt

    lost = Page(gaps=((at(1), at(2)),), cursor={"at": 2}, returned=4)
    source = Source(name="s", connector=FakeConnector([lost, page(mention("1"))]))
    with pytest.raises(KeyboardInterrupt):
        collect(store, [source], [], matcher(), now=at(3), progress=lambda _n, _t: kill)
    assert read_cursor(store, PLACE)[0] == {"at": 2}
    (one,) = listening(store)
    assert one.gaps == ((at(1), at(2)),)
    assert blind(store)["10T13"] == 60
    assert store.value("SELECT count(*) FROM runs") == 1, "this one was never told of"
    run(store, 4)
    assert blind(store) == {"10T13": 60}


def test_a_query_that_is_not_asked_after_all_is_blind(store: Store) -> None:
    asked = queries(config())
    run(store, 0, asked=asked)
    run(store, 2, asked=asked, error=RetryAt(at(9)))
    for query in asked:
        assert blind(store, query.name) == {"10T12": 60, "10T13": 60}
    run(store, 3, asked=asked)
    assert blind(store, asked[-1].name) == {"10T12": 60, "10T13": 60, "10T14": 60}
    run(store, 9, asked=asked)
    assert blind(store, asked[0].name) == blind(store, asked[-1].name) == {}


def test_one_query_cut_short_leaves_the_others_covered(store: Store) -> None:
    first, second, *_ = queries(config())
    run(store, 0, asked=[first, second])

    class Cuts(FakeConnector):
        def collect(self, query: object, *rest: object, **more: object) -> Iterator[Page]:
            yield page()
            if query is first:
                raise BudgetSpent("later")

    cuts = Cuts(by_query=True)
    collect(store, [Source(name="s", connector=cuts)], [first, second], matcher(), now=at(1))
    assert blind(store, first.name) == {"10T12": 60}
    assert blind(store, second.name) == {}


def test_a_source_that_cannot_be_made_hears_nothing(store: Store) -> None:
    asked = queries(config())[:2]
    failed = Collected(source="s", query="", status="failed", error="TOKEN is not set")
    record(store, failed, at(-1))
    assert [one.place for one in listening(store)] == [Place("s", "")]
    run(store, 0, asked=asked)
    record(store, failed, at(1))
    assert [one.place.query for one in listening(store)] == [one.name for one in asked]
    assert [blind(store, one.name) for one in asked] == [{"10T12": 60}] * 2


def test_queries_and_parts_that_are_no_more_are_not_listened_to(store: Store) -> None:
    first, second, *_ = queries(config())
    run(store, 0, asked=[first, second])
    run(store, 0, name="s:part")
    assert len(listening(store)) == 3
    run(store, 1, asked=[second])
    assert [one.place for one in listening(store)] == [Place("s", second.name)]


@pytest.mark.parametrize("name", ["files:/a.csv", "import:/a.csv", "sample", "x:threads"])
def test_what_is_no_matter_of_time_is_counted_only(store: Store, name: str) -> None:
    run(store, 0, Page(returned=3, gaps=((at(-2), at(-1)),)), name=name)
    run(store, 9, error=Transient("gone"), name=name)
    assert listening(store) == []
    (row,) = store.rows("SELECT sum(fetched), sum(failed), sum(blind_minutes) FROM coverage")
    assert tuple(row) == (3, 1, 0)


def test_a_gap_from_the_beginning_of_time_is_bounded(store: Store) -> None:
    run(store, 0, Page(gaps=((at(-24 * 9999), at(-1)),)))
    (one,) = listening(store)
    assert minutes(one.gaps) == (400 * 24 - 1) * 60
    assert store.value("SELECT count(*) FROM coverage") <= 400 * 24 + 1


def test_runs_of_earlier_versions_are_taken_over(tmp_path: Path) -> None:
    path = tmp_path / "listener.db"
    with closing(Database(path)) as database:
        migrations.apply(database, stop_before="m003_sources")
        for source, minute, status, error in (
            ("x", 1, "ok", None),
            ("x", 2, "partial", "the cap"),
            ("x", 3, "partial", "stopped"),
            ("x", 4, "partial", None),
            ("import:/a", 5, "ok", None),
        ):
            database.execute(
                "INSERT INTO runs (source, query, started_at, status, pages, returned, kept, new, "
                "warnings, error) VALUES (?, 'q', ?, ?, 1, 10, 2, 1, 0, ?)",
                (source, f"2026-03-10T12:0{minute}:00Z", status, error),
            )
        database.conn.commit()
    with Store(path) as store:
        rows = store.rows("SELECT source, fetched, kept, new, truncated FROM coverage_hourly")
        assert [tuple(row) for row in rows] == [("import:/a", 10, 2, 1, 0), ("x", 40, 8, 4, 2)]
        (one,) = listening(store)
        first = NOW + timedelta(minutes=1)
        assert (one.since, one.covered_until) == (first, first)
