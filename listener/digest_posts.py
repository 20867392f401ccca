"""The posts of a digest: what people praise, complain about and ask for, who recommends us."""

from __future__ import annotations

import json
import sqlite3
from collections.abc import Collection, Sequence
from datetime import timedelta
from typing import Literal

from .advocates import Praising, advocates
from .candidates import ANSWERED
from .config import Config
from .digest_cards import COUNTED, ENGAGEMENT, POST, Period, post_card
from .digest_groups import Post, grouped
from .digest_shown import Mark, Seen, moves
from .messages import AdvocateCard, PostCard, PostGroup
from .rules import folded
from .steps import document
from .store import Store, stamp
from .vocabulary import terms

Signal = Literal["praise", "complaint", "suggestion"]
# A praise in passing inside a question is no praise.
_TONE = {"praise": "pos", "complaint": "neg", "suggestion": None}
_READ = 200
"""Posts of a signal that are grouped: the surest."""
_PRAISE_DAYS = timedelta(days=90)
_ABOUT_US = """EXISTS (SELECT 1 FROM relevant_matches x WHERE x.mention_id = m.id
    AND x.kind IN ('brand', 'product'))"""
_NO_PROMOTION = """NOT EXISTS (SELECT 1 FROM tags p WHERE p.mention_id = m.id
    AND p.tagger = 'funnel' AND p.kind = 'promo' AND p.score >= 0.5)"""
_TONE_IS = """EXISTS (SELECT 1 FROM tags s WHERE s.mention_id = m.id
    AND s.tagger = 'funnel' AND s.kind = 'sentiment' AND s.label {})"""
_SAID = f"""
SELECT m.id, m.conversation_id, m.author_id, a.native_id AS author, {POST},
    (SELECT json_group_array(DISTINCT x.name) FROM relevant_matches x
        WHERE x.mention_id = m.id AND x.kind = 'product') AS products
FROM mentions m JOIN tags t ON t.mention_id = m.id AND t.tagger = 'funnel'
    AND t.kind = 'signal' AND t.label = :signal
LEFT JOIN authors a ON a.id = m.author_id
WHERE {COUNTED} AND {_ABOUT_US} AND {_NO_PROMOTION}
    AND (:tone IS NULL OR {_TONE_IS.format("= :tone")})
"""
_IN_ORDER = "ORDER BY t.score DESC, m.id"
# Speaks well of us: praises in a good tone, or recommends in one that is not bad.
_WELL = f"""{_ABOUT_US} AND {_NO_PROMOTION} AND EXISTS (SELECT 1 FROM tags t
    WHERE t.mention_id = m.id AND t.tagger = 'funnel' AND t.kind = 'signal'
    AND ((t.label = 'praise' AND {_TONE_IS.format("= 'pos'")})
        OR (t.label = 'recommendation_given' AND {_TONE_IS.format("<> 'neg'")})))"""


def excluded(config: Config) -> frozenset[str]:
    """Folded handles and ids of the brand's own accounts and of authors nobody wants to hear."""
    return folded(*config.brand.handles, config.sources.x.user, *config.sources.exclude_authors)


def groups(
    store: Store,
    config: Config,
    period: Period,
    signal: Signal,
    *,
    hidden: Collection[int],
) -> tuple[tuple[PostGroup, tuple[int, ...]], ...]:
    """Posts about the brand with a signal, those about the same as one, with their numbers.

    The largest group comes first, then the surest. A lone post of `hidden` is left out.
    """
    rows = {
        row["id"]: row
        for row in store.rows(
            f"{_SAID} {_IN_ORDER} LIMIT :limit",
            {**period.parameters(), "signal": signal, "tone": _TONE[signal], "limit": _READ},
        )
        if _welcome(row, config)
    }
    posts = [
        Post(
            id=row["id"],
            text=document(row["post_title"], row["text"]),
            products=frozenset(json.loads(row["products"])),
        )
        for row in rows.values()
    ]
    return tuple(
        (
            PostGroup(post=post_card(rows[group.ids[0]]), posts=len(group.ids), words=group.words),
            group.ids,
        )
        for group in grouped(posts, [term.text for term in terms(config)])
        if len(group.ids) > 1 or group.ids[0] not in hidden
    )


