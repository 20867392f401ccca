from __future__ import annotations

import logging
import signal
import subprocess
import sys
import threading
from collections.abc import Iterator, Sequence
from dataclasses import replace
from datetime import datetime
from pathlib import Path
from typing import Any

import pytest
from builders import (
    NOW,
    FakeConnector,
    at,
    config,
    matcher,
    mention,
    page,
    put,
    store_in,
    tombstone,
)

from connectors.base import (
    BadConfig,
    Budget,
    BudgetSpent,
    Capabilities,
    Connector,
    ConnectorError,
    Cost,
    Cursor,
    NeedsAuth,
    Page,
    Query,
    RetryAt,
    Transient,
)
from listener.collect import REPEATS, Collected, Source, collect, purse, spent
from listener.ingest import Place, read_cursor
from listener.steps import Stopped
from listener.store import Store, StoreError
from listener.vocabulary import queries

ROOT = Path(__file__).parents[1]


@pytest.fixture
def store(tmp_path: Path) -> Iterator[Store]:
    yield from store_in(tmp_path)


def gather(
    store: Store,
    *connectors: Connector,
    hours: float = 0,
    asked: Sequence[Query] = (),
    budget: Budget = Budget(),
) -> list[Collected]:
    sources = [Source(name=f"s{n}", connector=one) for n, one in enumerate(connectors, 1)]
    return collect(store, sources, asked, matcher(), budget=budget, now=at(hours))


def ids(store: Store) -> list[str]:
    rows = store.rows("SELECT native_id FROM mentions ORDER BY native_id")
    return [row["native_id"] for row in rows]


def loose(*pages: Page, error: Exception | None = None) -> FakeConnector:
    return FakeConnector(pages, prefiltered=False, error=error)


# -- pages


def test_pages_cursors_and_counts(store: Store) -> None:
    connector = FakeConnector(
        [page(mention("1"), mention("2"), returned=5), page(mention("3"), returned=2), page()]
    )
    (result,) = gather(store, connector)
    assert result == Collected(source="s1", query="", pages=3, returned=7, kept=3, new=3)
    assert ids(store) == ["1", "2", "3"]
    (run,) = store.rows("SELECT * FROM runs")
    assert (run["source"], run["status"], run["started_at"]) == ("s1", "ok", "2026-03-10T12:00:00Z")
    assert [run[key] for key in ("pages", "returned", "kept", "new", "error")] == [3, 7, 3, 3, None]
    (again,) = gather(store, connector)
    assert (again.returned, again.kept, again.new) == (7, 3, 0)


def test_the_cursor_of_the_last_page_is_given_back(store: Store) -> None:
    connector = FakeConnector([page(mention("1")), page(mention("2"))])
    gather(store, connector)
    gather(store, connector)
    assert connector.asked == [(None, None), (None, {"last": "2"})]


def test_each_query_has_its_own_cursor(store: Store) -> None:
    asked = queries(config())
    connector = FakeConnector([page(mention("1"))], by_query=True)
    results = gather(store, connector, asked=asked)
    assert [result.query for result in results] == [query.name for query in asked]
    assert len(asked) > 2
    gather(store, connector, asked=asked[:1])
    assert connector.asked[-1] == (asked[0].name, {"last": "1"})
    assert read_cursor(store, Place("s1", asked[1].name))[0] == {"last": "1"}


def test_warnings_are_counted_and_told(store: Store) -> None:
    pages = [Page(warnings=("line 3: no date",)), Page(warnings=("line 9: no id", "line 11"))]
    (result,) = gather(store, FakeConnector(pages))
    assert result.warnings == ("line 3: no date", "line 9: no id", "line 11")
    assert store.value("SELECT warnings FROM runs") == 3


def test_spend_is_written_down(store: Store) -> None:
    cost = Cost(requests=1, resources=2, micro_dollars=30)
    gather(store, FakeConnector([page(mention("1"), cost=cost), page(mention("2"), cost=cost)]))
    (spent,) = store.rows("SELECT sum(requests), sum(resources), sum(micro_dollars) FROM spend")
    assert tuple(spent) == (2, 4, 60)


