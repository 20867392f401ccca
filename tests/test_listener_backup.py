from __future__ import annotations

import os
import sqlite3
import stat
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import closing
from pathlib import Path
from typing import Any

import pytest
from builders import NOW, at, config, mention, put, store_in, tombstone
from click.testing import CliRunner

from listener import backup as backup_module
from listener.backup import BEFORE, BackedUp, Restored, back_up, beside, restore
from listener.carry import Carried
from listener.cli import main
from listener.forget import forget
from listener.outbox import Kind, enqueue
from listener.recipients import suppress
from listener.session import Session
from listener.store import Store, StoreError

ROOT = Path(__file__).parents[1]


@pytest.fixture
def store(tmp_path: Path) -> Iterator[Store]:
    yield from store_in(tmp_path)


def silent(_: int) -> None:
    """Nobody looks on."""


def mode(path: Path) -> int:
    return stat.S_IMODE(path.stat().st_mode)


def files(folder: Path) -> dict[str, Path]:
    return {
        "links.key": folder / "listener.db.key",
        "bluesky-session.json": folder / "session.json",
    }


def saved(folder: Path, *, force: bool = False, hours: float = 0) -> BackedUp:
    return back_up(
        folder / "listener.db",
        folder / "backup.db",
        files=files(folder),
        force=force,
        now=at(hours),
        tick=silent,
    )


def put_back(folder: Path, *, force: bool = False) -> Restored:
    return restore(
        folder / "backup.db",
        folder / "listener.db",
        files=files(folder),
        force=force,
        now=at(5),
        tick=silent,
    )


def texts(path: Path) -> dict[str, str]:
    with Store(path) as store:
        return {
            r["native_id"]: r["text"] for r in store.rows("SELECT native_id, text FROM mentions")
        }


# -- backing up


def test_a_backup_is_one_whole_file_for_its_owner(store: Store, tmp_path: Path) -> None:
    put(store, mention("1", by="ana"))
    files(tmp_path)["links.key"].write_text("k" * 40)
    done = saved(tmp_path)
    target = tmp_path / "backup.db"
    assert done.rows["mentions"] == done.rows["authors"] == 1
    assert done.files == ("links.key",)
    assert done.size == target.stat().st_size
    assert mode(target) == 0o600
    with closing(sqlite3.connect(target)) as copy:
        assert copy.execute("PRAGMA integrity_check").fetchone() == ("ok",)
        assert copy.execute("SELECT text FROM mentions").fetchone()[0] == "Which espresso machine?"
        assert dict(copy.execute("SELECT name, content FROM backup")) == {
            "made_at": "2026-03-10T12:00:00Z",
            "file:links.key": b"k" * 40,
        }
    left = sorted(path.name for path in tmp_path.iterdir() if not path.name.startswith("listener"))
    assert left == ["backup.db"]
    assert store.value("SELECT value FROM state WHERE key = 'backup'") == "2026-03-10T12:00:00Z"


def test_another_file_is_overwritten_only_when_asked(store: Store, tmp_path: Path) -> None:
    saved(tmp_path)
    put(store, mention("1"))
    with pytest.raises(StoreError, match="--force"):
        saved(tmp_path)
    assert texts(tmp_path / "backup.db") == {}
    saved(tmp_path, force=True)
    assert set(texts(tmp_path / "backup.db")) == {"1"}
    with pytest.raises(StoreError, match="the database itself"):
        back_up(store.path, store.path, files={}, force=True, now=NOW, tick=silent)


