"""Which posts make one conversation: a thread, and the threads that one author began about a thing.

Where a post belongs is a function of what is stored, never of the order of arrival: whatever a
changed post may have moved is placed again.
"""

from __future__ import annotations

import json
import sqlite3
from collections import defaultdict
from collections.abc import Collection, Iterable, Mapping, Sequence
from datetime import datetime, timedelta
from itertools import pairwise
from typing import NamedTuple

from .store import moment
from .timeline import PROMO

WINDOW = timedelta(days=14)
"""Longest silence between two posts of one author that are still about one purchase.

A choice of some weight takes days to a few weeks, and who is still choosing writes again meanwhile;
two weeks of silence more often mean that the next post is about something new.
"""

MOST_ROOTS = 50
"""Posts that one author begins within the window before it is taken for a shop or a program."""

Key = tuple[str, str]
"""Source and native id."""

_FIELDS = (
    "m.id, m.source, m.native_id, m.parent_id, m.root_id, m.conversation_id, m.author_id, m.at"
)
_CHOSEN = "(SELECT value FROM json_each(?))"


class _Root(NamedTuple):
    """A post that begins a thread."""

    id: int
    key: Key
    at: datetime


def place(connection: sqlite3.Connection, ids: Sequence[int]) -> set[int]:
    """Put mentions into their conversations; returns the conversations that changed.

    Alerts go along with their mention. Conversations may be left without mentions.
    """
    changed = connection.execute(
        f"SELECT {_FIELDS} FROM mentions m WHERE m.id IN {_CHOSEN}", (json.dumps(ids),)
    ).fetchall()
    touched = {row["conversation_id"] for row in changed} - {None}
    touched.update(
        _ids_of(connection, [(row["source"], row["native_id"]) for row in changed]).values()
    )
    members = {row["id"]: row for row in [*changed, *_members(connection, touched)]}
    thread_of = _Threads(connection)
    thread_of.learn(members.values())
    roots = {thread_of(row) for row in members.values()}
    leaders, strayed = _leaders(connection, thread_of.authors(roots))
    strays = _members(connection, strayed - touched)
    thread_of.learn(strays)
    members.update((row["id"], row) for row in strays)
    wanted: dict[int, Key] = {}
    for row in members.values():
        root = thread_of(row)
        wanted[row["id"]] = leaders.get(root, root)
    connection.executemany(
        "INSERT INTO conversations (source, root_id, started_at, last_at, mentions, authors, "
        "stage, state, early) VALUES (?, ?, '', '', 0, 0, 'none', 'quiet', 0) "
        "ON CONFLICT DO NOTHING",
        sorted(set(wanted.values())),
    )
    ids_of = _ids_of(connection, set(wanted.values()))
    moved = [
        (ids_of[wanted[row["id"]]], row["id"], row["conversation_id"])
        for row in members.values()
        if row["conversation_id"] != ids_of[wanted[row["id"]]]
    ]
    connection.executemany(
        "UPDATE mentions SET conversation_id = ? WHERE id = ?",
        [(new, one) for new, one, _ in moved],
    )
    connection.executemany(
        "UPDATE alerts SET conversation_id = ? WHERE mention_id = ?",
        [(new, one) for new, one, old in moved if old is not None],
    )
    return touched | strayed | set(ids_of.values())


def _members(connection: sqlite3.Connection, conversations: Collection[int]) -> list[sqlite3.Row]:
    return connection.execute(
        f"SELECT {_FIELDS} FROM mentions m WHERE m.conversation_id IN {_CHOSEN}",
        (json.dumps(sorted(conversations)),),
    ).fetchall()


def _ids_of(connection: sqlite3.Connection, roots: Collection[Key]) -> dict[Key, int]:
    """Row ids of the conversations that have these roots."""
    rows = connection.execute(
        "SELECT c.id, c.source, c.root_id FROM json_each(?) k CROSS JOIN conversations c "
        "ON c.source = json_extract(k.value, '$[0]') "
        "AND c.root_id = json_extract(k.value, '$[1]')",
        (json.dumps(sorted(roots)),),
    )
    return {(row["source"], row["root_id"]): row["id"] for row in rows}


