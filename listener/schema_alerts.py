"""The second migration: dated events of conversations, alerts for people, feedback and audit."""

from __future__ import annotations

CONVERSATIONS = (
    "DROP TABLE conversation_events",
    # What happened in a conversation. `entity_kind` and `entity` say of what, where the event has
    # one; the span is the quoted part of the mention's document (0, 0: none).
    """CREATE TABLE conversation_events (
        conversation_id INTEGER NOT NULL REFERENCES conversations (id) ON DELETE CASCADE,
        mention_id INTEGER NOT NULL REFERENCES mentions (id) ON DELETE CASCADE,
        kind TEXT NOT NULL CHECK (kind IN ('need', 'request', 'comparison', 'option',
            'recommendation', 'decision', 'purchase', 'outcome')),
        entity_kind TEXT NOT NULL DEFAULT '',
        entity TEXT NOT NULL DEFAULT '',
        at TEXT NOT NULL,
        score REAL NOT NULL,
        span_start INTEGER NOT NULL DEFAULT 0,
        span_end INTEGER NOT NULL DEFAULT 0,
        PRIMARY KEY (conversation_id, mention_id, kind, entity_kind, entity)
    ) WITHOUT ROWID""",
    "CREATE INDEX conversation_events_by_mention ON conversation_events (mention_id)",
    # NULL while nothing has been heard of it.
    """ALTER TABLE conversations ADD COLUMN outcome TEXT
        CHECK (outcome IN ('ours', 'competitor', 'other', 'none', 'unknown'))""",
    "ALTER TABLE conversations ADD COLUMN outcome_entity TEXT",
    "ALTER TABLE conversations ADD COLUMN outcome_mention_id INTEGER",
    "ALTER TABLE conversations ADD COLUMN outcome_start INTEGER NOT NULL DEFAULT 0",
    "ALTER TABLE conversations ADD COLUMN outcome_end INTEGER NOT NULL DEFAULT 0",
    "ALTER TABLE conversations ADD COLUMN urgent INTEGER NOT NULL DEFAULT 0",
    # Posts of one author that stand near in time are one conversation.
    "DROP INDEX mentions_by_author",
    "CREATE INDEX mentions_by_author ON mentions (author_id, at) WHERE author_id IS NOT NULL",
    # Conversations are told from their posts: they are all judged again.
    "DELETE FROM steps WHERE name = 'watch'",
)

