"""What of a day is unusual for its weekday, and worth a line."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal

from .rules import LEAST_WEEKS

What = Literal[
    "mentions", "positive", "negative", "awareness", "consideration", "decision", "post_purchase"
]

FACTOR = 1.5
FEWEST = 5
FALSE_LINES = 0.05
"""Lines a day that chance alone may bring: one in twenty days."""
_MOST = 4


@dataclass(frozen=True, slots=True, kw_only=True)
class Figure:
    """A count of posts, and that of the same hours in each observed week before.

    `what` is mentions, a sentiment or a stage, `name` that of an entity or "".
    """

    what: What
    name: str
    count: int
    weeks: tuple[int, ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class Change:
    """A figure that is not as usual; `usual` is the mean of the weeks before."""

    what: What
    name: str
    count: int
    usual: float


def changes(figures: Sequence[Figure]) -> tuple[Change, ...]:
    """At most four figures that are worth a line, the most surprising first.

    Posts of usual days are taken for a Poisson process. Its rate is estimated with Jeffreys' prior
    as (k + 1/2) / n for k posts in n weeks, so that a past without any is no certainty. The tail is
    P(X >= count), the regularised lower incomplete gamma function P(count, rate), for more than
    usual, and P(X <= count) = Q(count + 1, rate) for fewer (Abramowitz and Stegun 1964, 26.4.21).
    Since as many figures are looked at as there are, each has that part of `FALSE_LINES`. Small
    counts are never news: the greater one of count and usual is at least `FEWEST`, and `FACTOR`
    times the smaller one. Nothing is unusual below two observed weeks.
    """
    found = []
    for figure in figures:
        if len(figure.weeks) < LEAST_WEEKS:
            continue
        usual = sum(figure.weeks) / len(figure.weeks)
        least, greatest = sorted((figure.count, usual))
        if greatest < FEWEST or greatest < FACTOR * least:
            continue
        tail = _tail(figure.count, (sum(figure.weeks) + 0.5) / len(figure.weeks), usual)
        if tail <= FALSE_LINES / len(figures):
            change = Change(what=figure.what, name=figure.name, count=figure.count, usual=usual)
            found.append((tail, change))
    return tuple(change for _, change in sorted(found, key=lambda one: one[0])[:_MOST])


def _tail(count: int, rate: float, usual: float) -> float:
    # Imported when there is something to judge: SciPy takes a while to load.
    from scipy.special import gammainc, gammaincc

    return float(gammainc(count, rate) if count > usual else gammaincc(count + 1, rate))
