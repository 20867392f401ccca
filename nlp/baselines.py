"""What any model has to beat: word lists, and TF-IDF with logistic regression.

`python -m nlp.baselines --labels ../shared/labels --data ../shared/data --out
nlp/models/baseline.npz` fits the second on what the encoder learns from (nlp/training/labelled.py).
"""

from __future__ import annotations

import argparse
import logging
import re
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from .base import BINARY_HEADS, LANGUAGES, SENTIMENTS, SIGNALS, STAGES, NlpError
from .evaluation import Probabilities, Row
from .reading import prepare

if TYPE_CHECKING:
    from scipy.sparse import csr_matrix
    from sklearn.feature_extraction.text import HashingVectorizer

logger = logging.getLogger(__name__)

Floats = NDArray[np.float32]

SEED = 20_240_229
FOLDS = 3
BLOCK = 50
STRENGTH = 4.0
PER_CLASS = 700
WORD_FEATURES = 2**14
CHAR_FEATURES = 2**15
MAX_CHARS = 4_000
COLUMNS = (
    *(("stage", label) for label in STAGES),
    *((head, "1") for head in BINARY_HEADS),
    *(("signal", label) for label in SIGNALS),
    *(("sentiment", label) for label in SENTIMENTS),
)
_EXCLUSIVE = ("stage", "sentiment")

_WORD = r"\w+|[¿?!]"
_HANDLE = re.compile(r"(?<!\w)@\w+")

_ASKS = re.compile(
    r"""
      \b(?:recommend(?:ations?|ed)?|suggest(?:ions?)?|suggested|advice)\b[^.!]{0,80}\?
    | \b(?:any|some)\s(?:recommendations?|suggestions?|advice|recs)\b
    | \b(?:can|could|does|do|would)\s(?:any(?:one|body)|you|y'?all)\b[^.!?]{0,60}
      \b(?:recommend|suggest|know\sof|have\sexperience)\b
    | \b(?:looking|shopping|searching)\sfor\s(?:a|an|some|something|the\sbest|good|new)\b
    | \b(?:what|which)(?:'s|\sis|\sare)?\s(?:the\s)?(?:best|good|cheapest)\b
    | \bworth\s(?:it|the|buying|getting|upgrading)\b[^.!]{0,60}\?
    | \bshould\si\s(?:get|buy|go\s(?:with|for)|switch|upgrade|choose|pick)\b
    | \b\w+\s(?:vs\.?|versus)\s\w+
    | \bthinking\s(?:of|about)\s(?:buying|getting|switching|upgrading)\b
    | \b(?:me|nos|alguien|alguno|pueden|podr[ií]an|podr[ií]ais|pod[eé]is|puedes)\b[^.!?]{0,30}
      \b(?:recomiend[ae]\w*|recomendar\w*|recomend[aá]\w*|aconsej\w+|sugier\w+|sugerir)
    | \brecomendaci[oó]n(?:es)?\b | \brecomiendan\b | \bsugerencias?\b
    | \bbusco\s(?:un|una|unos|unas|algo|alg[uú]n|alguna)\b | \bando\sbuscando\b
    | \b(?:cu[aá]l|qu[eé])\s(?:es\sel|es\sla|me|ser[ií]a|conviene|marca|modelo)\b
    | \b(?:vale|merece)\sla\spena\b | \bqu[eé]\stal\s(?:es|son|est[aá]n?|va|sale|funciona)\b
    | \b(?:me\s)?conviene\b | \b(?:alguien|qui[eé]n)\s(?:sabe|conoce|tiene|ha\sprobado|us[ao])\b
    | \bestoy\s(?:pensando\sen|entre|dudando)\b
    """,
    re.VERBOSE | re.IGNORECASE,
)
_DECIDES = re.compile(
    r"""
      \b(?:just\s)?(?:ordered|pre-?ordered)\b | \b(?:going\sto|gonna|will|'ll)\s(?:buy|order|get)\b
    | \b(?:i'm|im|i\sam)\s(?:buying|ordering|getting)\b | \barriv(?:es|ing)\s(?:today|tomorrow)\b
    | \b(?:me\s)?l[oa]\s(?:compro|pido|voy\sa\scomprar)\b | \bvoy\sa\s(?:comprar|pedir)\w*\b
    | \b(?:acabo\sde|ya)\s(?:pedir|ped[ií]|encargar)\w*\b
    """,
    re.VERBOSE | re.IGNORECASE,
)
_OWNS = re.compile(
    r"""
      \bmy\s(?:new|old)\b | \bi(?:'ve|\shave)\s(?:had|used|owned|been\susing)\b | \bi\sbought\b
    | \bcustomer\s(?:service|support)\b | \b(?:mine|it)\s(?:broke|died|stopped\sworking)\b
    | \b(?:me\s)?compr[eé]\b | \bllevo\s\w+\s(?:a[nñ]os?|mes(?:es)?|semanas?|d[ií]as?)\b
    | \bmi\s(?:nuev[oa]|viej[oa])\b | \bdej[oó]\sde\sfuncionar\b
    | \bse\sme\s(?:rompi[oó]|da[nñ][oó])\b
    """,
    re.VERBOSE | re.IGNORECASE,
)
_POSITIVE = re.compile(
    r"\b(?:love[sd]?|great|awesome|amazing|best|excellent|good|nice|perfect|happy|thanks?|cool"
    r"|me\sencanta\w*|encantad[oa]s?|gracias|buen[oa]?s?|mejor(?:es)?|excelentes?|genial(?:es)?"
    r"|feliz|hermos[oa]s?|lind[oa]s?|bonit[oa]s?|recomendad[oa]s?)\b|[😍❤😊👍🥰]",
    re.IGNORECASE,
)
_NEGATIVE = re.compile(
    r"\b(?:hate[sd]?|terrible|awful|worst|bad|horrible|broken?|sucks?|disappoint\w+|useless|scam"
    r"|never\sagain|refund|mal[oa]?s?|peor(?:es)?|p[eé]sim[oa]s?|horribles?|asco|basura|estafa\w*"
    r"|odio|porquer[ií]a|robo|ladrones|nunca\sm[aá]s|vergüenza|hart[oa]s?|no\s(?:funciona|sirve))\b"
    r"|[😡😠👎💩]",
    re.IGNORECASE,
)


