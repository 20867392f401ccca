"""What the configuration makes of its names and words: terms to match and queries to send.

Names, aliases, handles, hashtags and shop addresses belong to no language; `terms` and a category's
`words` belong to one.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from itertools import chain
from urllib.parse import urlsplit

from connectors.base import Query
from nlp.patterns import Term, is_sure
from nlp.relevance import Sense

from .config import Category, Config, Kind, Product

# In the name of a query: no handle and no language is called so.
_SURE = "@"


@dataclass(frozen=True, slots=True, kw_only=True)
class _Subject:
    kind: Kind
    name: str
    words: tuple[str, ...]
    by_language: Mapping[str, tuple[str, ...]]
    exclude: tuple[str, ...]
    require_all: tuple[str, ...]


def terms(config: Config) -> tuple[Term, ...]:
    """Every term to look for in posts, in the order of the configuration, each once per subject.

    A category's own name is a label and no term; the names of all others are terms. Addresses stand
    without scheme and `www.`.
    """
    return tuple(
        Term(text=text, kind=subject.kind, name=subject.name, langs=langs)
        for subject in _subjects(config)
        for langs, texts in _by_langs(subject)
        for text in texts
    )


def exclusions(config: Config) -> dict[tuple[str, str], tuple[str, ...]]:
    """Per (kind, name): the phrases that look alike and mean something else."""
    return {
        (subject.kind, subject.name): subject.exclude
        for subject in _subjects(config)
        if subject.exclude
    }


def requirements(config: Config) -> dict[tuple[str, str], tuple[str, ...]]:
    """Per (kind, name): the words that a post has to hold too, all of them."""
    return {
        (subject.kind, subject.name): subject.require_all
        for subject in _subjects(config)
        if subject.require_all
    }


def senses(config: Config) -> tuple[Sense, ...]:
    """What each name means, as far as its description and examples tell.

    A category's words are what it means, so only its name counts as a spelling.
    """
    named = (config.brand, *config.products, *config.competitors, *config.categories)
    return tuple(
        Sense(
            name=one.name,
            words=_once([one.name, *(one.aliases if isinstance(one, Product) else ())]),
            description=one.description or "",
            yes=one.examples.yes,
            no=one.examples.no,
        )
        for one in named
    )


def queries(config: Config) -> tuple[Query, ...]:
    """One query per subject for what belongs to no language, and one per language with own words.

    The name, under which a cursor is kept, is the subject's, with the language after it: `x [es]`.
    Where a subject requires words, its accounts and addresses are a query of their own: `x [@]`.
    """
    return tuple(
        Query(
            name=f"{subject.name} [{mark}]" if mark else subject.name,
            kind=subject.kind,
            any_of=texts,
            all_of=() if mark == _SURE else subject.require_all,
            none_of=subject.exclude,
            langs=langs,
            not_authors=config.sources.exclude_authors,
        )
        for subject in _subjects(config)
        for mark, langs, texts in _questions(subject)
    )


def _questions(subject: _Subject) -> Iterator[tuple[str, tuple[str, ...], tuple[str, ...]]]:
    """Mark (none: no language), languages and words of each query; empty ones are left out."""
    for langs, words in _by_langs(subject):
        sure = tuple(word for word in words if subject.require_all and is_sure(word))
        rest = tuple(word for word in words if word not in sure)
        if rest:
            yield langs[0] if langs else "", langs, rest
        if sure:
            yield _SURE, langs, sure


def _by_langs(subject: _Subject) -> Iterator[tuple[tuple[str, ...], tuple[str, ...]]]:
    """Languages (none: any) and the words that go with them; empty groups are left out."""
    if subject.words:
        yield (), subject.words
    seen = {word.casefold() for word in subject.words}
    for lang, words in subject.by_language.items():
        own = tuple(word for word in _once(words) if word.casefold() not in seen)
        if own:
            yield (lang,), own


def _subjects(config: Config) -> Iterator[_Subject]:
    yield _maker(config.brand, "brand", chain(config.brand.handles, _account_on_x(config)))
    for product in config.products:
        yield _maker(product, "product", ())
    for competitor in config.competitors:
        yield _maker(competitor, "competitor", competitor.handles)
    for category in config.categories:
        yield _category(category)


def _maker(made: Product, kind: Kind, handles: Iterable[str]) -> _Subject:
    addresses = (_address(url) for url in made.urls)
    return _Subject(
        kind=kind,
        name=made.name,
        words=_once(chain([made.name], made.aliases, handles, made.hashtags, addresses)),
        by_language=made.terms,
        exclude=made.exclude,
        require_all=made.require_all,
    )


def _category(category: Category) -> _Subject:
    return _Subject(
        kind="category",
        name=category.name,
        words=_once(category.hashtags),
        by_language=category.words,
        exclude=category.exclude,
        require_all=category.require_all,
    )


def _account_on_x(config: Config) -> Iterator[str]:
    """The brand's account whose mentions are read on X; of an id nobody knows the handle here."""
    user = (config.sources.x.user or "").removeprefix("@")
    if user and not user.isdecimal():
        yield f"@{user}"


def _once(words: Iterable[str]) -> tuple[str, ...]:
    """The words without those that differ from an earlier one only in upper and lower case."""
    first: dict[str, str] = {}
    for word in words:
        first.setdefault(word.casefold(), word)
    return tuple(first.values())


def _address(url: str) -> str:
    """`https://www.lumora.example/uno/` -> `lumora.example/uno`."""
    parts = urlsplit(url)
    return f"{parts.hostname or ''}{parts.path}".removeprefix("www.").rstrip("/")
