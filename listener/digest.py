"""What the alert e-mail and the daily digest say, read from the database."""

from __future__ import annotations

import json
import sqlite3
from collections import Counter
from dataclasses import dataclass
from datetime import date, datetime, timedelta
from typing import Any

from .config import Config
from .messages import (
    AlertMessage,
    ConversationCard,
    DigestMessage,
    PostCard,
    Reason,
    SentimentCount,
    SourceCoverage,
)
from .steps import document
from .store import Store, moment, stamp

_WEEKS, _LEAST_WEEKS = 4, 2
_POSTS = 5
_TIMELINE = 12
# Lower bounds of followers, as the field uses them.
_REACH = ((100_000, "macro"), (10_000, "micro"), (1_000, "nano"))
# Which posts (m) a digest counts: see `Period`.
_COUNTED = (
    "m.at > :oldest AND m.at <= :until AND m.first_seen_at <= :seen "
    "AND (m.at > :since OR m.first_seen_at > :since) "
    "AND (m.text <> '' OR m.title IS NOT NULL)"
)
_CARD = """
SELECT c.id, c.title, c.stage, c.early, c.about, c.started_at, c.last_at, c.mentions, c.language,
    m.id AS mention_id, m.source, m.title AS post_title, m.text, m.url, m.published_at,
    m.language AS post_language, a.handle, a.followers
FROM conversations c JOIN mentions m ON m.id = {mention}
LEFT JOIN authors a ON a.id = m.author_id
"""


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


def reach(followers: int | None) -> str | None:
    """Tier by followers: nano from 1,000, micro from 10,000, macro from 100,000; else None."""
    return next((tier for least, tier in _REACH if (followers or 0) >= least), None)


def post_card(row: sqlite3.Row) -> PostCard:
    """A row with handle, followers, source, published_at, post_title, text and url as a card."""
    return PostCard(
        author=row["handle"],
        reach=reach(row["followers"]),
        source=row["source"],
        published_at=moment(row["published_at"]),
        text=document(row["post_title"], row["text"]),
        url=row["url"],
    )


def _conversation(
    row: sqlite3.Row, reasons: Any, *, since: str | None, now: datetime
) -> ConversationCard:
    return ConversationCard(
        title=row["title"],
        stage=row["stage"],
        probability=row["early"],
        about=tuple(dict.fromkeys(name for _, name in json.loads(row["about"]))),
        reasons=tuple(
            Reason(code=part["code"], value=part["value"], quote=part.get("quote"))
            for part in reasons
        ),
        post=post_card(row),
        replies=row["mentions"] - 1,
        age_hours=max((now - moment(row["published_at"])).total_seconds() / 3600, 0.0),
        moved=since is not None and row["started_at"] < since <= row["last_at"],
        language=row["post_language"] or "und",
    )


def alert_message(store: Store, alert_id: str, *, now: datetime) -> AlertMessage | None:
    """The e-mail of one alert; None when its conversation is no longer open or was erased."""
    rows = store.rows(
        _CARD.format(mention="(SELECT mention_id FROM alerts WHERE id = :id)")
        + "WHERE c.id = (SELECT conversation_id FROM alerts WHERE id = :id) AND c.state = 'early'",
        {"id": alert_id},
    )
    if not rows:
        return None
    alert = store.rows("SELECT rule, reasons FROM alerts WHERE id = ?", (alert_id,))[0]
    timeline = store.rows(
        "SELECT m.source, m.title AS post_title, m.text, m.url, m.published_at, a.handle, "
        "a.followers FROM mentions m LEFT JOIN authors a ON a.id = m.author_id "
        "WHERE m.conversation_id = ? ORDER BY m.published_at DESC, m.id DESC LIMIT ?",
        (rows[0]["id"], _TIMELINE),
    )
    return AlertMessage(
        id=alert_id,
        rule=alert["rule"],
        conversation=_conversation(rows[0], json.loads(alert["reasons"]), since=None, now=now),
        timeline=tuple(post_card(row) for row in reversed(timeline)),
    )


