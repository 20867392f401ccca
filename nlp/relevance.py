"""Whether a name means the brand here.

"Mango" is a shop and a fruit. `Relevance` judges the words around a name by the configuration's
description and examples, and from `ENOUGH` labels on by a regression fitted to the labels;
`exclusions` finds words that give the wrong meaning away.

How meaning is compared: all texts have much in common to the model. The main directions of
everyday posts are that likeness: they are taken out of every vector ("all but the top", Mu and
Viswanath 2018, arXiv 1702.01417). Similarities to a meaning count in standard deviations above
those of the everyday posts, so that a long description weighs no more than a short one.
"""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from functools import cache
from itertools import pairwise
from math import log, sqrt
from typing import NamedTuple, Protocol

import numpy as np
from numpy.typing import NDArray

from .everyday import EVERYDAY

Floats = NDArray[np.float32]
Span = tuple[int, int]

VERSION = "2"
"""Changes when the same words may be judged otherwise."""
ENOUGH = 20
"""Labels from which a regression is fitted, if at least `FEWEST` say yes and as many say no."""
FEWEST = 4
MOST_SPANS = 3
"""Occurrences of a name that are judged in one post; the likeliest counts."""
REACH = 200
"""Characters on each side of a name that are read."""

_SENTENCE_DIRECTIONS, _WORD_DIRECTIONS = 10, 5
_WORD_WEIGHT, _SLOPE = 2.0, 0.5
# Stands for a meaning that nothing is known of, in standard deviations above the everyday posts.
_UNKNOWN = 0.5
# What it says against a name that it is written like a common word, in logits.
_LOWER_CASE = 1.0
_RIDGE = 0.3
_FOLDS = 4
_HASHED = 512
_MOST_WORDS = 50_000
_WORD = re.compile(r"[^\W\d_]{3,}")


class Vectors(Protocol):
    """The part of `nlp.encoder.Encoder` that is needed here."""

    def meanings(self, texts: Sequence[str]) -> Floats:
        """Vectors [n, width] of what the texts are about."""
        ...


@dataclass(frozen=True, slots=True, kw_only=True)
class Sense:
    """What a name means: `words` are its spellings, which tell nothing; `yes` and `no` texts."""

    name: str
    words: tuple[str, ...]
    description: str = ""
    yes: tuple[str, ...] = ()
    no: tuple[str, ...] = ()

    @property
    def known(self) -> bool:
        """Whether anything says what the name means."""
        return bool(self.description or self.yes or self.no)


class Window(NamedTuple):
    """What stands around a name, without it.

    `lowered`: the name is in lower case although the text has capitals.
    """

    text: str
    lowered: bool = False


class Label(NamedTuple):
    """What a person said of one occurrence."""

    window: Window
    relevant: bool


def windows(text: str, spans: Sequence[Span]) -> list[Window]:
    """What stands around the first `MOST_SPANS` spans of a name, `REACH` characters on each side.

    Every given span is left out, and so are words that the bounds cut.
    """
    ordered = sorted(spans)
    found = []
    for start, end in ordered[:MOST_SPANS]:
        first, last = max(0, start - REACH), min(len(text), end + REACH)
        while 0 < first < start and not text[first - 1].isspace():
            first += 1
        while end < last < len(text) and not text[last].isspace():
            last -= 1
        pieces = []
        for a, b in ordered:
            if first <= a and b <= last:
                pieces.append(text[first:a])
                first = b
        around = " ".join("".join((*pieces, text[first:last])).split())
        found.append(Window(around, text[start:end].islower() and any(map(str.isupper, around))))
    return found


class Space:
    """Vectors of texts and words without what everyday posts have in common; built once a model."""

    def __init__(self, model: Vectors) -> None:
        self._model = model
        self._known: dict[str, Floats] = {}
        vectors = _unit(model.meanings(EVERYDAY))
        self._text_axes = vectors.mean(0), _main_directions(vectors, _SENTENCE_DIRECTIONS)
        self.everyday_texts = _without(vectors, *self._text_axes)
        words = list(dict.fromkeys(word for text in EVERYDAY for word in words_of(text)))
        vectors = _unit(model.meanings(words))
        self._word_axes = vectors.mean(0), _main_directions(vectors, _WORD_DIRECTIONS)
        self.everyday_words = _without(vectors, *self._word_axes)

    def texts(self, texts: Sequence[str]) -> Floats:
        """Unit vectors [n, width] of texts."""
        return _without(_unit(self._model.meanings(texts)), *self._text_axes)

    def words(self, words: Iterable[str]) -> Floats:
        """Unit vectors [n, width] of words; each word is computed once."""
        wanted = list(words)
        if len(self._known) > _MOST_WORDS:
            self._known.clear()
        new = [word for word in dict.fromkeys(wanted) if word not in self._known]
        if new:
            vectors = _without(_unit(self._model.meanings(new)), *self._word_axes)
            self._known.update(zip(new, vectors, strict=True))
        rows = [self._known[word] for word in wanted]
        return np.array(rows, np.float32).reshape(-1, self.everyday_words.shape[1])