def _welcome(row: sqlite3.Row, config: Config) -> bool:
    return folded(row["handle"], row["author"]).isdisjoint(excluded(config))


def unanswered(
    store: Store, config: Config, period: Period, *, joined: Collection[int]
) -> list[tuple[PostCard, int]]:
    """Questions about the brand that nobody else has answered, surest first, with their numbers.

    Those of the conversations `joined` stand among these already.
    """
    return [
        (post_card(row), row["id"])
        for row in store.rows(
            f"{_SAID} AND NOT {ANSWERED} {_IN_ORDER}",
            {**period.parameters(), "signal": "product_question", "tone": None},
        )
        if row["conversation_id"] not in joined and _welcome(row, config)
    ]


def recommending(
    store: Store, config: Config, period: Period, seen: Seen | None
) -> list[tuple[AdvocateCard, Mark, int]]:
    """Advocates who spoke well of us in `period`, best first, with their marks and posts.

    Of those who were `seen`, only who has moved.
    """
    rows = store.rows(
        f"SELECT m.id, m.author_id, a.native_id AS author, {ENGAGEMENT} AS engagement, "
        "coalesce(m.likes, m.replies, m.shares) IS NOT NULL AS measured, "
        f"{POST} FROM mentions m JOIN authors a ON a.id = m.author_id "
        f"WHERE {COUNTED} AND {_WELL} ORDER BY m.at DESC, m.id DESC",
        period.parameters(),
    )
    # The latest post of each author, since rows that come first stay.
    latest: dict[int, sqlite3.Row] = {}
    for row in rows:
        latest.setdefault(row["author_id"], row)
    times = _times(store, list(latest), period)
    found = advocates(
        (
            Praising(
                author=number,
                mention=row["id"],
                names=(row["handle"], row["author"]),
                followers=row["followers"],
                posts=times.get(number, 1),
                engagement=row["engagement"] if row["measured"] else None,
            )
            for number, row in latest.items()
        ),
        excluded(config),
    )
    cards = []
    for one in found:
        post = post_card(latest[one.author])
        mark = Mark(kind="author", ref=one.author, state={"posts": one.posts, "reach": post.reach})
        before = (seen or {}).get(("author", one.author))
        if before is None or moves(mark, before):
            card = AdvocateCard(post=post, posts=one.posts, rate=one.rate)
            cards.append((card, mark, one.mention))
    return cards


def _times(store: Store, authors: Sequence[int], period: Period) -> dict[int, int]:
    """How many posts of the last 90 days speak well of us, by author."""
    rows = store.rows(
        f"SELECT m.author_id, count(*) AS n FROM mentions m "
        "WHERE m.author_id IN (SELECT value FROM json_each(:authors)) "
        f"AND m.at > :since AND m.at <= :until AND {_WELL} GROUP BY m.author_id",
        {
            "authors": json.dumps(authors),
            "since": stamp(period.until - _PRAISE_DAYS),
            "until": stamp(period.until),
        },
    )
    return {row["author_id"]: row["n"] for row in rows}


def audited(store: Store, seen: Seen | None) -> list[sqlite3.Row]:
    """The drawn posts that nobody has judged, oldest first; without the model's opinion of them.

    `mention_id` is the post's number, `id` that of the draw. Those that were `seen` are left out.
    """
    rows = store.rows(
        f"SELECT x.id, x.mention_id, {POST} FROM audit x JOIN mentions m ON m.id = x.mention_id "
        "LEFT JOIN authors a ON a.id = m.author_id "
        "WHERE x.missed IS NULL AND (m.text <> '' OR m.title IS NOT NULL) ORDER BY x.id"
    )
    return [row for row in rows if ("mention", row["mention_id"]) not in (seen or {})]