class BadBaseline(NlpError):
    """A file that holds no fitted baseline of this version; fit it again."""


class RegexBaseline:
    """Word lists for early, intent, stage and sentiment; says yes (1.0) or no (0.0)."""

    def probabilities(self, texts: Sequence[str], langs: Sequence[str]) -> list[Probabilities]:
        """See `Predictor`; both languages' lists are tried on every text."""
        return [_by_words(text[:MAX_CHARS]) for text, _ in zip(texts, langs, strict=True)]

    def threshold(self, head: str, lang: str, label: str) -> float:
        """One half for everything."""
        return 0.5


def _by_words(text: str) -> Probabilities:
    asks = bool(_ASKS.search(text))
    decides = not asks and bool(_DECIDES.search(text))
    owns = not asks and not decides and bool(_OWNS.search(text))
    none = not (asks or decides or owns)
    stages = {"consideration": asks, "decision": decides, "post_purchase": owns, "none": none}
    balance = len(_POSITIVE.findall(text)) - len(_NEGATIVE.findall(text))
    return {
        "early": {"1": float(asks)},
        "intent": {"1": float(asks or decides)},
        "stage": {stage: float(stages.get(stage, False)) for stage in STAGES},
        "sentiment": {
            "neg": float(balance < 0),
            "neu": float(balance == 0),
            "pos": float(balance > 0),
        },
    }


