"""The score of an alert, which is its own explanation: named parts in whole points that add up.

Pure: what is known of a post and its conversation goes in as `Facts`, a `Score` comes out. The
base is a calibrated probability; the other parts lift or lower it by what makes an answer welcome
and useful. What is not known has no part.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Literal, NamedTuple

from nlp.asking import asking

Fit = Literal["ours-asked", "ours", "asked", "near", "thread", "aside"]
Value = float | str | None

WEIGHTS: Mapping[str, tuple[tuple[float, int], ...]] = {
    # Each row: below this value, so many points. They are our judgement, small beside the
    # probability on purpose: they order alerts of like probability and never make one alone. What
    # every fresh post has costs nothing and brings nothing, or most would meet the limit of 100.
    #
    # Hours since the post: an answer is read while its author still looks at the thread.
    "age": ((1, 0), (6, -2), (24, -4), (48, -7), (math.inf, -10)),
    # Replies of others: the first answers are read, the thirtieth is not.
    "replies": ((1, 0), (3, -1), (10, -3), (30, -6), (math.inf, -9)),
    # Makers and products that others have named: the list of the asker grows short.
    "options": ((1, 0), (2, -2), (4, -4), (math.inf, -6)),
    # Followers: people with a small, close audience are asked and believed the most; the famous
    # are read by many and followed by few in what they buy.
    "reach": ((100, 0), (1_000, 2), (10_000, 5), (100_000, 4), (1_000_000, 2), (math.inf, 1)),
}
FIT: Mapping[Fit, int] = {
    "ours-asked": 6,  # our brand or product, in the title or the sentence that asks
    "ours": 4,  # our brand or product, elsewhere in the post
    "asked": 3,  # a category or competitor, in the title or the sentence that asks
    "near": 0,  # a category or competitor, elsewhere in a short post
    "thread": -3,  # only other posts of the conversation name what we follow
    "aside": -6,  # a category or competitor, somewhere in a long post that asks something else
}
URGENT = 5
LONG = 600
"""Characters from which a post is long: what it names in passing is often not its subject."""
_OURS = frozenset({"brand", "product"})


class Named(NamedTuple):
    """A name found in a document: match kind, name, and its place in code points."""

    kind: str
    name: str
    start: int
    end: int


@dataclass(frozen=True, slots=True, kw_only=True)
class Facts:
    """What a score is made of; None leaves a part out.

    `probability` is calibrated and in [0, 1]; `replies` and `options` count those of other people;
    quotes are literal parts of posts.
    """

    probability: float
    age_hours: float | None = None
    replies: int | None = None
    options: int | None = None
    options_quote: str | None = None
    followers: int | None = None
    fit: Fit | None = None
    fit_quote: str | None = None
    urgent: bool = False
    urgent_quote: str | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Part:
    """So many `points` for what `code` names.

    `value` is the fact behind it: probability (0 to 1), age (hours), replies and options (counts),
    reach (followers), fit (a `Fit`), urgent and limit (None).
    """

    code: str
    points: int
    value: Value = None
    quote: str | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Score:
    """`points` is 0 to 100 and the sum of the points of its `parts`."""

    points: int
    parts: tuple[Part, ...]


def score(facts: Facts) -> Score:
    """The score of one alert; a part `limit` takes off what would lie outside of 0 to 100."""
    parts = [
        Part(
            code="probability",
            points=math.floor(100 * facts.probability + 0.5),
            value=round(facts.probability, 3),
        )
    ]
    counted = (
        ("age", None if facts.age_hours is None else round(facts.age_hours, 1), None),
        ("replies", facts.replies, None),
        ("options", facts.options, facts.options_quote),
        ("reach", facts.followers, None),
    )
    parts += [
        Part(code=code, points=_points(code, value), value=value, quote=quote)
        for code, value, quote in counted
        if value is not None
    ]
    if facts.fit is not None:
        parts.append(
            Part(code="fit", points=FIT[facts.fit], value=facts.fit, quote=facts.fit_quote)
        )
    if facts.urgent:
        parts.append(Part(code="urgent", points=URGENT, quote=facts.urgent_quote))
    total = sum(part.points for part in parts)
    points = min(max(total, 0), 100)
    if points != total:
        parts.append(Part(code="limit", points=points - total))
    return Score(points=points, parts=tuple(parts))


def _points(code: str, value: float) -> int:
    return next(points for below, points in WEIGHTS[code] if value < below)


def fit_of(
    document: str, title: str | None, named: Iterable[Named], language: str
) -> tuple[Fit, str | None]:
    """How well a post fits what is sold, and the quoted name that says so.

    `named` are the names found in `document`, which starts with `title` where there is one. The
    title, questions and requests ask; a post without any asks with its beginning, a short one with
    all of it.
    """
    found = sorted(named, key=lambda one: one.start)
    ours = [one for one in found if one.kind in _OURS]
    others = [one for one in found if one.kind not in _OURS]
    where = _asking(document, len(title or ""), language)

    def quote(one: Named) -> str:
        return document[one.start : one.end]

    if asked := _first_within(ours, where):
        return "ours-asked", quote(asked)
    if ours:
        return "ours", quote(ours[0])
    if asked := _first_within(others, where):
        return "asked", quote(asked)
    if others:
        return ("aside" if len(document) >= LONG else "near"), quote(others[0])
    return "thread", None


def _asking(document: str, title: int, language: str) -> list[tuple[int, int]]:
    """Where a document asks, as spans of code points."""
    found = list(asking(document, language))
    if title:
        found.append((0, title))
    return found or [(0, len(document) if len(document) < LONG else LONG // 4)]


def _first_within(names: Iterable[Named], spans: Iterable[tuple[int, int]]) -> Named | None:
    return next(
        (
            one
            for one in names
            if any(start <= one.start and one.end <= end for start, end in spans)
        ),
        None,
    )
