"""The re-ranker: what a user's verdicts say of alerts to come, used only when shown to be better.

A logistic regression on the frozen embedding of the post and the parts of the alert's score. It is
fitted anew from the verdicts each time; nothing of it is stored but the vectors.
"""

from __future__ import annotations

import hashlib
import json
import sqlite3
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Literal, Protocol

import numpy as np
from numpy.typing import NDArray

from .feedback import labels
from .steps import document
from .store import Store

if TYPE_CHECKING:
    from sklearn.linear_model import LogisticRegression

LEAST = 40
"""Judged alerts from which the re-ranker is tried."""
LEAST_EACH = 8
"""Conversations with a useful alert, and with one that is not, from which it is tried."""
FOLDS = 5
_SEED = 20_240_229
_DRAWS = 100
_STRONGEST = 5
# The whole embedding varies as much as so many score parts; with the inverse penalty below, a
# few dozen verdicts move the ranking and do not overturn it.
_EMBEDDING_WEIGHT = 4.0
_C = 0.1
_CONSTANT = 1e-9
_STORED = np.dtype("<f2")

Floats = NDArray[np.float64]
Code = Literal["too-few-labels", "one-sided", "no-better", "better"]


class _Versioned(Protocol):
    @property
    def version(self) -> str:
        """Changes with the vectors."""


