"""What every tagger takes and gives, and the label sets of the shipped model.

The labels are those of the labelling guidelines: `stage` says where the author is in the buying
journey, `early` is the alert target (the choice is still open and a helpful answer is welcome).
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Protocol, runtime_checkable

STAGES = ("none", "awareness", "consideration", "decision", "post_purchase")
SENTIMENTS = ("neg", "neu", "pos")
SIGNALS = (
    "recommendation_request",
    "comparison",
    "product_question",
    "price_availability",
    "recommendation_given",
    "complaint",
    "praise",
    "suggestion",
    "switching",
)
BINARY_HEADS = ("intent", "early", "promo")
LANGUAGES = ("en", "es")


class NlpError(Exception):
    """Base of what this package raises; the text says what to do next."""


class ModelMissing(NlpError):
    """A model file that the configuration names is not there."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Tag:
    """One statement about one text.

    `kind` is a head ("stage", "intent", "early", "signal", "sentiment", "promo") or
    "sentiment_target", the sentiment toward what the span names; `label` is its value, `score` a
    calibrated probability in [0, 1]. `start` and `end` are offsets in code points
    into the text, end exclusive; both are None when the tag is about the whole text.
    """

    kind: str
    label: str
    score: float
    start: int | None = None
    end: int | None = None


@runtime_checkable
class Tagger(Protocol):
    """A named, versioned function from a batch of texts to a batch of tags."""

    @property
    def name(self) -> str:
        """Stable name; part of the key of stored tags."""
        ...

    @property
    def version(self) -> str:
        """Changes whenever the same text may get other tags; stored texts are then tagged again."""
        ...

    def tag(self, texts: Sequence[str], langs: Sequence[str]) -> list[tuple[Tag, ...]]:
        """Tags of each text, in the order given; `langs` are ISO 639-1 codes or "und".

        Never raises because of a text: empty, emoji only and 50,000-character texts get tags too.
        """
        ...


@runtime_checkable
class TargetTagger(Tagger, Protocol):
    """A tagger that also says something of each thing that a text names."""

    def tag_targets(
        self,
        texts: Sequence[str],
        langs: Sequence[str],
        spans: Sequence[Sequence[tuple[int, int]]],
    ) -> list[tuple[Tag, ...]]:
        """Tags of each text as of `tag`, and those toward what its `spans` name.

        Spans are offsets in code points, end exclusive; what is said of one has its bounds.
        """
        ...
