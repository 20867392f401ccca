"""The commands about alerts: list, show, deliver, snooze, acknowledge, assign, note."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import replace
from typing import TYPE_CHECKING, Any

import click

from .session import Session, fail, form_options, say, shared_options

if TYPE_CHECKING:
    from .alerts import State
    from .output import Form
    from .store import Store

# SQLite's numbers end here.
_number = click.argument("number", type=click.IntRange(1, 2**63 - 1))


@click.group()
def alerts() -> None:
    """List alerts, show one with its conversation, and say what becomes of it."""


@alerts.command("list")
@click.option(
    "--state",
    type=click.Choice(["open", "snoozed", "acknowledged", "all"]),
    default="open",
    show_default=True,
    help="Open: one can still act on it, and nobody has acknowledged or snoozed it.",
)
@click.option("--rule", help="Only those of this rule.")
@click.option("--assignee", help="Only those of this person.")
@click.option("--limit", type=click.IntRange(min=1), default=50, show_default=True)
@shared_options
@form_options
def alerts_list(
    session: Session, state: State, rule: str | None, assignee: str | None, limit: int, form: Form
) -> None:
    """Alerts, best score first; --json and --csv print every column."""
    from .alerts import listing
    from .cli import clock
    from .output import emit

    with session.open() as store:
        if rule is not None:
            _known_rule(session, store, rule)
        rows = listing(store, limit=limit, now=clock(), state=state, rule=rule, assignee=assignee)
    emit(map(_row, rows) if form == "table" else rows, form)


def _known_rule(session: Session, store: Store, name: str) -> None:
    """End with the nearest name when no rule is called so, now or when an alert was raised."""
    from .config_errors import did_you_mean
    from .rules import rules_of

    known = [rule.name for rule in rules_of(session.config)]
    known += [row["rule"] for row in store.rows("SELECT DISTINCT rule FROM alerts")]
    if name.casefold() not in {one.casefold() for one in known}:
        fix = did_you_mean(name, known) or f"known: {', '.join(dict.fromkeys(known)) or 'none'}"
        fail(f"no rule is called `{name}`: {fix}")


def _row(row: Mapping[str, Any]) -> dict[str, Any]:
    """What of an alert fits into a line."""
    from .hostile import clean
    from .steps import document

    names = ("id", "score", "rule", "stage", "choice", "assignee")
    return {name: row[name] for name in names} | {
        "published_at": row["published_at"][:16].replace("T", " "),
        "about": ", ".join(name for _, name in json.loads(row["about"])),
        "post": clean(document(row["title"], row["text"]), 60),
    }


@alerts.command("show")
@_number
@click.option("--language", type=click.Choice(["en", "es"]), default="en", show_default=True)
@click.option("--json", "as_json", is_flag=True, help="Print all of it as JSON.")
@shared_options
def alerts_show(session: Session, number: int, language: str, as_json: bool) -> None:
    """The alert NUMBER: post, score in parts, whole conversation, outcome, and what was done."""
    from .alerts import detail
    from .cli import clock
    from .digest import alert_message
    from .messages import render_alert

    with session.open() as store:
        found = detail(store, number)
        labels = session.config.labels("es" if language == "es" else "en")
        message = alert_message(store, str(number), now=clock(), whole=True, labels=labels)
    if found is None or message is None:
        fail(f"there is no alert {number}: `listener alerts list --state all` shows what there is")
    if as_json:
        click.echo(json.dumps(found, ensure_ascii=False, indent=2))
        return
    zone = session.config.digest.timezone
    message = replace(message, unsubscribe="")  # nothing to unsubscribe from in a terminal
    click.echo(render_alert(message, language=language, timezone=zone).text)
    for line in _log_lines(found["log"], language, zone):
        click.echo(line)


def _log_lines(log: list[dict[str, Any]], language: str, zone: str) -> Iterator[str]:
    """What was done with an alert, in words."""
    from . import i18n
    from .hostile import clean
    from .store import moment

    if log:
        yield f"{i18n.say(language, 'alert.log')}:"
    for entry in log:
        value = entry["value"]
        if entry["action"] == "snooze":
            value = i18n.moment(language, moment(value), timezone=zone)
        told = i18n.say(language, f"log.{entry['action']}", value=clean(value, 500))
        yield f"- {i18n.moment(language, moment(entry['at']), timezone=zone)} · {told}"


@alerts.command("deliver")
@_number
@shared_options
def alerts_deliver(session: Session, number: int) -> None:
    """Mail the alert NUMBER now to the readers of its rule, whatever the limit of the day."""
    from .cli import clock
    from .deliver import deliver
    from .triage import mail_now

    now = clock()
    with _explained(), session.open() as store:
        people = mail_now(store, session.config, number, now=now)
    if not people:
        say(f"Alert {number} was mailed to all its readers before.")
        return
    names = ", ".join(person.name for person in people)
    say(f"Alert {number} is in the outbox for {names}.")
    try:
        with session.writing() as store:
            outcome = deliver(store, session.config, session.parts.channels, now=now, alert=number)
    except click.ClickException:
        # The lock was refused: whoever holds it sends what is in the outbox.
        say("Another Listener is running: it sends it.")
        return
    say(", ".join(f"{count} {status}" for status, count in outcome.items()))


@alerts.command("snooze")
@_number
@click.option("--for", "span", help="How long, as 30m, 4h, 2d or 1w.")
@click.option("--until", "day", help="Until when, as 2026-03-12 or 2026-03-12T09:00.")
@shared_options
def alerts_snooze(session: Session, number: int, span: str | None, day: str | None) -> None:
    """Hide the alert NUMBER for a while; what was not mailed yet is mailed after that."""
    from .cli import clock
    from .store import stamp
    from .triage import ends_after, ends_at, snooze

    if (span is None) == (day is None):
        raise click.UsageError("say either how long, --for 2d, or until when, --until 2026-03-12")
    now = clock()
    with _explained(), session.open() as store:
        if span is not None:
            until = ends_after(span, now=now)
        else:
            until = ends_at(day or "", session.config, now=now)
        snooze(store, number, until, now=now)
    say(f"Alert {number} is snoozed until {stamp(until)}.")


@alerts.command("ack")
@_number
@shared_options
def alerts_ack(session: Session, number: int) -> None:
    """Acknowledge the alert NUMBER: seen, and no more mail about it."""
    from .cli import clock
    from .triage import acknowledge

    with _explained(), session.open() as store:
        acknowledge(store, number, now=clock())
    say(f"Alert {number} is acknowledged.")


@alerts.command("assign")
@_number
@click.argument("name")
@shared_options
def alerts_assign(session: Session, number: int, name: str) -> None:
    """Give the alert NUMBER to the person NAME."""
    from .cli import clock
    from .triage import assign

    with _explained(), session.open() as store:
        kept = assign(store, session.config, number, name, now=clock())
    say(f"Alert {number} is assigned to {kept}.")


@alerts.command("note")
@_number
@click.argument("text")
@shared_options
def alerts_note(session: Session, number: int, text: str) -> None:
    """Add the note TEXT to the alert NUMBER."""
    from .cli import clock
    from .triage import note

    with _explained(), session.open() as store:
        note(store, number, text, now=clock())
    say(f"The note is kept with alert {number}.")


@contextmanager
def _explained() -> Iterator[None]:
    """What cannot be done ends as one sentence. A note is short: it waits for other writers."""
    from .triage import TriageError

    try:
        yield
    except TriageError as error:
        fail(str(error))
