"""The digest in words and pictures: what is unusual, who has answered, what a chart shows."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import partial
from typing import TYPE_CHECKING

from . import i18n
from .charts import Bar, Share, drawable, voice, volume
from .digest_changes import Change
from .digest_shown import Move
from .explain import reason_line
from .hostile import clean

if TYPE_CHECKING:
    from .messages import AdvocateCard, ConversationCard, DigestMessage, PostGroup

_SAME = 0.05
"""A day is as usual when it differs by less than this share."""
_TOLD_BESIDE = frozenset({"stage", "replies"})
"""Reasons that a card already shows in its heading or its line of facts."""
_FEW = 10
"""Below this a mean is told with a decimal."""
_BARS = 6
_NAME = 40


@dataclass(frozen=True, slots=True, kw_only=True)
class Picture:
    """A chart: its content id, the PNG, and the same in words."""

    cid: str
    png: bytes
    told: str


def usual_line(language: str, message: DigestMessage) -> str:
    """The number of mentions against the usual one, and how many of them are late."""
    lines = [_usual(language, message)]
    if message.mentions_late:
        lines.append(i18n.say(language, "digest.late", n=message.mentions_late))
    return ". ".join(lines)


def _usual(language: str, message: DigestMessage) -> str:
    usual, mentions = message.mentions_usual, message.mentions - message.mentions_late
    if usual is None:
        return i18n.say(language, "digest.no_usual")
    if message.days > 1:
        told = i18n.number(language, usual)
        return i18n.say(language, "digest.usual_days", n=message.days, usual=told)
    change = mentions / usual - 1 if usual >= 1 else 0.0
    if usual < 1 or not mentions:  # a percentage of next to nothing says nothing
        key = "digest.usual"
    elif abs(change) < _SAME:
        key = "digest.same"
    else:
        key = "digest.more" if change > 0 else "digest.fewer"
    return i18n.say(
        language,
        key,
        percent=i18n.percent(language, abs(change)),
        weekday=i18n.weekday(language, message.day),
        usual=i18n.number(language, usual),
    )


def change_line(language: str, change: Change, message: DigestMessage) -> str:
    """A figure against the usual one: Negative mentions of Lumora: 9, usually 3 on Mondays."""
    line = i18n.say(
        language,
        f"change.{change.what}",
        name=clean(change.name, _NAME),
        count=i18n.number(language, change.count),
    )
    told = i18n.decimal if change.usual < _FEW else i18n.number
    told_line = i18n.say(
        language,
        "change.day" if message.days == 1 else "change.days",
        line=line,
        usual=told(language, change.usual),
        weekdays=i18n.weekdays(language, message.day),
    )
    return f"{'↑' if change.count > change.usual else '↓'} {told_line}"


def why_line(language: str, card: ConversationCard, most: int = 2) -> str:
    """At most `most` reasons of a card that its other lines do not show, as a sentence."""
    fresh = [one for one in card.reasons if one.code not in _TOLD_BESIDE]
    return ". ".join(reason_line(language, reason) for reason in fresh[:most])


def news_line(language: str, card: ConversationCard) -> str:
    """What has moved since the card was shown; only that something has where nothing is known."""
    if not card.moved:
        return ""
    return ", ".join(_news(language, move, card.stage) for move in card.news) or i18n.say(
        language, "moved"
    )


def _news(language: str, move: Move, stage: str) -> str:
    return i18n.say(
        language,
        f"news.{move.code}",
        n=move.n,
        count=i18n.number(language, move.n),
        stage=i18n.say(language, f"stage.{stage}"),
    )


def context_line(language: str, card: ConversationCard) -> str:
    """Who has answered and which options are named; empty where nobody has answered."""
    say = partial(i18n.say, language)
    parts = [say("context.joined")] if card.joined else []
    if card.answered:
        people = [clean(name, _NAME) for name in card.answerers]
        if more := card.answered - len(people):
            people.append(say("context.others" if people else "context.people", n=more))
        told = i18n.listing(language, people)
        parts.append(say("context.answered", n=card.answered, people=told))
        names = i18n.listing(language, [clean(name, _NAME) for name in card.options])
        parts.append(say("context.options", names=names) if names else say("context.no_options"))
    line = "; ".join(parts)
    return line[:1].upper() + line[1:]


def group_line(language: str, group: PostGroup) -> str:
    """How many posts say the same, and the words that they share; empty for one post."""
    if group.posts < 2:
        return ""
    line = i18n.say(language, "group", n=group.posts)
    if not group.words:
        return line
    words = ", ".join(i18n.quoted(language, clean(word, 20)) for word in group.words)
    return i18n.say(language, "group.words", line=line, words=words)


def advocate_line(language: str, card: AdvocateCard) -> str:
    """How often somebody speaks well of us, and how far that carries."""
    parts = [i18n.say(language, "advocate.times", n=card.posts)]
    if card.rate:
        rate = f"{i18n.decimal(language, card.rate * 100)}{'%' if language == 'en' else ' %'}"
        parts.append(i18n.say(language, "advocate.rate", percent=rate))
    return ", ".join(parts)


def volume_picture(language: str, message: DigestMessage) -> Picture | None:
    """The last days by sentiment; None for fewer than two days or no mention at all."""
    days = message.trend
    if len(days) < 2 or not any(one.total for one in days):
        return None
    say = partial(i18n.say, language)
    told = ", ".join(f"{one.day.day}: {one.negative}/{one.neutral}/{one.positive}" for one in days)
    return Picture(
        cid="volume@listener",
        png=volume(
            [Bar(str(one.day.day), one.positive, one.neutral, one.negative) for one in days],
            positive=say("positive"),
            neutral=say("neutral"),
            negative=say("negative"),
        ),
        told=say("digest.trend_told", brand=clean(message.brand, _NAME), days=told),
    )


def voice_picture(
    language: str, message: DigestMessage, shares: Sequence[tuple[str, int, float]]
) -> Picture | None:
    """Names with mentions and share (1.0 is all) as bars.

    None below two names and for names that cannot be drawn.
    """
    if len(shares) < 2:
        return None
    bars = [
        Share(
            clean(name, _NAME),
            n,
            f"{i18n.number(language, n)} · {i18n.percent(language, share)}",
            ours=name == message.brand,
        )
        for name, n, share in shares[:_BARS]
    ]
    if not all(drawable(one.name) for one in bars):
        return None
    names = ", ".join(f"{one.name} {one.label}" for one in bars)
    return Picture(
        cid="voice@listener",
        png=voice(bars),
        told=i18n.say(language, "digest.voice_told", names=names),
    )
