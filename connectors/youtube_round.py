"""One round through the comments of channels and videos of YouTube."""

from __future__ import annotations

import logging
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime

from .base import ConnectorError, Cost, Cursor, Mention, Page
from .lanes import read_states, write_states
from .mapping import OddRecord
from .values import read_id, read_time
from .youtube_api import BadToken, Closed, Missing, Processing, YouTubeApi
from .youtube_lanes import Lane, Todo, Walk, begun, ended
from .youtube_map import is_channel, map_comments, map_thread, read_thread, to_edit
from .youtube_threads import spent_since

logger = logging.getLogger(__name__)

# Pages of threads that are known already, read for new answers to them.
_KNOWN_PAGES = 5
# Pages in a row without anything new after which a list is given up, and those of one walk.
_IDLE_PAGES, _MOST_PAGES = 3, 1_000
# Pages of answers to one comment.
_REPLY_PAGES = 20


@dataclass(slots=True)
class _Found:
    """What a page of threads gives; `fresh` counts those not met before, `seconds` their times."""

    known: dict[str, tuple[int, int]]
    mentions: list[Mention] = field(default_factory=list)
    todo: list[Todo] = field(default_factory=list)
    seconds: list[int] = field(default_factory=list)
    faults: Counter[str] = field(default_factory=Counter)
    fresh: int = 0