# -- faults


@pytest.mark.parametrize(
    ("error", "status", "note"),
    [
        (Transient("no network"), "failed", "no network"),
        (NeedsAuth("set TOKEN"), "failed", "set TOKEN"),
        (BadConfig("no such feed"), "failed", "no such feed"),
        (ConnectorError("odd"), "failed", "odd"),
        (BudgetSpent("3 pages left"), "partial", "3 pages left"),
        (RetryAt(at(1)), "waiting", "rate limited; next try at 2026-03-10 13:00:00 UTC"),
        (KeyError("private words"), "failed", "unexpected KeyError"),
        (RecursionError("private words"), "failed", "unexpected RecursionError"),
    ],
)
def test_a_source_that_fails_keeps_its_pages_and_stops_no_other(
    store: Store, error: Exception, status: str, note: str, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.INFO)
    bad = FakeConnector([page(mention("1"), returned=4)], error=error)
    good = FakeConnector([page(mention("2"))])
    first, second = gather(store, bad, good)
    assert (first.status, first.error) == (status, note)
    assert (first.pages, first.returned, first.new) == (1, 4, 1)
    assert (second.source, second.status, second.new) == ("s2", "ok", 1)
    assert ids(store) == ["1", "2"]
    assert read_cursor(store, Place("s1", ""))[0] == {"last": "1"}
    rows = store.rows("SELECT status, error FROM runs ORDER BY source")
    assert [tuple(row) for row in rows] == [(status, note), ("ok", None)]
    assert first.passing is isinstance(error, Transient)
    assert "private" not in caplog.text


def test_a_failed_source_is_not_asked_its_other_queries(store: Store) -> None:
    connector = FakeConnector(error=Transient("no network"), by_query=True)
    results = gather(store, connector, asked=queries(config()))
    assert [result.status for result in results] == ["failed"]
    assert len(connector.asked) == 1


def test_a_spent_budget_does_not_stop_other_queries(store: Store) -> None:
    asked = queries(config())
    connector = FakeConnector(error=BudgetSpent("later"), by_query=True)
    results = gather(store, connector, asked=asked)
    assert [result.status for result in results] == ["partial"] * len(asked)


def test_a_wait_is_kept_over_restarts_and_ends(tmp_path: Path) -> None:
    path = tmp_path / "listener.db"
    connector = FakeConnector([page(mention("1"))], error=RetryAt(at(2)))
    with Store(path) as store:
        assert gather(store, connector)[0].status == "waiting"
    with Store(path) as store:
        (result,) = gather(store, connector, hours=1.9)
        assert (result.status, result.pages) == ("waiting", 0)
        assert result.error == "asked to wait until 2026-03-10T14:00:00Z"
        assert len(connector.asked) == 1
        assert gather(store, FakeConnector([page(mention("2"))]), hours=2)[0].status == "ok"
        assert read_cursor(store, Place("s1", "")) == ({"last": "2"}, None)
        assert gather(store, connector, hours=1)[0].pages == 1


def test_a_site_that_asks_to_wait_is_asked_nothing_else(store: Store) -> None:
    asked = queries(config())

    class Limited(FakeConnector):
        def collect(
            self, query: Query | None, cursor: Cursor | None, *, budget: Budget, now: object
        ) -> Iterator[Page]:
            self.asked.append((query.name if query else None, cursor))
            yield page(mention(str(len(self.asked))))
            if len(self.asked) == 2:
                raise RetryAt(at(2))

    connector = Limited(by_query=True)
    other = FakeConnector([page(mention("other"))])
    results = gather(store, connector, other, asked=asked)
    assert [result.status for result in results] == ["ok", "waiting", "ok"]
    results = gather(store, connector, other, asked=asked, hours=1)
    assert [result.status for result in results] == ["waiting", "ok"]
    assert len(connector.asked) == 2
    results = gather(store, connector, asked=asked, hours=2)
    assert [result.status for result in results] == ["ok"] * len(asked)


