"""How a term becomes patterns: sequences of folded words, handles and links that name an entity.

What counts as the same word is told in nlp/matching.py, which searches texts for the patterns.
"""

from __future__ import annotations

import re
import unicodedata
from collections.abc import Mapping, Sequence, Set
from dataclasses import dataclass
from typing import NamedTuple

from .base import NlpError
from .words import as_written, compounds, fold, inflections, is_code, shortened

KINDS = ("brand", "product", "competitor", "category")
INFLECTED = ("product", "category")
LONG = 7
"""Letters from which a word may be misspelt, or end or begin a lowercase hashtag."""

Entity = tuple[str, str]

STOP = "."
LINK_MARK = "://"

# No possessive quantifier on a group: Python 3.11.2 (Debian 12) then swallows what failed to match.
TOKEN = re.compile(
    r"""
      (?P<url>(?:https?://|(?<![\w.])www\.)[^\s<>"]++)
    | (?<![\w@])@(?P<handle>\w++(?:[.-]\w++)*(?:@\w++(?:[.-]\w++)*)?)
    | (?<![\w&/])\#(?P<hashtag>\w++)
    | (?P<word>[^\W\d_]++ | \d++(?:[.,]\d++)* | [&+])
    | (?P<stop>[,;:!?()\[\]{}"|…¡¿«»“”] | \.(?=[\s.]|$) | \n[^\S\n]*+\n)
    """,
    re.VERBOSE,
)
WORD = re.compile(r"[^\W\d_]++|\d++(?:[.,]\d++)*|[&+]")
_LINK_TERM = re.compile(r"((?:https?://)?(?:www\.)?)([\w-]+(?:\.[\w-]+)*\.[a-z]{2,})(/\S*)?")


class BadTerm(NlpError):
    """A term that cannot match anything; the text names it and the fix."""


@dataclass(frozen=True, slots=True)
class Term:
    """One way of naming an entity (`kind`, `name`).

    `kind` is one of `KINDS`. With `langs` the term counts only in texts of those languages and of
    unknown language, and takes only their plurals.
    """

    text: str
    kind: str
    name: str
    langs: tuple[str, ...] = ()


class Pattern(NamedTuple):
    """Words that name an entity or, with `excludes`, show that it is not meant ("here", "text").

    With `required` they are words without which the entity is not meant: everyday words, which
    match as those of a category do.
    `cased`: whether the written case counts, "always" or where the surface is "spaced".
    """

    entity: Entity
    term: str
    words: tuple[str, ...]
    langs: tuple[str, ...] = ()
    cased: str = ""
    excludes: str = ""
    required: bool = False

    @property
    def sure(self) -> bool:
        """Whether it is an account or an address, which mean nothing else."""
        return self.words[0].startswith(("@", LINK_MARK))

    @property
    def everyday(self) -> bool:
        """Whether its words are everyday words, and no names."""
        return self.entity[0] == "category" or self.required

    @property
    def inflected(self) -> bool:
        """Whether its words match in singular and plural."""
        return (self.entity[0] in INFLECTED or self.required) and not self.excludes

    @property
    def guessable(self) -> bool:
        """Whether its words may be misspelt."""
        return not self.everyday and not self.excludes


def term_patterns(term: Term) -> list[Pattern]:
    """The patterns that stand for a term; raises BadTerm."""
    if term.kind not in KINDS:
        raise BadTerm(f"unknown kind {term.kind!r}; use one of {', '.join(KINDS)}")
    cased = _cased(term.text)
    return [
        Pattern((term.kind, term.name), term.text, words, term.langs, cased)
        for words in _variants(term.text)
    ]


def requirement_patterns(required: Mapping[Entity, Sequence[Set[str]]]) -> list[Pattern]:
    """Patterns of the words without which an entity is not meant, by groups of alternatives."""
    return [
        Pattern(entity, term, words, cased=_cased(term), required=True)
        for entity, groups in required.items()
        for term in {one for alike in groups for one in alike}
        for words in _variants(term)
    ]


