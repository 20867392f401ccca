"""What must hold at the end of a run, read from its files."""

from __future__ import annotations

import sqlite3
from collections import Counter
from collections.abc import Collection, Mapping, Sequence
from contextlib import closing
from pathlib import Path

from benchmarks.chaos_mail import Taken, copies

# Rows that have to be the same in a run that was killed and in one that was not, by names that the
# world gives: numbers of rows follow from the order of commits, which two sources side by side may
# change.
SAME: Mapping[str, str] = {
    "mentions": "SELECT m.source, m.native_id, url, title, text, declared_language, language, "
    "a.native_id, parent_id, root_id, published_at, first_seen_at, likes, replies FROM mentions m "
    "LEFT JOIN authors a ON a.id = m.author_id",
    "matches": "SELECT m.source, m.native_id, x.kind, x.name, x.term, x.span_start, x.span_end "
    "FROM matches x JOIN mentions m ON m.id = x.mention_id",
    "tags": "SELECT m.source, m.native_id, t.tagger, t.kind, t.label, round(t.score, 6), "
    "t.span_start, t.span_end FROM tags t JOIN mentions m ON m.id = t.mention_id",
    "conversations": "SELECT source, root_id, title, language, started_at, last_at, mentions, "
    "authors, stage, state, round(early, 6), about, urgent, outcome, outcome_entity "
    "FROM conversations",
    "events": "SELECT m.source, m.native_id, e.kind, e.entity_kind, e.entity, e.at, "
    "round(e.score, 6), e.span_start, e.span_end FROM conversation_events e "
    "JOIN mentions m ON m.id = e.mention_id",
    "copies": "SELECT m.source, m.native_id, o.native_id FROM copies c "
    "JOIN mentions m ON m.id = c.mention_id JOIN mentions o ON o.id = c.original_id",
    "alerts": "SELECT c.source, c.root_id, m.native_id, a.rule, a.type, a.stage, a.urgent, "
    "round(a.probability, 6), a.score, a.created_at FROM alerts a "
    "JOIN conversations c ON c.id = a.conversation_id JOIN mentions m ON m.id = a.mention_id",
    "readers": "SELECT m.native_id, a.rule, r.recipient, r.fate, r.mailed_at "
    "FROM alert_recipients r JOIN alerts a ON a.id = r.alert_id "
    "JOIN mentions m ON m.id = a.mention_id",
    "deliveries": "SELECT d.kind, coalesce(m.native_id || a.rule, d.ref), d.recipient, d.status, "
    "d.created_at FROM deliveries d "
    "LEFT JOIN alerts a ON d.kind = 'alert' AND a.id = CAST(d.ref AS INTEGER) "
    "LEFT JOIN mentions m ON m.id = a.mention_id",
    "shown": "SELECT recipient, kind, CASE kind "
    "WHEN 'conversation' THEN (SELECT root_id FROM conversations WHERE id = ref) "
    "WHEN 'mention' THEN (SELECT native_id FROM mentions WHERE id = ref) "
    "ELSE (SELECT native_id FROM authors WHERE id = ref) END, state, day FROM shown "
    "WHERE kind <> 'mention' OR NOT EXISTS (SELECT 1 FROM audit WHERE mention_id = ref)",
    "roll-up": "SELECT * FROM rollup_hourly",
    "work": "SELECT * FROM work",
    "days of digests": "SELECT slot, status FROM job_runs WHERE job = 'digest'",
}
ALLOWED: Mapping[str, str] = {
    "runs, coverage": "a collection that was killed is not told of, and is told of when it is "
    "repeated",
    "spend": "a page that was read again was asked for again",
    "metrics, cursors": "the repeated collection writes them once more, at the same time",
    "deliveries.attempts, sent_at, error": "a message that was under way is tried again",
    "audit, and posts in shown that are of it": "drawn with a key that every database makes for "
    "itself",
}
"""What may differ, and why."""


def differences(one: Path, other: Path, *, but: Collection[str] = ()) -> dict[str, tuple[int, int]]:
    """By name of `SAME`, how many rows only the one and only the other file has; {}: none.

    Names in `but` are left out.
    """
    found = {}
    with closing(sqlite3.connect(one)) as first, closing(sqlite3.connect(other)) as second:
        for name, query in SAME.items():
            if name in but:
                continue
            a, b = Counter(first.execute(query)), Counter(second.execute(query))
            if a != b:
                found[name] = ((a - b).total(), (b - a).total())
    return found


def sound(path: Path) -> list[str]:
    """What SQLite finds wrong with the file; []: nothing."""
    with closing(sqlite3.connect(path)) as connection:
        wrong = [str(row[0]) for row in connection.execute("PRAGMA integrity_check")]
        wrong += [f"foreign key: {row}" for row in connection.execute("PRAGMA foreign_key_check")]
        # The index of words has a check of its own, which raises.
        try:
            connection.execute(
                "INSERT INTO mentions_fts (mentions_fts, rank) VALUES ('integrity-check', 1)"
            )
        except sqlite3.DatabaseError as error:
            wrong.append(f"index of words: {error}")
        connection.rollback()
    return [one for one in wrong if one != "ok"]


def stored(path: Path, expected: Mapping[tuple[str, str], str]) -> list[str]:
    """What is wrong with the mentions: missing, not expected, with another text, stored twice."""
    with closing(sqlite3.connect(path)) as connection:
        rows = connection.execute("SELECT source, native_id, text FROM mentions").fetchall()
    found = Counter((source, native_id) for source, native_id, _ in rows)
    texts = {(source, native_id): text for source, native_id, text in rows}
    wrong = [f"missing: {one}" for one in sorted(expected.keys() - found.keys())]
    wrong += [f"not expected: {one}" for one in sorted(found.keys() - expected.keys())]
    wrong += [f"stored {count} times: {one}" for one, count in found.items() if count > 1]
    wrong += [
        f"another text: {one}"
        for one, text in sorted(expected.items())
        if one in texts and texts[one] != text
    ]
    return wrong


def delivered(
    path: Path, taken: Sequence[Taken], allowed: Mapping[str, int]
) -> tuple[list[str], int]:
    """What is wrong with what the mail server took, and how many messages it took twice.

    Every message that is noted as sent was taken once; it may have been taken once more, with the
    same Message-ID, for each time that `allowed` (by Message-ID) gives.
    """
    with closing(sqlite3.connect(path)) as connection:
        rows = connection.execute(
            "SELECT message_id, kind, ref, recipient, status FROM deliveries"
        ).fetchall()
    by_id = copies(taken)
    known = {row[0]: row for row in rows}
    wrong = [
        f"{count} rows of the outbox for {key}"
        for key, count in Counter(row[1:4] for row in rows).items()
        if count > 1
    ]
    wrong += [f"taken, but not in the outbox: {one}" for one in by_id.keys() - known.keys()]
    for message_id, kind, ref, recipient, status in rows:
        got = by_id.get(message_id, [])
        name = f"{kind} {ref} to {recipient}"
        if status == "sent" and not got:
            wrong.append(f"{name}: noted as sent, never taken")
        if len(got) > 1 + allowed.get(message_id, 0):
            wrong.append(f"{name}: taken {len(got)} times, {allowed.get(message_id, 0)} excused")
        if any(one.recipient != recipient for one in got):
            wrong.append(f"{name}: taken for somebody else")
        if status == "waiting":
            wrong.append(f"{name}: still waiting at the end")
    return wrong, sum(len(got) > 1 for got in by_id.values())
