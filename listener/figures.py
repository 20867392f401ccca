"""The figures of a backtest: how many alerts, how right, how early. Pure.

A conversation counts once, by the first alert on it: alerts that repeat it are counted as alerts
and nowhere else. Days are those of the digest's zone.
"""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Collection, Iterable, Mapping, Sequence
from dataclasses import asdict, dataclass
from datetime import datetime, timedelta
from typing import Any
from zoneinfo import ZoneInfo

import numpy as np

from .audit import LEAST_AUDITED, Audited, estimate
from .history import Drawn
from .promise import wilson
from .replay import Fired
from .rules import Rule
from .store import moment, stamp
from .walk import Told

BEST = (5, 10, 20)
"""Of so many best alerts of each day the precision is told."""
# Conversations that raised an alert are all known: a stratum of its own, drawn whole.
_WHOLE = -1
Row = dict[str, Any]


@dataclass(frozen=True, kw_only=True)
class Replayed:
    """What a rule did from `since` to `until`, and what people say of conversations.

    `fired` are all its alerts, also those before `since`, in their order; `mailed` tells by person
    which of them, by place, were mailed when; `ranks` the most points of each labelled conversation
    whatever its probability, None for a rule that ranks none; `useful` holds the verdicts.
    """

    name: str
    rule: Rule
    zone: ZoneInfo
    since: datetime
    until: datetime
    fired: Sequence[Fired]
    mailed: Mapping[str, Mapping[int, datetime]]
    ranks: Mapping[int, int] | None
    useful: Mapping[int, bool]

    @property
    def places(self) -> list[int]:
        """Places of the alerts within the span."""
        return [at for at, one in enumerate(self.fired) if one.sighting.at >= self.since]

    @property
    def firsts(self) -> dict[int, Fired]:
        """The first alert on each conversation, where it is within the span."""
        first: dict[int, Fired] = {}
        for one in self.fired:
            first.setdefault(one.sighting.conversation, one)
        return {number: one for number, one in first.items() if one.sighting.at >= self.since}

    @property
    def alerted(self) -> set[int]:
        """Every conversation that had an alert by `until`."""
        return {one.sighting.conversation for one in self.fired}


def figures(
    done: Replayed,
    told: Told,
    *,
    days: float,
    given: Mapping[int, bool],
    drawn: Sequence[Drawn],
    live: Collection[int],
) -> Row:
    """Everything that is told of one rule, JSON-ready.

    - `alerts`, `conversations` (distinct ones alerted on), `per_day`, `most_a_day`, `by_day`.
    - `at_once`, `later`, `held`, `listed`: alerts that were mailed to anybody when they were
      raised, or only later, or to nobody within the span since the budget or the quiet hours held
      them back, or that were too old for a mail; `people`: the same for each reader.
    - `precision`, and `best` for the 5, 10 and 20 best alerts of each day: `useful` of `n` labelled
      conversations, `share` with its 95 % Wilson interval `low`, `high` (share None without any).
    - `average_precision`: of `n` labelled conversations ranked by their points, `useful` of them;
      `value` None without any or without both kinds.
    - `recall`: `labelled`, as precision, of the useful conversations in `given`, None without any;
      `audit`: see `audit.Recall`, None but for early-funnel rules.
    - `lead`: see `lead`.

    `days` is what to count by, `given` are labels of a file, `drawn` the audit sample, `live` the
    conversations that have raised an early-funnel alert; all were active in the span.
    """
    by_day: Counter[str] = Counter(
        _day(done.fired[at].sighting.at, done.zone) for at in done.places
    )
    wanted = {one for one, useful in given.items() if useful and one in told.active}
    fates = Counter(_fate(done, at, done.mailed.values()) for at in done.places)
    return {
        "alerts": len(done.places),
        "conversations": len({done.fired[at].sighting.conversation for at in done.places}),
        "per_day": round(len(done.places) / days, 3),
        "most_a_day": max(by_day.values(), default=0),
        "by_day": dict(sorted(by_day.items())),
        **{fate: fates[fate] for fate in FATES},
        "people": [
            {"name": name}
            | {fate: Counter(_fate(done, at, [sent]) for at in done.places)[fate] for fate in FATES}
            for name, sent in done.mailed.items()
        ],
        "precision": _judged(done.firsts, done.useful),
        "best": {str(most): _judged(_best(done, most), done.useful) for most in BEST},
        "average_precision": _average_precision(done, told),
        "recall": {
            "labelled": share(len(wanted & done.alerted), len(wanted)) if wanted else None,
            "audit": None if done.ranks is None else _audited(done, drawn, live),
        },
        "lead": lead(done, told),
    }


FATES = ("at_once", "later", "held", "listed")


def _fate(done: Replayed, place: int, people: Iterable[Mapping[int, datetime]]) -> str:
    one = done.fired[place]
    times = [sent[place] for sent in people if place in sent]
    if times:
        return "at_once" if min(times) == one.sighting.at else "later"
    return "held" if one.recent else "listed"


def share(hits: int, n: int) -> Row:
    """`useful` of `n` with the share and its 95 % Wilson interval."""
    low, high = wilson(hits, n)
    return {"n": n, "useful": hits, "share": hits / n if n else None, "low": low, "high": high}


def _judged(conversations: Iterable[int], useful: Mapping[int, bool]) -> Row:
    verdicts = [useful[one] for one in conversations if one in useful]
    return share(sum(verdicts), len(verdicts))


def _best(done: Replayed, most: int) -> list[int]:
    """The conversations of the alerts with most points of each day."""
    days: dict[str, list[Fired]] = defaultdict(list)
    for one in done.firsts.values():
        days[_day(one.sighting.at, done.zone)].append(one)
    return [
        one.sighting.conversation
        for fired in days.values()
        for one in sorted(
            fired, key=lambda one: (-one.sighting.points, one.sighting.found.mention_id)
        )[:most]
    ]


