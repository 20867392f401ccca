"""Authors who are never to be stored again: a list that names nobody.

It holds HMAC-SHA-256 marks of ids and handles, made with a key that the database itself holds. The
key of links will not do: it may be changed or lost at any time, and who was forgotten would then be
stored again. Whoever has the file can check a name that they guess, and read none from it.
"""

from __future__ import annotations

import hmac
import re
import secrets
import sqlite3
from collections.abc import Iterable

from connectors.base import Author, Mention

EVERYWHERE = "*"
"""The source of who is forgotten at every source."""

KEY = "forgotten.key"
"""Key of `state` under which the key of the marks is kept."""
_REPOST = re.compile(r"\s*rt @([\w-]+(?:[.@][\w-]+)*)", re.IGNORECASE)


def plain(name: str) -> str:
    """A handle or id as it is compared: without @ and blanks around it, whatever its case."""
    return name.strip().lstrip("@").casefold()


def passed_on(text: str) -> str | None:
    """The handle whose post a text only passes on ("RT @handle: ..."), plain; else None."""
    found = _REPOST.match(text)
    return plain(found[1]) if found else None


def add(
    connection: sqlite3.Connection,
    source: str,
    *,
    native_ids: Iterable[str] = (),
    handles: Iterable[str] = (),
    at: str,
) -> None:
    """Put an author of `source` (or `EVERYWHERE`) on the list."""
    connection.execute("INSERT OR IGNORE INTO state VALUES (?, ?)", (KEY, secrets.token_hex(32)))
    key = _key(connection)
    marks = [_mark(key, source, "id", one) for one in native_ids]
    marks += [_mark(key, source, "handle", one) for one in handles]
    connection.executemany(
        "INSERT OR IGNORE INTO forgotten (source, hash, at) VALUES (?, ?, ?)",
        [(source, mark, at) for mark in marks],
    )


class Names:
    """The list as it is in this transaction."""

    def __init__(self, connection: sqlite3.Connection) -> None:
        found = connection.execute("SELECT source, hash FROM forgotten LIMIT 1").fetchone()
        self._connection = connection
        self._key = _key(connection) if found else None
        self._asked: dict[tuple[str, str, str], bool] = {}

    def wrote(self, mention: Mention) -> bool:
        """Whether the author of a mention is on the list, or of what it only passes on."""
        if self._key is None:
            return False
        first = passed_on(mention.text)
        return (mention.author is not None and self._holds_author(mention.author)) or (
            first is not None and self._holds(mention.source, "handle", first)
        )

    def _holds_author(self, author: Author) -> bool:
        # Where a file or site has no handles, the id is the name.
        return self._holds(author.source, "id", author.native_id) or self._holds(
            author.source, "handle", author.handle or author.native_id
        )

    def _holds(self, source: str, kind: str, name: str) -> bool:
        asked = (source, kind, plain(name))
        if asked not in self._asked and self._key is not None:
            self._asked[asked] = any(
                self._connection.execute(
                    "SELECT 1 FROM forgotten WHERE source = ? AND hash = ?",
                    (one, _mark(self._key, one, kind, name)),
                ).fetchone()
                for one in (source, EVERYWHERE)
            )
        return self._asked[asked]


def _key(connection: sqlite3.Connection) -> bytes:
    (text,) = connection.execute("SELECT value FROM state WHERE key = ?", (KEY,)).fetchone()
    return bytes.fromhex(text)


def _mark(key: bytes, source: str, kind: str, name: str) -> bytes:
    text = "\0".join((source, kind, plain(name)))
    return hmac.digest(key, text.encode("utf-8", "replace"), "sha256")
