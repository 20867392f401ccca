"""Once through the stored history, some conversations at a time, for everything to be replayed."""

from __future__ import annotations

import sqlite3
from bisect import bisect_right
from collections.abc import Callable, Collection, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from datetime import datetime
from zoneinfo import ZoneInfo

from nlp.base import STAGES
from nlp.baselines import RegexBaseline

from . import history, replay, replay_brand
from .config import Config
from .history import Order
from .replay import Sighting, Step, Thread
from .rules import EARLY_FUNNEL, Rule, rules_of, watched
from .scoring import score
from .store import stamp
from .timeline import Rules, follow

ENDINGS = frozenset({"decision", "purchase", "outcome"})
Way = tuple[int, bool, bool]


@dataclass(frozen=True, kw_only=True)
class Setting:
    """A configuration to replay: `file` names it, `thresholds` are the model's, by language."""

    file: str
    config: Config
    thresholds: Mapping[str, float]

    @property
    def rules(self) -> tuple[Rule, ...]:
        """Its enabled rules."""
        return rules_of(self.config)

    @property
    def zone(self) -> ZoneInfo:
        """The zone of its days and quiet hours."""
        return ZoneInfo(self.config.digest.timezone)

    def judging(self) -> Rules:
        """By what it judges conversations, as a live round does."""
        least, stages, kinds = watched(self.config, self.thresholds)
        return Rules(thresholds={"*": 0.0} | least, stages=stages, kinds=kinds)


@dataclass(frozen=True, kw_only=True)
class System:
    """What is replayed in one column: a rule of a setting, as it is or as a baseline.

    `words`: word lists instead of the stored tags; `single`: each post alone, by its probability.
    """

    name: str
    setting: Setting
    rule: Rule
    words: bool = False
    single: bool = False

    @property
    def way(self) -> Way:
        """What it shares with other systems: how conversations are judged."""
        return id(self.setting), self.words, self.single

    @property
    def early(self) -> bool:
        """Whether it looks for choices that are open."""
        return self.rule.type == EARLY_FUNNEL


@dataclass(kw_only=True)
class Walk:
    """What a system saw: posts to alert on, and by unit when they could be acted on, when not.

    `ranked` are those of labelled conversations whatever their probability.
    """

    sightings: list[Sighting] = field(default_factory=list)
    ranked: list[Sighting] = field(default_factory=list)
    courses: dict[int, list[tuple[datetime, bool]]] = field(default_factory=dict)


@dataclass(kw_only=True)
class Told:
    """What the history holds, whatever is replayed.

    `active` conversations went on in the span that was asked for; `endings` are the decisions,
    purchases and outcomes of askers by conversation, as (at, post id, author), in their order;
    `posts` is how many were read.
    """

    active: set[int] = field(default_factory=set)
    endings: dict[int, list[tuple[str, int, int | None]]] = field(default_factory=dict)
    posts: int = 0


def walk(
    connection: sqlite3.Connection,
    systems: Sequence[System],
    labelled: Collection[int],
    *,
    since: datetime,
    until: datetime,
    order: Order,
) -> tuple[Told, list[Walk]]:
    """What the history holds, and what each of `systems` saw of it, in their order.

    Conversations are judged anew, with less to start from, where `labelled` are to be ranked.
    """
    told = Told()
    early = {one.way: (one, one.setting.judging(), Walk()) for one in systems if one.early}
    brand = [None if one.early else Walk() for one in systems]
    praise: list[replay_brand.Named] = []
    negative: list[replay_brand.Named] = []
    truth = systems[0].setting.judging()
    words = any(one.words for one in systems)
    for threads in history.threads(connection, order, since=since, until=until):
        by_words = _by_words(connection, threads) if words else threads
        for thread in threads:
            _tell(told, thread, truth, stamp(since))
        for system, rules, seen in early.values():
            _see(connection, by_words if system.words else threads, system, rules, labelled, seen)
        for system, own in zip(systems, brand, strict=True):
            if own is not None and system.rule.type == "unanswered":
                _add(own, _unanswered(threads, system))
        if any(brand):
            for thread in threads:
                praise += replay_brand.praises_in(thread)
                negative += replay_brand.negatives_in(thread)
    known = _known_since(connection, order) if any(brand) else str
    for system, own in zip(systems, brand, strict=True):
        if own is not None and system.rule.type == "advocate":
            _add(own, replay_brand.advocate_steps(praise, system.rule))
        elif own is not None and system.rule.type == "crisis":
            _add(own, replay_brand.crisis_steps(negative, system.rule, known))
    return told, [own or early[one.way][2] for one, own in zip(systems, brand, strict=True)]


