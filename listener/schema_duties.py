"""Tables of the duties toward platforms and people: revisions, look-ups, forgotten authors."""

from __future__ import annotations

TABLES: tuple[str, ...] = (
    # What a mention said before an edit. `replaced_at` is when the newer version was written, as
    # far as that is known, and else when it was read.
    """CREATE TABLE revisions (
        id INTEGER PRIMARY KEY,
        mention_id INTEGER NOT NULL REFERENCES mentions (id) ON DELETE CASCADE,
        replaced_at TEXT NOT NULL,
        title TEXT,
        text TEXT NOT NULL
    )""",
    "CREATE INDEX revisions_by_mention ON revisions (mention_id, replaced_at)",
    # When a mention was last looked up at its source (NULL: never) and when it is to be looked up
    # next (empty: not planned yet, NULL: never again, since it was taken down).
    """CREATE TABLE lookups (
        mention_id INTEGER PRIMARY KEY REFERENCES mentions (id) ON DELETE CASCADE,
        source TEXT NOT NULL,
        at TEXT,
        due_at TEXT DEFAULT ''
    )""",
    "CREATE INDEX lookups_due ON lookups (source, due_at) WHERE due_at IS NOT NULL",
    # Authors who are never to be stored again, by a keyed hash of id or handle: it names nobody.
    # `source` is "*" for every source.
    """CREATE TABLE forgotten (
        source TEXT NOT NULL,
        hash BLOB NOT NULL,
        at TEXT NOT NULL,
        PRIMARY KEY (source, hash)
    ) WITHOUT ROWID""",
    # What was taken down but may still stand in files of the outbox folder: `alert` is the number
    # of an alert that told of it, `page` a hash of its address, `since` the time from which any
    # digest may quote a post without an address.
    """CREATE TABLE outbox_erasures (
        id INTEGER PRIMARY KEY,
        alert INTEGER,
        page BLOB,
        since TEXT
    )""",
)
