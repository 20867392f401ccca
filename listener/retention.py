"""Removing what is older than the configuration wants to keep."""

from __future__ import annotations

from datetime import datetime, timedelta
from pathlib import Path

from . import duplicates
from .analyse import WATCH
from .config import Retention
from .erase import clean_index, clean_outbox, drop_authors, mark
from .steps import Progress, ask
from .store import Store, stamp

_BATCH = 1000
# Records of what was done; `spend` is none of them, since it is the account of the money.
_LOGS = (
    "DELETE FROM runs WHERE started_at < :before",
    "DELETE FROM coverage WHERE hour < substr(:before, 1, 13)",
    "DELETE FROM coverage_gaps WHERE end_at < :before",
    "DELETE FROM coverage_places WHERE asked_at < :before",
    "DELETE FROM deliveries WHERE status <> 'waiting' AND created_at < :before",
    # The last slot of a job says what it has to catch up with.
    "DELETE FROM job_runs WHERE started_at < :before "
    "AND slot < (SELECT max(slot) FROM job_runs l WHERE l.job = job_runs.job)",
)


def prune(
    store: Store, retention: Retention, *, outbox: Path, now: datetime, tick: Progress
) -> int:
    """Delete mentions, raw records, records of what was done and mails in `outbox` past their age.

    Age counts from first sight, not from publication: an import of old posts is kept as long as a
    fresh one. Mails quote posts, so their files go with the posts, or sooner with the records.
    Returns how many mentions were deleted. 0 days in the configuration keeps for ever.
    """
    if retention.raw_days:
        _drop_raw(store, stamp(now - timedelta(days=retention.raw_days)), tick)
    total = 0
    if retention.mentions_days:
        total = _drop_mentions(store, stamp(now - timedelta(days=retention.mentions_days)), tick)
    if retention.log_days:
        before = {"before": stamp(now - timedelta(days=retention.log_days))}
        with store.write() as connection:
            for statement in _LOGS:
                connection.execute(statement, before)
    if kept := [days for days in (retention.mentions_days, retention.log_days) if days]:
        _drop_files(outbox, now - timedelta(days=min(kept)))
    clean_outbox(store, outbox)
    clean_index(store)
    return total


def _drop_raw(store: Store, before: str, tick: Progress) -> None:
    while rows := store.rows(
        "SELECT id FROM mentions WHERE first_seen_at < ? AND raw IS NOT NULL LIMIT ?",
        (before, _BATCH),
    ):
        with store.write() as connection:
            connection.executemany(
                "UPDATE mentions SET raw = NULL WHERE id = ?", [(row["id"],) for row in rows]
            )
        tick(0)


def _drop_mentions(store: Store, before: str, tick: Progress) -> int:
    total = 0
    while rows := store.rows(
        "SELECT id, conversation_id, author_id FROM mentions WHERE first_seen_at < ? LIMIT ?",
        (before, _BATCH),
    ):
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
            drop_authors(connection, {row["author_id"] for row in rows} - {None})
            mark(connection)
        total += len(rows)
        tick(len(rows))
    return total


def _drop_files(outbox: Path, before: datetime) -> None:
    for path in (*outbox.glob("alert-*"), *outbox.glob("digest-*")):
        if path.suffix in (".eml", ".html") and path.stat().st_mtime < before.timestamp():
            path.unlink(missing_ok=True)
