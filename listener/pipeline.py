"""The pipeline: its parts made from the configuration, and one full round of its steps.

Every step reads rows and writes rows, so each can be run alone, stopped and run again.
"""

from __future__ import annotations

import hashlib
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from functools import cached_property
from typing import TYPE_CHECKING

from connectors.base import Budget

from . import (
    __version__,
    alerts,
    analyse,
    audit,
    conversations,
    duplicates,
    relevance,
    rerank,
    rollup,
)
from .channels import Channel
from .channels_open import open_channels
from .collect import Collected, collect, record
from .config import Config
from .deliver import deliver
from .followups import follow_up
from .rules import watched
from .slots import enqueue_digest
from .sources import build as build_sources
from .steps import ProgressOf, silent
from .store import Store
from .upkeep import Swept, sweep, with_reserve
from .vocabulary import exclusions, queries, requirements, senses, terms

if TYPE_CHECKING:
    from nlp.encoder import FunnelTagger
    from nlp.first_stage import StagedTagger
    from nlp.matching import Matcher
    from nlp.phrases import PhraseTagger
    from nlp.replaced import ReplacedTagger

    from .models import Models


# Posts whose copies are sought before an alert is raised.
_ASKING = "SELECT early_mention_id AS id FROM conversations WHERE state = 'early'"


def _digest_of(*parts: object) -> str:
    return hashlib.sha256(repr((__version__, *parts)).encode()).hexdigest()[:16]


@dataclass(frozen=True)
class Parts:
    """What the steps need, made once from the configuration and only when a step asks for it."""

    config: Config

    @cached_property
    def matcher(self) -> Matcher:
        """Finds brand, product, competitor and category terms."""
        from nlp.matching import Matcher

        config = self.config
        return Matcher(terms(config), exclusions(config), requirements(config))

    @property
    def vocabulary_version(self) -> str:
        """Changes with the terms; mentions are then matched again."""
        config = self.config
        return _digest_of(terms(config), exclusions(config), requirements(config))

    @cached_property
    def models(self) -> Models:
        """The models, shipped and other; each loads at its first text."""
        from .models import Models

        return Models(self.config)

    @cached_property
    def tagger(self) -> FunnelTagger | ReplacedTagger | StagedTagger:
        """The shipped model, with the heads that the configuration or `listener train` replaces."""
        return self.models.tagger

    @cached_property
    def rules(self) -> conversations.Rules:
        """When a post counts as early: the model's thresholds, or those of the configuration."""
        least, stages, kinds = watched(self.config, self.models.thresholds)
        return conversations.Rules(thresholds=least, stages=stages, kinds=kinds)

    @property
    def rules_version(self) -> str:
        """Changes with the rules or the model; conversations are then judged again."""
        return _digest_of(
            self.rules, self.tagger.version, self.phrases.version, self.vocabulary_version
        )

    @cached_property
    def phrases(self) -> PhraseTagger:
        """Finds the wordings that close a conversation or hurry."""
        from nlp.phrases import PhraseTagger

        return PhraseTagger()

    @cached_property
    def channels(self) -> Mapping[str, Channel]:
        """The enabled channels by name."""
        return open_channels(self.config.channels)


@dataclass(kw_only=True)
class Round:
    """What one round did."""

    collected: list[Collected] = field(default_factory=list)
    matched: int = 0
    tagged: int = 0
    conversations: int = 0
    alerts: int = 0
    to_mail: int = 0
    delivered: Counter[str] = field(default_factory=Counter)


def gather(
    store: Store,
    parts: Parts,
    *,
    only: Sequence[str] = (),
    budget: Budget = Budget(),
    since: str = "",
    now: datetime,
    progress: ProgressOf = silent,
) -> list[Collected]:
    """Collect from the enabled sources (or those named in `only`); `since` as in `collect`.

    A look back leaves out files and the sample, which give all they have anyway.
    """
    sources, failed = build_sources(parts.config, only)
    if since:
        sources = [one for one in sources if not one.connector.capabilities().prefiltered]
    for result in failed:
        record(store, result, now)
    return failed + collect(
        store,
        with_reserve(store, sources, parts.config.upkeep, now=now),
        queries(parts.config),
        parts.matcher,
        budget=budget,
        since=since,
        now=now,
        progress=progress,
    )


def revisit(
    store: Store,
    parts: Parts,
    *,
    only: Sequence[str] = (),
    now: datetime,
    progress: ProgressOf = silent,
) -> list[Collected]:
    """Read the watched conversations again that are due, from the enabled sources (or `only`)."""
    config = parts.config
    sources, _ = build_sources(config, only)
    sources = with_reserve(store, sources, config.upkeep, now=now)
    return follow_up(
        store,
        sources,
        parts.matcher,
        config.followups,
        not_authors=config.sources.exclude_authors,
        now=now,
        progress=progress,
    )


def look_up(
    store: Store,
    config: Config,
    *,
    only: Sequence[str] = (),
    everything: bool = False,
    now: datetime,
    progress: ProgressOf = silent,
) -> list[Swept]:
    """Look stored posts up again at the enabled sources (or those named in `only`).

    What is due, or `everything`. Sources that cannot be made are failed rows.
    """
    sources, failed = build_sources(config, only)
    broken = [Swept(source=one.source, status="failed", error=one.error) for one in failed]
    return broken + sweep(
        store, sources, config.upkeep, everything=everything, now=now, progress=progress
    )


def understand(store: Store, parts: Parts, *, progress: ProgressOf = silent) -> tuple[int, int]:
    """Match and tag what is new, refresh the roll-up; returns how many were matched and tagged."""
    matched = analyse.match(store, parts.matcher, parts.vocabulary_version, progress=progress)
    analyse.tag(store, parts.phrases, progress=progress)
    tagged = analyse.tag(store, parts.tagger, progress=progress)
    encoder = parts.models.encoder
    relevance.judge(store, senses(parts.config), encoder, parts.tagger.version, progress=progress)
    rollup.refresh(store, brand=parts.config.brand.name)
    return matched, tagged


def watch(
    store: Store, parts: Parts, *, now: datetime, progress: ProgressOf = silent
) -> tuple[int, int, int]:
    """Judge changed conversations and raise alerts; returns judged, new alerts, alerts to mail."""
    judged = conversations.watch(store, parts.rules, parts.rules_version, progress=progress)
    new = mailed = 0
    if parts.config.alerts.enabled:
        duplicates.find(store, [row["id"] for row in store.rows(_ASKING)])
        found = alerts.find(store, parts.config, thresholds=parts.models.thresholds, now=now)
        if found:
            encoder = parts.models.encoder
            found = alerts.ranked(store, found, encoder, rerank.learn(store, encoder))
        new, mailed = alerts.save(store, found, parts.config, now=now)
        audit.draw(store, now=now)
    return judged, new, mailed


def run_round(store: Store, parts: Parts, *, now: datetime, progress: ProgressOf = silent) -> Round:
    """Collect, match, tag, watch, digest, deliver; repeats nothing that an earlier round did."""
    channels = parts.channels  # what is wrong with them is said before the work, not after it
    done = Round()
    done.collected = gather(store, parts, now=now, progress=progress)
    done.collected += revisit(store, parts, now=now, progress=progress)
    done.matched, done.tagged = understand(store, parts, progress=progress)
    done.conversations, done.alerts, done.to_mail = watch(store, parts, now=now, progress=progress)
    if parts.config.digest.enabled:
        enqueue_digest(store, parts.config, None, now=now)
    done.delivered = deliver(store, parts.config, channels, now=now, progress=progress)
    return done
