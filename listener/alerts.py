"""The early-funnel rule: alerts for conversations in which the choice is still open.

An alert is made once for a conversation. Recent ones are put into the outbox of every recipient,
the strongest first and no more than the limit of a day; the rest is held back, told of in the
digest, and mailed when there is room while the choice is open. Older ones (an import of last
year's posts, say) are only listed.
"""

from __future__ import annotations

import json
import sqlite3
import uuid
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any

from .config import Config, Recipient
from .steps import document
from .store import Store, stamp

EARLY_FUNNEL = "early-funnel"
_NAMESPACE = uuid.UUID("5ef6ac7a-3f0b-5d5c-9f6d-0d5f0a1c2b7e")
_QUOTES = 3


@dataclass(frozen=True, slots=True, kw_only=True)
class Alert:
    """A conversation worth joining. `key` makes it fire once; `probability` is calibrated."""

    key: str
    rule: str
    conversation_id: int
    mention_id: int
    probability: float
    reasons: tuple[dict[str, Any], ...]
    recent: bool


def message_id(kind: str, ref: str, recipient: str) -> str:
    """Stable Message-ID of a delivery, so that a repeated one can be recognised by the mailbox."""
    return f"<{uuid.uuid5(_NAMESPACE, f'{kind}:{ref}:{recipient}')}@listener.invalid>"


def find(store: Store, config: Config, *, now: datetime) -> list[Alert]:
    """Early conversations that have no alert yet, strongest first. Reads only."""
    since = stamp(_oldest(config, now))
    rows = store.rows(
        "SELECT c.id, c.source, c.root_id, c.stage, c.early, c.early_mention_id, c.mentions, "
        "m.title, m.text, m.language, m.at "
        "FROM conversations c JOIN mentions m ON m.id = c.early_mention_id "
        "WHERE c.state = 'early' AND NOT EXISTS (SELECT 1 FROM alerts x "
        "WHERE x.conversation_id = c.id AND x.rule = ?) ORDER BY c.early DESC, c.id",
        (EARLY_FUNNEL,),
    )
    wanted = config.alerts
    return [
        Alert(
            key=f"{EARLY_FUNNEL}:{row['source']}:{row['root_id']}",
            rule=EARLY_FUNNEL,
            conversation_id=row["id"],
            mention_id=row["early_mention_id"],
            probability=row["early"],
            reasons=tuple(_reasons(store, row)),
            recent=row["at"] >= since,
        )
        for row in rows
        if (not wanted.sources or row["source"] in wanted.sources)
        and (not wanted.languages or row["language"] in wanted.languages)
    ]


def _reasons(store: Store, row: sqlite3.Row) -> list[dict[str, Any]]:
    """Why, as codes with values; each quote is a literal part of the post."""
    text = document(row["title"], row["text"])
    reasons: list[dict[str, Any]] = [
        {"code": "early_probability", "value": round(row["early"], 3)},
        {"code": "stage", "value": row["stage"]},
    ]
    spans = store.rows(
        "SELECT name, min(span_start) AS start, span_end FROM matches WHERE mention_id = ? "
        "GROUP BY kind, name ORDER BY start LIMIT ?",
        (row["early_mention_id"], _QUOTES),
    )
    reasons += [
        {
            "code": "matched",
            "value": span["name"],
            "quote": text[span["start"] : span["span_end"]],
        }
        for span in spans
    ]
    signals = store.rows(
        "SELECT label FROM tags WHERE mention_id = ? AND tagger = 'funnel' AND kind = 'signal' "
        "ORDER BY score DESC",
        (row["early_mention_id"],),
    )
    reasons += [{"code": "signal", "value": signal["label"]} for signal in signals]
    reasons.append({"code": "replies", "value": row["mentions"] - 1})
    return reasons


def save(
    store: Store, alerts: Sequence[Alert], config: Config, *, now: datetime
) -> tuple[int, int]:
    """Store alerts, and put into the outbox what a day has room for, the strongest first.

    Alerts held back before take part as long as they are open and recent. Returns how many alerts
    are new and how many are to be mailed.
    """
    recipients = config.receiving("alerts")
    new = 0
    with store.write() as connection:
        for alert in alerts:
            new += connection.execute(
                "INSERT INTO alerts (key, rule, conversation_id, mention_id, probability, reasons, "
                "created_at, fate) VALUES (?, ?, ?, ?, ?, ?, ?, ?) ON CONFLICT (key) DO NOTHING",
                (
                    alert.key,
                    alert.rule,
                    alert.conversation_id,
                    alert.mention_id,
                    alert.probability,
                    json.dumps(alert.reasons, ensure_ascii=False),
                    stamp(now),
                    "held" if alert.recent and recipients else "listed",
                ),
            ).rowcount
        (before,) = connection.execute(
            "SELECT count(*) FROM alerts WHERE mailed_at > ?", (stamp(now - timedelta(days=1)),)
        ).fetchone()
        room = max(config.alerts.max_per_day - before, 0) if recipients else 0
        chosen = connection.execute(
            "SELECT a.id FROM alerts a JOIN conversations c ON c.id = a.conversation_id "
            "JOIN mentions m ON m.id = a.mention_id WHERE a.fate = 'held' AND c.state = 'early' "
            "AND m.at >= ? ORDER BY a.probability DESC, a.id LIMIT ?",
            (stamp(_oldest(config, now)), room),
        ).fetchall()
        for row in chosen:
            connection.execute(
                "UPDATE alerts SET fate = 'mailed', mailed_at = ? WHERE id = ?",
                (stamp(now), row["id"]),
            )
            for recipient in recipients:
                enqueue(connection, "alert", str(row["id"]), recipient, now=now)
    return new, len(chosen)


def _oldest(config: Config, now: datetime) -> datetime:
    """From when on a post is recent enough for an e-mail."""
    return now - timedelta(hours=config.alerts.max_age_hours)


def enqueue(
    connection: sqlite3.Connection, kind: str, ref: str, recipient: Recipient, *, now: datetime
) -> bool:
    """Put one message into the outbox; False when it is there already (sent or not)."""
    inserted = connection.execute(
        "INSERT INTO deliveries (kind, ref, recipient, message_id, created_at, next_try_at) "
        "VALUES (?, ?, ?, ?, ?, ?) ON CONFLICT DO NOTHING",
        (
            kind,
            ref,
            recipient.email,
            message_id(kind, ref, recipient.email),
            stamp(now),
            stamp(now),
        ),
    ).rowcount
    return bool(inserted)


def listing(store: Store, *, limit: int) -> list[dict[str, Any]]:
    """Alerts with their conversation and post, strongest first."""
    return [
        dict(row)
        for row in store.rows(
            "SELECT a.id, a.rule, round(a.probability, 3) AS probability, c.stage, c.state, "
            "m.language, m.source, m.native_id, c.about, m.published_at, m.url, a.fate, "
            "a.created_at, m.title, m.text, c.mentions, a.conversation_id "
            "FROM alerts a JOIN conversations c ON c.id = a.conversation_id "
            "JOIN mentions m ON m.id = a.mention_id ORDER BY a.probability DESC, a.id LIMIT ?",
            (limit,),
        )
    ]
