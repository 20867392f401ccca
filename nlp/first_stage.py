"""A fast first stage: a small linear model that says which posts plainly concern no purchase.

`FirstStage` gives those posts all probabilities by itself, `StagedTagger` lets the encoder read the
rest only. The linear model is distilled from the encoder (Hinton, Vinyals and Dean 2015) by
`python -m nlp.training.first_stage`, which also chooses the cut below which a post is skipped.
"""

from __future__ import annotations

import hashlib
import re
import zipfile
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cache, cached_property
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from .abstain import WHOLLY, share_read
from .base import SENTIMENTS, ModelMissing, NlpError, Tag
from .encoder import HEADS, WIDTH, Floats, FunnelTagger, columns, tags
from .reading import Span, prepare

if TYPE_CHECKING:
    from scipy.sparse import csr_matrix
    from sklearn.feature_extraction.text import HashingVectorizer

    from .replaced import ReplacedTagger

Flags = NDArray[np.bool_]

FILE = "first_stage.npz"
WORD_FEATURES = CHAR_FEATURES = 2**15
FEATURES = WORD_FEATURES + CHAR_FEATURES
LONGEST = 500
"""Longer texts are not judged here: a request may be one sentence of many."""
OUTPUTS = ("concerns", "wants", "early", "promo", *SENTIMENTS)
"""What the model says of a post: that it has a stage, intent, early or a signal; that it has intent
or early; that it is early; that it is promotion; and its sentiment."""
_GATE = slice(0, 3)
_TONES = slice(4, 7)
_WORD = r"\w+|[¿?!]"
_HANDLE = re.compile(r"(?<!\w)@\w+")


class BadFirstStage(NlpError):
    """A file that holds no first stage for this model; make it again."""


@dataclass(frozen=True)
class FirstStage:
    """The linear model and its cuts.

    `weights` (features, outputs) are 8-bit and count in `scale` (outputs,); `bias` is (outputs,).
    `cuts` has the score below which a post is skipped, by language; a post in another language is
    never skipped. `usual` (20,) are the mean probabilities of skipped posts, in the order of the
    columns of the encoder. `teacher` is the version of the model that this one stands in for.
    """

    weights: NDArray[np.int8]
    scale: Floats
    bias: Floats
    cuts: dict[str, float]
    usual: Floats
    teacher: str

    @cached_property
    def version(self) -> str:
        """A digest of all that decides."""
        digest = hashlib.sha256(f"{sorted(self.cuts.items())} {self.teacher}".encode())
        for part in (self.weights, self.scale, self.bias, self.usual):
            digest.update(part.tobytes())
        return digest.hexdigest()[:10]

    def logits(self, texts: Sequence[str]) -> Floats:
        """(n, 7), in the order of `OUTPUTS`."""
        if not texts:
            return np.zeros((0, len(OUTPUTS)), np.float32)
        found: Floats = features(texts) @ self._weights + self.bias
        return found

    @cached_property
    def _weights(self) -> Floats:
        return self.weights.astype(np.float32) * self.scale

    def judge(
        self, texts: Sequence[str], langs: Sequence[str], spans: Sequence[Sequence[Span]]
    ) -> tuple[Flags, Floats]:
        """(n,) which posts are skipped, and their probabilities [skipped, 20].

        Never skipped: texts with spans to be judged, of more than `LONGEST` characters, without a
        letter, partly in another alphabet, or in a language without a cut.
        """
        skipped = np.array(
            [
                lang in self.cuts
                and not named
                and len(text) <= LONGEST
                and any(map(str.isalpha, text))
                and share_read(text) >= WHOLLY
                for text, lang, named in zip(texts, langs, spans, strict=True)
            ],
            bool,
        )
        places = np.flatnonzero(skipped).tolist()
        logits = self.logits([texts[at] for at in places])
        below = score(logits) < np.array([self.cuts[langs[at]] for at in places])
        skipped[places] = below
        return skipped, self._probabilities(logits[below])

    def _probabilities(self, logits: Floats) -> Floats:
        """[n, 20]. The kind of stage and the signals have nothing of their own but `usual`."""
        chances = _sigmoid(logits)
        concerns, wants, early, promo = (chances[:, at] for at in range(4))
        out = np.repeat(self.usual[None], len(logits), 0)
        stages = self.usual[columns("stage")].copy()
        stages[0] = 0
        out[:, columns("stage")] = concerns[:, None] * stages / max(float(stages.sum()), 1e-9)
        out[:, columns("stage").start] = 1 - concerns
        for head, chance in (("intent", wants), ("early", np.minimum(early, wants))):
            out[:, columns(head).start] = chance
        out[:, columns("promo").start] = promo
        tones = np.exp(logits[:, _TONES] - logits[:, _TONES].max(1, keepdims=True, initial=-np.inf))
        out[:, columns("sentiment")] = tones / tones.sum(1, keepdims=True)
        return out

    def save(self, path: Path) -> None:
        """Writes a compressed .npz."""
        langs = sorted(self.cuts)
        np.savez_compressed(
            path,
            weights=self.weights,
            scale=self.scale,
            bias=self.bias,
            langs=np.array(langs),
            cuts=np.array([self.cuts[lang] for lang in langs]),
            usual=self.usual,
            teacher=np.array(self.teacher),
        )

    @classmethod
    def load(cls, path: Path, teacher: str) -> FirstStage:
        """Reads what `save` wrote; `teacher` is the version of the model it stands in for.

        Raises ModelMissing without a file, BadFirstStage for a damaged one or another model's.
        """
        fix = (
            "make it again with `python -m nlp.training.first_stage`, "
            "or set first_stage = false under [nlp]"
        )
        try:
            with np.load(path, allow_pickle=False) as stored:
                cuts = dict(zip(stored["langs"].tolist(), stored["cuts"].tolist(), strict=True))
                names = ("weights", "scale", "bias", "usual")
                weights, scale, bias, usual = (stored[name] for name in names)
                own = str(stored["teacher"])
        except FileNotFoundError as error:
            raise ModelMissing(f"{path.name} is not in {path.parent}; {fix}") from error
        except (OSError, ValueError, KeyError, EOFError, zipfile.BadZipFile) as error:
            raise BadFirstStage(f"{path} holds no first stage ({error}); {fix}") from error
        shapes = [(FEATURES, len(OUTPUTS)), (len(OUTPUTS),), (len(OUTPUTS),), (WIDTH,)]
        if [part.shape for part in (weights, scale, bias, usual)] != shapes:
            raise BadFirstStage(f"{path} was made for other features or labels; {fix}")
        if own != teacher:
            raise BadFirstStage(f"{path} was made for model {own}, not for {teacher}; {fix}")
        return cls(weights, scale, bias, cuts, usual, own)


