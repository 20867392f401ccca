"""`listener collect`, and how it and `import` tell what sources gave."""

from __future__ import annotations

import re
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import TYPE_CHECKING

import click

from .session import Session, fail, form_options, say, shared_options

if TYPE_CHECKING:
    from connectors.base import Budget

    from .collect import Collected
    from .output import Form

_AGE = re.compile(r"(?P<number>[1-9][0-9]{0,4})(?P<unit>[dh])")
_UNITS = {"d": timedelta(days=1), "h": timedelta(hours=1)}


@click.command()
@click.argument("source", nargs=-1)
@click.option("--max-pages", type=click.IntRange(min=1), help="Pages per query at most.")
@click.option(
    "--max-cost",
    type=click.FloatRange(min=0),
    metavar="DOLLARS",
    help="What paid sources may spend in this run, all together.",
)
@click.option(
    "--since",
    metavar="DATE|7d|36h",
    help="Look back once: to a date (UTC), or so many days or hours. The usual collection goes on "
    "from where it was; the same command again goes on with what is left.",
)
@click.option(
    "--dry-run",
    is_flag=True,
    help="Collect nothing: show what would be asked, and what it would cost where that can be "
    "told. Counting posts may cost something itself.",
)
@shared_options
@form_options
def collect(
    session: Session,
    source: tuple[str, ...],
    max_pages: int | None,
    max_cost: float | None,
    since: str | None,
    dry_run: bool,
    form: Form,
) -> None:
    """Collect from every enabled SOURCE, or from those named."""
    from connectors.base import Budget

    from .cli import clock
    from .output import shown_progress
    from .pipeline import gather

    now = clock()
    start, key = (None, "") if since is None else look_back(since, now)
    budget = Budget(
        pages=max_pages,
        micro_dollars=None if max_cost is None else round(max_cost * 1_000_000),
        since=start,
    )
    enabled = [name for name, _ in session.config.sources.enabled()]
    if unknown := sorted(set(source) - set(enabled)):
        fail(f"no enabled source is called {', '.join(unknown)}; enabled: {', '.join(enabled)}")
    if dry_run:
        _show_plan(session, source, budget, now, form)
        return
    with session.writing() as store, shown_progress() as progress, failures_told_later():
        results = gather(
            store,
            session.parts,
            only=source,
            budget=budget,
            since=key,
            now=now,
            progress=progress,
        )
    report(results, form)
    if since and not results:
        say("No source can look back: files and the sample give all they have anyway.")
    if results and all(result.status == "failed" for result in results):
        raise click.exceptions.Exit(1)


def look_back(text: str, now: datetime) -> tuple[datetime, str]:
    """Where `--since` lies, and the name under which its cursors are kept.

    A date keeps its name for ever, an age until the day (UTC) is over: the same words mean another
    time then. Raises click.BadParameter for what is neither, and for what is not past.
    """
    age = _AGE.fullmatch(text)
    try:
        start = (
            now - int(age["number"]) * _UNITS[age["unit"]]
            if age
            else datetime.strptime(text, "%Y-%m-%d").replace(tzinfo=UTC)
        )
    except (ValueError, OverflowError):
        raise click.BadParameter(
            "write a date such as 2026-11-01, or an age such as 7d or 36h", param_hint="--since"
        ) from None
    if start >= now:
        raise click.BadParameter(f"{text} is not past; name an earlier day", param_hint="--since")
    return start, f"{text} of {now:%Y-%m-%d}" if age else text


def _show_plan(
    session: Session, only: tuple[str, ...], budget: Budget, now: datetime, form: Form
) -> None:
    """What would be asked of each source, and what it would cost."""
    from .output import emit
    from .pricing import as_rows, preview, told_total, totals
    from .sources import build
    from .upkeep import with_reserve
    from .vocabulary import queries

    config = session.config
    sources, failed = build(config, only)
    with session.writing() as store:
        sources = with_reserve(store, sources, config.upkeep, now=now)
        rows = preview(store, sources, queries(config), budget=budget, now=now)
        sums = totals(store, sources, rows, config, now=now)
    emit(as_rows(rows, sums), form)
    for one in failed:
        say(f"{one.source}: {one.error}")
    for total in sums:
        say(f"{total.source}: {told_total(total)}")


@contextmanager
def failures_told_later() -> Iterator[None]:
    """Keep failed sources out of the log: `report` tells of each."""
    import logging

    log = logging.getLogger(f"{__package__}.collect")
    before = log.level
    log.setLevel(logging.ERROR)
    try:
        yield
    finally:
        log.setLevel(before)


def report(results: list[Collected], form: Form) -> None:
    """Counts as rows; warnings and failures as talk."""
    from .output import emit

    emit(
        [
            {
                "source": result.source.removeprefix("import:"),
                "query": result.query,
                "status": result.status,
                "returned": result.returned,
                "kept": result.kept,
                "new": result.new,
                "warnings": len(result.warnings),
            }
            for result in results
        ],
        form,
    )
    for result in results:
        for warning in (*result.warnings, *filter(None, [result.error])):
            place = result.source.removeprefix("import:")
            # What is said of a file mostly starts with its name.
            named = Path(place).name in warning.partition(": ")[0]
            say(warning if named else f"{place}: {warning}")
