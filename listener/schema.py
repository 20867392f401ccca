"""The tables, indexes, triggers and views of the SQLite file, as migrations.

Times are text, `YYYY-MM-DDTHH:MM:SSZ` (UTC), so that they sort as they read and SQLite's date
functions take them. A mention's document is its title, a line break and its text (or the text
alone); spans in `matches` and `tags` are code-point offsets into that document, end exclusive,
`0, 0` for the whole of it. docs/database.md tells analysts what each view means.
"""

from __future__ import annotations

from contextlib import closing
from functools import cache

from sqlite_utils import Database, Migrations

from . import (
    schema_alerts,
    schema_coverage,
    schema_delivery,
    schema_duties,
    schema_followups,
    schema_troubles,
)

migrations = Migrations("listener")

_TABLES = (
    """CREATE TABLE authors (
        id INTEGER PRIMARY KEY,
        source TEXT NOT NULL,
        native_id TEXT NOT NULL,
        handle TEXT,
        name TEXT,
        followers INTEGER,
        UNIQUE (source, native_id)
    )""",
    """CREATE TABLE conversations (
        id INTEGER PRIMARY KEY,
        source TEXT NOT NULL,
        root_id TEXT NOT NULL,
        title TEXT NOT NULL DEFAULT '',
        language TEXT NOT NULL DEFAULT 'und',
        started_at TEXT NOT NULL,
        last_at TEXT NOT NULL,
        mentions INTEGER NOT NULL,
        authors INTEGER NOT NULL,
        stage TEXT NOT NULL,
        state TEXT NOT NULL CHECK (state IN ('quiet', 'early', 'decided')),
        early REAL NOT NULL,
        early_mention_id INTEGER,
        decided_mention_id INTEGER,
        about TEXT NOT NULL DEFAULT '[]',
        UNIQUE (source, root_id)
    )""",
    "CREATE INDEX conversations_by_state ON conversations (state, last_at)",
    """CREATE TABLE mentions (
        id INTEGER PRIMARY KEY,
        source TEXT NOT NULL,
        native_id TEXT NOT NULL,
        url TEXT,
        title TEXT,
        text TEXT NOT NULL,
        declared_language TEXT,
        language TEXT,
        author_id INTEGER REFERENCES authors (id),
        parent_id TEXT,
        root_id TEXT,
        conversation_id INTEGER REFERENCES conversations (id),
        published_at TEXT NOT NULL,
        first_seen_at TEXT NOT NULL,
        -- A date in the future is kept as it was given; charts, ages and digests go by this one.
        at TEXT NOT NULL GENERATED ALWAYS AS (min(published_at, first_seen_at)) VIRTUAL,
        likes INTEGER,
        replies INTEGER,
        shares INTEGER,
        views INTEGER,
        raw TEXT,
        UNIQUE (source, native_id)
    )""",
    "CREATE INDEX mentions_by_time ON mentions (at)",
    "CREATE INDEX mentions_by_first_seen ON mentions (first_seen_at)",
    "CREATE INDEX mentions_by_root ON mentions (source, root_id) WHERE root_id IS NOT NULL",
    "CREATE INDEX mentions_by_parent ON mentions (source, parent_id) WHERE parent_id IS NOT NULL",
    "CREATE INDEX mentions_by_conversation ON mentions (conversation_id)",
    "CREATE INDEX mentions_by_author ON mentions (author_id) WHERE author_id IS NOT NULL",
    """CREATE TABLE matches (
        mention_id INTEGER NOT NULL REFERENCES mentions (id) ON DELETE CASCADE,
        kind TEXT NOT NULL,
        name TEXT NOT NULL,
        term TEXT NOT NULL,
        span_start INTEGER NOT NULL,
        span_end INTEGER NOT NULL,
        PRIMARY KEY (mention_id, kind, name, span_start)
    ) WITHOUT ROWID""",
    """CREATE TABLE tags (
        mention_id INTEGER NOT NULL REFERENCES mentions (id) ON DELETE CASCADE,
        tagger TEXT NOT NULL,
        kind TEXT NOT NULL,
        label TEXT NOT NULL,
        score REAL NOT NULL,
        span_start INTEGER NOT NULL DEFAULT 0,
        span_end INTEGER NOT NULL DEFAULT 0,
        PRIMARY KEY (mention_id, tagger, kind, label, span_start)
    ) WITHOUT ROWID""",
    # Steps that read every mention, and the version that read them. `work` holds what each has
    # still to read: filled by triggers, emptied in the transaction that writes the results.
    "CREATE TABLE steps (name TEXT PRIMARY KEY, version TEXT NOT NULL) WITHOUT ROWID",
    """CREATE TABLE work (
        step TEXT NOT NULL,
        mention_id INTEGER NOT NULL REFERENCES mentions (id) ON DELETE CASCADE,
        PRIMARY KEY (step, mention_id)
    ) WITHOUT ROWID""",
    "CREATE INDEX work_by_mention ON work (mention_id)",
    """CREATE TABLE conversation_events (
        conversation_id INTEGER NOT NULL REFERENCES conversations (id) ON DELETE CASCADE,
        mention_id INTEGER NOT NULL REFERENCES mentions (id) ON DELETE CASCADE,
        kind TEXT NOT NULL,
        at TEXT NOT NULL,
        score REAL NOT NULL,
        PRIMARY KEY (conversation_id, mention_id, kind)
    ) WITHOUT ROWID""",
    "CREATE INDEX conversation_events_by_mention ON conversation_events (mention_id)",
    # AUTOINCREMENT: the outbox names alerts by id, so that of an erased one must not come again.
    """CREATE TABLE alerts (
        id INTEGER PRIMARY KEY AUTOINCREMENT,
        key TEXT NOT NULL UNIQUE,
        rule TEXT NOT NULL,
        conversation_id INTEGER NOT NULL REFERENCES conversations (id) ON DELETE CASCADE,
        mention_id INTEGER NOT NULL REFERENCES mentions (id) ON DELETE CASCADE,
        probability REAL NOT NULL,
        reasons TEXT NOT NULL,
        created_at TEXT NOT NULL,
        fate TEXT NOT NULL CHECK (fate IN ('mailed', 'held', 'listed')),
        mailed_at TEXT
    )""",
    "CREATE INDEX alerts_by_conversation ON alerts (conversation_id)",
    "CREATE INDEX alerts_by_mention ON alerts (mention_id)",
    """CREATE TABLE deliveries (
        id INTEGER PRIMARY KEY,
        kind TEXT NOT NULL CHECK (kind IN ('alert', 'digest')),
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
    "CREATE INDEX deliveries_waiting ON deliveries (next_try_at) WHERE status = 'waiting'",
    """CREATE TABLE cursors (
        source TEXT NOT NULL,
        query TEXT NOT NULL,
        cursor TEXT,
        retry_at TEXT,
        updated_at TEXT NOT NULL,
        PRIMARY KEY (source, query)
    ) WITHOUT ROWID""",
    """CREATE TABLE runs (
        id INTEGER PRIMARY KEY,
        source TEXT NOT NULL,
        query TEXT NOT NULL,
        started_at TEXT NOT NULL,
        status TEXT NOT NULL,
        pages INTEGER NOT NULL,
        returned INTEGER NOT NULL,
        kept INTEGER NOT NULL,
        new INTEGER NOT NULL,
        warnings INTEGER NOT NULL,
        error TEXT
    )""",
    "CREATE INDEX runs_by_time ON runs (started_at)",
    """CREATE TABLE spend (
        id INTEGER PRIMARY KEY,
        at TEXT NOT NULL,
        source TEXT NOT NULL,
        query TEXT NOT NULL,
        requests INTEGER NOT NULL,
        resources INTEGER NOT NULL,
        micro_dollars INTEGER NOT NULL
    )""",
    "CREATE INDEX spend_by_time ON spend (at)",
    """CREATE TABLE metrics (
        mention_id INTEGER NOT NULL REFERENCES mentions (id) ON DELETE CASCADE,
        captured_at TEXT NOT NULL,
        likes INTEGER,
        replies INTEGER,
        shares INTEGER,
        views INTEGER,
        PRIMARY KEY (mention_id, captured_at)
    ) WITHOUT ROWID""",
    """CREATE TABLE tombstones (
        source TEXT NOT NULL,
        native_id TEXT NOT NULL,
        at TEXT NOT NULL,
        reason TEXT NOT NULL,
        PRIMARY KEY (source, native_id)
    ) WITHOUT ROWID""",
    """CREATE TABLE job_runs (
        job TEXT NOT NULL,
        slot TEXT NOT NULL,
        started_at TEXT NOT NULL,
        finished_at TEXT,
        status TEXT NOT NULL CHECK (status IN ('done', 'failed')),
        error TEXT,
        PRIMARY KEY (job, slot)
    ) WITHOUT ROWID""",
    "CREATE TABLE state (key TEXT PRIMARY KEY, value TEXT NOT NULL) WITHOUT ROWID",
    """CREATE TABLE rollup_hourly (
        hour TEXT NOT NULL,
        source TEXT NOT NULL,
        language TEXT NOT NULL,
        kind TEXT NOT NULL,
        name TEXT NOT NULL,
        mentions INTEGER NOT NULL,
        positive INTEGER NOT NULL,
        neutral INTEGER NOT NULL,
        negative INTEGER NOT NULL,
        awareness INTEGER NOT NULL,
        consideration INTEGER NOT NULL,
        decision INTEGER NOT NULL,
        post_purchase INTEGER NOT NULL,
        promo INTEGER NOT NULL,
        PRIMARY KEY (hour, source, language, kind, name)
    ) WITHOUT ROWID""",
    # Hours whose roll-up rows no longer fit the mentions in them.
    "CREATE TABLE rollup_stale (hour TEXT PRIMARY KEY) WITHOUT ROWID",
)

# Full-text search and the bookkeeping that must never be forgotten. Accents do not matter in a
# search ("cafe" finds "café"). The update trigger names title and text, so that refreshed figures
# do not touch the index.
_TRIGGERS = (
    """CREATE VIRTUAL TABLE mentions_fts USING fts5 (
        title, text, content='mentions', content_rowid='id',
        tokenize="unicode61 remove_diacritics 2"
    )""",
    """CREATE TRIGGER mentions_fts_insert AFTER INSERT ON mentions BEGIN
        INSERT INTO mentions_fts (rowid, title, text) VALUES (new.id, new.title, new.text);
    END""",
    """CREATE TRIGGER mentions_fts_delete AFTER DELETE ON mentions BEGIN
        INSERT INTO mentions_fts (mentions_fts, rowid, title, text)
        VALUES ('delete', old.id, old.title, old.text);
    END""",
    """CREATE TRIGGER mentions_fts_update AFTER UPDATE OF title, text ON mentions BEGIN
        INSERT INTO mentions_fts (mentions_fts, rowid, title, text)
        VALUES ('delete', old.id, old.title, old.text);
        INSERT INTO mentions_fts (rowid, title, text) VALUES (new.id, new.title, new.text);
        INSERT OR IGNORE INTO work SELECT name, new.id FROM steps;
    END""",
    """CREATE TRIGGER mentions_work_insert AFTER INSERT ON mentions BEGIN
        INSERT OR IGNORE INTO work SELECT name, new.id FROM steps;
    END""",
    """CREATE TRIGGER mentions_rollup_delete AFTER DELETE ON mentions BEGIN
        INSERT OR IGNORE INTO rollup_stale VALUES (substr(old.at, 1, 13));
    END""",
)

_VIEWS = (
    # Matches that mean the name, as far as anybody can tell: see listener/relevance.py.
    """CREATE VIEW relevant_matches AS SELECT x.* FROM matches x WHERE NOT EXISTS (
        SELECT 1 FROM tags r WHERE r.mention_id = x.mention_id AND r.tagger = 'relevance'
        AND r.kind = 'relevance' AND r.label = x.name AND r.score < 0.5)""",
    """CREATE VIEW mentions_tagged AS
    SELECT m.id, m.source, m.native_id, m.url, m.title, m.text, m.language, m.published_at,
        m.first_seen_at, a.handle AS author, a.followers, m.conversation_id,
        m.likes, m.replies, m.shares, m.views,
        stage.label AS stage, stage.score AS stage_probability,
        intent.score AS intent, early.score AS early, promo.score AS promo,
        sentiment.label AS sentiment, sentiment.score AS sentiment_probability,
        (SELECT group_concat(t.label, '|') FROM tags t WHERE t.mention_id = m.id
            AND t.tagger = 'funnel' AND t.kind = 'signal') AS signals,
        (SELECT group_concat(DISTINCT x.name) FROM relevant_matches x
            WHERE x.mention_id = m.id) AS about
    FROM mentions m
    LEFT JOIN authors a ON a.id = m.author_id
    LEFT JOIN tags stage ON stage.mention_id = m.id AND stage.tagger = 'funnel'
        AND stage.kind = 'stage'
    LEFT JOIN tags intent ON intent.mention_id = m.id AND intent.tagger = 'funnel'
        AND intent.kind = 'intent'
    LEFT JOIN tags early ON early.mention_id = m.id AND early.tagger = 'funnel'
        AND early.kind = 'early'
    LEFT JOIN tags promo ON promo.mention_id = m.id AND promo.tagger = 'funnel'
        AND promo.kind = 'promo'
    LEFT JOIN tags sentiment ON sentiment.mention_id = m.id AND sentiment.tagger = 'funnel'
        AND sentiment.kind = 'sentiment'""",
    """CREATE VIEW named_sentiment AS
    SELECT DISTINCT n.mention_id, n.kind, n.name, coalesce(
        (SELECT t.label FROM matches x JOIN tags t ON t.mention_id = x.mention_id
            AND t.tagger = 'funnel' AND t.kind = 'sentiment_target' AND t.span_start = x.span_start
            WHERE x.mention_id = n.mention_id AND x.kind = n.kind AND x.name = n.name
            ORDER BY t.score DESC LIMIT 1),
        (SELECT t.label FROM tags t WHERE t.mention_id = n.mention_id AND t.tagger = 'funnel'
            AND t.kind = 'sentiment')) AS sentiment
    FROM relevant_matches n WHERE n.kind IN ('brand', 'product', 'competitor')""",
    """CREATE VIEW daily_sentiment AS
    SELECT substr(hour, 1, 10) AS day, kind, name, language,
        sum(mentions) AS mentions, sum(positive) AS positive, sum(neutral) AS neutral,
        sum(negative) AS negative,
        round(1.0 * (sum(positive) - sum(negative)) / max(sum(positive + neutral + negative), 1), 3)
            AS net_sentiment
    FROM rollup_hourly GROUP BY substr(hour, 1, 10), kind, name, language""",
    """CREATE VIEW share_of_voice AS
    WITH daily AS (
        SELECT substr(hour, 1, 10) AS day, kind, name, sum(mentions) AS mentions
        FROM rollup_hourly WHERE kind IN ('brand', 'competitor')
        GROUP BY substr(hour, 1, 10), kind, name
    )
    SELECT day, kind, name, mentions,
        round(1.0 * mentions / sum(mentions) OVER (PARTITION BY day), 3) AS share
    FROM daily""",
    """CREATE VIEW early_conversations AS
    SELECT c.id, c.source, c.title, c.language, c.stage, round(c.early, 3) AS probability,
        (SELECT group_concat(json_extract(value, '$[1]'), ', ') FROM json_each(c.about)) AS about,
        EXISTS (SELECT 1 FROM json_each(c.about)
            WHERE json_extract(value, '$[0]') IN ('brand', 'product')) AS names_us,
        EXISTS (SELECT 1 FROM json_each(c.about)
            WHERE json_extract(value, '$[0]') = 'competitor') AS names_competitor,
        c.started_at, c.last_at, c.mentions, c.authors,
        m.url, m.title AS post_title, m.text, a.handle AS author, a.followers
    FROM conversations c
    JOIN mentions m ON m.id = c.early_mention_id
    LEFT JOIN authors a ON a.id = m.author_id
    WHERE c.state = 'early'
    ORDER BY c.early DESC""",
    *schema_coverage.VIEWS,
)

VIEWS = (
    "relevant_matches",
    "mentions_tagged",
    "named_sentiment",
    "daily_sentiment",
    "share_of_voice",
    "early_conversations",
    "coverage_hourly",
)


@migrations()
def m001_foundation(db: Database) -> None:
    """Everything a first version stores."""
    for statement in (*_TABLES, *_TRIGGERS, *_VIEWS):
        db.execute(statement)


@migrations()
def m002_alerts(db: Database) -> None:
    """Events with quotes, outcomes, alerts for each person, feedback, audit, near-duplicates."""
    for view in VIEWS:
        db.execute(f"DROP VIEW IF EXISTS {view}")
    for statement in (*schema_alerts.CONVERSATIONS, *schema_alerts.ALERTS, *_VIEWS):
        db.execute(statement)


@migrations()
def m003_sources(db: Database) -> None:
    """Revisions, look-ups, forgotten authors, threads that are read again, hourly coverage."""
    for view in VIEWS:
        db.execute(f"DROP VIEW IF EXISTS {view}")
    for statement in (
        *schema_duties.TABLES,
        *schema_followups.TABLES,
        *schema_coverage.TABLES,
        *_VIEWS,
    ):
        db.execute(statement)


@migrations()
def m004_delivery(db: Database) -> None:
    """Who gets no mail, what digests have shown, and what is wrong with the installation."""
    for statement in (*schema_delivery.TABLES, *schema_troubles.TABLES):
        db.execute(statement)


@cache
def known() -> frozenset[str]:
    """Names of the migrations of this version."""
    with closing(Database(memory=True)) as empty:
        return frozenset(migration.name for migration in migrations.pending(empty))
