"""What alerts and digests say, as plain data: JSON-ready dicts, which webhooks carry.

Like in the mails, texts of posts are cut, cleaned and on one line, and addresses are such that are
safe to click; nothing is here that the mail has not. A key is never renamed or given another
meaning without a new `VERSION`; new keys may come at any time.
"""

from __future__ import annotations

from typing import Any

from .coverage_lines import coverage_line
from .digest_changes import Change
from .explain import Event, Outcome, Reason, why_lines
from .hostile import clean, link
from .messages import AlertMessage, ConversationCard, DigestMessage, PostCard, PostGroup
from .options import Option
from .scoring import Part
from .statement import SourceCoverage
from .store import stamp

VERSION = 1
"""Of the shape of both dicts."""

_POST, _NOTE, _AUTHOR, _NAME, _QUOTE = 1400, 280, 40, 60, 120
"""Most characters, as in the mails: of the post it is about, other posts, names, quotes."""

Data = dict[str, Any]


def alert_data(message: AlertMessage, language: str) -> Data:
    """One alert. `why` holds sentences in `language` ("en" or "es"); times are UTC in ISO 8601.

    Raises `ValueError` for a reason, part or signal without text.
    """
    card = message.conversation
    return {
        "version": VERSION,
        "language": language,
        "id": clean(message.id, _NAME),
        "rule": clean(message.rule, _NAME),
        "type": message.type,
        "score": message.score,
        "why": why_lines(language, message.type, message.parts, card.reasons, message.copies),
        "parts": [_part(part) for part in message.parts],
        "reasons": [_reason(reason) for reason in card.reasons],
        "copies": message.copies,
        "conversation_id": message.conversation_id,
        "conversation": _conversation(card, _POST),
        "timeline": [_post(post, _NOTE) for post in message.timeline],
        "events": [_event(event) for event in message.events],
        "options": [_option(option) for option in message.options],
        "outcome": _outcome(message.outcome) if message.outcome else None,
        "feedback": dict(message.feedback),
    }


def digest_data(message: DigestMessage, language: str) -> Data:
    """One day of one reader. `covered` is a sentence in `language` ("en" or "es").

    Raises `ValueError` for a state of a source without text.
    """
    return {
        "version": VERSION,
        "language": language,
        "day": message.day.isoformat(),
        "timezone": message.timezone,
        "days": message.days,
        "brand": clean(message.brand, _NAME),
        "mentions": message.mentions,
        "mentions_usual": message.mentions_usual,
        "mentions_late": message.mentions_late,
        "changes": [_change(change) for change in message.changes],
        "stages": dict(message.stages),
        "sentiment": [
            {
                "entity": clean(row.entity, _NAME),
                "positive": row.positive,
                "neutral": row.neutral,
                "negative": row.negative,
            }
            for row in message.sentiment
        ],
        "share_of_voice": [
            {"entity": clean(entity, _NAME), "mentions": count}
            for entity, count in message.share_of_voice
        ],
        "trend": [
            {
                "day": count.day.isoformat(),
                "positive": count.positive,
                "neutral": count.neutral,
                "negative": count.negative,
            }
            for count in message.trend
        ],
        "join_now": [_conversation(card, _NOTE) for card in message.join_now],
        "still_open": message.still_open,
        "held_back": message.held_back,
        "advocates": [
            {"post": _post(card.post, _NOTE), "posts": card.posts, "rate": card.rate}
            for card in message.advocates
        ],
        "praise": [_group(group) for group in message.praise],
        "complaints": [_group(group) for group in message.complaints],
        "ideas": [_group(group) for group in message.ideas],
        "unanswered": [_post(post, _NOTE) for post in message.unanswered],
        "covered": coverage_line(language, message.coverage),
        "coverage": [_source(row) for row in message.coverage],
        "audit": [
            {"number": card.number, "post": _post(card.post, _NOTE), "links": dict(card.links)}
            for card in message.audit
        ],
    }


def _conversation(card: ConversationCard, length: int) -> Data:
    return {
        "title": clean(card.title, _QUOTE),
        "stage": card.stage,
        "probability": round(card.probability, 4),
        "about": [clean(name, _NAME) for name in card.about],
        "replies": card.replies,
        "age_hours": round(card.age_hours, 2),
        "moved": card.moved,
        "news": [{"code": move.code, "n": move.n} for move in card.news],
        "score": card.score,
        "joined": card.joined,
        "answered": card.answered,
        "answerers": [clean(name, _AUTHOR) for name in card.answerers],
        "options": [clean(name, _NAME) for name in card.options],
        "language": clean(card.language, _NAME),
        "post": _post(card.post, length),
    }


def _post(post: PostCard, length: int) -> Data:
    found = link(post.url)
    return {
        "author": clean(post.author, _AUTHOR) if post.author else None,
        "reach": post.reach,
        "source": clean(post.source, _NAME),
        "published_at": stamp(post.published_at),
        "text": clean(post.text, length),
        "url": found.href if found else None,
        "host": found.host if found else None,
    }


def _group(group: PostGroup) -> Data:
    return {
        "post": _post(group.post, _NOTE),
        "posts": group.posts,
        "words": [clean(word, _NAME) for word in group.words],
    }


def _change(change: Change) -> Data:
    return {
        "what": change.what,
        "name": clean(change.name, _NAME),
        "count": change.count,
        "usual": round(change.usual, 2),
    }


def _option(option: Option) -> Data:
    return {
        "name": clean(option.name, _NAME),
        "ours": option.ours,
        "asker": option.asker,
        "others": option.others,
        "recommended": option.recommended,
    }


def _part(part: Part) -> Data:
    return {
        "code": part.code,
        "points": part.points,
        "value": _value(part.value),
        "quote": _quote(part.quote),
    }


def _reason(reason: Reason) -> Data:
    return {
        "code": reason.code,
        "value": _value(reason.value),
        "quote": _quote(reason.quote),
    }


def _event(event: Event) -> Data:
    return {
        "at": stamp(event.at),
        "kind": event.kind,
        "entity": clean(event.entity, _NAME),
        "author": clean(event.author, _AUTHOR) if event.author else None,
        "quote": _quote(event.quote),
    }


def _outcome(outcome: Outcome) -> Data:
    return {
        "outcome": outcome.outcome,
        "entity": clean(outcome.entity, _NAME) if outcome.entity else None,
        "quote": _quote(outcome.quote),
    }


def _source(row: SourceCoverage) -> Data:
    return {
        "source": clean(row.source, _NAME),
        "state": row.state,
        "fetched": row.fetched,
        "kept": row.kept,
        "new": row.new,
        "truncated": row.truncated,
        "limited": row.limited,
        "failures": row.failures,
        "blind_minutes": row.blind_minutes,
        "lost_minutes": row.lost_minutes,
        "covered_until": stamp(row.covered_until) if row.covered_until else None,
        "spent_dollars": row.spent / 1_000_000,
        "cap_dollars": None if row.cap is None else row.cap / 1_000_000,
    }


def _value(value: float | str | None) -> float | str | None:
    return clean(value, _QUOTE) if isinstance(value, str) else value


def _quote(quote: str | None) -> str | None:
    return clean(quote, _QUOTE) if quote else None
