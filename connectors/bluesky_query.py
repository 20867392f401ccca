"""Queries in the syntax of Bluesky's post search: one search for each term.

Its words are combined by AND and phrases stand in quotes; OR and exclusions are not part of what it
documents ("syntax, phrase, boolean, and faceting is unspecified", lexicon of
app.bsky.feed.searchPosts), so they run locally. Some words are operators there ("from:", "#", "@",
"lang:"), and quotes take that away from them. One language can be asked for in each search.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import replace

from . import query as shared
from .base import Compiled, Query
from .query import Dialect, quoted

LIMIT = 256
"""Characters of one search; longer ones find nothing, as a post has 300."""

_WORD = re.compile(r"\w+")
_HASHTAG = re.compile(r"#\w*[^\W\d]\w*")
_HANDLE = re.compile(r"@[A-Za-z0-9-]+(\.[A-Za-z0-9-]+)+")
_OPERATORS = frozenset({"and", "or", "not"})


def compile_query(query: Query) -> Compiled:
    """One search for each term, with as many of `all_of` in each as fit.

    The language is a parameter of the request, shown here as `lang:xx`; see `language`. Raises
    BadConfig for a query without terms, or a term that is too long.
    """
    dialect = Dialect(
        site="Bluesky",
        limit=LIMIT,
        join=lambda terms, clauses: " ".join([*terms, *clauses]),
        any_of=_syntax,
        all_of=_syntax,
        none_of=lambda _: None,
        langs=lambda _: None,
        not_author=lambda _: None,
        most=1,
        plurals=False,
    )
    compiled = shared.compile_query(query, dialect)
    lang = language(query)
    clauses = (
        replace(one, syntax=f"lang:{lang}") if lang and one.part == "langs" else one
        for one in compiled.clauses
    )
    return replace(compiled, clauses=tuple(clauses))


def language(query: Query) -> str | None:
    """The language to ask for; None when there are several, or none."""
    return query.langs[0] if len(query.langs) == 1 else None


def _syntax(spellings: Sequence[str]) -> str | None:
    """A bare word, hashtag or handle, or a phrase in quotes; None for what has nothing to find."""
    term = spellings[0]
    if _HASHTAG.fullmatch(term) or _HANDLE.fullmatch(term):
        return term
    if _WORD.fullmatch(term) and term.casefold() not in _OPERATORS:
        return term
    return quoted(term) if _WORD.search(term) else None
