"""One round of searches through forums, and the topics in which they found something."""

from __future__ import annotations

import logging
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import UTC, datetime, timedelta
from typing import Annotated
from urllib.parse import urlencode

from pydantic import Field

from .base import ConnectorError, Cost, Cursor, NeedsAuth, Page, RetryAt
from .discourse_api import Closed, DiscourseApi, Forum, read_posts, spent_since
from .discourse_map import (
    map_posts,
    post_id,
    post_number,
    read_number,
    read_stream,
    read_topic,
    to_updates,
)
from .lanes import Second, read_states, write_states
from .values import read_time

logger = logging.getLogger(__name__)

# The search gives ten pages of 50 topics; further back it is asked with an earlier date.
_LAST_PAGE = 10
# Posts that one request for a topic gives, and the most requests for one topic.
_PART, _MOST_PARTS = 20, 10
_MOST_SEEN = 500
_DAY = timedelta(days=1)


@dataclass(frozen=True, slots=True, kw_only=True)
class Found:
    """A topic with a post that was found: its number and id, and earlier posts still to be read.

    `root` is the id of the first post, None before the first request.
    """

    topic: str
    number: int
    post: str
    root: str | None = None
    earlier: tuple[str, ...] = ()
    parts: int = 0


@dataclass(frozen=True, slots=True, kw_only=True)
class Walk:
    """A way down the posts found, newest first, to the second `low`; `before` is a date.

    `ended` says that only the topics in `todo` are left.
    """

    low: Second
    top: Second
    oldest: Second | None = None
    page: Annotated[int, Field(ge=1, le=_LAST_PAGE)] = 1
    before: str | None = None
    ended: bool = False
    todo: tuple[Found, ...] = ()


@dataclass(frozen=True, slots=True, kw_only=True)
class Lane:
    """One search in one forum: all before `since` was given; the last walk began at `polled`.

    `seen` are the posts that were found last.
    """

    since: Second
    polled: Second = 0
    walk: Walk | None = None
    seen: tuple[str, ...] = ()


