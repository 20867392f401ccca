"""`listener recipients`: who gets which mail and when, and who gets none for now."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import click

from .session import Session, fail, form_options, say, shared_options

if TYPE_CHECKING:
    import sqlite3
    from collections.abc import Sequence
    from datetime import datetime

    from .config import Config, Recipient
    from .output import Form
    from .recipients import What

_what = click.option(
    "--what",
    type=click.Choice(["digest", "alerts", "all"]),
    default="all",
    show_default=True,
    help="Which mail.",
)


@click.group(invoke_without_command=True)
@shared_options
@form_options
@click.pass_context
def recipients(context: click.Context, session: Session, form: Form) -> None:
    """Recipients: what each gets, when the next digest is due, and who gets no mail and why."""
    if context.invoked_subcommand is not None:
        if form != "table":
            raise click.UsageError(f"--{form} is for the table alone")
        context.find_root().obj = session
        return
    from .cli import clock
    from .output import emit
    from .recipients import suppressions, unheard

    config, now = session.config, clock()
    found: dict[str, list[sqlite3.Row]] = {}
    silent: tuple[str, ...] = ()
    if session.database.is_file():
        with session.open() as store:
            found, silent = suppressions(store), unheard(store, config)
    emit(
        [_row(config, one, found.get(one.email.lower(), []), now) for one in config.recipients],
        form,
    )
    if silent:
        say(
            f"Nobody is mailed {', '.join(silent)} any more: `listener recipients resume EMAIL` "
            "ends that, or add somebody to [[recipients]]."
        )


def _row(
    config: Config, person: Recipient, suppressed: Sequence[sqlite3.Row], now: datetime
) -> dict[str, Any]:
    from .recipients import zone_of
    from .slots import next_digest

    stopped = {row["what"] for row in suppressed}
    due = config.digest.enabled and "digest" in person.receives and not stopped & {"digest", "all"}
    return {
        "name": person.name,
        "email": person.email,
        "role": person.role or "",
        "language": person.language,
        "zone": str(zone_of(config, person)),
        "receives": ", ".join(person.receives),
        "rules": ", ".join(person.rules) or ("all" if "alerts" in person.receives else ""),
        "channel": person.channel,
        "next_digest": next_digest(config, person, now).strftime("%Y-%m-%d %H:%M") if due else "",
        "state": "; ".join(map(_told, suppressed)) or "active",
    }


def _told(row: sqlite3.Row) -> str:
    """Such as `all refused (550 5.1.1) since 2026-03-10`."""
    detail = f" ({row['detail']})" if row["detail"] else ""
    return f"{row['what']} {row['reason']}{detail} since {row['at'][:10]}"


@recipients.command("pause")
@click.argument("email")
@_what
@shared_options
def pause(session: Session, email: str, what: What) -> None:
    """Send a person no more mail until resumed.

    Alerts for the person are only listed; what waits to be sent is withdrawn.
    """
    from .cli import clock
    from .recipients import suppress

    person = _known(session, email)
    with session.open() as store, store.write() as connection:
        suppress(connection, person, what, "paused", now=clock())
    say(f"{person} is paused ({what}).")


@recipients.command("resume")
@click.argument("email")
@_what
@shared_options
def resume(session: Session, email: str, what: What) -> None:
    """Send a person mail again from now on.

    Whatever ended it: a pause, an unsubscription or a refusal. Alerts withheld meanwhile are in
    `listener alerts list` and in the next digest.
    """
    from .recipients import restore, suppressions

    person = _known(session, email)
    with session.open() as store:
        with store.write() as connection:
            done = restore(connection, person, what)
        left = suppressions(store).get(person.lower(), [])
    if not done and left:
        fail(f"{person}: {'; '.join(map(_told, left))}: leave out --what {what} to end that")
    if not done:
        fail(f"{person} is not suppressed: nothing to resume")
    say(f"{person} gets mail again ({what})." + "".join(f" Still: {_told(row)}." for row in left))


def _known(session: Session, email: str) -> str:
    """The address of a recipient as it is written in the configuration, by address or name."""
    from .config_errors import did_you_mean

    given, people = email.strip().casefold(), session.config.recipients
    found = [one.email for one in people if given in (one.email.casefold(), one.name.casefold())]
    if not found:
        names = [person.email for person in people]
        fix = did_you_mean(email, names) or f"recipients: {', '.join(names) or 'none'}"
        fail(f"nobody in [[recipients]] is called `{email}`: {fix}")
    return found[0]
