"""Tables of troubles that the operator is told of, and deliveries that may carry them."""

from __future__ import annotations

TABLES: tuple[str, ...] = (
    # SQLite cannot change a CHECK: the table is made anew with one more kind.
    """CREATE TABLE deliveries_2 (
        id INTEGER PRIMARY KEY,
        kind TEXT NOT NULL CHECK (kind IN ('alert', 'digest', 'operator')),
        ref TEXT NOT NULL,
        recipient TEXT NOT NULL,
        message_id TEXT NOT NULL,
        status TEXT NOT NULL DEFAULT 'waiting'
            CHECK (status IN ('waiting', 'sent', 'refused', 'stale')),
        attempts INTEGER NOT NULL DEFAULT 0,
        created_at TEXT NOT NULL,
        next_try_at TEXT NOT NULL,
        sent_at TEXT,
        error TEXT,
        UNIQUE (kind, ref, recipient)
    )""",
    """INSERT INTO deliveries_2 (id, kind, ref, recipient, message_id, status, attempts, created_at,
        next_try_at, sent_at, error) SELECT id, kind, ref, recipient, message_id, status, attempts,
        created_at, next_try_at, sent_at, error FROM deliveries""",
    "DROP TABLE deliveries",
    "ALTER TABLE deliveries_2 RENAME TO deliveries",
    "CREATE INDEX deliveries_waiting ON deliveries (next_try_at) WHERE status = 'waiting'",
    # What is wrong with the installation, one row from its beginning to its end (NULL: not yet).
    # `subject` is a source or job, `detail` is JSON. AUTOINCREMENT: the outbox names troubles by
    # number, so that of one that is gone must not come again.
    """CREATE TABLE troubles (
        id INTEGER PRIMARY KEY AUTOINCREMENT,
        kind TEXT NOT NULL CHECK (kind IN ('quiet', 'failing', 'refused', 'job', 'disk')),
        subject TEXT NOT NULL,
        detail TEXT NOT NULL,
        began_at TEXT NOT NULL,
        ended_at TEXT
    )""",
    "CREATE UNIQUE INDEX troubles_open ON troubles (kind, subject) WHERE ended_at IS NULL",
)
