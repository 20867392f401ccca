"""Logits to probabilities: one scale per head and language, for yes/no heads also a bias.

Platt scaling for the yes/no heads and signals, temperature for stage and sentiment. A
prior pulls each language towards the parameters of all rows together, which have a prior of their
own, so that a head with few positives in one language stays sober.
"""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from nlp.base import BINARY_HEADS, LANGUAGES
from nlp.encoder import HEADS, POOLED, Floats, Heads, columns, parse_heads

from .data import NO_LABEL, Row
from .files import heads_body
from .measure import best_threshold, truth

Doubles = NDArray[np.float64]

FOLDS = 5
_PRIOR = 4.0
"""Weight of the prior in rows: a shift by one of log scale or bias costs as much as 2 nats."""
# F1 hardly changes there, and a threshold far from one half fits the rows, not the language.
_RANGE = {"intent": (0.4, 0.6), "early": (0.4, 0.6)}
# No bias: it lowers the log loss a little and hides the rare stages (3 points of macro-F1 or more).
_EXCLUSIVE = ("stage", "sentiment")


def fit_temperature(logits: Floats, true: NDArray[np.int64], start: float) -> float:
    """Log scale of least log loss, near `start` (Guo et al., 2017)."""

    def cost(point: Doubles) -> float:
        scores = logits * np.exp(point[0])
        top = scores.max(1)
        total = top + np.log(np.exp(scores - top[:, None]).sum(1))
        found = total - scores[np.arange(len(true)), true]
        return float(found.sum() + _PRIOR / 2 * (point[0] - start) ** 2)

    return float(_least(cost, np.array([start]))[0])


def fit_platt(logits: Floats, true: NDArray[np.int64], start: Doubles) -> Doubles:
    """[log scale, bias] of least log loss, near `start` (Platt, 1999)."""
    signs = 1 - 2 * true

    def cost(point: Doubles) -> float:
        scores = logits * np.exp(point[0]) + point[1]
        return float(
            np.logaddexp(0, signs * scores).sum() + _PRIOR / 2 * ((point - start) ** 2).sum()
        )

    return _least(cost, start)


def _least(cost: Any, start: Doubles) -> Doubles:
    from scipy.optimize import minimize

    return np.asarray(minimize(cost, start, method="L-BFGS-B").x)


def fit(rows: Sequence[Row], logits: Floats) -> dict[str, dict[str, dict[str, list[float]]]]:
    """{head: {language or "*": {"scale": [...], "bias": [...]}}}, one number for each label."""
    out: dict[str, dict[str, dict[str, list[float]]]] = {}
    for head, labels in HEADS.items():
        width = len(labels)
        part = logits[:, columns(head)]
        known = _known(rows, head)
        pooled = _fit_head(head, part, known, np.zeros((width, 2)))
        found = {POOLED: pooled}
        for lang in LANGUAGES:
            here = np.array([row.lang == lang for row in rows])
            mine = [one[here] for one in known]
            found[lang] = _fit_head(head, part[here], mine, pooled)
        out[head] = {
            lang: {
                "scale": np.exp(one[:, 0]).round(5).tolist(),
                "bias": one[:, 1].round(5).tolist(),
            }
            for lang, one in found.items()
        }
    return out


def _known(rows: Sequence[Row], head: str) -> list[NDArray[np.int64]]:
    """Per column group of `head`: the labels, `NO_LABEL` where a row has none."""
    if head in _EXCLUSIVE:
        return [truth(rows, head)]
    full = np.full((len(rows), len(HEADS[head])), NO_LABEL)
    places = [at for at, row in enumerate(rows) if row.flags]
    full[places] = truth([rows[at] for at in places], head).reshape(len(places), -1)
    return list(full.T)


def _fit_head(
    head: str, logits: Floats, known: Sequence[NDArray[np.int64]], start: Doubles
) -> Doubles:
    """[labels, (log scale, bias)] of one head."""
    if head in _EXCLUSIVE:
        (true,) = known
        has = true != NO_LABEL
        found = fit_temperature(logits[has], true[has], float(start[0, 0]))
        return np.column_stack([np.full(len(start), found), np.zeros(len(start))])
    rows = []
    for at, true in enumerate(known):
        has = true != NO_LABEL
        rows.append(fit_platt(logits[has, at], true[has], start[at]))
    return np.array(rows)


def fit_toward(rows: Sequence[Row], logits: Floats) -> float:
    """Scale of the logits [targets, 3] of the sentiment toward the targets of rows, in order."""
    true = np.array([sentiment for row in rows for _, _, sentiment in row.targets], np.int64)
    return round(float(np.exp(fit_temperature(logits, true, 0.0))), 5)


def thresholds(rows: Sequence[Row], probabilities: Floats) -> dict[str, Any]:
    """{head: {language or "*": {label: probability}}} of best F1 on rows that have flags."""
    places = [at for at, row in enumerate(rows) if row.flags]
    rows, probabilities = [rows[at] for at in places], probabilities[places]
    groups = {POOLED: np.ones(len(rows), bool)}
    for lang in LANGUAGES:
        groups[lang] = np.array([row.lang == lang for row in rows])
    out: dict[str, Any] = {}
    for head in (*BINARY_HEADS, "signal"):
        known = truth(rows, head).reshape(len(rows), -1)
        part = probabilities[:, columns(head)]
        # Signals are too rare per language: all languages share one threshold.
        here = {POOLED: groups[POOLED]} if head == "signal" else groups
        out[head] = {
            lang: {
                label: best_threshold(known[mine, at], part[mine, at], *_RANGE.get(head, ()))
                for at, label in enumerate(HEADS[head])
            }
            for lang, mine in here.items()
        }
    return out


def fold(row: Row) -> int:
    """Fold of a row, by hash of its id."""
    digest = hashlib.sha1(f"fold {row.id}".encode(), usedforsecurity=False).digest()
    return digest[0] % FOLDS


def calibrated(rows: Sequence[Row], logits: Floats, toward: float = 1.0) -> dict[str, Any]:
    """Body of `heads.json` with calibration and thresholds fitted on the rows."""
    scales = fit(rows, logits)
    heads = parse_heads({"version": "", **heads_body(scales, {})})
    limits = thresholds(rows, heads.probabilities(logits, [row.lang for row in rows]))
    return heads_body(scales, limits, toward)


def cross_fitted(
    held: Sequence[Row], held_logits: Floats, dev: Sequence[Row], dev_logits: Floats
) -> tuple[Floats, list[Heads]]:
    """Probabilities of dev rows, each by heads fitted without its fold, and those heads per row.

    The held-out rows take part in every fit.
    """
    folds = np.array([fold(row) for row in dev])
    out = np.zeros_like(dev_logits)
    used: dict[int, Heads] = {}
    for one in range(FOLDS):
        rest = np.flatnonzero(folds != one).tolist()
        rows = [*held, *(dev[at] for at in rest)]
        body = calibrated(rows, np.concatenate([held_logits, dev_logits[rest]]))
        heads = parse_heads({"version": "", **body})
        mine = np.flatnonzero(folds == one).tolist()
        out[mine] = heads.probabilities(dev_logits[mine], [dev[at].lang for at in mine])
        used[one] = heads
    return out, [used[one] for one in folds]
