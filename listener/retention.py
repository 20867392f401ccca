"""Removing what is older than the configuration wants to keep."""

from __future__ import annotations

from datetime import datetime, timedelta

from . import duplicates
from .analyse import WATCH
from .config import Retention
from .steps import Progress, ask
from .store import Store, stamp

_BATCH = 1000


def prune(store: Store, retention: Retention, *, now: datetime, tick: Progress) -> int:
    """Delete mentions and raw records past their age since they were first seen.

    Age counts from first sight, not from publication: an import of old posts is kept as long as a
    fresh one. Returns how many mentions were deleted. 0 days in the configuration keeps for ever.
    """
    if retention.raw_days:
        before = stamp(now - timedelta(days=retention.raw_days))
        with store.write() as connection:
            connection.execute(
                "UPDATE mentions SET raw = NULL WHERE first_seen_at < ? AND raw IS NOT NULL",
                (before,),
            )
    total = 0
    while retention.mentions_days:
        before = stamp(now - timedelta(days=retention.mentions_days))
        rows = store.rows(
            "SELECT id, conversation_id, author_id FROM mentions WHERE first_seen_at < ? LIMIT ?",
            (before, _BATCH),
        )
        if not rows:
            break
        with store.write() as connection:
            duplicates.forget(connection, [row["id"] for row in rows])
            connection.executemany("DELETE FROM mentions WHERE id = ?", [(r["id"],) for r in rows])
            for conversation in {row["conversation_id"] for row in rows}:
                left = connection.execute(
                    "SELECT id FROM mentions WHERE conversation_id = ? LIMIT 1", (conversation,)
                ).fetchall()
                ask(connection, WATCH, [row["id"] for row in left])
                if not left:
                    connection.execute("DELETE FROM conversations WHERE id = ?", (conversation,))
            # The posts of an author that are left may belong together in another way.
            connection.executemany(
                "INSERT OR IGNORE INTO work SELECT ?, id FROM mentions WHERE author_id = ? LIMIT 1",
                [(WATCH, author) for author in {row["author_id"] for row in rows}],
            )
            connection.executemany(
                "DELETE FROM authors WHERE id = :id "
                "AND NOT EXISTS (SELECT 1 FROM mentions WHERE author_id = :id)",
                [{"id": author} for author in {row["author_id"] for row in rows}],
            )
        total += len(rows)
        tick(len(rows))
    return total
