"""The watch step: posts into conversations, and where each conversation stands.

A conversation is a root post and its replies. `summarise` is a pure function of its posts, so a
post that arrives late or out of order gives the same result as one that arrived in time.
"""

from __future__ import annotations

import json
import sqlite3
from collections import defaultdict
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Literal

from . import steps
from .analyse import WATCH
from .steps import ProgressOf, silent
from .store import Store

_BATCH = 1000
_OPEN_STAGES = ("awareness", "consideration")
_CLOSING_STAGES = ("decision", "post_purchase")
# A conversation taken for settled is lost, one taken for open costs a look: an even chance is
# not enough.
_SURE = 0.7
State = Literal["quiet", "early", "decided"]
Entity = tuple[str, str]


@dataclass(frozen=True, slots=True, kw_only=True)
class Post:
    """One post of a conversation as the rules see it; probabilities in [0, 1]."""

    id: int
    native_id: str
    at: str
    author_id: int | None
    language: str
    stage: str
    stage_score: float
    early: float
    promo: float
    about: frozenset[Entity] = frozenset()
    recommends: float = 0.0


@dataclass(frozen=True, slots=True, kw_only=True)
class Rules:
    """When a post counts as early.

    `thresholds` are probabilities by language, "*" for the other languages.
    """

    thresholds: Mapping[str, float]
    stages: tuple[str, ...] = _OPEN_STAGES
    kinds: tuple[str, ...] = ("brand", "product", "competitor", "category")

    def threshold(self, language: str) -> float:
        """Probability of `early` from which a post of this language counts."""
        return self.thresholds.get(language, self.thresholds["*"])


@dataclass(frozen=True, slots=True, kw_only=True)
class Summary:
    """Where a conversation stands; `early` is the probability of its strongest open post, or 0."""

    state: State
    stage: str
    early: float
    early_id: int | None
    decided_id: int | None
    about: tuple[Entity, ...]


def summarise(posts: Sequence[Post], rules: Rules) -> Summary:
    """The state of one conversation, whatever the order of `posts` (at least one).

    A post asks when its stage is open, its probability of `early` passes the threshold, it is no
    promotion, and some post of the conversation names something we follow. It is settled when the
    same author later decides or owns; posts whose author is unknown settle nothing.
    """
    ordered = sorted(posts, key=lambda post: (post.at, post.native_id))
    about = tuple(sorted(frozenset().union(*(post.about for post in ordered))))
    followed = any(kind in rules.kinds for kind, _ in about)
    asking = [
        post
        for post in ordered
        if followed
        and post.stage in rules.stages
        and post.early >= rules.threshold(post.language)
        and post.promo < 0.5
    ]
    closing_of = _closing_of(ordered)
    settled = {post.id: _settled_by(post, closing_of) for post in asking}
    open_posts = [post for post in asking if settled[post.id] is None]
    if open_posts:
        best = max(open_posts, key=lambda post: (post.early, post.at, post.native_id))
        return Summary(
            state="early",
            stage=best.stage,
            early=best.early,
            early_id=best.id,
            decided_id=None,
            about=about,
        )
    closing = [post for post in settled.values() if post is not None]
    if closing:
        last = max(closing, key=lambda post: (post.at, post.native_id))
        return Summary(
            state="decided",
            stage=last.stage,
            early=0.0,
            early_id=None,
            decided_id=last.id,
            about=about,
        )
    return Summary(
        state="quiet",
        stage=ordered[0].stage,
        early=0.0,
        early_id=None,
        decided_id=None,
        about=about,
    )


def _closing_of(ordered: Iterable[Post]) -> dict[int, list[Post]]:
    """The posts of each known author that can settle what that author asked, in their order."""
    found: dict[int, list[Post]] = defaultdict(list)
    for post in ordered:
        if (
            post.author_id is not None
            and post.stage in _CLOSING_STAGES
            and post.stage_score >= _SURE
            and post.promo < 0.5
        ):
            found[post.author_id].append(post)
    return found