def test_a_store_that_fails_ends_the_round(store: Store) -> None:
    pages = store.value("PRAGMA page_count")
    store.rows(f"PRAGMA max_page_count = {pages + 2}")
    full = FakeConnector([page(mention("1", "x" * 100_000))])
    after = FakeConnector([page(mention("2"))])
    # Parts of one source, which are asked in this thread, through the store that is full.
    parts = [Source(name="s", connector=full), Source(name="s:more", connector=after)]
    with pytest.raises(StoreError, match="disk is full"):
        collect(store, parts, [], matcher(), now=NOW)
    assert after.asked == []
    assert ids(store) == []


def test_a_stop_keeps_the_pages_before_it(store: Store) -> None:
    def stop(_: int) -> None:
        raise Stopped

    connector = FakeConnector([page(mention("1")), page(mention("2"))])
    source = Source(name="s1", connector=connector)
    with pytest.raises(Stopped):
        collect(store, [source], [], matcher(), now=NOW, progress=lambda _n, _t: stop)
    assert ids(store) == ["1"]
    assert read_cursor(store, Place("s1", ""))[0] == {"last": "1"}
    (run,) = store.rows("SELECT status, error, pages, new FROM runs")
    assert tuple(run) == ("partial", "stopped", 1, 1)


# -- what is kept


def test_loose_records_must_name_something_of_ours(store: Store) -> None:
    records = page(
        mention("1", "About my Lumora"),
        mention("2", "About the weather"),
        mention("3", "the weather", title="MOKETTO or not"),
        mention("4", ""),
    )
    (result,) = gather(store, loose(records))
    assert (result.returned, result.kept, result.new) == (4, 2, 2)
    assert ids(store) == ["1", "3"]


def test_chosen_records_are_kept_as_they_are(store: Store) -> None:
    (result,) = gather(store, FakeConnector([page(mention("1", "About the weather"))]))
    assert (result.kept, ids(store)) == (1, ["1"])


@pytest.mark.parametrize("link", ["parent_id", "root_id"])
def test_answers_to_what_is_kept_are_kept(store: Store, link: str) -> None:
    put(store, mention("stored", "anything"), mention("stored", "x", source="elsewhere"))

    def to(native_id: str) -> dict[str, Any]:
        return {link: native_id}

    records = page(
        mention("1", "yes", **to("stored")),
        mention("2", "Lumora"),
        mention("3", "no", **to("2")),
        mention("4", "why", **to("unknown")),
        mention("5", "why", **to("stored"), source="other"),
    )
    (result,) = gather(store, loose(records))
    assert (result.returned, result.kept) == (5, 3)
    assert ids(store) == ["1", "2", "3", "stored", "stored"]


@pytest.mark.parametrize("order", [(0, 1, 2, 3), (3, 2, 1, 0), (2, 0, 3, 1)])
def test_answers_to_answers_are_kept_in_any_order(store: Store, order: tuple[int, ...]) -> None:
    records = [
        mention("1", "Lumora"),
        mention("2", "yes", parent_id="1"),
        mention("3", "no", parent_id="2"),
        mention("4", "maybe", parent_id="9"),
    ]
    gather(store, loose(page(*(records[n] for n in order))))
    assert ids(store) == ["1", "2", "3"]


def test_what_was_taken_down_counts_as_no_new_post(store: Store) -> None:
    put(store, mention("1", "Lumora"), updates=[tombstone("1")])
    (result,) = gather(store, loose(page(mention("1", "Lumora"), mention("2", "Lumora"))))
    assert (result.kept, result.new) == (2, 1)


def test_no_sources(store: Store) -> None:
    assert gather(store) == []


# -- pages without end


class Endless(FakeConnector):
    """Gives one page for ever, which says that there is more."""

    read = 0

    def collect(
        self, query: Query | None, cursor: Cursor | None, *, budget: Budget, now: datetime
    ) -> Iterator[Page]:
        while True:
            self.read += 1
            yield replace(self.pages[0], more=True)


