"""Quick figures while training: which epoch is best, which threshold. Reports use `nlp.metrics`."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from nlp.base import BINARY_HEADS, LANGUAGES
from nlp.encoder import Floats, columns

from .data import NO_LABEL, Row

Ints = NDArray[np.int64]


def truth(rows: Sequence[Row], head: str) -> Ints:
    """Label of each row for `head`: an index, 0/1, or (for signals) 0/1 per signal."""
    if head in {"stage", "sentiment"}:
        return np.array([getattr(row, head) for row in rows], np.int64)
    start = columns("intent").start
    part = columns(head)
    flags = np.array([row.flags for row in rows], np.int64)
    flags = flags.reshape(len(rows), -1)[:, part.start - start : part.stop - start]
    return flags if head == "signal" else flags[:, 0]


def macro_f1(true: Ints, found: Ints) -> float:
    """Mean F1 over the classes that occur in `true` or `found`."""
    classes = np.union1d(true, found)
    return float(np.mean([f1(true == one, found == one) for one in classes]))


def f1(true: NDArray[np.bool_], found: NDArray[np.bool_]) -> float:
    """F1 of the positive class; 0 when there is neither a hit nor a miss."""
    both = true.sum() + found.sum()
    return float(2 * (true & found).sum() / both) if both else 0.0


def average_precision(true: Ints, score: Floats) -> float:
    """Mean precision over the ranks of the positives; 0 without a positive."""
    from sklearn.metrics import average_precision_score

    if not true.any():
        return 0.0
    return float(average_precision_score(true, score))


def target_f1(rows: Sequence[Row], logits: Floats) -> float:
    """Macro-F1 of the sentiment toward the targets of rows; logits [targets, 3] in their order."""
    true = np.array([sentiment for row in rows for _, _, sentiment in row.targets], np.int64)
    return macro_f1(true, logits.argmax(1)) if len(true) else 0.0


def best_threshold(true: Ints, probability: Floats, low: float = 0.1, high: float = 0.9) -> float:
    """Probability from `low` to `high` with the best F1, in the middle of nearly equal ones.

    0.5 without a positive.
    """
    if not true.any():
        return 0.5
    grid = np.linspace(low, high, round((high - low) * 100) + 1)
    scores = np.array([f1(true == 1, probability >= one) for one in grid])
    good = grid[scores >= scores.max() - 0.005]
    return round(float(np.median(good)), 3)


def selection(held: Sequence[Row], logits: Floats) -> dict[str, float]:
    """Held-out figures per language, and "score", the mean by which an epoch is chosen."""
    out: dict[str, float] = {}
    for lang in LANGUAGES:
        places = [at for at, row in enumerate(held) if row.lang == lang]
        rows, part = [held[at] for at in places], logits[places]
        funnel = [at for at, row in enumerate(rows) if row.stage != NO_LABEL]
        some = [rows[at] for at in funnel]
        for head in BINARY_HEADS:
            score = part[funnel][:, columns(head)][:, 0]
            out[f"{head}_ap_{lang}"] = average_precision(truth(some, head), score)
        stage = part[funnel][:, columns("stage")].argmax(1)
        out[f"stage_f1_{lang}"] = macro_f1(truth(some, "stage"), stage)
        signals = part[funnel][:, columns("signal")]
        known = truth(some, "signal")
        out[f"signal_ap_{lang}"] = float(
            np.mean(
                [average_precision(known[:, at], signals[:, at]) for at in range(known.shape[1])]
            )
        )
        tone = part[:, columns("sentiment")].argmax(1)
        out[f"sentiment_f1_{lang}"] = macro_f1(truth(rows, "sentiment"), tone)
    weights = {"early_ap": 2.0, "stage_f1": 1.0, "intent_ap": 1.0, "sentiment_f1": 1.0}
    parts = [
        weight * out[f"{name}_{lang}"] for name, weight in weights.items() for lang in LANGUAGES
    ]
    out["score"] = sum(parts) / (len(LANGUAGES) * sum(weights.values()))
    return out
