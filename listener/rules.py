"""The rules of alerts: what each looks for, as pure functions of what is known of a post.

A rule of [[alerts.rules]] with what it inherits from [alerts] is a `Rule`. The database is read in
candidates.py; a backtest makes the same `Found` from a replay and asks the same functions.
"""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime, time, timedelta
from typing import NamedTuple

from .config import Config, Recipient
from .config_alerts import AlertRule, Focus, RuleType, span_of

EARLY_FUNNEL = "early-funnel"
_PER_BRAND: Collection[RuleType] = ("crisis", "unanswered")
_OURS = frozenset({"brand", "product"})
_NO_THRESHOLDS: Mapping[str, float] = {}
_STAGES: Mapping[str, int] = {"none": 0, "awareness": 1, "consideration": 2, "decision": 3}
# Alerts of an older version have no stage: nothing is known to have moved since.
_UNKNOWN_STAGE = 9
LEAST_WEEKS = 2
"""Weeks that must have been observed before anything counts as unusual."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Rule:
    """One rule, complete; see `AlertRule` for the meaning of its fields.

    `minimum` has a language only where the configuration sets it; `exclude_authors` are folded by
    `folded`; `cooldown` and `max_age` are spans of time.
    """

    name: str
    type: RuleType
    recipients: tuple[Recipient, ...]
    focus: tuple[Focus, ...]
    minimum: Mapping[str, float]
    precision: float | None
    stages: tuple[str, ...]
    kinds: tuple[str, ...]
    languages: tuple[str, ...]
    sources: tuple[str, ...]
    max_age: timedelta
    min_followers: int | None
    max_followers: int | None
    exclude_authors: frozenset[str]
    quiet_hours: tuple[time, time] | None
    cooldown: timedelta
    hours: int
    factor: float
    min_count: int
    level: float
    following: int
    praises: int

    @property
    def per_brand(self) -> bool:
        """Whether its cooldown is about the brand, not about an author."""
        return self.type in _PER_BRAND


@dataclass(frozen=True, slots=True, kw_only=True)
class Found:
    """A post with its conversation, as far as rules look at it.

    `stage`, `urgent` and `about` (kind and name) are those of the conversation; `signals` those of
    the post; `probability` is of what the rule looks for; `author` holds the author's handle and
    native id, folded; `at` is aware.
    """

    conversation_id: int
    mention_id: int
    source: str
    root_id: str
    at: datetime
    language: str
    stage: str
    probability: float
    urgent: bool = False
    about: tuple[tuple[str, str], ...] = ()
    signals: frozenset[str] = frozenset()
    author: frozenset[str] = frozenset()
    followers: int | None = None


class Spike(NamedTuple):
    """More posts than usual: `tail` is the probability that chance alone brings so many."""

    posts: int
    usual: float
    tail: float


def rules_of(config: Config) -> tuple[Rule, ...]:
    """The enabled rules, in the order of the file; without any in it, the early-funnel rule."""
    given = config.alerts.rules or (AlertRule(name=EARLY_FUNNEL),)
    return tuple(_complete(rule, config) for rule in given if rule.enabled)


def _complete(rule: AlertRule, config: Config) -> Rule:
    common = config.alerts
    early = rule.type == EARLY_FUNNEL
    named = {name.casefold() for name in rule.recipients}
    minimum = rule.minimum if rule.minimum is not None else common.minimum if early else {}
    cooldown = rule.cooldown_hours
    if cooldown is None:
        cooldown = 24 if rule.type == "crisis" else 0
    return Rule(
        name=rule.name,
        type=rule.type,
        recipients=tuple(
            person
            for person in config.receiving("alerts")
            if (not named or named & {person.name.casefold(), person.email.casefold()})
            and (not person.rules or rule.name.casefold() in map(str.casefold, person.rules))
        ),
        focus=rule.focus,
        minimum={str(language): least for language, least in minimum.items()},
        precision=rule.precision,
        stages=rule.stages or common.stages,
        kinds=rule.kinds or common.kinds,
        languages=common.languages if rule.languages is None else rule.languages,
        sources=common.sources if rule.sources is None else rule.sources,
        max_age=timedelta(hours=rule.max_age_hours or common.max_age_hours),
        min_followers=rule.min_followers,
        max_followers=rule.max_followers,
        exclude_authors=folded(*rule.exclude_authors, *config.brand.handles),
        quiet_hours=span_of(rule.quiet_hours) if rule.quiet_hours else None,
        cooldown=timedelta(hours=cooldown),
        hours=rule.hours,
        factor=rule.factor,
        min_count=rule.min_count,
        level=rule.level,
        following=rule.following,
        praises=rule.praises,
    )


def folded(*names: str | None) -> frozenset[str]:
    """Handles and ids as they are compared: without @ and in lower case."""
    return frozenset(name.removeprefix("@").casefold() for name in names if name)


def watched(
    config: Config, thresholds: Mapping[str, float]
) -> tuple[dict[str, float], tuple[str, ...], tuple[str, ...]]:
    """By what conversations have to be judged, so that [alerts] and every rule see all of theirs.

    `thresholds` are the model's, by language, "*" for the others. Returns the least threshold by
    language, and the stages and kinds of [alerts] and of all early-funnel rules.
    """
    common = _complete(AlertRule(name=EARLY_FUNNEL), config)
    looking = [common, *(rule for rule in rules_of(config) if rule.type == EARLY_FUNNEL)]
    languages = {*thresholds, *(language for rule in looking for language in rule.minimum)}
    least = {
        language: min(threshold_of(rule, language, thresholds) for rule in looking)
        for language in languages
    }
    stages = tuple(dict.fromkeys(stage for rule in looking for stage in rule.stages))
    kinds = tuple(dict.fromkeys(kind for rule in looking for kind in rule.kinds))
    return least, stages, kinds


def threshold_of(
    rule: Rule, language: str, thresholds: Mapping[str, float] = _NO_THRESHOLDS
) -> float:
    """Least probability for a post in `language`: the rule's own, else that of `thresholds`.

    `thresholds` are by language, "*" for the others; without them the least is 0.
    """
    if language in rule.minimum:
        return rule.minimum[language]
    return thresholds.get(language, thresholds.get("*", 0.0))


def allowed(rule: Rule, found: Found) -> bool:
    """Whether source, language and author are among those of the rule."""
    if rule.sources and found.source not in rule.sources:
        return False
    if rule.languages and found.language not in rule.languages:
        return False
    if found.author & rule.exclude_authors:
        return False
    if rule.min_followers is not None and (found.followers or 0) < rule.min_followers:
        return False
    return rule.max_followers is None or (found.followers or 0) <= rule.max_followers


def early(rule: Rule, found: Found, thresholds: Mapping[str, float] = _NO_THRESHOLDS) -> bool:
    """Whether an early-funnel rule alerts on this post of a conversation whose choice is open."""
    kinds = {kind for kind, _ in found.about}
    return (
        found.stage in rule.stages
        and not kinds.isdisjoint(rule.kinds)
        and found.probability >= threshold_of(rule, found.language, thresholds)
        and allowed(rule, found)
        and (not rule.focus or any(_focused(focus, kinds, found.signals) for focus in rule.focus))
    )


def _focused(focus: Focus, kinds: Collection[str], signals: Collection[str]) -> bool:
    match focus:
        case "category":
            return "category" in kinds
        case "product":
            return not _OURS.isdisjoint(kinds)
        case "switching":
            return "competitor" in kinds and ("switching" in signals or "comparison" in signals)
        case "comparison-without-us":
            return "competitor" in kinds and "comparison" in signals and _OURS.isdisjoint(kinds)


def praised(rule: Rule, found: Found, praises: int) -> bool:
    """Whether an advocate rule alerts on a post that praises the brand.

    `praises` counts the author's posts that praise it in the last 90 days, this one among them.
    """
    known = found.followers is not None and found.followers >= rule.following
    return (
        (known or praises >= rule.praises)
        and found.probability >= threshold_of(rule, found.language)
        and allowed(rule, found)
    )


def unanswered(rule: Rule, found: Found, *, now: datetime) -> bool:
    """Whether an unanswered rule alerts on a question that nobody has answered until `now`."""
    return (
        timedelta(hours=rule.hours) <= now - found.at <= rule.max_age
        and found.probability >= threshold_of(rule, found.language)
        and allowed(rule, found)
    )


def spike(rule: Rule, count: int, weeks: Sequence[int]) -> Spike | None:
    """Whether `count` negative posts are a crisis, seen against the same hours of earlier `weeks`.

    Posts of a calm week are taken for a Poisson process. Its rate is estimated with Jeffreys' prior
    as (k + 1/2) / n for k posts in n weeks, so that a past without any is no certainty. The tail is
    P(X >= count) = P(count, rate), the regularised lower incomplete gamma function (Abramowitz and
    Stegun 1964, 26.4.21). A crisis has at least `min_count` posts, at least `factor` times the
    usual number, and a tail of at most `level`. None otherwise and below two observed weeks.
    """
    if len(weeks) < LEAST_WEEKS or count < rule.min_count:
        return None
    # Imported when there is something to judge: SciPy takes a while to load.
    from scipy.special import gammainc

    usual = sum(weeks) / len(weeks)
    tail = float(gammainc(count, (sum(weeks) + 0.5) / len(weeks)))
    if count < rule.factor * usual or tail > rule.level:
        return None
    return Spike(count, usual, tail)


def key_of(rule: Rule, found: Found, before: Sequence[tuple[str, bool]]) -> str | None:
    """Key of the alert that this post raises, or None where there is nothing new to tell.

    `before` are stage and urgency of the alerts that the rule has raised for the conversation. It
    alerts once, and again when the stage has moved forward or the matter has turned urgent.
    """
    first = f"{rule.name}:{found.source}:{found.root_id}"
    if not before:
        return first
    if rule.type != EARLY_FUNNEL:
        return None
    if _STAGES.get(found.stage, 0) > max(_STAGES.get(one, _UNKNOWN_STAGE) for one, _ in before):
        return f"{first}:{found.stage}"
    if found.urgent and not any(urgent for _, urgent in before):
        return f"{first}:urgent"
    return None
