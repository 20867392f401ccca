"""One text through matcher and model, for `listener try`."""

from __future__ import annotations

from typing import Any

from nlp.language import Language, resolve

from .pipeline import Parts


def examine(parts: Parts, text: str, lang: str | None = None) -> dict[str, Any]:
    """Language, the probability of every label of every head, and matched spans of `text`.

    `tags` are rows of head, label and probability, the likeliest label of a head first; `matches`
    are rows of kind, name, term, quote, start and end, with offsets in code points.
    """
    language = Language(lang, 1.0) if lang else resolve(text)
    heads = parts.tagger.probabilities([text], [language.code])[0]
    (spans,) = parts.matcher.match([text], [language.code])
    return {
        "text": text,
        "lang": language.code,
        "lang_score": language.score,
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
            }
            for span in spans
        ],
    }
