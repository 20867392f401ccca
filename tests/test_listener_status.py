from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from builders import (
    NOW,
    RECIPIENTS,
    FakeConnector,
    at,
    config,
    matcher,
    mention,
    page,
    store_in,
)
from click.testing import CliRunner

from connectors.base import BudgetSpent, Cost, Page, RetryAt, Transient
from listener.cli import main
from listener.collect import Collected, Source, collect, record
from listener.statement import SourceCoverage, statement
from listener.status import coverage_rows, status_rows
from listener.store import Store
from listener.vocabulary import queries

SOURCES = """
[sources.sample]
enabled = false
[sources.hackernews]
enabled = true
every_minutes = 30
[sources.x]
enabled = true
bearer_token = { env = "X_BEARER_TOKEN" }
monthly_cap_dollars = 20.0
[sources.rss]
enabled = true
feeds = [{ url = "https://example.org/feed" }]
"""
SETTINGS = config(RECIPIENTS + SOURCES)


@pytest.fixture
def store(tmp_path: Path) -> Iterator[Store]:
    yield from store_in(tmp_path)


def run(
    store: Store,
    hours: float,
    name: str,
    *pages: Page,
    error: Exception | None = None,
    by_query: bool = False,
    **money: int,
) -> None:
    connector = FakeConnector(pages, error=error, by_query=by_query)
    source = Source(name=name, connector=connector, **money)
    collect(store, [source], queries(SETTINGS), matcher(), now=at(hours))


def heard(store: Store, hours: float = 0, **more: bool) -> dict[str, SourceCoverage]:
    rows = statement(store, SETTINGS, since=at(hours - 24), until=at(hours), **more)
    return {f"{row.source} {row.query}".strip(): row for row in rows}


# -- the statement


def test_every_enabled_source_has_a_row_in_the_order_of_the_configuration(store: Store) -> None:
    run(store, 0, "files:/a/path.csv", page(mention("1")))
    rows = heard(store)
    assert list(rows) == ["hackernews", "rss", "x", "files"]
    assert {row.state for row in list(rows.values())[:3]} == {"silent"}
    assert (rows["files"].fetched, rows["files"].whole) == (1, True)
    assert not rows["x"].whole


def test_a_source_is_late_after_its_own_interval(store: Store) -> None:
    run(store, -2, "hackernews")
    run(store, -1, "hackernews")
    assert heard(store, -0.5)["hackernews"].blind_minutes == 0
    assert heard(store, 0)["hackernews"].blind_minutes == 60
    run(store, -1, "rss")
    assert heard(store, 0)["rss"].blind_minutes == 0, "it is asked once an hour"
    assert heard(store, 0)["rss"].covered_until == at(-1)
    assert heard(store, 1)["rss"].lost_minutes == 0


def test_blind_minutes_are_those_of_the_period_and_of_any_search(store: Store) -> None:
    run(store, -48, "x", by_query=True)
    run(store, -30, "x", Page(gaps=((at(-25), at(-20)), (at(-40), at(-39)))), by_query=True)
    run(store, 0, "x", by_query=True)
    found = heard(store)["x"]
    assert (found.blind_minutes, found.whole) == (0, True), "the gap began in the future"
    run(store, 1, "x", Page(gaps=((at(-25), at(-20)),)), by_query=True)
    found = heard(store, 1)["x"]
    assert found.blind_minutes == found.lost_minutes == 3 * 60
    assert found.searches == found.blind_searches == len(queries(SETTINGS))
    by_query = heard(store, 1, by_query=True)
    names = [f"x {query.name}" for query in queries(SETTINGS)]
    assert sorted(names) == sorted(name for name in by_query if name.startswith("x"))
    assert {by_query[name].blind_minutes for name in names} == {180}
    assert {by_query[name].cap for name in names} == {None}


def test_searches_that_were_cut_short_count_until_they_catch_up(store: Store) -> None:
    run(store, -3, "x", by_query=True)
    run(store, -2, "x", error=BudgetSpent("the budget ended"), by_query=True)
    found = heard(store)["x"]
    assert (found.cut, found.truncated, found.state) == (len(queries(SETTINGS)),) * 2 + ("partial",)
    assert found.blind_minutes == 180
    run(store, -1, "x", by_query=True)
    found = heard(store)["x"]
    assert (found.cut, found.truncated, found.blind_minutes) == (0, len(queries(SETTINGS)), 0)
    assert found.whole


