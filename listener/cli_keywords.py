"""The command about keywords: how precise each term is, and what people say of its mentions."""

from __future__ import annotations

from typing import TYPE_CHECKING

import click

from .session import Session, fail, form_options, say, shared_options

if TYPE_CHECKING:
    from .output import Form


@click.command()
@click.option(
    "--label",
    "given",
    type=(int, click.Choice(["yes", "no"]), str),
    metavar="MENTION yes|no NAME",
    multiple=True,
    help="Say that a mention means NAME, or only looks like it; may stand many times.",
)
@click.option("--suggest", is_flag=True, help="Show words to exclude instead.")
@shared_options
@form_options
def keywords(
    session: Session, given: tuple[tuple[int, str, str], ...], suggest: bool, form: Form
) -> None:
    """Show how often each term matches and how often it means the name, with a 95 % interval."""
    from .cli import clock
    from .output import emit
    from .relevance import LabelError, keyword_rows, label, suggestion_rows

    if given:
        with session.writing() as store:
            for number, answer, name in given:
                try:
                    label(
                        store,
                        number,
                        name,
                        relevant=answer == "yes",
                        given_by="command",
                        now=clock(),
                    )
                except LabelError as error:
                    fail(str(error))
        say(f"Noted {len(given)}; `listener tag` judges the name's mentions anew.")
        return
    with session.open() as store:
        rows = suggestion_rows(store) if suggest else keyword_rows(store)
    emit(rows, form)


COMMANDS: tuple[click.Command, ...] = (keywords,)
