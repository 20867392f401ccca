"""A full disk and a database that another program holds, at each write: told, and got over."""

from __future__ import annotations

import sqlite3
import subprocess
import sys
import threading
from collections.abc import Callable, Iterator
from contextlib import closing, contextmanager
from datetime import date, datetime
from pathlib import Path
from typing import Any

import pytest
import time_machine
from builders import (
    ASKS,
    NOW,
    FakeConnector,
    FakeTagger,
    MemoryChannel,
    analyse,
    config,
    matcher,
    mention,
    page,
)

from listener import store as store_module
from listener.alerts import find, save
from listener.collect import Source, collect
from listener.deliver import deliver
from listener.scheduler import Every, Job, Pulse, run_job
from listener.store import Store, StoreError

ROOT = Path(__file__).parents[1]
TEXT = "Which espresso machine should I buy?"
SETTINGS = config()


class Fragile(Store):
    """Fails at the write whose number is `at`, and at all after it until `mended`."""

    at = 10**9
    count = 0
    mended = True

    @contextmanager
    def write(self) -> Iterator[sqlite3.Connection]:
        cls = type(self)
        with super().write() as connection:
            yield connection
            cls.count += 1
            if cls.count >= cls.at and not cls.mended:
                # As SQLite says it when there is no room for the pages of a transaction.
                raise sqlite3.OperationalError("database or disk is full")


def the_round(channel: MemoryChannel) -> list[Job]:
    """Collect, analyse, alert and deliver as the daemon's jobs do."""
    pages = [page(mention(f"{n}", f"{TEXT} {n}", by=f"p{n}")) for n in range(3)]
    labels = {f"{TEXT} {n}": ASKS for n in range(3)}

    def gather(store: Store, now: datetime, _: Callable[[int], None], __: date | None) -> None:
        source = Source(name="fake", connector=FakeConnector(pages))
        collect(store, [source], (), matcher(), now=now)

    def judge(store: Store, now: datetime, _: Callable[[int], None], __: date | None) -> None:
        analyse(store, FakeTagger(labels))
        save(store, find(store, SETTINGS, thresholds={"*": 0.5}, now=NOW), SETTINGS, now=now)

    def send(store: Store, now: datetime, _: Callable[[int], None], __: date | None) -> None:
        deliver(store, SETTINGS, {"outbox": channel}, now=now)

    works = {"gather": gather, "judge": judge, "send": send}
    return [Job(name=name, when=Every(minutes=1), run=run) for name, run in works.items()]


def run_all(path: Path, channel: MemoryChannel, kind: type[Store] = Store) -> list[bool]:
    with time_machine.travel(NOW, tick=False):
        return [run_job(job, lambda: kind(path), Pulse()) for job in the_round(channel)]


def outcome(path: Path, channel: MemoryChannel) -> dict[str, Any]:
    with Store(path) as store:
        assert store.value("PRAGMA integrity_check") == "ok"
        assert store.rows("PRAGMA foreign_key_check") == []
        counted = {
            table: store.value(f"SELECT count(*) FROM {table}")
            for table in ("mentions", "conversations", "alerts", "work", "matches", "tags")
        }
        deliveries = store.rows("SELECT kind, recipient, status FROM deliveries ORDER BY id")
    return {
        **counted,
        "deliveries": sorted(tuple(row) for row in deliveries),
        "sent": sorted(str(one["Message-ID"]) for one in channel.sent),
    }


@pytest.fixture
def wanted(tmp_path: Path) -> tuple[dict[str, Any], int]:
    """What a round without faults leaves, and how many writes it has."""
    channel = MemoryChannel()
    Store(tmp_path / "whole.db").close()
    Fragile.count, Fragile.mended = 0, True
    assert run_all(tmp_path / "whole.db", channel, Fragile) == [False] * 3
    told = outcome(tmp_path / "whole.db", channel)
    assert told["mentions"] == told["alerts"] == 3
    assert len(told["sent"]) == 6
    return told, Fragile.count