def _average_precision(done: Replayed, told: Told) -> Row | None:
    """Average precision; what never asked anything has no points and comes last."""
    if done.ranks is None:
        return None
    chosen = sorted(told.active & done.useful.keys())
    truth = [done.useful[one] for one in chosen]
    value = None
    if len(set(truth)) == 2:
        from sklearn.metrics import average_precision_score

        points = [done.ranks.get(one, 0) for one in chosen]
        value = float(average_precision_score(truth, points))
    return {"n": len(truth), "useful": sum(truth), "value": value}


def _audited(done: Replayed, drawn: Sequence[Drawn], live: Collection[int]) -> Row:
    """Recall from the audit sample, which is drawn from what raised no alert at the time.

    What raised one then and would not now is added with the verdicts on it.
    """
    alerted = done.alerted
    sample = [
        Audited(
            one.stratum,
            one.weight,
            None if one.missed is None else one.missed and one.conversation not in alerted,
        )
        for one in drawn
    ]
    whole = [Audited(_WHOLE, 1.0, done.useful.get(one)) for one in sorted(set(live) - alerted)]
    found = estimate([*sample, *whole], [done.useful.get(one) for one in sorted(done.firsts)])
    judged = sum(one.missed is not None for one in drawn)
    row = asdict(found) | {"drawn": len(sample), "judged": judged}
    if judged < LEAST_AUDITED:
        row |= {"code": "not-enough", "recall": None, "low": None, "high": None}
    return row


def lead(done: Replayed, told: Told) -> Row:
    """How long before its asker decided, bought or gave up each conversation was alerted on.

    Of the `n` conversations with an alert in which the author of that post is heard of an ending
    after it: `median`, `q1`, `q3` of the hours from the alert to the first ending, `before` (alert
    first) with the share and its interval, and `late`: each with the ids and the negative hours.
    `decided` conversations ended within the span, `missed` of them without any alert.
    """
    found: list[Row] = []
    hours: list[float] = []
    for number, one in done.firsts.items():
        ended = _ending(one, told.endings.get(number, ()))
        if ended is None:
            continue
        at, post = ended
        hours.append(round((moment(at) - one.sighting.at) / timedelta(hours=1), 2))
        found.append(
            {
                "conversation": number,
                "mention": one.sighting.found.mention_id,
                "alerted_at": stamp(one.sighting.at),
                "ended_at": at,
                "ended_mention": post,
                "hours": hours[-1],
            }
        )
    q1, median, q3 = np.quantile(hours, [0.25, 0.5, 0.75]).tolist() if hours else [None] * 3
    since = stamp(done.since)
    decided = {
        number
        for number in told.active & told.endings.keys()
        if any(at >= since for at, _, _ in told.endings[number])
    }
    return {
        "n": len(hours),
        "median": median,
        "q1": q1,
        "q3": q3,
        "before": share(sum(one > 0 for one in hours), len(hours)),
        "late": sorted((row for row in found if row["hours"] <= 0), key=lambda row: row["hours"]),
        "decided": len(decided),
        "missed": len(decided - done.alerted),
    }


def _ending(one: Fired, endings: Iterable[tuple[str, int, int | None]]) -> tuple[str, int] | None:
    """The first ending by the author of the alert's post that comes after that post."""
    asked = one.sighting.found
    return next(
        (
            (at, post)
            for at, post, author in endings
            if author == one.sighting.author and post != asked.mention_id and at >= stamp(asked.at)
        ),
        None,
    )


def paired(a: Replayed, b: Replayed, told: Told) -> Row:
    """Two replayed rules on the same labelled conversations, as McNemar (1947) compares them.

    To alert is right where an alert is useful, to be silent where none is. `both`, `only_a`,
    `only_b` and `neither` were right; `p` is the exact two-sided binomial probability of so uneven
    a split of those on which they differ, None where they differ on none.
    """
    chosen = sorted(told.active & a.useful.keys())
    counts = Counter(
        ((one in a.alerted) == a.useful[one], (one in b.alerted) == a.useful[one]) for one in chosen
    )
    only_a, only_b = counts[True, False], counts[False, True]
    p = None
    if only_a + only_b:
        from scipy.stats import binomtest

        p = float(binomtest(only_a, only_a + only_b).pvalue)
    return {
        "a": a.name,
        "b": b.name,
        "labelled": len(chosen),
        "both": counts[True, True],
        "only_a": only_a,
        "only_b": only_b,
        "neither": counts[False, False],
        "p": p,
    }


def listed(done: Replayed, told: Told) -> list[Row]:
    """The alerts of the span, one row each."""
    return [
        {
            "system": done.name,
            "at": stamp(one.sighting.at),
            "key": one.key,
            "conversation": one.sighting.conversation,
            "mention": one.sighting.found.mention_id,
            "score": one.sighting.points,
            "probability": round(one.sighting.found.probability, 3),
            "stage": one.sighting.found.stage,
            "urgent": one.sighting.found.urgent,
            "fate": _fate(done, place, done.mailed.values()),
            "mailed_at": next(
                map(stamp, sorted(sent[place] for sent in done.mailed.values() if place in sent)),
                None,
            ),
            "useful": done.useful.get(one.sighting.conversation),
            "ended_at": ended[0] if ended else None,
        }
        for place in done.places
        for one in [done.fired[place]]
        for ended in [_ending(one, told.endings.get(one.sighting.conversation, ()))]
    ]


def _day(at: datetime, zone: ZoneInfo) -> str:
    return at.astimezone(zone).date().isoformat()
