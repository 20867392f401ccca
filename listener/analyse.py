"""The analysis steps: match terms and language, then tag. Each can stop anywhere and go on."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterable, Sequence
from itertools import compress
from typing import Any

from nlp.base import Tagger, TargetTagger
from nlp.language import resolve_batch
from nlp.matching import Matcher

from . import steps
from .rollup import STALE_HOUR
from .steps import ProgressOf, silent
from .store import Store

MATCH, WATCH, FUNNEL, RELEVANCE = "match", "watch", "funnel", "relevance"
TARGETS = ("brand", "product", "competitor")
"""Kinds of matches toward which sentiment is told."""
_MATCH_BATCH = 1000
_TAG_BATCH = 512


def match(store: Store, matcher: Matcher, version: str, *, progress: ProgressOf = silent) -> int:
    """Find terms and language of mentions not seen by this vocabulary; returns how many."""
    steps.announce(store, MATCH, version)
    tick = progress(MATCH, steps.waiting(store, MATCH))
    total = 0
    while rows := steps.batch(store, MATCH, _MATCH_BATCH):
        texts = [steps.document(row["title"], row["text"]) for row in rows]
        languages = resolve_batch(texts, [row["declared_language"] for row in rows])
        found = matcher.match(texts, [language.code for language in languages])
        with store.write() as connection:
            kept = list(
                compress(
                    zip(rows, languages, found, strict=True), steps.unchanged(connection, rows)
                )
            )
            ids = [row["id"] for row, _, _ in kept]
            before = targets(connection.execute, ids)
            connection.executemany("DELETE FROM matches WHERE mention_id = ?", [(i,) for i in ids])
            connection.executemany(
                "INSERT OR IGNORE INTO matches VALUES (?, ?, ?, ?, ?, ?)",
                [
                    (row["id"], span.kind, span.name, span.term, span.start, span.end)
                    for row, _, spans in kept
                    for span in spans
                ],
            )
            connection.executemany(
                "UPDATE mentions SET language = ? WHERE id = ?",
                [(language.code, row["id"]) for row, language, _ in kept],
            )
            connection.executemany(STALE_HOUR, {(row["at"],) for row, _, _ in kept})
            after = targets(connection.execute, ids)
            steps.ask(connection, FUNNEL, [i for i in ids if before[i] != after[i]])
            steps.ask(connection, RELEVANCE, ids)
            steps.ask(connection, WATCH, ids)
            steps.done(connection, MATCH, ids)
        total += len(ids)
        tick(len(ids))
    return total


def targets(
    ask: Callable[[str, Sequence[Any]], Iterable[Any]], ids: Sequence[int]
) -> dict[int, list[tuple[int, int]]]:
    """Per mention the spans that name a maker or a product, in their order; `ask` runs SQL."""
    found: dict[int, list[tuple[int, int]]] = {mention: [] for mention in ids}
    marks = ", ".join("?" * len(TARGETS))
    for mention, start, end in ask(
        "SELECT DISTINCT mention_id, span_start, span_end FROM matches "
        f"WHERE mention_id IN (SELECT value FROM json_each(?)) AND kind IN ({marks}) "
        "ORDER BY mention_id, span_start, span_end DESC",
        (json.dumps(list(ids)), *TARGETS),
    ):
        # Of a product and a brand that begin together ("Lumora Uno") the longer one is enough.
        if not found[mention] or found[mention][-1][0] != start:
            found[mention].append((start, end))
    return found


def tag(store: Store, tagger: Tagger, *, progress: ProgressOf = silent) -> int:
    """Tag every mention that this version of the tagger has not seen; returns how many.

    Mentions that wait for `match` are left for later: their language is not known yet.
    """
    steps.announce(store, tagger.name, tagger.version)
    shown = "tag" if tagger.name == FUNNEL else tagger.name
    tick = progress(shown, steps.waiting(store, tagger.name))
    total = 0
    while rows := steps.batch(store, tagger.name, _TAG_BATCH, after=MATCH):
        texts = [steps.document(row["title"], row["text"]) for row in rows]
        languages = [row["language"] or "und" for row in rows]
        if isinstance(tagger, TargetTagger):
            named = targets(store.rows, [row["id"] for row in rows])
            tagged = tagger.tag_targets(texts, languages, [named[row["id"]] for row in rows])
        else:
            tagged = tagger.tag(texts, languages)
        with store.write() as connection:
            kept = list(compress(zip(rows, tagged, strict=True), steps.unchanged(connection, rows)))
            ids = [row["id"] for row, _ in kept]
            connection.executemany(
                "DELETE FROM tags WHERE mention_id = ? AND tagger = ?",
                [(i, tagger.name) for i in ids],
            )
            connection.executemany(
                "INSERT INTO tags VALUES (?, ?, ?, ?, ?, ?, ?)",
                [
                    (row["id"], tagger.name, t.kind, t.label, t.score, t.start or 0, t.end or 0)
                    for row, tags in kept
                    for t in tags
                ],
            )
            connection.executemany(STALE_HOUR, {(row["at"],) for row, _ in kept})
            steps.ask(connection, WATCH, ids)
            steps.done(connection, tagger.name, ids)
        total += len(ids)
        tick(len(ids))
    return total