def digest_message(store: Store, config: Config, day: date, period: Period) -> DigestMessage:
    """The digest of `day`: what the period counts, and the conversations open at its end."""
    span = period.parameters()
    since, until = period.since, period.until
    mentions = store.value(f"SELECT count(*) FROM mentions m WHERE {_COUNTED}", span)
    stages = store.rows(
        "SELECT t.label, count(*) AS n FROM mentions m JOIN tags t ON t.mention_id = m.id "
        f"AND t.tagger = 'funnel' AND t.kind = 'stage' WHERE {_COUNTED} GROUP BY t.label",
        span,
    )
    held_back = store.value(
        "SELECT count(*) FROM alerts a JOIN conversations c ON c.id = a.conversation_id "
        "JOIN mentions m ON m.id = a.mention_id WHERE a.fate = 'held' AND c.state = 'early' "
        "AND m.at >= ? AND a.created_at <= ?",
        (stamp(until - timedelta(hours=config.alerts.max_age_hours)), stamp(until)),
    )
    entities = _entities(store, span, config.brand.name)
    return DigestMessage(
        day=day,
        timezone=config.digest.timezone,
        brand=config.brand.name,
        mentions=mentions,
        mentions_usual=_usual(store, since, until),
        stages={row["label"]: row["n"] for row in stages},
        sentiment=tuple(
            SentimentCount(
                entity=row["name"],
                positive=row["positive"],
                neutral=row["neutral"],
                negative=row["negative"],
            )
            for row in entities
        ),
        share_of_voice=tuple((row["name"], row["mentions"]) for row in entities),
        join_now=_join_now(store, config, since=since, until=until),
        held_back=held_back,
        praise=_signalled(store, span, "praise", sentiment="pos"),
        complaints=_signalled(store, span, "complaint", sentiment="neg"),
        ideas=_signalled(store, span, "suggestion"),
        unanswered=_signalled(store, span, "product_question", unanswered=True),
        coverage=_coverage(store, config, span),
    )


def _entities(store: Store, span: dict[str, str], brand: str) -> list[sqlite3.Row]:
    """Mentions of each maker by sentiment; a product counts for the brand, once per mention."""
    return store.rows(
        "WITH named AS (SELECT DISTINCT m.id, iif(x.kind = 'competitor', x.kind, 'brand') AS kind, "
        "iif(x.kind = 'product', :brand, x.name) AS name FROM mentions m "
        "JOIN matches x ON x.mention_id = m.id AND x.kind IN ('brand', 'product', 'competitor') "
        f"WHERE {_COUNTED}) "
        "SELECT n.name, count(*) AS mentions, count(*) FILTER (WHERE s.label = 'pos') AS positive, "
        "count(*) FILTER (WHERE s.label = 'neu') AS neutral, "
        "count(*) FILTER (WHERE s.label = 'neg') AS negative FROM named n "
        "LEFT JOIN tags s ON s.mention_id = n.id AND s.tagger = 'funnel' AND s.kind = 'sentiment' "
        "GROUP BY n.kind, n.name ORDER BY n.kind, mentions DESC, n.name",
        {**span, "brand": brand},
    )


def _usual(store: Store, since: datetime, until: datetime) -> float | None:
    """Mean mentions in the same hours of the last four weeks, as far as they were observed.

    None below two weeks: one day is no habit.
    """
    first = store.value("SELECT min(hour) FROM rollup_hourly")
    counts = []
    for week in range(1, _WEEKS + 1):
        start, end = (stamp(t - timedelta(weeks=week))[:13] for t in (since, until))
        if first is not None and start >= first:
            counts.append(
                store.value(
                    "SELECT coalesce(sum(mentions), 0) FROM rollup_hourly "
                    "WHERE kind = 'all' AND hour >= ? AND hour < ?",
                    (start, end),
                )
            )
    return sum(counts) / len(counts) if len(counts) >= _LEAST_WEEKS else None


