"""Forgetting a person: everything they wrote is erased, and never stored again."""

from __future__ import annotations

import json
import sqlite3
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from datetime import datetime

from . import forgotten
from .erase import drop_authors, mark, wipe
from .ingest import bury
from .steps import Progress
from .store import Store, stamp

REASON = "forgotten"
_BATCH = 500
_SCAN = 20_000


class ForgetError(Exception):
    """It is not clear who is meant; the text says how to name them."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Erased:
    """What was erased at one source (`*`: kept out of every source).

    `posts` of the author, `reposts` by others, and `records`: raw records of others that named them
    and were dropped.
    """

    source: str
    posts: int = 0
    reposts: int = 0
    records: int = 0


def forget(
    store: Store,
    author: str,
    *,
    source: str | None = None,
    all_sources: bool = False,
    now: datetime,
    tick: Progress,
) -> list[Erased]:
    """Erase an author by native id or handle, and keep them out; one row for each source.

    With @ in front it is a handle; without, an id, or else a handle. An author who is not stored is
    kept out all the same. First they are put on the list, then their posts go, some hundred in a
    transaction, so that it can be stopped and run again. Raises `ForgetError` for a name that
    several sources know, or none, when no source is named.
    """
    name = author.strip()
    if not forgotten.plain(name):
        raise ForgetError("the author has no name: write a handle or an id")
    found = _authors(store, name, source)
    sources = sorted({row["source"] for row in found})
    if source is None and not all_sources and len(sources) != 1:
        known = f"authors at {', '.join(sources)} are" if sources else "no stored author is"
        raise ForgetError(
            f"{known} called so: name one with --source, or forget them everywhere with "
            "--all-sources"
        )
    where = [forgotten.EVERYWHERE] if all_sources else []
    where += [source] if source is not None else sources
    with store.write() as connection:
        for one in where:
            rows = [row for row in found if one in (row["source"], forgotten.EVERYWHERE)]
            forgotten.add(
                connection,
                one,
                native_ids=_ids(name, rows),
                handles=_handles(name, rows),
                at=stamp(now),
            )
    erased = []
    for one in sorted({*where, *sources}):
        rows = [row for row in found if row["source"] == one]
        whole = None if one == forgotten.EVERYWHERE else one
        handles = {forgotten.plain(handle) for handle in _handles(name, rows)}
        needles = {*handles, *map(forgotten.plain, _ids(name, rows))}
        erased.append(
            Erased(
                source=one,
                posts=sum(_erase(store, row["id"], now, tick) for row in rows),
                reposts=_erase_reposts(store, whole, handles, now, tick),
                records=_drop_records(store, whole, needles, tick),
            )
        )
    return erased


def _authors(store: Store, name: str, source: str | None) -> list[sqlite3.Row]:
    """Those with this id, else those with this handle."""
    where = "(:source IS NULL OR source = :source)"
    values = {"source": source, "name": name.lstrip("@"), "plain": forgotten.plain(name)}
    select = f"SELECT id, source, native_id, handle FROM authors WHERE {where} AND "
    rows = [] if name.startswith("@") else store.rows(f"{select} native_id = :name", values)
    # SQLite knows the lower case of ASCII alone.
    return rows or store.rows(
        f"{select} (lower(ltrim(handle, '@')) = :plain OR ltrim(handle, '@') = :name)", values
    )


def _ids(name: str, rows: Sequence[sqlite3.Row]) -> set[str]:
    return {*(row["native_id"] for row in rows), *([] if name.startswith("@") else [name])}


def _handles(name: str, rows: Sequence[sqlite3.Row]) -> set[str]:
    known = {row["handle"] for row in rows if row["handle"]}
    return known if any(row["native_id"] == name for row in rows) else {*known, name}


def _erase(store: Store, author_id: int, now: datetime, tick: Progress) -> int:
    total = 0
    while rows := store.rows(
        "SELECT id, source, native_id FROM mentions WHERE author_id = ? LIMIT ?",
        (author_id, _BATCH),
    ):
        _wipe(store, rows, now)
        total += len(rows)
        tick(len(rows))
    with store.write() as connection:
        drop_authors(connection, [author_id])
        mark(connection)
    return total


def _erase_reposts(
    store: Store, source: str | None, handles: Iterable[str], now: datetime, tick: Progress
) -> int:
    """Posts that only pass on what a handle wrote, as "RT @handle: ..."."""
    total = 0
    for handle in handles:
        start = f"rt @{handle}"
        rows = [
            row
            for row in store.rows(
                "SELECT id, source, native_id, text FROM mentions WHERE (?1 IS NULL OR source = ?1)"
                " AND lower(substr(ltrim(text), 1, ?2)) = ?3",
                (source, len(start), start),
            )
            if forgotten.passed_on(row["text"]) == handle
        ]
        for at in range(0, len(rows), _BATCH):
            _wipe(store, rows[at : at + _BATCH], now)
            tick(len(rows[at : at + _BATCH]))
        total += len(rows)
    return total


def _wipe(store: Store, rows: Sequence[sqlite3.Row], now: datetime) -> None:
    with store.write() as connection:
        wipe(connection, [row["id"] for row in rows])
        for row in rows:
            bury(connection, row["source"], row["native_id"], stamp(now), REASON)


def _drop_records(store: Store, source: str | None, names: Iterable[str], tick: Progress) -> int:
    """Drop the raw records of posts in which a name stands as a value."""
    needles = [json.dumps(sign + name) for name in names for sign in ("", "@")]
    last = int(store.value("SELECT coalesce(max(id), 0) FROM mentions"))
    total = 0
    for start in range(0, last + 1, _SCAN):
        rows = store.rows(
            "SELECT id FROM mentions WHERE id > ? AND id <= ? AND raw IS NOT NULL "
            "AND (? IS NULL OR source = ?) "
            "AND EXISTS (SELECT 1 FROM json_each(?) n WHERE instr(lower(raw), n.value))",
            (start, start + _SCAN, source, source, json.dumps(needles)),
        )
        if rows:
            with store.write() as connection:
                connection.executemany(
                    "UPDATE mentions SET raw = NULL WHERE id = ?", [(row["id"],) for row in rows]
                )
        total += len(rows)
        tick(0)
    return total
