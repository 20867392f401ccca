"""Folding, so that spellings of one word compare equal, and the way back to offsets as given."""

from __future__ import annotations

import unicodedata
from collections.abc import Iterator, Sequence


class _Folds(dict[str, str]):
    """character -> what it folds to; filled as characters occur."""

    def __missing__(self, char: str) -> str:
        category = unicodedata.category(char)
        if category[0] == "M" or category == "Cf":
            folded = ""
        elif category in {"Cs", "So", "No"}:
            # Emoji, "™", "²": no part of the word beside them.
            folded = " "
        else:
            decomposed = unicodedata.normalize("NFKD", char.casefold())
            folded = "".join(c for c in decomposed if not unicodedata.category(c).startswith("M"))
        self[char] = folded
        return folded


_FOLDS = _Folds()


def fold(text: str) -> tuple[str, list[int] | None]:
    """Folded text, and for each of its characters the offset it comes from (None: the same)."""
    if text.isascii():
        return text.lower(), None
    pieces = [_FOLDS[char] for char in text]
    folded = "".join(pieces)
    if len(folded) == len(text) and "" not in pieces:
        return folded, None
    return folded, [at for at, piece in enumerate(pieces) for _ in piece]


def original(start: int, end: int, text: str, origins: list[int] | None) -> tuple[int, int]:
    """Bounds in the text as given, with the marks that belong to its last character."""
    if origins is None:
        return start, end
    start, end = origins[start], origins[end - 1] + 1
    while end < len(text) and unicodedata.category(text[end]).startswith("M"):
        end += 1
    return start, end


def compounds(written: str) -> list[tuple[int, int]]:
    """Bounds of the words of a compound: cut at underscores, digits and inner capitals."""
    cuts = [0]
    for at in range(1, len(written)):
        here, before = written[at], written[at - 1]
        starts_word = here.isupper() and (
            not before.isupper() or written[at + 1 : at + 2].islower()
        )
        if starts_word or here.isdigit() != before.isdigit() or "_" in (here, before):
            cuts.append(at)
    bounds = zip(cuts, [*cuts[1:], len(written)], strict=True)
    return [(a, b) for a, b in bounds if written[a:b].strip("_")]


def as_written(text: str, origins: list[int] | None, start: int, end: int) -> str:
    """What the text has at a stretch of its folded form, one character for each folded one."""
    if origins is None:
        return text[start:end]
    return "".join(text[origin] for origin in origins[start:end])


# Letters that stand before a number in everyday writing ("de 4", "no 5", "hp 90"); a product code
# of such letters counts only as it is written.
_BEFORE_NUMBERS = frozenset((
    "a", "al", "an", "and", "are", "at", "be", "by", "con", "de", "del", "dia", "do", "el",
    "en", "es", "for", "gb", "go", "hay", "he", "hp", "hz", "i", "if", "in", "is", "kg", "km",
    "la", "las", "le", "lo", "los", "mas", "max", "me", "mes", "mi", "min", "mm", "my", "no",
    "nos", "of", "on", "or", "por", "que", "se", "si", "sin", "so", "sus", "te", "the", "tip",
    "to", "top", "tu", "tus", "un", "una", "uno", "up", "us", "v", "ver", "vs", "was", "we",
    "x", "y", "ya", "you",
))  # fmt: skip


def is_code(letters: str) -> bool:
    """Whether these letters before a number are those of a product and no everyday word."""
    return len(letters) > 1 and letters not in _BEFORE_NUMBERS


def compact(text: str) -> str:
    """Letters, digits, "&" and "+" with their case and accents, for comparing a written form."""
    return "".join(c for c in unicodedata.normalize("NFKC", text) if c.isalnum() or c in "&+")


def inflections(word: str, langs: Sequence[str]) -> set[str]:
    """The word with its possible singulars and plurals in `langs` (any language when empty)."""
    if len(word) < 2 or not word.isalpha():
        return {word}
    forms = {word, f"{word}s", f"{word}es"}
    if not langs or "es" in langs:
        if word.endswith("z"):
            forms.add(f"{word[:-1]}ces")
        if word.endswith("ces"):
            forms.add(f"{word[:-3]}z")
    if not langs or "en" in langs:
        if word.endswith("y"):
            forms.add(f"{word[:-1]}ies")
        if word.endswith("ies"):
            forms.add(f"{word[:-3]}y")
        if word.endswith(("f", "fe")):
            forms.add(f"{word.removesuffix('e')[:-1]}ves")
        if word.endswith("ves"):
            forms |= {f"{word[:-3]}f", f"{word[:-3]}fe"}
    if len(word) > 3 and word.endswith("s") and not word.endswith(("ss", "us", "is")):
        forms.add(word[:-1])
        if word.endswith("es") and word[-3] not in "aeiou":
            forms.add(word[:-2])
    return forms


def shortened(word: str) -> Iterator[str]:
    """The word, and the word without each letter but the first (symmetric delete search)."""
    yield word
    for at in range(1, len(word)):
        yield word[:at] + word[at + 1 :]


def one_edit(one: str, other: str) -> bool:
    """Whether two words with one symmetric delete in common differ by one edit or swap."""
    if len(one) != len(other):
        return abs(len(one) - len(other)) == 1
    differing = [at for at, (a, b) in enumerate(zip(one, other, strict=True)) if a != b]
    if len(differing) == 2:
        first, second = differing
        return second == first + 1 and one[first] == other[second] and one[second] == other[first]
    return len(differing) == 1
