"""What is stored, read for a backtest: posts as they became known, and what people said of them.

Everything is read through one connection, which may be one that cannot write.
"""

from __future__ import annotations

import json
import sqlite3
from collections import defaultdict
from collections.abc import Collection, Iterable, Iterator, Mapping
from datetime import datetime, timedelta
from pathlib import Path
from typing import Literal, NamedTuple

from . import conversations
from .feedback import agreed
from .replay import Heard, Thread
from .rules import EARLY_FUNNEL, folded
from .scoring import Fit, Named, fit_of
from .steps import document
from .store import stamp
from .timeline import Post

Order = Literal["first-seen", "published"]
_KNOWN: Mapping[Order, str] = {"first-seen": "m.first_seen_at", "published": "m.at"}
# What happened so long before the time asked for still has a part in it: praise counts for 90 days.
_BEFORE = timedelta(days=90)
# Posts that are held in memory at once, but for a single conversation that has more.
_AT_ONCE = 5000
_CHOSEN = "(SELECT value FROM json_each(?))"


class BacktestError(Exception):
    """A backtest cannot be made; the text says why and what to do."""


class Extent(NamedTuple):
    """How many posts became known in a span, how many of them a day late, and what is stored.

    `first` and `last` are stamps, None where nothing is stored; `waiting` posts have not been read
    by every step yet.
    """

    posts: int
    late: int
    first: str | None
    last: str | None
    waiting: int


class Labelled(NamedTuple):
    """What a file of labels says: conversations that deserved an alert or not, and what is amiss.

    `unknown` rows name a post that is not stored or that nothing has placed yet.
    """

    useful: dict[int, bool]
    rows: int
    unknown: int


class Drawn(NamedTuple):
    """A conversation of the audit sample; `missed` is None while nobody has said."""

    conversation: int
    stratum: int
    weight: float
    missed: bool | None


def extent(
    connection: sqlite3.Connection, order: Order, *, since: datetime, until: datetime
) -> Extent:
    """What became known from `since` to `until`, and what is stored at all."""
    known = _KNOWN[order]
    posts, late = connection.execute(
        "SELECT count(*), coalesce(sum(julianday(m.first_seen_at) - julianday(m.published_at) > 1),"
        f" 0) FROM mentions m WHERE {known} >= ? AND {known} <= ?",
        (stamp(since), stamp(until)),
    ).fetchone()
    (first,) = connection.execute(f"SELECT min({known}) FROM mentions m").fetchone()
    (last,) = connection.execute(f"SELECT max({known}) FROM mentions m").fetchone()
    (waiting,) = connection.execute("SELECT count(DISTINCT mention_id) FROM work").fetchone()
    return Extent(posts, late, first, last, waiting)


def threads(
    connection: sqlite3.Connection, order: Order, *, since: datetime, until: datetime
) -> Iterator[list[Thread]]:
    """The conversations about something we follow that went on after or shortly before `since`.

    Some at a time; in each, the posts that were known at `until`.
    """
    known = _KNOWN[order]
    batch: list[int] = []
    size = 0
    for conversation, posts in connection.execute(
        "WITH active AS (SELECT DISTINCT m.conversation_id AS id FROM mentions m "
        f"WHERE {known} >= :warm AND {known} <= :until AND m.conversation_id IS NOT NULL) "
        "SELECT c.id, c.mentions FROM active JOIN conversations c USING (id) "
        "WHERE c.about <> '[]' ORDER BY c.id",
        {"warm": stamp(since - _BEFORE), "until": stamp(until)},
    ).fetchall():
        if batch and size + posts > _AT_ONCE:
            yield _threads(connection, batch, order, until)
            batch, size = [], 0
        batch.append(conversation)
        size += posts
    if batch:
        yield _threads(connection, batch, order, until)


