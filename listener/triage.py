"""What people do with an alert: snooze, acknowledge, assign, note, have it mailed now.

Each is one short transaction with a line in `alert_log`. All raise `TriageError` for a number that
is no alert.
"""

from __future__ import annotations

import re
import sqlite3
from collections.abc import Iterable
from datetime import UTC, datetime, timedelta
from zoneinfo import ZoneInfo

from .attention import send_to
from .candidates import OPEN
from .config import Config, Recipient
from .outbox import withdraw
from .recipients import is_suppressed
from .rules import rules_of
from .store import Store, stamp

_LONGEST = timedelta(days=366)
_UNITS = {
    "m": timedelta(minutes=1),
    "h": timedelta(hours=1),
    "d": timedelta(days=1),
    "w": timedelta(weeks=1),
}
_SPAN = re.compile(r"(\d{1,5})([mhdw])\Z")


class TriageError(Exception):
    """What was asked for cannot be done; the text says what can."""


def ends_after(span: str, *, now: datetime) -> datetime:
    """`now` and a span such as 30m, 4h, 2d or 1w; `TriageError` for another form."""
    found = _SPAN.match(span.strip().lower())
    if found is None or not 0 < int(found[1]) * (unit := _UNITS[found[2]]) / _LONGEST <= 1:
        raise TriageError(f"`{span}` is no span of time: write one such as 30m, 4h, 2d or 1w")
    return now + int(found[1]) * unit


def ends_at(text: str, config: Config, *, now: datetime) -> datetime:
    """The day or time `text`, of the digest's zone unless it says another, as aware UTC.

    A day begins at midnight. `TriageError` for another form and for what is past.
    """
    try:
        until = datetime.fromisoformat(text.strip())
    except ValueError:
        raise TriageError(
            f"`{text}` is no date: write one such as 2026-03-12 or 2026-03-12T09:00"
        ) from None
    if until.tzinfo is None:
        until = until.replace(tzinfo=ZoneInfo(config.digest.timezone))
    until = until.astimezone(UTC)
    if until <= now:
        raise TriageError(f"{text} is past: write a later date")
    return until


def snooze(store: Store, number: int, until: datetime, *, now: datetime) -> None:
    """Hide an alert until an aware time; what has not gone out yet is mailed after it."""
    with store.write() as connection:
        _known(connection, number)
        connection.execute(
            "UPDATE alerts SET snoozed_until = ?, acknowledged_at = NULL WHERE id = ?",
            (stamp(until), number),
        )
        withdraw(connection, number)
        _log(connection, number, "snooze", stamp(until), now)


def acknowledge(store: Store, number: int, *, now: datetime) -> None:
    """Mark an alert as seen; it is mailed to nobody any more."""
    with store.write() as connection:
        _known(connection, number)
        connection.execute(
            "UPDATE alerts SET acknowledged_at = ?, snoozed_until = NULL WHERE id = ?",
            (stamp(now), number),
        )
        withdraw(connection, number)
        _log(connection, number, "ack", "", now)


def assign(store: Store, config: Config, number: int, name: str, *, now: datetime) -> str:
    """Give an alert to a person; returns the name as it is kept.

    The name or address of a recipient becomes the recipient's name; any other stays as it is.
    """
    given = " ".join(name.split())
    if not given:
        raise TriageError("there is no name: write whose task it is")
    kept = next(
        (
            person.name
            for person in config.recipients
            if given.casefold() in (person.name.casefold(), person.email.casefold())
        ),
        given,
    )
    with store.write() as connection:
        _known(connection, number)
        connection.execute("UPDATE alerts SET assignee = ? WHERE id = ?", (kept, number))
        _log(connection, number, "assign", kept, now)
    return kept


def note(store: Store, number: int, text: str, *, now: datetime) -> None:
    """Add a note to an alert."""
    if not text.strip():
        raise TriageError("there is no text: write what is worth keeping")
    with store.write() as connection:
        _known(connection, number)
        _log(connection, number, "note", text.strip(), now)


def mail_now(store: Store, config: Config, number: int, *, now: datetime) -> list[Recipient]:
    """Put an alert into the outbox of its rule's readers whatever budget and hours say.

    Returns those who had not been mailed it before. `TriageError` when it can no longer be acted
    on, was acknowledged, or has no readers. It counts in the budget of the day.
    """
    readers = {rule.name: rule.recipients for rule in rules_of(config)}
    with store.write() as connection:
        alert = _known(connection, number)
        if alert["acknowledged_at"] is not None:
            raise TriageError(
                f"alert {number} was acknowledged at {alert['acknowledged_at']}: "
                f"`listener alerts snooze {number} --for 1m` opens it again"
            )
        if not alert["open"]:
            raise TriageError(
                f"alert {number} is closed, nobody can act on it any more: "
                f"`listener alerts show {number}` tells why"
            )
        people = readers.get(alert["rule"], config.receiving("alerts"))
        if not people:
            raise TriageError('nobody receives alerts: add "alerts" to receives in [[recipients]]')
        people = tuple(one for one in people if not is_suppressed(connection, one.email, "alerts"))
        if not people:
            raise TriageError(
                f"the readers of alert {number} get no more mail: `listener recipients` says why"
            )
        new = [person for person in people if send_to(connection, number, person, now=now)]
        if new:
            connection.execute("UPDATE alerts SET snoozed_until = NULL WHERE id = ?", (number,))
            _log(connection, number, "deliver", _names(new), now)
    return new


def _names(people: Iterable[Recipient]) -> str:
    return ", ".join(person.name for person in people)


def _known(connection: sqlite3.Connection, number: int) -> sqlite3.Row:
    row: sqlite3.Row | None = connection.execute(
        f"SELECT a.rule, a.acknowledged_at, {OPEN} AS open FROM alerts a "
        "JOIN conversations c ON c.id = a.conversation_id JOIN mentions m ON m.id = a.mention_id "
        "WHERE a.id = ?",
        (number,),
    ).fetchone()
    if row is None:
        raise TriageError(
            f"there is no alert {number}: `listener alerts list --state all` shows what there is"
        )
    return row


def _log(
    connection: sqlite3.Connection, number: int, action: str, value: str, now: datetime
) -> None:
    connection.execute(
        "INSERT INTO alert_log (alert_id, at, action, value) VALUES (?, ?, ?, ?)",
        (number, stamp(now), action, value),
    )
