"""One text through matcher and model, for `listener try`."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

from nlp.abstain import ABSTAIN, WHOLLY, share_read
from nlp.base import Tag
from nlp.language import Language, resolve

from .analyse import TARGETS
from .pipeline import Parts

if TYPE_CHECKING:
    from nlp.matching import Span


def examine(parts: Parts, text: str, lang: str | None = None) -> dict[str, Any]:
    """Language, the probability of every label of every head, and matched spans of `text`.

    `read` is the share of its letters that the shipped model reads (see `nlp.abstain`).
    `tags` are rows of head, label and probability, the likeliest label of a head first; `matches`
    are rows of kind, name, term, quote, start and end, with offsets in code points, and sentiment
    and probability, the attitude toward a brand, product or competitor: both None for categories
    and for places in the middle of a long text, which the model does not read.
    """
    language = Language(lang, 1.0) if lang else resolve(text)
    (spans,) = parts.matcher.match([text], [language.code])
    # Asked first: the model keeps this pass, and the probabilities then cost no second one.
    toward = _toward(parts, text, language.code, spans)
    heads = parts.tagger.probabilities([text], [language.code])[0]
    return {
        "text": text,
        "lang": language.code,
        "lang_score": language.score,
        "read": round(share_read(text), 4),
        "tags": [
            {"head": head, "label": label, "probability": round(probability, 4)}
            for head, labels in heads.items()
            for label, probability in sorted(labels.items(), key=lambda item: -item[1])
        ],
        "matches": [
            {
                "kind": span.kind,
                "name": span.name,
                "term": span.term,
                "quote": text[span.start : span.end],
                "start": span.start,
                "end": span.end,
                "sentiment": tag.label if tag else None,
                "probability": round(tag.score, 4) if tag else None,
            }
            for span in spans
            for tag in [toward.get(span.start) if span.kind in TARGETS else None]
        ],
    }


def _toward(parts: Parts, text: str, lang: str, spans: Sequence[Span]) -> dict[int, Tag]:
    """The sentiment toward what is named, by the offset at which the name begins.

    As in `analyse.targets`, of names that begin together the longest is judged for all of them.
    """
    named = sorted((span.start, span.end) for span in spans if span.kind in TARGETS)
    longest = list(dict(named).items())
    if not longest:
        return {}
    (tags,) = parts.tagger.tag_targets([text], [lang], [longest])
    return {tag.start: tag for tag in tags if tag.start is not None}


def not_read(share: float) -> str:
    """A sentence on a text of whose letters the shipped model reads `share`; "" for a plain one."""
    if share >= WHOLLY:
        return ""
    known = f"{share:.0%} of its letters are of the Latin alphabet, the only one it knows"
    if share < ABSTAIN:
        return (
            f"The shipped model cannot read this text: {known}. What it says means nothing, and no "
            "such tag is stored."
        )
    return (
        f"The shipped model cannot read all of this text: {known}. A tag is stored only where that "
        f"share times the probability of its answer is at least {ABSTAIN}."
    )
