"""Watched conversations are read again as they grow older, so that their outcome can be seen.

Each step of the age plan is done once for each thread. Its age counts from the last post that is
known in the conversation, since the one who asks decides after the last advice, not after so many
hours; but a step comes no later than twice its age after the first post, so that a thread in which
people never stop talking is read too. That costs a fixed number of reads for each thread, and what
was missed while nobody ran this is made up by the oldest step that is due, alone.
"""

from __future__ import annotations

import json
import logging
from collections import defaultdict
from collections.abc import Callable, Collection, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import datetime, timedelta
from sqlite3 import Row
from typing import TYPE_CHECKING

from connectors.base import Budget, BudgetSpent, Mention, Page, ReadsThreads
from nlp.matching import Matcher

from .collect import Collected, Source, purse, record, take
from .ingest import Place, read_cursor
from .keeping import keeper
from .steps import Progress, ProgressOf, silent
from .store import Store, moment, stamp

if TYPE_CHECKING:
    from .config import Followups

log = logging.getLogger(__name__)

_DECIDED = timedelta(days=8)
"""How long what was chosen is asked for after a decision: a week, and a day for its last step."""
_FIRST_WAIT = timedelta(hours=1)
_LONGER = 4
"""After a failure a thread is left alone for an hour, then for four times as long each time."""
_PATIENCE = 3
"""Threads that fail one after another before the rest is left for the next round."""
_KEPT = timedelta(days=400)

_WATCHED = """
WITH watched (id) AS (
    SELECT id FROM conversations WHERE state = 'early' AND last_at >= :oldest
    UNION SELECT c.id FROM conversations c JOIN mentions d ON d.id = c.decided_mention_id
        WHERE c.state = 'decided' AND c.last_at >= :oldest AND d.at >= :decided
        AND coalesce(c.outcome, 'unknown') = 'unknown'
    UNION SELECT conversation_id FROM alerts
)
SELECT m.conversation_id, m.native_id, m.parent_id, m.root_id, m.at, c.last_at,
    EXISTS (SELECT 1 FROM alerts a WHERE a.conversation_id = c.id) AS alerted
FROM watched w JOIN conversations c ON c.id = w.id JOIN mentions m ON m.conversation_id = c.id
WHERE c.source = :source AND c.last_at >= :oldest
ORDER BY m.at, m.native_id
"""
_KNOWN = """
SELECT f.root_id, f.hours, f.tried_at, f.tries, f.wait_until FROM json_each(:roots) r
JOIN followups f ON f.source = :source AND f.root_id = r.value
"""
_GONE = """
SELECT t.native_id FROM json_each(:roots) r
JOIN tombstones t ON t.source = :source AND t.native_id = r.value
"""
_NOTE = """
INSERT INTO followups (source, root_id, hours, tried_at, tries, wait_until)
VALUES (:source, :root_id, :hours, :now, :tries, :wait_until)
ON CONFLICT DO UPDATE SET hours = excluded.hours, tried_at = excluded.tried_at,
    tries = excluded.tries, wait_until = excluded.wait_until
"""


@dataclass(frozen=True, slots=True, kw_only=True)
class Thread:
    """A thread to read again now, by its first post: for the step of so many `hours`.

    `done` is the last step that it was read for (0: none), `tries` the failures since then.
    """

    root_id: str
    hours: int
    done: int = 0
    tries: int = 0


@dataclass(frozen=True, slots=True, kw_only=True)
class _Root:
    """When a thread began, when its conversation was last heard, and whether it raised an alert."""

    began: datetime
    last: datetime
    alerted: bool


def step_due(
    plan: Iterable[int], *, began: datetime, last: datetime, done: int, now: datetime
) -> int | None:
    """The oldest step (in hours) whose time has come and that is not done; None without one.

    `began` and `last` are when the first and the last post that are known were written, `done` is
    the oldest step that is done. Steps that lie between were missed and are not made up.
    """
    for hours in sorted(plan, reverse=True):
        age = timedelta(hours=hours)
        if hours > done and now >= min(last + age, began + 2 * age):
            return hours
    return None


def readers(sources: Sequence[Source]) -> Iterator[tuple[Source, ReadsThreads]]:
    """Of each site one of `sources` that can read whole conversations, the whole one before parts.

    A part has ":" in its name.
    """
    seen = set[str]()
    for source in sorted(sources, key=lambda one: ":" in one.name):
        connector: object = source.connector
        if isinstance(connector, ReadsThreads) and source.connector.source not in seen:
            seen.add(source.connector.source)
            yield source, connector


def due(store: Store, source: str, plan: Sequence[int], *, now: datetime) -> list[Thread]:
    """The threads of watched conversations of `source` that are due, those with alerts first.

    Watched is what is early, what was decided a week ago at most with nobody having said for what,
    and what raised an alert. Silent for twice the oldest step, a conversation is given up. A thread
    whose first post is gone is not read again.
    """
    oldest = now - timedelta(hours=2 * max(plan))
    bounds = {"source": source, "oldest": stamp(oldest), "decided": stamp(now - _DECIDED)}
    roots = _roots(store.rows(_WATCHED, bounds))
    chosen = {"source": source, "roots": json.dumps([*roots])}
    gone = {row["native_id"] for row in store.rows(_GONE, chosen)}
    known = {row["root_id"]: row for row in store.rows(_KNOWN, chosen)}
    found = []
    for root_id, root in roots.items():
        row = known.get(root_id)
        if root_id in gone or (row and row["wait_until"] and row["wait_until"] > stamp(now)):
            continue
        done = row["hours"] if row else 0
        hours = step_due(plan, began=root.began, last=root.last, done=done, now=now)
        if hours is not None:
            turn = (not root.alerted, row["tried_at"] if row else "", root.began, root_id)
            tries = row["tries"] if row else 0
            found.append((turn, Thread(root_id=root_id, hours=hours, done=done, tries=tries)))
    return [thread for _, thread in sorted(found, key=lambda one: one[0])]