def score(logits: Floats) -> Floats:
    """(n,): the probability that a post may concern a purchase.

    The mean of the first three outputs as logits: each finds posts that the others miss.
    """
    return _sigmoid(logits[:, _GATE].mean(1))


def _sigmoid(logits: Floats) -> Floats:
    chances: Floats = (1 / (1 + np.exp(-np.clip(logits, -60, 60)))).astype(np.float32)
    return chances


def features(texts: Sequence[str]) -> csr_matrix:
    """Hashed words (1-2) and characters (3-4) of the texts; each kind has norm 1 in each text."""
    from scipy.sparse import csr_matrix, hstack

    # Handles tell the platform, not the subject.
    cleaned = [_HANDLE.sub(" ", prepare(text)) for text in texts]
    parts = [one.transform(cleaned) for one in _vectorizers()]
    return csr_matrix(hstack(parts), dtype=np.float32)


@cache
def _vectorizers() -> tuple[HashingVectorizer, HashingVectorizer]:
    from sklearn.feature_extraction.text import HashingVectorizer

    alike = {"alternate_sign": False, "binary": True, "norm": "l2", "strip_accents": "unicode"}
    return (
        HashingVectorizer(
            ngram_range=(1, 2), n_features=WORD_FEATURES, token_pattern=_WORD, **alike
        ),
        HashingVectorizer(
            analyzer="char_wb", ngram_range=(3, 4), n_features=CHAR_FEATURES, **alike
        ),
    )


class StagedTagger:
    """A tagger whose model reads only what the first stage does not skip."""

    name = FunnelTagger.name

    def __init__(self, tagger: FunnelTagger | ReplacedTagger, stage: FirstStage) -> None:
        self._tagger = tagger
        self._stage = stage

    @property
    def version(self) -> str:
        """That of the model and that of the first stage."""
        return f"{self._tagger.version}/{self._stage.version}"

    @property
    def thresholds(self) -> dict[str, float]:
        """See `FunnelTagger.thresholds`."""
        return self._tagger.thresholds

    def threshold(self, head: str, lang: str, label: str) -> float:
        """Recommended probability from which `label` of a yes/no head or a signal holds."""
        return self._tagger.threshold(head, lang, label)

    def probabilities(
        self, texts: Sequence[str], langs: Sequence[str]
    ) -> list[dict[str, dict[str, float]]]:
        """See `FunnelTagger.probabilities`."""
        skipped, chances = self._stage.judge(texts, langs, [()] * len(texts))
        left = np.flatnonzero(~skipped).tolist()
        read = iter(
            self._tagger.probabilities([texts[at] for at in left], [langs[at] for at in left])
            if left
            else ()
        )
        own = iter(chances)
        return [_row(next(own)) if skip else next(read) for skip in skipped]

    def tag(self, texts: Sequence[str], langs: Sequence[str]) -> list[tuple[Tag, ...]]:
        """See `FunnelTagger.tag`."""
        return self.tag_targets(texts, langs, [()] * len(texts))

    def tag_targets(
        self, texts: Sequence[str], langs: Sequence[str], spans: Sequence[Sequence[Span]]
    ) -> list[tuple[Tag, ...]]:
        """See `FunnelTagger.tag_targets`; a text with spans is never skipped."""
        skipped, chances = self._stage.judge(texts, langs, spans)
        left = np.flatnonzero(~skipped).tolist()
        read = iter(
            self._tagger.tag_targets(
                [texts[at] for at in left], [langs[at] for at in left], [spans[at] for at in left]
            )
            if left
            else ()
        )
        own = iter(chances)
        return [
            tags(_row(next(own)), self.threshold, lang) if skip else next(read)
            for skip, lang in zip(skipped, langs, strict=True)
        ]


def _row(chances: Floats) -> dict[str, dict[str, float]]:
    return {
        head: dict(zip(labels, chances[columns(head)].tolist(), strict=True))
        for head, labels in HEADS.items()
    }
