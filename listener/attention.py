"""The budget of attention: which alerts a person is mailed now, and which are held back.

`choose` is pure, so that a backtest spends the same budget. An alert is mailed while it can be
acted on and its post is recent; what a later alert of the same conversation replaces is not.
"""

from __future__ import annotations

import sqlite3
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any
from zoneinfo import ZoneInfo

from .candidates import OPEN
from .config import Config, Recipient
from .outbox import enqueue, fold
from .recipients import asleep_until, is_suppressed, within
from .rules import Rule, rules_of
from .store import Store, moment, stamp

Query = Callable[[str, Any], Iterable[sqlite3.Row]]
DAY = timedelta(days=1)
CLOSED, TOO_OLD = "closed before it was mailed", "too old before it was mailed"
_HELD = f"""
SELECT a.id, a.rule, coalesce(a.worth, a.score / 100.0) AS worth, m.at, m.author_id,
    {OPEN} AS open
FROM alert_recipients r
JOIN alerts a ON a.id = r.alert_id JOIN conversations c ON c.id = a.conversation_id
JOIN mentions m ON m.id = a.mention_id
WHERE r.recipient = :recipient AND r.fate = 'held' AND r.mailed_at IS NULL
AND a.created_at <= :now AND a.acknowledged_at IS NULL
AND (a.snoozed_until IS NULL OR a.snoozed_until <= :now)
AND NOT EXISTS (SELECT 1 FROM alerts later WHERE later.conversation_id = a.conversation_id
    AND later.rule = a.rule AND later.id > a.id AND later.created_at <= :now)
"""


@dataclass(frozen=True, slots=True, kw_only=True)
class Waiting:
    """An alert that a person may be mailed. `author` is any id of the post's author, or None.

    `worth` (0 to 1) is what a mail is expected to bring: see `listener.rerank.expected`.
    """

    alert: int
    rule: str
    worth: float
    author: int | None


@dataclass(frozen=True, slots=True, kw_only=True)
class Sent:
    """An alert that the person was mailed `at` an aware time."""

    rule: str
    author: int | None
    at: datetime


def choose(
    waiting: Sequence[Waiting],
    sent: Sequence[Sent],
    rules: Mapping[str, Rule],
    *,
    most: int,
    zone: ZoneInfo,
    now: datetime,
) -> list[Waiting]:
    """What of `waiting` one person is mailed now, the one of most worth first.

    No more than `most` mails in 24 hours (`sent` holds those, and those of the longest cooldown);
    nothing in the quiet hours of its rule, which are of `zone`; no second one of a rule about the
    same author, or about the brand, before its cooldown is over. An unknown author is nobody's
    second. Rules that are not in `rules` mail nothing.
    """
    room = most - sum(now - one.at < DAY for one in sent)
    last: dict[tuple[str, int | None], datetime] = {}
    for one in sent:
        if one.rule in rules:
            subject = _subject(rules[one.rule], one.author)
            last[subject] = max(one.at, last.get(subject, one.at))
    local = now.astimezone(zone).time()
    chosen: list[Waiting] = []
    for item in sorted(waiting, key=lambda item: (-item.worth, item.alert)):
        if len(chosen) >= room:
            break
        rule = rules.get(item.rule)
        if rule is None or (rule.quiet_hours and within(rule.quiet_hours, local)):
            continue
        subject = _subject(rule, item.author)
        named = rule.per_brand or item.author is not None
        if named and subject in last and now - last[subject] < rule.cooldown:
            continue
        last[subject] = now
        chosen.append(item)
    return chosen


def _subject(rule: Rule, author: int | None) -> tuple[str, int | None]:
    return rule.name, None if rule.per_brand else author


def mail(connection: sqlite3.Connection, config: Config, *, now: datetime) -> int:
    """Put what each person has room for into the outbox; returns how many alerts that are.

    In the quiet hours of a person nothing. What can no longer be mailed is left to the digest.
    """
    rules = {rule.name: rule for rule in rules_of(config)}
    zone = ZoneInfo(config.digest.timezone)
    reach = max([DAY, *(rule.cooldown for rule in rules.values())])
    mailed = set()
    for person in config.receiving("alerts"):
        if is_suppressed(connection, person.email, "alerts"):
            continue
        waiting, passed = _held(connection.execute, rules, person.email, now)
        for number, why in passed:
            fold(connection, number, person.email, why, now=now)
        if asleep_until(config, person, now):
            continue
        chosen = choose(
            waiting,
            _sent(connection, person.email, now - reach),
            rules,
            most=person.max_alerts_per_day or config.alerts.max_per_day,
            zone=zone,
            now=now,
        )
        for item in chosen:
            if send_to(connection, item.alert, person, now=now):
                mailed.add(item.alert)
    return len(mailed)


def send_to(
    connection: sqlite3.Connection, alert: int, person: Recipient, *, now: datetime
) -> bool:
    """Put one alert into a person's outbox whatever the budget; False when it was there before."""
    new = enqueue(connection, "alert", str(alert), person, now=now)
    if new:
        connection.execute(
            "INSERT INTO alert_recipients VALUES (?, ?, 'mailed', ?) "
            "ON CONFLICT DO UPDATE SET fate = 'mailed', mailed_at = excluded.mailed_at",
            (alert, person.email, stamp(now)),
        )
    return new


def held_back(store: Store, config: Config, people: Iterable[str], *, now: datetime) -> int:
    """How many alerts wait at `now` for room in the budget of any of these addresses."""
    rules = {rule.name: rule for rule in rules_of(config)}
    return len({item.alert for email in people for item in _held(store.rows, rules, email, now)[0]})


def _held(
    query: Query, rules: Mapping[str, Rule], email: str, now: datetime
) -> tuple[list[Waiting], list[tuple[int, str]]]:
    """What a person may be mailed still; and what no more, each with why."""
    waiting: list[Waiting] = []
    passed: list[tuple[int, str]] = []
    for row in query(_HELD, {"recipient": email, "now": stamp(now)}):
        rule = rules.get(row["rule"])
        if rule is None or all(person.email != email for person in rule.recipients):
            continue
        if not row["open"]:
            passed.append((row["id"], CLOSED))
        elif row["at"] < stamp(now - rule.max_age):
            passed.append((row["id"], TOO_OLD))
        else:
            waiting.append(
                Waiting(
                    alert=row["id"], rule=rule.name, worth=row["worth"], author=row["author_id"]
                )
            )
    return waiting, passed


def _sent(connection: sqlite3.Connection, email: str, since: datetime) -> list[Sent]:
    rows = connection.execute(
        "SELECT a.rule, m.author_id, r.mailed_at FROM alert_recipients r "
        "JOIN alerts a ON a.id = r.alert_id JOIN mentions m ON m.id = a.mention_id "
        "WHERE r.recipient = ? AND r.mailed_at > ?",
        (email, stamp(since)),
    ).fetchall()
    return [
        Sent(rule=row["rule"], author=row["author_id"], at=moment(row["mailed_at"])) for row in rows
    ]
