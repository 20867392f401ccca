"""What a restored database takes over from the one that it replaces: promises, not posts.

Who was forgotten, what was taken down, who gets no mail, what was spent and which mails have left.
"""

from __future__ import annotations

import sqlite3
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path

from connectors.base import Author, Mention

from . import forgotten
from .erase import clean_index, wipe
from .forget import forget
from .steps import Progress
from .store import Store, StoreError

_BATCH = 500


@dataclass(frozen=True, slots=True, kw_only=True)
class Carried:
    """New marks of `forgotten` authors, posts `removed` since, and all posts `erased` by both."""

    forgotten: int
    removed: int
    erased: int


def carry_over(
    store: Store, database: Path, *, force: bool, now: datetime, tick: Progress
) -> Carried | None:
    """Bring what must not be undone from `database` into `store`, and do it there.

    None when `database` is damaged and that is no matter, with `force`. Raises `StoreError`.
    """
    try:
        # Opened once, so that it has the tables of this version.
        with Store(database) as newer:
            if (damage := newer.value("PRAGMA quick_check(1)")) != "ok":
                raise StoreError(f"{database} is damaged ({damage})")
            newer.empty_log()
    except StoreError as error:
        if force:
            return None
        raise StoreError(
            f"{error}; who was forgotten and what was taken down since the backup would come back: "
            "add --force to restore all the same, then run `listener forget` and "
            "`listener sync-deletions --all` again"
        ) from error
    store.rows("ATTACH ? AS newer", (str(database),))
    try:
        before = store.value("SELECT count(*) FROM forgotten")
        with store.write() as connection:
            _same_marks(connection, database)
            for statement in _CARRIED:
                connection.execute(statement)
            gone = connection.execute(_REMOVED).fetchall()
            connection.execute("INSERT OR IGNORE INTO tombstones SELECT * FROM newer.tombstones")
    finally:
        store.rows("DETACH newer")
    marks = store.value("SELECT count(*) FROM forgotten") - before
    for at in range(0, len(gone), _BATCH):
        with store.write() as connection:
            wipe(connection, [row["id"] for row in gone[at : at + _BATCH]])
    erased = _forget_again(store, now, tick) if marks else 0
    clean_index(store)
    return Carried(forgotten=marks, removed=len(gone), erased=erased + len(gone))


_REMOVED = """
SELECT m.id FROM mentions m JOIN newer.tombstones t USING (source, native_id)
WHERE NOT EXISTS (SELECT 1 FROM tombstones o
    WHERE o.source = m.source AND o.native_id = m.native_id)
"""
# Numbers of alerts stand in links of mails that have left: none is given a second time.
_CARRIED = (
    "INSERT OR IGNORE INTO forgotten SELECT * FROM newer.forgotten",
    "INSERT OR REPLACE INTO suppressed SELECT * FROM newer.suppressed",
    "INSERT INTO spend (at, source, query, requests, resources, micro_dollars) "
    "SELECT at, source, query, requests, resources, micro_dollars FROM newer.spend "
    "WHERE id > (SELECT coalesce(max(id), 0) FROM spend) ORDER BY id",
    "UPDATE deliveries SET (status, attempts, sent_at, error) = (SELECT n.status, n.attempts, "
    "n.sent_at, n.error FROM newer.deliveries n WHERE n.kind = deliveries.kind "
    "AND n.ref = deliveries.ref AND n.recipient = deliveries.recipient) "
    "WHERE status = 'waiting' AND EXISTS (SELECT 1 FROM newer.deliveries n WHERE "
    "n.kind = deliveries.kind AND n.ref = deliveries.ref AND n.recipient = deliveries.recipient)",
    "INSERT OR IGNORE INTO deliveries (kind, ref, recipient, message_id, status, attempts, "
    "created_at, next_try_at, sent_at, error) SELECT kind, ref, recipient, message_id, status, "
    "attempts, created_at, next_try_at, sent_at, error FROM newer.deliveries "
    "WHERE kind = 'digest'",
    "INSERT OR REPLACE INTO job_runs SELECT * FROM newer.job_runs",
    "INSERT OR IGNORE INTO sqlite_sequence SELECT name, 0 FROM newer.sqlite_sequence n "
    "WHERE NOT EXISTS (SELECT 1 FROM sqlite_sequence o WHERE o.name = n.name)",
    "UPDATE sqlite_sequence SET seq = max(seq, (SELECT n.seq FROM newer.sqlite_sequence n "
    "WHERE n.name = sqlite_sequence.name)) WHERE name IN (SELECT name FROM newer.sqlite_sequence)",
)


def _same_marks(connection: sqlite3.Connection, database: Path) -> None:
    """Take the key of the list of the forgotten over; two lists with two keys cannot be one."""
    key = (forgotten.KEY,)
    (mine,) = connection.execute("SELECT max(value) FROM state WHERE key = ?", key).fetchone()
    (newer,) = connection.execute(
        "SELECT max(value) FROM newer.state WHERE key = ?", key
    ).fetchone()
    if mine and newer and mine != newer:
        raise StoreError(
            f"{database} is another database than the one that the backup was made of: move it "
            "away first, or name another with --db"
        )
    if newer:
        connection.execute("INSERT OR IGNORE INTO state VALUES (?, ?)", (forgotten.KEY, newer))


def _forget_again(store: Store, now: datetime, tick: Progress) -> int:
    """Erase what forgotten authors wrote, and all raw records, which may name them."""
    with store.write() as connection:
        names = forgotten.Names(connection)
        authors = [
            row
            for row in store.rows("SELECT source, native_id, handle FROM authors")
            if names.wrote(_by(row["source"], "", Author(**dict(row))))
        ]
        passed_on = [
            row["id"]
            for row in store.rows(
                "SELECT id, source, text FROM mentions "
                "WHERE lower(substr(ltrim(text), 1, 4)) = 'rt @'"
            )
            if names.wrote(_by(row["source"], row["text"], None))
        ]
        wipe(connection, passed_on)
    erased = sum(
        one.posts + one.reposts
        for row in authors
        for one in forget(store, row["native_id"], source=row["source"], now=now, tick=tick)
    )
    _drop_raw(store, tick)
    return erased + len(passed_on)


def _by(source: str, text: str, author: Author | None) -> Mention:
    """A mention as the list of the forgotten is asked about it."""
    never = datetime.min.replace(tzinfo=UTC)
    return Mention(source=source, native_id="-", text=text, published_at=never, author=author)


def _drop_raw(store: Store, tick: Progress) -> None:
    while True:
        with store.write() as connection:
            dropped = connection.execute(
                "UPDATE mentions SET raw = NULL WHERE id IN "
                "(SELECT id FROM mentions WHERE raw IS NOT NULL LIMIT ?)",
                (20 * _BATCH,),
            ).rowcount
        if not dropped:
            return
        tick(0)