@pytest.mark.parametrize("one", [page(mention("1")), page(), Page(cursor={"token": "t"})])
def test_the_same_page_again_and_again_ends_the_run_with_a_warning(store: Store, one: Page) -> None:
    connector = Endless([one])
    (result,) = gather(store, connector)
    assert connector.read == 1 + REPEATS, "a page, and those like it"
    assert (result.status, len(result.warnings)) == ("partial", 1)
    assert "again and again" in result.warnings[0]
    assert store.value("SELECT truncated FROM coverage") == 1


def test_pages_that_repeat_a_cursor_or_posts_but_go_on_are_all_read(store: Store) -> None:
    many = range(REPEATS + 5)
    still = [Page(mentions=(mention(f"{n}"),), cursor={"at": 1}, more=True) for n in many]
    seen = [Page(mentions=(mention("0"),), cursor={"at": n}, more=True) for n in many]
    nothing = [Page(cursor={"at": 1}, more=True)] * REPEATS
    (result,) = gather(store, FakeConnector([*still, *seen, *nothing, page()]))
    pages = 2 * len(many) + REPEATS + 1
    assert (result.status, result.pages, result.warnings) == ("ok", pages, ())


def test_a_source_that_ends_with_more_to_read_is_not_complete(store: Store) -> None:
    (result,) = gather(store, FakeConnector([replace(page(mention("1")), more=True)]))
    assert result.status == "partial"
    assert "goes on from there" in str(result.error)


# -- side by side


class Waits(FakeConnector):
    """Gives its page when it is let go, as it is in time if others go on meanwhile."""

    go = threading.Event()
    let_go = False

    def collect(
        self, query: Query | None, cursor: Cursor | None, *, budget: Budget, now: datetime
    ) -> Iterator[Page]:
        self.let_go = self.go.wait(timeout=30)
        yield from super().collect(query, cursor, budget=budget, now=now)


class LetsGo(FakeConnector):
    go = threading.Event()

    def collect(
        self, query: Query | None, cursor: Cursor | None, *, budget: Budget, now: datetime
    ) -> Iterator[Page]:
        yield from super().collect(query, cursor, budget=budget, now=now)
        self.go.set()


def test_a_source_that_hangs_delays_no_other_and_rows_keep_their_order(store: Store) -> None:
    slow, quick = Waits([page(mention("1"))]), LetsGo([page(mention("2"))])
    slow.go = quick.go = threading.Event()
    first, second = gather(store, slow, quick)
    assert slow.let_go, "the second source was asked while the first one hung"
    assert (first.source, second.source, first.new, second.new) == ("s1", "s2", 1, 1)
    assert ids(store) == ["1", "2"]


def test_parts_of_a_source_and_paid_sources_are_asked_one_after_the_other(store: Store) -> None:
    log: list[str] = []

    class Logs(FakeConnector):
        cost = "free"

        def capabilities(self) -> Capabilities:
            return replace(super().capabilities(), cost=self.cost)

        def collect(
            self, query: Query | None, cursor: Cursor | None, *, budget: Budget, now: datetime
        ) -> Iterator[Page]:
            log.append(f"{self.source} begins")
            yield from ()
            log.append(f"{self.source} ends")

    sources = [
        Source(name="x:mentions", connector=Logs(source="a"), monthly_cap=9),
        Source(name="x", connector=Logs(source="b"), monthly_cap=9),
        Source(name="free", connector=Logs(source="c")),
        Source(name="dear", connector=Logs(source="d")),
    ]
    dear = sources[3].connector
    assert isinstance(dear, Logs)
    dear.cost = "paid"
    results = collect(store, sources, [], matcher(), now=NOW)
    assert [one.source for one in results] == ["x:mentions", "x", "free", "dear"]
    paid = [line for line in log if line[0] in "abd"]
    assert paid == [f"{name} {what}" for name in "abd" for what in ("begins", "ends")]
    assert len(log) == 8


def test_a_store_that_fails_in_one_lane_ends_the_round(store: Store) -> None:
    broken = FakeConnector(error=StoreError("the disk is full"))
    with pytest.raises(StoreError, match="disk is full"):
        gather(store, broken, FakeConnector([page(mention("1"))]))
    assert store.value("SELECT count(*) FROM runs WHERE source = 's1'") == 0


