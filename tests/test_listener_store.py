from __future__ import annotations

import os
import sqlite3
import tempfile
import threading
from collections.abc import Iterator
from contextlib import closing
from datetime import UTC, datetime, timedelta, timezone
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from sqlite_utils import Database

from listener import store as store_module
from listener.schema import VIEWS, migrations
from listener.store import Store, StoreError, moment, open_read_only, stamp


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "listener.db"


def note(store: Store, key: str, value: str = "x") -> None:
    with store.write() as connection:
        connection.execute("INSERT INTO state VALUES (?, ?)", (key, value))


def run(store: Store, *statements: str) -> None:
    """The statements, in one transaction."""
    with store.write() as connection:
        for statement in statements:
            connection.execute(statement)


def keys(store: Store) -> list[str]:
    return [row["key"] for row in store.rows("SELECT key FROM state ORDER BY key")]


def structure(store: Store) -> list[tuple[str, str]]:
    return [tuple(row) for row in store.rows("SELECT name, sql FROM sqlite_master ORDER BY name")]


# -- opening


def test_migrations_are_applied_once(path: Path) -> None:
    with Store(path) as store:
        first = structure(store)
        note(store, "kept")
    with Store(path) as store:
        assert structure(store) == first
        assert keys(store) == ["kept"]
        assert store.value("SELECT count(*) FROM _sqlite_migrations") == 4
        assert store.value("PRAGMA journal_mode") == "wal"
        assert store.value("PRAGMA foreign_keys") == 1
        assert store.value("PRAGMA synchronous") == 2


