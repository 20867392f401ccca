"""The alert and digest e-mails: what they say (frozen dataclasses) and how that becomes a message.

Posts are hostile text. They pass `clean` and Jinja2's autoescape, and they never meet the MJML
compiler: the templates are compiled to HTML first and filled afterwards, so nothing in a post can
become a tag or a template expression. Headers hold words of the configuration and ours only.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import date, datetime
from functools import cache, partial
from importlib import resources
from typing import Any

from jinja2 import Environment, FunctionLoader, StrictUndefined, select_autoescape
from mjml import mjml2html

from . import i18n
from .envelope import BODY_LIMIT, Rendered, encoded
from .explain import Event, Outcome, Reason, event_line, outcome_line, reason_line, why_lines
from .hostile import clean, link
from .scoring import Part


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
    that something happened since it was last shown, `language` is the ISO 639-1 code of the post
    or "und".
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


@dataclass(frozen=True, kw_only=True)
class AlertMessage:
    """One alert. `id` is what `listener alerts show` takes; `timeline` is oldest first.

    `type` is that of the rule. `parts` add up to `score`; `copies` counts other places with the
    same text; `outcome` is None while nothing was heard of one; `feedback` holds for each verdict
    the page that asks for it, nothing without a web address.
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
    feedback: Mapping[str, str] = field(default_factory=dict)


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
class SourceCoverage:
    """Records of one source: read, kept after matching, new.

    `state` is "ok", "partial", "waiting" (it asked to wait), "failed" or "silent" (enabled, but not
    asked in the period); `failed` is the error behind it or None. An error makes "ok" "failed".
    """

    source: str
    fetched: int
    kept: int
    new: int
    failed: str | None
    state: str = "ok"

    def __post_init__(self) -> None:
        if self.state == "ok" and self.failed is not None:
            object.__setattr__(self, "state", "failed")