def _tell(told: Told, thread: Thread, rules: Rules, since: str) -> None:
    told.posts += len(thread.heard)
    if any(one.known_at >= since for one in thread.heard):
        told.active.add(thread.conversation)
    authors = {one.post.id: one.post.author_id for one in thread.heard}
    events = follow([one.post for one in thread.heard], rules).events
    endings = [
        (event.at, event.post_id, authors[event.post_id])
        for event in events
        if event.kind in ENDINGS
    ]
    if endings:
        told.endings[thread.conversation] = endings


def _see(
    connection: sqlite3.Connection,
    threads: Sequence[Thread],
    system: System,
    rules: Rules,
    labelled: Collection[int],
    seen: Walk,
) -> None:
    """Add what one way of judging sees of these conversations."""
    steps_of = replay.single_steps if system.single else replay.steps
    steps = [step for thread in threads for step in steps_of(thread, rules)]
    for step in steps:
        seen.courses.setdefault(step.unit, []).append((step.at, step.state == "early"))
    anyhow = replace(rules, thresholds={"*": 0.0})
    ranked = [
        step
        for thread in threads
        if thread.conversation in labelled
        for step in steps_of(thread, anyhow)
    ]
    if not system.single:
        steps, ranked = _fitted(connection, threads, steps), _fitted(connection, threads, ranked)
    seen.sightings += _sightings(steps)
    seen.ranked += _sightings(ranked)


def _fitted(
    connection: sqlite3.Connection, threads: Sequence[Thread], steps: Sequence[Step]
) -> list[Step]:
    """The steps with how well their posts fit, as the texts tell."""
    wanted = {step.found.mention_id for step in steps if step.found}
    texts = history.texts(connection, wanted)
    fits = {
        one.post.id: history.fit(one.post, *texts[one.post.id])
        for thread in threads
        for one in thread.heard
        if one.post.id in wanted
    }
    return [
        replace(step, facts=replace(step.facts, fit=fits[step.found.mention_id]))
        if step.found and step.facts
        else step
        for step in steps
    ]


def _sightings(steps: Iterable[Step]) -> Iterator[Sighting]:
    for step in steps:
        if step.found and step.facts:
            yield Sighting(
                at=step.at,
                unit=step.unit,
                conversation=step.conversation,
                author=step.author,
                found=step.found,
                points=score(step.facts).points,
            )


def _add(own: Walk, steps: Iterable[Step]) -> None:
    for step in steps:
        own.courses.setdefault(step.unit, []).append((step.at, step.state == "early"))
        own.sightings += _sightings([step])


def _unanswered(threads: Iterable[Thread], system: System) -> Iterator[Step]:
    rules = system.setting.judging()
    for thread in threads:
        if replay_brand.asks_us(thread):
            course = list(replay.steps(thread, rules))
            yield from replay_brand.unanswered_steps(thread, system.rule, course)


def _known_since(connection: sqlite3.Connection, order: Order) -> Callable[[str], str]:
    starts = history.beginnings(connection, order)

    def oldest(known_at: str) -> str:
        """The time of the oldest post that was known then."""
        return starts[bisect_right(starts, known_at, key=lambda pair: pair[0]) - 1][1]

    return oldest


def _by_words(connection: sqlite3.Connection, threads: Iterable[Thread]) -> list[Thread]:
    """The conversations with the stages and probabilities of word lists instead of stored ones."""
    baseline, read = RegexBaseline(), []
    for thread in threads:
        texts = history.texts(connection, [one.post.id for one in thread.heard])
        given = baseline.probabilities(
            [texts[one.post.id][1] for one in thread.heard],
            [one.post.language for one in thread.heard],
        )
        heard = [
            replace(
                one,
                post=replace(
                    one.post,
                    stage=max(STAGES, key=lambda stage: said["stage"][stage]),
                    stage_score=1.0,
                    early=said["early"]["1"],
                    promo=0.0,
                    signals={},
                ),
            )
            for one, said in zip(thread.heard, given, strict=True)
        ]
        read.append(thread._replace(heard=heard))
    return read
