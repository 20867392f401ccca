"""What rules may alert on, read from the database: posts, their conversations, and the facts."""

from __future__ import annotations

import json
import sqlite3
from collections.abc import Collection, Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any

from .rules import (
    EARLY_FUNNEL,
    Found,
    Rule,
    allowed,
    early,
    folded,
    key_of,
    praised,
    spike,
    unanswered,
)
from .scoring import Facts, Named, fit_of
from .steps import document
from .store import Store, moment, stamp

_QUOTES = 3
_WEEKS = 4
_PRAISE_DAYS = 90
Reason = dict[str, Any]

# Somebody else has answered the post `m`, as far as we or the platform know. Of two unknown authors
# nobody can say that they are one.
_BY_ANOTHER = """r.source = m.source AND r.id <> m.id
    AND (r.author_id IS NULL OR r.author_id IS NOT m.author_id)"""
ANSWERED = f"""(coalesce(m.replies, 0) > 0
    OR EXISTS (SELECT 1 FROM mentions r WHERE r.parent_id = m.native_id AND {_BY_ANOTHER})
    OR EXISTS (SELECT 1 FROM mentions r WHERE r.root_id = m.native_id AND {_BY_ANOTHER}))"""
OPEN = f"""((a.type <> 'early-funnel' OR c.state = 'early')
    AND (a.type <> 'unanswered' OR (c.state <> 'decided' AND NOT {ANSWERED})))"""
"""SQL: whether the alert `a` on the post `m` of the conversation `c` can still be acted on."""
_FOUND = """m.id AS mention_id, m.source, m.at, coalesce(m.language, 'und') AS language,
    c.id AS conversation_id, c.root_id, c.stage, c.urgent, c.about,
    m.author_id, u.handle, u.native_id AS author, u.followers"""
_ABOUT_US = """EXISTS (SELECT 1 FROM relevant_matches x WHERE x.mention_id = m.id
    AND x.kind IN ('brand', 'product'))"""
_NO_PROMOTION = """NOT EXISTS (SELECT 1 FROM tags p WHERE p.mention_id = m.id
    AND p.tagger = 'funnel' AND p.kind = 'promo' AND p.score >= 0.5)"""
_TAGGED = f"""
SELECT {_FOUND}, max(t.score) AS probability FROM mentions m
JOIN tags t ON t.mention_id = m.id AND t.tagger = 'funnel' AND t.kind = :kind
    AND t.label IN (SELECT value FROM json_each(:labels))
JOIN conversations c ON c.id = m.conversation_id
LEFT JOIN authors u ON u.id = m.author_id
WHERE m.at > :since AND m.at <= :until AND {_ABOUT_US} AND {_NO_PROMOTION}
"""
_PRAISES = f"""
SELECT m.author_id, count(*) AS n FROM mentions m
JOIN tags t ON t.mention_id = m.id AND t.tagger = 'funnel' AND t.kind = 'signal'
    AND t.label = 'praise'
WHERE m.author_id IN (SELECT value FROM json_each(:authors)) AND m.at > :since AND m.at <= :until
AND {_ABOUT_US} AND {_NO_PROMOTION} AND EXISTS (SELECT 1 FROM tags s WHERE s.mention_id = m.id
    AND s.tagger = 'funnel' AND s.kind = 'sentiment' AND s.label = 'pos')
GROUP BY m.author_id
"""


@dataclass(frozen=True, slots=True, kw_only=True)
class Candidate:
    """A post that a rule would alert on under `key`; `reasons` are codes with values and quotes."""

    key: str
    found: Found
    facts: Facts
    reasons: tuple[Reason, ...]


def candidates(
    store: Store, rule: Rule, thresholds: Mapping[str, float], *, now: datetime
) -> Iterator[Candidate]:
    """What `rule` finds and has not told yet, in no order. Reads only.

    `thresholds` are the model's for `early`, by language, "*" for the others.
    """
    before: dict[int, list[tuple[str, bool]]] = {}
    for row in store.rows(
        "SELECT conversation_id, stage, urgent FROM alerts WHERE rule = ?", (rule.name,)
    ):
        before.setdefault(row["conversation_id"], []).append((row["stage"], bool(row["urgent"])))
    if rule.type == "crisis":
        yield from _crisis(store, rule, now=now)
        return
    if rule.type == EARLY_FUNNEL:
        found = [one for one in _open(store) if early(rule, one, thresholds)]
    elif rule.type == "advocate":
        found = _praising(store, rule, now=now)
    else:
        found = _asking(store, rule, now=now)
    for one in found:
        key = key_of(rule, one, before.get(one.conversation_id, ()))
        if key is not None:
            yield _with_facts(store, rule, one, key, now=now)


