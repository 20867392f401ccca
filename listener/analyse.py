"""The analysis steps: match terms and language, then tag. Each can stop anywhere and go on."""

from __future__ import annotations

from itertools import compress

from nlp.base import Tagger
from nlp.language import resolve_batch
from nlp.matching import Matcher

from . import steps
from .ingest import STALE_HOUR
from .steps import ProgressOf, silent
from .store import Store

MATCH, WATCH = "match", "watch"
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
            steps.ask(connection, WATCH, ids)
            steps.done(connection, MATCH, ids)
        total += len(ids)
        tick(len(ids))
    return total


def tag(store: Store, tagger: Tagger, *, progress: ProgressOf = silent) -> int:
    """Tag every mention that this version of the tagger has not seen; returns how many.

    Mentions that wait for `match` are left for later: their language is not known yet.
    """
    steps.announce(store, tagger.name, tagger.version)
    tick = progress("tag", steps.waiting(store, tagger.name))
    total = 0
    while rows := steps.batch(store, tagger.name, _TAG_BATCH, after=MATCH):
        texts = [steps.document(row["title"], row["text"]) for row in rows]
        tagged = tagger.tag(texts, [row["language"] or "und" for row in rows])
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