def test_a_disk_that_is_full_at_each_write_is_got_over(
    tmp_path: Path, wanted: tuple[dict[str, Any], int], caplog: pytest.LogCaptureFixture
) -> None:
    whole, writes = wanted
    assert writes > 20
    for number in range(1, writes + 1):
        path, channel = tmp_path / f"{number}.db", MemoryChannel()
        Store(path).close()
        Fragile.count, Fragile.at, Fragile.mended = 0, number, False
        caplog.clear()
        assert any(run_all(path, channel, Fragile)), number
        assert "the disk is full: free some space" in caplog.text
        Fragile.mended = True
        with Store(path) as store, store.write() as connection:
            connection.execute("UPDATE deliveries SET next_try_at = created_at")
        assert run_all(path, channel, Fragile) == [False] * 3
        assert outcome(path, channel) == whole, number


def held(path: Path) -> sqlite3.Connection:
    connection = sqlite3.connect(path, isolation_level=None)
    connection.execute("BEGIN IMMEDIATE")
    return connection


def test_a_database_that_another_program_holds_is_told_of_and_got_over(
    tmp_path: Path,
    wanted: tuple[dict[str, Any], int],
    monkeypatch: pytest.MonkeyPatch,
    caplog: pytest.LogCaptureFixture,
) -> None:
    monkeypatch.setattr(store_module, "BUSY_SECONDS", 0.05)
    path, channel = tmp_path / "held.db", MemoryChannel()
    Store(path).close()
    with closing(held(path)):
        assert run_all(path, channel) == [True] * 3
        assert "another program holds the database: stop it or wait" in caplog.text
        assert channel.sent == []
    assert run_all(path, channel) == [False] * 3
    assert outcome(path, channel) == wanted[0]


def test_a_short_hold_is_waited_for(tmp_path: Path) -> None:
    path, channel = tmp_path / "held.db", MemoryChannel()
    Store(path).close()
    waiting, other = threading.Event(), held(path)
    results: list[bool] = []

    def work() -> None:
        waiting.set()
        results.extend(run_all(path, channel))

    thread = threading.Thread(target=work)
    thread.start()
    assert waiting.wait(10)
    other.execute("INSERT INTO state VALUES ('theirs', '')")
    other.execute("COMMIT")
    other.close()
    thread.join(30)
    assert results == [False] * 3


def test_a_file_that_may_not_grow_loses_nothing_that_was_stored(tmp_path: Path) -> None:
    """The system itself refuses to write, with its limit for the size of a file."""
    resource = pytest.importorskip("resource")
    path = tmp_path / "listener.db"
    code = """
import sys
from pathlib import Path
from listener.store import Store, StoreError
n = 0
with Store(Path(sys.argv[1])) as store:
    try:
        while n < 100_000:
            with store.write() as connection:
                connection.execute("INSERT INTO state VALUES (?, ?)", (f"k{n}", "x" * 4000))
            n += 1
    except StoreError as error:
        print(n, error)
"""
    limit = 2_000_000
    done = subprocess.run(
        [sys.executable, "-c", code, str(path)],
        cwd=ROOT,
        preexec_fn=lambda: resource.setrlimit(resource.RLIMIT_FSIZE, (limit, limit)),
        capture_output=True,
        text=True,
        check=True,
    )
    stored, _, told = done.stdout.partition(" ")
    assert int(stored) > 10
    assert "disk" in told
    with Store(path) as store:
        assert store.value("SELECT count(*) FROM state WHERE key GLOB 'k*'") == int(stored)
        assert store.value("PRAGMA integrity_check") == "ok"
        with store.write() as connection:
            connection.execute("INSERT INTO state VALUES ('after', '')")


def test_sqlite_itself_says_that_it_is_full(tmp_path: Path) -> None:
    with Store(tmp_path / "listener.db") as store:
        pages = store.value("PRAGMA page_count")
        store.rows(f"PRAGMA max_page_count = {pages}")
        with pytest.raises(StoreError, match="free some space"), store.write() as connection:
            connection.execute("INSERT INTO state VALUES ('k', ?)", ("x" * 100_000,))
        store.rows("PRAGMA max_page_count = 1000000")
        with store.write() as connection:
            connection.execute("INSERT INTO state VALUES ('k', ?)", ("x" * 100_000,))
