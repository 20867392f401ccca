"""Writing messages down for delivery: each once for a person, whatever happens afterwards."""

from __future__ import annotations

import sqlite3
import uuid
from collections.abc import Mapping
from datetime import datetime
from typing import Literal

from .config import Recipient
from .recipients import Mail, is_suppressed
from .store import Store, stamp

Kind = Literal["alert", "digest", "operator"]
_MAIL: Mapping[Kind, Mail | Literal["operator"]] = {
    "alert": "alerts",
    "digest": "digest",
    "operator": "operator",
}
_NAMESPACE = uuid.UUID("5ef6ac7a-3f0b-5d5c-9f6d-0d5f0a1c2b7e")


def message_id(kind: str, ref: str, recipient: str) -> str:
    """Stable Message-ID of a delivery, so that a repeated one can be recognised by the mailbox."""
    return f"<{uuid.uuid5(_NAMESPACE, f'{kind}:{ref}:{recipient}')}@listener.invalid>"


def enqueue(
    connection: sqlite3.Connection, kind: Kind, ref: str, recipient: Recipient, *, now: datetime
) -> bool:
    """Put one message into the outbox; False when it is there already (sent or not).

    False, too, for a recipient who gets no more of this kind. An alert that went stale before it
    was sent goes in again.
    """
    if is_suppressed(connection, recipient.email, _MAIL[kind]):
        return False
    inserted = connection.execute(
        "INSERT INTO deliveries (kind, ref, recipient, message_id, created_at, next_try_at) "
        "VALUES (:kind, :ref, :recipient, :message_id, :now, :now) ON CONFLICT DO UPDATE SET "
        "status = 'waiting', attempts = 0, created_at = :now, next_try_at = :now, error = NULL "
        "WHERE status = 'stale'",
        {
            "kind": kind,
            "ref": ref,
            "recipient": recipient.email,
            "message_id": message_id(kind, ref, recipient.email),
            "now": stamp(now),
        },
    ).rowcount
    return bool(inserted)


def fold(
    connection: sqlite3.Connection, alert: int, recipient: str, why: str, *, now: datetime
) -> None:
    """Leave an alert that was not mailed in time to the recipient's digest: see `missed`."""
    connection.execute(
        "INSERT INTO deliveries (kind, ref, recipient, message_id, status, created_at, "
        "next_try_at, error) VALUES ('alert', :ref, :recipient, :message_id, 'stale', :now, :now, "
        ":why) ON CONFLICT DO UPDATE SET status = 'stale', next_try_at = :now, error = :why "
        "WHERE status <> 'sent'",
        {
            "ref": str(alert),
            "recipient": recipient,
            "message_id": message_id("alert", str(alert), recipient),
            "now": stamp(now),
            "why": why,
        },
    )
    list_only(connection, alert, recipient)


def list_only(connection: sqlite3.Connection, alert: int, recipient: str) -> None:
    """Note that an alert is not mailed to the recipient: it is in the list and in the digest."""
    connection.execute(
        "UPDATE alert_recipients SET fate = 'listed', mailed_at = NULL "
        "WHERE alert_id = ? AND recipient = ?",
        (alert, recipient),
    )


def missed(store: Store, recipient: str, *, since: datetime, until: datetime) -> list[int]:
    """Alerts that the recipient was not mailed in time, by when that was settled, oldest first.

    They grew too old or were closed while they were held back or could not be delivered, or were
    refused. Those that somebody has acknowledged meanwhile are left out.
    """
    rows = store.rows(
        "SELECT a.id FROM deliveries d JOIN alerts a ON a.id = CAST(d.ref AS INTEGER) "
        "WHERE d.kind = 'alert' AND d.status IN ('stale', 'refused') AND d.recipient = ? "
        "AND d.next_try_at > ? AND d.next_try_at <= ? AND a.acknowledged_at IS NULL "
        "ORDER BY d.next_try_at, a.id",
        (recipient, stamp(since), stamp(until)),
    )
    return [row["id"] for row in rows]


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
