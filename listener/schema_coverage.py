"""Tables of what each source covered, hour by hour; listener/coverage.py writes them."""

from __future__ import annotations

TABLES: tuple[str, ...] = (
    # What a place (a source and one of its queries) gave in the collections that began in an hour
    # (UTC, as in rollup_hourly), and how many minutes of that hour it did not hear.
    """CREATE TABLE coverage (
        hour TEXT NOT NULL,
        source TEXT NOT NULL,
        query TEXT NOT NULL,
        fetched INTEGER NOT NULL DEFAULT 0,
        kept INTEGER NOT NULL DEFAULT 0,
        new INTEGER NOT NULL DEFAULT 0,
        truncated INTEGER NOT NULL DEFAULT 0,
        limited INTEGER NOT NULL DEFAULT 0,
        failed INTEGER NOT NULL DEFAULT 0,
        blind_minutes INTEGER NOT NULL DEFAULT 0 CHECK (blind_minutes BETWEEN 0 AND 60),
        PRIMARY KEY (source, query, hour)
    ) WITHOUT ROWID""",
    "CREATE INDEX coverage_by_hour ON coverage (hour)",
    # `since`: first asked; `covered_until`: start of the last collection that left nothing out;
    # `asked_at`: last asked. Of one source, a place that was not asked with the others is no more.
    """CREATE TABLE coverage_places (
        source TEXT NOT NULL,
        query TEXT NOT NULL,
        since TEXT NOT NULL,
        covered_until TEXT,
        asked_at TEXT NOT NULL,
        PRIMARY KEY (source, query)
    ) WITHOUT ROWID""",
    # Spans that a source can no longer give: disjoint, blind for ever.
    """CREATE TABLE coverage_gaps (
        source TEXT NOT NULL,
        query TEXT NOT NULL,
        start_at TEXT NOT NULL,
        end_at TEXT NOT NULL,
        PRIMARY KEY (source, query, start_at)
    ) WITHOUT ROWID""",
    "CREATE INDEX runs_by_place ON runs (source, query, status)",
    # Runs of earlier versions. Files cover no span of time.
    """INSERT INTO coverage (hour, source, query, fetched, kept, new, truncated, limited, failed)
    SELECT substr(started_at, 1, 13), source, query, sum(returned), sum(kept), sum(new),
        sum(status = 'partial' AND error IS NOT 'stopped'), sum(status = 'waiting'),
        sum(status = 'failed')
    FROM runs GROUP BY source, query, substr(started_at, 1, 13)""",
    """INSERT INTO coverage_places (source, query, since, covered_until, asked_at)
    SELECT source, query, min(started_at),
        max(started_at) FILTER (WHERE status = 'ok'), max(started_at)
    FROM runs WHERE source NOT GLOB 'import:*' AND source NOT GLOB 'files:*'
        AND source <> 'sample' GROUP BY source, query""",
)

VIEWS: tuple[str, ...] = (
    # Money is read where it is booked, so that look-ups and sweeps are in it, too.
    """CREATE VIEW coverage_hourly AS
    SELECT hour, source, query, sum(fetched) AS fetched, sum(kept) AS kept, sum(new) AS new,
        sum(truncated) AS truncated, sum(limited) AS limited, sum(failed) AS failed,
        sum(blind_minutes) AS blind_minutes, sum(micro_dollars) AS micro_dollars
    FROM (
        SELECT hour, source, query, fetched, kept, new, truncated, limited, failed, blind_minutes,
            0 AS micro_dollars FROM coverage
        UNION ALL
        SELECT substr(at, 1, 13), source, query, 0, 0, 0, 0, 0, 0, 0, micro_dollars FROM spend
    ) GROUP BY hour, source, query""",
)