def _settled_by(asking: Post, closing_of: Mapping[int, Sequence[Post]]) -> Post | None:
    if asking.author_id is None:
        return None
    key = (asking.at, asking.native_id)
    own = closing_of.get(asking.author_id, ())
    return next((post for post in own if (post.at, post.native_id) > key), None)


def watch(store: Store, rules: Rules, version: str, *, progress: ProgressOf = silent) -> int:
    """Bring conversations up to date with the mentions that changed; returns how many were judged.

    `version` names the rules and the tagger: another version judges every conversation again.
    """
    steps.announce(store, WATCH, version)
    tick = progress(WATCH, steps.waiting(store, WATCH))
    total = 0
    while rows := steps.batch(store, WATCH, _BATCH):
        ids = [row["id"] for row in rows]
        with store.write() as connection:
            touched = _place(connection, ids)
            _judge(connection, touched, rules)
            steps.done(connection, WATCH, ids)
        total += len(touched)
        tick(len(ids))
    return total


def _place(connection: sqlite3.Connection, ids: Sequence[int]) -> set[int]:
    """Put mentions into their conversations; returns the conversations that changed."""
    touched: set[int] = set()
    roots: dict[tuple[str, str], str] = {}
    for row in connection.execute(
        "SELECT id, source, native_id, parent_id, root_id, conversation_id, published_at "
        "FROM mentions WHERE id IN (SELECT value FROM json_each(?))",
        (json.dumps(ids),),
    ).fetchall():
        root = _root(connection, row, roots)
        connection.execute(
            "INSERT INTO conversations (source, root_id, started_at, last_at, mentions, authors, "
            "stage, state, early) VALUES (?, ?, ?, ?, 0, 0, 'none', 'quiet', 0) "
            "ON CONFLICT DO NOTHING",
            (row["source"], root, row["published_at"], row["published_at"]),
        )
        new = _conversation(connection, row["source"], root)
        # `row` may be out of date: an earlier one of this batch may have moved it by a merge.
        moved = connection.execute(
            "UPDATE mentions SET conversation_id = :new WHERE id = :id "
            "AND conversation_id IS NOT :new",
            {"new": new, "id": row["id"]},
        ).rowcount
        if moved:
            connection.execute(
                "UPDATE alerts SET conversation_id = ? WHERE mention_id = ?", (new, row["id"])
            )
        touched.add(new)
        if row["conversation_id"] is not None:
            touched.add(row["conversation_id"])
        if root != row["native_id"]:
            touched |= _merge(connection, row["source"], row["native_id"], new)
    return touched


def _conversation(connection: sqlite3.Connection, source: str, root: str) -> int:
    found = connection.execute(
        "SELECT id FROM conversations WHERE source = ? AND root_id = ?", (source, root)
    ).fetchone()
    return int(found["id"])


def _root(
    connection: sqlite3.Connection, row: sqlite3.Row, known: dict[tuple[str, str], str]
) -> str:
    """Native id of the thread's first post, as far as known; a cycle's is its smallest id.

    A given root is followed like a parent: platforms name posts as roots that are replies
    themselves. `known` holds the roots by source and native id that were found in this transaction.
    """
    source = row["source"]
    path: dict[str, None] = {}
    while True:
        here = row["native_id"]
        path[here] = None
        above = row["root_id"] or row["parent_id"] or here
        if (source, above) in known:
            root = known[source, above]
            break
        if above in path:
            ids = list(path)
            root = min(ids[ids.index(above) :])
            break
        row = connection.execute(
            "SELECT native_id, parent_id, root_id FROM mentions WHERE source = ? AND native_id = ?",
            (source, above),
        ).fetchone()
        if row is None:
            root = above
            break
    known.update({(source, one): root for one in path})
    return str(root)


def _merge(connection: sqlite3.Connection, source: str, native_id: str, into: int) -> set[int]:
    """Replies came before the post they answer: move what they founded into its conversation."""
    old = connection.execute(
        "SELECT id FROM conversations WHERE source = ? AND root_id = ? AND id <> ?",
        (source, native_id, into),
    ).fetchone()
    if old is None:
        return set()
    for table in ("mentions", "alerts"):
        connection.execute(
            f"UPDATE {table} SET conversation_id = ? WHERE conversation_id = ?", (into, old["id"])
        )
    return {old["id"]}


