"""`listener sources`: what each source gives, needs and costs, and what it is asked."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import click

from .session import Session, fail, form_options, shared_options

if TYPE_CHECKING:
    from .output import Form


@click.group(invoke_without_command=True)
@shared_options
@form_options
@click.pass_context
def sources(context: click.Context, session: Session, form: Form) -> None:
    """Sources: what each gives, needs and costs, and which are enabled."""
    if context.invoked_subcommand is not None:
        if form != "table":
            raise click.UsageError(f"write --{form} behind {context.invoked_subcommand}")
        context.find_root().obj = session
        return
    from .checks import source_rows
    from .output import emit

    emit(source_rows(session.config), form)


@sources.command("explain")
@click.argument("source", required=False)
@click.argument("query", required=False)
@shared_options
@form_options
def explain(session: Session, source: str | None, query: str | None, form: Form) -> None:
    """Show what each SOURCE is asked for each QUERY, what runs there and what locally.

    Asks nothing and needs no credentials. --json and --csv print every column.
    """
    from .output import emit
    from .searches import named, search_rows

    config = session.config
    enabled = [name for name, _ in config.sources.enabled()]
    if source is not None and source not in enabled:
        fail(f"no enabled source is called {source}; enabled: {', '.join(enabled) or 'none'}")
    if not named(config, query):
        names = ", ".join(one.name for one in named(config, None))
        fail(f"no query is called {query}; queries: {names}")
    only = [source] if source else []
    if session.database.is_file():
        with session.open() as store:
            rows = search_rows(config, store, only, query)
    else:
        rows = search_rows(config, None, only, query)
    emit(map(_line, rows) if form == "table" else rows, form)


def _line(row: dict[str, Any]) -> dict[str, Any]:
    """What of a row fits into a line."""
    told = {name: row[name] for name in ("source", "query", "part", "text", "runs")}
    share = "" if row["kept_percent"] is None else f" ({row['kept_percent']} %)"
    kept = "" if row["returned"] is None else f"{row['kept']} of {row['returned']}{share}"
    return told | {"kept": kept}
