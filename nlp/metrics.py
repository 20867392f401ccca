"""Precision, recall, F1, average precision and calibration, with bootstrap intervals.

Every figure comes with a 95 % percentile bootstrap interval (Efron 1979): rows are drawn with
replacement 1,000 times, as weights, and all figures of a table use the same draws. Macro figures
are plain means over the labels that occur (`macro_recall` is that of TweetEval). A figure that is
not defined (no positives, nothing predicted) is None, never 0; draws in which it is not defined are
left out of its interval. All arrays have one row for each text.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray

RESAMPLES = 1_000
SEED = 20_240_229
BINS = 10
FIGURES = (
    "precision", "recall", "f1", "macro_precision", "macro_recall", "macro_f1",
    "average_precision", "accuracy",
)  # fmt: skip

Floats = NDArray[np.float64]
Bools = NDArray[np.bool_]
Table = dict[str, Any]

_CELLS_AT_ONCE = 4_000_000


def binary_table(truth: Bools, predicted: Bools, scores: Floats) -> Table:
    """Figures for one yes/no head; all arguments have shape (n,).

    `precision`, `recall`, `f1` and `average_precision` are of the positive class, `macro_f1`
    averages the classes that occur, `ece` and `brier` judge the scores as probabilities, and
    `reliability` has the bins behind `ece`.
    """
    both = np.stack([~truth, truth], axis=1)
    guess = np.stack([~predicted, predicted], axis=1)
    chances = np.stack([1 - scores, scores], axis=1)
    return {
        "n": len(truth),
        "positives": int(truth.sum()),
        **_figures("positive", both, guess, chances),
        "ece": expected_calibration_error(truth, scores),
        "brier": float(np.mean((scores - truth) ** 2)) if len(truth) else None,
        "reliability": reliability(truth, scores),
    }


def multiclass_table(
    truth: NDArray[np.intp], scores: Floats, labels: tuple[str, ...], rest: str
) -> Table:
    """Figures for a head with exactly one label; `truth` (n,) and `scores` (n, labels).

    The label with the highest score is predicted. `precision`, `recall`, `f1` (the same as
    `macro_f1`) and `average_precision` (one label against the others) are averages over the labels
    that occur; a label that is never predicted counts 0 in the average. `positives` counts rows
    with another label than `rest`. `confusion[i][j]` counts label i predicted as label j.
    """
    predicted = scores.argmax(axis=1) if len(scores) else np.zeros(0, dtype=np.intp)
    places = np.arange(len(labels))
    actual, guess = truth[:, None] == places, predicted[:, None] == places
    confusion = np.zeros((len(labels), len(labels)), dtype=int)
    np.add.at(confusion, (truth, predicted), 1)
    return {
        "n": len(truth),
        "positives": int((truth != labels.index(rest)).sum()),
        **_figures("macro", actual, guess, scores),
        "labels": label_tables(actual, guess, scores, labels),
        "confusion": confusion.tolist(),
    }


def multilabel_table(
    truth: Bools, predicted: Bools, scores: Floats, labels: tuple[str, ...]
) -> Table:
    """Figures for a head with any number of labels; all arrays have shape (n, labels).

    `precision`, `recall` and `f1` are micro averages (all decisions together), `macro_f1` and
    `average_precision` average the labels that occur. `positives` counts labels, `accuracy` rows
    with every label right.
    """
    return {
        "n": len(truth),
        "positives": int(truth.sum()),
        **_figures("micro", truth, predicted, scores),
        "labels": label_tables(truth, predicted, scores, labels),
    }


def label_tables(
    truth: Bools, predicted: Bools, scores: Floats, labels: tuple[str, ...]
) -> dict[str, Table]:
    """For each label: n (rows that have it), precision, recall, f1, average_precision.

    All arrays have shape (n, labels); there are no intervals.
    """
    tables = {}
    ones = np.ones((1, len(truth)))
    for at, label in enumerate(labels):
        right = int((truth[:, at] & predicted[:, at]).sum())
        have, said = int(truth[:, at].sum()), int(predicted[:, at].sum())
        own = scores[:, at]
        (ranked,) = _average_precision(ones, truth[:, at], own, _ranking(own))
        tables[label] = {
            "n": have,
            "precision": right / said if said else None,
            "recall": right / have if have else None,
            "f1": 2 * right / (have + said) if have else None,
            "average_precision": float(ranked) if have else None,
        }
    return tables


def reliability(truth: Bools, scores: Floats) -> list[Table]:
    """The bins of a reliability diagram that hold rows, lowest scores first.

    `low` and `high` bound the scores, `n` counts the rows, `score` is their mean score and `share`
    the share of positives: equal where the scores are calibrated.
    """
    bins = _bins(scores)
    return [
        {
            "low": at / BINS,
            "high": (at + 1) / BINS,
            "n": int((bins == at).sum()),
            "score": float(scores[bins == at].mean()),
            "share": float(truth[bins == at].mean()),
        }
        for at in np.unique(bins)
    ]


def expected_calibration_error(truth: Bools, scores: Floats) -> float | None:
    """Mean gap between score and share of positives over 10 equal bins, weighted by their size.

    Naeini, Cooper and Hauskrecht 2015; None without rows.
    """
    if not len(truth):
        return None
    gaps = np.bincount(_bins(scores), weights=scores - truth, minlength=BINS)
    return float(np.abs(gaps).sum() / len(truth))


def _bins(scores: Floats) -> NDArray[np.intp]:
    """The bin of each score, from 0 to `BINS` - 1."""
    return np.minimum((scores * BINS).astype(np.intp), BINS - 1)


def interval(draws: Floats) -> list[float] | None:
    """The 2.5th and 97.5th percentile of the draws that are defined; None where most are not."""
    defined = draws[np.isfinite(draws)]
    if len(defined) * 2 < len(draws):
        return None
    low, high = np.percentile(defined, [2.5, 97.5])
    return [float(low), float(high)]


Average = Literal["positive", "macro", "micro"]


def _figures(average: Average, truth: Bools, predicted: Bools, scores: Floats) -> Table:
    """Each figure and its interval under "<figure>_ci"."""
    size = len(truth)
    points = estimates(average, np.ones((1, size)), truth, predicted, scores)
    parts = [estimates(average, weights, truth, predicted, scores) for weights in resamples(size)]
    table: Table = {}
    for name, point in points.items():
        value = float(point[0])
        table[name] = value if np.isfinite(value) else None
        draws = np.concatenate([part[name] for part in parts]) if parts else np.zeros(0)
        table[f"{name}_ci"] = interval(draws) if len(draws) and np.isfinite(value) else None
    return table


def resamples(size: int) -> Iterator[Floats]:
    """How often each row is drawn: arrays (draws, size), `RESAMPLES` draws in all.

    The same draws for the same size, so that figures of two systems can be paired.
    """
    if not size:
        return
    generator = np.random.default_rng(SEED)
    at_once = max(1, min(RESAMPLES, _CELLS_AT_ONCE // size))
    for done in range(0, RESAMPLES, at_once):
        draws = min(at_once, RESAMPLES - done)
        chosen = generator.integers(size, size=(draws, size))
        chosen += np.arange(draws)[:, None] * size
        counts = np.bincount(chosen.ravel(), minlength=draws * size)
        yield counts.reshape(draws, size).astype(np.float64)


def _ranking(scores: Floats) -> NDArray[np.intp]:
    """Places from the highest score to the lowest, of each column."""
    return np.argsort(-scores, axis=0, kind="stable")


def estimates(
    average: Average, weights: Floats, truth: Bools, predicted: Bools, scores: Floats
) -> dict[str, Floats]:
    """Every figure for every row of `weights` (draws, n); NaN where it is not defined.

    `truth`, `predicted` and `scores` are (n, labels); the average "positive" takes the second of
    two labels for the positive class.
    """
    occurs = np.flatnonzero(truth.any(axis=0))
    order = _ranking(scores)
    right = weights @ (truth & predicted)
    have = weights @ truth
    said = weights @ predicted
    ranked_columns = [1] if average == "positive" else list(occurs)
    ranked = np.stack(
        [np.full(len(weights), np.nan)]
        + [
            _average_precision(weights, truth[:, at], scores[:, at], order[:, at])
            for at in ranked_columns
        ],
        axis=1,
    )
    with np.errstate(divide="ignore", invalid="ignore"):
        precision, recall = right / said, right / have
        f1 = np.where(have > 0, 2 * right / (have + said), np.nan)
        # A label that occurs and is never predicted counts 0 in the macro average.
        filled = np.where(said > 0, precision, np.where(have > 0, 0.0, np.nan))
        figures = {
            "macro_precision": _mean(filled[:, occurs]),
            "macro_recall": _mean(recall[:, occurs]),
            "macro_f1": _mean(f1[:, occurs]),
            "average_precision": _mean(ranked),
        }
        if average == "positive":
            figures |= {"precision": precision[:, 1], "recall": recall[:, 1], "f1": f1[:, 1]}
        elif average == "macro":
            figures |= {name: figures[f"macro_{name}"] for name in ("precision", "recall", "f1")}
        else:
            all_right, all_have, all_said = (part.sum(axis=1) for part in (right, have, said))
            figures["precision"] = all_right / all_said
            figures["recall"] = all_right / all_have
            figures["f1"] = np.where(all_have > 0, 2 * all_right / (all_have + all_said), np.nan)
        figures["accuracy"] = weights @ (truth == predicted).all(axis=1) / weights.sum(axis=1)
    return {name: figures[name] for name in FIGURES}


def _mean(columns: Floats) -> Floats:
    """Mean over the columns that are defined, for each row."""
    defined = np.isfinite(columns)
    means: Floats = np.where(defined, columns, 0.0).sum(axis=1) / defined.sum(axis=1)
    return means


def _average_precision(
    weights: Floats, truth: Bools, scores: Floats, order: NDArray[np.intp]
) -> Floats:
    """Sum of precision times gain in recall, over the distinct scores from high to low (draws,).

    The definition of sklearn.metrics.average_precision_score, for many weightings at once.
    """
    if not len(truth):
        return np.full(len(weights), np.nan)
    ranked = weights[:, order]
    ends = np.append(np.flatnonzero(np.diff(scores[order])), len(order) - 1)
    found = np.cumsum(ranked * truth[order], axis=1)[:, ends]
    seen = np.cumsum(ranked, axis=1)[:, ends]
    gains = np.diff(found, axis=1, prepend=0.0)
    with np.errstate(divide="ignore", invalid="ignore"):
        precision = np.where(seen > 0, found / seen, 0.0)
        averaged: Floats = (gains * precision).sum(axis=1) / found[:, -1]
    return averaged