def test_a_backup_that_fails_leaves_nothing_and_the_old_one(
    store: Store, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    saved(tmp_path)
    before = (tmp_path / "backup.db").read_bytes()

    def stop(_: int) -> None:
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        back_up(store.path, tmp_path / "backup.db", files={}, force=True, now=at(1), tick=stop)
    counts = iter([{"mentions": 1}, {"mentions": 2}])
    monkeypatch.setattr(backup_module, "_count", lambda _: next(counts))
    with pytest.raises(StoreError, match="other rows"):
        saved(tmp_path, force=True)
    assert (tmp_path / "backup.db").read_bytes() == before
    assert [path.name for path in tmp_path.iterdir() if path.name.startswith(".")] == []
    with pytest.raises(StoreError, match="name a file in another folder"):
        back_up(store.path, tmp_path / "no" / "b.db", files={}, now=NOW, tick=silent)


def test_writers_go_on_while_a_backup_is_made(store: Store, tmp_path: Path) -> None:
    """One that writes all the time would make SQLite's own copy begin anew for ever."""
    with store.write() as connection:
        connection.execute("CREATE TABLE ballast (x)")
        connection.executemany(
            "INSERT INTO ballast VALUES (?)", [(os.urandom(20_000),) for _ in range(1500)]
        )
    stop, waits = threading.Event(), list[float]()

    def write() -> None:
        with Store(store.path) as own:
            while not stop.is_set():
                start = time.perf_counter()
                with own.write() as connection:
                    connection.execute("INSERT INTO ballast VALUES (1)")
                waits.append(time.perf_counter() - start)

    steps = list[int]()

    def tick(pages: int) -> None:
        written = len(waits)
        while len(waits) < written + 2:  # the writer gets on between two steps
            pass
        steps.append(pages)

    writer = threading.Thread(target=write)
    writer.start()
    try:
        back_up(store.path, tmp_path / "b.db", files={}, now=NOW, tick=tick)
    finally:
        stop.set()
        writer.join()
    assert len(steps) >= 3
    assert len(waits) >= 2 * len(steps)


# -- putting back


def test_a_restore_goes_back_and_keeps_what_was(store: Store, tmp_path: Path) -> None:
    put(store, mention("1", by="ana"))
    key = files(tmp_path)["links.key"]
    session = files(tmp_path)["bluesky-session.json"]
    key.write_text("k" * 40)
    session.write_text("old")
    saved(tmp_path)
    put(store, mention("2"))
    store.close()
    key.unlink()
    session.write_text("newer")
    (tmp_path / "listener.db").chmod(0o640)
    done = put_back(tmp_path)
    assert (done.made_at, done.mentions) == (NOW, 1)
    assert done.carried == Carried(forgotten=0, removed=0, erased=0)
    assert done.files == ("links.key",)
    assert set(texts(tmp_path / "listener.db")) == {"1"}
    assert mode(tmp_path / "listener.db") == 0o640
    assert done.kept == tmp_path / f"listener.db{BEFORE}"
    assert set(texts(done.kept)) == {"1", "2"}
    assert (key.read_text(), mode(key)) == ("k" * 40, 0o600)
    assert session.read_text() == "newer", "what is there is newer"
    with Store(tmp_path / "listener.db") as back:
        assert back.value("SELECT 1 FROM sqlite_master WHERE name = 'backup'") is None
        assert back.value("PRAGMA integrity_check") == "ok"
    with pytest.raises(StoreError, match="earlier restore"):
        put_back(tmp_path)


def test_a_log_that_a_crash_left_does_not_get_into_the_copy(store: Store, tmp_path: Path) -> None:
    saved(tmp_path)
    code = (
        "import os, sys\nfrom pathlib import Path\nfrom listener.store import Store\n"
        "store = Store(Path(sys.argv[1]))\n"
        "with store.write() as c: c.execute(\"INSERT INTO state VALUES ('crashed', '')\")\n"
        "os._exit(9)"
    )
    store.close()
    done = subprocess.run(
        [sys.executable, "-c", code, str(tmp_path / "listener.db")], cwd=ROOT, check=False
    )
    assert done.returncode == 9
    assert (tmp_path / "listener.db-wal").stat().st_size > 0
    put_back(tmp_path)
    with Store(tmp_path / "listener.db") as back:
        assert back.value("SELECT 1 FROM state WHERE key = 'crashed'") is None
    with Store(tmp_path / f"listener.db{BEFORE}") as kept:
        assert kept.value("SELECT 1 FROM state WHERE key = 'crashed'") == 1


def test_without_a_database_there_is_nothing_to_carry_over(store: Store, tmp_path: Path) -> None:
    put(store, mention("1"))
    saved(tmp_path)
    store.close()
    for path in tmp_path.glob("listener.db*"):
        path.unlink()
    done = put_back(tmp_path)
    assert (done.carried, done.kept) == (None, None)
    assert set(texts(tmp_path / "listener.db")) == {"1"}


@pytest.mark.parametrize("before", [False, True], ids=["first", "not the first"])
@pytest.mark.parametrize("words", [{"source": "forum"}, {"all_sources": True}])
def test_who_was_forgotten_since_stays_forgotten(
    store: Store, tmp_path: Path, before: bool, words: dict[str, Any]
) -> None:
    if before:
        forget(store, "@eve", source="forum", now=at(-1), tick=silent)
    raw = {"user": "x", "mentions": ["ana"]}
    put(
        store,
        mention("1", "secret words", by="ana"),
        mention("2", "RT @ana: secret words", by="ben"),
        mention("3", "others", by="cleo", raw=raw),
        mention("4", "RT @dora: others", by="ben"),
    )
    saved(tmp_path)
    forget(store, "@ana", now=at(1), tick=silent, **words)
    store.close()
    done = put_back(tmp_path).carried
    assert done is not None
    assert done.forgotten >= 1
    assert done.erased == done.removed == 2, "both were buried when they were erased"
    assert texts(tmp_path / "listener.db") == {
        "1": "",
        "2": "",
        "3": "others",
        "4": "RT @dora: others",
    }
    with Store(tmp_path / "listener.db") as back:
        assert back.value("SELECT count(*) FROM mentions WHERE raw IS NOT NULL") == 0
        assert back.value("SELECT 1 FROM authors WHERE handle = '@ana'") is None
        assert put(back, mention("9", by="ana"), mention("10", by="eve")) == (0 if before else 1)
    assert b"secret words" not in (tmp_path / "listener.db").read_bytes()


def test_marks_alone_erase_what_was_never_buried(store: Store, tmp_path: Path) -> None:
    """The author was forgotten when these posts were not stored any more, or under another name."""
    put(
        store,
        mention("1", "secret words", by="ana"),
        mention("2", "rt @ana: secret words", by="ben"),
    )
    saved(tmp_path)
    with store.write() as connection:
        connection.execute("DELETE FROM mentions")
    forget(store, "@ana", source="forum", now=at(1), tick=silent)
    store.close()
    done = put_back(tmp_path).carried
    assert done is not None
    assert (done.removed, done.erased) == (0, 2)
    assert set(texts(tmp_path / "listener.db").values()) == {""}


def test_what_was_taken_down_since_stays_down(store: Store, tmp_path: Path) -> None:
    put(store, mention("1", "secret words"), mention("2", "others"))
    saved(tmp_path)
    put(store, updates=[tombstone("1"), tombstone("7")], now=at(1))
    store.close()
    done = put_back(tmp_path).carried
    assert done == Carried(forgotten=0, removed=1, erased=1)
    assert texts(tmp_path / "listener.db") == {"1": "", "2": "others"}
    with Store(tmp_path / "listener.db") as back:
        assert put(back, mention("7")) == 0


def test_promises_to_readers_and_money_are_carried_over(store: Store, tmp_path: Path) -> None:
    people = {one.email: one for one in config().recipients}

    def mail(kind: Kind, ref: str, person: str, status: str) -> None:
        with store.write() as connection:
            enqueue(connection, kind, ref, people[person], now=NOW)
            connection.execute(
                "UPDATE deliveries SET status = ? WHERE ref = ? AND recipient = ?",
                (status, ref, person),
            )

    def spend(dollars: int) -> None:
        with store.write() as connection:
            connection.execute(
                "INSERT INTO spend (at, source, query, requests, resources, micro_dollars) "
                "VALUES ('2026-03-10T12:00:00Z', 'x', '', 1, 1, ?)",
                (dollars,),
            )

    def alert(key: str) -> None:
        with store.write() as connection:
            connection.execute(
                "INSERT INTO conversations (source, root_id, started_at, last_at, mentions, "
                "authors, stage, state, early) VALUES ('forum', ?, '', '', 1, 1, '', 'early', 1)",
                (key,),
            )
            connection.execute(
                "INSERT INTO alerts (key, rule, conversation_id, mention_id, probability, reasons, "
                "created_at) SELECT ?, 'r', max(id), 1, 0.9, '[]', '' FROM conversations",
                (key,),
            )

    put(store, mention("1"))
    spend(5)
    alert("a")
    mail("alert", "1", "ben@example.com", "waiting")
    mail("digest", "2026-03-10", "ana@example.com", "sent")
    saved(tmp_path)
    spend(7)
    alert("b")
    alert("c")
    mail("alert", "1", "ben@example.com", "sent")
    mail("digest", "2026-03-11", "ana@example.com", "sent")
    with store.write() as connection:
        suppress(connection, "cleo@example.com", "digest", "unsubscribed", now=at(1))
        connection.execute("INSERT INTO job_runs VALUES ('d', '2026-03-11', '', '', 'done', NULL)")
    store.close()
    put_back(tmp_path)
    with Store(tmp_path / "listener.db") as back:
        rows = back.rows("SELECT kind, ref, status FROM deliveries ORDER BY kind, ref")
        assert [tuple(row) for row in rows] == [
            ("alert", "1", "sent"),
            ("digest", "2026-03-10", "sent"),
            ("digest", "2026-03-11", "sent"),
        ]
        assert back.value("SELECT sum(micro_dollars) FROM spend") == 12
        assert back.value("SELECT recipient FROM suppressed") == "cleo@example.com"
        assert back.value("SELECT slot FROM job_runs WHERE job = 'd'") == "2026-03-11"
        # Links in mails name alerts 2 and 3.
        assert back.value("SELECT seq FROM sqlite_sequence WHERE name = 'alerts'") == 3


def test_a_database_that_is_damaged_is_replaced_only_when_asked(
    store: Store, tmp_path: Path
) -> None:
    put(store, mention("1"))
    saved(tmp_path)
    store.close()
    (tmp_path / "listener.db").write_bytes(b"no database at all " * 100)
    with pytest.raises(StoreError, match="add --force"):
        put_back(tmp_path)
    assert (tmp_path / "listener.db").read_bytes().startswith(b"no database")
    assert not put_back(tmp_path, force=True).carried
    assert set(texts(tmp_path / "listener.db")) == {"1"}


def test_another_database_is_not_mixed_in(store: Store, tmp_path: Path) -> None:
    forget(store, "@eve", source="forum", now=NOW, tick=silent)
    saved(tmp_path)
    with store.write() as connection:
        connection.execute("UPDATE state SET value = 'ab' WHERE key = 'forgotten.key'")
    with pytest.raises(StoreError, match="another database"):
        put_back(tmp_path)


def damaged(path: Path) -> None:
    content = bytearray(path.read_bytes())
    content[5000:9000] = bytes(4000)
    path.write_bytes(content)


def plain(path: Path) -> None:
    with closing(sqlite3.connect(path)) as connection:
        connection.execute("DROP TABLE backup")
        connection.commit()


def newer(path: Path) -> None:
    with closing(sqlite3.connect(path)) as connection:
        connection.execute(
            "UPDATE _sqlite_migrations SET name = 'm999_later' WHERE name LIKE 'm002%'"
        )
        connection.commit()


def foreign(path: Path) -> None:
    path.unlink()
    with closing(sqlite3.connect(path)) as connection:
        connection.execute("CREATE TABLE backup (x)")


def text(path: Path) -> None:
    path.write_text("not a database")


@pytest.mark.parametrize(
    ("harm", "words"),
    [
        (damaged, "damaged|malformed"),
        (plain, "not made by `listener backup`"),
        (newer, "newer version"),
        (foreign, "no database of Listener"),
        (text, "not a database"),
        (Path.unlink, "does not exist"),
    ],
)
def test_what_is_no_good_backup_changes_nothing(
    store: Store, tmp_path: Path, harm: Callable[[Path], None], words: str
) -> None:
    put(store, mention("1"))
    saved(tmp_path)
    harm(tmp_path / "backup.db")
    with pytest.raises(StoreError, match=words):
        put_back(tmp_path)
    assert store.value("SELECT count(*) FROM mentions") == 1
    left = [path.name for path in tmp_path.iterdir() if path.name.startswith(".")]
    assert left == []
    assert not (tmp_path / f"listener.db{BEFORE}").exists()


# -- the commands


def test_the_commands(store: Store, tmp_path: Path) -> None:
    put(store, mention("1"))
    settings = tmp_path / "config.toml"
    settings.write_text('[brand]\nname = "Lumora"\n', "utf-8")
    base = ["-c", str(settings)]
    target = str(tmp_path / "b.db")

    def call(*words: str) -> tuple[int, str]:
        result = CliRunner().invoke(main, [*base, *words])
        return result.exit_code, result.output

    session = Session(settings)
    assert set(beside(session.config, session.database)) == {"links.key", "bluesky-session.json"}
    code, told = call("backup", target)
    assert code == 0
    assert "1 mentions" in told
    assert call("backup", target)[0] == 1
    with session.writing():
        assert call("backup", target, "--force")[0] == 0, "it needs no lock"
        code, told = call("restore", target)
        assert code == 1
        assert f"process {os.getpid()} on " in told
    assert not (tmp_path / f"listener.db{BEFORE}").exists()
    store.close()
    code, told = call("restore", target)
    assert code == 0, told
    assert "Restored 1 mentions as of" in told
    assert "before-restore" in told
