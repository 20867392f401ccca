"""What the alert e-mail and the daily digest say, read from the database."""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping
from dataclasses import replace
from datetime import date, datetime
from typing import Literal

from . import alerts
from .attention import held_back
from .candidates import OPEN
from .config import Config
from .digest_cards import CONVERSATION, POST, Period, conversation_card, post_card
from .digest_figures import counted, trend
from .digest_join import joining
from .digest_posts import Signal, audited, excluded, groups, recommending, unanswered
from .digest_shown import Mark, seen
from .explain import Event, Outcome
from .messages import (
    AlertMessage,
    AuditCard,
    ConversationCard,
    DigestMessage,
    PostGroup,
    SentimentCount,
)
from .options import options, topic
from .outbox import missed
from .scoring import Part
from .statement import statement
from .store import Store, moment, stamp

__all__ = ["Links", "Period", "alert_message", "digest_message", "no_links"]

_TIMELINE = 12
_POSTS = 3
"""Posts, groups and people of a section."""
_AUDITED = 3
_NO_LABELS: Mapping[str, str] = {}


Links = Callable[[Literal["feedback", "audit"], int], Mapping[str, str]]
"""The pages that ask a reader for a verdict on an alert or an audited post, by verdict."""


def no_links(_: Literal["feedback", "audit"], __: int) -> Mapping[str, str]:
    """No page, for want of a web address."""
    return {}


def alert_message(
    store: Store,
    alert_id: str,
    *,
    now: datetime,
    whole: bool = False,
    links: Links = no_links,
    labels: Mapping[str, str] = _NO_LABELS,
) -> AlertMessage | None:
    """The e-mail of one alert; None when it is closed, acknowledged, snoozed or erased.

    With `whole` whatever its state, and every post of its conversation, not the latest few alone.
    `labels` are names of categories for the reader, as `Config.labels` gives them.
    """
    rows = store.rows(
        "SELECT a.rule, a.type, a.score, a.probability, a.parts, a.reasons, a.conversation_id, "
        "(SELECT count(*) FROM copies WHERE original_id = coalesce((SELECT original_id FROM copies "
        f"WHERE mention_id = m.id), m.id)) AS copies, {OPEN} AND a.acknowledged_at IS NULL "
        "AND (a.snoozed_until IS NULL OR a.snoozed_until <= :now) AS wanted "
        "FROM alerts a JOIN conversations c ON c.id = a.conversation_id "
        "JOIN mentions m ON m.id = a.mention_id WHERE a.id = :id",
        {"id": alert_id, "now": stamp(now)},
    )
    if not rows or not (whole or rows[0]["wanted"]):
        return None
    (alert,) = rows
    conversation = alert["conversation_id"]
    (card,) = store.rows(
        f"SELECT {CONVERSATION} FROM conversations c JOIN mentions m "
        "ON m.id = (SELECT mention_id FROM alerts WHERE id = :id) "
        "LEFT JOIN authors a ON a.id = m.author_id WHERE c.id = :conversation",
        {"id": alert_id, "conversation": conversation},
    )
    timeline = store.rows(
        f"SELECT {POST} FROM mentions m LEFT JOIN authors a ON a.id = m.author_id "
        "WHERE m.conversation_id = ? ORDER BY m.published_at DESC, m.id DESC LIMIT ?",
        (conversation, -1 if whole else _TIMELINE),
    )
    shown = conversation_card(card, json.loads(alert["reasons"]), now=now, labels=labels)
    return AlertMessage(
        id=alert_id,
        rule=alert["rule"],
        conversation=replace(shown, probability=alert["probability"]),
        timeline=tuple(post_card(row) for row in reversed(timeline)),
        type=alert["type"],
        score=alert["score"],
        parts=tuple(Part(**part) for part in json.loads(alert["parts"])),
        copies=alert["copies"],
        events=tuple(
            Event(
                at=moment(event["at"]),
                kind=event["kind"],
                entity=labels.get(event["entity"], event["entity"]),
                author=event["author"],
                quote=event["quote"],
            )
            for event in alerts.events(store, conversation)
        ),
        outcome=_outcome(store, conversation),
        options=options(store, conversation, card["mention_id"]),
        conversation_id=conversation,
        topic=topic(store, conversation, labels),
        feedback=links("feedback", int(alert_id)),
    )


