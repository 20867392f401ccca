"""Erasing what was taken down: from the tables, the full-text index and the outbox folder.

`wipe` empties the rows in the caller's transaction. What the index and the outbox folder still hold
of them goes with `clean_index` and `clean_outbox`, once after many.
"""

from __future__ import annotations

import hashlib
import html
import json
import re
import sqlite3
from collections.abc import Iterable, Sequence
from datetime import date, timedelta
from email import policy
from email.parser import BytesParser
from pathlib import Path

from . import duplicates
from .hostile import link
from .rollup import STALE_HOUR
from .steps import document
from .store import Store

_IN = "(SELECT value FROM json_each(:ids))"
_DIRTY = "erased"
# Pages of the index that one transaction may write, so that others get their turn.
_MERGE_PAGES = 2000
_URL = re.compile(r"https?://[^\s\"'<>]+")
_FILE = re.compile(r"alert-(?P<alert>\d+)-|digest-(?P<day>\d{4}-\d\d-\d\d)-")


def wipe(connection: sqlite3.Connection, mention_ids: Iterable[int]) -> None:
    """Empty mentions that were taken down: id and day stay, text and author go, wherever they are.

    Only the watch step reads them once more, since their conversations have changed, and another
    post of each author, whose posts may now belong together in another way.
    """
    ids = {"ids": json.dumps(sorted(set(mention_ids)))}
    rows = connection.execute(
        "SELECT id, title, text, url, author_id, conversation_id, at, first_seen_at "
        f"FROM mentions WHERE id IN {_IN}",
        ids,
    ).fetchall()
    _mark_files(connection, ids)
    _unquote(connection, rows)
    # What is left of these conversations is told again by the watch step.
    connection.execute(
        "UPDATE conversations SET title = '' "
        f"WHERE id IN (SELECT conversation_id FROM mentions WHERE id IN {_IN})",
        ids,
    )
    connection.execute(
        "UPDATE conversations SET outcome = NULL, outcome_entity = NULL, outcome_start = 0, "
        f"outcome_end = 0, outcome_mention_id = NULL WHERE outcome_mention_id IN {_IN}",
        ids,
    )
    connection.execute(
        "UPDATE mentions SET title = NULL, text = '', url = NULL, author_id = NULL, raw = NULL, "
        f"declared_language = NULL WHERE id IN {_IN}",
        ids,
    )
    duplicates.forget(connection, [row["id"] for row in rows])
    for table in (
        "matches",
        "tags",
        "metrics",
        "conversation_events",
        "vectors",
        "relevance_labels",
        "revisions",
        "alerts",
    ):
        connection.execute(f"DELETE FROM {table} WHERE mention_id IN {_IN}", ids)
    connection.execute(f"DELETE FROM work WHERE mention_id IN {_IN} AND step <> 'watch'", ids)
    connection.execute(f"UPDATE lookups SET due_at = NULL WHERE mention_id IN {_IN}", ids)
    connection.executemany(STALE_HOUR, {(row["at"],) for row in rows})
    drop_authors(connection, {row["author_id"] for row in rows} - {None})
    mark(connection)


def drop_authors(connection: sqlite3.Connection, author_ids: Iterable[int]) -> None:
    """Delete the authors that have no post left; one post of each other one is watched again."""
    authors = [(author,) for author in author_ids]
    connection.executemany(
        "INSERT OR IGNORE INTO work SELECT 'watch', id FROM mentions WHERE author_id = ? LIMIT 1",
        authors,
    )
    connection.executemany(
        "DELETE FROM authors WHERE id = ?1 "
        "AND NOT EXISTS (SELECT 1 FROM mentions WHERE author_id = ?1)",
        authors,
    )


def mark(connection: sqlite3.Connection) -> None:
    """Remember that there is something for `clean_index`."""
    connection.execute("INSERT OR REPLACE INTO state VALUES (?, '')", (_DIRTY,))


