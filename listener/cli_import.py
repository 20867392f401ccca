"""`listener import`: files of posts, once."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

import click

from .cli_collect import failures_told_later, report
from .session import Session, form_options, shared_options

if TYPE_CHECKING:
    from .output import Form


@click.command("import")
@click.argument("file", nargs=-1, required=True, type=click.Path(path_type=Path))
@click.option(
    "--format",
    "kind",
    type=click.Choice(["auto", "csv", "excel", "feed", "jsonl", "telegram", "twarc", "x-archive"]),
    default="auto",
    help="What the file is [auto: by its content].",
)
@click.option("--map", "mapping", default="", help="Columns, as text=body,native_id=key.")
@click.option("--source", default=None, help="Source name for records that name none.")
@shared_options
@form_options
def import_(
    session: Session,
    file: tuple[Path, ...],
    kind: str,
    mapping: str,
    source: str | None,
    form: Form,
) -> None:
    """Import posts from FILEs: tables, JSON, dumps of Reddit, archives of X, chats of Telegram.

    Exit code 1 says that a file failed; the others are imported all the same.
    """
    from connectors.base import BadConfig
    from connectors.registry import load

    from .cli import clock
    from .collect import Collected, Source
    from .collect import collect as collect_from
    from .output import shown_progress
    from .vocabulary import queries

    columns = parse_mapping(mapping)
    sources, broken = [], []
    for path in file:
        name = f"import:{path.absolute()}"
        try:
            connector = load("file")(path, format=kind, mapping=columns, source=source)
        except BadConfig as error:
            if len(file) == 1:
                raise
            broken.append(Collected(source=name, query="", status="failed", error=str(error)))
        else:
            sources.append(Source(name=name, connector=connector))
    with session.writing() as store, shown_progress() as progress, failures_told_later():
        results = collect_from(
            store,
            sources,
            queries(session.config),
            session.parts.matcher,
            now=clock(),
            progress=progress,
        )
    results += broken
    report(results, form)
    if any(result.status == "failed" for result in results):
        raise click.exceptions.Exit(1)


def parse_mapping(text: str) -> dict[str, str] | None:
    """`field=column,...` as a dict, or None when empty; a usage error names what is wrong."""
    pairs = [part.partition("=") for part in text.split(",") if part.strip()]
    if any(not equals or not column.strip() for _, equals, column in pairs):
        raise click.UsageError(f"--map {text!r}: write field=column,field=column")
    return {field.strip(): column.strip() for field, _, column in pairs} or None
