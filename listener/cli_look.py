"""Commands that look: try a text, search, query, export, evaluate, status, doctor."""

from __future__ import annotations

import json
import sqlite3
from collections.abc import Iterator
from contextlib import closing, contextmanager
from pathlib import Path
from typing import TYPE_CHECKING

import click

from .cli_channels import channels
from .cli_sources import sources
from .cli_train import train
from .session import Session, fail, form_options, say, shared_options

if TYPE_CHECKING:
    from .output import Form

EXPORTS = (
    "mentions_tagged",
    "early_conversations",
    "daily_sentiment",
    "share_of_voice",
    "coverage_hourly",
    "alerts",
)
_SEARCHED = 2000
_MATCHES = 50


@contextmanager
def _reading(session: Session) -> Iterator[sqlite3.Connection]:
    """The database for reading; what SQLite refuses ends as one sentence."""
    from .store import open_read_only

    with closing(open_read_only(session.database)) as connection:
        try:
            yield connection
        except (sqlite3.Error, sqlite3.Warning) as error:
            fail(f"SQLite says: {error}")


@click.command("try")
@click.argument("text")
@click.option("--lang", help="Language of the text [detected].")
@shared_options
@form_options
def try_(session: Session, text: str, lang: str | None, form: Form) -> None:
    """Show the tags of TEXT with probabilities and matched spans; stores nothing.

    Brands, products and competitors have the sentiment toward them. --json has every match, --csv
    the tags alone.
    """
    from .examine import examine, not_read
    from .output import emit

    result = examine(session.parts, text, lang)
    if form == "json":
        click.echo(json.dumps(result, ensure_ascii=False, indent=2))
        return
    if form == "csv":
        emit(result["tags"], form)
        return
    click.echo(f"language: {result['lang']} ({result['lang_score']:.2f})")
    if unread := not_read(result["read"]):
        click.echo(unread)
    emit(result["tags"], form)
    matches = result["matches"]
    if matches:
        click.echo()
        emit(matches[:_MATCHES], form)
    if len(matches) > _MATCHES:
        say(f"{len(matches) - _MATCHES} more matches: --json shows them all.")


@click.command()
@click.argument("query")
@click.option("--limit", type=click.IntRange(1, _SEARCHED), default=20, show_default=True)
@shared_options
@form_options
def search(session: Session, query: str, limit: int, form: Form) -> None:
    """Search titles and texts, accents or not: café grinder, "a phrase", a OR b.

    Shows the latest collected 2,000 matches, newest first.
    """
    from .output import emit

    if not query.split():
        fail("there is no word to search for: write at least one")
    # Ids grow as posts are collected, so that the index alone finds the latest.
    sql = (
        "SELECT m.id, m.published_at, m.source, m.language, m.title, m.text, m.url "
        "FROM (SELECT rowid AS id FROM mentions_fts WHERE mentions_fts MATCH ? "
        f"ORDER BY rowid DESC LIMIT {_SEARCHED}) found JOIN mentions m USING (id) "
        "ORDER BY m.published_at DESC, m.id DESC LIMIT ?"
    )
    with _reading(session) as connection:
        try:
            rows = connection.execute(sql, (query, limit)).fetchall()
        except sqlite3.OperationalError:
            # What people type is often no FTS5 expression ("X-200?"): look for its words then.
            words = " ".join('"' + word.replace('"', '""') + '"' for word in query.split())
            rows = connection.execute(sql, (words, limit)).fetchall()
    emit(rows, form)


@click.command()
@click.argument("statement")
@shared_options
@form_options
def sql(session: Session, statement: str, form: Form) -> None:
    """Run a read-only SQL STATEMENT; docs/database.md tells of tables and views."""
    from .output import emit, named

    with _reading(session) as connection:
        cursor = connection.execute(statement)
        names = named(column for column, *_ in cursor.description or ())
        emit((dict(zip(names, row, strict=True)) for row in cursor), form)