def _mark_files(connection: sqlite3.Connection, ids: dict[str, str]) -> None:
    """Note the files of mails that may quote these mentions: those of their conversations.

    A mail of an alert shows the latest posts of its conversation, and words of others as reasons.
    """
    if connection.execute("SELECT 1 FROM deliveries LIMIT 1").fetchone() is None:
        return
    chosen = (
        f"SELECT id FROM mentions WHERE id IN {_IN} UNION SELECT o.id FROM mentions m "
        f"JOIN mentions o ON o.conversation_id = m.conversation_id WHERE m.id IN {_IN}"
    )
    connection.execute(
        f"INSERT INTO outbox_erasures (alert) SELECT id FROM alerts WHERE mention_id IN ({chosen})",
        ids,
    )
    for row in connection.execute(
        f"SELECT url, first_seen_at FROM mentions WHERE id IN ({chosen})", ids
    ).fetchall():
        shown = link(row["url"])
        connection.execute(
            "INSERT INTO outbox_erasures (page, since) VALUES (?, ?)",
            (_hash(shown.href), None) if shown else (None, row["first_seen_at"]),
        )


def _unquote(connection: sqlite3.Connection, rows: Sequence[sqlite3.Row]) -> None:
    """Take the words of mentions out of the reasons of alerts about other posts."""
    for row in rows:
        text = document(row["title"], row["text"])
        for alert in connection.execute(
            "SELECT id, parts, reasons FROM alerts WHERE conversation_id = ? AND mention_id <> ?",
            (row["conversation_id"], row["id"]),
        ).fetchall():
            connection.execute(
                "UPDATE alerts SET parts = ?, reasons = ? WHERE id = ?",
                (_without(alert["parts"], text), _without(alert["reasons"], text), alert["id"]),
            )


def _without(told: str, text: str) -> str:
    parts = [
        {**part, "quote": None} if part.get("quote") and part["quote"] in text else part
        for part in json.loads(told)
    ]
    return json.dumps(parts, ensure_ascii=False)


def clean_index(store: Store) -> None:
    """Take what was erased out of the full-text index and the write-ahead log.

    FTS5 notes a deleted word and keeps it until its segments are merged: here they are merged into
    one, in transactions of a bounded size. Freed pages are overwritten (`secure_delete`). Does
    nothing when nothing was erased since the last time.
    """
    if store.value("SELECT 1 FROM state WHERE key = ?", (_DIRTY,)) is None:
        return
    with store.write() as connection:
        # What is erased meanwhile marks it anew; a stop in the middle leaves the mark.
        connection.execute("UPDATE state SET value = 'merging' WHERE key = ?", (_DIRTY,))
    # A negative number first: all segments take part, however few there are.
    pages = -_MERGE_PAGES
    while True:
        with store.write() as connection:
            before = connection.total_changes
            connection.execute(
                "INSERT INTO mentions_fts (mentions_fts, rank) VALUES ('merge', ?)", (pages,)
            )
            changes = connection.total_changes - before
        # As SQLite's documentation says: fewer than two changes mean that nothing was merged.
        if changes < 2:
            break
        pages = _MERGE_PAGES
    with store.write() as connection:
        connection.execute("DELETE FROM state WHERE key = ? AND value = 'merging'", (_DIRTY,))
    store.empty_log()


def clean_outbox(store: Store, folder: Path) -> int:
    """Remove the files of mails that may quote what was erased; returns how many mails."""
    rows = store.rows("SELECT * FROM outbox_erasures")
    if not rows:
        return 0
    alerts = {str(row["alert"]) for row in rows if row["alert"] is not None}
    pages = {row["page"] for row in rows if row["page"] is not None}
    since = min((row["since"] for row in rows if row["since"] is not None), default="9999")
    removed = 0
    for path in sorted(folder.glob("*.eml")):
        name = _FILE.match(path.name)
        if name is None:
            continue
        # The day of a digest is that of its zone, which may be a day behind UTC.
        if (
            name["alert"] in alerts
            if name["alert"]
            else _day_after(name["day"]) >= since[:10] or not pages.isdisjoint(_pages(path))
        ):
            path.with_suffix(".html").unlink(missing_ok=True)
            path.unlink(missing_ok=True)
            removed += 1
    with store.write() as connection:
        connection.execute("DELETE FROM outbox_erasures WHERE id <= ?", (rows[-1]["id"],))
    return removed


def _pages(path: Path) -> set[bytes]:
    """Hashes of the addresses in a mail."""
    message = BytesParser(policy=policy.default).parsebytes(path.read_bytes())
    body = message.get_body(("html", "plain"))
    text = str(body.get_content()) if body is not None else ""
    return {_hash(html.unescape(found)) for found in _URL.findall(text)}


def _hash(url: str) -> bytes:
    return hashlib.blake2b(url.encode(), digest_size=16).digest()


def _day_after(day: str) -> str:
    return (date.fromisoformat(day) + timedelta(days=1)).isoformat()