class Round:
    """A `lanes.Round` over channels (ids or handles) and videos (ids); `start` is for new ones.

    `overlap` and `look_back` are seconds. Handles are looked up once and kept in the cursor.
    """

    def __init__(
        self,
        api: YouTubeApi,
        source: str,
        cursor: Cursor,
        keys: Sequence[str],
        *,
        start: datetime,
        overlap: int,
        look_back: int,
        page_size: int,
        now: datetime,
    ) -> None:
        self._api = api
        self._source = source
        self._start = _epoch(start)
        self._overlap = overlap
        self._look_back = look_back
        self._page_size = page_size
        self._now = now
        self._second = _epoch(now)
        self._lanes = read_states(Lane, cursor.get("lanes"), keys)
        self._channels = _strings(cursor.get("channels"))
        self._met: set[str] = set()
        self._told = api.cost
        api.adopt(cursor.get("quota"))

    def polled(self, key: str) -> int:
        """The second of the last walk; 0 before the first one."""
        return self._lanes[key].polled if key in self._lanes else 0

    def waiting(self, key: str) -> bool:
        """Whether there is something to read; not twice in the same second."""
        lane = self._lanes.get(key)
        return lane is None or lane.walk is not None or lane.polled < self._second

    def read(self, key: str, left: int | None) -> Page:
        """The next page of a channel or video: threads, or answers to one of them."""
        lane = self._lanes.get(key) or Lane(since=self._start, known={})
        if lane.walk is None:
            lane = begun(lane, self._second, overlap=self._overlap, look_back=self._look_back)
            self._met = set()
        assert lane.walk is not None
        if key.startswith("@") and key not in self._channels:
            self._channels[key] = self._resolved(key)
        page, self._lanes[key] = self._page(self._channels.get(key, key), lane, lane.walk, left)
        edits = (edit for one in page.mentions for edit in to_edit(one, self._now))
        return replace(page, updates=tuple(edits))

    def fail(self, key: str, error: ConnectorError) -> None:
        """Leave a list as it is, behind those that were not asked.

        A page that YouTube cannot process is not asked for in the same way again, lest the list
        stand still: the list is read anew, and the answers when the next walk comes to them.
        """
        lane = self._lanes.get(key) or Lane(since=self._start, known={})
        walk = lane.walk
        if walk is not None and isinstance(error, Processing):
            walk = replace(walk, todo=walk.todo[1:]) if walk.todo else replace(walk, token=None)
            lane = self._moved(lane, walk)
        self._lanes[key] = replace(lane, polled=self._second)

    def spent(self) -> Cost:
        """Requests and units since this was asked last."""
        cost, self._told = spent_since(self._told, self._api), self._api.cost
        return cost

    def cursor(self) -> Cursor:
        """Units of the day, handles that were looked up, and the state of each list."""
        return {
            "quota": self._api.used(),
            "channels": dict(self._channels),
            "lanes": write_states(Lane, self._lanes),
        }

    def _resolved(self, handle: str) -> str:
        body = self._api.get("channels", {"part": "id", "forHandle": handle}, now=self._now)
        for item in body.get("items") or ():
            found = read_id(item.get("id")) if isinstance(item, Mapping) else None
            if found and is_channel(found):
                return found
        raise Closed("there is no channel of that handle")

    def _page(self, name: str, lane: Lane, walk: Walk, left: int | None) -> tuple[Page, Lane]:
        """The next page of `walk`, the one of `lane`, and the lane after it."""
        limit = self._page_size if left is None else min(left, self._page_size)
        if walk.todo:
            page, lane, walk = self._replies(name, lane, walk, walk.todo[0], limit)
        else:
            page, lane, walk = self._threads(name, lane, walk, limit, left)
        return page, self._moved(lane, walk)

    def _moved(self, lane: Lane, walk: Walk) -> Lane:
        if walk.ended and not walk.todo:
            return ended(lane, walk, self._second, look_back=self._look_back)
        return replace(lane, walk=walk)

    def _threads(
        self, name: str, lane: Lane, walk: Walk, limit: int, left: int | None
    ) -> tuple[Page, Lane, Walk]:
        kind = "allThreadsRelatedToChannelId" if is_channel(name) else "videoId"
        params: dict[str, str | int] = {kind: name, "part": "snippet,replies", "order": "time"}
        params |= {"maxResults": limit, "textFormat": "html"}
        try:
            params |= {"pageToken": walk.token} if walk.token else {}
            body = self._api.get("commentThreads", params, now=self._now)
        except BadToken as error:
            if walk.token is None:
                raise
            again = replace(walk, token=None, anew=walk.anew + 1, ended=walk.anew > 0)
            warning = f"{self._source}, {name}: {error}; " + (
                "the rest is left out" if again.ended else "the list is read anew"
            )
            return Page(warnings=(warning,), gaps=_gap(again)), lane, again
        items = body.get("items") or []
        found = self._found(items, lane, walk, left)
        faults, seconds = found.faults, found.seconds
        token = read_id(body.get("nextPageToken"))
        newest = max(seconds, default=walk.low)
        walk = replace(
            walk,
            top=max([walk.top, *seconds]),
            oldest=min([*seconds, *([] if walk.oldest is None else [walk.oldest])], default=None),
            token=token,
            pages=walk.pages + 1,
            known_pages=walk.known_pages + (newest < walk.low),
            idle=0 if found.fresh else walk.idle + 1,
            todo=tuple(found.todo),
        )
        endless = token is not None and (
            walk.idle >= _IDLE_PAGES
            or walk.pages >= _MOST_PAGES
            or token == params.get("pageToken")
        )
        if endless:
            faults["the list does not end; the rest was left out"] += 1
        reached = newest < walk.floor or walk.known_pages >= _KNOWN_PAGES
        walk = replace(walk, ended=endless or reached or token is None)
        logger.info("%s: %d threads, %d comments", self._source, len(items), len(found.mentions))
        page = Page(
            mentions=tuple(found.mentions),
            returned=len(items),
            warnings=_warnings(self._source, name, faults),
            gaps=_gap(walk) if endless else (),
        )
        return page, replace(lane, known=found.known), walk

    def _found(self, items: Sequence[object], lane: Lane, walk: Walk, left: int | None) -> _Found:
        """What is new in a page of threads; a thread whose answers do not fit is one to do."""
        found = _Found(known=dict(lane.known))
        for behind, item in zip(range(len(items) - 1, -1, -1), items, strict=True):
            try:
                thread = read_thread(item)
            except OddRecord as odd:
                found.faults[f"skipped, {odd.reason}"] += 1
                continue
            found.fresh += thread.id not in self._met
            self._met.add(thread.id)
            second = _second(thread.top)
            if second is None:
                found.faults["skipped, without a date"] += 1
                continue
            found.seconds.append(second)
            grown = thread.replies > found.known.get(thread.id, (0, 0))[0]
            if second < walk.floor or (second < walk.low and not grown):
                continue
            mapped = map_thread(thread, self._source)
            found.faults.update(f"skipped, {reason}" for reason in mapped.skipped)
            # Room for the first comments behind goes before that for answers.
            room = None if left is None else left - len(found.mentions) - behind
            whole = room is None or len(mapped.mentions) <= room
            found.mentions += mapped.mentions if whole else mapped.mentions[:1]
            if grown and (not whole or thread.replies > len(thread.included)):
                found.todo.append(
                    Todo(
                        thread=thread.id, video=thread.video, second=second, replies=thread.replies
                    )
                )
            elif grown:
                found.known[thread.id] = (thread.replies, second)
        return found

    def _replies(
        self,
        name: str,
        lane: Lane,
        walk: Walk,
        todo: Todo,
        limit: int,
    ) -> tuple[Page, Lane, Walk]:
        params: dict[str, str | int] = {"parentId": todo.thread, "part": "snippet"}
        params |= {"maxResults": limit, "textFormat": "html"}
        faults: Counter[str] = Counter()
        items: Sequence[object] = ()
        token = None
        try:
            params |= {"pageToken": todo.token} if todo.token else {}
            body = self._api.get("comments", params, now=self._now)
            items, token = body.get("items") or (), read_id(body.get("nextPageToken"))
        except Missing:
            faults["answers to a comment that is gone"] += 1
        except BadToken:
            if todo.token is None:
                raise
            faults["some answers to a comment cannot be read"] += 1
        found = map_comments(items, self._source, thread_id=todo.thread, video=todo.video)
        faults.update(f"skipped, {reason}" for reason in found.skipped)
        fresh = {one.native_id for one in found.mentions} - self._met
        self._met.update(fresh)
        known = dict(lane.known)
        if token and (token == todo.token or not fresh or todo.pages + 1 >= _REPLY_PAGES):
            faults["answers to a comment do not end; the rest was left out"] += 1
            token = None
        if token is None:
            known[todo.thread] = (todo.replies, todo.second)
            walk = replace(walk, todo=walk.todo[1:])
        else:
            following = replace(todo, token=token, pages=todo.pages + 1)
            walk = replace(walk, todo=(following, *walk.todo[1:]))
        page = Page(
            mentions=found.mentions,
            returned=len(items),
            warnings=_warnings(self._source, name, faults),
        )
        return page, replace(lane, known=known), walk


def _warnings(source: str, name: str, faults: Mapping[str, int]) -> tuple[str, ...]:
    return tuple(f"{source}, {name}: {why} ({n})" for why, n in faults.items())


def _gap(walk: Walk) -> tuple[tuple[datetime, datetime], ...]:
    """The span that a walk that is given up has not come to."""
    oldest = walk.top if walk.oldest is None else walk.oldest
    if not walk.ended or oldest <= walk.low:
        return ()
    return ((datetime.fromtimestamp(walk.low, UTC), datetime.fromtimestamp(oldest, UTC)),)


def _strings(value: object) -> dict[str, str]:
    items = value.items() if isinstance(value, Mapping) else ()
    return {key: one for key, one in items if isinstance(key, str) and isinstance(one, str)}


def _second(comment: Mapping[str, object]) -> int | None:
    snippet = comment.get("snippet")
    time = read_time(snippet.get("publishedAt")) if isinstance(snippet, Mapping) else None
    return int(time[0].timestamp()) if time else None


def _epoch(when: datetime) -> int:
    return int(when.timestamp())
