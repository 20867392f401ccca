"""Posts of Bluesky that are known, looked up again: figures, removals and whole conversations."""

from __future__ import annotations

import logging
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import replace
from datetime import datetime
from typing import Any

from .base import Budget, BudgetSpent, Cost, Mention, Page, Update
from .bluesky_api import BlueskyApi, Refused
from .bluesky_map import POSTS, read_counts, split_uri, thread_nodes, to_mention
from .mapping import OddRecord

logger = logging.getLogger(__name__)

_LARGEST_LOOKUP = 25
# Answers below answers; JSON nested ten times as deep is not read (and Bluesky allows 1000).
_DEPTH = 100
# Requests that one conversation may take, when answers lie deeper than that.
_MOST_PARTS = 50
_DELETED, _NOT_PUBLIC = "deleted at the source", "no longer public"
# Bluesky's words for what became of a record or its account. An account that was deactivated or
# taken down is often said to be not there, like one that was deleted.
_GONE = {
    "RecordNotFound": _DELETED,
    "RepoNotFound": _NOT_PUBLIC,
    "RepoTakendown": _NOT_PUBLIC,
    "RepoSuspended": _NOT_PUBLIC,
    "RepoDeactivated": _NOT_PUBLIC,
    "AccountTakedown": _NOT_PUBLIC,
    "AccountDeactivated": _NOT_PUBLIC,
}


def updates_cost(posts: int) -> Cost:
    """The most that looking up so many posts takes: all missing, so each is asked for singly."""
    return Cost(requests=-(-posts // _LARGEST_LOOKUP) + posts)


def read_updates(
    api: BlueskyApi, source: str, ids: Sequence[str], *, budget: Budget, now: datetime
) -> Iterator[Page]:
    """The figures of posts by their ids, and a tombstone for each that is gone; 25 a page.

    Bluesky leaves out posts that are deleted or taken down, and those behind a block of the
    account that asks. So each one missing is asked for singly as a record, which blocks do not
    hide: only what is not there either is gone. Raises BudgetSpent when ids are left.
    """
    waiting = [one for one in dict.fromkeys(ids) if split_uri(one)]
    pages = asked = 0
    while waiting:
        size = min(_LARGEST_LOOKUP, len(waiting))
        if budget.mentions is not None:
            size = min(size, budget.mentions - asked)
        if size < 1 or pages == budget.pages:
            raise BudgetSpent(
                f"{source}, look-up: the budget ended after {asked} posts; left out: "
                f"{len(waiting)} posts; the next run goes on"
            )
        batch, waiting = waiting[:size], waiting[size:]
        before = api.requests
        body = api.query("app.bsky.feed.getPosts", {"uris": batch}, now=now)
        found = {post.get("uri"): post for post in _objects(body.get("posts"))}
        updates = [
            Update(
                source=source, native_id=one, kind="metrics", at=now, counts=read_counts(found[one])
            )
            for one in batch
            if one in found
        ]
        notes = Counter[str]()
        for one in batch:
            if one in found:
                continue
            reason = _fate(api, one, now)
            if reason is None:
                notes["left out, but not known to be gone; kept"] += 1
            else:
                updates.append(
                    Update(source=source, native_id=one, kind="tombstone", at=now, reason=reason)
                )
        pages, asked = pages + 1, asked + size
        logger.info("%s: %d of %d posts are there", source, len(found), size)
        yield Page(
            updates=tuple(updates),
            more=bool(waiting),
            cost=Cost(requests=api.requests - before),
            returned=len(found),
            warnings=tuple(f"{source}: {what} ({n})" for what, n in notes.items()),
        )


def read_threads(
    api: BlueskyApi, source: str, ids: Sequence[str], *, budget: Budget, now: datetime
) -> Iterator[Page]:
    """Conversations by the ids of their first posts, one or more pages for each.

    What lies deeper than one request reaches is asked for from there. Nodes that are not there or
    behind a block are counted in a warning. Raises BudgetSpent when conversations are left.
    """
    roots = [one for one in dict.fromkeys(ids) if split_uri(one)]
    pages = given = 0
    for place, root in enumerate(roots):
        parts, seen = [root], {root}
        known: set[str] = set()
        while parts:
            spent = budget.mentions is not None and given >= budget.mentions
            if spent or pages == budget.pages:
                raise BudgetSpent(
                    f"{source}, conversations: the budget ended after {pages} pages; left out: "
                    f"{len(roots) - place} conversations; the next run goes on"
                )
            page, cut = _part(api, source, parts.pop(0), now)
            fresh = tuple(one for one in page.mentions if one.native_id not in known)
            known |= {one.native_id for one in fresh}
            unread = [one for one in cut if one not in seen]
            deeper = unread[: _MOST_PARTS - len(seen)]
            warnings = page.warnings
            if len(deeper) < len(unread):
                warnings += (f"{source}: a conversation is too large; answers are missing",)
            parts += deeper
            seen.update(deeper)
            pages, given = pages + 1, given + len(fresh)
            more = bool(parts) or place + 1 < len(roots)
            yield replace(page, mentions=fresh, warnings=warnings, more=more)


def _part(api: BlueskyApi, source: str, anchor: str, now: datetime) -> tuple[Page, list[str]]:
    """The answers below one post with itself, and the ids below which more was cut off."""
    before = api.requests
    params = {"uri": anchor, "depth": _DEPTH, "parentHeight": 0}
    try:
        thread = api.query("app.bsky.feed.getPostThread", params, now=now).get("thread")
    except Refused as refused:
        if refused.name != "NotFound":
            raise
        thread = {"$type": "app.bsky.feed.defs#notFoundPost"}
    mentions: list[Mention] = []
    faults: Counter[str] = Counter()
    cut: list[str] = []
    returned = 0
    for node, is_cut in thread_nodes(thread):
        returned += 1
        try:
            mention, notes = to_mention(node, source=source, now=now)
        except OddRecord as odd:
            faults[f"skipped, {odd.reason}"] += 1
            continue
        mentions.append(mention)
        faults.update(notes)
        if is_cut and mention.native_id != anchor:
            cut.append(mention.native_id)
    page = Page(
        mentions=tuple(mentions),
        cost=Cost(requests=api.requests - before),
        returned=returned,
        warnings=tuple(f"{source}: {what} ({n})" for what, n in faults.items()),
    )
    return page, cut


def _fate(api: BlueskyApi, uri: str, now: datetime) -> str | None:
    """Why a post is gone; None when its record is there, or Bluesky does not say so plainly."""
    did, rkey = split_uri(uri) or ("", "")
    params = {"repo": did, "collection": POSTS, "rkey": rkey}
    try:
        api.query("com.atproto.repo.getRecord", params, now=now)
    except Refused as refused:
        return _GONE.get(refused.name)
    return None


def _objects(value: object) -> list[Mapping[str, Any]]:
    return [one for one in value if isinstance(one, Mapping)] if isinstance(value, list) else []