def _outcome(store: Store, conversation: int) -> Outcome | None:
    heard = alerts.outcome(store, conversation)
    if heard is None:
        return None
    return Outcome(outcome=heard["outcome"], entity=heard["entity"], quote=heard["quote"])


def _missed(
    store: Store, recipient: str, period: Period, labels: Mapping[str, str]
) -> tuple[ConversationCard, ...]:
    """The posts of alerts that the recipient was not mailed in time."""
    rows = store.rows(
        f"SELECT x.reasons, {CONVERSATION} FROM alerts x "
        "JOIN conversations c ON c.id = x.conversation_id JOIN mentions m ON m.id = x.mention_id "
        "LEFT JOIN authors a ON a.id = m.author_id "
        "WHERE x.id IN (SELECT value FROM json_each(?)) ORDER BY x.score DESC, x.id",
        (json.dumps(missed(store, recipient, since=period.since, until=period.until)),),
    )
    cards = []
    for row in rows:
        # That the choice was open is no longer known to be true.
        reasons = [one for one in json.loads(row["reasons"]) if one["code"] != "early_probability"]
        cards.append(conversation_card(row, reasons, now=period.until, labels=labels))
    return tuple(cards)


def digest_message(
    store: Store,
    config: Config,
    day: date,
    period: Period,
    *,
    recipient: str | None = None,
    links: Links = no_links,
    labels: Mapping[str, str] = _NO_LABELS,
    timezone: str | None = None,
) -> DigestMessage:
    """The digest of `day`: what the period counts, and the conversations open at its end.

    For the address `recipient`, what earlier digests have shown to it and has not moved is left
    out, and held back are its alerts; without one nothing is left out, and they are anybody's.
    `labels` are names of categories for the reader, as `Config.labels` gives them; days are of
    `timezone` (an IANA name), without one of that of the configuration.
    """
    until, zone = period.until, timezone or config.digest.timezone
    people = [recipient] if recipient else [one.email for one in config.receiving("alerts")]
    before = seen(store, recipient, day) if recipient else None
    figures = counted(store, config.brand.name, period)
    join = joining(store, config, period, excluded(config), before, labels=labels)
    fans = recommending(store, config, period, before)[:_POSTS]
    marks = [*join.marks, *(mark for _, mark, _ in fans)]
    shown = {post for *_, post in fans}

    def section(signal: Signal) -> tuple[PostGroup, ...]:
        found = groups(store, config, period, signal, hidden=shown)
        shown.update(ids[0] for _, ids in found[:_POSTS])
        return tuple(group for group, _ in found)

    complaints, ideas, praise = section("complaint"), section("suggestion"), section("praise")
    asked = [
        card
        for card, number in unanswered(store, config, period, joined=join.ids)
        if number not in shown
    ]
    audit = audited(store, before)[:_AUDITED]
    marks += [Mark(kind="mention", ref=row["mention_id"], state={}) for row in audit]
    return DigestMessage(
        day=day,
        timezone=zone,
        brand=config.brand.name,
        days=max(round((until - period.since).total_seconds() / 86_400), 1),
        mentions=figures.mentions,
        mentions_late=figures.late,
        mentions_usual=figures.usual,
        stages=figures.stages,
        changes=figures.changes,
        trend=trend(store, config.brand.name, until, zone),
        sentiment=tuple(
            SentimentCount(
                entity=row["name"],
                positive=row["positive"],
                neutral=row["neutral"],
                negative=row["negative"],
            )
            for row in figures.entities
        ),
        share_of_voice=tuple((row["name"], row["mentions"]) for row in figures.entities),
        join_now=join.cards,
        still_open=join.known,
        held_back=held_back(store, config, people, now=until),
        missed=_missed(store, recipient, period, labels) if recipient else (),
        praise=praise,
        complaints=complaints,
        ideas=ideas,
        advocates=tuple(card for card, *_ in fans),
        unanswered=tuple(asked),
        coverage=statement(store, config, since=period.since, until=until),
        audit=tuple(
            AuditCard(number=row["id"], post=post_card(row), links=links("audit", row["id"]))
            for row in audit
        ),
        marks=tuple(marks),
    )
