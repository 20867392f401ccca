"""Queries in the syntax of Discourse's search, which knows no OR: one search for each term."""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import replace

from . import query as shared
from .base import Compiled, Query
from .query import Dialect, quoted

LIMIT = 400
"""Characters of one search; the site names no bound, and addresses have one."""

_WORD = re.compile(r"[^\W_]{3,}")
_WORDS = re.compile(r"[^\W_]{2,}(?: [^\W_]{2,})*")


def compile_query(query: Query, categories: Sequence[str] = ()) -> Compiled:
    """`query` as searches, newest first, each within one of `categories` if there are any.

    Single words and words with plurals are left to the stemming of the site; names of several words
    are phrases. What the search cannot do (exclusions, languages, authors) runs locally. Raises
    BadConfig for a query without terms, or a term that is too long.
    """
    dialect = Dialect(
        site="Discourse",
        limit=LIMIT,
        join=lambda terms, clauses: " ".join([*terms, *clauses, "order:latest"]),
        any_of=_any,
        all_of=_any,
        none_of=lambda _: None,
        langs=lambda _: None,
        not_author=lambda _: None,
        most=1,
    )
    compiled = shared.compile_query(query, dialect)
    if not categories:
        return compiled
    searches = (f"{one} category:{name}" for one in compiled.searches for name in categories)
    return replace(compiled, searches=tuple(searches))


def _any(spellings: Sequence[str]) -> str | None:
    # "@" and "#" would ask for a user, a category or a tag of the forum.
    term = spellings[0].lstrip("@# ")
    stemmed = _WORD.fullmatch(term) or (len(spellings) > 1 and _WORDS.fullmatch(term))
    return term if stemmed else quoted(term)
