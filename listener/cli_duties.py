"""`listener sync-deletions` and `listener forget`: duties toward platforms and people."""

from __future__ import annotations

from dataclasses import asdict
from typing import TYPE_CHECKING

import click

from .session import Session, fail, form_options, say, shared_options

if TYPE_CHECKING:
    from .output import Form


@click.command("sync-deletions")
@click.argument("source", nargs=-1)
@click.option("--all", "everything", is_flag=True, help="Every stored post, not only what is due.")
@shared_options
@form_options
def sync_deletions(session: Session, source: tuple[str, ...], everything: bool, form: Form) -> None:
    """Look stored posts up again: what was removed is erased, edits and figures are kept.

    At every enabled SOURCE that can look posts up, or at those named. `listener run` does it by
    itself; [upkeep] says how often a post is due.
    """
    from .cli import clock
    from .erase import clean_index, clean_outbox
    from .output import emit, shown_progress
    from .pipeline import look_up

    enabled = [name for name, _ in session.config.sources.enabled()]
    if unknown := sorted(set(source) - set(enabled)):
        fail(f"no enabled source is called {', '.join(unknown)}; enabled: {', '.join(enabled)}")
    with session.writing() as store:
        with shown_progress() as progress:
            results = look_up(
                store,
                session.config,
                only=source,
                everything=everything,
                now=clock(),
                progress=progress,
            )
        mails = clean_outbox(store, session.config.channels.outbox.folder)
        clean_index(store)
    emit(
        [
            {
                "source": result.source,
                "status": result.status,
                "looked_up": result.looked_up,
                "removed": result.removed,
                "edited": result.edited,
                "left": result.left,
                "dollars": result.micro_dollars / 1e6,
            }
            for result in results
        ],
        form,
    )
    for result in results:
        for said in (*result.warnings, *filter(None, [result.error])):
            say(f"{result.source}: {said}")
    _tell(mails)
    if results and all(result.status == "failed" for result in results):
        raise click.exceptions.Exit(1)


@click.command()
@click.argument("author")
@click.option("--source", help="The source that knows AUTHOR, such as x.")
@click.option("--all-sources", is_flag=True, help="Whoever is called so, at every source.")
@shared_options
@form_options
def forget(
    session: Session, author: str, source: str | None, all_sources: bool, form: Form
) -> None:
    """Erase everything AUTHOR wrote, and never store them again.

    AUTHOR is the id that the source gave, or a handle; with @ in front it is a handle. One who is
    not stored yet is kept out all the same: name the source. Mails that have left are out of reach.
    """
    from .cli import clock
    from .erase import clean_index, clean_outbox
    from .forget import forget as forget_author
    from .output import emit, shown_progress

    if source is not None and all_sources:
        raise click.UsageError("--source and --all-sources exclude each other")
    with session.writing() as store:
        with shown_progress() as progress:
            erased = forget_author(
                store,
                author,
                source=source,
                all_sources=all_sources,
                now=clock(),
                tick=progress("forget", None),
            )
        mails = clean_outbox(store, session.config.channels.outbox.folder)
        clean_index(store)
    emit([asdict(one) for one in erased], form)
    _tell(mails)


def _tell(mails: int) -> None:
    if mails:
        say(f"Removed {mails} mails from the outbox folder, which quoted what was erased.")


COMMANDS = (sync_deletions, forget)
