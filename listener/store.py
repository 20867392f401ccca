"""The SQLite file: opening it, and the only door to writing it.

Writers begin immediately: a deferred transaction that turns into a write fails at once under WAL,
whatever the busy timeout says. A `Store` belongs to one thread; each job opens its own.
"""

from __future__ import annotations

import sqlite3
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from sqlite_utils import Database

from .schema import known, migrations

BUSY_SECONDS = 30.0
_FIXES = (
    ("full", "the disk is full: free some space and run again; nothing was half-written"),
    ("readonly", "the file or its folder is read-only: make both writable or set [database] path"),
    ("unable to open", "the file cannot be opened: check that its folder exists and is writable"),
    ("locked", "another program holds the database: stop it or wait, then run again"),
    ("not a database", "the file is not an SQLite database: set [database] path to another file"),
    ("malformed", "the file is damaged: restore a backup, or move it away to start anew"),
    ("disk i/o", "the disk reports an error: check it, then run again"),
)


# VACUUM INTO attaches the file that it writes, so this refuses both.
_FORBIDDEN = frozenset({sqlite3.SQLITE_ATTACH, sqlite3.SQLITE_DETACH})


class StoreError(Exception):
    """The database cannot be used; the text says why and what to do."""


def stamp(moment: datetime) -> str:
    """UTC text of an aware time, to the second: `YYYY-MM-DDTHH:MM:SSZ`. Naive times are refused."""
    if moment.utcoffset() is None:
        raise ValueError("a time without a zone cannot be stored")
    return moment.astimezone(UTC).replace(tzinfo=None).isoformat(timespec="seconds") + "Z"


def moment(text: str) -> datetime:
    """Aware UTC time of what `stamp` wrote."""
    return datetime.fromisoformat(text)


@contextmanager
def _explained(path: Path) -> Iterator[None]:
    try:
        yield
    except sqlite3.DatabaseError as error:
        if isinstance(error, sqlite3.IntegrityError | sqlite3.ProgrammingError):
            raise
        text = str(error).lower()
        fix = next((fix for sign, fix in _FIXES if sign in text), None)
        if fix is None:
            raise
        raise StoreError(f"{path}: {fix} ({error})") from error


class Store:
    """An open database, migrated to this version's tables.

    Raises `StoreError` when the file cannot be opened or was written by a newer version.
    """

    def __init__(self, path: Path | str) -> None:
        self.path = Path(path)
        with _explained(self.path):
            self._connection = sqlite3.connect(
                path, isolation_level=None, timeout=BUSY_SECONDS, check_same_thread=False
            )
            try:
                self._prepare()
            except BaseException:
                self._connection.close()
                raise

    def _prepare(self) -> None:
        self._connection.row_factory = sqlite3.Row
        database = Database(self._connection)
        applied = _applied(database, self.path)
        for pragma in (
            "journal_mode = WAL",
            "synchronous = FULL",
            "foreign_keys = ON",
            "temp_store = MEMORY",
            # What is erased is overwritten, not only unlinked.
            "secure_delete = ON",
        ):
            self._connection.execute(f"PRAGMA {pragma}")
        if known() - applied:
            with self.write():
                migrations.apply(database)

    @contextmanager
    def write(self) -> Iterator[sqlite3.Connection]:
        """One transaction, begun immediately; rolled back when the block raises."""
        with _explained(self.path):
            self._connection.execute("BEGIN IMMEDIATE")
            try:
                yield self._connection
                self._connection.execute("COMMIT")
            except BaseException:
                # A full disk rolls back by itself; a second ROLLBACK would hide that error.
                if self._connection.in_transaction:
                    self._connection.execute("ROLLBACK")
                raise

    def rows(self, sql: str, parameters: Sequence[Any] | dict[str, Any] = ()) -> list[sqlite3.Row]:
        """All rows of a query that only reads."""
        with _explained(self.path):
            return self._connection.execute(sql, parameters).fetchall()

    def value(self, sql: str, parameters: Sequence[Any] | dict[str, Any] = ()) -> Any:
        """First column of the first row, or None."""
        with _explained(self.path):
            row = self._connection.execute(sql, parameters).fetchone()
        return None if row is None else row[0]

    def empty_log(self) -> None:
        """Move the write-ahead log into the file and cut it to nothing, unless others read it."""
        with _explained(self.path):
            self._connection.execute("PRAGMA wal_checkpoint(TRUNCATE)")

    def close(self) -> None:
        """Close the file; what was committed stays."""
        self._connection.close()

    def __enter__(self) -> Store:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()


def _applied(database: Database, path: Path) -> set[str]:
    """Names of the migrations in the file; `StoreError` when some are of a newer version."""
    applied = {migration.name for migration in migrations.applied(database)}
    if applied - known():
        raise StoreError(
            f"{path} was written by a newer version of Listener: upgrade with "
            "`pip install -U proactive-listener`, or set [database] path to another file"
        )
    return applied


def existing(path: Path) -> Path:
    """`path` as it is; raises `StoreError` when there is no database yet."""
    if not path.is_file():
        raise StoreError(f"{path} does not exist yet: run `listener run --once` first")
    return path


def open_read_only(path: Path) -> sqlite3.Connection:
    """A connection that cannot write, to this file or another, for queries that people type.

    Raises `StoreError` when there is no database yet, or none of this version.
    """
    with _explained(path):
        connection = sqlite3.connect(f"{existing(path).resolve().as_uri()}?mode=ro", uri=True)
        try:
            connection.row_factory = sqlite3.Row
            if known() - _applied(Database(connection), path):
                raise StoreError(
                    f"{path} has no tables of this version: run `listener run --once` first"
                )
            connection.execute("PRAGMA query_only = ON")
            connection.set_authorizer(_authorize)
        except BaseException:
            connection.close()
            raise
    return connection


def _authorize(action: int, *_: str | None) -> int:
    return sqlite3.SQLITE_DENY if action in _FORBIDDEN else sqlite3.SQLITE_OK