def test_a_stop_ends_every_lane_after_its_page(store: Store) -> None:
    def stop(_: int) -> None:
        raise Stopped

    pages = [page(mention("1")), page(mention("2"))]
    sources = [Source(name=name, connector=FakeConnector(pages)) for name in "ab"]
    with pytest.raises(Stopped):
        collect(store, sources, [], matcher(), now=NOW, progress=lambda _n, _t: stop)
    assert ids(store) == ["1"]
    rows = store.rows("SELECT status, error, pages FROM runs")
    assert {tuple(row) for row in rows} == {("partial", "stopped", 1)}


def test_a_store_without_a_file_is_read_source_by_source() -> None:
    with Store(":memory:") as memory:
        results = gather(memory, *(FakeConnector([page(mention(n))]) for n in "123"))
        assert [one.new for one in results] == [1, 1, 1]
        assert ids(memory) == ["1", "2", "3"]


# -- killed

PAGES, EACH = 6, 7
KILLED = """
import os, signal, sys
from datetime import UTC, datetime
from connectors.base import Capabilities, Cost, Mention, Page
from listener.collect import Source, collect
from listener.store import Store

path, pages, each, last = sys.argv[1], *map(int, sys.argv[2:])
now = datetime(2026, 3, 10, 12, tzinfo=UTC)

class Numbered:
    source = "forum"
    def capabilities(self):
        return Capabilities(by_query=False, prefiltered=True, gives="posts")
    def collect(self, query, cursor, *, budget, now):
        for at in range((cursor or {"at": 0})["at"], pages):
            if at == last:
                os.kill(os.getpid(), signal.SIGKILL)
            posts = tuple(
                Mention(source="forum", native_id=f"{at}-{n}", text="Lumora", published_at=now)
                for n in range(each)
            )
            yield Page(mentions=posts, cursor={"at": at + 1}, more=at + 1 < pages, returned=each,
                cost=Cost(requests=1, micro_dollars=5))

with Store(path) as store:
    collect(store, [Source(name="forum", connector=Numbered())], [], None, now=now)
"""


def test_killed_between_any_two_pages_nothing_is_lost_or_doubled(tmp_path: Path) -> None:
    path = tmp_path / "listener.db"
    codes = []
    for last in (0, 1, 3, 4, PAGES):
        words = [sys.executable, "-c", KILLED, str(path), *map(str, (PAGES, EACH, last))]
        codes.append(subprocess.run(words, cwd=ROOT, check=False).returncode)
        if last < PAGES:
            with Store(path) as store:
                assert len(ids(store)) == last * EACH
    assert codes == [-signal.SIGKILL] * 4 + [0]
    with Store(path) as store:
        assert len(ids(store)) == PAGES * EACH
        (row,) = store.rows("SELECT * FROM coverage_hourly")
        assert (row["fetched"], row["kept"], row["new"]) == (PAGES * EACH,) * 3
        assert row["micro_dollars"] == PAGES * 5
        assert store.value("SELECT covered_until FROM coverage_places") == "2026-03-10T12:00:00Z"


# -- a look back


def test_a_look_back_has_cursors_of_its_own_and_waits_with_the_others(store: Store) -> None:
    asked = queries(config())[:1]
    usual, back = at(-1), Budget(since=at(-90 * 24))
    connector = FakeConnector([page(mention("1"))], by_query=True)
    source = Source(name="s", connector=connector)

    def look_back(hours: float) -> Collected:
        (result,) = collect(
            store, [source], asked, matcher(), budget=back, since="2025-12-10", now=at(hours)
        )
        return result

    collect(store, [source], asked, matcher(), now=usual)
    first = look_back(0)
    assert (first.source, first.query, first.status) == ("s:since", asked[0].name, "ok")
    look_back(1)
    assert [cursor for _, cursor in connector.asked] == [None, None, {"last": "1"}]
    assert store.value("SELECT max(covered_until) FROM coverage_places") == "2026-03-10T11:00:00Z"
    assert store.value("SELECT count(*) FROM coverage_places") == 1
    connector.error = RetryAt(at(9))
    assert look_back(2).status == "waiting"
    (result,) = collect(store, [source], asked, matcher(), now=at(3))
    assert (result.source, result.status, len(connector.asked)) == ("s", "waiting", 4)
    assert look_back(4).status == "waiting"
    assert len(connector.asked) == 4