def follow_up(
    store: Store,
    sources: Sequence[Source],
    matcher: Matcher,
    settings: Followups,
    *,
    not_authors: Collection[str] = (),
    now: datetime,
    progress: ProgressOf = silent,
) -> list[Collected]:
    """Read the threads that are due; returns a row for each source that had some.

    Their posts are stored as those of a collection are: what names a term, and answers to what is
    stored, but nothing by `not_authors`. A source that asks to wait or fails leaves its threads for
    later rounds.
    """
    if not settings.enabled:
        return []
    tick = progress("follow up", None)
    results = []
    for source, connector in readers(sources):
        threads = due(store, source.connector.source, settings.hours, now=now)
        if not threads:
            continue
        chosen = threads[: settings.max_threads]
        keep = keeper(store, source.connector, matcher, not_authors)
        result = _read_all(store, source, connector, chosen, keep, now, tick)
        record(store, result, now)
        if result.status == "failed":
            log.warning("%s failed: %s", result.source, result.error)
        results.append(result)
    with store.write() as connection:
        connection.execute("DELETE FROM followups WHERE tried_at < ?", (stamp(now - _KEPT),))
    return results


def _read_all(
    store: Store,
    source: Source,
    connector: ReadsThreads,
    threads: Sequence[Thread],
    keep: Callable[[Sequence[Mention]], list[Mention]],
    now: datetime,
    tick: Progress,
) -> Collected:
    place = Place(f"{source.name.partition(':')[0]}:threads", "")
    total = Collected(source=place.source, query="")
    usual = Place(source.name, "")
    waits = [until for one in (place, usual) if (until := read_cursor(store, one)[1])]
    if waits and max(waits) > stamp(now):
        return replace(total, status="waiting", error=f"asked to wait until {max(waits)}")
    failures, trouble = 0, None
    for thread in threads:
        try:
            budget = purse(store, source, Budget(), now)
        except BudgetSpent as error:
            return replace(total, status="partial", error=str(error))
        one = take(store, place, _pages(connector, thread, budget, now), keep, now=now, tick=tick)
        total = _sum(total, one)
        trouble = one.error or trouble
        if one.status == "ok" or (one.status == "partial" and one.pages):
            # What the budget did not hold stays unread: the newest posts came first.
            failures = 0
            _note(store, source, replace(thread, done=thread.hours, tries=0), now)
            continue
        if one.status != "failed":
            return total
        failures += 1
        _note(store, source, replace(thread, tries=thread.tries + 1), now)
        if not one.passing or failures == _PATIENCE:
            return total
    return replace(total, status="partial" if trouble else "ok", error=trouble)


def _pages(
    connector: ReadsThreads, thread: Thread, budget: Budget, now: datetime
) -> Callable[[], Iterator[Page]]:
    return lambda: connector.thread([thread.root_id], budget=budget, now=now)


def _sum(total: Collected, one: Collected) -> Collected:
    """Both rows as one, with the status and error of the later one."""
    return replace(
        one,
        pages=total.pages + one.pages,
        returned=total.returned + one.returned,
        kept=total.kept + one.kept,
        new=total.new + one.new,
        warnings=(*total.warnings, *one.warnings),
    )


def _note(store: Store, source: Source, thread: Thread, now: datetime) -> None:
    """Write down how far a thread has come: after its pages, so that a kill repeats a step."""
    wait = _FIRST_WAIT * _LONGER ** (thread.tries - 1) if thread.tries else None
    with store.write() as connection:
        connection.execute(
            _NOTE,
            {
                "source": source.connector.source,
                "root_id": thread.root_id,
                "hours": thread.done,
                "now": stamp(now),
                "tries": thread.tries,
                "wait_until": stamp(now + wait) if wait else None,
            },
        )


def _roots(rows: Sequence[Row]) -> dict[str, _Root]:
    """The first posts of the threads in `rows`, the mentions of conversations in their order."""
    members: dict[int, list[Row]] = defaultdict(list)
    for row in rows:
        members[row["conversation_id"]].append(row)
    roots: dict[str, _Root] = {}
    for posts in members.values():
        above = {
            post["native_id"]: post["root_id"] or post["parent_id"] or post["native_id"]
            for post in posts
        }
        for post in posts:
            root_id = _first(post["native_id"], above)
            # The first row of a thread is its oldest post.
            roots.setdefault(
                root_id,
                _Root(
                    began=moment(post["at"]),
                    last=moment(post["last_at"]),
                    alerted=bool(post["alerted"]),
                ),
            )
    return roots


def _first(native_id: str, above: Mapping[str, str]) -> str:
    """The first post of a thread; one that is in a circle of answers stands for itself."""
    path: dict[str, None] = {}
    here = native_id
    while here not in path:
        path[here] = None
        here = above.get(here, here)
    circle = [*path][[*path].index(here) :]
    return min(circle)
