"""Queries in the syntax of X's recent search, cut into several where one would be too long.

Words are matched whole there, without regard to case and accents, and not in other forms, so that
plurals are asked for. A word is cut at punctuation: "Acme's" is found by "Acme".
"""

from __future__ import annotations

import re
from collections.abc import Sequence

from . import query as shared
from .base import Clause, Compiled, Query
from .query import Dialect, bare_name, quoted, utf16_units

LIMIT = 512
"""Characters of one query for those who pay per use."""

_HANDLE = re.compile(r"@[A-Za-z0-9_]{1,15}")
_AUTHOR = re.compile(r"[A-Za-z0-9_]{1,15}|[0-9]{1,19}")
_HASHTAG = re.compile(r"#\w*[^\W\d]\w*")
_WORD = re.compile(r"\w+")
_ADDRESS = re.compile(r"(?:[\w-]+\.)+[a-z]{2,}(/\S*)?", re.IGNORECASE)
_OPERATORS = frozenset({"and", "or", "not"})
# What `lang:` takes (docs.x.com, operators of recent search); an unknown one fails the query.
_LANGS = (
    "am ar bg bn bo bs ca cs cy da de dv el en es et eu fa fi fr gu hi hr ht hu hy is it iw in ja "
    "ka km kn ko lo lt lv ml mr my ne nl no or pa pl ps pt ro ru sd si sk sl sr sv ta te th tl tr "
    "ug uk ur vi"
)
_LANG_ON_X = {"he": "iw", "id": "in", "nb": "no"}


def compile_query(query: Query, *, retweets: bool = False, limit: int = LIMIT) -> Compiled:
    """`query` as searches of at most `limit` UTF-16 units.

    What fills more than half of a search runs locally, and so do languages when X does not know one
    of them. Raises BadConfig for a query without terms, or a term that is too long.
    """
    dialect = Dialect(
        site="X",
        limit=limit,
        measure=utf16_units,
        join=_search,
        any_of=_any,
        all_of=_all,
        none_of=_none,
        langs=_langs,
        not_author=_not_author,
    )
    return shared.compile_query(query, dialect, [_retweets(retweets)])


def _search(terms: Sequence[str], clauses: Sequence[str]) -> str:
    return " ".join([f"({' OR '.join(terms)})", *clauses])


def _any(spellings: Sequence[str]) -> str | None:
    return " OR ".join(filter(None, map(_term, spellings))) or None


def _all(spellings: Sequence[str]) -> str | None:
    syntax = _any(spellings)
    return f"({syntax})" if syntax and " OR " in syntax else syntax


def _none(term: str) -> str | None:
    syntax = _phrase(term)
    return syntax and f"-{syntax}"


def _not_author(name: str) -> str | None:
    handle = bare_name(name)
    return f"-from:{handle}" if _AUTHOR.fullmatch(handle) else None


def _term(term: str) -> str | None:
    syntax = term if _HANDLE.fullmatch(term) or _HASHTAG.fullmatch(term) else _phrase(term)
    if syntax and (address := _ADDRESS.fullmatch(term)):
        # A link to a page of the brand; without a path it may be the name that people write.
        link = f"url:{quoted(term)}"
        syntax = link if address[1] else f"{syntax} OR {link}"
    return syntax


def _phrase(term: str) -> str | None:
    """A bare word, or a phrase in quotes; None for what has no sign that could be searched."""
    if _WORD.fullmatch(term) and term.lower() not in _OPERATORS:
        return term
    return quoted(term)


def _langs(langs: Sequence[str]) -> str | None:
    codes = [_LANG_ON_X.get(lang, lang) for lang in langs]
    if not all(code in _LANGS.split() for code in codes):
        return None
    syntax = " OR ".join(f"lang:{code}" for code in codes)
    return f"({syntax})" if len(codes) > 1 else syntax


def _retweets(wanted: bool) -> Clause:
    return Clause(
        part="retweets",
        text="with retweets" if wanted else "without retweets",
        syntax=None if wanted else "-is:retweet",
    )