def test_a_wait_says_until_when_and_threads_play_no_part(store: Store) -> None:
    run(store, -3, "x")
    run(store, -2, "x", error=RetryAt(at(2)))
    failed = Collected(source="x:threads", query="", status="failed", error="odd", returned=7)
    record(store, failed, at(-1))
    with store.write() as connection:
        connection.execute(
            "INSERT INTO cursors (source, query, retry_at, updated_at) "
            "VALUES ('x:refresh', '', '2026-03-11T00:00:00Z', '')"
        )
    found = heard(store)["x"]
    assert (found.state, found.waits_until, found.limited) == ("waiting", at(2), 1)
    assert (found.fetched, found.failures) == (7, 1)
    assert heard(store, 3)["x"].waits_until is None


def test_money_is_that_of_the_month_with_all_parts(store: Store) -> None:
    cost = Cost(requests=1, micro_dollars=300_000)
    run(store, -24 * 10, "x", page(cost=cost))
    for hours in (-24 * 9, -2):
        run(store, hours, "x:mentions", page(cost=cost), monthly_cap=20_000_000)
    run(store, -1, "x", page(cost=cost), monthly_cap=20_000_000, reserved=4_000_000)
    found = heard(store)["x"]
    assert (found.spent, found.cap, found.reserved) == (900_000, 20_000_000, 4_000_000)
    assert heard(store, -3)["x"].spent == 300_000
    assert heard(store)["hackernews"].cap is None


# -- the rows


def test_status_tells_what_was_not_heard(store: Store) -> None:
    run(store, -4, "x", monthly_cap=20_000_000)
    cost = Cost(requests=1, micro_dollars=1_200_000)
    error = RetryAt(at(1))

    run(
        store,
        -3,
        "x",
        page(mention("1"), cost=cost),
        error=error,
        monthly_cap=20_000_000,
        reserved=400_000,
    )
    run(store, -0.5, "hackernews", page(mention("2")))
    rows = {row["what"]: row for row in coverage_rows(store, SETTINGS, now=NOW)}
    assert rows["coverage x"]["value"] == "blind 240 min"
    assert rows["coverage x"]["note"] == (
        "covered until 2026-03-10T08:00:00Z; 1 asked to wait; waits until 2026-03-10T13:00:00Z; "
        "1.20 of 20.00 dollars this month, 0.40 reserved for deletions"
    )
    assert rows["coverage hackernews"]["value"] == "no gap"
    assert rows["coverage hackernews"]["note"] == "covered until 2026-03-10T11:30:00Z"
    assert rows["coverage rss"]["value"] == "never asked"
    figures = {
        "covered_until": "2026-03-10T08:00:00Z",
        "blind_minutes": 240,
        "limited": 1,
        "truncated": 0,
        "failed": 0,
        "spent_dollars": 1.2,
        "cap_dollars": 20.0,
        "reserved_dollars": 0.4,
    }
    assert figures.items() <= rows["coverage x"].items()


def test_a_source_that_keeps_failing_says_since_when(store: Store) -> None:
    def note() -> str:
        rows: list[dict[str, Any]] = status_rows(store, now=NOW)
        return next(str(row["note"]) for row in rows if row["what"] == "source rss")

    error = Transient("no network")
    for hours in (-9, -8):
        run(store, hours, "rss", error=error)
    run(store, -7, "rss")
    for hours in (-6, -5, -4, -3):
        run(store, hours, "rss", error=error)
    assert note() == "no network"
    run(store, -2, "rss", error=error)
    assert note() == "failed 5 times in a row since 2026-03-10T06:00:00Z: no network"
    run(store, -1, "rss", error=RetryAt(at(1)))
    assert "in a row" not in note()


@pytest.mark.parametrize("words", [[], ["--queries"]])
def test_the_command_shows_it(tmp_path: Path, words: list[str]) -> None:
    runner = CliRunner()
    settings = tmp_path / "config.toml"
    settings.write_text('[brand]\nname = "Lumora"\n' + SOURCES, "utf-8")
    with Store(tmp_path / "listener.db") as store:
        run(store, 0, "hackernews", page(mention("1")), by_query=True)
    base = ["-c", str(settings), "--db", str(tmp_path / "listener.db"), "status", *words]
    told = runner.invoke(main, [*base, "--json"])
    assert told.exit_code == 0, told.output
    rows = {row["what"]: row for row in json.loads(told.stdout)}
    found = [row for what, row in rows.items() if what.startswith("coverage hackernews")]
    assert len(found) == (len(queries(SETTINGS)) if words else 1)
    assert {row["covered_until"] for row in found} == {"2026-03-10T12:00:00Z"}
    table = runner.invoke(main, [*base, "--csv"])
    assert table.stdout.splitlines()[0] == "what,value,note"
