"""`listener backup` and `listener restore`: the database and the small files that it needs."""

from __future__ import annotations

from pathlib import Path

import click

from .session import Session, say, shared_options

_FILE = click.Path(path_type=Path, dir_okay=False)


@click.command()
@click.argument("file", type=_FILE)
@click.option("--force", is_flag=True, help="Overwrite FILE.")
@shared_options
def backup(session: Session, file: Path, force: bool) -> None:
    """Copy the database into FILE, also while `listener run` is at work.

    FILE is an SQLite file for its owner only: it also holds the key of links and sessions, not the
    configuration. It is checked before it gets its name.
    """
    from .backup import back_up, beside
    from .cli import clock
    from .output import shown_progress

    with shown_progress() as progress:
        done = back_up(
            session.database,
            file,
            files=beside(session.config, session.database),
            force=force,
            now=clock(),
            tick=progress("backup", None),
        )
    rows = ", ".join(f"{count} {table}" for table, count in done.rows.items() if count)
    say(f"Wrote {file} ({done.size / 1e6:.1f} MB): {rows or 'nothing yet'}.")
    say("It holds posts and keys: keep it where only you can read it.")


@click.command()
@click.argument("file", type=click.Path(path_type=Path, dir_okay=False, exists=True))
@click.option("--force", is_flag=True, help="Also when the database that is there is damaged.")
@shared_options
def restore(session: Session, file: Path, force: bool) -> None:
    """Put a backup FILE in the place of the database; `listener run` has to be stopped.

    The database that is there stays beside it. Whoever was forgotten, or ended their e-mails, since
    the backup stays so: that is carried over.
    """
    from .backup import beside
    from .backup import restore as put_back
    from .cli import clock
    from .output import shown_progress

    database = session.database
    with session.locked(), shown_progress() as progress:
        done = put_back(
            file,
            database,
            files=beside(session.config, database),
            force=force,
            now=clock(),
            tick=progress("restore", None),
        )
    say(f"Restored {done.mentions} mentions as of {done.made_at:%Y-%m-%d %H:%M} UTC.")
    if done.files:
        say(f"Written again: {', '.join(done.files)}.")
    if (carried := done.carried) is not None:
        say(
            f"Carried over: {carried.forgotten} marks of forgotten authors, {carried.removed} "
            f"removed posts; {carried.erased} posts erased again."
        )
    else:
        say(
            "Nothing was carried over: whoever was forgotten since the backup has to be forgotten "
            "again, and `listener sync-deletions --all` removes what was taken down."
        )
    if done.kept:
        say(f"The database of before is {done.kept}: remove it when all is well.")


COMMANDS = (backup, restore)