def test_a_file_may_be_opened_by_many_at_once(path: Path) -> None:
    with Store(path):
        pass
    faults: list[BaseException] = []
    ready = threading.Barrier(6)

    def use(name: str) -> None:
        ready.wait()
        try:
            with Store(path) as store:
                note(store, name)
        except BaseException as error:
            faults.append(error)

    threads = [threading.Thread(target=use, args=(f"t{n}",)) for n in range(6)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert faults == []
    with Store(path) as store:
        assert len(keys(store)) == 6
        assert store.value("SELECT count(*) FROM _sqlite_migrations") == 4


def test_alerts_of_the_first_version_are_kept(path: Path) -> None:
    connection = sqlite3.connect(path, isolation_level=None)
    connection.execute("PRAGMA foreign_keys = ON")
    migrations.apply(Database(connection), stop_before="m002_alerts")
    connection.executescript(
        "INSERT INTO mentions (id, source, native_id, text, published_at, first_seen_at) "
        "VALUES (1, 'f', '1', 'Which one?', '', '');"
        "INSERT INTO conversations (id, source, root_id, started_at, last_at, mentions, authors, "
        "stage, state, early) VALUES (1, 'f', '1', '', '', 1, 0, 'consideration', 'early', 0.9);"
        "INSERT INTO steps VALUES ('watch', '1');"
        "INSERT INTO alerts VALUES (7, 'a', 'early-funnel', 1, 1, 0.876, '[]', 't', 'mailed', 'u');"
        "INSERT INTO alerts VALUES (9, 'b', 'early-funnel', 1, 1, 0.5, '[]', 't', 'listed', NULL);"
        "DELETE FROM alerts WHERE id = 9;"
        "INSERT INTO deliveries (kind, ref, recipient, message_id, created_at, next_try_at) "
        "VALUES ('alert', '7', 'ana@example.com', 'm', '', '');"
    )
    connection.close()
    with Store(path) as store:
        (alert,) = store.rows("SELECT id, key, probability, score, created_at FROM alerts")
        assert tuple(alert) == (7, "a", 0.876, 88, "t")
        (person,) = store.rows("SELECT * FROM alert_recipients")
        assert tuple(person) == (7, "ana@example.com", "mailed", "u")
        assert store.rows("PRAGMA foreign_key_check") == []
        assert store.value("SELECT count(*) FROM steps") == 0, "all is judged again"
        with store.write() as writer:
            new = writer.execute(
                "INSERT INTO alerts (key, rule, conversation_id, mention_id, probability, reasons, "
                "created_at) VALUES ('c', 'early-funnel', 1, 1, 0.5, '[]', 't') RETURNING id"
            ).fetchone()
        assert tuple(new) == (10,), "the outbox may still name alert 9"


def test_every_view_can_be_read(path: Path) -> None:
    with Store(path) as store:
        for view in VIEWS:
            assert store.rows(f"SELECT * FROM {view}") == []


def test_a_newer_file_is_refused_and_left_as_it_is(path: Path) -> None:
    with Store(path) as store:
        with store.write() as connection:
            connection.execute(
                "INSERT INTO _sqlite_migrations (migration_set, name, applied_at) "
                "VALUES ('listener', 'm999_later', '2030-01-01')"
            )
        store.rows("PRAGMA journal_mode = DELETE")
    before = path.read_bytes()
    with pytest.raises(StoreError, match=r"newer version of Listener.*pip install -U"):
        Store(path)
    assert path.read_bytes() == before
    assert list(path.parent.iterdir()) == [path]


def test_what_is_no_database_is_refused(path: Path) -> None:
    path.write_bytes(b"once upon a time " * 500)
    before = path.read_bytes()
    with pytest.raises(StoreError, match="not an SQLite database"):
        Store(path)
    assert path.read_bytes() == before


def test_a_folder_in_place_of_the_file_is_refused(path: Path) -> None:
    path.mkdir()
    with pytest.raises(StoreError, match="cannot be opened"):
        Store(path)


def test_a_missing_folder_is_refused(path: Path) -> None:
    with pytest.raises(StoreError, match="check that its folder exists"):
        Store(path / "nowhere" / "listener.db")


def test_a_damaged_file_is_named_as_such(path: Path) -> None:
    with Store(path) as store:
        note(store, "key", "v" * 100_000)
        store.rows("PRAGMA wal_checkpoint(TRUNCATE)")
    content = bytearray(path.read_bytes())
    content[4096:] = b"\xff" * (len(content) - 4096)
    path.write_bytes(content)
    with pytest.raises(StoreError, match="damaged"), Store(path) as store:
        keys(store)


# -- read-only places


@pytest.fixture
def locked_folder() -> Iterator[Path]:
    """A folder whose owner we are not, as rights do not bind the super-user."""
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        with Store(folder / "listener.db"):
            pass
        root = os.geteuid() == 0
        folder.chmod(0o555)
        (folder / "listener.db").chmod(0o444)
        if root:
            os.seteuid(65534)
        try:
            yield folder
        finally:
            if root:
                os.seteuid(0)
            folder.chmod(0o755)


def test_a_read_only_file_is_refused(locked_folder: Path) -> None:
    with pytest.raises(StoreError, match=r"read-only|cannot be opened"):
        Store(locked_folder / "listener.db")


def test_a_read_only_folder_is_refused(locked_folder: Path) -> None:
    with pytest.raises(StoreError, match="check that its folder exists and is writable"):
        Store(locked_folder / "other.db")


def test_writing_to_a_connection_turned_read_only_is_explained(path: Path) -> None:
    with Store(path) as store:
        store.rows("PRAGMA query_only = ON")
        with pytest.raises(StoreError, match="make both writable"):
            note(store, "a")
        store.rows("PRAGMA query_only = OFF")
        note(store, "b")
        assert keys(store) == ["b"]


# -- writing


def test_a_full_disk_leaves_nothing_behind_and_is_survived(path: Path) -> None:
    with Store(path) as store:
        note(store, "before")
        small = "INSERT INTO state VALUES ('small', 'x')"
        pages = store.value("PRAGMA page_count")
        store.rows(f"PRAGMA max_page_count = {pages + 4}")
        with pytest.raises(StoreError, match=r"disk is full.*nothing was half-written"):
            run(store, small, "INSERT INTO state VALUES ('large', printf('%.*c', 1000000, 'y'))")
        assert keys(store) == ["before"]
        store.rows("PRAGMA max_page_count = 1000000")
        note(store, "after", "y" * 1_000_000)
        assert keys(store) == ["after", "before"]
        assert store.value("PRAGMA integrity_check") == "ok"


def test_a_file_that_another_program_holds(path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(store_module, "BUSY_SECONDS", 0.02)
    with Store(path) as store, closing(sqlite3.connect(path, isolation_level=None)) as other:
        other.execute("BEGIN IMMEDIATE")
        other.execute("INSERT INTO state VALUES ('theirs', 'x')")
        with pytest.raises(StoreError, match="another program holds the database"):
            note(store, "ours")
        assert keys(store) == []
        other.execute("COMMIT")
        note(store, "ours")
        assert keys(store) == ["ours", "theirs"]


@pytest.mark.parametrize("fault", [ValueError, KeyboardInterrupt, SystemExit])
def test_whatever_is_raised_rolls_back(path: Path, fault: type[BaseException]) -> None:
    def failing(store: Store) -> None:
        with store.write() as connection:
            connection.execute("INSERT INTO state VALUES ('a', 'x')")
            try:
                connection.execute("INSERT INTO state VALUES ('a', 'x')")
            except sqlite3.IntegrityError:
                raise fault from None

    with Store(path) as store:
        with pytest.raises(fault):
            failing(store)
        assert keys(store) == []
        note(store, "b")
        assert keys(store) == ["b"]


def test_a_commit_that_fails_rolls_back(path: Path) -> None:
    with Store(path) as store:
        with pytest.raises(sqlite3.IntegrityError):
            run(
                store,
                "PRAGMA defer_foreign_keys = ON",
                "INSERT INTO state VALUES ('a', 'x')",
                "INSERT INTO work VALUES ('match', 12345)",
            )
        note(store, "b")
        assert keys(store) == ["b"]


def test_a_write_within_a_write_undoes_both(path: Path) -> None:
    with Store(path) as store:
        with pytest.raises(sqlite3.OperationalError, match="within a transaction"), store.write():
            note(store, "inner")
        assert keys(store) == []


def test_readers_see_what_was_committed_while_somebody_writes(path: Path) -> None:
    with Store(path) as writer, Store(path) as reader:
        note(writer, "first")
        with writer.write() as connection:
            connection.execute("INSERT INTO state VALUES ('second', 'x')")
            assert keys(reader) == ["first"]
        assert keys(reader) == ["first", "second"]


def test_value_of_no_row_is_none(path: Path) -> None:
    with Store(path) as store:
        assert store.value("SELECT value FROM state WHERE key = :key", {"key": "none"}) is None


# -- read-only queries


def test_typed_queries_cannot_write(tmp_path: Path) -> None:
    path = tmp_path / "año #1?.db"
    with Store(path) as store:
        note(store, "kept")
        with closing(open_read_only(path)) as connection:
            assert connection.execute("SELECT key FROM state").fetchone()["key"] == "kept"
            with pytest.raises(sqlite3.OperationalError, match="readonly"):
                connection.execute("DELETE FROM state")
        assert keys(store) == ["kept"]


@pytest.mark.parametrize("statement", ["ATTACH '{}' AS other", "VACUUM INTO '{}'"])
def test_typed_queries_cannot_write_another_file(path: Path, statement: str) -> None:
    Store(path).close()
    other = path.with_name("other.db")
    with closing(open_read_only(path)) as connection:
        with pytest.raises(sqlite3.DatabaseError, match="authoriz"):
            connection.execute(statement.format(other))
        for query in (
            *(f"SELECT * FROM {view}" for view in VIEWS),
            "SELECT snippet(mentions_fts, 1, '', '', '', 5) FROM mentions_fts "
            "WHERE mentions_fts MATCH 'a' ORDER BY rank",
        ):
            assert connection.execute(query).fetchall() == []
        assert connection.execute("SELECT json_extract('[7]', '$[0]')").fetchone()[0] == 7
    assert not other.exists()


def test_typed_queries_need_a_database_of_this_version(path: Path) -> None:
    path.touch()
    with pytest.raises(StoreError, match="no tables of this version"):
        open_read_only(path)
    with Store(path) as store, store.write() as connection:
        connection.execute(
            "UPDATE _sqlite_migrations SET name = 'm999_later' WHERE name LIKE 'm002%'"
        )
    with pytest.raises(StoreError, match="newer version of Listener"):
        open_read_only(path)
    path.write_bytes(b"once upon a time " * 500)
    with pytest.raises(StoreError, match="not an SQLite database"):
        open_read_only(path)


def test_typed_queries_need_a_database(path: Path) -> None:
    with pytest.raises(StoreError, match="listener run --once"):
        open_read_only(path)
    assert not path.exists()


# -- times


@pytest.mark.parametrize(
    ("given_time", "text"),
    [
        (datetime(1850, 1, 2, 3, 4, 5, tzinfo=UTC), "1850-01-02T03:04:05Z"),
        (datetime(999, 12, 31, tzinfo=UTC), "0999-12-31T00:00:00Z"),
        (datetime(2031, 7, 1, 12, tzinfo=UTC), "2031-07-01T12:00:00Z"),
        (datetime(2026, 1, 1, 0, 0, 0, 999_999, tzinfo=UTC), "2026-01-01T00:00:00Z"),
        (datetime(2026, 1, 1, 1, tzinfo=timezone(timedelta(hours=2))), "2025-12-31T23:00:00Z"),
    ],
)
def test_stamps(given_time: datetime, text: str) -> None:
    assert stamp(given_time) == text
    assert moment(text) == given_time.replace(microsecond=0)
    assert moment(text).utcoffset() == timedelta(0)


def test_times_without_zone_are_refused() -> None:
    with pytest.raises(ValueError, match="without a zone"):
        stamp(datetime(2026, 1, 1))  # noqa: DTZ001  what is refused


TIMES = st.datetimes(min_value=datetime(2, 1, 1), max_value=datetime(9998, 1, 1))  # noqa: DTZ001  bounds are naive
ZONES = st.integers(-14 * 60, 14 * 60).map(lambda m: timezone(timedelta(minutes=m)))


@settings(deadline=None)
@given(
    one=st.builds(lambda t, z: t.replace(tzinfo=z), TIMES, ZONES),
    other=st.builds(lambda t, z: t.replace(tzinfo=z), TIMES, ZONES),
)
def test_stamps_sort_as_times_do(one: datetime, other: datetime) -> None:
    one, other = one.replace(microsecond=0), other.replace(microsecond=0)
    assert (stamp(one) < stamp(other)) == (one < other)
    assert moment(stamp(one)) == one


def test_sqlite_reads_stamps_as_times(path: Path) -> None:
    with Store(path) as store:
        read = store.value("SELECT datetime(?)", (stamp(datetime(2026, 3, 1, 9, tzinfo=UTC)),))
    assert read == "2026-03-01 09:00:00"