def _found(row: sqlite3.Row, signals: Collection[str] = ()) -> Found:
    return Found(
        conversation_id=row["conversation_id"],
        mention_id=row["mention_id"],
        source=row["source"],
        root_id=row["root_id"],
        at=moment(row["at"]),
        language=row["language"],
        stage=row["stage"],
        probability=row["probability"],
        urgent=bool(row["urgent"]),
        about=tuple((kind, name) for kind, name in json.loads(row["about"])),
        signals=frozenset(signals),
        author=folded(row["handle"], row["author"]),
        followers=row["followers"],
    )


def _open(store: Store) -> list[Found]:
    """The asking post of each conversation in which the choice is open."""
    rows = store.rows(
        f"SELECT {_FOUND}, c.early AS probability, (SELECT group_concat(t.label) FROM tags t "
        "WHERE t.mention_id = m.id AND t.tagger = 'funnel' AND t.kind = 'signal') AS signals "
        "FROM conversations c JOIN mentions m ON m.id = c.early_mention_id "
        "LEFT JOIN authors u ON u.id = m.author_id WHERE c.state = 'early'"
    )
    return [_found(row, (row["signals"] or "").split(",")) for row in rows]


def _praising(store: Store, rule: Rule, *, now: datetime) -> list[Found]:
    rows = store.rows(
        f"{_TAGGED} AND EXISTS (SELECT 1 FROM tags s WHERE s.mention_id = m.id "
        "AND s.tagger = 'funnel' AND s.kind = 'sentiment' AND s.label = 'pos') GROUP BY m.id",
        _span(now - rule.max_age, now) | {"kind": "signal", "labels": '["praise"]'},
    )
    praises = _praises(store, {row["author_id"] for row in rows} - {None}, now)
    return [
        one
        for one, author in ((_found(row), row["author_id"]) for row in rows)
        if praised(rule, one, praises.get(author, 1))
    ]


def _praises(store: Store, authors: Collection[int], now: datetime) -> dict[int, int]:
    """How many posts of each author have praised the brand of late."""
    span = _span(now - timedelta(days=_PRAISE_DAYS), now)
    rows = store.rows(_PRAISES, span | {"authors": json.dumps(sorted(authors))})
    return {row["author_id"]: row["n"] for row in rows}


def _asking(store: Store, rule: Rule, *, now: datetime) -> list[Found]:
    rows = store.rows(
        f"{_TAGGED} AND c.state <> 'decided' AND NOT {ANSWERED} GROUP BY m.id",
        _span(now - rule.max_age, now)
        | {"kind": "signal", "labels": '["product_question", "price_availability"]'},
    )
    return [one for one in map(_found, rows) if unanswered(rule, one, now=now)]


def _crisis(store: Store, rule: Rule, *, now: datetime) -> Iterator[Candidate]:
    """The surest negative post of a spike; none while the last one is still being told of."""
    quiet = max(rule.cooldown, timedelta(hours=rule.hours))
    if store.value(
        "SELECT 1 FROM alerts WHERE rule = ? AND created_at > ?", (rule.name, stamp(now - quiet))
    ):
        return
    posts = _negative(store, rule, now)
    first = store.value("SELECT min(at) FROM mentions")
    if len(posts) < rule.min_count:
        return
    earlier = [now - timedelta(weeks=week) for week in range(1, _WEEKS + 1)]
    observed = [end for end in earlier if end - timedelta(hours=rule.hours) >= moment(first)]
    found = spike(rule, len(posts), [len(_negative(store, rule, end)) for end in observed])
    if found is None:
        return
    post = max(posts, key=lambda one: (one.probability, -one.mention_id))
    yield Candidate(
        key=f"{rule.name}:{stamp(now)[:13]}",
        found=post,
        facts=Facts(probability=1 - found.tail),
        reasons=(
            {"code": "negatives", "value": found.posts},
            {"code": "usual", "value": round(found.usual, 1)},
        ),
    )


def _negative(store: Store, rule: Rule, end: datetime) -> list[Found]:
    rows = store.rows(
        f"{_TAGGED} GROUP BY m.id",
        _span(end - timedelta(hours=rule.hours), end) | {"kind": "sentiment", "labels": '["neg"]'},
    )
    return [one for one in map(_found, rows) if allowed(rule, one)]


def _span(since: datetime, until: datetime) -> dict[str, str]:
    return {"since": stamp(since), "until": stamp(until)}


