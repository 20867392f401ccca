"""What `listener run --once` says at its end: what came in, what was found, what to open."""

from __future__ import annotations

from pathlib import Path

import click

from .config import Config
from .output import emit
from .pipeline import Round
from .store import Store, open_read_only

EXAMPLES = (
    (
        "Conversations in which the choice is still open",
        "SELECT probability, stage, language, about, substr(text, 1, 45) AS text\n"
        "FROM early_conversations LIMIT 5",
    ),
    (
        "Share of voice over the last days",
        "SELECT name, sum(mentions) AS mentions,\n"
        "  round(100.0 * sum(mentions) / sum(sum(mentions)) OVER (), 1) AS percent\n"
        "FROM share_of_voice GROUP BY name ORDER BY mentions DESC",
    ),
    (
        "Sentiment toward the brand and its competitors",
        "SELECT name, sum(positive) AS positive, sum(neutral) AS neutral,\n"
        "  sum(negative) AS negative\n"
        "FROM daily_sentiment WHERE kind IN ('brand', 'competitor') GROUP BY name ORDER BY name",
    ),
)
# An alert counts once, by the furthest it came with anybody.
_FATES = """
SELECT fate, count(*) AS n FROM (
    SELECT CASE WHEN max(r.fate = 'mailed') THEN 'mailed' WHEN max(r.fate = 'held') THEN 'held'
        ELSE 'listed' END AS fate
    FROM alerts a LEFT JOIN alert_recipients r ON r.alert_id = a.id GROUP BY a.id
) GROUP BY fate
"""


def show(store: Store, config: Config, done: Round) -> None:
    """Print the summary of a round on stdout."""
    click.echo(f"new posts: {sum(result.new for result in done.collected)}")
    emit(
        [
            {
                "source": result.source,
                "query": result.query,
                "status": result.status,
                "returned": result.returned,
                "kept": result.kept,
                "new": result.new,
                "note": result.error or "",
            }
            for result in done.collected
        ],
        "table",
    )
    click.echo("\nStages (all stored posts):")
    emit(
        store.rows(
            "SELECT t.label AS stage, count(*) AS posts, sum(m.language = 'en') AS en, "
            "sum(m.language = 'es') AS es FROM tags t JOIN mentions m ON m.id = t.mention_id "
            "WHERE t.tagger = 'funnel' AND t.kind = 'stage' GROUP BY t.label ORDER BY posts DESC"
        ),
        "table",
    )
    early = store.value("SELECT count(*) FROM conversations WHERE state = 'early'")
    click.echo(f"\nConversations in which the choice is open: {early}. New alerts: {done.alerts}.")
    fates = {row["fate"]: row["n"] for row in store.rows(_FATES)}
    limit, hours = config.alerts.max_per_day, config.alerts.max_age_hours
    click.echo(
        f"Of all alerts {fates.get('mailed', 0)} were mailed (at most {limit} a day for each), "
        f"{fates.get('held', 0)} held back for the digest,\n"
        f"{fates.get('listed', 0)} only listed (older than {hours} hours, or nobody to mail)."
    )
    sent = ", ".join(f"{count} {status}" for status, count in done.delivered.items())
    click.echo(f"Messages: {sent or 'none due'}.")
    if config.channels.outbox.enabled:
        _show_outbox(config.channels.outbox.folder)
    click.echo(f"\nSQLite file: {store.path}")
    for title, sql in EXAMPLES:
        click.echo(f'\n{title}:\n\nlistener sql "{sql}"\n')
        connection = open_read_only(store.path)
        try:
            emit(connection.execute(sql).fetchall(), "table")
        finally:
            connection.close()


def _show_outbox(folder: Path) -> None:
    pages = sorted(folder.glob("*.html"), key=lambda path: (path.stat().st_mtime, path.name))
    for kind, title in (("digest", "Digests"), ("alert", "Alert e-mails")):
        found = [path for path in pages if path.name.startswith(kind)]
        if found:
            click.echo(f"{title} ({len(found)}), open in a browser: {found[-1]}")
