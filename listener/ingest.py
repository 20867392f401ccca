"""Pages into the database: mentions, updates and the cursor in one transaction."""

from __future__ import annotations

import json
import sqlite3
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from datetime import datetime

from connectors.base import Cost, Cursor, Mention, Update

from . import duplicates
from .store import Store, stamp

_INSERT = """
INSERT INTO mentions (source, native_id, url, title, text, declared_language, author_id, parent_id,
    root_id, published_at, first_seen_at, likes, replies, shares, views, raw)
SELECT :source, :native_id, :url, :title, :text, :lang,
    (SELECT id FROM authors WHERE source = :author_source AND native_id = :author_id),
    :parent_id, :root_id, :published_at, :seen, :likes, :replies, :shares, :views, :raw
WHERE true ON CONFLICT (source, native_id) DO NOTHING
"""
# A mention that comes again brings newer figures; what the platform left out keeps its old value.
_REFRESH = """
UPDATE mentions SET likes = coalesce(:likes, likes), replies = coalesce(:replies, replies),
    shares = coalesce(:shares, shares), views = coalesce(:views, views)
WHERE source = :source AND native_id = :native_id
"""
_EDIT = """
UPDATE mentions SET title = :title, text = :text
WHERE source = :source AND native_id = :native_id AND (title IS NOT :title OR text IS NOT :text)
"""
_AUTHOR = """
INSERT INTO authors (source, native_id, handle, name, followers) VALUES (?, ?, ?, ?, ?)
ON CONFLICT (source, native_id) DO UPDATE SET handle = coalesce(excluded.handle, handle),
    name = coalesce(excluded.name, name), followers = coalesce(excluded.followers, followers)
"""
STALE_HOUR = "INSERT OR IGNORE INTO rollup_stale VALUES (substr(?, 1, 13))"


@dataclass(frozen=True, slots=True)
class Place:
    """Where a page came from: the key of its cursor."""

    source: str
    query: str


def clean(text: str) -> str:
    """The text as SQLite and UTF-8 can hold it: no NUL, lone surrogates replaced."""
    return text.replace("\x00", "").encode("utf-8", "replace").decode("utf-8")


def _optional(text: str | None) -> str | None:
    return None if text is None else clean(text)


def _row(mention: Mention, seen: str) -> dict[str, object]:
    author, counts = mention.author, mention.counts
    return {
        "source": mention.source,
        "native_id": clean(mention.native_id),
        "url": _optional(mention.url),
        "title": _optional(mention.title) or None,
        "text": clean(mention.text),
        "lang": _optional(mention.lang),
        "author_source": author.source if author else None,
        "author_id": clean(author.native_id) if author else None,
        "parent_id": _optional(mention.parent_id),
        "root_id": _optional(mention.root_id),
        "published_at": stamp(mention.published_at),
        "seen": seen,
        "likes": counts.likes,
        "replies": counts.replies,
        "shares": counts.shares,
        "views": counts.views,
        "raw": None if mention.raw is None else json.dumps(mention.raw, default=str),
    }


def save_page(
    store: Store,
    place: Place,
    mentions: Sequence[Mention],
    *,
    updates: Iterable[Update] = (),
    cursor: Cursor | None,
    cost: Cost = Cost(),
    now: datetime,
) -> int:
    """Store one page and its cursor, all or nothing; returns how many mentions were new.

    What a tombstone names is left out, its author too.
    """
    seen = stamp(now)
    prepared = [(mention.author, _row(mention, seen)) for mention in mentions]
    with store.write() as connection:
        alive = [
            (author, row)
            for author, row in prepared
            if not _gone(connection, (row["source"], row["native_id"]))
        ]
        rows = [row for _, row in alive]
        connection.executemany(
            _AUTHOR,
            {
                (a.source, a.native_id): (
                    a.source,
                    clean(a.native_id),
                    _optional(a.handle),
                    _optional(a.name),
                    a.followers,
                )
                for a, _ in alive
                if a is not None
            }.values(),
        )
        new = connection.executemany(_INSERT, rows).rowcount if rows else 0
        if new < len(rows):
            connection.executemany(_REFRESH, rows)
            connection.executemany(_EDIT, rows)
        connection.executemany(STALE_HOUR, {(min(str(row["published_at"]), seen),) for row in rows})
        for update in updates:
            _apply(connection, update)
        connection.execute(
            "INSERT INTO cursors (source, query, cursor, updated_at) VALUES (?, ?, ?, ?) "
            "ON CONFLICT DO UPDATE SET cursor = excluded.cursor, retry_at = NULL, "
            "updated_at = excluded.updated_at",
            (place.source, place.query, None if cursor is None else json.dumps(cursor), seen),
        )
        if cost != Cost():
            connection.execute(
                "INSERT INTO spend (at, source, query, requests, resources, micro_dollars) "
                "VALUES (?, ?, ?, ?, ?, ?)",
                (seen, *_key(place), cost.requests, cost.resources, cost.micro_dollars),
            )
    return new


