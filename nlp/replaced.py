"""The shipped tagger with single heads answered by other models."""

from __future__ import annotations

import hashlib
from collections.abc import Collection, Mapping, Sequence
from pathlib import Path
from threading import Lock
from typing import TYPE_CHECKING, Protocol

import numpy as np

from .abstain import kept, share_read
from .base import BINARY_HEADS, SENTIMENTS, Tag
from .encoder import VECTOR, WIDTH, Encoder, Floats, FunnelTagger
from .reading import Span, prepare
from .runtime import Choice

if TYPE_CHECKING:
    from .first_stage import StagedTagger

REPLACEABLE = ("stage", "sentiment", *BINARY_HEADS)
EVERY = "*"
REMEMBERED = 4096
"""Texts, at 1.6 KB each."""


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

    @property
    def latin(self) -> bool:
        """Whether it reads the Latin alphabet only, as the shipped encoder does."""
        ...

    def probabilities(self, texts: Sequence[str]) -> list[dict[str, float]]:
        """Per text the probability of each label of the head; yes/no heads have the label "1"."""
        ...

    def threshold(self, lang: str) -> float:
        """From which probability on a yes/no head says yes."""
        ...


class SharedEncoder(Encoder):
    """An encoder that remembers its last texts: copies and further heads cost no pass.

    It holds the logits and vectors of `REMEMBERED` texts, or of its last call where that had more.
    """

    def __init__(
        self,
        folder: Path | None = None,
        *,
        threads: int = 2,
        batch_size: int = 16,
        runtime: Choice = "onnxruntime",
    ) -> None:
        super().__init__(folder, threads=threads, batch_size=batch_size, runtime=runtime)
        self._known: dict[bytes, Floats] = {}
        self._lock = Lock()

    def run_targets(
        self, texts: Sequence[str], spans: Sequence[Sequence[Span]]
    ) -> tuple[Floats, Floats, list[Floats]]:
        """See `Encoder.run_targets`; texts with spans are always read, for what these need."""
        keys = [_key(text) for text in texts]
        with self._lock:
            found = {key: self._known[key] for key in keys if key in self._known}
        new = [
            at
            for at, (key, places) in enumerate(zip(keys, spans, strict=True))
            if places or key not in found
        ]
        logits, vectors, tones = super().run_targets(
            [texts[at] for at in new], [spans[at] for at in new]
        )
        toward: list[Floats] = [np.zeros((0, len(SENTIMENTS)), np.float32) for _ in texts]
        for at, *parts, tone in zip(new, logits, vectors, tones, strict=True):
            found[keys[at]] = np.concatenate(parts)
            toward[at] = tone
        rows = np.array([found[key] for key in keys], np.float32).reshape(-1, WIDTH + VECTOR)
        with self._lock:
            for key, row in found.items():
                self._known.pop(key, None)
                self._known[key] = row
            for key in list(self._known)[: -max(REMEMBERED, len(found))]:
                del self._known[key]
        return rows[:, :WIDTH], rows[:, WIDTH:], toward


def _key(text: str) -> bytes:
    """What copies have in common: those that differ in the path of a link are copies too."""
    return hashlib.blake2b(prepare(text).encode(), digest_size=16).digest()


class ReplacedTagger:
    """A shipped tagger of which `heads` answer for some of its heads.

    What a head does not answer for stays the shipped model's: other languages, and for all heads
    but sentiment a text without a letter. A head that reads more than the Latin alphabet tags what
    the shipped model cannot read.
    """

    name = FunnelTagger.name

    def __init__(self, funnel: FunnelTagger | StagedTagger, heads: Mapping[str, Head]) -> None:
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
        for text, tags, other in zip(texts, shipped, self._others(texts, langs), strict=True):
            share = share_read(text)
            own = [
                tag
                for head, scores in other.items()
                for tag in kept([_tag(head, scores)], share if self._heads[head].latin else 1.0)
            ]
            left = [tag for tag in tags if tag.kind not in other]
            order = {head: at for at, head in enumerate(REPLACEABLE)}
            replaced.append(
                tuple(sorted([*own, *left], key=lambda tag: order.get(tag.kind, len(order))))
            )
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
