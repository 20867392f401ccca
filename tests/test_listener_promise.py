"""Promised precision: the bound, the order of tests, and that promises hold in simulated draws."""

from __future__ import annotations

import random

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from numpy.typing import NDArray
from scipy.stats import binomtest

from listener.promise import (
    clopper_pearson_lower,
    labels_needed,
    promised_threshold,
    wilson,
)

DRAWS = 300
Floats = NDArray[np.float64]
Population = tuple[Floats, Floats]
POINTS = np.arange(40, 101)


def curve(kind: str) -> Population:
    """How often each of the scores 40 to 100 comes, and how likely an alert of it is useful."""
    often = np.exp(-(POINTS - 40) / 20)
    if kind == "slope":
        return often, 1 / (1 + np.exp(-(POINTS - 62) / 9))
    if kind == "gentle slope":
        return often, 0.6 + 0.39 * (POINTS - 40) / 60
    if kind == "cliff":
        return np.ones(61), np.where(POINTS >= 70, 0.93, 0.3)
    if kind == "just below everywhere":
        return np.ones(61), np.full(61, 0.79)
    if kind == "just below from 85 down":
        # Above, the promise is well kept; at and below 85 it is broken by a hair.
        useful = np.where(POINTS > 85, 0.95, 0.79)
        useful[POINTS == 85] = 0.0
        often = np.where(POINTS == 85, 3.2, 1.0)
        return often, useful
    assert kind == "ten scores only"
    return np.where(POINTS % 10 == 0, 1.0, 0.0), 0.6 + 0.39 * (POINTS - 40) / 60


def precision_from(population: Population) -> Floats:
    """True precision of alerts with at least so many points."""
    often, useful = population
    above = np.cumsum((often * useful)[::-1])[::-1] / np.cumsum(often[::-1])[::-1]
    return np.asarray(above, np.float64)


def plain_maximum(
    scores: NDArray[np.int_], useful: NDArray[np.bool_], precision: float
) -> int | None:
    """The lowest threshold at which the share of useful ones among the labels is high enough."""
    kept = [
        int(least) for least in np.unique(scores) if useful[scores >= least].mean() >= precision
    ]
    return min(kept, default=None)


def broken(kind: str, size: int, *, precision: float = 0.8) -> tuple[float, float, float]:
    """Share of draws that break the promise: ours, the plain maximum's; and ours that promise."""
    population = curve(kind)
    true = precision_from(population)
    chance = np.random.default_rng(11)
    ours = plain = made = 0
    for _ in range(DRAWS):
        at = chance.choice(len(POINTS), size, p=population[0] / population[0].sum())
        scores, useful = POINTS[at], chance.random(size) < population[1][at]
        promise = promised_threshold(scores.tolist(), useful.tolist(), precision=precision)
        if promise.threshold is not None:
            made += 1
            ours += true[promise.threshold - 40] < precision
        chosen = plain_maximum(scores, useful, precision)
        plain += chosen is not None and true[chosen - 40] < precision
    return ours / DRAWS, plain / DRAWS, made / DRAWS


@pytest.mark.parametrize(
    ("kind", "size", "promises"),
    [
        ("slope", 100, 0.1),
        ("slope", 300, 0.5),
        ("gentle slope", 300, 0.4),
        ("cliff", 100, 0.4),
        ("cliff", 300, 0.9),
    ],
)
def test_the_promise_is_kept_in_nine_of_ten_draws_and_the_plain_maximum_breaks_it_in_half(
    kind: str, size: int, promises: float
) -> None:
    ours, plain, made = broken(kind, size)
    assert ours <= 0.1
    assert 0.3 <= plain <= 0.7
    assert made >= promises  # a promise that is never made is never broken


@pytest.mark.parametrize("size", [15, 40, 100, 300])
@pytest.mark.parametrize(
    "kind", ["just below everywhere", "just below from 85 down", "ten scores only"]
)
def test_the_promise_is_kept_where_it_is_just_barely_unmet(kind: str, size: int) -> None:
    ours, plain, _ = broken(kind, size)
    assert ours <= 0.1
    if kind == "just below everywhere":
        assert plain > 0.8


def test_the_barely_unmet_population_is_what_it_says() -> None:
    true = precision_from(curve("just below from 85 down"))
    assert true[86 - 40] >= 0.8
    assert 0.7 < true[: 86 - 40].max() < 0.8


@given(st.integers(0, 200), st.integers(0, 200), st.sampled_from([0.8, 0.9, 0.95]))
def test_the_bound_is_the_exact_one(hits: int, more: int, confidence: float) -> None:
    n = hits + more
    if not n:
        assert clopper_pearson_lower(0, 0, confidence) == 0.0
        return
    exact = binomtest(hits, n, alternative="greater").proportion_ci(confidence, method="exact")
    assert clopper_pearson_lower(hits, n, confidence) == pytest.approx(exact.low, abs=1e-9)