def _key(place: Place) -> tuple[str, str]:
    return place.source, place.query


def _gone(connection: sqlite3.Connection, identity: tuple[object, object]) -> bool:
    found = connection.execute(
        "SELECT 1 FROM tombstones WHERE source = ? AND native_id = ?", identity
    ).fetchone()
    return found is not None


def _apply(connection: sqlite3.Connection, update: Update) -> None:
    identity = (update.source, clean(update.native_id))
    if _gone(connection, identity):
        return
    row = connection.execute(
        "SELECT id, title, text FROM mentions WHERE source = ? AND native_id = ?", identity
    ).fetchone()
    if update.kind == "tombstone":
        connection.execute(
            "INSERT INTO tombstones (source, native_id, at, reason) VALUES (?, ?, ?, ?)",
            (*identity, stamp(update.at), clean(update.reason or "deleted at the source")),
        )
        if row is not None:
            wipe(connection, row["id"])
    elif row is not None and update.kind == "edit" and update.text is not None:
        connection.execute(
            _EDIT,
            {
                "source": identity[0],
                "native_id": identity[1],
                "title": row["title"],
                "text": clean(update.text),
            },
        )
    elif row is not None and update.kind == "metrics":
        figures = {
            "likes": update.counts.likes,
            "replies": update.counts.replies,
            "shares": update.counts.shares,
            "views": update.counts.views,
        }
        connection.execute(
            "INSERT OR REPLACE INTO metrics VALUES (:id, :at, :likes, :replies, :shares, :views)",
            {"id": row["id"], "at": stamp(update.at), **figures},
        )
        connection.execute(_REFRESH, {"source": identity[0], "native_id": identity[1], **figures})


def wipe(connection: sqlite3.Connection, mention_id: int) -> None:
    """Empty a mention that its platform took down: id and day stay, text and author go.

    Only the watch step reads it once more, since its conversation has changed, and another post of
    its author, whose posts may now belong together in another way.
    """
    author_id, published_at = connection.execute(
        "SELECT author_id, published_at FROM mentions WHERE id = ?", (mention_id,)
    ).fetchone()
    connection.execute(
        "UPDATE mentions SET title = NULL, text = '', url = NULL, author_id = NULL, raw = NULL, "
        "declared_language = NULL WHERE id = ?",
        (mention_id,),
    )
    duplicates.forget(connection, [mention_id])
    for table in (
        "matches",
        "tags",
        "metrics",
        "conversation_events",
        "vectors",
        "relevance_labels",
    ):
        connection.execute(f"DELETE FROM {table} WHERE mention_id = ?", (mention_id,))
    connection.execute("DELETE FROM alerts WHERE mention_id = ?", (mention_id,))
    connection.execute("DELETE FROM work WHERE mention_id = ? AND step <> 'watch'", (mention_id,))
    connection.execute(STALE_HOUR, (published_at,))
    connection.execute(
        "INSERT OR IGNORE INTO work SELECT 'watch', id FROM mentions WHERE author_id = ? LIMIT 1",
        (author_id,),
    )
    connection.execute(
        "DELETE FROM authors WHERE id = :id "
        "AND NOT EXISTS (SELECT 1 FROM mentions WHERE author_id = :id)",
        {"id": author_id},
    )


def read_cursor(store: Store, place: Place) -> tuple[Cursor | None, str | None]:
    """The stored cursor of a place, and the time before which its source must not be asked."""
    cursor = store.value("SELECT cursor FROM cursors WHERE source = ? AND query = ?", _key(place))
    retry_at = store.value("SELECT max(retry_at) FROM cursors WHERE source = ?", (place.source,))
    return (json.loads(cursor) if cursor else None), retry_at


def postpone(store: Store, place: Place, until: datetime, *, now: datetime) -> None:
    """Remember over restarts that a source asked to be left alone until `until`."""
    with store.write() as connection:
        connection.execute(
            "INSERT INTO cursors (source, query, retry_at, updated_at) VALUES (?, ?, ?, ?) "
            "ON CONFLICT DO UPDATE SET retry_at = excluded.retry_at",
            (*_key(place), stamp(until), stamp(now)),
        )