@click.command()
@click.argument("what", type=click.Choice(EXPORTS))
@shared_options
@form_options
def export(session: Session, what: str, form: Form) -> None:
    """Print a whole view or table, as in `listener export mentions_tagged --csv > mentions.csv`."""
    from .output import emit

    with _reading(session) as connection:
        emit(connection.execute(f"SELECT * FROM {what}"), form)


@click.command()
@click.argument("labels", type=click.Path(path_type=Path, exists=True, dir_okay=False))
@click.option("--min", "minimum", multiple=True, help="Fail below this, as early.es.f1=0.7.")
@click.option(
    "--errors",
    type=click.Path(path_type=Path, dir_okay=False),
    help="Write the wrong rows to this file, texts and all (JSON Lines).",
)
@shared_options
@form_options
def evaluate(
    session: Session, labels: Path, minimum: tuple[str, ...], errors: Path | None, form: Form
) -> None:
    """Measure the model on LABELS (JSON Lines), beside a regex and a TF-IDF baseline.

    --json has all figures: macro scores, sources, signals, confusion, slices, reliability.
    """
    from .measure import flat, measure, sections
    from .output import emit

    found = measure(session.parts, labels, minimum)
    for fault in found.faults:
        say(fault)
    if form == "json":
        click.echo(json.dumps(found.report, ensure_ascii=False, indent=2))
    elif form == "csv":
        emit(flat(found.report), form)
    else:
        for at, (title, rows) in enumerate(sections(found.report)):
            click.echo(("\n" if at else "") + title)
            emit(rows, form)
    if errors is not None:
        lines = (json.dumps(row, ensure_ascii=False) + "\n" for row in found.wrong)
        try:
            errors.write_text("".join(lines), encoding="utf-8", errors="backslashreplace")
        except OSError as error:
            fail(f"{errors} cannot be written ({error.strerror}): name a file in another folder")
        say(f"Wrote {len(found.wrong)} rows with a wrong head to {errors}.")
    if found.seen:
        say(
            f"Own heads were fitted on {found.seen} of these rows, so their figures flatter here: "
            "those that `listener train` printed do not."
        )
    for failure in found.failures:
        say(failure)
    if found.failures:
        raise click.exceptions.Exit(1)


@click.command()
@click.option("--queries", is_flag=True, help="Show what each query covered, not each source.")
@click.option("--health", is_flag=True, help="Say as JSON whether all is well; exit 1 if not.")
@shared_options
@form_options
def status(session: Session, queries: bool, health: bool, form: Form) -> None:
    """What is stored, what waits, how each job last went, and what each source did not hear.

    Coverage is that of the last 24 hours; --json has all its figures.
    """
    from .cli import clock
    from .health import health as examined
    from .output import emit
    from .status import coverage_rows, operation_rows, status_rows

    now = clock()
    if health:
        with session.open() as store:
            found = examined(store, session.config, now=now)
        click.echo(json.dumps(found.told, ensure_ascii=False, indent=2))
        context = click.get_current_context()
        context.exit(0 if found.ok else 1)
    with session.open() as store:
        rows = status_rows(store, now=now)
        rows += operation_rows(store, session.config, now=now)
        rows += coverage_rows(store, session.config, now=now, by_query=queries)
    if form != "json":
        rows = [{name: row[name] for name in ("what", "value", "note")} for row in rows]
    emit(rows, form)


@click.command()
@shared_options
@form_options
def doctor(session: Session, form: Form) -> None:
    """Check this machine and what runs on it: from Python and the disk to the age of the backup."""
    from .cli import clock
    from .doctor import examine_machine
    from .output import emit

    rows = examine_machine(session.parts, session.database, now=clock())
    emit(rows, form)
    if any(row["status"] == "failed" for row in rows):
        raise click.exceptions.Exit(1)


COMMANDS: tuple[click.Command, ...] = (
    try_,
    search,
    sql,
    export,
    evaluate,
    train,
    status,
    doctor,
    sources,
    channels,
)
