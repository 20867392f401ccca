"""Queries in the syntax of X's recent search, cut into several where one would be too long.

Words are matched whole there, without regard to case and accents, and not in other forms, plurals
among them.
"""

from __future__ import annotations

import re
from collections.abc import Iterable

from .base import BadConfig, Clause, Compiled, Query
from .text import clean_text

LIMIT = 512
"""Characters of one query for those who pay per use."""

_HANDLE = re.compile(r"@[A-Za-z0-9_]{1,15}")
_HASHTAG = re.compile(r"#\w*[^\W\d]\w*")
_WORD = re.compile(r"\w+")
_ADDRESS = re.compile(r"(?:[\w-]+\.)+[a-z]{2,}(/\S*)?", re.IGNORECASE)
_QUOTES = re.compile(r'["\u201c\u201d\\]+')
_OPERATORS = frozenset({"and", "or", "not"})
# What `lang:` takes (docs.x.com, operators of recent search); an unknown one fails the query.
_LANGS = (
    "am ar bg bn bo bs ca cs cy da de dv el en es et eu fa fi fr gu hi hr ht hu hy is it iw in ja "
    "ka km kn ko lo lt lv ml mr my ne nl no or pa pl ps pt ro ru sd si sk sl sr sv ta te th tl tr "
    "ug uk ur vi"
)
_LANG_ON_X = {"he": "iw", "id": "in", "nb": "no"}


def compile_query(query: Query, *, retweets: bool = False, limit: int = LIMIT) -> Compiled:
    """`query` as searches of at most `limit` UTF-16 units; each has the languages and exclusions.

    Exclusions that would fill more than half of a search run locally, and so do languages when X
    does not know one of them. Raises BadConfig for a query without terms, or a term that is too
    long.
    """
    wanted = [_any(term) for term in _once(query.any_of)]
    clauses = [clause for clause in wanted if clause.syntax]
    if not clauses:
        raise BadConfig(f"query {query.name!r} has no terms that X can search; give it one")
    langs = _langs(query.langs)
    rest = [*langs, _retweets(retweets)]
    suffix = [clause.syntax for clause in rest if clause.syntax]
    for term in _once(query.none_of):
        syntax = _phrase(term)
        fits = syntax and _length([*suffix, f"-{syntax}"]) <= limit // 2
        rest.append(Clause(part="none_of", text=term, syntax=f"-{syntax}" if fits else None))
        suffix += [f"-{syntax}"] if fits else []
    # In one order, whatever the order in the configuration: cursors are kept by search.
    terms = sorted(clause.syntax for clause in clauses if clause.syntax)
    searches: list[str] = []
    group: list[str] = []
    for term in terms:
        if _length([_search([term], suffix)]) > limit:
            raise BadConfig(
                f"query {query.name!r} has a term of {len(term)} characters, too long for X; "
                "shorten it"
            )
        if group and _length([_search([*group, term], suffix)]) > limit:
            searches.append(_search(group, suffix))
            group = []
        group.append(term)
    searches.append(_search(group, suffix))
    return Compiled(searches=tuple(searches), clauses=(*wanted, *rest))


def _search(terms: list[str], suffix: list[str]) -> str:
    return " ".join([f"({' OR '.join(terms)})", *suffix])


def _any(term: str) -> Clause:
    syntax = term if _HANDLE.fullmatch(term) or _HASHTAG.fullmatch(term) else _phrase(term)
    if syntax and (address := _ADDRESS.fullmatch(term)):
        # A link to a page of the brand; without a path it may be the name that people write.
        link = f"url:{_quoted(term)}"
        syntax = link if address[1] else f"{syntax} OR {link}"
    return Clause(part="any_of", text=term, syntax=syntax)


def _phrase(term: str) -> str | None:
    """A bare word, or a phrase in quotes; None for what has no sign that could be searched."""
    if _WORD.fullmatch(term) and term.lower() not in _OPERATORS:
        return term
    return _quoted(term)


def _quoted(term: str) -> str | None:
    # Quotes cannot be escaped there; between words they are no more than a gap.
    inner = " ".join(_QUOTES.sub(" ", term).split())
    return f'"{inner}"' if inner else None


def _langs(langs: tuple[str, ...]) -> list[Clause]:
    codes = [_LANG_ON_X.get(lang, lang) for lang in langs]
    if not langs:
        return []
    syntax = " OR ".join(f"lang:{code}" for code in codes)
    if len(codes) > 1:
        syntax = f"({syntax})"
    known = all(code in _LANGS.split() for code in codes)
    return [Clause(part="langs", text=", ".join(langs), syntax=syntax if known else None)]


def _retweets(wanted: bool) -> Clause:
    return Clause(
        part="retweets",
        text="with retweets" if wanted else "without retweets",
        syntax=None if wanted else "-is:retweet",
    )


def _once(terms: Iterable[str]) -> list[str]:
    """The terms on one line each, without those that differ from an earlier one only in case."""
    first: dict[str, str] = {}
    for term in terms:
        if line := " ".join(clean_text(term).split()):
            first.setdefault(line.casefold(), line)
    return [*first.values()]


def _length(parts: list[str]) -> int:
    # An emoji may count as two; whoever counts it as one is left some room.
    return len(" ".join(parts).encode("utf-16-le")) // 2