class Embeds(Protocol):
    """Texts to vectors: `nlp.encoder.Encoder`."""

    @property
    def heads(self) -> _Versioned:
        """What holds the version of the model."""

    def run(self, texts: Sequence[str]) -> tuple[NDArray[Any], NDArray[Any]]:
        """Logits and vectors [n, d] of the texts."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Candidate:
    """An alert to be ranked: its post, its score, and the points of its parts by code."""

    mention_id: int
    score: int
    parts: Mapping[str, int]


@dataclass(frozen=True, slots=True, kw_only=True)
class Explanation:
    """Whether the re-ranker is used, and why.

    `code` is "better" (it is used), "no-better", "one-sided" (too few useful alerts, or too few
    that are not) or "too-few-labels". `score_ap` and `model_ap` are average precisions on verdicts
    that the model was not fitted to, `error` the standard error of their difference; None where
    nothing was tried. `parts` are the score parts with the largest weights, by code.
    """

    code: Code
    n: int
    useful: int
    conversations: int
    folds: int
    score_ap: float | None
    model_ap: float | None
    error: float | None
    parts: tuple[tuple[str, float], ...]

    @property
    def used(self) -> bool:
        """Whether alerts are ranked by it."""
        return self.code == "better"


@dataclass(frozen=True, slots=True, kw_only=True)
class Fitted:
    """A fitted model with what its features were centred and scaled by."""

    codes: tuple[str, ...]
    means: Floats
    scales: Floats
    model: LogisticRegression

    def probabilities(self, candidates: Sequence[Candidate], vectors: Floats) -> Floats:
        """Probability [n] that each alert will be called useful."""
        rows = (_features(candidates, vectors, self.codes) - self.means) / self.scales
        found: Floats = self.model.predict_proba(rows)[:, 1]
        return found


@dataclass(frozen=True, slots=True, kw_only=True)
class Reranker:
    """What was learnt; `fitted` is None unless the explanation says that it is used."""

    explanation: Explanation
    fitted: Fitted | None


@dataclass(frozen=True, slots=True, kw_only=True)
class _Labels:
    candidates: tuple[Candidate, ...]
    useful: NDArray[np.bool_]
    conversations: NDArray[np.int64]


def learn(store: Store, encoder: Embeds) -> Reranker:
    """Learn from all verdicts but `late`, whose alerts were right and came too late.

    Used when, in cross-validation by conversation, it ranks better than the score alone by more
    than the standard error of the difference (bootstrap over conversations), with at least `LEAST`
    verdicts and `LEAST_EACH` conversations of either kind. The same verdicts give the same result.
    Alerts and posts that have been erased take no part. Raises `ModelMissing` without model files.
    """
    found = _labels(store)
    few = _too_few(found)
    if few is not None:
        return Reranker(explanation=_explained(found, few), fitted=None)
    vectors = stored_vectors(store, encoder, [one.mention_id for one in found.candidates])
    expected = _cross_validated(found, vectors)
    score = np.array([one.score for one in found.candidates], np.float64)
    score_ap, model_ap, error = _compared(found, score, expected)
    better = model_ap - score_ap > error
    fitted = _fit(found.candidates, vectors, found.useful)
    explanation = _explained(
        found,
        "better" if better else "no-better",
        folds=FOLDS,
        score_ap=score_ap,
        model_ap=model_ap,
        error=error,
        parts=_strongest(fitted),
    )
    return Reranker(explanation=explanation, fitted=fitted if better else None)


def explain(store: Store, encoder: Embeds) -> Explanation:
    """Whether the re-ranker is used, and why; see `learn`."""
    return learn(store, encoder).explanation


def expected(
    store: Store, encoder: Embeds, reranker: Reranker, candidates: Sequence[Candidate]
) -> list[float]:
    """What each alert is worth, 0 to 1, to rank them by.

    The probability that it will be called useful where the re-ranker is used, else score / 100.
    """
    if reranker.fitted is None:
        return [candidate.score / 100 for candidate in candidates]
    if not candidates:
        return []
    vectors = stored_vectors(store, encoder, [one.mention_id for one in candidates])
    found: list[float] = reranker.fitted.probabilities(candidates, vectors).tolist()
    return found


def points(parts: str) -> dict[str, int]:
    """Points by code of the JSON in `alerts.parts`."""
    return {part["code"]: part["points"] for part in json.loads(parts)}


def stored_vectors(store: Store, encoder: Embeds, mention_ids: Sequence[int]) -> Floats:
    """Vectors [n, d] of posts, in their order; those not stored yet are computed and stored.

    One that belongs to another model or to a text that was edited since is computed again. Raises
    `KeyError` for a post that is not stored.
    """
    wanted = json.dumps(list(dict.fromkeys(mention_ids)))
    model = encoder.heads.version
    known: dict[int, bytes] = {}
    missing: list[tuple[int, str, str]] = []
    for row in store.rows(
        "SELECT m.id, m.title, m.text, v.version, v.vector FROM mentions m "
        "LEFT JOIN vectors v ON v.mention_id = m.id "
        "WHERE m.id IN (SELECT value FROM json_each(?)) ORDER BY m.id",
        (wanted,),
    ):
        text = document(row["title"], row["text"])
        version = f"{model}:{hashlib.sha256(text.encode()).hexdigest()[:16]}"
        if row["version"] == version:
            known[row["id"]] = row["vector"]
        else:
            missing.append((row["id"], version, text))
    if missing:
        _, vectors = encoder.run([text for _, _, text in missing])
        rows = [
            (mention_id, version, vector.astype(_STORED).tobytes())
            for (mention_id, version, _), vector in zip(missing, vectors, strict=True)
        ]
        with store.write() as connection:
            # A post that was erased meanwhile has no place for a vector.
            connection.executemany(
                "INSERT OR REPLACE INTO vectors SELECT id, ?2, ?3 FROM mentions WHERE id = ?1", rows
            )
        known |= {mention_id: vector for mention_id, _, vector in rows}
    # Rounded as stored, so that a vector is the same whether or not it was stored before.
    return np.array([np.frombuffer(known[one], _STORED).astype(np.float64) for one in mention_ids])


def _labels(store: Store) -> _Labels:
    alerts: dict[int, sqlite3.Row] = {
        row["id"]: row
        for row in store.rows(
            "SELECT a.id, a.mention_id, a.conversation_id, a.score, a.parts "
            "FROM alerts a JOIN mentions m ON m.id = a.mention_id "
            "WHERE a.id IN (SELECT alert_id FROM feedback) "
            "AND (m.text <> '' OR m.title IS NOT NULL)"
        )
    }
    judged = [
        (label, alerts[label.alert_id])
        for label in labels(store)
        if label.alert_id in alerts and label.verdict != "late"
    ]
    return _Labels(
        candidates=tuple(
            Candidate(
                mention_id=alert["mention_id"], score=alert["score"], parts=points(alert["parts"])
            )
            for _, alert in judged
        ),
        useful=np.array([label.useful for label, _ in judged], bool),
        conversations=np.array([alert["conversation_id"] for _, alert in judged], np.int64),
    )


def _too_few(found: _Labels) -> Code | None:
    if len(found.candidates) < LEAST:
        return "too-few-labels"
    either = (found.conversations[found.useful], found.conversations[~found.useful])
    if min(len(np.unique(one)) for one in either) < LEAST_EACH:
        return "one-sided"
    return None


def _features(candidates: Sequence[Candidate], vectors: Floats, codes: Sequence[str]) -> Floats:
    parts = [[one.score, *(one.parts.get(code, 0) for code in codes)] for one in candidates]
    return np.hstack([np.array(parts, np.float64), vectors])


def _fit(candidates: Sequence[Candidate], vectors: Floats, useful: NDArray[np.bool_]) -> Fitted:
    from sklearn.linear_model import LogisticRegression

    codes = tuple(sorted({code for one in candidates for code in one.parts}))
    rows = _features(candidates, vectors, codes)
    means, scales = rows.mean(axis=0), rows.std(axis=0)
    embedding = slice(1 + len(codes), None)
    # Score and parts vary by 1 each, the embedding by a few in all; its own proportions are kept.
    scales[embedding] = np.sqrt(np.sum(scales[embedding] ** 2) / _EMBEDDING_WEIGHT)
    scales[scales < _CONSTANT] = 1.0
    model = LogisticRegression(C=_C, max_iter=1000)
    model.fit((rows - means) / scales, useful)
    return Fitted(codes=codes, means=means, scales=scales, model=model)


def _cross_validated(found: _Labels, vectors: Floats) -> Floats:
    """For each verdict, the probability by a model that saw nothing of its conversation."""
    from sklearn.model_selection import StratifiedGroupKFold

    folds = StratifiedGroupKFold(FOLDS, shuffle=True, random_state=_SEED)
    expected = np.zeros(len(found.candidates))
    for seen, left in folds.split(vectors, found.useful, found.conversations):
        fitted = _fit([found.candidates[i] for i in seen], vectors[seen], found.useful[seen])
        expected[left] = fitted.probabilities([found.candidates[i] for i in left], vectors[left])
    return expected


def _compared(found: _Labels, score: Floats, expected: Floats) -> tuple[float, float, float]:
    """Average precision of both, and the standard error of their difference."""
    from sklearn.metrics import average_precision_score

    names, places = np.unique(found.conversations, return_inverse=True)
    generator = np.random.default_rng(_SEED)
    differences = []
    for _ in range(_DRAWS):
        counts = np.bincount(generator.integers(len(names), size=len(names)), minlength=len(names))
        weights = counts[places]
        if weights[found.useful].any():
            differences.append(
                average_precision_score(found.useful, expected, sample_weight=weights)
                - average_precision_score(found.useful, score, sample_weight=weights)
            )
    return (
        float(average_precision_score(found.useful, score)),
        float(average_precision_score(found.useful, expected)),
        float(np.std(differences, ddof=1)),
    )


def _strongest(fitted: Fitted) -> tuple[tuple[str, float], ...]:
    """Score parts by the size of their weight, which is per standard deviation, in log-odds."""
    weights = zip(("score", *fitted.codes), fitted.model.coef_[0], strict=False)
    ranked = sorted(weights, key=lambda pair: (-abs(pair[1]), pair[0]))
    return tuple((code, round(float(weight), 3)) for code, weight in ranked[:_STRONGEST])


def _explained(
    found: _Labels,
    code: Code,
    *,
    folds: int = 0,
    score_ap: float | None = None,
    model_ap: float | None = None,
    error: float | None = None,
    parts: tuple[tuple[str, float], ...] = (),
) -> Explanation:
    return Explanation(
        code=code,
        n=len(found.candidates),
        useful=int(found.useful.sum()),
        conversations=len(np.unique(found.conversations)),
        folds=folds,
        score_ap=score_ap,
        model_ap=model_ap,
        error=error,
        parts=parts,
    )
