from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from datetime import datetime
from pathlib import Path

import pytest
from builders import NOW, FakeConnector, at, config, store_in

from connectors.base import (
    Budget,
    BudgetSpent,
    Capabilities,
    Compiled,
    ConnectorError,
    Cost,
    Estimate,
    NeedsAuth,
    Query,
    Transient,
)
from listener.collect import Source
from listener.ingest import Place, postpone, read_cursor, save_page
from listener.pricing import Preview, as_rows, preview, told, told_total, totals
from listener.store import Store

X = """
[sources.x]
enabled = true
bearer_token = { env = "X_BEARER_TOKEN" }
monthly_cap_dollars = 1.0
"""
QUERIES = tuple(Query(name=name, kind="brand", any_of=(name,)) for name in ("one", "two"))
COUNTING = 5_000


@pytest.fixture
def store(tmp_path: Path) -> Iterator[Store]:
    yield from store_in(tmp_path)


@dataclass
class Paid(FakeConnector):
    """Finds `posts` in a week for each query, at half a cent; counting costs as much."""

    source: str = "x"
    by_query: bool = True
    posts: Mapping[str, int | ConnectorError] = field(default_factory=dict)
    counted: list[tuple[str, Budget]] = field(default_factory=list)

    def capabilities(self) -> Capabilities:
        return Capabilities(by_query=self.by_query, gives="posts", cost="paid per post")

    def compile(self, query: Query) -> Compiled:
        return Compiled(searches=(f"({query.name})", f"{query.name} again"), clauses=())

    def estimate(self, query: Query, *, budget: Budget, now: datetime) -> Estimate:
        self.counted.append((query.name, budget))
        if budget.micro_dollars is not None and budget.micro_dollars < COUNTING:
            raise BudgetSpent("too dear to count")
        posts = self.posts.get(query.name, 70)
        if isinstance(posts, ConnectorError):
            raise posts
        cost = Cost(requests=1, micro_dollars=COUNTING)
        return Estimate(posts=posts, days=7, micro_dollars=posts * 5_000, cost=cost)


def x(connector: Paid, cap: int | None = 1_000_000) -> Source:
    return Source(name="x", connector=connector, monthly_cap=cap)


def priced(store: Store, source: Source, budget: Budget = Budget()) -> list[Preview]:
    return preview(store, [source], QUERIES, budget=budget, now=NOW)


def test_each_query_is_priced_and_counting_is_in_the_ledger(store: Store) -> None:
    connector = Paid(posts={"two": 0})
    save_page(store, Place("x", "one"), (), cursor={"at": 1}, now=NOW)
    one, two = priced(store, x(connector))
    assert one.searches == ("(one)", "one again")
    assert one.daily == (10.0, 50_000.0)
    assert told(one) == "10.0 posts a day, $0.05 a day, $1.50 a month"
    assert two.daily == (0.0, 0.0)
    assert told(two) == "0.0 posts a day, $0.00 a day, $0.00 a month"
    rows = store.rows("SELECT source, query, requests, micro_dollars FROM spend ORDER BY query")
    assert [tuple(row) for row in rows] == [
        ("x:counts", "one", 1, COUNTING),
        ("x:counts", "two", 1, COUNTING),
    ]
    assert connector.asked == []
    assert read_cursor(store, Place("x", "one"))[0] == {"at": 1}
    assert store.value("SELECT count(*) FROM runs") == 0


def test_the_total_stands_beside_the_cap_and_what_is_left(store: Store) -> None:
    cost = Cost(micro_dollars=90_000)
    save_page(store, Place("x:threads", ""), (), cursor=None, cost=cost, now=NOW)
    source = x(Paid())
    rows = priced(store, source)
    (total,) = totals(store, [source], rows, config(X), now=NOW)
    assert (total.posts_a_day, total.micro_dollars_a_day) == (20.0, 100_000.0)
    assert (total.counting, total.cap, total.left) == (10_000, 1_000_000, 900_000)
    assert told_total(total) == (
        "20.0 posts a day, $0.10 a day, $3.00 a month; cap $1.00 a month, $0.90 left of this one; "
        "the cap lasts 10 days: narrow the queries or raise it; counting has cost $0.01; "
        "prices of 2026-11-22"
    )
    shown = as_rows(rows, [total])
    assert [row["query"] for row in shown] == ["one", "two", "all"]
    assert shown[0]["searches"] == "(one)\none again"
    assert [row["dollars_a_month"] for row in shown] == [1.5, 1.5, 3.0]


def test_counting_keeps_to_the_money_of_the_run(store: Store) -> None:
    connector = Paid()
    one, two = priced(store, x(connector), Budget(micro_dollars=COUNTING + 1))
    assert (one.error, two.error, two.short) == (None, "too dear to count", True)
    assert [budget.micro_dollars for _, budget in connector.counted] == [COUNTING + 1, 1]
    assert store.value("SELECT sum(micro_dollars) FROM spend") == COUNTING
    (total,) = totals(store, [x(connector)], [one, two], config(X), now=NOW)
    assert total.uncounted == 1
    assert "1 queries are not in it" in told_total(total)


def test_counting_keeps_to_the_cap(store: Store) -> None:
    connector = Paid()
    one, two = priced(store, x(connector, cap=COUNTING))
    assert one.estimate is not None
    assert two.short
    assert two.error is not None
    assert "cap" in two.error
    assert [name for name, _ in connector.counted] == ["one"]
    assert totals(store, [x(connector, COUNTING)], [one, two], config(X), now=NOW)[0].left == 0


@pytest.mark.parametrize("error", [NeedsAuth("set the token"), Transient("no network")])
def test_a_source_that_fails_is_asked_once(store: Store, error: ConnectorError) -> None:
    connector = Paid(posts={"one": error})
    rows = priced(store, x(connector))
    assert [row.error for row in rows] == [str(error)] * 2
    assert not any(row.short for row in rows)
    assert all(row.searches for row in rows)
    assert len(connector.counted) == 1
    assert totals(store, [x(connector)], rows, config(X), now=NOW) == []


def test_a_source_that_asked_to_wait_is_not_asked(store: Store) -> None:
    postpone(store, Place("x", "one"), at(1), now=NOW)
    connector = Paid()
    rows = priced(store, x(connector))
    assert connector.counted == []
    assert "asked to wait until 2026-03-10T13:00:00Z" in told(rows[0])


def test_free_sources_say_so_and_write_nothing(store: Store) -> None:
    sources = [
        Source(name="feed", connector=FakeConnector()),
        Source(name="search", connector=FakeConnector(by_query=True)),
    ]
    rows = preview(store, sources, QUERIES, now=NOW)
    assert [(row.source, row.query, told(row)) for row in rows] == [
        ("feed", "", "free"),
        ("search", "one", "free"),
        ("search", "two", "free"),
    ]
    assert totals(store, sources, rows, config(), now=NOW) == []
    assert store.value("SELECT count(*) FROM spend") == 0


def test_a_paid_source_that_cannot_count_says_what_it_charges(store: Store) -> None:
    source = Source(name="x:mentions", connector=Paid(by_query=False))
    (row,) = priced(store, source)
    assert (row.query, told(row)) == ("", "paid per post")
