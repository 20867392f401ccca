from __future__ import annotations

import os
import signal
import subprocess
import sys
import textwrap
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from pathlib import Path
from typing import Any

import pytest
from builders import NOW, FakeConnector, at, mention, put, store_in

from connectors.base import (
    Budget,
    BudgetSpent,
    Cost,
    Counts,
    NeedsAuth,
    Page,
    RetryAt,
    Transient,
    Update,
)
from listener import upkeep
from listener.collect import Source
from listener.config import Upkeep
from listener.ingest import Place, read_cursor, save_page
from listener.steps import Stopped
from listener.store import Store, stamp
from listener.upkeep import Swept, refreshers, reserved, sweep, with_reserve

DAY = 24.0
PLAN = Upkeep(deletions_days=30, figures_hours=(24, 168))


@pytest.fixture
def store(tmp_path: Path) -> Iterator[Store]:
    yield from store_in(tmp_path)


@dataclass
class Site(FakeConnector):
    """Looks posts up, two a page: figures for each, and what else `told` says of it."""

    told: dict[str, Update] = field(default_factory=dict)
    price: int = 0
    faults: list[Exception | None] = field(default_factory=list)
    looked_up: list[list[str]] = field(default_factory=list)
    purses: list[int | None] = field(default_factory=list)

    def refresh(self, ids: Sequence[str], *, budget: Budget, now: datetime) -> Iterator[Page]:
        self.looked_up.append(list(ids))
        self.purses.append(budget.micro_dollars)
        for start in range(0, len(ids), 2):
            if self.faults and (fault := self.faults.pop(0)) is not None:
                raise fault
            pair = ids[start : start + 2]
            yield Page(
                updates=tuple(
                    self.told.get(one)
                    or Update(
                        source=self.source,
                        native_id=one,
                        kind="metrics",
                        at=now,
                        counts=Counts(likes=7),
                    )
                    for one in pair
                ),
                cost=Cost(requests=1, resources=len(pair), micro_dollars=self.price * len(pair)),
                warnings=("one was odd",) if "odd" in pair else (),
            )

    def refresh_cost(self, posts: int) -> Cost:
        return Cost(requests=posts, micro_dollars=self.price * posts)

    def asked_for(self) -> list[str]:
        return sorted(one for ids in self.looked_up for one in ids)


def gone(native_id: str, reason: str = "deleted") -> Update:
    return Update(source="forum", native_id=native_id, kind="tombstone", at=NOW, reason=reason)


def edited(native_id: str, text: str) -> Update:
    return Update(source="forum", native_id=native_id, kind="edit", at=at(999), text=text)


def source(site: FakeConnector, name: str = "forum", cap: int | None = None) -> Source:
    return Source(name=name, connector=site, monthly_cap=cap)


def run(store: Store, *sites: FakeConnector, hours: float, **more: Any) -> list[Swept]:
    cap = more.pop("cap", None)
    names = ["forum", "other", "third"]
    sources = [source(one, name, cap) for one, name in zip(sites, names, strict=False)]
    return sweep(store, sources, more.pop("plan", PLAN), now=at(hours), **more)


def count(store: Store, table: str) -> int:
    return int(store.value(f"SELECT count(*) FROM {table}"))


# -- what is due


def test_a_post_is_looked_up_at_its_ages_and_then_every_so_many_days(store: Store) -> None:
    put(store, mention("1"))
    looks = []
    for hour in range(0, 24 * 75, 6):
        site = Site()
        run(store, site, hours=hour)
        looks += [hour / 24] * len(site.looked_up)
    assert looks == [1, 7, 37, 67]


def test_a_late_round_looks_once(store: Store) -> None:
    put(store, mention("1"))
    site = Site()
    run(store, site, hours=20 * DAY)
    run(store, site, hours=20 * DAY)
    assert site.looked_up == [["1"]]


def test_an_import_of_old_posts_is_due_by_first_sight(store: Store) -> None:
    put(store, mention("old", published_at=at(-900 * DAY)))
    site = Site()
    run(store, site, hours=29 * DAY)
    assert site.looked_up == []
    run(store, site, hours=30 * DAY)
    assert site.looked_up == [["old"]]


