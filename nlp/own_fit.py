"""Fits heads on a user's own labels and says where they beat the shipped ones.

Cross-validation decides per head and language: F1 and average precision both have to lie above the
shipped ones by more than the standard error of the paired difference (bootstrap over texts). Equal
texts stay in one fold.
"""

from __future__ import annotations

import logging
from collections import Counter
from collections.abc import Mapping, Sequence

import numpy as np
from numpy.typing import NDArray

from .base import BINARY_HEADS, NlpError
from .encoder import VECTOR, Encoder, FunnelTagger
from .evaluation import Row
from .metrics import Average, Bools, Floats, estimates, resamples
from .own_heads import (
    FEATURES,
    FIGURES,
    Comparison,
    Fitted,
    OwnHeads,
    digest,
    features,
    labels_of,
    same,
)
from .replaced import REPLACEABLE

logger = logging.getLogger(__name__)

Places = NDArray[np.intp]

SEED = 20_240_229
FOLDS = 5
MIN_ROWS = 60
"""A language needs so many different texts that have the head's label."""
MIN_EACH = 10
"""And so many of them for each label of the head (for a yes/no head: yes and no)."""

_REST = {"stage": "none", "sentiment": "neu", **dict.fromkeys(BINARY_HEADS, "0")}
# On this project's own labels 0.003 to 0.03 do alike.
_STRENGTH = 0.01
# The shipped logits already hold most of the answer: shrunk less than the vector.
_LOGITS = 4.0


class TooFewLabels(NlpError):
    """Labels too few for any head; the text says how many there are and how many it takes."""


def fit(rows: Sequence[Row], encoder: Encoder, heads: Sequence[str] = REPLACEABLE) -> OwnHeads:
    """Fits and judges those of `heads` that have labels enough in some language.

    A head is fitted on the rows of every language and judged per language. Raises TooFewLabels
    where no head has enough of them anywhere; see `MIN_ROWS` and `MIN_EACH`.
    """
    chosen = {head: judged for head in heads if (judged := enough(rows, head))}
    if not chosen:
        found = "; ".join(lacking(rows, heads)) or f"no label of {', '.join(heads)}"
        raise TooFewLabels(
            f"too few labels: a head needs at least {MIN_ROWS} different texts in one language, "
            f"{MIN_EACH} or more for each of its labels. Label more posts. Found: {found}"
        )
    texts, langs = [row.text for row in rows], [row.lang for row in rows]
    shipped = FunnelTagger(encoder)
    known = shipped.probabilities(texts, langs)
    numbers = features(encoder, texts)
    fitted = {}
    for head, judged in chosen.items():
        places = [at for at, row in enumerate(rows) if getattr(row, head) is not None]
        fitted[head] = _fit_head(
            head,
            [rows[at] for at in places],
            numbers[places],
            [known[at][head] for at in places],
            shipped,
            judged,
        )
        logger.info("fitted %s on %d rows", head, len(places))
    seen = frozenset(map(digest, texts))
    return OwnHeads(model=encoder.heads.version, heads=fitted, seen=seen)


def enough(rows: Sequence[Row], head: str) -> tuple[str, ...]:
    """The languages with labels enough to judge the head."""
    counts = counted(rows, head)
    return tuple(
        lang
        for lang, by_label in counts.items()
        if sum(by_label.values()) >= MIN_ROWS and min(by_label.values()) >= MIN_EACH
    )


def counted(rows: Sequence[Row], head: str) -> dict[str, dict[str, int]]:
    """How many different texts of each language have each label of the head."""
    texts = {(row.lang, same(row.text), _label(row, head)) for row in rows if _has(row, head)}
    counts = Counter((lang, label) for lang, _, label in texts)
    return {
        lang: {label: counts[lang, label] for label in _every(head)}
        for lang in sorted({lang for lang, _ in counts})
    }


def lacking(rows: Sequence[Row], heads: Sequence[str] = REPLACEABLE) -> list[str]:
    """For each head and language that has labels, and too few, how many it has of each."""
    return [
        f"{head} {lang}: " + ", ".join(f"{count} x {label}" for label, count in by_label.items())
        for head in heads
        for lang, by_label in counted(rows, head).items()
        if lang not in enough(rows, head)
    ]


def _fit_head(
    head: str,
    rows: Sequence[Row],
    features: Floats,
    known: Sequence[Mapping[str, float]],
    shipped: FunnelTagger,
    judged: Sequence[str],
) -> Fitted:
    truth = np.array([_every(head).index(_label(row, head)) for row in rows])
    langs = np.array([row.lang for row in rows])
    groups = np.unique([same(row.text) for row in rows], return_inverse=True)[1]
    held_out = _held_out(head, truth, langs, groups, features)
    given = np.array([[one[label] for label in labels_of(head)] for one in known])
    compared = {}
    for lang in judged:
        own = langs == lang
        actual, scores, texts = truth[own], held_out[own], groups[own]
        least = shipped.threshold(head, lang, "1") if _yes_no(head) else 0.5
        cuts = _cross_cuts(actual, scores, texts) if _yes_no(head) else 0.5
        compared[lang] = Comparison(
            n=len(np.unique(texts)),
            positives=len(np.unique(texts[actual != _every(head).index(_REST[head])])),
            threshold=_best_cut(actual, scores) if _yes_no(head) else 0.5,
            **_compare(actual, texts, _said(head, scores, cuts), _said(head, given[own], least)),
        )
    weights, bias = _fit_one(head, truth, features)
    return Fitted(labels=labels_of(head), weights=weights, bias=bias, compared=compared)


