"""What servers of Mastodon can be asked of a query: hashtags one by one, or terms one by one."""

from __future__ import annotations

import re
from collections.abc import Iterable, Sequence

from . import query as shared
from .base import BadConfig, Clause, Compiled, Query
from .query import Dialect, once, quoted

LIMIT = 500
"""Characters of one search; a post has as many."""

# At least one sign that is no digit; the server itself knows no difference of case.
_HASHTAG = re.compile(r"#?(\w*[^\W\d]\w*)")


def compile_tags(query: Query) -> Compiled:
    """The hashtags among the terms of `query`, without "#" and in lower case.

    All else runs locally. There may be no hashtag, and then there is nothing to ask.
    """
    clauses: list[Clause] = []
    tags: dict[str, None] = {}
    for term in once(query.any_of):
        match = _HASHTAG.fullmatch(term) if term.startswith("#") else None
        clauses.append(Clause(part="any_of", text=term, syntax=match and f"#{match[1].lower()}"))
        if match:
            tags[match[1].lower()] = None
    return Compiled(searches=tuple(sorted(tags)), clauses=(*clauses, *_local(query)))


def read_tag(text: str) -> str:
    """A hashtag of the configuration as servers take it; raises BadConfig for anything else."""
    match = _HASHTAG.fullmatch(text.strip())
    if match is None:
        raise BadConfig(f"{text[:40]!r} is not a hashtag; write one such as #espresso")
    return match[1].lower()


def compile_search(query: Query) -> Compiled:
    """A search for each term of `query`, with all of `all_of`.

    Terms are in quotes, so that none is taken for syntax. There is no OR; the rest runs locally, as
    servers differ in what else they understand. Raises BadConfig for a query without terms.
    """
    dialect = Dialect(
        site="Mastodon",
        limit=LIMIT,
        join=_search,
        any_of=_first,
        all_of=_first,
        none_of=lambda _: None,
        langs=lambda _: None,
        not_author=lambda _: None,
        most=1,
        plurals=False,
    )
    return shared.compile_query(query, dialect)


def _search(terms: Sequence[str], clauses: Sequence[str]) -> str:
    return " ".join([*terms, *clauses])


def _first(spellings: Sequence[str]) -> str | None:
    return quoted(spellings[0])


def _local(query: Query) -> Iterable[Clause]:
    if query.langs:
        yield Clause(part="langs", text=", ".join(query.langs), syntax=None)
    for term in once(query.all_of):
        yield Clause(part="all_of", text=term, syntax=None)
    for name in once(query.not_authors):
        yield Clause(part="not_authors", text=name, syntax=None)
    for term in once(query.none_of):
        yield Clause(part="none_of", text=term, syntax=None)
