"""Queries in the syntax of Reddit's search, cut into several where one would be too long."""

from __future__ import annotations

import re
from collections.abc import Sequence
from functools import partial

from . import query as shared
from .base import Compiled, Query
from .query import Dialect, bare_name, once, quoted

LIMIT = 512
"""Characters of one query."""

_AUTHOR = re.compile(r"[A-Za-z0-9_-]{2,24}")


def compile_query(query: Query, limit: int = LIMIT) -> Compiled:
    """`query` as searches of at most `limit` characters, each a row of ORs.

    Every term is quoted, so that none is taken for syntax. The search knows no languages. A phrase
    to exclude that holds a term itself ("dj acme" for "acme") runs locally: a long post may have
    both, and reading it costs nothing. Raises BadConfig for a query without terms, or a term that
    is too long.
    """
    names = [name for term in once(query.any_of) if (name := _plain(term))]
    dialect = Dialect(
        site="Reddit",
        limit=limit,
        join=_search,
        any_of=_any,
        all_of=_all,
        none_of=partial(_none, names),
        langs=lambda _: None,
        not_author=_not_author,
    )
    return shared.compile_query(query, dialect)


def _search(terms: Sequence[str], clauses: Sequence[str]) -> str:
    either = " OR ".join(terms)
    return " ".join([f"({either})", *clauses]) if clauses else either


def _any(spellings: Sequence[str]) -> str | None:
    return " OR ".join(filter(None, map(_phrase, spellings))) or None


def _all(spellings: Sequence[str]) -> str | None:
    syntax = _any(spellings)
    return syntax and f"AND ({syntax})"


def _none(names: Sequence[str], term: str) -> str | None:
    syntax = _phrase(term)
    if syntax is None or any(name in _plain(term) for name in names):
        return None
    return f"AND NOT {syntax}"


def _not_author(name: str) -> str | None:
    account = bare_name(name)
    return f"-author:{account}" if _AUTHOR.fullmatch(account) else None


def _phrase(term: str) -> str | None:
    return quoted(_bare(term))


def _plain(term: str) -> str:
    return _bare(term).casefold()


def _bare(term: str) -> str:
    """Without the signs of other networks ("@", "#"), which are not part of a word here."""
    return term.lstrip("@# ")
