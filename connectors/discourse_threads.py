"""Known posts of forums asked for again: whole topics, and what became of single posts."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from datetime import datetime
from urllib.parse import urlencode

from .base import Budget, BudgetSpent, ConnectorError, Mention, Page, Transient, Update
from .discourse_api import Closed, DiscourseApi, Forum, read_posts, spent_since
from .discourse_map import map_posts, post_id, read_number, read_stream, read_topic, to_updates

# Posts that one request for a topic gives, and the most requests for one topic.
_PART, _MOST_PARTS = 20, 50
# Posts looked up for one page of updates.
_BATCH = 20


def read_updates(
    api: DiscourseApi,
    source: str,
    forums: Mapping[str, Forum],
    ids: Sequence[str],
    *,
    budget: Budget,
    now: datetime,
) -> Iterator[Page]:
    """Figures, edits and removals of posts, one request each, at most 20 a page, without cursors.

    `forums` has those that are configured by key; ids of others are left alone. A forum that fails
    is left out, and its first error raised at the end. Raises BudgetSpent when ids are left.
    """
    known = _known(forums, ids)
    pages, told = 0, api.cost
    failures: dict[str, ConnectorError] = {}
    for start in range(0, len(known), _BATCH):
        if pages == budget.pages:
            raise BudgetSpent(
                f"{source}: the budget ended after {pages} pages; {len(known) - start} posts are "
                "not looked at again"
            )
        updates: list[Update] = []
        returned = 0
        for forum, native_id in known[start : start + _BATCH]:
            if forum.key in failures:
                continue
            try:
                record = api.get(forum, f"posts/{native_id}.json", now=now)
            except Closed as closed:
                reason = "deleted at the source" if closed.gone else "no longer public"
                updates.append(_tombstone(forum, source, native_id, reason, now))
                continue
            except ConnectorError as error:
                failures[forum.key] = error
                continue
            if post_id(record) != native_id:
                failures[forum.key] = Transient(f"{forum.key} gave another post than asked for")
                continue
            returned += 1
            updates += to_updates(record, forum, source, now)
        pages += 1
        cost, told = spent_since(told, api), api.cost
        more = start + _BATCH < len(known)
        yield Page(updates=tuple(updates), more=more, cost=cost, returned=returned)
    for failure in failures.values():
        raise failure


def read_threads(
    api: DiscourseApi,
    source: str,
    forums: Mapping[str, Forum],
    ids: Sequence[str],
    *,
    budget: Budget,
    now: datetime,
) -> Iterator[Page]:
    """Whole topics by the ids of their first posts, 20 posts a page, without cursors.

    Removed posts are tombstones. Raises BudgetSpent when topics are left, and the first error of a
    forum that fails after those of others.
    """
    known = _known(forums, ids)
    pages = mentions = 0
    told = api.cost
    failures: dict[str, ConnectorError] = {}
    for number, (forum, root) in enumerate(known):
        if forum.key in failures:
            continue
        try:
            for page in _topic(api, forum, source, root, now):
                pages, mentions = pages + 1, mentions + len(page.mentions)
                cost, told = spent_since(told, api), api.cost
                yield Page(
                    mentions=page.mentions,
                    updates=page.updates,
                    more=page.more,
                    cost=cost,
                    returned=page.returned,
                    warnings=page.warnings,
                )
                left = len(known) - number - (not page.more)
                full = pages == budget.pages or (
                    budget.mentions is not None and mentions >= budget.mentions
                )
                if full and left:
                    raise BudgetSpent(
                        f"{source}: the budget ended after {pages} pages; {left} topics are not "
                        "read to their end"
                    )
        except BudgetSpent:
            raise
        except ConnectorError as error:
            failures[forum.key] = error
    for failure in failures.values():
        raise failure


def _topic(
    api: DiscourseApi, forum: Forum, source: str, root: str, now: datetime
) -> Iterator[Page]:
    try:
        post = api.get(forum, f"posts/{root}.json", now=now)
        topic_id = read_number(post.get("topic_id")) if isinstance(post, Mapping) else None
        if topic_id is None:
            raise Transient(f"{forum.key} gave a post without its topic; the next run tries again")
        body = api.get(forum, f"t/{topic_id}/1.json", now=now)
    except Closed as closed:
        reason = "deleted at the source" if closed.gone else "no longer public"
        yield Page(updates=(_tombstone(forum, source, root, reason, now),))
        return
    topic = read_topic(body)
    records = read_posts(body)
    numbers: dict[int, str] = {}
    read = {post_id(one) for one in records}
    rest = [one for one in read_stream(body) if one not in read]
    most = _PART * _MOST_PARTS
    cut = len(rest) - most
    rest = rest[:most]
    while True:
        mapped = map_posts(records, forum, source, topic, numbers)
        faults = Counter(f"skipped, {reason}" for reason in mapped.skipped)
        if cut > 0 and not rest:
            faults["later posts of a long topic were left out"] = cut
        yield Page(
            mentions=mapped.mentions,
            updates=tuple(_news(records, mapped.mentions, forum, source, now)),
            more=bool(rest),
            returned=len(records),
            warnings=tuple(f"{source}, {forum.name}: {why} ({n})" for why, n in faults.items()),
        )
        if not rest:
            return
        part, rest = rest[:_PART], rest[_PART:]
        query = urlencode([("post_ids[]", one) for one in part])
        records = read_posts(api.get(forum, f"t/{topic_id}/posts.json?{query}", now=now))


def _news(
    records: Sequence[object],
    mentions: Sequence[Mention],
    forum: Forum,
    source: str,
    now: datetime,
) -> Iterator[Update]:
    """Edits of what is given, and removals of what is not; figures come with the mentions."""
    given = {one.native_id for one in mentions}
    for record in records:
        for update in to_updates(record, forum, source, now):
            if update.kind == "tombstone" or (update.kind == "edit" and update.native_id in given):
                yield update


def _known(forums: Mapping[str, Forum], ids: Sequence[str]) -> list[tuple[Forum, str]]:
    """The forum and the post of each id that belongs to one of `forums`."""
    known = []
    for one in dict.fromkeys(ids):
        key, _, native_id = one.rpartition("/")
        if key in forums and native_id.isascii() and native_id.isdecimal() and len(native_id) < 20:
            known.append((forums[key], native_id))
    return known


def _tombstone(forum: Forum, source: str, native_id: str, reason: str, now: datetime) -> Update:
    return Update(
        source=source,
        native_id=f"{forum.key}/{native_id}",
        kind="tombstone",
        at=now,
        reason=reason,
    )
