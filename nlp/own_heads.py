"""Heads fitted on a user's own labels, on top of the shipped model as it is.

The features of a text are its vector and the shipped logits; a head is one logistic regression
(nlp/own_fit.py fits it). It answers in the languages in which it beat the shipped head. What is
stored are plain numbers, never a text.
"""

from __future__ import annotations

import hashlib
import json
import logging
import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from .base import SENTIMENTS, STAGES, ModelMissing, NlpError
from .encoder import VECTOR, WIDTH, Encoder
from .evaluation import Probabilities
from .metrics import Floats
from .reading import prepare

logger = logging.getLogger(__name__)

FILE = "own_heads.json"
FORMAT = 1
FEATURES = VECTOR + WIDTH
FIGURES = ("f1", "average_precision")
_DIGITS = 6


class BadOwnHeads(NlpError):
    """A file that holds no heads of this version."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Comparison:
    """A fitted head against the shipped one in one language, on rows it was not fitted on.

    `own` and `shipped` have "f1" (macro F1 for stage and sentiment) and "average_precision";
    `error` is the standard error of their difference, by figure. `threshold` is the probability
    from which a yes/no head says yes. `n` counts different texts, `positives` those whose label is
    not "0", "none" or "neu".
    """

    n: int
    positives: int
    own: Mapping[str, float]
    shipped: Mapping[str, float]
    error: Mapping[str, float]
    threshold: float

    @property
    def better(self) -> bool:
        """Whether both figures lie above the shipped ones by more than the standard error."""
        return all(self.own[name] - self.shipped[name] > self.error[name] for name in FIGURES)


@dataclass(frozen=True, slots=True, kw_only=True)
class Fitted:
    """One head: `weights` (labels, 404) and `bias` (labels,) of the raw features.

    A yes/no head has the one label "1". `compared` has the languages that had labels enough.
    """

    labels: tuple[str, ...]
    weights: Floats
    bias: Floats
    compared: Mapping[str, Comparison]

    def probabilities(self, features: Floats) -> Floats:
        """(n, labels) of features (n, 404)."""
        scores = features @ self.weights.T + self.bias
        if len(self.labels) == 1:
            chances: Floats = 1 / (1 + np.exp(-np.clip(scores, -60, 60)))
            return chances
        power = np.exp(scores - scores.max(axis=1, keepdims=True, initial=-np.inf))
        shares: Floats = power / power.sum(axis=1, keepdims=True)
        return shares


@dataclass(frozen=True, slots=True, kw_only=True)
class OwnHeads:
    """The fitted heads by name.

    `model` is the version of the shipped model they belong to, `seen` the digests (see `digest`) of
    the texts they were fitted on.
    """

    model: str
    heads: Mapping[str, Fitted]
    seen: frozenset[str]

    def count_seen(self, texts: Sequence[str]) -> int:
        """How many of the texts the heads were fitted on: figures on those flatter."""
        return sum(digest(text) in self.seen for text in texts)

    def winners(self) -> dict[str, tuple[str, ...]]:
        """For each head that beats the shipped one somewhere, the languages in which it does."""
        found: dict[str, tuple[str, ...]] = {}
        for head, fitted in self.heads.items():
            langs = tuple(lang for lang, one in fitted.compared.items() if one.better)
            if langs:
                found[head] = langs
        return found

    def save(self, path: Path) -> None:
        """Writes JSON; makes its folder."""
        document = {
            "format": FORMAT,
            "model": self.model,
            "heads": {
                head: {
                    "labels": fitted.labels,
                    "bias": _rounded(fitted.bias),
                    "weights": [_rounded(row) for row in fitted.weights],
                    "languages": {
                        lang: {
                            "used": one.better,
                            "n": one.n,
                            "positives": one.positives,
                            "threshold": round(one.threshold, _DIGITS),
                            "own": dict(one.own),
                            "shipped": dict(one.shipped),
                            "error": dict(one.error),
                        }
                        for lang, one in fitted.compared.items()
                    },
                }
                for head, fitted in self.heads.items()
            },
            "seen": sorted(self.seen),
        }
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(json.dumps(document, allow_nan=False) + "\n", "utf-8")


def load(path: Path) -> OwnHeads:
    """Reads what `save` wrote; raises ModelMissing without a file, BadOwnHeads for another one."""
    hint = "fit them again with `listener train --labels FILE`, or remove the file"
    try:
        document = json.loads(path.read_bytes())
        if document["format"] != FORMAT:
            raise BadOwnHeads(f"{path} was written by another version of Listener; {hint}")
        heads = {head: _fitted(head, given) for head, given in document["heads"].items()}
        seen = frozenset(map(str, document["seen"]))
        return OwnHeads(model=str(document["model"]), heads=heads, seen=seen)
    except OSError as error:
        raise ModelMissing(
            f"{path} cannot be read ({error.strerror}): `listener train --labels FILE` writes it"
        ) from error
    except (ValueError, KeyError, TypeError, AttributeError) as error:
        raise BadOwnHeads(f"{path} holds no heads ({error!r}); {hint}") from error


def _fitted(head: str, given: Mapping[str, Any]) -> Fitted:
    labels = tuple(given["labels"])
    weights, bias = np.array(given["weights"], float), np.array(given["bias"], float)
    if labels != labels_of(head) or weights.shape != (len(labels), FEATURES):
        raise ValueError(f"{head} has other labels or features")
    if bias.shape != (len(labels),) or not (np.isfinite(weights).all() and np.isfinite(bias).all()):
        raise ValueError(f"{head} has numbers that cannot be")
    names = ("n", "positives", "own", "shipped", "error", "threshold")
    compared = {
        lang: Comparison(**{name: one[name] for name in names})
        for lang, one in given["languages"].items()
    }
    return Fitted(labels=labels, weights=weights, bias=bias, compared=compared)


class OwnHead:
    """A fitted head that answers for `langs`; a `Head` of `ReplacedTagger`."""

    latin = True

    def __init__(
        self, encoder: Encoder, fitted: Fitted, *, version: str, langs: Sequence[str]
    ) -> None:
        self._encoder = encoder
        self._fitted = fitted
        self.version = version
        self.langs = frozenset(langs)

    def probabilities(self, texts: Sequence[str]) -> list[dict[str, float]]:
        """See `Head`."""
        scores = self._fitted.probabilities(features(self._encoder, texts))
        return [dict(zip(self._fitted.labels, row, strict=True)) for row in scores.tolist()]

    def threshold(self, lang: str) -> float:
        """The cut with the best F1 in cross-validation."""
        return self._fitted.compared[lang].threshold


def opened(own: OwnHeads, encoder: Encoder, *, only_winners: bool = True) -> dict[str, OwnHead]:
    """The heads ready for `ReplacedTagger`: those that won, or all that were compared.

    Heads fitted for another version of the shipped model are left out, with a warning in the log.
    """
    if own.model != encoder.heads.version:
        logger.warning(
            "own heads belong to another version of the model and are not used: "
            "fit them again with `listener train --labels FILE`"
        )
        return {}
    every = {head: tuple(fitted.compared) for head, fitted in own.heads.items()}
    chosen = own.winners() if only_winners else every
    return {
        head: OwnHead(encoder, own.heads[head], version=_version(own.heads[head]), langs=langs)
        for head, langs in chosen.items()
    }


def _version(fitted: Fitted) -> str:
    cuts = [(lang, one.threshold, one.better) for lang, one in sorted(fitted.compared.items())]
    return f"own {_rounded(fitted.bias)} {[_rounded(row) for row in fitted.weights]} {cuts}"


class OwnPredictor:
    """The fitted heads alone, for `nlp.evaluation`: gives only what they answer for."""

    def __init__(self, heads: Mapping[str, OwnHead]) -> None:
        self._heads = heads

    def probabilities(self, texts: Sequence[str], langs: Sequence[str]) -> list[Probabilities]:
        """See `Predictor`; a text in a language that a head was not fitted for lacks the head."""
        found: list[Probabilities] = [{} for _ in texts]
        for name, head in self._heads.items():
            for known, lang, scores in zip(found, langs, head.probabilities(texts), strict=True):
                if lang in head.langs:
                    known[name] = scores
        return found

    def threshold(self, head: str, lang: str, label: str) -> float:
        """See `Predictor`."""
        return self._heads[head].threshold(lang)


def same(text: str) -> str:
    """What texts that are the same to the model have in common."""
    return " ".join(prepare(text).casefold().split())


def digest(text: str) -> str:
    """Twelve hex digits by which a text is known again, whatever its case and spaces."""
    return hashlib.sha256(same(text).encode()).hexdigest()[:12]


def labels_of(head: str) -> tuple[str, ...]:
    """The labels that get a probability; a yes/no head has "1"."""
    return {"stage": STAGES, "sentiment": SENTIMENTS}.get(head, ("1",))


def features(encoder: Encoder, texts: Sequence[str]) -> Floats:
    """Vectors and logits of the texts, (n, 404)."""
    logits, vectors = encoder.run(texts)
    return np.hstack([vectors, logits]).astype(np.float64)


def _rounded(numbers: Floats) -> list[float]:
    """Six significant digits: far below what a probability shows."""
    return [float(f"{number:.{_DIGITS}g}") if math.isfinite(number) else 0.0 for number in numbers]
