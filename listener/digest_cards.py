"""What digests and alerts are read with: the period, and rows of posts as cards."""

from __future__ import annotations

import json
import sqlite3
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from .advocates import reach
from .explain import Reason
from .messages import ConversationCard, PostCard
from .steps import document
from .store import moment, stamp

COUNTED = (
    "m.at > :oldest AND m.at <= :until AND m.first_seen_at <= :seen "
    "AND (m.at > :since OR m.first_seen_at > :since) "
    "AND (m.text <> '' OR m.title IS NOT NULL)"
)
"""SQL: whether a digest counts the post `m`; see `Period`."""
POST = (
    "m.source, m.title AS post_title, m.text, m.url, m.published_at, m.language AS post_language, "
    "a.handle, a.followers"
)
"""SQL: what a card shows of the post `m` of the author `a`."""
ENGAGEMENT = "coalesce(m.likes, 0) + coalesce(m.replies, 0) + coalesce(m.shares, 0)"
CONVERSATION = (
    "c.id, c.title, c.stage, c.early, c.about, c.started_at, c.last_at, c.mentions, "
    f"m.id AS mention_id, {POST}"
)
"""SQL: what a card shows of the conversation `c` by its post `m`."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Period:
    """What a digest covers, in aware times.

    Counted is what was published from `since` to `until`, and what was published from `oldest` on
    but came to be known only after `since`, too late for the digest before. With `live`, what
    became known after `until` is left for the next digest.
    """

    since: datetime
    until: datetime
    oldest: datetime
    live: bool

    def parameters(self) -> dict[str, str]:
        """Values for SQL."""
        return {
            "since": stamp(self.since),
            "until": stamp(self.until),
            "oldest": stamp(self.oldest),
            "seen": stamp(self.until) if self.live else "9999",
        }


def post_card(row: sqlite3.Row) -> PostCard:
    """A row with the columns of `POST` as a card."""
    return PostCard(
        author=row["handle"],
        reach=reach(row["followers"]),
        source=row["source"],
        published_at=moment(row["published_at"]),
        text=document(row["post_title"], row["text"]),
        url=row["url"],
    )


def conversation_card(
    row: sqlite3.Row, reasons: Any, *, now: datetime, labels: Mapping[str, str]
) -> ConversationCard:
    """A row with the columns of `CONVERSATION` as a card; `reasons` as alerts store them.

    `labels` are names of categories for the reader.
    """
    names = dict.fromkeys(name for _, name in json.loads(row["about"]))
    return ConversationCard(
        title=row["title"],
        stage=row["stage"],
        probability=row["early"],
        about=tuple(labels.get(name, name) for name in names),
        reasons=tuple(
            Reason(
                code=part["code"],
                value=labels.get(part["value"], part["value"])
                if part["code"] == "matched"
                else part["value"],
                quote=part.get("quote"),
            )
            for part in reasons
        ),
        post=post_card(row),
        replies=row["mentions"] - 1,
        age_hours=max((now - moment(row["published_at"])).total_seconds() / 3600, 0.0),
        moved=False,
        language=row["post_language"] or "und",
    )