def _join_now(
    store: Store, config: Config, *, since: datetime, until: datetime
) -> tuple[ConversationCard, ...]:
    oldest = until - timedelta(hours=config.alerts.max_age_hours)
    rows = store.rows(
        _CARD.format(mention="c.early_mention_id")
        + "WHERE c.state = 'early' AND m.at >= ? AND m.at <= ? "
        "ORDER BY c.early DESC, c.id LIMIT ?",
        (stamp(oldest), stamp(until), config.digest.max_conversations),
    )
    cards = []
    for row in rows:
        reasons = store.value(
            "SELECT reasons FROM alerts WHERE conversation_id = ? AND mention_id = ?",
            (row["id"], row["mention_id"]),
        )
        cards.append(_conversation(row, json.loads(reasons or "[]"), since=stamp(since), now=until))
    return tuple(cards)


def _signalled(
    store: Store,
    span: dict[str, str],
    signal: str,
    *,
    sentiment: str | None = None,
    unanswered: bool = False,
) -> tuple[PostCard, ...]:
    """Posts about the brand with a signal, surest first; `unanswered`: those without a reply.

    With `sentiment` the post must have it too: a praise in passing inside a question is no praise.
    """
    rows = store.rows(
        "SELECT m.source, m.title AS post_title, m.text, m.url, m.published_at, a.handle, "
        "a.followers FROM mentions m JOIN tags t ON t.mention_id = m.id AND t.tagger = 'funnel' "
        "AND t.kind = 'signal' AND t.label = :signal LEFT JOIN authors a ON a.id = m.author_id "
        f"WHERE {_COUNTED} AND EXISTS (SELECT 1 FROM matches x WHERE x.mention_id = m.id "
        "AND x.kind IN ('brand', 'product')) "
        "AND NOT EXISTS (SELECT 1 FROM tags p WHERE p.mention_id = m.id AND p.tagger = 'funnel' "
        "AND p.kind = 'promo' AND p.score >= 0.5) "
        "AND (:sentiment IS NULL OR EXISTS (SELECT 1 FROM tags s WHERE s.mention_id = m.id "
        "AND s.tagger = 'funnel' AND s.kind = 'sentiment' AND s.label = :sentiment)) "
        "AND NOT (:unanswered AND EXISTS (SELECT 1 FROM mentions r WHERE r.source = m.source "
        "AND r.id <> m.id AND (r.parent_id = m.native_id OR r.root_id = m.native_id))) "
        "ORDER BY t.score DESC, m.id LIMIT :limit",
        {
            **span,
            "signal": signal,
            "sentiment": sentiment,
            "unanswered": unanswered,
            "limit": _POSTS,
        },
    )
    return tuple(post_card(row) for row in rows)


def _coverage(store: Store, config: Config, span: dict[str, str]) -> tuple[SourceCoverage, ...]:
    """What each source gave in the period, and how its last run went; enabled ones always."""
    totals: dict[str, Counter[str]] = {name: Counter() for name, _ in config.sources.enabled()}
    last: dict[str, str] = {}
    states: dict[str, tuple[str, str | None]] = {}
    # The run that leads to a digest starts at its end: that instant belongs to it, not to the next.
    for row in store.rows(
        "SELECT source, started_at, returned, kept, new, status, error FROM runs "
        "WHERE started_at > :since AND started_at <= :until ORDER BY started_at, id",
        span,
    ):
        # Behind the colon stands a path, which is nobody's business in a mail.
        source = row["source"].partition(":")[0]
        totals.setdefault(source, Counter()).update(
            {key: row[key] for key in ("returned", "kept", "new")}
        )
        found = (row["status"], row["error"] if row["status"] != "ok" else None)
        if last.get(source) != row["started_at"] or _worse(found, states[source]):
            states[source] = found
        last[source] = row["started_at"]
    return tuple(
        SourceCoverage(
            source=source,
            fetched=total["returned"],
            kept=total["kept"],
            new=total["new"],
            state=states.get(source, ("silent", None))[0],
            failed=states.get(source, ("silent", None))[1],
        )
        for source, total in totals.items()
    )


def _worse(one: tuple[str, str | None], other: tuple[str, str | None]) -> bool:
    order = ("ok", "partial", "waiting", "failed")
    return order.index(one[0]) > order.index(other[0])
