"""Known posts of Reddit asked for again: whole conversations, and what became of single posts."""

from __future__ import annotations

import logging
import re
from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from itertools import islice
from typing import Any

from .base import Budget, BudgetSpent, Cost, Mention, Page, Transient, Update
from .mapping import OddRecord
from .reddit_api import Closed, Gone, RedditApi
from .reddit_map import More, listed, read_thing, to_mention, to_tombstone, to_updates, walk_tree

logger = logging.getLogger(__name__)

_LARGEST_LOOKUP = 100
_LARGEST_TREE = 500
# Requests for one conversation; the largest ones of all would take a thousand.
_MOST_REQUESTS = 50
_POST = re.compile(r"t3_[0-9a-z]{1,13}")
_FULLNAME = re.compile(r"t[13]_[0-9a-z]{1,13}")


def read_threads(
    api: RedditApi, source: str, ids: Sequence[str], *, budget: Budget, now: datetime
) -> Iterator[Page]:
    """Each conversation from its post on, one page a request, removed texts as tombstones.

    Pages have no cursor. A conversation that is closed is a warning, one that is gone a tombstone
    of its post. Raises BudgetSpent when some are left, and what `RedditApi.get` raises.
    """
    pages = mentions = 0
    for place, root_id in enumerate(ids, start=1):
        if not _POST.fullmatch(root_id):
            yield Page(warnings=(f"{source} {root_id[:20]!r}: not the id of a post (t3_...)",))
            continue
        tree = _Tree(api, source, root_id, now)
        while tree.todo:
            if pages == budget.pages or (
                budget.mentions is not None and mentions >= budget.mentions
            ):
                raise BudgetSpent(
                    f"{source}: the budget ended after {pages} pages; "
                    f"{len(ids) - place + 1} conversations are not read to their end"
                )
            page = tree.page()
            pages, mentions = pages + 1, mentions + len(page.mentions)
            yield page
        logger.info("%s: %d posts and comments of one conversation", source, len(tree.seen))


def read_updates(
    api: RedditApi, source: str, ids: Sequence[str], *, budget: Budget, now: datetime
) -> Iterator[Page]:
    """Figures, edits and removals of posts and comments by id, 100 a page, without cursors.

    Ids that Reddit does not return (a closed subreddit, a slip) are counted in a warning. Raises
    BudgetSpent when ids are left, and what `RedditApi.get` raises.
    """
    known = [one for one in dict.fromkeys(ids) if _FULLNAME.fullmatch(one)]
    for page, start in enumerate(range(0, len(known), _LARGEST_LOOKUP)):
        if page == budget.pages:
            raise BudgetSpent(
                f"{source}: the budget ended after {page} pages; {len(known) - start} posts are "
                "not looked at again"
            )
        asked = known[start : start + _LARGEST_LOOKUP]
        before = api.requests
        found = listed(api.get("api/info", {"id": ",".join(asked)}, now=now))
        if found is None:
            raise Transient(f"{source} gave no list of posts; the next run tries again")
        updates: list[Update] = []
        missing = set(asked)
        for record in found[0]:
            try:
                thing = read_thing(record)
            except OddRecord:
                continue
            if thing.fullname in missing:
                missing.remove(thing.fullname)
                updates += to_updates(thing, source, now)
        yield Page(
            updates=tuple(updates),
            more=start + _LARGEST_LOOKUP < len(known),
            cost=Cost(requests=api.requests - before),
            returned=len(found[0]),
            warnings=(f"{source}: {len(missing)} posts were not found",) if missing else (),
        )


def refresh_cost(posts: int) -> Cost:
    """Requests that `read_updates` makes for this many posts; they are free."""
    return Cost(requests=-(-posts // _LARGEST_LOOKUP))


@dataclass(slots=True)
class _Tree:
    """A conversation being read: `todo` are the requests that are left, `seen` the ids given."""

    api: RedditApi
    source: str
    root_id: str
    now: datetime
    todo: list[More] = field(default_factory=list)
    asked: set[More] = field(default_factory=set)
    seen: set[str] = field(default_factory=set)
    requests: int = 0

    def __post_init__(self) -> None:
        self._later(More(self.root_id))

    def page(self) -> Page:
        """What the next request gives."""
        before = self.api.requests
        self.requests += 1
        faults: Counter[str] = Counter()
        updates: list[Update] = []
        try:
            records = self._records(self.todo.pop(0))
        except Closed as error:
            records = []
            faults[str(error)] += 1
            self.todo.clear()
            if isinstance(error, Gone) and self.requests == 1:
                updates.append(to_tombstone(self.root_id, self.source, "deleted", self.now))
        mentions: list[Mention] = []
        returned = 0
        for record in walk_tree(records):
            if isinstance(record, More):
                self._later(record)
                continue
            returned += 1
            try:
                thing = read_thing(record)
                if thing.fullname in self.seen:
                    continue
                self.seen.add(thing.fullname)
                if thing.removed:
                    updates.append(
                        to_tombstone(thing.fullname, self.source, thing.removed, self.now)
                    )
                mention, notes = to_mention(thing, self.source, self.now)
            except OddRecord as odd:
                faults[f"skipped, {odd.reason}"] += 1
                continue
            mentions.append(mention)
            faults.update(notes)
        if self.todo and self.requests == _MOST_REQUESTS:
            faults[f"read no further after {_MOST_REQUESTS} requests"] += 1
            self.todo.clear()
        return Page(
            mentions=tuple(mentions),
            updates=tuple(updates),
            more=bool(self.todo),
            cost=Cost(requests=self.api.requests - before),
            returned=returned,
            warnings=tuple(
                f"{self.source} {self.root_id}: {why} ({n})" for why, n in faults.items()
            ),
        )

    def _later(self, more: More) -> None:
        """Plan the requests that fill a gap, each once however often Reddit names it."""
        ids = iter(more.ids)
        parts = [More(more.parent, part) for part in iter(lambda: _some(ids), ())] or [more]
        self.todo += [part for part in parts if part not in self.asked]
        self.asked.update(parts)

    def _records(self, more: More) -> list[object]:
        """The records that one request gives; Transient for an answer without any list."""
        short = self.root_id.removeprefix("t3_")
        params: dict[str, str | int] = {"sort": "new", "limit": _LARGEST_TREE}
        if more.ids:
            params = {"sort": "new", "api_type": "json", "limit_children": 0}
            params |= {"link_id": self.root_id, "children": ",".join(more.ids)}
            path = "api/morechildren"
        elif more.parent == self.root_id:
            path = f"comments/{short}"
        else:
            path = f"comments/{short}/_/{more.parent.removeprefix('t1_')}"
        body: Any = self.api.get(path, params, now=self.now)
        lists = [listed(one) for one in (body if isinstance(body, list) else [body])]
        found = [one[0] for one in lists if one is not None]
        if not found:
            raise Transient(f"{self.source} gave no conversation; the next run tries again")
        return [record for records in found for record in records]


def _some(ids: Iterator[str]) -> tuple[str, ...]:
    return tuple(islice(ids, _LARGEST_LOOKUP))
