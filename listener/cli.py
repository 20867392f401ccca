"""The command line: thin commands over the pipeline. Data on stdout, talk on stderr."""

from __future__ import annotations

from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING

import click

from . import __version__
from .session import Commands, Session, fail, form_options, location_options, say, shared_options

if TYPE_CHECKING:
    from .config_fields import Language
    from .output import Form


def clock() -> datetime:
    """Now, aware UTC. Only this module and the scheduler ask the clock."""
    return datetime.now(UTC)


@click.group(cls=Commands, context_settings={"help_option_names": ["-h", "--help"]})
@click.version_option(__version__, prog_name="listener")
@click.option("-v", "--verbose", is_flag=True, help="Tell more on stderr.")
@click.option("--log-json", is_flag=True, help="Log one JSON object a line.")
@click.option(
    "--log-file",
    type=click.Path(path_type=Path, dir_okay=False),
    help="Log to this file; `listener run` takes it from [log] in the configuration.",
)
@location_options
@click.pass_context
def main(
    context: click.Context,
    verbose: bool,
    log_json: bool,
    log_file: Path | None,
    config: Path | None,
    db: Path | None,
) -> None:
    """Hears people before they choose: collects mentions, tags them, finds open conversations."""
    context.obj = Session(config, db, verbose=verbose, log_json=log_json, log_file=log_file)
    context.obj.log_to(log_file, level="info" if verbose else "warning")


@main.command()
@click.argument("folder", type=click.Path(path_type=Path, file_okay=False), default=".")
@click.option("--yes", is_flag=True, help="Ask nothing; write the sample configuration.")
def init(folder: Path, yes: bool) -> None:
    """Write a commented config.toml into FOLDER."""
    from .config import default_text, parse
    from .starter import personalise

    target = folder / "config.toml"
    if target.exists():
        fail(f"{target} exists already: edit it, or name another folder")
    text = default_text()
    if not yes:
        text = personalise(
            text,
            brand=click.prompt("Name of your brand"),
            competitors=click.prompt("Competitors, separated by commas", default=""),
            need_en=click.prompt("What buyers call the thing in English, commas", default=""),
            need_es=click.prompt("What buyers call the thing in Spanish, commas", default=""),
            email=click.prompt("E-mail address of the reader of digest and alerts"),
            language=click.prompt("Language of that mail, en or es", default="en"),
        )
    parse(text, file=str(target))
    folder.mkdir(parents=True, exist_ok=True)
    target.write_text(text, encoding="utf-8")
    say(f"Wrote {target}. Next: `listener check`, then `listener run --once`.")


@main.command()
@shared_options
@form_options
def check(session: Session, form: Form) -> None:
    """Check configuration, models, sources and channels: everything wrong at once."""
    from .checks import check_all, previewed, price_all
    from .output import emit

    now = clock()
    rows = check_all(session.parts, now=now)
    if previewed(session.config):
        try:
            with session.writing() as store:
                rows += price_all(store, session.parts, now=now)
        except click.ClickException as busy:
            rows.append({"what": "prices", "status": "not asked", "note": busy.message})
    emit(rows, form)
    if any(row["status"] == "failed" for row in rows):
        raise click.exceptions.Exit(1)


@main.command()
@click.option("--once", is_flag=True, help="One full round, then end.")
@shared_options
def run(session: Session, once: bool) -> None:
    """Run the daemon, or one full round with --once."""
    if not once:
        from .daemon import leave, serve

        log = session.config.log
        session.log_to(
            session.log_file or log.file,
            level="debug" if log.level == "debug" else "info" if session.verbose else log.level,
            max_mb=log.max_mb,
            keep=log.keep,
        )
        with session.writing():
            say("Listening. Ctrl-C ends it; what is done is stored.")
            ending = serve(session.parts, session.database)
        leave(ending)
        return
    from .output import shown_progress
    from .pipeline import run_round
    from .summary import show

    now = clock()
    with session.writing() as store:
        with shown_progress() as progress:
            done = run_round(store, session.parts, now=now, progress=progress)
        show(store, session.config, done)


@click.command()
@shared_options
def tag(session: Session) -> None:
    """Match terms and tag what is new: language, stage, intent, sentiment, signals."""
    from .output import shown_progress
    from .pipeline import understand

    with session.writing() as store, shown_progress() as progress:
        matched, tagged = understand(store, session.parts, progress=progress)
    say(f"Matched {matched} and tagged {tagged} mentions.")


@click.command()
@shared_options
def watch(session: Session) -> None:
    """Follow conversations and raise alerts for those in which the choice is still open."""
    from .output import shown_progress
    from .pipeline import watch as watch_all

    with session.writing() as store, shown_progress() as progress:
        judged, new, mailed = watch_all(store, session.parts, now=clock(), progress=progress)
    say(f"Judged {judged} conversations; {new} new alerts, {mailed} of them to be mailed.")


@click.command()
@shared_options
def deliver(session: Session) -> None:
    """Send what waits in the outbox."""
    from .deliver import deliver as deliver_all
    from .output import shown_progress

    with session.writing() as store, shown_progress() as progress:
        outcome = deliver_all(
            store, session.config, session.parts.channels, now=clock(), progress=progress
        )
    say(", ".join(f"{count} {status}" for status, count in outcome.items()) or "Nothing to send.")


@click.command()
@click.option("--date", "day", type=click.DateTime(["%Y-%m-%d"]), help="Day [today].")
@click.option(
    "--preview",
    type=click.Path(path_type=Path, dir_okay=False),
    help="Write it as a page to this file and send nothing.",
)
@click.option("--language", type=click.Choice(["en", "es"]), help="Language of the preview.")
@shared_options
def digest(
    session: Session, day: datetime | None, preview: Path | None, language: Language | None
) -> None:
    """Send the daily digest, or write it to a file with --preview."""
    from .deliver import deliver as deliver_all
    from .letters import preview_digest
    from .slots import enqueue_digest, local_day

    now = clock()
    chosen = day.date() if day else local_day(session.config, now)
    if preview is not None:
        with session.open() as store:
            page = preview_digest(store, session.config, chosen, language=language, now=now)
        try:
            preview.write_text(page, encoding="utf-8")
        except OSError as error:
            fail(f"{preview} cannot be written ({error.strerror}): name a file in another folder")
        say(f"Wrote {preview}.")
        return
    with session.writing() as store:
        enqueue_digest(store, session.config, day.date() if day else None, now=now)
        outcome = deliver_all(store, session.config, session.parts.channels, now=now)
    say(", ".join(f"{count} {status}" for status, count in outcome.items()) or "Sent before.")


def _register() -> None:
    from . import (
        cli_alerts,
        cli_backtest,
        cli_collect,
        cli_daemon,
        cli_duties,
        cli_feedback,
        cli_import,
        cli_keywords,
        cli_look,
        cli_recipients,
        cli_serve,
    )

    for command in (
        cli_collect.collect,
        cli_import.import_,
        tag,
        watch,
        deliver,
        digest,
        cli_alerts.alerts,
        *cli_feedback.COMMANDS,
        cli_backtest.backtest,
        *cli_look.COMMANDS,
        *cli_duties.COMMANDS,
        *cli_keywords.COMMANDS,
        cli_recipients.recipients,
        *cli_daemon.COMMANDS,
        cli_serve.serve,
    ):
        main.add_command(command)
    cli_alerts.alerts.add_command(cli_feedback.explain_model)


_register()
