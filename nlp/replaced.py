"""The shipped tagger with single heads answered by other models."""

from __future__ import annotations

import hashlib
from collections.abc import Collection, Mapping, Sequence
from typing import Protocol

import numpy as np

from .base import BINARY_HEADS, Tag
from .encoder import Encoder, Floats, FunnelTagger, Span

REPLACEABLE = ("stage", "sentiment", *BINARY_HEADS)
EVERY = "*"


class Head(Protocol):
    """A model for one head."""

    @property
    def version(self) -> str:
        """Changes whenever the same text may get other probabilities."""
        ...

    @property
    def langs(self) -> Collection[str]:
        """Languages it answers for; `EVERY` among them stands for all."""
        ...

    def probabilities(self, texts: Sequence[str]) -> list[dict[str, float]]:
        """Per text the probability of each label of the head; yes/no heads have the label "1"."""
        ...

    def threshold(self, lang: str) -> float:
        """From which probability on a yes/no head says yes."""
        ...


class SharedEncoder(Encoder):
    """An encoder that remembers its last texts, so that several heads share one pass."""

    _last: tuple[dict[str, int], Floats, Floats] | None = None

    def run_targets(
        self, texts: Sequence[str], spans: Sequence[Sequence[Span]]
    ) -> tuple[Floats, Floats, list[Floats]]:
        """See `Encoder.run_targets`; costs nothing where the last call had all texts."""
        if self._last and not any(spans):
            places, logits, vectors = self._last
            if all(text in places for text in texts):
                rows = [places[text] for text in texts]
                return logits[rows], vectors[rows], [np.zeros((0, 3), np.float32) for _ in texts]
        logits, vectors, toward = super().run_targets(texts, spans)
        self._last = {text: at for at, text in enumerate(texts)}, logits, vectors
        return logits, vectors, toward


class ReplacedTagger:
    """A `FunnelTagger` of which `heads` answer for some of its heads.

    What a head does not answer for stays the shipped model's: other languages, and for all heads
    but sentiment a text without a letter.
    """

    name = FunnelTagger.name

    def __init__(self, funnel: FunnelTagger, heads: Mapping[str, Head]) -> None:
        self._funnel = funnel
        self._heads = dict(heads)

    @property
    def version(self) -> str:
        """The shipped version and a digest of those of the other heads."""
        versions = sorted((name, head.version) for name, head in self._heads.items())
        return f"{self._funnel.version}+{hashlib.sha256(repr(versions).encode()).hexdigest()[:10]}"

    @property
    def thresholds(self) -> dict[str, float]:
        """See `FunnelTagger.thresholds`."""
        shipped = self._funnel.thresholds
        langs = {*shipped, *(self._heads["early"].langs if "early" in self._heads else ())}
        return {lang: self.threshold("early", lang, "1") for lang in sorted(langs)}

    def threshold(self, head: str, lang: str, label: str) -> float:
        """Recommended probability from which `label` of a yes/no head or a signal holds."""
        other = self._heads.get(head)
        if other is not None and _answers(other, lang):
            return other.threshold(lang)
        return self._funnel.threshold(head, lang, label)

    def probabilities(
        self, texts: Sequence[str], langs: Sequence[str]
    ) -> list[dict[str, dict[str, float]]]:
        """See `FunnelTagger.probabilities`."""
        shipped = self._funnel.probabilities(texts, langs)
        others = self._others(texts, langs)
        return [row | other for row, other in zip(shipped, others, strict=True)]

    def tag(self, texts: Sequence[str], langs: Sequence[str]) -> list[tuple[Tag, ...]]:
        """See `FunnelTagger.tag`."""
        return self.tag_targets(texts, langs, [()] * len(texts))

    def tag_targets(
        self, texts: Sequence[str], langs: Sequence[str], spans: Sequence[Sequence[Span]]
    ) -> list[tuple[Tag, ...]]:
        """See `FunnelTagger.tag_targets`; the sentiment toward a target stays the shipped one."""
        shipped = self._funnel.tag_targets(texts, langs, spans)
        replaced = []
        for tags, other in zip(shipped, self._others(texts, langs), strict=True):
            own = {head: _tag(head, scores) for head, scores in other.items()}
            replaced.append(tuple(own.get(tag.kind, tag) for tag in tags))
        return replaced

    def _others(
        self, texts: Sequence[str], langs: Sequence[str]
    ) -> list[dict[str, dict[str, float]]]:
        """Per text the probabilities of the heads that others answer for it."""
        found: list[dict[str, dict[str, float]]] = [{} for _ in texts]
        for name, head in self._heads.items():
            places = [
                at
                for at, (text, lang) in enumerate(zip(texts, langs, strict=True))
                if _answers(head, lang) and (name == "sentiment" or any(map(str.isalpha, text)))
            ]
            if places:
                scores = head.probabilities([texts[at] for at in places])
                for at, row in zip(places, scores, strict=True):
                    found[at][name] = row
        return found


def _answers(head: Head, lang: str) -> bool:
    return lang in head.langs or EVERY in head.langs


def _tag(head: str, scores: Mapping[str, float]) -> Tag:
    label = "1" if head in BINARY_HEADS else max(scores, key=scores.__getitem__)
    return Tag(kind=head, label=label, score=scores[label])