def test_posts_removed_from_a_firehose_leave_no_tombstones(store: Store) -> None:
    class Firehose(FakeConnector):
        def capabilities(self) -> Capabilities:
            return replace(super().capabilities(), firehose=True)

    removed = Page(mentions=(mention("1"),), updates=(tombstone("9"),), cursor={"at": 1})
    gather(store, Firehose([removed]))
    assert store.value("SELECT count(*) FROM tombstones") == 0
    gather(store, FakeConnector([removed]))
    assert store.value("SELECT count(*) FROM tombstones") == 1


# -- money


class Paid(FakeConnector):
    """A page a question, which costs as told; remembers what it might have spent."""

    purses: list[int | None]

    def capabilities(self) -> Capabilities:
        return replace(super().capabilities(), cost="a fee for each question")

    def collect(
        self, query: Query | None, cursor: Cursor | None, *, budget: Budget, now: datetime
    ) -> Iterator[Page]:
        self.purses.append(budget.micro_dollars)
        yield from super().collect(query, cursor, budget=budget, now=now)


def paid(cost: int) -> Paid:
    made = Paid(pages=[page(cost=Cost(requests=1, micro_dollars=cost))], by_query=True)
    made.purses = []
    return made


def test_the_purse_of_a_run_is_shared_by_its_questions(store: Store) -> None:
    first, second = paid(300), paid(300)
    asked = queries(config())[:2]
    gather(store, first, second, asked=asked, budget=Budget(micro_dollars=1_000))
    assert first.purses + second.purses == [1_000, 700, 400, 100]
    gather(store, first, asked=asked[:1], budget=Budget(micro_dollars=1_000))
    assert first.purses[-1] == 1_000, "another run has a purse of its own"


def test_the_cap_of_a_month_holds_over_runs_and_parts(store: Store) -> None:
    asked = queries(config())[:1]
    search, owned, other = paid(400), paid(400), paid(400)

    def run(hours: float = 0) -> list[str]:
        sources = [
            Source(name="x:mentions", connector=owned, monthly_cap=1_000),
            Source(name="x", connector=search, monthly_cap=1_000),
            Source(name="xy", connector=other),
        ]
        return [one.status for one in collect(store, sources, asked, matcher(), now=at(hours))]

    assert run() == ["ok", "ok", "ok"]
    assert (owned.purses, search.purses, other.purses) == ([1_000], [600], [None])
    assert run(1) == ["ok", "partial", "ok"]
    assert owned.purses == [1_000, 200]
    assert search.purses == [600], "what is used up is not asked"
    (told,) = store.rows("SELECT error FROM runs WHERE status = 'partial'")
    assert "monthly_cap_dollars" in told["error"]
    assert run(24 * 31)[0] == "ok", "a new month"
    assert owned.purses[-1] == 1_000


def test_what_is_reserved_is_not_spent_and_is_told(store: Store) -> None:
    asked = queries(config())[:1]
    connector = paid(400_000)
    source = Source(name="x", connector=connector, monthly_cap=1_000_000, reserved=500_000)
    for _ in range(2):
        (result,) = collect(store, [source], asked, matcher(), now=NOW)
    assert connector.purses == [500_000, 100_000]
    (result,) = collect(store, [source], asked, matcher(), now=NOW)
    assert result.error == (
        "the cap of 1 dollars a month is used up, but for 0.50 reserved for deletions; it goes on "
        "next month, or with a higher monthly_cap_dollars"
    )
    assert purse(store, replace(source, reserved=0), Budget(), NOW).micro_dollars == 200_000
    assert spent(store, "x", since=at(1)) == 0
    assert spent(store, "x", since=at(-1)) == 800_000