class TfidfBaseline:
    """Hashed words (1-2) and characters (3-5), TF-IDF, one logistic regression for each label.

    Nothing of the texts is kept but the weights of hashed features. `weights` is (features,
    labels), `bias` (labels,), `idf` (features,), `thresholds` (labels, languages + 1), the last for
    texts in any other language; labels are in the order of `COLUMNS`.
    """

    def __init__(self, idf: Floats, weights: Floats, bias: Floats, thresholds: Floats) -> None:
        self.idf = idf
        self.weights = weights
        self.bias = bias
        self.thresholds = thresholds

    def probabilities(self, texts: Sequence[str], langs: Sequence[str]) -> list[Probabilities]:
        """See `Predictor`; the languages are not used. Stage and sentiment sum to 1."""
        if not texts:
            return []
        scores = _sigmoid(_weighted(_counts(texts), self.idf) @ self.weights + self.bias)
        for head in _EXCLUSIVE:
            own = [at for at, (one, _) in enumerate(COLUMNS) if one == head]
            scores[:, own] /= scores[:, own].sum(axis=1, keepdims=True)
        results: list[Probabilities] = []
        for row in scores.tolist():
            result: Probabilities = {}
            for (head, label), score in zip(COLUMNS, row, strict=True):
                result.setdefault(head, {})[label] = score
            results.append(result)
        return results

    def threshold(self, head: str, lang: str, label: str) -> float:
        """The cut with the best F1 on rows held out while fitting."""
        language = LANGUAGES.index(lang) if lang in LANGUAGES else len(LANGUAGES)
        return float(self.thresholds[COLUMNS.index((head, label)), language])

    def save(self, path: Path) -> None:
        """Writes a compressed .npz of half-precision weights."""
        np.savez_compressed(
            path,
            idf=self.idf.astype(np.float16),
            weights=self.weights.astype(np.float16),
            bias=self.bias,
            thresholds=self.thresholds,
            columns=np.array([f"{head}:{label}" for head, label in COLUMNS]),
        )

    @classmethod
    def load(cls, path: Path) -> TfidfBaseline:
        """Reads what `save` wrote; raises BadBaseline."""
        hint = f"fit it again with: python -m nlp.baselines --labels DIR --data DIR --out {path}"
        try:
            with np.load(path, allow_pickle=False) as stored:
                columns = tuple(tuple(str(one).split(":")) for one in stored["columns"])
                parts = [
                    stored[name].astype(np.float32)
                    for name in ("idf", "weights", "bias", "thresholds")
                ]
        except (OSError, ValueError, KeyError) as error:
            raise BadBaseline(f"{path} is no baseline ({error}); {hint}") from error
        shapes = [(WORD_FEATURES + CHAR_FEATURES,), (WORD_FEATURES + CHAR_FEATURES, len(COLUMNS))]
        if columns != COLUMNS or [part.shape for part in parts[:2]] != shapes:
            raise BadBaseline(f"{path} was fitted for other labels or features; {hint}")
        return cls(*parts)

    @classmethod
    def fit(cls, rows: Sequence[Row]) -> TfidfBaseline:
        """Fits on labelled rows; a head learns from the rows that have its label.

        Thresholds come from predictions for held-out blocks of consecutive rows, because the rows
        of a thread stand together. A label without two classes keeps probability 0.
        """
        counts = _counts([row.text for row in rows])
        documents = np.bincount(counts.indices, minlength=counts.shape[1])
        idf = (np.log((1 + len(rows)) / (1 + documents)) + 1).astype(np.float32)
        features = _weighted(counts, idf)
        langs = np.array([row.lang for row in rows])
        weights = np.zeros((counts.shape[1], len(COLUMNS)), dtype=np.float32)
        bias = np.full(len(COLUMNS), -20.0, dtype=np.float32)
        thresholds = np.full((len(COLUMNS), len(LANGUAGES) + 1), 0.5, dtype=np.float32)
        for at, (head, label) in enumerate(COLUMNS):
            known = [
                place for place, row in enumerate(rows) if _truth(row, head, label) is not None
            ]
            truth = np.array([bool(_truth(rows[place], head, label)) for place in known])
            if not 0 < truth.sum() < len(truth):
                continue
            own = features[known]
            weights[:, at], bias[at] = _fit_one(own, truth)
            if head not in _EXCLUSIVE:
                held_out = _held_out(own, truth)
                for column, lang in enumerate((*LANGUAGES, None)):
                    chosen = langs[known] == lang if lang else np.ones(len(truth), dtype=bool)
                    thresholds[at, column] = _best_cut(truth[chosen], held_out[chosen])
        logger.info("fitted the TF-IDF baseline on %d rows", len(rows))
        return cls(idf, weights, bias, thresholds)


def _truth(row: Row, head: str, label: str) -> bool | None:
    """Whether the row has the label; None where its head was not labelled."""
    if head == "signal":
        return None if row.signals is None else label in row.signals
    value = getattr(row, head)
    if value is None:
        return None
    return bool(value) if label == "1" else value == label


def _sigmoid(values: Floats) -> Floats:
    chances: Floats = (1 / (1 + np.exp(-np.clip(values, -30, 30)))).astype(np.float32)
    return chances


