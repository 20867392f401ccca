"""What each source is asked: the searches of each query, and where each clause of it runs.

Made from the configuration without a request, and without credentials. Beside it stands how much of
what a source returned was kept, as far as the database still knows its runs.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from connectors.base import BadConfig, Compiles, Query

from .collect import Source
from .config import Config
from .config_fields import Secret, Section
from .sources import build
from .store import Store
from .vocabulary import queries

SITE, HERE, NOT = "at the platform", "locally", "not at all"
_PARTS = {
    "any_of": "any of",
    "all_of": "all of",
    "none_of": "none of",
    "langs": "languages",
    "not_authors": "not by",
    "retweets": "retweets",
}
_Counts = Mapping[tuple[str, str], tuple[int, int]]


def search_rows(
    config: Config, store: Store | None, only: Sequence[str] = (), query: str | None = None
) -> list[dict[str, Any]]:
    """Rows for the enabled sources (those in `only`, if any), or for those that ask `query`.

    Each query has one row of counts, one for each of its searches and one for each of its clauses:
    source, query, part, text, runs (`SITE`, `HERE` or `NOT`), syntax, returned, kept, kept_percent.
    """
    sources, failed = build(config.model_copy(update={"sources": _public(config.sources)}), only)
    counts = _counts(store) if store else {}
    rows: list[dict[str, Any]] = []
    # Files are sources of their own, about which there is nothing to tell apart.
    for source in {_shown(one): one for one in sources}.values():
        if source.connector.capabilities().by_query:
            rows += _searching(source, named(config, query), counts)
        elif query is None:
            rows += _reading(source, counts)
    return rows + [_row(one.source, "", "everything", one.error or "", NOT) for one in failed]


def named(config: Config, query: str | None) -> tuple[Query, ...]:
    """The query of that name and those of its languages, as "Lumora" and "Lumora [es]".

    All of them without a name.
    """
    wanted = query and query.strip().casefold()
    return tuple(
        one
        for one in queries(config)
        if wanted is None
        or one.name.casefold() == wanted
        or one.name.casefold().startswith(f"{wanted} [")
    )


def _shown(source: Source) -> str:
    chosen = source.connector.capabilities().prefiltered
    return source.name.partition(":")[0] if chosen else source.name


def _searching(source: Source, asked: Sequence[Query], counts: _Counts) -> Iterator[dict[str, Any]]:
    for query in asked:
        found = counts.get((source.name, query.name))
        if not isinstance(source.connector, Compiles):
            text = "this source does not tell how it asks"
            yield _row(source.name, query.name, "query", text, HERE, counts=found)
            continue
        try:
            compiled = source.connector.compile(query)
        except BadConfig as error:
            yield _row(source.name, query.name, "query", str(error), NOT, counts=found)
            continue
        number = len(compiled.searches)
        text = f"{number} searches" if number != 1 else "1 search"
        yield _row(source.name, query.name, "query", text, "", counts=found)
        for search in compiled.searches:
            yield _row(source.name, query.name, "search", search, SITE, syntax=search)
        for clause in compiled.clauses:
            runs = SITE if clause.syntax else HERE
            part = _PARTS[clause.part]
            yield _row(source.name, query.name, part, clause.text, runs, syntax=clause.syntax)


def _reading(source: Source, counts: _Counts) -> Iterator[dict[str, Any]]:
    """One row for a source that gives all it has, whatever the queries are."""
    name = _shown(source)
    if source.connector.capabilities().prefiltered:
        every = [found for (one, _), found in counts.items() if one.partition(":")[0] == name]
        total = tuple(map(sum, zip(*every, strict=True))) if every else None
        text = "all that it gives is kept, but for excluded authors"
        yield _row(name, "", "everything", text, HERE, counts=total)
    else:
        text = "all that it gives is matched with every query"
        yield _row(name, "", "everything", text, HERE, counts=counts.get((name, "")))


def _row(
    source: str,
    query: str,
    part: str,
    text: str,
    runs: str,
    *,
    syntax: str | None = None,
    counts: tuple[int, ...] | None = None,
) -> dict[str, Any]:
    returned, kept = counts or (None, None)
    share = round(100 * kept / returned) if returned and kept is not None else None
    return {
        "source": source,
        "query": query,
        "part": part,
        "text": text,
        "runs": runs,
        "syntax": syntax,
        "returned": returned,
        "kept": kept,
        "kept_percent": share,
    }


def _counts(store: Store) -> dict[tuple[str, str], tuple[int, int]]:
    """Records returned and kept by source and query."""
    return {
        (row["source"], row["query"]): (row["returned"], row["kept"])
        for row in store.rows(
            "SELECT source, query, sum(returned) AS returned, sum(kept) AS kept FROM runs "
            "GROUP BY source, query"
        )
    }


class _Unset(Secret):
    """Stands for a secret that need not be set, since nothing is asked with it."""

    def reveal(self, environ: Mapping[str, str]) -> str:
        """A word that no site takes for a secret."""
        return "unset"


def _public(value: Any) -> Any:
    """`value` with every secret replaced by `_Unset`."""
    if isinstance(value, Secret):
        return _Unset(env=value.env)
    if isinstance(value, Section):
        return value.model_copy(update={name: _public(one) for name, one in value})
    if isinstance(value, Mapping):
        return {name: _public(one) for name, one in value.items()}
    return tuple(map(_public, value)) if isinstance(value, list | tuple) else value
