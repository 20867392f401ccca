"""Thresholds that keep a promised precision, and intervals for shares. Pure functions.

A promise such as "at least 80 % of these alerts are useful" is kept by learn-then-test with
fixed-sequence testing (Angelopoulos, Bates, Candès, Jordan and Lei 2021, arXiv 2110.01052).
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from math import sqrt
from typing import Literal

import numpy as np
from scipy.special import betaincinv, ndtri

# So many times the labels of a first test are enough for a second series of tests.
_MANY = 6
Code = Literal["met", "too-few-labels", "not-borne"]


@dataclass(frozen=True, slots=True, kw_only=True)
class Promise:
    """What labels say of a promised precision.

    `code` is "met": at `threshold` points or more the precision is at least `precision`, with
    `confidence`; "too-few-labels": not even labels that are all useful could show it, `needed` are
    needed; or "not-borne": there are enough labels and they do not show it at any threshold.
    `threshold` is None unless met. `hits` of `n` labels were useful where the answer was found: at
    the threshold, at the strictest one that was tested and failed, or among all there are; `bound`
    is the lower bound of the precision there, at the level at which it was tested.
    """

    precision: float
    confidence: float
    code: Code
    threshold: int | None
    n: int
    hits: int
    bound: float
    needed: int


def clopper_pearson_lower(hits: int, n: int, confidence: float) -> float:
    """Exact one-sided lower bound of a share (Clopper and Pearson 1934); 0 without hits.

    It is above the true share in at most `1 - confidence` of samples of any size `n`.
    """
    _check(hits, n, confidence)
    return float(betaincinv(hits, n - hits + 1, 1 - confidence)) if hits else 0.0


def wilson(hits: int, n: int, confidence: float = 0.95) -> tuple[float, float]:
    """Two-sided score interval of a share (Wilson 1927); (0, 1) when nothing was counted."""
    _check(hits, n, confidence)
    if not n:
        return 0.0, 1.0
    z = float(ndtri((1 + confidence) / 2))
    share, spread = hits / n, z * z / n
    middle = share + spread / 2
    reach = z * sqrt(share * (1 - share) / n + spread / (4 * n))
    low, high = (middle - reach) / (1 + spread), (middle + reach) / (1 + spread)
    # In the limits that rounding knows: the interval holds the share, and none is beyond 0 or 1.
    return max(min(low, share), 0.0), min(max(high, share), 1.0)


def labels_needed(precision: float, confidence: float = 0.9, *, misses: int = 0) -> int:
    """How few labels can show a precision when all but `misses` of them are useful."""
    _check_promise(precision, confidence)
    n = misses + 1
    while clopper_pearson_lower(n - misses, n, confidence) < precision:
        n += 1
    return n


def promised_threshold(
    scores: Sequence[int], useful: Sequence[bool], *, precision: float, confidence: float = 0.9
) -> Promise:
    """The lowest threshold, in points, that keeps the promise; see `Promise` for why there is none.

    `scores` and `useful` belong together, one for each alert that somebody judged. Thresholds are
    the scores that occur, so equal scores stay together. They are tested from the strictest down,
    each by its exact bound at `confidence`, and the first failure ends it. That keeps the chance
    that any passed threshold breaks the promise below `1 - confidence`, without a correction for
    their number: an error needs the first threshold that does not deserve to pass to do so.

    The order is settled by the scores alone, before any verdict is looked at. Testing begins where
    there are so many labels that one useless alert among them does not yet end the search, or with
    all labels when there are fewer. Of many labels a second series of tests begins with the better
    half, since it would be a waste to let a bad start decide; each series then has half of the
    error. (Given the scores, labels are independent but not equally likely to be useful; the
    binomial bound holds for such sums too: Hoeffding 1956.)

    The promise is about alerts like the judged ones. It takes for granted that verdicts are given
    without regard to what they will be, that at each score the alerts to come are like those
    judged, that alerts are independent, and that it is read when made: of thresholds that are
    chosen anew every day, one in ten days may still break it. Alerts below the floor at which they
    are offered have no verdicts, so no threshold below that floor is ever found. When the floor
    was moved while verdicts came in, high scores are judged more often than low ones, and only
    thresholds at or above the highest floor are promised.

    Raises ValueError for arguments of different length, or shares that are not between 0 and 1.
    """
    _check_promise(precision, confidence)
    if len(scores) != len(useful):
        raise ValueError(f"{len(scores)} scores and {len(useful)} verdicts do not belong together")
    order = np.argsort(-np.asarray(scores, np.int64), kind="stable")
    ranked = np.asarray(scores, np.int64)[order]
    found = np.cumsum(np.asarray(useful, bool)[order])
    total, needed = len(ranked), labels_needed(precision, confidence)
    level, starts = confidence, [labels_needed(precision, confidence, misses=1)]
    if total >= _MANY * starts[0]:
        level = (1 + confidence) / 2
        starts = [labels_needed(precision, level, misses=1), total // 2]

    def promise(code: Code, n: int, threshold: int | None = None) -> Promise:
        hits = int(found[n - 1]) if n else 0
        return Promise(
            precision=precision,
            confidence=confidence,
            code=code,
            threshold=threshold,
            n=n,
            hits=hits,
            bound=clopper_pearson_lower(hits, n, level),
            needed=needed,
        )

    if total < needed:
        return promise("too-few-labels", total)
    ends = [*(np.flatnonzero(np.diff(ranked)) + 1).tolist(), total]
    passed: list[Promise] = []
    failed: list[Promise] = []
    for start in starts:
        for n in ends:
            if n < min(start, total):
                continue
            tested = promise("met", n, int(ranked[n - 1]))
            if tested.bound < precision:
                failed.append(promise("not-borne", n))
                break
            passed.append(tested)
    return max(passed, key=lambda one: one.n) if passed else failed[0]


def _check(hits: int, n: int, confidence: float) -> None:
    if not 0 <= hits <= n:
        raise ValueError(f"{hits} of {n} is no share")
    if not 0 < confidence < 1:
        raise ValueError(f"a confidence of {confidence} is not between 0 and 1")


def _check_promise(precision: float, confidence: float) -> None:
    if not (0 < precision < 1 and 0 < confidence < 1):
        raise ValueError(f"precision {precision}, confidence {confidence}: not between 0 and 1")
