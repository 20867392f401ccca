"""Tables of delivery: who gets no mail, and what a digest has shown to whom."""

from __future__ import annotations

TABLES: tuple[str, ...] = (
    # No row: the person gets mail. `refused` is what a server said for good, `unsubscribed` what
    # the person asked for, `paused` what the operator did.
    """CREATE TABLE suppressed (
        recipient TEXT NOT NULL,
        what TEXT NOT NULL CHECK (what IN ('digest', 'alerts', 'all')),
        reason TEXT NOT NULL CHECK (reason IN ('refused', 'unsubscribed', 'paused')),
        detail TEXT NOT NULL DEFAULT '',
        at TEXT NOT NULL,
        PRIMARY KEY (recipient, what)
    ) WITHOUT ROWID""",
    # What a digest has shown to a person and what it looked like (`state`): it comes again only
    # when it has moved. `ref` is the number of a conversation, mention or author.
    """CREATE TABLE shown (
        recipient TEXT NOT NULL,
        kind TEXT NOT NULL CHECK (kind IN ('conversation', 'mention', 'author')),
        ref INTEGER NOT NULL,
        state TEXT NOT NULL,
        day TEXT NOT NULL,
        PRIMARY KEY (recipient, kind, ref)
    ) WITHOUT ROWID""",
)