class Relevance:
    """Judges occurrences of one name; build it again when its labels change."""

    def __init__(self, space: Space, sense: Sense, labels: Sequence[Label] = ()) -> None:
        """Labels too few for a regression count as further examples.

        From `ENOUGH` on, the regression judges if it does better on held-out labels.
        """
        self._space = space
        self._own = re.compile(
            "|".join(rf"(?<!\w){re.escape(word)}(?!\w)" for word in sense.words) or r"(?!)",
            re.IGNORECASE,
        )
        self._capital = any(map(str.isupper, sense.name))
        said = Counter(label.relevant for label in labels)
        many = len(labels) >= ENOUGH and min(said[True], said[False]) >= FEWEST
        more = () if many else labels
        yes = [*filter(None, [sense.description]), *sense.yes]
        yes += [label.window.text for label in more if label.relevant]
        no = [*sense.no, *(label.window.text for label in more if not label.relevant)]
        self._yes, self._no = self._meaning(yes), self._meaning(no)
        self._weights: Floats | None = None
        if many:
            features = self._features([label.window for label in labels])
            self._weights = _regression(features, [label.relevant for label in labels])

    @property
    def fitted(self) -> bool:
        """Whether a regression on the labels judges."""
        return self._weights is not None

    def probabilities(self, found: Sequence[Window]) -> list[float]:
        """Probability, for each window, that the name means what it should."""
        if not found:
            return []
        if self._weights is None:
            texts, parts, _ = self._vectors(found)
            scores = self._zero_shot(texts, parts, found)
        else:
            scores = self._features(found) @ self._weights[:-1] + self._weights[-1]
        return [float(one) for one in _chances(scores)]

    def _meaning(self, texts: Sequence[str]) -> _Meaning | None:
        plain = [self._own.sub(" ", text) for text in texts]
        words = list(dict.fromkeys(word for text in plain for word in words_of(text)))
        if not plain or not words:
            return None
        return _Meaning(self._space, self._space.texts(plain), self._space.words(words))

    def _vectors(self, found: Sequence[Window]) -> tuple[Floats, list[Floats], list[list[str]]]:
        plain = [self._own.sub(" ", window.text) for window in found]
        words = [words_of(text) for text in plain]
        rows = self._space.words(word for one in words for word in one)
        bounds = np.cumsum([0, *map(len, words)])
        parts = [rows[a:b] for a, b in pairwise(bounds)]
        return self._space.texts(plain), parts, words

    def _zero_shot(self, texts: Floats, words: list[Floats], found: Sequence[Window]) -> Floats:
        """Logits: how much nearer to the meaning than to the others, with the written case."""
        sides = [
            np.full(len(found), _UNKNOWN * (1 + _WORD_WEIGHT))
            if meaning is None
            else meaning.of_texts(texts)
            + _WORD_WEIGHT * np.array(list(map(meaning.of_words, words)))
            for meaning in (self._yes, self._no)
        ]
        lowered = np.array([self._capital and window.lowered for window in found])
        logits: Floats = (_SLOPE * (sides[0] - sides[1]) - _LOWER_CASE * lowered).astype(np.float32)
        return logits

    def _features(self, found: Sequence[Window]) -> Floats:
        """[n, features]: vector of the text, mean vector of its words, hashed words, zero shot."""
        from sklearn.feature_extraction import FeatureHasher

        texts, parts, words = self._vectors(found)
        means = np.array([part.sum(0) for part in parts], np.float32).reshape(texts.shape)
        hasher = FeatureHasher(_HASHED, input_type="string", alternate_sign=False)
        bags = hasher.transform(words).toarray().astype(np.float32)
        zero_shot = self._zero_shot(texts, parts, found)
        columns = (texts, _unit(means), _unit(bags), zero_shot[:, None])
        features: Floats = np.hstack(columns).astype(np.float32)
        return features