class Round:
    """A `lanes.Round` over searches in forums: `searches` has both by key."""

    def __init__(
        self,
        api: DiscourseApi,
        source: str,
        cursor: Cursor,
        searches: Mapping[str, tuple[Forum, str]],
        *,
        start: datetime,
        overlap: timedelta,
        now: datetime,
    ) -> None:
        self._api = api
        self._source = source
        self._searches = searches
        self._start = _epoch(start)
        self._overlap = int(overlap.total_seconds())
        self._now = now
        self._second = _epoch(now)
        self._lanes = read_states(Lane, cursor.get("lanes"), searches)
        self._met: dict[str | None, set[str]] = {}
        self._refused: set[str] = set()
        self._told = api.cost
        until = cursor.get("until")
        for forum in {forum.key: forum for forum, _ in searches.values()}.values():
            when = read_time(until.get(forum.key)) if isinstance(until, Mapping) else None
            if when:
                api.wait(forum, when[0])

    def polled(self, key: str) -> int:
        """The second of the last walk; 0 before the first one."""
        return self._lanes[key].polled if key in self._lanes else 0

    def waiting(self, key: str) -> bool:
        """Whether there is something to read; not twice in the same second."""
        if self._searches[key][0].key in self._refused:
            return False
        lane = self._lanes.get(key)
        return lane is None or lane.walk is not None or lane.polled < self._second

    def read(self, key: str, left: int | None) -> Page:
        """The next page of a search, which only finds topics, or of a topic that it found."""
        forum, search = self._searches[key]
        lane = self._lanes.get(key) or Lane(since=self._start)
        walk = lane.walk
        if walk is None:
            back = self._overlap if lane.polled else 0
            walk = Walk(low=lane.since - back, top=lane.since)
            lane = replace(lane, polled=self._second)
            self._met = {}
        if walk.todo:
            page, walk = self._topic(forum, walk, walk.todo[0])
        else:
            page, lane, walk = self._search(forum, search, lane, walk)
        if walk.ended and not walk.todo:
            since = max(lane.since, min(walk.top, self._second))
            self._lanes[key] = replace(lane, since=since, walk=None)
        else:
            self._lanes[key] = replace(lane, walk=walk)
        return page

    def fail(self, key: str, error: ConnectorError) -> None:
        """Leave a search as it is, and its forum alone when it asks to wait or refuses access."""
        if isinstance(error, RetryAt | NeedsAuth):
            self._refused.add(self._searches[key][0].key)
        lane = self._lanes.get(key) or Lane(since=self._start)
        self._lanes[key] = replace(lane, polled=self._second)

    def spent(self) -> Cost:
        """Requests since this was asked last."""
        cost, self._told = spent_since(self._told, self._api), self._api.cost
        return cost

    def cursor(self) -> Cursor:
        """The state of each search, and when forums that asked to wait may be asked again."""
        until = {
            forum.key: when.isoformat()
            for forum, _ in self._searches.values()
            if (when := self._api.until(forum)) and when > self._now
        }
        return {"until": until, "lanes": write_states(Lane, self._lanes)}

    def _search(self, forum: Forum, search: str, lane: Lane, walk: Walk) -> tuple[Page, Lane, Walk]:
        # Days are those of the forum; one more makes sure of the first one.
        terms = f"{search} after:{_date(walk.low) - _DAY:%Y-%m-%d}"
        terms += f" before:{walk.before}" if walk.before else ""
        params: dict[str, str | int] = {"q": terms, "page": walk.page}
        body = self._api.get(forum, "search.json", params, now=self._now)
        faults: Counter[str] = Counter()
        seconds: list[int] = []
        todo: list[Found] = []
        # An earlier date begins with topics of the same day once more.
        met = self._met.setdefault(walk.before, set())
        fresh = False
        hits = read_posts(body)
        for hit in hits:
            native_id, number = post_id(hit), post_number(hit)
            topic = read_number(hit.get("topic_id")) if isinstance(hit, Mapping) else None
            time = read_time(hit.get("created_at")) if isinstance(hit, Mapping) else None
            if not (native_id and number and time and topic):
                faults["skipped, without id, topic or date"] += 1
                continue
            second = _epoch(time[0])
            seconds.append(second)
            fresh = fresh or native_id not in met
            if second >= walk.low and native_id not in lane.seen and native_id not in met:
                todo.append(Found(topic=topic, number=number, post=native_id))
            met.add(native_id)
        oldest = min([*seconds, *([] if walk.oldest is None else [walk.oldest])], default=None)
        walk = replace(walk, top=max([walk.top, *seconds]), oldest=oldest, todo=tuple(todo))
        lane = replace(lane, seen=(*(one.post for one in todo), *lane.seen)[:_MOST_SEEN])
        reached = bool(seconds) and max(seconds) < walk.low
        gaps: tuple[tuple[datetime, datetime], ...] = ()
        if reached or not _more(body) or not hits:
            walk = replace(walk, ended=True)
        elif not fresh:
            faults["the search repeats itself; the rest was left out"] += 1
            walk, gaps = replace(walk, ended=True), _gap(walk)
        elif walk.page >= _LAST_PAGE:
            before = f"{_date(walk.low if oldest is None else oldest) + _DAY:%Y-%m-%d}"
            if before == walk.before:
                faults["more topics in a day than the search gives; the rest was left out"] += 1
                walk, gaps = replace(walk, ended=True), _gap(walk)
            else:
                walk = replace(walk, before=before, page=1)
        else:
            walk = replace(walk, page=walk.page + 1)
        logger.info("%s: %d found, %d topics to read", forum.key, len(hits), len(todo))
        page = Page(warnings=_warnings(self._source, forum, faults), gaps=gaps)
        return page, lane, walk

    def _topic(self, forum: Forum, walk: Walk, found: Found) -> tuple[Page, Walk]:
        """The posts around the one that was found, or some of the earlier ones.

        The search gives one post of a topic, the newest that fits: others may stand before it.
        """
        rest = walk.todo[1:]
        path = f"t/{found.topic}/{found.number}.json"
        if found.root and len(found.earlier) <= _PART:
            # From the beginning on, which comes with the title of the topic.
            path = f"t/{found.topic}/1.json"
        elif found.root:
            ids = [("post_ids[]", one) for one in found.earlier[-_PART:]]
            path = f"t/{found.topic}/posts.json?{urlencode(ids)}"
        try:
            body = self._api.get(forum, path, now=self._now)
        except Closed:
            faults = Counter({"skipped, a topic that is gone or not public": 1})
            warnings = _warnings(self._source, forum, faults)
            return Page(warnings=warnings), replace(walk, todo=rest)
        records = read_posts(body)
        topic = read_topic(body)
        topic = replace(topic, root=found.root or topic.root)
        mapped = map_posts(records, forum, self._source, topic)
        low = datetime.fromtimestamp(walk.low, UTC)
        wanted = tuple(
            one
            for one in mapped.mentions
            if one.published_at >= low or one.native_id.endswith(f"/{found.post}")
        )
        faults = Counter(f"skipped, {reason}" for reason in mapped.skipped)
        earlier = self._earlier(records, body, found, low)
        if earlier and found.parts + 1 >= _MOST_PARTS:
            faults["a topic is too long; earlier posts in it were left out"] += 1
            earlier = ()
        if earlier:
            following = replace(found, root=topic.root, earlier=earlier, parts=found.parts + 1)
            rest = (following, *rest)
        kept = {one.native_id for one in wanted}
        updates = (
            update
            for record in records
            for update in to_updates(record, forum, self._source, self._now)
            if update.kind == "edit" and update.native_id in kept
        )
        page = Page(
            mentions=wanted,
            updates=tuple(updates),
            returned=len(records),
            warnings=_warnings(self._source, forum, faults),
        )
        return page, replace(walk, todo=rest)

    def _earlier(
        self, records: Sequence[object], body: object, found: Found, low: datetime
    ) -> tuple[str, ...]:
        """The ids of posts before these that may be new, the last of them nearest."""
        times = [read_time(one.get("created_at")) for one in records if isinstance(one, Mapping)]
        if any(time and time[0] < low for time in times):
            return ()
        read = {native_id for one in records if (native_id := post_id(one))}
        ids = list(found.earlier) if found.root else read_stream(body)
        first = next((place for place, one in enumerate(ids) if one in read), 0)
        return tuple(ids[:first])[-_PART * _MOST_PARTS :]


def _more(body: object) -> bool:
    match body:
        case {"grouped_search_result": {"more_full_page_results": more}}:
            return bool(more)
    return False


def _gap(walk: Walk) -> tuple[tuple[datetime, datetime], ...]:
    if walk.oldest is None or walk.oldest <= walk.low:
        return ()
    return ((_date(walk.low), _date(walk.oldest)),)


def _warnings(source: str, forum: Forum, faults: Mapping[str, int]) -> tuple[str, ...]:
    return tuple(f"{source}, {forum.name}: {why} ({n})" for why, n in faults.items())


def _date(second: int) -> datetime:
    return datetime.fromtimestamp(second, UTC)


def _epoch(when: datetime) -> int:
    return int(when.timestamp())