def _judge(connection: sqlite3.Connection, touched: set[int], rules: Rules) -> None:
    chosen = json.dumps(sorted(touched))
    members = connection.execute(
        "SELECT id, native_id, conversation_id, author_id, published_at, language, title "
        "FROM mentions WHERE conversation_id IN (SELECT value FROM json_each(?)) "
        "ORDER BY published_at, native_id",
        (chosen,),
    ).fetchall()
    posts = _posts(connection, members)
    threads: dict[int, list[sqlite3.Row]] = defaultdict(list)
    for row in members:
        threads[row["conversation_id"]].append(row)
    for conversation in touched - threads.keys():
        connection.execute("DELETE FROM conversations WHERE id = ?", (conversation,))
    connection.execute(
        "DELETE FROM conversation_events WHERE conversation_id IN (SELECT value FROM json_each(?))",
        (chosen,),
    )
    for conversation, rows in threads.items():
        thread = [posts[row["id"]] for row in rows]
        summary = summarise(thread, rules)
        connection.execute(
            "UPDATE conversations SET title = ?, language = ?, started_at = ?, last_at = ?, "
            "mentions = ?, authors = ?, stage = ?, state = ?, early = ?, early_mention_id = ?, "
            "decided_mention_id = ?, about = ? WHERE id = ?",
            (
                rows[0]["title"] or "",
                rows[0]["language"] or "und",
                rows[0]["published_at"],
                rows[-1]["published_at"],
                len(rows),
                len({row["author_id"] for row in rows if row["author_id"] is not None}),
                summary.stage,
                summary.state,
                summary.early,
                summary.early_id,
                summary.decided_id,
                json.dumps(summary.about),
                conversation,
            ),
        )
        connection.executemany(
            "INSERT INTO conversation_events VALUES (?, ?, ?, ?, ?)",
            [
                (conversation, post.id, kind, post.at, score)
                for post in thread
                for kind, score in _events(post)
            ],
        )


def _events(post: Post) -> list[tuple[str, float]]:
    events = [] if post.stage == "none" else [(post.stage, post.stage_score)]
    if post.recommends:
        events.append(("recommendation", post.recommends))
    return events


def _posts(connection: sqlite3.Connection, members: Sequence[sqlite3.Row]) -> dict[int, Post]:
    chosen = json.dumps([row["id"] for row in members])
    about: dict[int, set[Entity]] = defaultdict(set)
    for mention, kind, name in connection.execute(
        "SELECT DISTINCT mention_id, kind, name FROM matches "
        "WHERE mention_id IN (SELECT value FROM json_each(?))",
        (chosen,),
    ):
        about[mention].add((kind, name))
    stages: dict[int, tuple[str, float]] = {}
    scores: dict[tuple[int, str], float] = {}
    for mention, kind, label, score in connection.execute(
        "SELECT mention_id, kind, label, score FROM tags "
        "WHERE tagger = 'funnel' AND mention_id IN (SELECT value FROM json_each(?))",
        (chosen,),
    ):
        if kind == "stage":
            stages[mention] = (label, score)
        elif kind in ("early", "promo") or label == "recommendation_given":
            scores[mention, kind] = score
    found = {}
    for row in members:
        stage, stage_score = stages.get(row["id"], ("none", 0.0))
        found[row["id"]] = Post(
            id=row["id"],
            native_id=row["native_id"],
            at=row["published_at"],
            author_id=row["author_id"],
            language=row["language"] or "und",
            stage=stage,
            stage_score=stage_score,
            early=scores.get((row["id"], "early"), 0.0),
            promo=scores.get((row["id"], "promo"), 0.0),
            about=frozenset(about[row["id"]]),
            recommends=scores.get((row["id"], "signal"), 0.0),
        )
    return found
