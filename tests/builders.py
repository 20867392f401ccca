"""Small parts that the tests of the core are built with: a configuration, mentions and fakes."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import closing
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from email.message import EmailMessage
from functools import cache
from pathlib import Path
from typing import Any

from connectors.base import (
    Author,
    Budget,
    Capabilities,
    Cost,
    Cursor,
    Mention,
    Page,
    Query,
    Update,
)
from listener import config as configuration
from listener.analyse import match, tag
from listener.channels import ChannelError, Parcel
from listener.config import Config
from listener.conversations import Rules, watch
from listener.ingest import Place, save_page
from listener.store import Store
from listener.vocabulary import exclusions, terms
from nlp.base import Tag
from nlp.matching import Matcher

NOW = datetime(2026, 3, 10, 12, tzinfo=UTC)
PLACE = Place("fake", "")
RULES = Rules(thresholds={"*": 0.5})
VOCABULARY = """
[brand]
name = "Lumora"
[[products]]
name = "Lumora Brisa"
aliases = ["Brisa"]
[[competitors]]
name = "Moketto"
[[categories]]
name = "espresso machine"
words = { en = ["espresso machine"], es = ["cafetera"] }
"""
RECIPIENTS = """
[[recipients]]
name = "Ana"
email = "ana@example.com"
language = "es"
receives = ["alerts", "digest"]
[[recipients]]
name = "Ben"
email = "ben@example.com"
receives = ["alerts"]
[[recipients]]
name = "Cleo"
email = "cleo@example.com"
receives = ["digest"]
"""


def config(settings: str = RECIPIENTS) -> Config:
    """An invented maker of coffee machines; `settings` is TOML behind its vocabulary."""
    return configuration.parse(VOCABULARY + settings, file="config.toml")


@cache
def matcher() -> Matcher:
    """Finds the words of `config()`."""
    return Matcher(terms(config()), exclusions(config()))


def at(hours: float) -> datetime:
    """So many hours after NOW."""
    return NOW + timedelta(hours=hours)


def author(name: str, *, source: str = "forum", followers: int | None = None) -> Author:
    return Author(source=source, native_id=name, handle=f"@{name}", name=name, followers=followers)


def mention(
    native_id: str,
    text: str = "Which espresso machine?",
    *,
    by: str | None = None,
    published_at: datetime = NOW,
    source: str = "forum",
    **rest: Any,
) -> Mention:
    return Mention(
        source=source,
        native_id=native_id,
        text=text,
        published_at=published_at,
        author=author(by, source=source) if by else None,
        **rest,
    )


def tombstone(native_id: str) -> Update:
    return Update(source="forum", native_id=native_id, kind="tombstone", at=NOW)


def edit(native_id: str, text: str) -> Update:
    return Update(source="forum", native_id=native_id, kind="edit", at=NOW, text=text)


def put(
    store: Store, *mentions: Mention, updates: Sequence[Update] = (), now: datetime = NOW
) -> int:
    return save_page(store, PLACE, mentions, updates=updates, cursor=None, now=now)


@dataclass(frozen=True, kw_only=True)
class Labels:
    """What the fake tagger says of one text."""

    stage: str = "none"
    score: float = 0.9
    early: float = 0.0
    promo: float = 0.0
    sentiment: str = "neu"
    signals: Mapping[str, float] = field(default_factory=dict)


ASKS = Labels(stage="consideration", early=0.9)
DECIDES = Labels(stage="decision")
OWNS = Labels(stage="post_purchase")
ADVERT = Labels(stage="consideration", early=0.9, promo=0.9)


@dataclass
class FakeTagger:
    """Tags by the text, as the shipped model gives them; texts not in `labels` have none of it."""

    labels: Mapping[str, Labels] = field(default_factory=dict)
    version: str = "1"
    name: str = "funnel"
    seen: list[tuple[str, str]] = field(default_factory=list)
    meanwhile: Callable[[], None] = lambda: None

    def tag(self, texts: Sequence[str], langs: Sequence[str]) -> list[tuple[Tag, ...]]:
        self.seen += zip(texts, langs, strict=True)
        self.meanwhile()
        return [self._tags(self.labels.get(text, Labels())) for text in texts]

    def _tags(self, labels: Labels) -> tuple[Tag, ...]:
        return (
            Tag(kind="stage", label=labels.stage, score=labels.score),
            Tag(kind="sentiment", label=labels.sentiment, score=0.8),
            Tag(kind="early", label="1", score=labels.early),
            Tag(kind="promo", label="1", score=labels.promo),
            *(Tag(kind="signal", label=one, score=p) for one, p in labels.signals.items()),
        )


@dataclass(frozen=True)
class FakePhrases:
    """Finds its wordings, each with a label, in texts, as the phrase tagger gives them."""

    wordings: Mapping[str, str]
    version: str = "1"
    name: str = "phrases"

    def tag(self, texts: Sequence[str], langs: Sequence[str]) -> list[tuple[Tag, ...]]:
        return [
            tuple(
                Tag(
                    kind="urgency" if label == "deadline" else "outcome",
                    label=label,
                    score=0.9,
                    start=text.index(wording),
                    end=text.index(wording) + len(wording),
                )
                for wording, label in self.wordings.items()
                if wording in text
            )
            for text in texts
        ]


def analyse(
    store: Store,
    tagger: FakeTagger,
    *,
    phrases: FakePhrases | None = None,
    rules: Rules = RULES,
    version: str = "1",
) -> int:
    """Match, tag and watch what is new; returns how many conversations were judged."""
    match(store, matcher(), "1")
    tag(store, tagger)
    if phrases is not None:
        tag(store, phrases)
    return watch(store, rules, version)


@dataclass
class FakeConnector:
    """Gives its pages, then raises `error` if there is one; remembers what it was asked."""

    pages: Sequence[Page] = ()
    error: Exception | None = None
    by_query: bool = False
    prefiltered: bool = True
    source: str = "forum"
    asked: list[tuple[str | None, Cursor | None]] = field(default_factory=list)

    def capabilities(self) -> Capabilities:
        return Capabilities(by_query=self.by_query, prefiltered=self.prefiltered, gives="posts")

    def collect(
        self, query: Query | None, cursor: Cursor | None, *, budget: Budget, now: datetime
    ) -> Iterator[Page]:
        self.asked.append((query.name if query else None, cursor))
        yield from self.pages
        if self.error is not None:
            raise self.error

    def check(self, *, now: datetime) -> str:
        return "works"


def page(*mentions: Mention, returned: int | None = None, cost: Cost = Cost()) -> Page:
    return Page(
        mentions=mentions,
        cursor={"last": mentions[-1].native_id} if mentions else None,
        returned=len(mentions) if returned is None else returned,
        cost=cost,
    )


@dataclass
class MemoryChannel:
    """Keeps what was sent; raises the next of `answers` instead, as long as there is one."""

    name: str = "outbox"
    answers: list[ChannelError] = field(default_factory=list)
    parcels: list[Parcel] = field(default_factory=list)
    meanwhile: Callable[[], None] = lambda: None

    def send(self, parcel: Parcel) -> None:
        self.meanwhile()
        if self.answers:
            raise self.answers.pop(0)
        self.parcels.append(parcel)

    def check(self) -> str:
        return "works"

    def close(self) -> None:
        """Nothing is open."""

    @property
    def sent(self) -> list[EmailMessage]:
        return [parcel.message for parcel in self.parcels]

    def to(self) -> list[str]:
        return [str(message["To"]) for message in self.sent]


def store_in(folder: Path) -> Iterator[Store]:
    """An open store of its own, for fixtures."""
    with closing(Store(folder / "listener.db")) as store:
        yield store