class _Threads:
    """The first post of the thread of a mention, as far as known; a cycle's is its smallest id.

    A given root is followed like a parent: platforms name posts as roots that are replies
    themselves.
    """

    def __init__(self, connection: sqlite3.Connection) -> None:
        self._connection = connection
        self._above: dict[Key, str | None] = {}
        self._authors: dict[Key, int | None] = {}
        self._roots: dict[Key, str] = {}

    def learn(self, rows: Iterable[sqlite3.Row]) -> None:
        """Remember what these mentions answer, so that it need not be looked up one by one."""
        for row in rows:
            key = row["source"], row["native_id"]
            self._above[key] = row["root_id"] or row["parent_id"] or row["native_id"]
            self._authors[key] = row["author_id"]

    def __call__(self, row: sqlite3.Row) -> Key:
        source, here = row["source"], row["native_id"]
        path: dict[str, None] = {}
        while (source, here) not in self._roots:
            path[here] = None
            above = self._find((source, here))
            if above is None or above == here:
                self._roots[source, here] = here
            elif above in path:
                ids = list(path)
                self._roots[source, here] = min(ids[ids.index(above) :])
            else:
                here = above
        root = self._roots[source, here]
        self._roots.update({(source, one): root for one in path})
        return source, root

    def authors(self, roots: Iterable[Key]) -> set[int]:
        """Who began these threads, where the first post is stored and is no reply."""
        return {
            author
            for root in roots
            if self._above[root] == root[1] and (author := self._authors[root]) is not None
        }

    def _find(self, key: Key) -> str | None:
        if key not in self._above:
            self._above[key] = None
            self.learn(
                self._connection.execute(
                    f"SELECT {_FIELDS} FROM mentions m WHERE m.source = ? AND m.native_id = ?", key
                )
            )
        return self._above[key]


def _leaders(
    connection: sqlite3.Connection, authors: Collection[int]
) -> tuple[dict[Key, Key], set[int]]:
    """Where threads of these authors belong: first post -> earliest first post of the conversation.

    Also the conversations that hold a first post that belongs elsewhere.
    """
    begun: dict[tuple[int, str], list[sqlite3.Row]] = defaultdict(list)
    for row in connection.execute(
        "SELECT m.id, m.source, m.native_id, m.author_id, m.at, m.conversation_id, "
        "c.root_id AS led_by FROM mentions m LEFT JOIN conversations c ON c.id = m.conversation_id "
        f"WHERE m.author_id IN {_CHOSEN} AND m.native_id = "
        "coalesce(nullif(m.root_id, ''), nullif(m.parent_id, ''), m.native_id) "
        "ORDER BY m.at, m.native_id",
        (json.dumps(sorted(authors)),),
    ):
        begun[row["author_id"], row["source"]].append(row)
    near = [
        _near([_Root(row["id"], (source, row["native_id"]), moment(row["at"])) for row in rows])
        for (_, source), rows in begun.items()
        if len(rows) > 1
    ]
    topics = _topics(connection, [one.id for roots in near for one in roots])
    leaders = {key: leader for roots in near for key, leader in _joined(roots, topics).items()}
    strayed = {
        row["conversation_id"]
        for (_, source), rows in begun.items()
        for row in rows
        if row["conversation_id"] is not None
        and leaders.get((source, row["native_id"]), (source, row["native_id"]))[1] != row["led_by"]
    }
    return leaders, strayed


def _near(roots: Sequence[_Root]) -> list[_Root]:
    """Of one author's posts in their order, those that may belong to another of them."""
    calm = [one for one, busy in zip(roots, _busy(roots), strict=True) if not busy]
    close = [b.at - a.at <= WINDOW for a, b in pairwise(calm)]
    return [
        one
        for one, behind, before in zip(calm, [False, *close], [*close, False], strict=False)
        if behind or before
    ]


def _busy(roots: Sequence[_Root]) -> list[bool]:
    """For each post, whether some window that holds it holds more than `MOST_ROOTS`."""
    busy = [False] * len(roots)
    first = marked = 0
    for last, root in enumerate(roots):
        while root.at - roots[first].at > WINDOW:
            first += 1
        if last - first >= MOST_ROOTS:
            for n in range(max(first, marked), last + 1):
                busy[n] = True
            marked = last + 1
    return busy


def _topics(connection: sqlite3.Connection, ids: Sequence[int]) -> dict[int, frozenset[Key]]:
    """What each post is about: its categories, or else what it names; nothing for promotions."""
    chosen = json.dumps(ids)
    names: dict[int, set[Key]] = defaultdict(set)
    for row in connection.execute(
        "SELECT DISTINCT mention_id, kind, name FROM relevant_matches "
        f"WHERE mention_id IN {_CHOSEN} "
        "AND mention_id NOT IN (SELECT t.mention_id FROM tags t WHERE t.tagger = 'funnel' "
        f"AND t.kind = 'promo' AND t.score >= ? AND t.mention_id IN {_CHOSEN})",
        (chosen, PROMO, chosen),
    ):
        names[row["mention_id"]].add((row["kind"], row["name"]))
    return {
        mention: frozenset(one for one in found if one[0] == "category") or frozenset(found)
        for mention, found in names.items()
    }


def _joined(roots: Sequence[_Root], topics: Mapping[int, frozenset[Key]]) -> dict[Key, Key]:
    """The first of the posts that each belongs to: connected by topics that come again in time."""
    above = list(range(len(roots)))

    def first(n: int) -> int:
        while above[n] != n:
            above[n] = n = above[above[n]]
        return n

    latest: dict[Key, int] = {}
    for n, root in enumerate(roots):
        for topic in topics.get(root.id, ()):
            before = latest.get(topic)
            if before is not None and root.at - roots[before].at <= WINDOW:
                low, high = sorted((first(before), first(n)))
                above[high] = low
            latest[topic] = n
    return {root.key: roots[first(n)].key for n, root in enumerate(roots)}