def _fit_one(head: str, truth: Places, features: Floats) -> tuple[Floats, Floats]:
    """Weights and bias for the raw features; a label that does not occur is never likely."""
    from sklearn.linear_model import LogisticRegression

    mean, spread = features.mean(axis=0), features.std(axis=0) + 1e-6
    spread[VECTOR:] /= _LOGITS
    model = LogisticRegression(C=_STRENGTH, max_iter=1_000)
    model.fit((features - mean) / spread, truth)
    labels = labels_of(head)
    weights, bias = np.zeros((len(labels), FEATURES)), np.full(len(labels), -30.0)
    found = model.coef_ / spread
    rows = [0] if _yes_no(head) else model.classes_
    weights[rows] = found
    bias[rows] = model.intercept_ - found @ mean
    return weights, bias


def _held_out(
    head: str, truth: Places, langs: NDArray[np.str_], groups: Places, features: Floats
) -> Floats:
    """Probabilities (n, labels) of each row from heads fitted without its text."""
    from sklearn.model_selection import StratifiedGroupKFold

    # Combinations rarer than the folds would only raise a warning.
    kinds = np.unique([f"{lang} {place}" for lang, place in zip(langs, truth, strict=True)],
                      return_inverse=True)[1]  # fmt: skip
    rare = np.bincount(kinds)[kinds] < FOLDS
    kinds[rare] = -1
    found = np.zeros((len(truth), len(labels_of(head))))
    folds = StratifiedGroupKFold(FOLDS, shuffle=True, random_state=SEED)
    for rest, block in folds.split(features, kinds, groups):
        weights, bias = _fit_one(head, truth[rest], features[rest])
        one = Fitted(labels=labels_of(head), weights=weights, bias=bias, compared={})
        found[block] = one.probabilities(features[block])
    return found


def _cross_cuts(truth: Places, scores: Floats, groups: Places) -> Floats:
    """For each row the best cut of the other half of the texts, so that no row chooses its own."""
    generator = np.random.default_rng(SEED)
    half = generator.permutation(groups.max() + 1)[groups] % 2
    cuts = np.zeros(len(truth))
    for side in (0, 1):
        other = half != side
        cuts[half == side] = _best_cut(truth[other], scores[other])
    return cuts


def _best_cut(truth: Places, scores: Floats) -> float:
    """The cut of a yes/no head with the best F1, half way to the next lower score.

    0.5 without positives.
    """
    from sklearn.metrics import precision_recall_curve

    if not truth.any():
        return 0.5
    yes = scores[:, 0]
    precision, recall, cuts = precision_recall_curve(truth, yes)
    f1 = 2 * precision * recall / np.maximum(precision + recall, 1e-9)
    best = cuts[f1[:-1].argmax()]
    return float((best + max(yes[yes < best], default=0.0)) / 2)


def _compare(
    truth: Places, groups: Places, own: tuple[Bools, Floats], shipped: tuple[Bools, Floats]
) -> dict[str, dict[str, float]]:
    """Figures of both, and the standard error of their difference over the same draws of texts."""
    actual: Bools = truth[:, None] == np.arange(own[0].shape[1])
    average: Average = "positive" if own[0].shape[1] == 2 else "macro"
    _, texts = np.unique(groups, return_inverse=True)
    draws = [counts[:, texts] for counts in resamples(texts.max() + 1)]
    weights = np.concatenate([np.ones((1, len(truth))), *draws])
    ours, theirs = (
        estimates(average, weights, actual, said, chances) for said, chances in (own, shipped)
    )
    return {
        "own": {name: float(ours[name][0]) for name in FIGURES},
        "shipped": {name: float(theirs[name][0]) for name in FIGURES},
        "error": {name: float(np.nanstd(ours[name][1:] - theirs[name][1:])) for name in FIGURES},
    }


def _said(head: str, scores: Floats, cut: Floats | float) -> tuple[Bools, Floats]:
    """What the scores (n, labels) say, and the scores; a yes/no head has columns for no and yes."""
    if _yes_no(head):
        yes = scores[:, 0] >= cut
        return np.stack([~yes, yes], axis=1), np.hstack([1 - scores, scores])
    return scores.argmax(axis=1)[:, None] == np.arange(scores.shape[1]), scores


def _yes_no(head: str) -> bool:
    return head in BINARY_HEADS


def _every(head: str) -> tuple[str, ...]:
    """All labels, with the "0" of a yes/no head."""
    return ("0", "1") if _yes_no(head) else labels_of(head)


def _has(row: Row, head: str) -> bool:
    return getattr(row, head) is not None


def _label(row: Row, head: str) -> str:
    value = getattr(row, head)
    return str(int(value)) if isinstance(value, bool) else str(value)