def test_everything_is_looked_up_when_asked_and_once(store: Store) -> None:
    put(store, *(mention(str(n)) for n in range(5)))
    site = Site()
    (swept,) = run(store, site, hours=1, everything=True)
    assert (swept.looked_up, swept.left) == (5, 0)
    assert site.asked_for() == ["0", "1", "2", "3", "4"]


def test_a_new_plan_moves_the_dates(store: Store) -> None:
    put(store, mention("1"))
    run(store, Site(), hours=1)
    site = Site()
    run(store, site, hours=3, plan=Upkeep(deletions_days=30, figures_hours=(2,)))
    assert site.looked_up == [["1"]]
    run(store, site, hours=3 + 2 * DAY, plan=Upkeep(deletions_days=2, figures_hours=(2,)))
    assert len(site.looked_up) == 2


def test_posts_are_taken_in_however_many(store: Store, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(upkeep, "_BATCH", 3)
    put(store, *(mention(str(n)) for n in range(8)))
    site = Site()
    (swept,) = run(store, site, hours=2 * DAY)
    assert swept.looked_up == 8
    put(store, mention("later", published_at=at(2 * DAY)), now=at(2 * DAY))
    run(store, site, hours=3 * DAY)
    assert site.looked_up[-1] == ["later"]


def test_dear_figures_are_looked_up_only_if_wanted(store: Store) -> None:
    put(store, mention("1"))
    site = Site(price=5000)
    run(store, site, hours=8 * DAY)
    assert site.looked_up == []
    run(store, site, hours=8 * DAY, plan=Upkeep(paid_figures=True))
    assert site.looked_up == [["1"]]


def test_posts_of_other_sources_are_left_alone(store: Store) -> None:
    put(store, mention("1"), mention("1", source="elsewhere"), mention("2", source="rss"))
    here, there = Site(), Site(source="elsewhere")
    run(store, here, there, FakeConnector(source="rss"), hours=2 * DAY)
    assert (here.looked_up, there.looked_up) == ([["1"]], [["1"]])


def test_of_several_parts_the_whole_one_looks_up() -> None:
    part, whole, other = Site(), Site(), Site(source="y")
    sources = [source(part, "x:mentions"), source(whole, "x"), source(other, "y:a")]
    assert [(one.name, found) for one, found in refreshers(sources)] == [
        ("x", whole),
        ("y:a", other),
    ]
    assert refreshers([source(FakeConnector())]) == []


# -- what it brings


def test_figures_edits_and_removals_are_stored(store: Store) -> None:
    put(store, *(mention(name, "before") for name in ("same", "edited", "gone", "odd")))
    site = Site(told={"gone": gone("gone", "suspended"), "edited": edited("edited", "after")})
    (swept,) = run(store, site, hours=2 * DAY)
    assert swept == Swept(
        source="forum", looked_up=4, removed=1, edited=1, warnings=("one was odd",)
    )
    texts = dict(tuple(row) for row in store.rows("SELECT native_id, text FROM mentions"))
    assert texts == {"same": "before", "odd": "before", "edited": "after", "gone": ""}
    assert store.value("SELECT reason FROM tombstones") == "suspended"
    assert count(store, "metrics") == 2
    assert store.value("SELECT text FROM revisions") == "before"
    assert count(store, "mentions") == 4


def test_what_is_gone_is_never_asked_again(store: Store) -> None:
    put(store, mention("1"), mention("2"))
    put(store, updates=[gone("2")])
    site = Site(told={"1": gone("1")})
    run(store, site, hours=2 * DAY)
    run(store, site, hours=90 * DAY)
    run(store, site, hours=91 * DAY, everything=True)
    run(store, site, hours=92 * DAY, plan=Upkeep(deletions_days=1))
    assert site.looked_up == [["1"]]


def test_cursors_of_collecting_stay_and_the_ledger_knows(store: Store) -> None:
    save_page(store, Place("forum", "q"), [mention("1")], cursor={"n": 1}, now=NOW)
    run(store, Site(price=5000), hours=31 * DAY)
    assert read_cursor(store, Place("forum", "q")) == ({"n": 1}, None)
    rows = store.rows("SELECT source, resources, micro_dollars FROM spend")
    assert [tuple(row) for row in rows] == [("forum:refresh", 1, 5000)]


# -- faults


def test_a_source_that_asks_to_wait_is_left_alone_until_then(store: Store) -> None:
    put(store, *(mention(str(n)) for n in range(4)))
    site = Site(faults=[None, RetryAt(at(2 * DAY + 5))])
    (swept,) = run(store, site, hours=2 * DAY)
    assert (swept.status, swept.looked_up, swept.left) == ("waiting", 0, 4)
    assert count(store, "metrics") == 2
    (swept,) = run(store, site, hours=2 * DAY + 4)
    assert swept.status == "waiting"
    assert len(site.looked_up) == 1
    (swept,) = run(store, site, hours=2 * DAY + 6)
    assert (swept.status, swept.looked_up, swept.left) == ("ok", 4, 0)
    assert read_cursor(store, Place("forum", "q")) == (None, None)


@pytest.mark.parametrize("fault", [Transient("down"), NeedsAuth("token"), KeyError("zanzibar")])
def test_a_broken_source_stops_no_other(store: Store, fault: Exception) -> None:
    put(store, mention("1"), mention("1", source="other"))
    whole = Site(source="other")
    broken, swept = run(store, Site(faults=[fault]), whole, hours=2 * DAY)
    assert (broken.status, broken.looked_up, broken.left) == ("failed", 0, 1)
    assert "zanzibar" not in (broken.error or "")
    assert (swept.status, swept.looked_up) == ("ok", 1)
    (again, _) = run(store, Site(), whole, hours=2 * DAY)
    assert again.looked_up == 1


def test_a_stop_keeps_what_is_stored(store: Store, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(upkeep, "_CHUNK", 2)
    put(store, *(mention(str(n)) for n in range(6)))

    def stop(marked: int) -> None:
        if marked:
            raise Stopped

    site = Site()
    with pytest.raises(Stopped):
        run(store, site, hours=2 * DAY, progress=lambda _name, _total: stop)
    run(store, site, hours=2 * DAY)
    assert site.asked_for() == ["0", "1", "2", "3", "4", "5"]


# -- money


def test_the_cap_bounds_what_is_looked_up(store: Store) -> None:
    put(store, *(mention(str(n)) for n in range(10)))
    site = Site(price=5000)
    (swept,) = run(store, site, hours=31 * DAY, cap=32_000)
    assert (swept.status, swept.looked_up, swept.left) == ("partial", 6, 4)
    assert swept.micro_dollars == 30_000
    assert site.purses == [32_000]
    (swept,) = run(store, site, hours=31 * DAY, cap=32_000)
    assert (swept.status, swept.looked_up) == ("partial", 0)
    (swept,) = run(store, site, hours=60 * DAY, cap=32_000)
    assert swept.looked_up == 4


def test_a_budget_that_ends_inside_a_chunk_leaves_it_due(store: Store) -> None:
    put(store, *(mention(str(n)) for n in range(4)))
    site = Site(faults=[None, BudgetSpent("no more")])
    (swept,) = run(store, site, hours=2 * DAY)
    assert (swept.status, swept.looked_up, swept.left, swept.error) == ("partial", 0, 4, "no more")


def looks_until(store: Store, end: datetime, plan: Upkeep, since: datetime) -> int:
    """How many posts a sweep every hour looks up from `since` until before `end`."""
    site, now = Site(price=1), since
    while now < end:
        sweep(store, [source(site)], plan, now=now)
        now += timedelta(hours=1)
    return len(site.asked_for())


@pytest.mark.parametrize(
    "plan",
    [
        Upkeep(deletions_days=30),
        Upkeep(deletions_days=4),
        Upkeep(deletions_days=30, figures_hours=(24, 168), paid_figures=True),
        Upkeep(deletions_days=3, figures_hours=(1, 24, 48), paid_figures=True),
    ],
)
def test_what_is_reserved_is_what_the_month_will_cost(store: Store, plan: Upkeep) -> None:
    for hours in (-40 * DAY, -11 * DAY, -3 * DAY, -5, 0):
        put(store, mention(str(hours), published_at=at(hours)), now=at(hours))
    dear, now = [source(Site(price=1), cap=100)], at(1)
    kept = reserved(store, dear, plan, now=now)
    end = datetime(2026, 4, 1, tzinfo=NOW.tzinfo)
    looks = looks_until(store, end, plan, now)
    # An age that is reached just before a look of the other kind may be one look for two.
    assert looks <= kept["forum"] <= looks + 2
    assert looks > 0


def test_nothing_is_reserved_where_nothing_is_paid_or_capped(store: Store) -> None:
    put(store, mention("1"))
    now, free, dear = at(29 * DAY), Site(), Site(price=5)
    off = Upkeep(enabled=False)
    assert reserved(store, [source(free, cap=9)], PLAN, now=now) == {}
    assert reserved(store, [source(dear)], PLAN, now=now) == {}
    assert reserved(store, [source(dear, cap=9)], off, now=now) == {}
    assert reserved(store, [source(dear, cap=9)], PLAN, now=now) == {"forum": 5}


def test_every_part_of_a_site_leaves_the_reserve(store: Store) -> None:
    put(store, mention("1"))
    parts = [source(FakeConnector(), "x:mentions", 9), source(Site(price=5), "x", 9)]
    found = with_reserve(store, parts, PLAN, now=at(29 * DAY))
    assert [(one.name, one.reserved) for one in found] == [("x:mentions", 5), ("x", 5)]


# -- killed

_CHILD = """
import os, sys, signal
sys.path[:0] = [{tests!r}, {root!r}]
from pathlib import Path
import test_listener_upkeep as t
from listener import upkeep
from listener.store import Store

upkeep._CHUNK = 4
kill_at, seen = int(sys.argv[2]), 0

def die(_):
    global seen
    seen += 1
    if seen == kill_at:
        os.kill(os.getpid(), signal.SIGKILL)

with Store(Path(sys.argv[1])) as store:
    upkeep.sweep(store, [t.source(t.killed_site())], t.PLAN, now=t.at(48),
                 progress=lambda _name, _total: die)
"""


def killed_site() -> Site:
    return Site(told={"3": gone("3"), "4": edited("4", "after"), "9": gone("9")})


@pytest.mark.skipif(not hasattr(signal, "SIGKILL"), reason="this system has no SIGKILL")
@pytest.mark.parametrize("kill_at", [1, 2, 3, 4, 6, 8])
def test_a_kill_between_any_two_pages_loses_and_doubles_nothing(
    tmp_path: Path, kill_at: int, killed: Callable[[Path, int], None]
) -> None:
    path = tmp_path / "listener.db"
    with Store(path) as store:
        put(store, *(mention(str(n), "before") for n in range(10)))
    killed(path, kill_at)
    with Store(path) as store:
        (swept,) = sweep(store, [source(killed_site())], PLAN, now=at(48))
        assert swept.status == "ok"
        assert swept.left == 0
        assert count(store, "mentions") == 10
        assert count(store, "revisions") == count(store, "mentions WHERE text = 'after'") == 1
        assert count(store, "tombstones") == count(store, "mentions WHERE text = ''") == 2
        assert count(store, "metrics") == 7
        assert store.rows("PRAGMA integrity_check")[0][0] == "ok"


@pytest.fixture
def killed() -> Callable[[Path, int], None]:
    """Runs a sweep in another process, which is killed at a call of its progress."""

    def run_killed(path: Path, kill_at: int) -> None:
        tests = Path(__file__).parent
        child = textwrap.dedent(_CHILD.format(tests=str(tests), root=str(tests.parent)))
        done = subprocess.run(
            [sys.executable, "-c", child, str(path), str(kill_at)],
            env={**os.environ},
            capture_output=True,
            check=False,
        )
        assert done.returncode == -signal.SIGKILL, done.stderr.decode()

    return run_killed


def test_the_next_look_is_written_down(store: Store) -> None:
    put(store, mention("1"))
    run(store, Site(), hours=2 * DAY)
    (row,) = store.rows("SELECT at, due_at FROM lookups")
    assert tuple(row) == (stamp(at(2 * DAY)), stamp(at(7 * DAY)))