def _fit_one(features: csr_matrix, truth: NDArray[np.bool_]) -> tuple[Floats, float]:
    from sklearn.linear_model import LogisticRegression

    model = LogisticRegression(C=STRENGTH, solver="liblinear", random_state=SEED)
    model.fit(features, truth)
    return model.coef_[0].astype(np.float32), float(model.intercept_[0])


def _held_out(features: csr_matrix, truth: NDArray[np.bool_]) -> Floats:
    """Probability of each row from a model fitted without the rows around it."""
    held_out = np.zeros(len(truth), dtype=np.float32)
    folds = np.arange(len(truth)) // BLOCK % FOLDS
    for fold in range(FOLDS):
        rest, block = folds != fold, folds == fold
        if block.any() and 0 < truth[rest].sum() < rest.sum():
            weights, bias = _fit_one(features[rest], truth[rest])
            held_out[block] = _sigmoid(features[block] @ weights + bias)
    return held_out


def _best_cut(truth: NDArray[np.bool_], scores: Floats) -> float:
    """Half way between the two scores between which yes begins for the best F1.

    0.5 without positives.
    """
    from sklearn.metrics import precision_recall_curve

    if not truth.any():
        return 0.5
    precision, recall, cuts = precision_recall_curve(truth, scores)
    f1 = 2 * precision * recall / np.maximum(precision + recall, 1e-9)
    best = cuts[f1[:-1].argmax()]
    return float((best + max(scores[scores < best], default=0.0)) / 2)


def _vectorizers() -> tuple[HashingVectorizer, HashingVectorizer]:
    from sklearn.feature_extraction.text import HashingVectorizer

    words = HashingVectorizer(
        ngram_range=(1, 2),
        n_features=WORD_FEATURES,
        alternate_sign=False,
        norm=None,
        strip_accents="unicode",
        token_pattern=_WORD,
    )
    chars = HashingVectorizer(
        analyzer="char_wb",
        ngram_range=(3, 5),
        n_features=CHAR_FEATURES,
        alternate_sign=False,
        norm=None,
    )
    return words, chars


def _counts(texts: Sequence[str]) -> csr_matrix:
    """How often each hashed feature occurs, (texts, words + characters)."""
    from scipy.sparse import csr_matrix, hstack

    cleaned = [_HANDLE.sub(" @ ", prepare(text)) for text in texts]
    return csr_matrix(hstack([one.transform(cleaned) for one in _vectorizers()]), dtype=np.float32)


def _weighted(counts: csr_matrix, idf: Floats) -> csr_matrix:
    """TF-IDF with 1 + log of the counts; words and characters of a text each have norm 1."""
    from scipy.sparse import csr_matrix, hstack
    from sklearn.preprocessing import normalize

    scaled = counts.copy()
    scaled.data = (1 + np.log(scaled.data)) * idf[scaled.indices]
    parts = [normalize(scaled[:, :WORD_FEATURES]), normalize(scaled[:, WORD_FEATURES:])]
    return csr_matrix(hstack(parts), dtype=np.float32)


def balanced(rows: Sequence[Row]) -> list[Row]:
    """At most `PER_CLASS` rows of each language and sentiment, in their order (seeded draw)."""
    generator = np.random.default_rng(SEED)
    chosen: list[int] = []
    for group in sorted({(row.lang, row.sentiment or "") for row in rows}):
        own = [at for at, row in enumerate(rows) if (row.lang, row.sentiment or "") == group]
        chosen += generator.permutation(own)[:PER_CLASS].tolist()
    return [rows[at] for at in sorted(chosen)]


def main(arguments: Sequence[str] | None = None) -> None:
    """Fits the baseline on what the encoder learns from, and writes it."""
    from .training.labelled import learned

    parser = argparse.ArgumentParser(prog="python -m nlp.baselines", description=main.__doc__)
    parser.add_argument("--labels", type=Path, required=True, help="folder of the label files")
    parser.add_argument("--data", type=Path, required=True, help="folder with sentiment/ and raw/")
    parser.add_argument("--out", type=Path, required=True, help="the .npz file to write")
    given = parser.parse_args(arguments)
    try:
        rows = learned(given.labels, given.data)
    except OSError as error:
        parser.error(f"{error}; name the folders of the labels and of the texts")
    TfidfBaseline.fit(rows).save(given.out)


if __name__ == "__main__":
    main()