def exclusion_patterns(
    terms: Sequence[Pattern], exclusions: Mapping[Entity, Sequence[str]]
) -> list[Pattern]:
    """Patterns of the phrases that cancel matches of an entity, whose patterns are in `terms`."""
    own: dict[Entity, set[str]] = {}
    for pattern in terms:
        own.setdefault(pattern.entity, set()).add("".join(pattern.words).lstrip("@#"))
    patterns = []
    for entity, phrases in exclusions.items():
        for phrase in phrases:
            for words in _variants(phrase):
                joined = "".join(words)
                here = any(name in joined for name in own.get(entity, ()))
                excludes = "here" if here else "text"
                patterns.append(Pattern(entity, phrase, words, excludes=excludes))
    return patterns


def is_sure(text: str) -> bool:
    """Whether a term is an account or an address, which mean nothing else."""
    folded = fold(text.strip())[0]
    return folded.startswith("@") or _LINK_TERM.fullmatch(folded) is not None


def _cased(text: str) -> str:
    """Whether the written form of a term counts: "always", where it is "spaced", or never ("")."""
    characters = [char for char in unicodedata.normalize("NFKC", text) if char.isalnum()]
    digits = sum(map(str.isdigit, characters))
    if text.lstrip()[:1] in {"@", "#"} or _is_code(text):
        return ""
    if len(characters) <= 3 and digits < 2:
        return "always"
    return "spaced" if digits and len(characters) - digits <= 3 else ""


def _is_code(text: str) -> bool:
    """Whether a name is a product's letters and then its number, and nothing else it could be."""
    code = re.fullmatch(r"([^\W\d_]+)[\s-]?\d+", fold(text.strip())[0])
    return code is not None and is_code(code[1])


def _variants(phrase: str) -> list[tuple[str, ...]]:
    """The sequences of words that stand for a term, without repetition."""
    folded, origins = fold(phrase.strip())
    if folded.startswith(("@", "#")):
        found = TOKEN.fullmatch(folded)
        if found is None:
            raise BadTerm(f"{phrase!r} is no handle or hashtag; write it as a name or as one word")
        return [(folded,)]
    variants: dict[tuple[str, ...], None] = {}
    link = _LINK_TERM.fullmatch(folded)
    if link:
        path = re.split(r"[?#]", link[3] or "", maxsplit=1)[0].rstrip("/")
        variants[(f"{LINK_MARK}{link[2]}{path}",)] = None
        if link[1] or path:
            return list(variants)
    stopped = [STOP if one.lastgroup == "stop" else one[0] for one in TOKEN.finditer(folded)]
    words = [word for word in stopped if word != STOP]
    if not any(map(str.isalnum, "".join(words))):
        raise BadTerm(f"the term {phrase!r} has no letter or digit to match; remove it")
    variants[tuple(words)] = None
    variants[tuple(" ".join(stopped).strip(" .").split())] = None
    joined = "".join(word for word in words if word not in "&+")
    variants[tuple(WORD.findall(joined))] = None
    if len(words) == 1 and words[0] == folded:
        cuts = compounds(as_written(phrase.strip(), origins, 0, len(folded)))
        if all(b - a >= 3 for a, b in cuts):
            variants[tuple(folded[a:b] for a, b in cuts)] = None
    return list(variants)


def word_classes(patterns: Sequence[Pattern]) -> dict[str, str]:
    """Every form of every word of the patterns -> one word for all its forms."""
    classes: dict[str, str] = {}
    for pattern in patterns:
        for word in pattern.words:
            forms = inflections(word, pattern.langs) if pattern.inflected else {word}
            old = {classes[form] for form in forms if form in classes}
            key = min(old | {word})
            if old - {key}:
                classes.update({form: key for form, was in classes.items() if was in old})
            classes.update(dict.fromkeys(forms, key))
    return classes


def guess_index(patterns: Sequence[Pattern]) -> dict[str, set[str]]:
    """Words of names, and those words with one letter missing -> the words they come from."""
    index: dict[str, set[str]] = {}
    for pattern in patterns:
        for word in pattern.words:
            if pattern.guessable and len(word) >= LONG and word.isalpha():
                for short in shortened(word):
                    index.setdefault(short, set()).add(word)
    return index