ALERTS = (
    # `score` is the sum of the points in `parts`, 0 to 100; `worth` (0 to 1) is what the re-ranker
    # expects of it, NULL while none is in use. AUTOINCREMENT: the outbox names alerts
    # by id, so that of an erased one must not come again.
    """CREATE TABLE alerts_2 (
        id INTEGER PRIMARY KEY AUTOINCREMENT,
        key TEXT NOT NULL UNIQUE,
        rule TEXT NOT NULL,
        type TEXT NOT NULL DEFAULT 'early-funnel',
        conversation_id INTEGER NOT NULL REFERENCES conversations (id) ON DELETE CASCADE,
        mention_id INTEGER NOT NULL REFERENCES mentions (id) ON DELETE CASCADE,
        stage TEXT NOT NULL DEFAULT '',
        urgent INTEGER NOT NULL DEFAULT 0,
        probability REAL NOT NULL,
        score INTEGER NOT NULL DEFAULT 0,
        worth REAL,
        parts TEXT NOT NULL DEFAULT '[]',
        reasons TEXT NOT NULL,
        created_at TEXT NOT NULL,
        snoozed_until TEXT,
        acknowledged_at TEXT,
        assignee TEXT
    )""",
    "INSERT INTO sqlite_sequence SELECT 'alerts_2', seq FROM sqlite_sequence WHERE name = 'alerts'",
    """INSERT INTO alerts_2 (id, key, rule, conversation_id, mention_id, probability, score,
        reasons, created_at) SELECT id, key, rule, conversation_id, mention_id, probability,
        CAST(round(100 * probability) AS INTEGER), reasons, created_at FROM alerts""",
    # Dropping a table deletes its rows, and what hangs on them.
    """CREATE TEMP TABLE were_mailed AS SELECT a.id, d.recipient, a.mailed_at FROM deliveries d
        JOIN alerts a ON d.kind = 'alert' AND a.id = CAST(d.ref AS INTEGER)""",
    "DROP TABLE alerts",
    "ALTER TABLE alerts_2 RENAME TO alerts",
    # What became of an alert for one person: mailed, held back by the limit of a day or by quiet
    # hours, or only listed (too old for a mail).
    """CREATE TABLE alert_recipients (
        alert_id INTEGER NOT NULL REFERENCES alerts (id) ON DELETE CASCADE,
        recipient TEXT NOT NULL,
        fate TEXT NOT NULL CHECK (fate IN ('mailed', 'held', 'listed')),
        mailed_at TEXT,
        PRIMARY KEY (alert_id, recipient)
    ) WITHOUT ROWID""",
    "INSERT INTO alert_recipients SELECT id, recipient, 'mailed', mailed_at FROM were_mailed",
    "DROP TABLE were_mailed",
    "CREATE INDEX alerts_by_conversation ON alerts (conversation_id)",
    "CREATE INDEX alerts_by_mention ON alerts (mention_id)",
    "CREATE INDEX alert_recipients_mailed ON alert_recipients (recipient, mailed_at)",
    # What people did with an alert, one line each.
    """CREATE TABLE alert_log (
        id INTEGER PRIMARY KEY,
        alert_id INTEGER NOT NULL REFERENCES alerts (id) ON DELETE CASCADE,
        at TEXT NOT NULL,
        action TEXT NOT NULL CHECK (action IN ('deliver', 'snooze', 'ack', 'assign', 'note')),
        value TEXT NOT NULL DEFAULT ''
    )""",
    "CREATE INDEX alert_log_by_alert ON alert_log (alert_id)",
    # A verdict outlives the alert it was about, without the post: it counts for the rule.
    """CREATE TABLE feedback (
        id INTEGER PRIMARY KEY,
        alert_id INTEGER REFERENCES alerts (id) ON DELETE SET NULL,
        mention_id INTEGER REFERENCES mentions (id) ON DELETE SET NULL,
        rule TEXT NOT NULL,
        score INTEGER NOT NULL,
        verdict TEXT NOT NULL
            CHECK (verdict IN ('useful', 'not-useful', 'late', 'wrong-brand', 'not-a-buyer')),
        given_by TEXT NOT NULL,
        channel TEXT NOT NULL CHECK (channel IN ('link', 'command', 'csv')),
        at TEXT NOT NULL,
        UNIQUE (alert_id, given_by)
    )""",
    "CREATE INDEX feedback_by_mention ON feedback (mention_id)",
    # Posts that raised no alert, drawn for a person to judge; `weight` is one over the
    # probability with which a post of its stratum was drawn.
    """CREATE TABLE audit (
        id INTEGER PRIMARY KEY,
        mention_id INTEGER UNIQUE REFERENCES mentions (id) ON DELETE SET NULL,
        stratum INTEGER NOT NULL,
        probability REAL NOT NULL,
        weight REAL NOT NULL,
        drawn_at TEXT NOT NULL,
        missed INTEGER,
        given_by TEXT,
        judged_at TEXT
    )""",
    # Vectors of posts that may raise an alert, for the re-ranker; little-endian 16-bit floats.
    """CREATE TABLE vectors (
        mention_id INTEGER PRIMARY KEY REFERENCES mentions (id) ON DELETE CASCADE,
        version TEXT NOT NULL,
        vector BLOB NOT NULL
    )""",
    # MinHash bands of posts that may raise an alert, and which post another one repeats.
    """CREATE TABLE bands (
        band INTEGER NOT NULL,
        hash INTEGER NOT NULL,
        mention_id INTEGER NOT NULL REFERENCES mentions (id) ON DELETE CASCADE,
        PRIMARY KEY (band, hash, mention_id)
    ) WITHOUT ROWID""",
    "CREATE INDEX bands_by_mention ON bands (mention_id)",
    """CREATE TABLE copies (
        mention_id INTEGER PRIMARY KEY REFERENCES mentions (id) ON DELETE CASCADE,
        original_id INTEGER NOT NULL REFERENCES mentions (id) ON DELETE CASCADE
    )""",
    "CREATE INDEX copies_by_original ON copies (original_id)",
    # What a person said: this mention means that brand (1), or only looks like it (0).
    """CREATE TABLE relevance_labels (
        mention_id INTEGER NOT NULL REFERENCES mentions (id) ON DELETE CASCADE,
        name TEXT NOT NULL,
        relevant INTEGER NOT NULL,
        given_by TEXT NOT NULL,
        at TEXT NOT NULL,
        PRIMARY KEY (mention_id, name)
    ) WITHOUT ROWID""",
)
