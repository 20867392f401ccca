"""Who gets mail and when, and who gets none any more: an address that is refused or asked for it.

An address is the same in capitals and small letters. Whatever is held back for a suppressed person
stays in the database: alerts are listed, and others who read the rule still get them.
"""

from __future__ import annotations

import sqlite3
from datetime import UTC, datetime, time, timedelta
from typing import Literal
from zoneinfo import ZoneInfo

from .config import Config, Recipient
from .config_alerts import span_of
from .rules import rules_of
from .store import Store, stamp

What = Literal["digest", "alerts", "all"]
Mail = Literal["digest", "alerts"]
Reason = Literal["refused", "unsubscribed", "paused"]

_KINDS = {"digest": ("digest",), "alerts": ("alert",), "all": ("alert", "digest", "operator")}
"""Kinds of deliveries, by what is suppressed."""


def suppress(
    connection: sqlite3.Connection,
    recipient: str,
    what: What,
    reason: Reason,
    detail: str = "",
    *,
    now: datetime,
) -> None:
    """Send `recipient` no more of `what`; `detail` says why, such as a status code.

    What waits for the person is withdrawn: its deliveries are refused for this reason, its alerts
    listed. A pause does not replace what the person or a server has said. To be called in a write
    transaction.
    """
    address = _address(recipient)
    connection.execute(
        "INSERT INTO suppressed VALUES (?, ?, ?, ?, ?) ON CONFLICT DO UPDATE SET "
        "reason = excluded.reason, detail = excluded.detail, at = excluded.at "
        "WHERE excluded.reason <> 'paused'",
        (address, what, reason, detail, stamp(now)),
    )
    for kind in _KINDS[what]:
        withdrawn = connection.execute(
            "UPDATE deliveries SET status = 'refused', error = ?, next_try_at = ? WHERE kind = ? "
            "AND lower(recipient) = ? AND status = 'waiting' RETURNING ref",
            (f"withdrawn: {reason}", stamp(now), kind, address),
        ).fetchall()
        if kind == "alert":
            connection.executemany(
                "UPDATE alert_recipients SET fate = 'listed', mailed_at = NULL "
                "WHERE alert_id = ? AND lower(recipient) = ?",
                [(int(row[0]), address) for row in withdrawn],
            )
            connection.execute(
                "UPDATE alert_recipients SET fate = 'listed' "
                "WHERE fate = 'held' AND lower(recipient) = ?",
                (address,),
            )


def restore(
    connection: sqlite3.Connection, recipient: str, what: What, *, reason: Reason | None = None
) -> bool:
    """Send `recipient` mail of `what` again, from now on; False when nothing was suppressed.

    "all" ends every suppression, one kind only that of this kind alone; with a `reason` only what
    was suppressed for it.
    """
    return bool(
        connection.execute(
            "DELETE FROM suppressed WHERE recipient = :address "
            "AND (:what = 'all' OR what = :what) AND (:reason IS NULL OR reason = :reason)",
            {"address": _address(recipient), "what": what, "reason": reason},
        ).rowcount
    )


def is_suppressed(
    source: Store | sqlite3.Connection, recipient: str, kind: Mail | Literal["operator"]
) -> bool:
    """Whether `recipient` gets no mail of `kind`; of "operator" only when all is suppressed."""
    query = "SELECT 1 FROM suppressed WHERE recipient = ? AND what IN (?, 'all')"
    parameters = (_address(recipient), kind)
    if isinstance(source, Store):
        return source.value(query, parameters) is not None
    return source.execute(query, parameters).fetchone() is not None


def _address(recipient: str) -> str:
    return recipient.strip().lower()


def suppressions(store: Store) -> dict[str, list[sqlite3.Row]]:
    """What is suppressed and why: rows by address, in small letters."""
    found: dict[str, list[sqlite3.Row]] = {}
    for row in store.rows("SELECT * FROM suppressed ORDER BY recipient, what"):
        found.setdefault(row["recipient"], []).append(row)
    return found


def unheard(source: Store | sqlite3.Connection, config: Config) -> tuple[str, ...]:
    """Names of rules, and "digest", whose every reader is suppressed: nobody gets them by mail."""
    asked: list[tuple[str, Mail, tuple[Recipient, ...]]] = []
    if config.alerts.enabled:
        asked += [(rule.name, "alerts", rule.recipients) for rule in rules_of(config)]
    if config.digest.enabled:
        asked.append(("digest", "digest", config.receiving("digest")))
    return tuple(
        name
        for name, kind, people in asked
        if people and all(is_suppressed(source, one.email, kind) for one in people)
    )


def zone_of(config: Config, person: Recipient) -> ZoneInfo:
    """The time zone of a person: the own, else that of the digest."""
    return ZoneInfo(person.timezone or config.digest.timezone)


def digest_time(config: Config, person: Recipient) -> time:
    """When the digest of a person is due, in the person's zone."""
    if person.digest_hour is None:
        minute = person.digest_minute
        return time(config.digest.hour, config.digest.minute if minute is None else minute)
    return time(person.digest_hour, person.digest_minute or 0)


def within(hours: tuple[time, time], local: time) -> bool:
    """Whether `local`, a time of day, lies in a span of hours; its end does not."""
    start, end = hours
    if start < end:
        return start <= local < end
    return local >= start or local < end


def asleep_until(config: Config, person: Recipient, now: datetime) -> datetime | None:
    """When the quiet hours of a person end that `now` lies in, aware; None outside of them."""
    if person.quiet_hours is None:
        return None
    zone = zone_of(config, person)
    local, hours = now.astimezone(zone), span_of(person.quiet_hours)
    if not within(hours, local.time()):
        return None
    day = local.date() + timedelta(days=local.time() >= hours[1])
    # An hour that a clock change repeats or skips: the later end, which is after now.
    ends = (datetime.combine(day, hours[1].replace(fold=fold), zone) for fold in (0, 1))
    return max(end.astimezone(UTC) for end in ends)