@dataclass(frozen=True, kw_only=True)
class DigestMessage:
    """One day of one reader. `day` is a day of `timezone` (an IANA name).

    `mentions_usual` is what that weekday usually brings, None without enough history; `stages`
    counts mentions by stage; `join_now` is ranked; `held_back` counts alerts withheld by the daily
    limit; `audit` is the blind sample of what raised no alert.
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
    praise: tuple[PostCard, ...]
    complaints: tuple[PostCard, ...]
    ideas: tuple[PostCard, ...]
    unanswered: tuple[PostCard, ...]
    coverage: tuple[SourceCoverage, ...]
    audit: tuple[AuditCard, ...] = ()


@dataclass(frozen=True, kw_only=True)
class _Limits:
    """How much of a message is shown: numbers of cards, rows and events, characters of a post."""

    cards: int
    posts: int
    rows: int
    events: int
    chars: int


_TIERS = (
    _Limits(cards=50, posts=3, rows=12, events=50, chars=280),
    _Limits(cards=10, posts=3, rows=12, events=20, chars=280),
    _Limits(cards=5, posts=2, rows=8, events=8, chars=160),
    _Limits(cards=2, posts=1, rows=3, events=3, chars=60),
)
"""Tried in order until the e-mail is small enough."""

_SOURCES = {
    "bluesky": "Bluesky",
    "hackernews": "Hacker News",
    "mastodon": "Mastodon",
    "reddit": "Reddit",
    "rss": "RSS",
    "x": "X",
    "youtube": "YouTube",
}
_SHOWN = frozenset({"stage", "replies"})
"""Reasons that a card already shows in its heading or its line of facts."""
_SAME = 0.05
"""A day is as usual when it differs by less than this share."""
_STAGES = ("awareness", "consideration", "decision", "post_purchase")


def render_alert(message: AlertMessage, *, language: str, timezone: str) -> Rendered:
    """`message` in `language` ("en" or "es") with times in `timezone` (an IANA name).

    A rule without a name in `language` keeps its own. Raises `ValueError` for a reason, stage,
    signal or language without texts.
    """
    card = message.conversation
    say = partial(i18n.say, language)
    about = i18n.listing(language, [clean(name, 40) for name in card.about[:3]])
    source = source_name(language, card.post.source)
    rule = f"rule.{message.rule}"
    early = message.type == "early-funnel"
    kind = "" if early else f".{message.type}"
    subject = say(
        f"alert.subject{kind}" if about else f"alert.subject_plain{kind}",
        about=about,
        source=source,
        stage=say(f"stage.{card.stage}"),
    )
    why = why_lines(language, message.type, message.parts, card.reasons, message.copies)
    return _render(
        "alert",
        language,
        timezone,
        subject,
        message=message,
        about=about,
        rule=say(rule) if i18n.has(language, rule) else clean(message.rule, 60),
        headline=say(f"lead.{card.stage if early else message.type}", source=source),
        kicker=say(f"alert.kicker{kind}"),
        preview=why[0] if why else subject,
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
    posts = message.praise + message.complaints + message.ideas + message.unanswered
    nothing = not (
        message.mentions or message.join_now or message.held_back or posts or message.audit
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
    unread = sum(row.state != "ok" for row in message.coverage)
    total = sum(count for _, count in message.share_of_voice)
    return _render(
        "digest",
        language,
        message.timezone,
        subject,
        message=message,
        nothing=nothing,
        headline=_nothing_line(language, unread) if nothing else "",
        usual=_usual_line(language, message),
        stages=[(name, message.stages.get(name, 0)) for name in _STAGES],
        voice=[(name, n, n / total) for name, n in message.share_of_voice] if total else [],
        sentiment=[row for row in message.sentiment if row.positive + row.neutral + row.negative],
        covered=_coverage_line(language, len(message.coverage), unread),
        audit=[(card, _links(language, "audit", card.links)) for card in message.audit],
    )


def _links(language: str, purpose: str, links: Mapping[str, str]) -> list[tuple[str, str]]:
    """Words and address of each verdict."""
    return [(i18n.say(language, f"{purpose}.{verdict}"), url) for verdict, url in links.items()]


def source_name(language: str, source: str) -> str:
    """The name people know a source by; one that is not known keeps its own."""
    if source == "sample":
        return i18n.say(language, "source.sample")
    return _SOURCES.get(source) or clean(source, 40)


def _nothing_line(language: str, unread: int) -> str:
    if unread:
        return i18n.say(language, "digest.nothing_doubt", n=unread)
    return i18n.say(language, "digest.nothing")


def _coverage_line(language: str, sources: int, unread: int) -> str:
    if not sources:
        return i18n.say(language, "coverage.none")
    if unread:
        return i18n.say(language, "coverage.unread", n=unread)
    return i18n.say(language, "coverage.ok", n=sources)


def _usual_line(language: str, message: DigestMessage) -> str:
    usual, mentions = message.mentions_usual, message.mentions
    if usual is None:
        return i18n.say(language, "digest.no_usual")
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


def _new_reasons(language: str, card: ConversationCard, most: int) -> list[str]:
    """Lines for at most `most` reasons of a card that its other lines do not show."""
    fresh = [reason for reason in card.reasons if reason.code not in _SHOWN]
    return [reason_line(language, reason) for reason in fresh[:most]]


def _after(title: str, text: str) -> str:
    """What `text` says beyond a title that may be its beginning."""
    start = title.removesuffix("…")
    return text[len(start) :].lstrip(" .,;:!?…") if start and text.startswith(start) else text


def _render(name: str, language: str, timezone: str, subject: str, **values: object) -> Rendered:
    subject = clean(subject, 150)
    words: dict[str, Any] = {
        text: partial(getattr(i18n, text), language)
        for text in (
            "say",
            "number",
            "percent",
            "long_day",
            "age",
            "has",
        )
    }
    words["moment"] = partial(i18n.moment, language, timezone=timezone)
    words["source_name"] = partial(source_name, language)
    words["new_reasons"] = partial(_new_reasons, language)
    rendered = Rendered(subject=subject, text="", html="")
    for limits in _TIERS:
        context = values | words | {"limits": limits, "language": language, "subject": subject}
        context["timezone"] = timezone
        rendered = Rendered(
            subject=subject,
            text=_environment().get_template(f"{name}.txt").render(context),
            html=_environment().get_template(f"{name}.mjml").render(context),
        )
        if encoded(rendered.text)[0] + encoded(rendered.html)[0] <= BODY_LIMIT:
            break
    return rendered


@cache
def _environment() -> Environment:
    environment = Environment(
        loader=FunctionLoader(_template),
        autoescape=select_autoescape(enabled_extensions=("html", "mjml")),
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
        keep_trailing_newline=True,
    )
    environment.filters |= {"clean": clean}
    environment.globals |= {"after": _after, "link": link}
    return environment


def _template(name: str) -> str:
    source = _read(name)
    return mjml2html(source, fonts={}, include_loader=_read) if name.endswith(".mjml") else source


def _read(path: str) -> str:
    return resources.files("listener").joinpath("templates", path).read_text("utf-8")
