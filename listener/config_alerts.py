"""[alerts] and [[alerts.rules]]: what is worth an e-mail at once, to whom, and when."""

from __future__ import annotations

import re
from collections.abc import Mapping
from datetime import time
from typing import Annotated, Literal

from pydantic import AfterValidator, Field

from .config_errors import refused
from .config_fields import Flag, Heard, Probability, Section, Text, Whole

Kind = Literal["brand", "product", "competitor", "category"]
OpenStage = Literal["awareness", "consideration", "decision"]
RuleType = Literal["early-funnel", "crisis", "advocate", "unanswered"]
Focus = Literal["category", "product", "switching", "comparison-without-us"]
Followers = Annotated[Whole, Field(ge=0, le=10**9)]
AgeHours = Annotated[Whole, Field(ge=1, le=24 * 366)]
Stages = Annotated[tuple[OpenStage, ...], Field(min_length=1)]
Kinds = Annotated[tuple[Kind, ...], Field(min_length=1)]
PerDay = Annotated[Whole, Field(ge=1, le=1000)]

_HOURS = re.compile(r"([01]\d|2[0-3]):([0-5]\d)-([01]\d|2[0-3]):([0-5]\d)\Z")

ONLY_FOR: Mapping[str, tuple[RuleType, ...]] = {
    "focus": ("early-funnel",),
    "stages": ("early-funnel",),
    "kinds": ("early-funnel",),
    "minimum": ("early-funnel", "advocate", "unanswered"),
    "max_age_hours": ("early-funnel", "advocate", "unanswered"),
    "hours": ("crisis", "unanswered"),
    "factor": ("crisis",),
    "min_count": ("crisis",),
    "level": ("crisis",),
    "following": ("advocate",),
    "praises": ("advocate",),
}
"""Keys of a rule that mean something for these types only."""


def span_of(hours: str) -> tuple[time, time]:
    """`"22:00-08:00"` as start and end; raises `ValueError` for another form."""
    found = _HOURS.match(hours)
    if found is None:
        raise ValueError("not a span of hours")
    return time(int(found[1]), int(found[2])), time(int(found[3]), int(found[4]))


def _span(hours: str) -> str:
    try:
        start, end = span_of(hours)
    except ValueError:
        raise refused("is not a span of hours", 'write one such as "22:00-08:00"') from None
    if start == end:
        raise refused("starts when it ends", "write two different times, or remove the key")
    return hours


QuietHours = Annotated[Text, AfterValidator(_span)]


class AlertRule(Section):
    """One rule, and who gets its alerts. Keys that are left out are as in [alerts].

    Types: `early-funnel` (a conversation in which the choice is open), `crisis` (far more negative
    posts about the brand than usual), `advocate` (praise of the brand by somebody with a following
    or who praises again and again), `unanswered` (a question about the brand that nobody answered).
    A key that means nothing for the type is refused.
    """

    name: Text = Field(description="Name of the rule, as it stands in mails and tables.")
    type: RuleType = Field("early-funnel", description="What it looks for.")
    enabled: Flag = Field(True, description="Whether it is used.")
    recipients: tuple[Text, ...] = Field(
        (), description="Names or addresses of recipients; empty: all who receive alerts."
    )
    focus: tuple[Focus, ...] = Field(
        (),
        description="early-funnel: about a category, about our product, leaving or comparing a "
        "competitor, or comparing without us; any of them; empty: all.",
    )
    minimum: Mapping[Heard, Probability] | None = Field(
        None,
        description="Least probability per language, of an open choice (early-funnel; else as in "
        "[alerts]), of praise (advocate) or of a question (unanswered).",
    )
    precision: Annotated[float, Field(gt=0, lt=1, allow_inf_nan=False)] | None = Field(
        None,
        description="Share of useful alerts that is promised: once verdicts bear it, alerts need "
        "so many points that it is kept (see docs/alerts.md); until then, and below, `minimum`.",
    )
    stages: Stages | None = Field(None, description="early-funnel: stages that count.")
    kinds: Kinds | None = Field(None, description="early-funnel: what it has to be about.")
    languages: tuple[Heard, ...] | None = Field(
        None, description="Only these languages; empty: all."
    )
    sources: tuple[Text, ...] | None = Field(None, description="Only these sources; empty: all.")
    max_age_hours: AgeHours | None = Field(
        None, description="Posts that are older are not mailed (all types but crisis)."
    )
    min_followers: Followers | None = Field(
        None, description="Only authors known to have at least so many followers."
    )
    max_followers: Followers | None = Field(
        None, description="Only authors not known to have more followers."
    )
    exclude_authors: tuple[Text, ...] = Field(
        (), description="Handles of authors to leave out; the brand's own always are."
    )
    quiet_hours: QuietHours | None = Field(
        None, description='Mails wait until they are over: "22:00-08:00" in the digest\'s zone.'
    )
    cooldown_hours: Annotated[Whole, Field(ge=0, le=24 * 366)] | None = Field(
        None,
        description="Hours without a second mail of this rule about the same author (crisis and "
        "unanswered: about the brand); 0, or 24 for a crisis, when left out.",
    )
    hours: Annotated[Whole, Field(ge=1, le=168)] = Field(
        4,
        description="unanswered: hours without an answer; crisis: hours whose posts are counted.",
    )
    factor: Annotated[float, Field(ge=1, le=100, allow_inf_nan=False)] = Field(
        2.0, description="crisis: at least so many times the usual number."
    )
    min_count: Annotated[Whole, Field(ge=2, le=10**6)] = Field(
        5, description="crisis: at least so many negative posts."
    )
    level: Annotated[float, Field(ge=1e-9, le=0.5, allow_inf_nan=False)] = Field(
        0.001, description="crisis: largest probability that chance alone brings so many."
    )
    following: Followers = Field(
        1000, description="advocate: followers from which one praise is enough."
    )
    praises: Annotated[Whole, Field(ge=2, le=1000)] = Field(
        2, description="advocate: praises in 90 days that make an advocate of anybody."
    )


class Alerts(Section):
    """Which conversations are worth an e-mail at once; what [[alerts.rules]] leave out is as here.

    Without rules there is one, `early-funnel`.
    """

    enabled: Flag = Field(True, description="Whether alerts are made.")
    minimum: Mapping[Heard, Probability] = Field(
        {}, description="Least probability per language; without one the model's own is used."
    )
    stages: Stages = Field(
        ("awareness", "consideration"), description="Stages of the buying journey that count."
    )
    kinds: Kinds = Field(
        ("category", "product", "competitor", "brand"), description="What it has to be about."
    )
    max_age_hours: AgeHours = Field(
        72, description="Conversations that are older are listed and not mailed."
    )
    max_per_day: PerDay = Field(
        10,
        description="Most alert e-mails for one person in 24 hours; the best go, the digest counts "
        "the rest.",
    )
    sources: tuple[Text, ...] = Field(
        (), description="Only posts of these, as `mentions.source` has them; empty: all."
    )
    languages: tuple[Heard, ...] = Field((), description="Only these languages; empty: all.")
    rules: tuple[AlertRule, ...] = Field((), description="The rules, each with its readers.")
