"""Which of the 250,000 pieces stay: Latin script, the most frequent ones, and every single sign."""

from __future__ import annotations

import unicodedata
from collections import defaultdict
from collections.abc import Iterable, Mapping, Sequence
from functools import cache
from typing import TYPE_CHECKING

from .convert import SPECIAL

if TYPE_CHECKING:
    from tokenizers import Tokenizer

SIZE = 48_000
# Posts count fully; words of a general list keep what posts of our sources happen not to hold, and
# let Portuguese, French, Italian and German posts pass through the encoder.
WORDS = {"en": 0.5, "es": 0.5, "pt": 0.25, "fr": 0.25, "it": 0.25, "de": 0.25}
TOP_WORDS = 60_000
SPACE = "▁"


@cache
def _foreign(sign: str) -> bool:
    return sign.isalpha() and "LATIN" not in unicodedata.name(sign, "")


def latin(piece: str) -> bool:
    """Whether no letter of the piece is of another script; digits, signs and emoji are common."""
    return not any(map(_foreign, piece))


def prune(
    pieces: Sequence[tuple[str, float]], frequency: Mapping[int, float], size: int
) -> list[int]:
    """At most `size` ids to keep, rising.

    All special tokens and single signs of Latin texts, then the most frequent Latin pieces (of
    equal ones those with the better score in the tokenizer).
    """
    allowed = [at for at, (piece, _) in enumerate(pieces) if latin(piece)]
    always = [at for at in allowed if at < len(SPECIAL) or len(pieces[at][0].lstrip(SPACE)) <= 1]
    if len(always) > size:
        raise ValueError(f"{len(always)} pieces are always kept; a size of {size} is too small")
    others = set(allowed).difference(always)
    ranked = sorted(others, key=lambda at: (-frequency.get(at, 0.0), -pieces[at][1], at))
    return sorted([*always, *ranked[: size - len(always)]])


def frequencies(tokenizer: Tokenizer, texts: Mapping[str, Sequence[str]]) -> dict[int, float]:
    """Weight of each piece id: its share of the pieces, summed over the languages of the posts and

    (weighted by `WORDS`) over wordfreq's lists.
    """
    total: dict[int, float] = defaultdict(float)
    for posts in texts.values():
        _add(total, ((post, 1.0) for post in posts), tokenizer, 1.0)
    for lang, weight in WORDS.items():
        _add(total, _words(lang), tokenizer, weight)
    return total


def _words(lang: str) -> Iterable[tuple[str, float]]:
    from wordfreq import top_n_list, word_frequency

    for word in top_n_list(lang, TOP_WORDS):
        share = word_frequency(word, lang)
        yield word, share
        yield word.capitalize(), share / 4


def _add(
    total: dict[int, float], texts: Iterable[tuple[str, float]], tokenizer: Tokenizer, weight: float
) -> None:
    pairs = list(texts)
    encodings = tokenizer.encode_batch_fast([t for t, _ in pairs], add_special_tokens=False)
    counts: dict[int, float] = defaultdict(float)
    for encoding, (_, share) in zip(encodings, pairs, strict=True):
        for at in encoding.ids:
            counts[at] += share
    whole = sum(counts.values()) or 1.0
    for at, count in counts.items():
        total[at] += weight * count / whole
