"""Writing messages down for delivery: each once for a person, whatever happens afterwards."""

from __future__ import annotations

import sqlite3
import uuid
from datetime import datetime

from .config import Recipient
from .store import stamp

_NAMESPACE = uuid.UUID("5ef6ac7a-3f0b-5d5c-9f6d-0d5f0a1c2b7e")


def message_id(kind: str, ref: str, recipient: str) -> str:
    """Stable Message-ID of a delivery, so that a repeated one can be recognised by the mailbox."""
    return f"<{uuid.uuid5(_NAMESPACE, f'{kind}:{ref}:{recipient}')}@listener.invalid>"


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


def withdraw(connection: sqlite3.Connection, alert: int) -> None:
    """Take an alert that has not gone out yet back out of the outbox: it is held again."""
    waiting = connection.execute(
        "DELETE FROM deliveries WHERE kind = 'alert' AND ref = ? AND status = 'waiting' "
        "RETURNING recipient",
        (str(alert),),
    ).fetchall()
    connection.executemany(
        "UPDATE alert_recipients SET fate = 'held', mailed_at = NULL "
        "WHERE alert_id = ? AND recipient = ?",
        [(alert, row["recipient"]) for row in waiting],
    )