class _Meaning:
    """Texts and words that stand for one meaning of a name."""

    def __init__(self, space: Space, texts: Floats, words: Floats) -> None:
        self._texts, self._words = texts, words
        everyday = (space.everyday_texts @ texts.T).mean(1)
        self._text_scale = float(everyday.mean()), float(everyday.std()) or 1.0
        everyday = (space.everyday_words @ words.T).max(1)
        # A word of the meaning may be an everyday word too.
        everyday = everyday[everyday < 0.99]
        self._word_scale = float(everyday.mean()), float(everyday.std()) or 1.0

    def of_texts(self, texts: Floats) -> Floats:
        """How near each text is, in standard deviations above the everyday texts."""
        mean, spread = self._text_scale
        near: Floats = ((texts @ self._texts.T).mean(1) - mean) / spread
        return near

    def of_words(self, words: Floats) -> float:
        """How much nearer than everyday words the words of one text are on average, not below 0."""
        if not len(words):
            return 0.0
        mean, spread = self._word_scale
        return float(np.maximum(((words @ self._words.T).max(1) - mean) / spread, 0).mean())


def words_of(text: str) -> list[str]:
    """Words of three letters and more that carry meaning, in lower case with their accents."""
    return [word for word in _WORD.findall(text.lower()) if word not in _stop_words()]


@cache
def _stop_words() -> frozenset[str]:
    from spacy.lang.en.stop_words import STOP_WORDS as ENGLISH
    from spacy.lang.es.stop_words import STOP_WORDS as SPANISH

    return frozenset(ENGLISH | SPANISH)


def _unit(rows: Floats) -> Floats:
    unit: Floats = rows / np.maximum(np.linalg.norm(rows, axis=1, keepdims=True), 1e-9)
    return unit


def _main_directions(rows: Floats, count: int) -> Floats:
    directions: Floats = np.linalg.svd(rows - rows.mean(0), full_matrices=False)[2][:count]
    return directions


def _without(rows: Floats, centre: Floats, directions: Floats) -> Floats:
    moved = np.asarray(rows - centre, np.float32)
    shared = np.asarray(moved @ directions.T @ directions, np.float32)
    return _unit(moved - shared)


def _regression(features: Floats, truth: Sequence[bool]) -> Floats | None:
    """Weights and, last, the bias of a ridge-penalised logistic regression.

    None where the zero-shot logit, the last feature, has the lower log loss on labels that the
    regression has not seen.
    """
    from sklearn.linear_model import LogisticRegression
    from sklearn.metrics import log_loss
    from sklearn.model_selection import StratifiedKFold, cross_val_predict

    model = LogisticRegression(C=_RIDGE, max_iter=1000, class_weight="balanced")
    folds = StratifiedKFold(_FOLDS, shuffle=True, random_state=0)
    held_out = cross_val_predict(model, features, truth, cv=folds, method="predict_proba")[:, 1]
    if log_loss(truth, held_out) >= log_loss(truth, _chances(features[:, -1])):
        return None
    model.fit(features, truth)
    weights: Floats = np.append(model.coef_[0], model.intercept_[0]).astype(np.float32)
    return weights


def _chances(logits: Floats) -> Floats:
    chances: Floats = (1 / (1 + np.exp(-np.clip(logits, -30, 30)))).astype(np.float32)
    return chances


class Suspect(NamedTuple):
    """A word that gives a wrong meaning away: posts with it that were judged, and its z-score."""

    word: str
    irrelevant: int
    relevant: int
    score: float


def exclusions(
    irrelevant: Sequence[str], relevant: Sequence[str], everything: Iterable[str]
) -> list[Suspect]:
    """Words of at least three irrelevant posts and no relevant one, the most telling first.

    Log-odds ratio with an informative Dirichlet prior, as a z-score (Monroe, Colaresi and Quinn
    2008, eqs. 15-22). The prior are the words of `everything`, ten for each judged post; a word
    counts once in a post.
    """
    bad, good = _documents(irrelevant), _documents(relevant)
    prior = _documents(everything) + bad + good
    scale = 10 * (len(irrelevant) + len(relevant)) / max(prior.total(), 1)
    most_bad, most_good, whole = bad.total(), good.total(), prior.total() * scale
    found = []
    for word, count in bad.items():
        if count < 3 or good[word]:
            continue
        own = prior[word] * scale
        gap = log((count + own) / (most_bad + whole - count - own))
        gap -= log(own / (most_good + whole - own))
        found.append(Suspect(word, count, 0, gap / sqrt(1 / (count + own) + 1 / own)))
    return sorted(found, key=lambda one: (-one.score, one.word))


def _documents(texts: Iterable[str]) -> Counter[str]:
    return Counter(word for text in texts for word in set(words_of(text)))
