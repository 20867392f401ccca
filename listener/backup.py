"""Copying the database while it is in use, and putting a copy back.

A backup is one SQLite file: the database, and in the table `backup` the small files beside it that
are needed to go on (the key of links, sessions), so that nothing has to be unpacked and the file
can be looked into with any SQLite tool. It holds posts and secrets: only its owner may read it.

Putting one back goes back in time for posts and alerts, but not for promises: who was forgotten or
has unsubscribed since, what was taken down, what was spent and which mails have left is carried
over from the database that it replaces.
"""

from __future__ import annotations

import os
import sqlite3
import tempfile
from collections.abc import Iterator, Mapping
from contextlib import closing, contextmanager, suppress
from dataclasses import dataclass, replace
from datetime import datetime
from pathlib import Path

from sqlite_utils import Database

from .carry import Carried, carry_over
from .config import Config
from .schema import known, migrations
from .steps import Progress
from .store import Store, StoreError, existing, moment, stamp

BEFORE = ".before-restore"
"""Behind the name of the database that a restored one has replaced."""
LAST = "backup"
"""Key of `state` with the time of the last backup."""
_PAGES = 500
_SECRET = 0o600
_COUNTED = ("mentions", "authors", "conversations", "alerts", "deliveries", "spend", "forgotten")
_TABLE = "CREATE TABLE backup (name TEXT PRIMARY KEY, content BLOB NOT NULL) WITHOUT ROWID"
_FILES = "file:"


