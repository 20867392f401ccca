"""Pages into the database: mentions, updates and the cursor in one transaction."""

from __future__ import annotations

import json
import logging
import sqlite3
from collections import Counter
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import asdict, dataclass
from datetime import datetime
from typing import Any

from connectors.base import Cost, Cursor, Mention, Update
from connectors.values import read_time

from . import forgotten, steps
from .erase import wipe
from .rollup import STALE_HOUR
from .store import Store, stamp

log = logging.getLogger(__name__)

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
# Some sites tell what a post answers only when they are asked for its conversation.
_PLACED = """
UPDATE mentions SET parent_id = coalesce(parent_id, :parent_id),
    root_id = coalesce(root_id, :root_id)
WHERE source = :source AND native_id = :native_id
    AND (coalesce(parent_id, :parent_id) IS NOT parent_id
        OR coalesce(root_id, :root_id) IS NOT root_id)
RETURNING id
"""
_DIFFERING = """
SELECT id, title, text, raw, published_at,
    (SELECT max(replaced_at) FROM revisions WHERE mention_id = m.id) AS replaced_at
FROM mentions m
WHERE source = :source AND native_id = :native_id AND (title IS NOT :title OR text IS NOT :text)
"""
# Where sites say when a post was edited; null or false is a post that never was.
_EDITED = ("edited_at", "edited", "updated_at", "updatedAt")
_AUTHOR = """
INSERT INTO authors (source, native_id, handle, name, followers) VALUES (?, ?, ?, ?, ?)
ON CONFLICT (source, native_id) DO UPDATE SET handle = coalesce(excluded.handle, handle),
    name = coalesce(excluded.name, name), followers = coalesce(excluded.followers, followers)
"""


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
        "raw": None if mention.raw is None else _json(mention.raw),
    }


def _json(raw: Mapping[str, Any]) -> str | None:
    """A raw record as JSON; None for what is none: infinite numbers, endless nesting."""
    try:
        return json.dumps(raw, default=str, allow_nan=False)
    except (ValueError, RecursionError):
        return None


def save_page(
    store: Store,
    place: Place,
    mentions: Sequence[Mention],
    *,
    updates: Iterable[Update] = (),
    cursor: Cursor | None,
    cost: Cost = Cost(),
    firehose: bool = False,
    within: Callable[[sqlite3.Connection, int], None] | None = None,
    tally: Counter[str] | None = None,
    now: datetime,
) -> int:
    """Store one page and its cursor, all or nothing; returns how many mentions were new.

    What a tombstone names is left out, its author too, and so is what forgotten authors wrote. A
    tombstone of a post that was never stored is kept, so that it never will be, but not one from a
    `firehose` (`Capabilities.firehose`), which tells of the removal of every post of a site.

    `within` runs in the same transaction, with the number of new mentions. `tally` gets how many
    stored mentions were "edited" and "removed", and how many were left out as "forgotten".
    """
    seen = stamp(now)
    prepared = [(mention, _row(mention, seen)) for mention in mentions]
    with store.write() as connection:
        names = forgotten.Names(connection)
        known = [(mention, row) for mention, row in prepared if not names.wrote(mention)]
        alive = [
            (mention.author, row)
            for mention, row in known
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
        changed = Counter[str](forgotten=len(prepared) - len(known))
        if new < len(rows):
            connection.executemany(_REFRESH, rows)
            placed = [one["id"] for row in rows for one in connection.execute(_PLACED, row)]
            steps.ask(connection, "watch", placed)
            changed["edited"] = sum(_revised(connection, r, _written_at(r), seen) for r in rows)
        connection.executemany(STALE_HOUR, {(min(str(row["published_at"]), seen),) for row in rows})
        for update in updates:
            changed.update(_apply(connection, update, firehose, seen))
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
        if within is not None:
            within(connection, new)
    if tally is not None:
        tally.update(changed)
    if changed["forgotten"]:
        log.info("%s: %d posts of forgotten authors", place.source, changed["forgotten"])
    return new


def _key(place: Place) -> tuple[str, str]:
    return place.source, place.query


def _gone(connection: sqlite3.Connection, identity: tuple[object, object]) -> bool:
    found = connection.execute(
        "SELECT 1 FROM tombstones WHERE source = ? AND native_id = ?", identity
    ).fetchone()
    return found is not None


def _revised(
    connection: sqlite3.Connection, row: Mapping[str, object], written: str | None, seen: str
) -> bool:
    """Whether a stored mention says something else now: the former text is kept as a revision.

    `written` is when the newer text was written, if that is known. A version that was written
    before the stored one comes late and changes nothing.
    """
    former = connection.execute(_DIFFERING, row).fetchone()
    if former is None:
        return False
    known = [one for one in (former["replaced_at"], _written_at(former)) if one is not None]
    if written is not None and known and written < max(known):
        return False
    connection.execute(
        "INSERT INTO revisions (mention_id, replaced_at, title, text) VALUES (?, ?, ?, ?)",
        (former["id"], min(written or seen, seen), former["title"], former["text"]),
    )
    connection.execute(
        "UPDATE mentions SET title = :title, text = :text, raw = coalesce(:raw, raw) "
        "WHERE id = :id",
        {**row, "id": former["id"]},
    )
    return True


def _written_at(row: Mapping[str, Any] | sqlite3.Row) -> str | None:
    """When the version of a row of `mentions` was written, as far as its raw record says."""
    raw = json.loads(row["raw"]) if row["raw"] else None
    if not isinstance(raw, dict):
        return None
    said = [raw[key] for key in _EDITED if key in raw]
    if "edit_history_tweet_ids" in raw:
        # Each version on X has a time of its own; that of the mention is the first one's.
        said.append(raw.get("created_at"))
    if not said:
        return None
    times = [found[0] for one in said if one and (found := read_time(one))]
    return max([str(row["published_at"]), *map(stamp, times)])


def _apply(
    connection: sqlite3.Connection, update: Update, firehose: bool, seen: str
) -> Sequence[str]:
    """Store an update; returns "edited" or "removed" if it was that to a stored mention."""
    source, native_id = update.source, clean(update.native_id)
    if _gone(connection, (source, native_id)):
        return ()
    row = connection.execute(
        "SELECT id, title FROM mentions WHERE source = ? AND native_id = ?", (source, native_id)
    ).fetchone()
    at = min(stamp(update.at), seen)
    if update.kind == "tombstone" and not (firehose and row is None):
        bury(connection, source, native_id, at, update.reason or "deleted at the source")
    if row is None:
        return ()
    if update.kind == "tombstone":
        wipe(connection, [row["id"]])
        return ("removed",)
    identity = {"source": source, "native_id": native_id}
    if update.kind == "edit" and update.text is not None:
        text = {"title": row["title"], "text": clean(update.text), "raw": None}
        return ("edited",) if _revised(connection, {**identity, **text}, at, seen) else ()
    if update.kind == "metrics":
        figures = asdict(update.counts)
        connection.execute(
            "INSERT OR REPLACE INTO metrics VALUES (:id, :at, :likes, :replies, :shares, :views)",
            {"id": row["id"], "at": stamp(update.at), **figures},
        )
        connection.execute(_REFRESH, {**identity, **figures})
    return ()


def bury(connection: sqlite3.Connection, source: str, native_id: str, at: str, reason: str) -> None:
    """Note that a post is gone and never to be stored again."""
    connection.execute(
        "INSERT OR IGNORE INTO tombstones (source, native_id, at, reason) VALUES (?, ?, ?, ?)",
        (source, native_id, at, clean(reason)),
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
