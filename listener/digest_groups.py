"""Posts that say the same in other words, counted as one line. No model, so it can be explained."""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Collection, Sequence
from dataclasses import dataclass
from functools import cache

from nlp.relevance import words_of
from nlp.words import fold

from .duplicates import alike, said

SHARED_WORDS = 2
SHARED_SHARE = 0.3
_TOLD = 2
"""Words that a group is told by."""
_ENDING = re.compile(r"(?<=\w{3})(?:ing|ed|es|s)$")
_STEM = 5
# What reviews of anything say: that two posts share these says nothing about their subject.
_REVIEW = (
    "about after again always amazing awful bad before best better bought buy buying day days "
    "excellent expect expected good great happy hate like love lovely makes month months morning "
    "need never nice perfect really recommend sad terrible thank thanks thing think time today use "
    "used want week weeks wish work works worse worst year years yesterday "
    "anos ayer bien bueno buena buenas buenos compra comprado comprar compre contento contenta dia "
    "dias encanta encantada encantado encantan espero excelente fatal feliz genial gracias gusta "
    "hace hoy horrible llevo mal mala malo maravilla mejor mes meses necesito nunca peor perfecta "
    "perfecto pienso puedo quiero recomendable recomiendo semana semanas siempre tengo tener uso "
    "verdad"
)


@dataclass(frozen=True, slots=True, kw_only=True)
class Post:
    """A post with its number, its document and the products that it names."""

    id: int
    text: str
    products: frozenset[str] = frozenset()


@dataclass(frozen=True, slots=True, kw_only=True)
class Group:
    """Posts about the same: the first one's number, then the others', and up to two shared words.

    The words are as the first one writes them; a group of one has none.
    """

    ids: tuple[int, ...]
    words: tuple[str, ...] = ()


def grouped(posts: Sequence[Post], names: Collection[str] = ()) -> tuple[Group, ...]:
    """`posts` in groups, the largest first and else in the order given.

    A post joins the first group to whose first post it is near: one repeats the other (see
    `listener.duplicates`), or they share at least two telling words, and 30 % of the shorter one's,
    and do not name different products. Words are told apart by their first five letters without
    the ending of a plural or tense; those of `names` and those that reviews of anything use tell
    nothing.
    """
    silent = _review() | {_stem(word) for name in names for word in words_of(name)}
    groups: list[_Growing] = []
    for post in posts:
        one = _Growing(post, silent)
        near = next((group for group in groups if group.near(one)), None)
        if near is None:
            groups.append(one)
        else:
            near.members.append(one)
    groups.sort(key=lambda group: -len(group.members))
    return tuple(group.finished() for group in groups)


class _Growing:
    """A post and, where it is the first of a group, those that joined it."""

    def __init__(self, post: Post, silent: Collection[str]) -> None:
        self.post = post
        self.said = said(post.text)
        # stem -> the word as it is written here
        self.telling: dict[str, str] = {}
        for word in words_of(post.text):
            if (stem := _stem(word)) not in silent:
                self.telling.setdefault(stem, word)
        self.members = [self]

    def near(self, other: _Growing) -> bool:
        if alike(self.said, other.said):
            return True
        ours, theirs = self.post.products, other.post.products
        if ours and theirs and ours.isdisjoint(theirs):
            return False
        shared = len(self.telling.keys() & other.telling.keys())
        shorter = min(len(self.telling), len(other.telling))
        return shared >= max(SHARED_WORDS, SHARED_SHARE * shorter)

    def finished(self) -> Group:
        counts = Counter(
            stem for one in self.members for stem in self.telling if stem in one.telling
        )
        told = [stem for stem, n in counts.most_common(_TOLD) if n > 1]
        return Group(
            ids=tuple(one.post.id for one in self.members),
            words=tuple(self.telling[stem] for stem in told),
        )


def _stem(word: str) -> str:
    return _ENDING.sub("", fold(word)[0])[:_STEM]


@cache
def _review() -> frozenset[str]:
    return frozenset(_stem(word) for word in _REVIEW.split())
