"""The alert and digest e-mails: what they say (frozen dataclasses) and how that becomes a message.

Headers hold words of the configuration and ours only; for posts see rendering.py.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import date, datetime
from functools import partial

from . import i18n
from .coverage_lines import coverage_line, gap_line, money_line, nothing_line
from .digest_changes import Change
from .digest_lines import (
    advocate_line,
    change_line,
    context_line,
    group_line,
    news_line,
    usual_line,
    voice_picture,
    volume_picture,
    why_line,
)
from .digest_shown import Mark, Move
from .envelope import Rendered
from .explain import (
    Event,
    Outcome,
    Reason,
    chance_line,
    event_line,
    outcome_line,
    why_lines,
)
from .hostile import clean
from .options import Option, option_line
from .rendering import render, source_name
from .scoring import Part
from .statement import SourceCoverage


@dataclass(frozen=True, kw_only=True)
class PostCard:
    """One post. `reach` is "nano", "micro", "macro" or None; `published_at` is aware."""

    author: str | None
    reach: str | None
    source: str
    published_at: datetime
    text: str
    url: str | None


@dataclass(frozen=True, kw_only=True)
class ConversationCard:
    """One conversation: its opening `post`, where it stands and why it is shown.

    `probability` is that of the choice being still open, `about` are entity names, `moved` says
    that something happened since it was last shown, `news` what, as far as that is known;
    `language` is the ISO 639-1 code of the post or "und". `score` is that of its alert, None
    without one. So many other people have `answered`, the first of them `answerers`; `joined`: we
    have too. Others have named `options`.
    """

    title: str
    stage: str
    probability: float
    about: tuple[str, ...]
    reasons: tuple[Reason, ...]
    post: PostCard
    replies: int
    age_hours: float
    moved: bool
    language: str
    news: tuple[Move, ...] = ()
    score: int | None = None
    joined: bool = False
    answered: int = 0
    answerers: tuple[str, ...] = ()
    options: tuple[str, ...] = ()


@dataclass(frozen=True, kw_only=True)
class AlertMessage:
    """One alert. `id` is what `listener alerts show` takes; `timeline` is oldest first.

    `type` is that of the rule. `parts` add up to `score`; `copies` counts other places with the
    same text; `outcome` is None while nothing was heard of one; `feedback` holds for each verdict
    the page that asks for it, nothing without a web address; `unsubscribe` is the page that ends
    such e-mails, None for want of one, "" where there is nothing to end. `conversation_id` and
    `topic` (what its first alert was about) are the same in all alerts of a conversation, so that
    mail programs show them together.
    """

    id: str
    rule: str
    conversation: ConversationCard
    timeline: tuple[PostCard, ...]
    type: str = "early-funnel"
    score: int = 0
    parts: tuple[Part, ...] = ()
    copies: int = 0
    events: tuple[Event, ...] = ()
    outcome: Outcome | None = None
    options: tuple[Option, ...] = ()
    conversation_id: int = 0
    topic: tuple[str, ...] = ()
    feedback: Mapping[str, str] = field(default_factory=dict)
    unsubscribe: str | None = None


@dataclass(frozen=True, kw_only=True)
class AuditCard:
    """A post that raised no alert, to be judged. `number` is what `listener audit judge` takes;

    `links` holds the page for each verdict, nothing without a web address.
    """

    number: int
    post: PostCard
    links: Mapping[str, str] = field(default_factory=dict)


@dataclass(frozen=True, kw_only=True)
class SentimentCount:
    """Mentions of one entity by sentiment toward it."""

    entity: str
    positive: int
    neutral: int
    negative: int


@dataclass(frozen=True, kw_only=True)
class PostGroup:
    """So many `posts` about the same, shown by one of them; `words` are what they share."""

    post: PostCard
    posts: int = 1
    words: tuple[str, ...] = ()


@dataclass(frozen=True, kw_only=True)
class AdvocateCard:
    """Somebody who speaks well of the brand, by their latest such `post`.

    `posts` counts those of 90 days; `rate` is the post's engagement per follower, None if unknown.
    """

    post: PostCard
    posts: int
    rate: float | None = None


@dataclass(frozen=True, kw_only=True)
class DayCount:
    """Mentions of the brand by sentiment toward it in the 24 hours that end on `day`."""

    day: date
    positive: int
    neutral: int
    negative: int

    @property
    def total(self) -> int:
        """All of them."""
        return self.positive + self.neutral + self.negative


@dataclass(frozen=True, kw_only=True)
class DigestMessage:
    """One day of one reader. `day` is a day of `timezone` (an IANA name).

    It covers about so many `days`. `mentions_usual` is what that weekday usually brings, None
    without enough history; `mentions_late` of the `mentions` are from before the period. `stages`
    counts mentions by stage; `changes` are what is unusual; `trend` is oldest first. `join_now` is
    ranked, and `still_open` counts conversations that were shown before and have not moved;
    `held_back` counts alerts withheld by the daily limit, `missed` are those that came to nothing,
    since they did not reach the reader in time. Groups of posts are by size; `audit` is
    the blind sample of what raised no alert. `unsubscribe` is the page that ends such e-mails.
    `marks` is what it shows, for the digests to come.
    """

    day: date
    timezone: str
    brand: str
    mentions: int
    mentions_usual: float | None
    stages: Mapping[str, int]
    sentiment: tuple[SentimentCount, ...]
    share_of_voice: tuple[tuple[str, int], ...]
    join_now: tuple[ConversationCard, ...]
    held_back: int
    praise: tuple[PostGroup, ...]
    complaints: tuple[PostGroup, ...]
    ideas: tuple[PostGroup, ...]
    unanswered: tuple[PostCard, ...]
    coverage: tuple[SourceCoverage, ...]
    audit: tuple[AuditCard, ...] = ()
    days: int = 1
    mentions_late: int = 0
    changes: tuple[Change, ...] = ()
    trend: tuple[DayCount, ...] = ()
    still_open: int = 0
    missed: tuple[ConversationCard, ...] = ()
    advocates: tuple[AdvocateCard, ...] = ()
    marks: tuple[Mark, ...] = ()
    unsubscribe: str | None = None


_STAGES = ("awareness", "consideration", "decision", "post_purchase")


def render_alert(message: AlertMessage, *, language: str, timezone: str) -> Rendered:
    """`message` in `language` ("en" or "es") with times in `timezone` (an IANA name).

    A rule without a name in `language` keeps its own. Raises `ValueError` for a reason, stage,
    signal or language without texts.
    """
    card = message.conversation
    say = partial(i18n.say, language)
    about, topic = (
        i18n.listing(language, [clean(name, 40) for name in names[:3]])
        for names in (card.about, message.topic or card.about)
    )
    source = source_name(language, card.post.source)
    rule = f"rule.{message.rule}"
    early = message.type == "early-funnel"
    kind = "" if early else f".{message.type}"
    subject = say(
        f"alert.subject{kind}" if topic else f"alert.subject_plain{kind}",
        about=topic,
        source=source,
    )
    why = why_lines(language, message.type, message.parts, card.reasons, message.copies)
    return render(
        "alert",
        language,
        timezone,
        subject,
        message=message,
        about=about,
        rule=say(rule) if i18n.has(language, rule) else clean(message.rule, 60),
        headline=say(f"lead.{card.stage if early else message.type}", source=source),
        kicker=say(f"alert.kicker{kind}"),
        standing=chance_line(language, message.type, card.probability),
        options=[option_line(language, option) for option in message.options],
        why=why,
        score=say("why.score", n=message.score) if message.parts else "",
        events=[
            event_line(language, event, moment=partial(i18n.moment, language, timezone=timezone))
            for event in message.events
        ],
        outcome=outcome_line(language, message.outcome) if message.outcome else "",
        feedback=_links(language, "feedback", message.feedback),
    )


def render_digest(message: DigestMessage, *, language: str) -> Rendered:
    """`message` in `language` ("en" or "es"); its times are in the digest's own zone.

    Raises `ValueError` for a reason, stage, signal, state of a source or language without texts.
    """
    if unknown := set(message.stages) - {"none", *_STAGES}:
        raise ValueError(f"no text for stage {sorted(unknown)}; add it to listener/i18n.py")
    nothing = not (
        message.mentions
        or message.join_now
        or message.held_back
        or message.missed
        or message.praise
        or message.complaints
        or message.ideas
        or message.unanswered
        or message.audit
    )
    if message.join_now:
        key, n = "digest.subject_join", len(message.join_now)
    elif nothing:
        key, n = "digest.subject_nothing", None
    else:
        key, n = "digest.subject", message.mentions
    subject = i18n.say(
        language,
        key,
        n=n,
        brand=clean(message.brand, 60),
        day=i18n.short_day(language, message.day),
    )
    total = sum(count for _, count in message.share_of_voice)
    tone = {row.entity: row for row in message.sentiment}
    voice = [(name, n, n / total) for name, n in message.share_of_voice] if total else []
    volume_shown = None if nothing else volume_picture(language, message)
    voice_shown = None if nothing else voice_picture(language, message, voice)
    return render(
        "digest",
        language,
        message.timezone,
        subject,
        images={one.cid: one.png for one in (volume_shown, voice_shown) if one},
        message=message,
        nothing=nothing,
        headline=nothing_line(language, message.coverage) if nothing else "",
        usual=usual_line(language, message),
        changes=[change_line(language, change, message) for change in message.changes],
        stages=[(name, message.stages.get(name, 0)) for name in _STAGES],
        volume=volume_shown,
        voice_picture=voice_shown,
        voice=[(name, n, share, tone.get(name)) for name, n, share in voice],
        join=[_told(language, card) for card in message.join_now],
        missed=[_told(language, card) for card in message.missed],
        groups={
            section: [(one.post, group_line(language, one)) for one in found]
            for section, found in (
                ("complaints", message.complaints),
                ("ideas", message.ideas),
                ("praise", message.praise),
            )
        },
        advocates=[(one.post, advocate_line(language, one)) for one in message.advocates],
        unanswered=[(post, "") for post in message.unanswered],
        covered=coverage_line(language, message.coverage),
        coverage=[
            (
                row,
                gap_line(language, row, timezone=message.timezone),
                money_line(language, row),
            )
            for row in message.coverage
        ],
        audit=[(card, _links(language, "audit", card.links)) for card in message.audit],
    )


def _told(language: str, card: ConversationCard) -> tuple[ConversationCard, str, str, str]:
    """A card with its lines: what is new, why it is shown, who has answered."""
    news = news_line(language, card)
    return card, news[:1].upper() + news[1:], why_line(language, card), context_line(language, card)


def _links(language: str, purpose: str, links: Mapping[str, str]) -> list[tuple[str, str]]:
    """Words and address of each verdict."""
    return [(i18n.say(language, f"{purpose}.{verdict}"), url) for verdict, url in links.items()]