@dataclass(frozen=True, slots=True, kw_only=True)
class BackedUp:
    """What a backup holds: its size in bytes, rows of the main tables, names of small files."""

    size: int
    rows: Mapping[str, int]
    files: tuple[str, ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class Restored:
    """What came back: `made_at` and `mentions` of the backup, small `files` that were missing.

    `carried` is what was taken over from the database that was there, which now lies at `kept`;
    None without one, or when it was damaged.
    """

    made_at: datetime
    mentions: int
    files: tuple[str, ...]
    carried: Carried | None = None
    kept: Path | None = None


def beside(config: Config, database: Path) -> dict[str, Path]:
    """The small files that the database needs to go on, by the name they have in a backup."""
    return {
        "links.key": database.with_name(database.name + ".key"),
        "bluesky-session.json": config.sources.bluesky.session_file,
    }


def back_up(
    database: Path,
    target: Path,
    *,
    files: Mapping[str, Path],
    force: bool = False,
    now: datetime,
    tick: Progress,
) -> BackedUp:
    """Copy the database and `files` (those that exist) into the file `target`, whole or not at all.

    The daemon may go on meanwhile: the copy is that of one moment, read without a lock that a
    writer waits for. It is checked (integrity, foreign keys, row counts) before it gets its name.
    `tick` hears of copied pages. Raises `StoreError`; an existing `target` stays without `force`.
    """
    if target.exists() and not force:
        raise StoreError(f"{target} exists already: name another file, or add --force")
    if target.resolve() == database.resolve():
        raise StoreError(f"{target} is the database itself: name another file")
    with _part_of(target) as part:
        rows = _copy(existing(database), part, tick)
        with closing(_open(part)) as copy:
            # One file without a log beside it.
            copy.execute("PRAGMA journal_mode = DELETE")
            found = {name: path.read_bytes() for name, path in files.items() if path.is_file()}
            with copy:
                copy.execute("DROP TABLE IF EXISTS backup")
                copy.execute(_TABLE)
                copy.execute("INSERT INTO backup VALUES ('made_at', ?)", (stamp(now),))
                copy.executemany(
                    "INSERT INTO backup VALUES (?, ?)",
                    [(_FILES + name, content) for name, content in found.items()],
                )
            _check(copy, target)
            if _count(copy) != rows:
                raise StoreError(f"{target}: the copy has other rows than the database: try again")
        _sync(part)
        part.replace(target)
    with Store(database) as store, store.write() as connection:
        connection.execute("INSERT OR REPLACE INTO state VALUES (?, ?)", (LAST, stamp(now)))
    return BackedUp(size=target.stat().st_size, rows=rows, files=tuple(sorted(found)))


def restore(
    backup: Path,
    database: Path,
    *,
    files: Mapping[str, Path],
    force: bool = False,
    now: datetime,
    tick: Progress,
) -> Restored:
    """Put `backup` in the place of `database`, which no other program may write meanwhile.

    The database that is there is kept beside, with `BEFORE` behind its name. Of `files`, those that
    are missing come back, for their owner only. With `force` it goes on when the database that is
    there is too damaged to carry anything over. Raises `StoreError`, and then nothing has changed.
    """
    old = database.with_name(database.name + BEFORE)
    if database.exists() and old.exists():
        raise StoreError(f"{old} is there from an earlier restore: move it away or remove it first")
    with _part_of(database) as part:
        _copy(existing(backup), part, tick)
        with closing(_open(part)) as copy:
            _check(copy, backup)
            _known(copy, backup)
            made_at, found = _contents(copy, backup)
            copy.execute("DROP TABLE backup")
        with Store(part) as store:
            told = Restored(
                made_at=made_at,
                mentions=store.value("SELECT count(*) FROM mentions"),
                files=(),
            )
            if database.exists():
                carried = carry_over(store, database, force=force, now=now, tick=tick)
                told = replace(told, carried=carried)
            # What the daemon was doing when the copy was made it does no more.
            with store.write() as connection:
                connection.execute("DELETE FROM state WHERE key IN ('heartbeat', 'running')")
            store.empty_log()
        with closing(_open(part)) as copy:
            _check(copy, backup)
        _sync(part)
        if database.exists():
            part.chmod(database.stat().st_mode)
        kept = _set_aside(database, old)
        part.replace(database)
    written = tuple(
        name for name, content in found.items() if name in files and _write(files[name], content)
    )
    return replace(told, files=written, kept=kept)


@contextmanager
def _part_of(target: Path) -> Iterator[Path]:
    """A file beside `target` for what is not whole yet, readable by its owner only."""
    try:
        handle, name = tempfile.mkstemp(prefix=f".{target.name}.", dir=target.absolute().parent)
    except OSError as error:
        raise StoreError(
            f"{target.absolute().parent} cannot be written ({error.strerror}): make it, or name "
            "a file in another folder"
        ) from error
    os.close(handle)
    try:
        yield Path(name)
    except sqlite3.Error as error:
        raise StoreError(
            f"{target}: {error}: nothing was changed; free some space or check the file, then try "
            "again"
        ) from error
    except OSError as error:
        raise StoreError(f"{target}: {error.strerror}: nothing was changed") from error
    finally:
        for ending in ("", "-wal", "-shm", "-journal"):
            with suppress(FileNotFoundError):
                Path(name + ending).unlink()


def _open(path: Path) -> sqlite3.Connection:
    connection = sqlite3.connect(path)
    connection.row_factory = sqlite3.Row
    return connection


def _copy(source: Path, target: Path, tick: Progress) -> dict[str, int]:
    """Copy the pages of one moment; returns how many rows the main tables had then.

    SQLite's online copy begins anew whenever another process writes, so that a busy daemon would
    keep it from ever ending. A transaction that only reads holds on to its moment instead; under
    WAL no writer waits for it.
    """
    last = [0]

    def progress(_: int, left: int, total: int) -> None:
        # Little by little: one large flush at the end would keep the commits of others waiting.
        _sync(target)
        tick(max(total - left - last[0], 0))
        last[0] = total - left

    uri = f"{source.resolve().as_uri()}?mode=ro"
    with closing(sqlite3.connect(uri, uri=True)) as origin, closing(_open(target)) as copy:
        origin.isolation_level = None
        origin.row_factory = sqlite3.Row
        # Nothing of a copy that fails is used, so that it needs no journal; it is flushed here.
        copy.execute("PRAGMA journal_mode = OFF")
        copy.execute("PRAGMA synchronous = OFF")
        origin.execute("BEGIN")
        rows = _count(origin)
        origin.backup(copy, pages=_PAGES, progress=progress, sleep=0)
        origin.execute("ROLLBACK")
    return rows


def _count(connection: sqlite3.Connection) -> dict[str, int]:
    there = {row["name"] for row in connection.execute("SELECT name FROM sqlite_master")}
    return {
        table: connection.execute(f"SELECT count(*) FROM {table}").fetchone()[0]
        for table in _COUNTED
        if table in there
    }


def _check(connection: sqlite3.Connection, named: Path) -> None:
    """Raise `StoreError` when a copy is not whole; `named` is the file that is told of."""
    found = connection.execute("PRAGMA integrity_check(1)").fetchone()[0]
    orphan = connection.execute("PRAGMA foreign_key_check").fetchone()
    if found != "ok" or orphan is not None:
        told = found if found != "ok" else f"a row of {orphan[0]} belongs to nothing"
        raise StoreError(f"{named} is damaged ({told}): use another backup")


def _known(connection: sqlite3.Connection, backup: Path) -> None:
    applied = {migration.name for migration in migrations.applied(Database(connection))}
    if not applied:
        raise StoreError(f"{backup} is no database of Listener: name another file")
    if applied - known():
        raise StoreError(
            f"{backup} was written by a newer version of Listener: upgrade with "
            "`pip install -U proactive-listener`"
        )


def _contents(connection: sqlite3.Connection, backup: Path) -> tuple[datetime, dict[str, bytes]]:
    try:
        rows = connection.execute("SELECT name, content FROM backup").fetchall()
    except sqlite3.OperationalError:
        raise StoreError(f"{backup} was not made by `listener backup`: name another file") from None
    told = {row["name"]: row["content"] for row in rows}
    found = {
        name.removeprefix(_FILES): content
        for name, content in told.items()
        if name.startswith(_FILES)
    }
    return moment(told["made_at"]), found


def _set_aside(database: Path, old: Path) -> Path | None:
    """Move the database away with its log, which would else be taken for that of the copy."""
    if not database.exists():
        return None
    for ending in ("-wal", "-shm"):
        log = database.with_name(database.name + ending)
        if log.exists():
            log.replace(old.with_name(old.name + ending))
    database.replace(old)
    return old


def _write(path: Path, content: bytes) -> bool:
    """Write a file that is missing, for its owner only; returns whether it was."""
    try:
        handle = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL, _SECRET)
    except FileExistsError:
        return False
    with os.fdopen(handle, "wb") as file:
        file.write(content)
    return True


def _sync(path: Path) -> None:
    with path.open("rb") as file:
        os.fsync(file.fileno())
