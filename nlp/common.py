"""Common words: those for which the tokenizer of the shipped model has a piece of its own.

Its pieces are those of XLM-RoBERTa (MIT), learned from web pages in a hundred languages, of which
nlp/training keeps the ones that English, Spanish and their neighbours use. Of the 2,000 commonest
words of either language (wordfreq), those with six letters or more are nearly all among them.
"""

from __future__ import annotations

import json
from functools import cache
from pathlib import Path

from .base import ModelMissing
from .words import fold

TOKENIZER = Path(__file__).parent / "models" / "tokenizer.json"
SHORTEST = 6
"""Letters of the shortest word given: no misspelling of a name is shorter."""

_START = "▁"


@cache
def common_words() -> frozenset[str]:
    """Folded words of at least `SHORTEST` letters; ModelMissing without the tokenizer."""
    try:
        content = TOKENIZER.read_text("utf-8")
    except FileNotFoundError:
        raise ModelMissing(f"{TOKENIZER.name} is not there; reinstall the package") from None
    words = (
        fold(piece[1:])[0]
        for piece, _ in json.loads(content)["model"]["vocab"]
        if piece.startswith(_START) and len(piece) > SHORTEST
    )
    return frozenset(word for word in words if len(word) >= SHORTEST and word.isalpha())
