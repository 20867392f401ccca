"""Items of Hacker News by id: what became of them, by its own API, and whole conversations.

An item of either API is turned into the hit that the search would give, so that one mapping serves
all and a text that nobody edited comes out the same.
"""

from __future__ import annotations

import logging
from collections import Counter
from collections.abc import Callable, Iterator, Mapping, Sequence
from datetime import datetime
from typing import Any

from .base import BadConfig, Budget, BudgetSpent, Cost, Counts, Mention, Page, Update
from .http import Http

logger = logging.getLogger(__name__)

ITEMS_URL = "https://hacker-news.firebaseio.com"

Mapped = Callable[[Mapping[str, Any]], Mention | str]
"""The mention of a hit, or why it is none."""

# One request gives one item; so many are stored at once.
_LARGEST_PAGE = 25
_GONE = {"deleted": "deleted at the source", "dead": "removed by moderators or flags"}


def read_updates(
    http: Http,
    url: str,
    source: str,
    mapped: Mapped,
    ids: Sequence[str],
    *,
    budget: Budget,
    now: datetime,
) -> Iterator[Page]:
    """Figures, edits and removals of items by id, without cursors; one request for each item.

    An item that is deleted or dead is a tombstone. What the API does not give, or gives without a
    text, is a warning with its number. Raises BudgetSpent when ids are left.
    """
    known = [one for one in dict.fromkeys(ids) if one.isascii() and one.isdecimal()]
    for page, start in enumerate(range(0, len(known), _LARGEST_PAGE)):
        if page == budget.pages:
            raise BudgetSpent(
                f"{source}: the budget ended after {page} pages; {len(known) - start} posts are "
                "not looked at again"
            )
        updates: list[Update] = []
        faults: Counter[str] = Counter()
        requests = returned = 0
        for native_id in known[start : start + _LARGEST_PAGE]:
            response = http.get(
                f"{url}/v0/item/{native_id}.json", None, {"accept": "application/json"}, now=now
            )
            requests += response.requests
            item = response.json()
            if not isinstance(item, dict):
                # Gone items are given with a mark; nothing at all is a slip of the API.
                faults["not given"] += 1
                continue
            returned += 1
            found = item_updates(item, native_id, source, mapped, now)
            if isinstance(found, str):
                faults[found] += 1
            else:
                updates += found
        logger.info("%s: %d items looked up", source, returned)
        yield Page(
            updates=tuple(updates),
            more=start + _LARGEST_PAGE < len(known),
            cost=Cost(requests=requests),
            returned=returned,
            warnings=_told(faults, source),
        )


def item_updates(
    item: Mapping[str, Any], native_id: str, source: str, mapped: Mapped, now: datetime
) -> list[Update] | str:
    """What an item of the API says of the post `native_id` at `now`, or why that is nothing."""
    for mark, reason in _GONE.items():
        if item.get(mark):
            return [
                Update(source=source, native_id=native_id, kind="tombstone", at=now, reason=reason)
            ]
    mention = mapped(as_hit(item))
    if isinstance(mention, str):
        return mention
    if mention.native_id != native_id:
        return "another id"
    edit = Update(source=source, native_id=native_id, kind="edit", at=now, text=mention.text)
    if mention.counts == Counts():
        return [edit]
    return [
        edit,
        Update(source=source, native_id=native_id, kind="metrics", at=now, counts=mention.counts),
    ]


def read_threads(
    http: Http,
    url: str,
    source: str,
    mapped: Mapped,
    ids: Sequence[str],
    *,
    budget: Budget,
    now: datetime,
) -> Iterator[Page]:
    """Conversations by the ids of their stories, one page and one request each, without cursors.

    A conversation that is not there is a warning. Raises BudgetSpent when some are left.
    """
    mentions = 0
    for place, root_id in enumerate(ids):
        if not (root_id.isascii() and root_id.isdecimal()):
            yield Page(warnings=(f"{source} {root_id[:20]!r}: not the id of a story",))
            continue
        if place == budget.pages or (budget.mentions is not None and mentions >= budget.mentions):
            raise BudgetSpent(
                f"{source}: the budget ended after {place} conversations; {len(ids) - place} are "
                "not read again"
            )
        try:
            response = http.get(
                f"{url}/api/v1/items/{root_id}", None, {"accept": "application/json"}, now=now
            )
        except BadConfig as error:
            yield Page(cost=Cost(requests=1), warnings=(f"{source} {root_id}: {error}",))
            continue
        found, faults = thread_mentions(response.json(), root_id, mapped)
        mentions += len(found)
        yield Page(
            mentions=found,
            more=place + 1 < len(ids),
            cost=Cost(requests=response.requests),
            returned=len(found) + faults.total(),
            warnings=_told(faults, source),
        )


def thread_mentions(
    item: object, root_id: str, mapped: Mapped
) -> tuple[tuple[Mention, ...], Counter[str]]:
    """The posts of a conversation, each before its answers, and why others were skipped."""
    found: list[Mention] = []
    faults: Counter[str] = Counter()
    # A list, not recursion: threads may be deeper than Python's stack.
    waiting = [item]
    while waiting:
        node = waiting.pop()
        if not isinstance(node, dict):
            faults["no item"] += 1
            continue
        mention = mapped(as_hit(node, root_id))
        if isinstance(mention, str):
            faults[mention] += 1
        else:
            found.append(mention)
        children = node.get("children")
        waiting += reversed(children) if isinstance(children, list) else ()
    return tuple(found), faults


def as_hit(item: Mapping[str, Any], root_id: str | None = None) -> dict[str, Any]:
    """An item of either API as the search gives it."""
    is_comment = item.get("type") == "comment"
    names = {"comment_text" if is_comment else "story_text": "text"}
    hit = {name: item.get(key) for name, key in names.items()}
    hit |= {key: item.get(key) for key in ("title", "url", "deleted", "dead")}
    hit["objectID"] = item.get("id")
    hit["author"] = item.get("by") or item.get("author")
    hit["created_at_i"] = item.get("time") or item.get("created_at_i")
    hit["points"] = item.get("score", item.get("points"))
    hit["num_comments"] = item.get("descendants")
    if is_comment:
        hit["parent_id"] = item.get("parent") or item.get("parent_id")
        hit["story_id"] = item.get("story_id") or root_id
    return {key: value for key, value in hit.items() if value is not None}


def _told(faults: Counter[str], source: str) -> tuple[str, ...]:
    return tuple(f"{source}: {why}; skipped ({n})" for why, n in sorted(faults.items()))
