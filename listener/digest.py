"""What the alert e-mail and the daily digest say, read from the database."""

from __future__ import annotations

import json
import sqlite3
from collections import Counter
from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from datetime import date, datetime, timedelta
from typing import Any, Literal

from . import alerts
from .attention import held_back
from .candidates import OPEN
from .config import Config
from .explain import Event, Outcome, Reason
from .messages import (
    AlertMessage,
    AuditCard,
    ConversationCard,
    DigestMessage,
    PostCard,
    SentimentCount,
    SourceCoverage,
)
from .rollup import TOWARD
from .scoring import Part
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
) -> AlertMessage | None:
    """The e-mail of one alert; None when it is closed, acknowledged, snoozed or erased.

    With `whole` whatever its state, and every post of its conversation, not the latest few alone.
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
        _CARD.format(mention="(SELECT mention_id FROM alerts WHERE id = :id)")
        + "WHERE c.id = :conversation",
        {"id": alert_id, "conversation": conversation},
    )
    timeline = store.rows(
        "SELECT m.source, m.title AS post_title, m.text, m.url, m.published_at, a.handle, "
        "a.followers FROM mentions m LEFT JOIN authors a ON a.id = m.author_id "
        "WHERE m.conversation_id = ? ORDER BY m.published_at DESC, m.id DESC LIMIT ?",
        (conversation, -1 if whole else _TIMELINE),
    )
    shown = _conversation(card, json.loads(alert["reasons"]), since=None, now=now)
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
                entity=event["entity"],
                author=event["author"],
                quote=event["quote"],
            )
            for event in alerts.events(store, conversation)
        ),
        outcome=_outcome(store, conversation),
        feedback=links("feedback", int(alert_id)),
    )


def _outcome(store: Store, conversation: int) -> Outcome | None:
    heard = alerts.outcome(store, conversation)
    if heard is None:
        return None
    return Outcome(outcome=heard["outcome"], entity=heard["entity"], quote=heard["quote"])


def digest_message(
    store: Store,
    config: Config,
    day: date,
    period: Period,
    *,
    recipient: str | None = None,
    links: Links = no_links,
) -> DigestMessage:
    """The digest of `day`: what the period counts, and the conversations open at its end.

    Alerts held back are those of the address `recipient`, or without one those of anybody.
    """
    span = period.parameters()
    since, until = period.since, period.until
    mentions = store.value(f"SELECT count(*) FROM mentions m WHERE {_COUNTED}", span)
    stages = store.rows(
        "SELECT t.label, count(*) AS n FROM mentions m JOIN tags t ON t.mention_id = m.id "
        f"AND t.tagger = 'funnel' AND t.kind = 'stage' WHERE {_COUNTED} GROUP BY t.label",
        span,
    )
    people = [recipient] if recipient else [one.email for one in config.receiving("alerts")]
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
        held_back=held_back(store, config, people, now=until),
        praise=_signalled(store, span, "praise", sentiment="pos"),
        complaints=_signalled(store, span, "complaint", sentiment="neg"),
        ideas=_signalled(store, span, "suggestion"),
        unanswered=_signalled(store, span, "product_question", unanswered=True),
        coverage=_coverage(store, config, span),
        audit=tuple(
            AuditCard(number=row["id"], post=post_card(row), links=links("audit", row["id"]))
            for row in _audited(store)
        ),
    )


def _audited(store: Store) -> list[sqlite3.Row]:
    """The oldest drawn posts that nobody has judged; without the model's opinion of them."""
    return store.rows(
        "SELECT x.id, m.source, m.title AS post_title, m.text, m.url, m.published_at, a.handle, "
        "a.followers FROM audit x JOIN mentions m ON m.id = x.mention_id "
        "LEFT JOIN authors a ON a.id = m.author_id "
        "WHERE x.missed IS NULL AND (m.text <> '' OR m.title IS NOT NULL) ORDER BY x.id LIMIT ?",
        (_POSTS,),
    )


def _entities(store: Store, span: dict[str, str], brand: str) -> list[sqlite3.Row]:
    """Mentions of each maker by sentiment toward it; a product counts for the brand, once."""
    return store.rows(
        "WITH named AS (SELECT DISTINCT m.id, iif(x.kind = 'competitor', x.kind, 'brand') AS kind, "
        "iif(x.kind = 'product', :brand, x.name) AS name FROM mentions m "
        "JOIN relevant_matches x ON x.mention_id = m.id "
        f"AND x.kind IN ('brand', 'product', 'competitor') WHERE {_COUNTED}), "
        f"judged AS (SELECT n.kind, n.name, {TOWARD} AS sentiment FROM named n) "
        "SELECT name, count(*) AS mentions, count(*) FILTER (WHERE sentiment = 'pos') AS positive, "
        "count(*) FILTER (WHERE sentiment = 'neu') AS neutral, "
        "count(*) FILTER (WHERE sentiment = 'neg') AS negative FROM judged "
        "GROUP BY kind, name ORDER BY kind, mentions DESC, name",
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
            "SELECT reasons FROM alerts WHERE conversation_id = ? AND mention_id = ? "
            "AND type = 'early-funnel' ORDER BY id DESC LIMIT 1",
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
        f"WHERE {_COUNTED} AND EXISTS (SELECT 1 FROM relevant_matches x WHERE x.mention_id = m.id "
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
