"""Table of the conversations that are read again as they grow older."""

from __future__ import annotations

TABLES: tuple[str, ...] = (
    # Threads that were read again, by their first post, which need not be stored. `hours` is the
    # oldest age of the plan at which it was read: that step and all before it are done. `tries`
    # counts failures since then; it is left alone until `wait_until`.
    """CREATE TABLE followups (
        source TEXT NOT NULL,
        root_id TEXT NOT NULL,
        hours INTEGER NOT NULL DEFAULT 0,
        tried_at TEXT NOT NULL,
        tries INTEGER NOT NULL DEFAULT 0,
        wait_until TEXT,
        PRIMARY KEY (source, root_id)
    ) WITHOUT ROWID""",
)
