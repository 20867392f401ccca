"""Steps that read every mention once per version: what is left to do, and marking it done."""

from __future__ import annotations

import json
import sqlite3
from collections.abc import Callable, Sequence

from .store import Store

Progress = Callable[[int], None]
"""Called after each stored batch with its number of mentions; may raise `Stopped`."""
ProgressOf = Callable[[str, int | None], Progress]
"""Opens the progress of a named step; the number is how many mentions it will read, if known."""


class Stopped(Exception):
    """Raised by a progress callback to end a step after what is stored; the next run goes on."""


def silent(_: str, __: int | None) -> Progress:
    """No progress shown."""
    return lambda _: None


def announce(store: Store, step: str, version: str) -> None:
    """Register a step; a new step or a new version puts every mention on its list.

    What was taken down has nothing left to read and stays off it.
    """
    if store.value("SELECT version FROM steps WHERE name = ?", (step,)) == version:
        return
    with store.write() as connection:
        connection.execute(
            "INSERT INTO steps (name, version) VALUES (?, ?) "
            "ON CONFLICT DO UPDATE SET version = excluded.version",
            (step, version),
        )
        connection.execute(
            "INSERT OR IGNORE INTO work SELECT ?, id FROM mentions m WHERE NOT EXISTS (SELECT 1 "
            "FROM tombstones t WHERE t.source = m.source AND t.native_id = m.native_id)",
            (step,),
        )


def waiting(store: Store, step: str) -> int:
    """How many mentions the step has still to read."""
    return int(store.value("SELECT count(*) FROM work WHERE step = ?", (step,)))


def batch(store: Store, step: str, size: int, *, after: str = "") -> list[sqlite3.Row]:
    """The next mentions of a step, oldest row first: id, title, text, languages, at.

    Those that the step `after` has still to read are left for later.
    """
    return store.rows(
        "SELECT m.id, m.title, m.text, m.declared_language, m.language, m.at "
        "FROM work w JOIN mentions m ON m.id = w.mention_id WHERE w.step = ? AND NOT EXISTS "
        "(SELECT 1 FROM work p WHERE p.step = ? AND p.mention_id = w.mention_id) "
        "ORDER BY w.mention_id LIMIT ?",
        (step, after, size),
    )


def unchanged(connection: sqlite3.Connection, rows: Sequence[sqlite3.Row]) -> list[bool]:
    """For each row of a batch, whether the mention still says what was read.

    A source may edit or delete it while a step reads; what was found is then about another text.
    """
    now = {
        row["id"]: (row["title"], row["text"])
        for row in connection.execute(
            "SELECT id, title, text FROM mentions WHERE id IN (SELECT value FROM json_each(?))",
            (json.dumps([row["id"] for row in rows]),),
        )
    }
    return [now.get(row["id"]) == (row["title"], row["text"]) for row in rows]


def done(connection: sqlite3.Connection, step: str, ids: Sequence[int]) -> None:
    """Strike mentions off a step's list, inside the transaction that stores its results."""
    connection.executemany(
        "DELETE FROM work WHERE step = ? AND mention_id = ?", [(step, i) for i in ids]
    )


def ask(connection: sqlite3.Connection, step: str, ids: Sequence[int]) -> None:
    """Put mentions on a step's list, since what it reads of them has changed.

    A step that was never announced has no list: it will read every mention anyway.
    """
    connection.executemany(
        "INSERT OR IGNORE INTO work SELECT name, ? FROM steps WHERE name = ?",
        [(i, step) for i in ids],
    )


def document(title: str | None, text: str) -> str:
    """The text that is matched and tagged; spans are offsets into it."""
    return f"{title}\n{text}" if title and text else title or text