def _threads(
    connection: sqlite3.Connection, chosen: list[int], order: Order, until: datetime
) -> list[Thread]:
    members = connection.execute(
        "SELECT m.id, m.native_id, m.parent_id, m.root_id, m.conversation_id, m.author_id, m.at, "
        f"m.language, m.title, m.source, {_KNOWN[order]} AS known_at, m.replies, a.handle, "
        "a.native_id AS author, a.followers FROM mentions m "
        "LEFT JOIN authors a ON a.id = m.author_id "
        f"WHERE m.conversation_id IN {_CHOSEN} AND {_KNOWN[order]} <= ?",
        (json.dumps(chosen), stamp(until)),
    ).fetchall()
    ids = json.dumps([row["id"] for row in members])
    posts = conversations.posts_of(connection, members)
    sentiments = {
        row["mention_id"]: (row["label"], row["score"])
        for row in connection.execute(
            "SELECT mention_id, label, score FROM tags WHERE +tagger = 'funnel' "
            f"AND +kind = 'sentiment' AND mention_id IN {_CHOSEN}",
            (ids,),
        )
    }
    reported: dict[int, list[tuple[str, int]]] = defaultdict(list)
    for mention, at, replies in connection.execute(
        "SELECT mention_id, captured_at, replies FROM metrics "
        f"WHERE replies IS NOT NULL AND mention_id IN {_CHOSEN} ORDER BY mention_id, captured_at",
        (ids,),
    ):
        reported[mention].append((at, replies))
    roots = dict(
        connection.execute(
            f"SELECT id, root_id FROM conversations WHERE id IN {_CHOSEN}", (json.dumps(chosen),)
        ).fetchall()
    )
    heard: dict[int, list[Heard]] = defaultdict(list)
    for row in members:
        mention = row["id"]
        # A number that came with a post was true when the post was seen, not when it was written.
        if row["replies"] and mention not in reported and order == "first-seen":
            reported[mention] = [(row["known_at"], row["replies"])]
        sentiment, score = sentiments.get(mention, ("", 0.0))
        heard[row["conversation_id"]].append(
            Heard(
                post=posts[mention],
                known_at=row["known_at"],
                source=row["source"],
                author=folded(row["handle"], row["author"]),
                followers=row["followers"],
                answers=frozenset(filter(None, (row["parent_id"], row["root_id"]))),
                reported=tuple(reported.get(mention, ())),
                sentiment=sentiment,
                sentiment_score=score,
            )
        )
    return [Thread(number, roots[number], found) for number, found in heard.items()]


def texts(connection: sqlite3.Connection, ids: Iterable[int]) -> dict[int, tuple[str | None, str]]:
    """Title and document of posts."""
    return {
        row["id"]: (row["title"], document(row["title"], row["text"]))
        for row in connection.execute(
            f"SELECT id, title, text FROM mentions WHERE id IN {_CHOSEN}",
            (json.dumps(sorted(set(ids))),),
        )
    }


def named(connection: sqlite3.Connection, ids: Iterable[int]) -> dict[int, dict[str, str | None]]:
    """Source, native id and address of posts."""
    return {
        row["id"]: {name: row[name] for name in ("source", "native_id", "url")}
        for row in connection.execute(
            f"SELECT id, source, native_id, url FROM mentions WHERE id IN {_CHOSEN}",
            (json.dumps(sorted(set(ids))),),
        )
    }


def fit(post: Post, title: str | None, text: str) -> Fit:
    """How well a post fits what is sold."""
    named = [Named(one.kind, one.name, one.start, one.end) for one in post.matches]
    return fit_of(text, title, named, post.language)[0]


def originals(connection: sqlite3.Connection) -> dict[int, int]:
    """The first post of those that repeat another one."""
    return dict(connection.execute("SELECT mention_id, original_id FROM copies").fetchall())


def beginnings(connection: sqlite3.Connection, order: Order) -> list[tuple[str, str]]:
    """From when on how far back posts were known: stamps, each pair with an older second one."""
    found: list[tuple[str, str]] = []
    for known, at in connection.execute(
        f"SELECT {_KNOWN[order]} AS known, min(m.at) FROM mentions m GROUP BY known ORDER BY known"
    ):
        if not found or at < found[-1][1]:
            found.append((known, at))
    return found


