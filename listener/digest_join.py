"""Conversations to join now: the open ones, ranked, with what a person needs to know to join."""

from __future__ import annotations

import json
import sqlite3
from collections.abc import Collection, Mapping
from dataclasses import dataclass, replace
from datetime import timedelta

from .config import Config
from .digest_cards import CONVERSATION, ENGAGEMENT, Period, conversation_card
from .digest_shown import Mark, Seen, moves
from .messages import ConversationCard
from .options import options
from .rules import folded
from .store import Store, stamp

_NAMED = 3
_ANSWERED = 2
# Somebody deals with it, or has said that it is nothing for us.
_DONE = """EXISTS (SELECT 1 FROM alerts d WHERE d.conversation_id = c.id
    AND (d.acknowledged_at IS NOT NULL OR d.snoozed_until > :until OR EXISTS (
        SELECT 1 FROM feedback f WHERE f.alert_id = d.id
        AND f.verdict IN ('not-useful', 'wrong-brand', 'not-a-buyer'))))"""
_OPEN = f"""
SELECT c.id, c.stage, c.outcome, c.urgent, c.started_at, c.last_at, m.author_id, a.handle,
    a.native_id AS author, {ENGAGEMENT} AS engagement,
    (SELECT count(*) FROM mentions r WHERE r.conversation_id = c.id
        AND (r.author_id IS NULL OR r.author_id IS NOT m.author_id) AND r.id <> m.id) AS others,
    (SELECT max(x.id) FROM alerts x WHERE x.conversation_id = c.id
        AND x.type = 'early-funnel' AND x.created_at <= :until) AS alert
FROM conversations c JOIN mentions m ON m.id = c.early_mention_id
LEFT JOIN authors a ON a.id = m.author_id
WHERE c.state = 'early' AND m.at >= :oldest AND m.at <= :until AND NOT {_DONE}
ORDER BY coalesce((SELECT score FROM alerts WHERE id = alert), 100 * c.early) DESC,
    c.early DESC, c.id
"""


@dataclass(frozen=True, slots=True, kw_only=True)
class Joining:
    """The best open conversations, their marks, and how many others the reader knows already."""

    cards: tuple[ConversationCard, ...]
    ids: frozenset[int]
    marks: tuple[Mark, ...]
    known: int


def joining(
    store: Store,
    config: Config,
    period: Period,
    excluded: Collection[str],
    seen: Seen | None,
    *,
    labels: Mapping[str, str],
) -> Joining:
    """Conversations open at the end of `period`, by the score of the alert, else by probability.

    Those of `excluded` authors (folded handles and ids) and those that somebody deals with are left
    out, and of what was `seen` that which has not moved. Without `seen` nothing was.
    """
    rows = store.rows(
        _OPEN,
        {
            "oldest": stamp(period.until - timedelta(hours=config.alerts.max_age_hours)),
            "until": stamp(period.until),
        },
    )
    cards: list[ConversationCard] = []
    marks: list[Mark] = []
    known = 0
    for row in rows:
        if folded(row["handle"], row["author"]) & set(excluded):
            continue
        mark = _mark(row)
        before = (seen or {}).get(("conversation", row["id"]))
        news = moves(mark, before) if before is not None else ()
        if before is not None and not news:
            known += 1
        elif len(cards) < config.digest.max_conversations:
            moved = bool(news)
            if seen is None:
                moved = row["started_at"] < stamp(period.since) <= row["last_at"]
            card = _card(store, config, row, period, labels)
            cards.append(replace(card, moved=moved, news=news))
            marks.append(mark)
    return Joining(
        cards=tuple(cards),
        ids=frozenset(mark.ref for mark in marks),
        marks=tuple(marks),
        known=known,
    )


def _mark(row: sqlite3.Row) -> Mark:
    names = ("stage", "outcome", "urgent", "others", "engagement")
    return Mark(kind="conversation", ref=row["id"], state={name: row[name] for name in names})


def _card(
    store: Store, config: Config, row: sqlite3.Row, period: Period, labels: Mapping[str, str]
) -> ConversationCard:
    (shown,) = store.rows(
        f"SELECT {CONVERSATION} FROM conversations c JOIN mentions m ON m.id = c.early_mention_id "
        "LEFT JOIN authors a ON a.id = m.author_id WHERE c.id = ?",
        (row["id"],),
    )
    alert = store.rows("SELECT score, reasons FROM alerts WHERE id = ?", (row["alert"],))
    card = conversation_card(
        shown,
        json.loads(alert[0]["reasons"]) if alert else [],
        now=period.until,
        labels=labels,
    )
    people = store.rows(
        "SELECT a.handle, a.native_id AS author FROM mentions r "
        "JOIN authors a ON a.id = r.author_id "
        "WHERE r.conversation_id = ? AND r.author_id IS NOT ? "
        "GROUP BY a.id ORDER BY min(r.at), a.id",
        (row["id"], row["author_id"]),
    )
    ours = folded(*config.brand.handles)
    others = [one for one in people if folded(one["handle"], one["author"]).isdisjoint(ours)]
    named = [one.name for one in options(store, row["id"], shown["mention_id"]) if one.others]
    return replace(
        card,
        score=alert[0]["score"] if alert else None,
        joined=len(others) < len(people),
        answered=len(others),
        answerers=tuple(one["handle"] for one in others if one["handle"])[:_ANSWERED],
        # Who names a product names its brand with it.
        options=tuple(
            name for name in named if not any(one.startswith(f"{name} ") for one in named)
        )[:_NAMED],
    )
