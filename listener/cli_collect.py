"""`listener collect`, and how it and `import` tell what sources gave."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING

import click

from .session import Session, fail, form_options, say, shared_options

if TYPE_CHECKING:
    from .collect import Collected
    from .output import Form


@click.command()
@click.argument("source", nargs=-1)
@click.option("--max-pages", type=click.IntRange(min=1), help="Pages per query at most.")
@click.option(
    "--max-cost",
    type=click.FloatRange(min=0),
    metavar="DOLLARS",
    help="What paid sources may spend in this run, all together.",
)
@shared_options
@form_options
def collect(
    session: Session,
    source: tuple[str, ...],
    max_pages: int | None,
    max_cost: float | None,
    form: Form,
) -> None:
    """Collect from every enabled SOURCE, or from those named."""
    from connectors.base import Budget

    from .cli import clock
    from .output import shown_progress
    from .pipeline import gather

    enabled = [name for name, _ in session.config.sources.enabled()]
    if unknown := sorted(set(source) - set(enabled)):
        fail(f"no enabled source is called {', '.join(unknown)}; enabled: {', '.join(enabled)}")
    with session.writing() as store, shown_progress() as progress, failures_told_later():
        results = gather(
            store,
            session.parts,
            only=source,
            budget=Budget(
                pages=max_pages,
                micro_dollars=None if max_cost is None else round(max_cost * 1_000_000),
            ),
            now=clock(),
            progress=progress,
        )
    report(results, form)
    if results and all(result.status == "failed" for result in results):
        raise click.exceptions.Exit(1)


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