def verdicts(connection: sqlite3.Connection) -> dict[str, dict[int, bool]]:
    """What people said of conversations, by type of rule: whether an alert was or would be useful.

    From feedback and, for early-funnel, from the audit; of several about one conversation the
    latest counts.
    """
    alerts: dict[int, list[sqlite3.Row]] = defaultdict(list)
    for row in connection.execute(
        "SELECT coalesce(f.alert_id, -f.id) AS alert, coalesce(a.type, ?) AS type, f.verdict, f.at,"
        " m.conversation_id FROM feedback f JOIN mentions m ON m.id = f.mention_id "
        "LEFT JOIN alerts a ON a.id = f.alert_id WHERE m.conversation_id IS NOT NULL "
        "ORDER BY f.at, f.id",
        (EARLY_FUNNEL,),
    ):
        alerts[row["alert"]].append(row)
    said = [
        (
            rows[-1]["at"],
            rows[-1]["type"],
            rows[-1]["conversation_id"],
            agreed(row["verdict"] for row in rows) == "useful",
        )
        for rows in alerts.values()
    ]
    said += [
        (row["judged_at"], EARLY_FUNNEL, row["conversation_id"], bool(row["missed"]))
        for row in connection.execute(
            "SELECT x.judged_at, x.missed, m.conversation_id FROM audit x "
            "JOIN mentions m ON m.id = x.mention_id "
            "WHERE x.missed IS NOT NULL AND m.conversation_id IS NOT NULL"
        )
    ]
    found: dict[str, dict[int, bool]] = defaultdict(dict)
    for _, kind, conversation, useful in sorted(said):
        found[kind][conversation] = useful
    return found


def alerted_live(connection: sqlite3.Connection) -> set[int]:
    """Conversations that raised an early-funnel alert: no part of what the audit is drawn from."""
    return {
        conversation
        for (conversation,) in connection.execute(
            "SELECT DISTINCT conversation_id FROM alerts WHERE type = ?", (EARLY_FUNNEL,)
        )
    }


def drawn(connection: sqlite3.Connection, among: Collection[int]) -> list[Drawn]:
    """The audit sample, as far as it is of these conversations."""
    return [
        Drawn(
            row["conversation_id"],
            row["stratum"],
            row["weight"],
            None if row["missed"] is None else bool(row["missed"]),
        )
        for row in connection.execute(
            "SELECT x.stratum, x.weight, x.missed, m.conversation_id FROM audit x "
            "JOIN mentions m ON m.id = x.mention_id WHERE m.text <> '' OR m.title IS NOT NULL"
        )
        if row["conversation_id"] in among
    ]


def read_labels(connection: sqlite3.Connection, path: Path) -> Labelled:
    """Labels of a JSON Lines file: {"source", "native_id", "useful": 0 or 1} for any post of each.

    Of several about one conversation the last counts. Raises `BacktestError` where the file cannot
    be read or a line is no label.
    """
    try:
        lines = path.read_bytes().decode("utf-8-sig").split("\n")
    except OSError as error:
        raise BacktestError(f"{path}: cannot be read ({error.strerror}): check its name") from error
    except UnicodeDecodeError:
        raise BacktestError(f"{path}: is not UTF-8 text: save it as UTF-8") from None
    useful: dict[int, bool] = {}
    rows = unknown = 0
    for number, line in enumerate(lines, start=1):
        if not line.strip():
            continue
        source, native_id, label = _label(path, number, line)
        rows += 1
        found = connection.execute(
            "SELECT conversation_id FROM mentions WHERE source = ? AND native_id = ?",
            (source, native_id),
        ).fetchone()
        if found is None or found["conversation_id"] is None:
            unknown += 1
        else:
            useful[found["conversation_id"]] = label
    if not rows:
        raise BacktestError(f"{path}: holds no label: write one JSON object on each line")
    return Labelled(useful, rows, unknown)


def _label(path: Path, number: int, line: str) -> tuple[str, str, bool]:
    fix = 'write {"source": "...", "native_id": "...", "useful": 0 or 1}'
    try:
        row = json.loads(line)
    except (json.JSONDecodeError, RecursionError):
        raise BacktestError(f"{path}, line {number}: is not JSON: {fix}") from None
    if not isinstance(row, dict):
        raise BacktestError(f"{path}, line {number}: is no object: {fix}")
    source, native_id, useful = row.get("source"), row.get("native_id"), row.get("useful")
    if not isinstance(source, str) or not isinstance(native_id, str):
        raise BacktestError(f"{path}, line {number}: names no post: {fix}")
    if useful not in (0, 1) or not isinstance(useful, int):
        raise BacktestError(f"{path}, line {number}: useful is neither 0 nor 1: {fix}")
    return source, native_id, bool(useful)