def _with_facts(store: Store, rule: Rule, one: Found, key: str, *, now: datetime) -> Candidate:
    (post,) = store.rows(
        "SELECT title, text, author_id, replies FROM mentions WHERE id = ?", (one.mention_id,)
    )
    text = document(post["title"], post["text"])
    named = [
        Named(row["kind"], row["name"], row["span_start"], row["span_end"])
        for row in store.rows(
            "SELECT kind, name, span_start, span_end FROM relevant_matches WHERE mention_id = ? "
            "ORDER BY span_start, name",
            (one.mention_id,),
        )
    ]
    hours = max((now - one.at).total_seconds() / 3600, 0.0)
    if rule.type != EARLY_FUNNEL:
        # A question that waits loses nothing by its age; a rule says from when on it waits.
        facts = Facts(
            probability=one.probability,
            age_hours=hours if rule.type == "advocate" else None,
            followers=one.followers,
        )
        return Candidate(
            key=key,
            found=one,
            facts=facts,
            reasons=(*_mention_reasons(store, rule, one, post, now), *_matched(text, named)),
        )
    others = _others(store, one.conversation_id, post["author_id"], one.mention_id)
    replies = max(others, post["replies"] or 0)
    options, options_quote = _options(store, one, post["author_id"])
    fit, fit_quote = fit_of(text, post["title"], named, one.language)
    urgency = store.rows(
        "SELECT span_start, span_end FROM tags WHERE mention_id = ? AND tagger = 'phrases' "
        "AND kind = 'urgency' ORDER BY score DESC LIMIT 1",
        (one.mention_id,),
    )
    signals = store.rows(
        "SELECT label FROM tags WHERE mention_id = ? AND tagger = 'funnel' AND kind = 'signal' "
        "ORDER BY score DESC",
        (one.mention_id,),
    )
    return Candidate(
        key=key,
        found=one,
        facts=Facts(
            probability=one.probability,
            age_hours=hours,
            replies=replies,
            options=options,
            options_quote=options_quote,
            followers=one.followers,
            fit=fit,
            fit_quote=fit_quote,
            urgent=one.urgent,
            urgent_quote=next((_quote(text, span) for span in urgency), None),
        ),
        reasons=(
            {"code": "early_probability", "value": round(one.probability, 3)},
            {"code": "stage", "value": one.stage},
            *_matched(text, named),
            *({"code": "signal", "value": row["label"]} for row in signals),
            {"code": "replies", "value": replies},
        ),
    )


def _mention_reasons(
    store: Store, rule: Rule, one: Found, post: sqlite3.Row, now: datetime
) -> list[Reason]:
    """Why an advocate or a question is told of, beside its probability."""
    if rule.type == "unanswered":
        return [{"code": "waiting", "value": int((now - one.at) / timedelta(hours=1))}]
    author = post["author_id"]
    known = {} if author is None else _praises(store, {author}, now)
    return [{"code": "praises", "value": known.get(author, 1)}]


def _matched(text: str, named: Sequence[Named]) -> list[Reason]:
    """The first place of each name, for the first few names."""
    places: dict[tuple[str, str], Named] = {}
    for one in named:
        places.setdefault((one.kind, one.name), one)
    return [
        {"code": "matched", "value": one.name, "quote": text[one.start : one.end]}
        for one in list(places.values())[:_QUOTES]
    ]


def _others(store: Store, conversation: int, author: int | None, mention: int) -> int:
    """Posts of the conversation by other people; of two unknown authors each counts as another."""
    return int(
        store.value(
            "SELECT count(*) FROM mentions WHERE conversation_id = ? AND id <> ? "
            "AND (author_id IS NULL OR author_id IS NOT ?)",
            (conversation, mention, author),
        )
    )


def _options(store: Store, one: Found, author: int | None) -> tuple[int, str | None]:
    """How many makers and products others have named, and the words of the first who did."""
    rows = store.rows(
        "SELECT e.entity_kind, e.entity, e.span_start, e.span_end, m.title, m.text "
        "FROM conversation_events e JOIN mentions m ON m.id = e.mention_id "
        "WHERE e.conversation_id = ? AND e.kind IN ('option', 'recommendation') "
        "AND e.entity <> '' AND m.id <> ? AND (m.author_id IS NULL OR m.author_id IS NOT ?) "
        "ORDER BY e.at, m.id, e.kind DESC",
        (one.conversation_id, one.mention_id, author),
    )
    named = {(row["entity_kind"], row["entity"]) for row in rows}
    quotes = (_quote(document(row["title"], row["text"]), row) for row in rows)
    return len(named), next((quote for quote in quotes if quote), None)


def _quote(text: str, span: sqlite3.Row) -> str | None:
    return text[span["span_start"] : span["span_end"]] or None