@given(st.integers(0, 200), st.integers(0, 200), st.sampled_from([0.8, 0.95]))
def test_wilson_is_the_score_interval(hits: int, more: int, confidence: float) -> None:
    n = hits + more
    low, high = wilson(hits, n, confidence)
    if not n:
        assert (low, high) == (0.0, 1.0)
        return
    known = binomtest(hits, n).proportion_ci(confidence, method="wilson")
    assert (low, high) == pytest.approx((known.low, known.high), abs=1e-9)
    assert 0 <= low <= hits / n <= high <= 1


@pytest.mark.parametrize(("precision", "needed", "with_a_miss"), [(0.5, 4, 7), (0.8, 11, 18)])
def test_labels_needed_are_the_fewest(precision: float, needed: int, with_a_miss: int) -> None:
    assert labels_needed(precision) == needed
    assert precision**needed <= 0.1 < precision ** (needed - 1)
    assert labels_needed(precision, misses=1) == with_a_miss


def test_too_few_labels_are_told_apart_from_labels_that_do_not_bear_it() -> None:
    few = promised_threshold([90] * 10, [True] * 10, precision=0.8)
    assert (few.code, few.threshold, few.n, few.hits) == ("too-few-labels", None, 10, 10)
    assert few.needed == 11
    enough = promised_threshold([90] * 11, [True] * 11, precision=0.8)
    assert (enough.code, enough.threshold, enough.n) == ("met", 90, 11)
    assert enough.bound >= 0.8
    bad = promised_threshold([90] * 30, [True] * 20 + [False] * 10, precision=0.8)
    assert (bad.code, bad.threshold, bad.n, bad.hits) == ("not-borne", None, 30, 20)
    assert bad.bound < 0.8
    none = promised_threshold([], [], precision=0.8)
    assert (none.code, none.n, none.bound) == ("too-few-labels", 0, 0.0)


def test_the_first_failure_ends_the_tests_even_if_lower_ones_would_pass() -> None:
    scores = [90] * 20 + [80] * 5 + [70] * 80
    useful = [True] * 20 + [False] * 5 + [True] * 80
    assert clopper_pearson_lower(100, 105, 0.9) > 0.8
    promise = promised_threshold(scores, useful, precision=0.8)
    assert (promise.threshold, promise.n, promise.hits) == (90, 20, 20)


def test_with_many_labels_a_bad_start_does_not_decide() -> None:
    scores = list(range(100, 0, -1)) * 2
    useful = [score < 97 for score in scores]
    promise = promised_threshold(scores, useful, precision=0.8)
    assert (promise.code, promise.threshold, promise.n, promise.hits) == ("met", 1, 200, 192)
    # Each of the two series is tested at half of the error.
    assert promise.bound == clopper_pearson_lower(192, 200, 0.95)
    few = [(s, u) for s, u in zip(scores, useful, strict=True) if s > 80]
    found = promised_threshold([s for s, _ in few], [u for _, u in few], precision=0.8)
    assert (found.code, found.n) == ("not-borne", 18)


def test_equal_scores_are_never_parted() -> None:
    # The best 18 would do; the 18th shares its score with 30 useless ones.
    scores = [95] * 17 + [60] * 31
    useful = [True] * 18 + [False] * 30
    promise = promised_threshold(scores, useful, precision=0.8)
    assert (promise.code, promise.n, promise.hits) == ("not-borne", 48, 18)


def test_one_useless_alert_among_the_first_does_not_end_the_search() -> None:
    scores = list(range(100, 60, -1))
    useful = [True] * 40
    useful[3] = False
    promise = promised_threshold(scores, useful, precision=0.8)
    assert (promise.code, promise.threshold) == ("met", 61)


@given(st.lists(st.tuples(st.integers(0, 100), st.booleans()), max_size=80), st.randoms())
def test_the_order_of_labels_does_not_matter(
    labels: list[tuple[int, bool]], chance: random.Random
) -> None:
    shuffled = chance.sample(labels, len(labels))
    found = [
        promised_threshold([s for s, _ in rows], [u for _, u in rows], precision=0.6)
        for rows in (labels, shuffled)
    ]
    assert found[0] == found[1]
    if found[0].threshold is not None:
        kept = [useful for score, useful in labels if score >= found[0].threshold]
        assert (len(kept), sum(kept)) == (found[0].n, found[0].hits)
        assert clopper_pearson_lower(sum(kept), len(kept), 0.9) >= 0.6


def test_what_is_no_share_is_refused() -> None:
    for wrong in (0.0, 1.0, -1.0, 80.0, float("nan")):
        with pytest.raises(ValueError, match="between 0 and 1"):
            promised_threshold([1], [True], precision=wrong)
        with pytest.raises(ValueError, match="between 0 and 1"):
            promised_threshold([1], [True], precision=0.8, confidence=wrong)
    with pytest.raises(ValueError, match="do not belong together"):
        promised_threshold([1, 2], [True], precision=0.8)
    with pytest.raises(ValueError, match="is no share"):
        wilson(3, 2)
