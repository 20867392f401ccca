"""Commands that take verdicts and tell what they say: feedback, audit, alerts explain-model."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from .session import Command, Session, fail, form_options, say, shared_options

if TYPE_CHECKING:
    from .feedback import Imported
    from .output import Form
    from .rerank import Explanation
    from .store import Store

# As listener.feedback.VERDICTS and listener.audit.VERDICTS; importing them would slow `--help`.
FEEDBACK = ("useful", "not-useful", "late", "wrong-brand", "not-a-buyer")
AUDIT = ("missed", "right")


def _by_option(command: Command) -> Command:
    return click.option(
        "--by",
        metavar="NAME",
        help="Who says so: name or address of a recipient, or any name [the only recipient of "
        "alerts, else cli].",
    )(command)


def _from_option(command: Command) -> Command:
    return click.option(
        "--from",
        "file",
        type=click.Path(path_type=Path, dir_okay=False),
        help="Take verdicts from this CSV file.",
    )(command)


@contextmanager
def _judging(session: Session) -> Iterator[Store]:
    """The database for writing; a verdict that cannot be taken ends as one sentence."""
    from .feedback import FeedbackError

    # Without the lock: a verdict is one short write, and the daemon holds the lock for as long as
    # it runs.
    with session.open() as store:
        try:
            yield store
        except FeedbackError as error:
            fail(str(error))


def _person(session: Session, by: str | None) -> str:
    """Who judges: recipients by their address, as in the links of their mails."""
    readers = session.config.receiving("alerts")
    if by is None:
        return readers[0].email if len(readers) == 1 else "cli"
    for person in session.config.recipients:
        if by.casefold() in (person.name.casefold(), person.email.casefold()):
            return person.email
    return by


def _report(done: Imported) -> None:
    """Faults line by line, then counts; exit code 1 when a line was faulty."""
    for fault in done.faults:
        say(fault)
    say(
        f"{done.changed} verdicts taken, {done.known} known before, {done.blank} left blank, "
        f"{len(done.faults)} lines faulty."
    )
    if done.faults:
        raise click.exceptions.Exit(1)


@click.command()
@click.argument("alert", type=int, required=False)
@click.argument("verdict", type=click.Choice(FEEDBACK), required=False)
@_from_option
@_by_option
@shared_options
@form_options
def feedback(
    session: Session,
    alert: int | None,
    verdict: str | None,
    file: Path | None,
    by: str | None,
    form: Form,
) -> None:
    """Say what an ALERT was worth, or without arguments show precision per rule.

    Precision is the share of useful ones among judged alerts, with its 95 % interval. A file has
    the columns alert (or id), verdict and, if you like, by; faulty lines are named and left out.
    """
    from . import feedback as verdicts
    from .cli import clock
    from .output import emit

    if file is not None:
        if alert is not None:
            raise click.UsageError("--from takes the verdicts from the file: name no alert")
        with _judging(session) as store:
            done = verdicts.import_csv(store, file, by=_person(session, by), now=clock())
        _report(done)
    elif alert is None:
        with session.open() as store:
            found = verdicts.precision(store)
        emit((_precision_row(one, form) for one in found), form)
    elif verdict is None:
        raise click.UsageError(f"add what alert {alert} was: {', '.join(FEEDBACK)}")
    else:
        person = _person(session, by)
        with _judging(session) as store:
            new = verdicts.record(store, alert, verdict, by=person, channel="command", now=clock())
        say(f"Alert {alert}: {verdict}, says {person}{'' if new else ', as before'}.")


def _precision_row(found: Any, form: Form) -> dict[str, Any]:
    """One rule as a line; only a table rounds."""
    row = asdict(found)
    counts = row.pop("verdicts")
    counts.pop("useful")
    if form == "table":
        low, high = row.pop("low"), row.pop("high")
        row["precision"] = f"{row['precision']:.2f} ({low:.2f}-{high:.2f})"
    return row | {verdict.replace("-", "_"): count for verdict, count in counts.items()}


@click.group()
def audit() -> None:
    """Judge a few posts that raised no alert, so that recall can be told."""


@audit.command("list")
@click.option("--limit", type=click.IntRange(min=1), default=20, show_default=True)
@shared_options
@form_options
def audit_list(session: Session, limit: int, form: Form) -> None:
    """Posts that wait to be judged; --csv gives a sheet to fill in for `audit judge --from`."""
    from .audit import waiting
    from .output import emit

    with session.open() as store:
        rows = waiting(store, limit=limit)
    emit(map(_audit_row, rows) if form == "table" else rows, form)


def _audit_row(row: dict[str, Any]) -> dict[str, Any]:
    from .hostile import clean

    return {
        "id": row["id"],
        "language": row["language"],
        "source": row["source"],
        "published_at": row["published_at"][:10],
        "post": clean(row["post"], 200),
        "url": row["url"],
    }


@audit.command("judge")
@click.argument("number", type=int, required=False)
@click.argument("verdict", type=click.Choice(AUDIT), required=False)
@_from_option
@_by_option
@shared_options
def audit_judge(
    session: Session,
    number: int | None,
    verdict: str | None,
    file: Path | None,
    by: str | None,
) -> None:
    """Say whether post NUMBER of the list was missed, or rightly raised no alert.

    A file has the columns id, verdict and, if you like, by; rows without a verdict are left.
    """
    from . import audit as verdicts
    from .cli import clock

    if file is not None:
        if number is not None:
            raise click.UsageError("--from takes the verdicts from the file: name no post")
        with _judging(session) as store:
            done = verdicts.import_csv(store, file, by=_person(session, by), now=clock())
        _report(done)
        return
    if number is None or verdict is None:
        raise click.UsageError("write a number of `listener audit list` and missed or right")
    person = _person(session, by)
    with _judging(session) as store:
        new = verdicts.judge(store, number, verdict, by=person, now=clock())
    say(f"Post {number}: {verdict}, says {person}{'' if new else ', as before'}.")


@audit.command("recall")
@shared_options
@form_options
def audit_recall(session: Session, form: Form) -> None:
    """Of the conversations that deserved an alert, the share that got a useful one (estimate)."""
    from .audit import LEAST_ALERTS, LEAST_AUDITED, recall
    from .output import emit

    with session.open() as store:
        found = recall(store)
    row = asdict(found)
    if form == "table":
        row |= {"useful": round(found.useful, 1), "missed": round(found.missed, 1)}
        row |= {name: _rounded(row[name]) for name in ("recall", "low", "high")}
    emit([row], form)
    if found.code == "not-enough":
        say(
            f"Not enough to tell recall: judged are {found.judged} posts of the audit (needed: "
            f"{LEAST_AUDITED}) and {found.alerts_judged} conversations with an alert (needed: "
            f"{LEAST_ALERTS})."
        )


@click.command("explain-model")
@shared_options
@form_options
def explain_model(session: Session, form: Form) -> None:
    """Whether verdicts re-rank the alerts, and why: figures of the cross-validation."""
    from .output import emit
    from .rerank import explain

    with session.open() as store:
        found = explain(store, session.parts.models.encoder)
    emit(_explanation_rows(found, form), form)
    say(_why(found))


def _explanation_rows(found: Explanation, form: Form) -> Iterable[dict[str, Any]]:
    row = asdict(found) | {"used": found.used}
    parts = row.pop("parts")
    if form == "json":
        return [row | {"parts": [{"code": code, "weight": weight} for code, weight in parts]}]
    row["parts"] = ", ".join(f"{code} {weight:+.2f}" for code, weight in parts)
    if form == "table":
        row |= {name: _rounded(row[name]) for name in ("score_ap", "model_ap", "error")}
        return [{"what": name, "value": value} for name, value in row.items()]
    return [row]


def _why(found: Explanation) -> str:
    from .rerank import LEAST, LEAST_EACH

    if found.code == "too-few-labels":
        return (
            f"Not used: {found.n} alerts are judged, {LEAST} are needed. Alerts go by their score."
        )
    if found.code == "one-sided":
        return (
            f"Not used: needed are {LEAST_EACH} conversations with a useful alert and as many "
            "with one that was not. Alerts go by their score."
        )
    told = (
        f"average precision {found.model_ap:.3f} against {found.score_ap:.3f} of the score alone "
        f"(standard error of the difference {found.error:.3f}) on {found.n} verdicts it was not "
        "fitted to"
    )
    if found.used:
        return f"Used: {told}."
    return f"Not used: {told}. Alerts go by their score."


def _rounded(value: float | None) -> float | None:
    return None if value is None else round(value, 3)


COMMANDS: tuple[click.Command, ...] = (feedback, audit)
