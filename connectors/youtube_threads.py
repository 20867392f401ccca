"""Known comments of YouTube asked for again: whole threads, and what became of single comments."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Sequence
from datetime import datetime

from .base import Budget, BudgetSpent, Cost, Mention, Page, Update
from .mapping import OddRecord
from .values import read_id
from .youtube_api import BadToken, Missing, YouTubeApi
from .youtube_map import is_comment_id, map_comments, map_thread, read_thread, to_edit

_LARGEST_LOOKUP = 50
_LARGEST_PAGE = 100
# Pages of answers to one comment.
_REPLY_PAGES = 50


def read_updates(
    api: YouTubeApi, source: str, ids: Sequence[str], *, budget: Budget, now: datetime
) -> Iterator[Page]:
    """Figures, edits and removals of comments by id, at most 50 a page, without cursors.

    What YouTube leaves out is gone. Raises BudgetSpent when ids are left, and what
    `YouTubeApi.get` raises.
    """
    known = [one for one in dict.fromkeys(ids) if is_comment_id(one)]
    batches = [
        known[start : start + _LARGEST_LOOKUP] for start in range(0, len(known), _LARGEST_LOOKUP)
    ]
    pages, told = 0, api.cost
    while batches:
        if pages == budget.pages:
            raise BudgetSpent(
                f"{source}: the budget ended after {pages} pages; {sum(map(len, batches))} "
                "comments are not looked at again"
            )
        batch = batches.pop(0)
        try:
            items = _comments(api, batch, now)
        except Missing:
            if len(batch) > 1:
                # It does not say which one is gone.
                half = len(batch) // 2
                batches[:0] = [batch[:half], batch[half:]]
                continue
            items = []
        found = map_comments(items, source)
        given = {read_id(one.get("id")) for one in items if isinstance(one, dict)}
        updates = [_tombstone(source, one, now) for one in batch if one not in given]
        for mention in found.mentions:
            updates += [
                Update(
                    source=source,
                    native_id=mention.native_id,
                    kind="metrics",
                    at=now,
                    counts=mention.counts,
                ),
                *to_edit(mention, now),
            ]
        pages += 1
        cost, told = spent_since(told, api), api.cost
        yield Page(updates=tuple(updates), more=bool(batches), cost=cost, returned=len(items))


def read_threads(
    api: YouTubeApi, source: str, ids: Sequence[str], *, budget: Budget, now: datetime
) -> Iterator[Page]:
    """Each first comment and all answers to it, one page a request, without cursors.

    One that is gone is a tombstone. Raises BudgetSpent when some are left, and what
    `YouTubeApi.get` raises.
    """
    pages = mentions = 0
    told = api.cost
    for number, root in enumerate(dict.fromkeys(ids)):
        if not is_comment_id(root):
            yield Page(warnings=(f"{source} {root[:20]!r}: not the id of a comment",))
            continue
        for page in _thread(api, source, root, now):
            pages, mentions = pages + 1, mentions + len(page.mentions)
            cost, told = spent_since(told, api), api.cost
            yield Page(
                mentions=page.mentions,
                updates=(
                    *page.updates,
                    *(edit for one in page.mentions for edit in to_edit(one, now)),
                ),
                more=page.more,
                cost=cost,
                returned=page.returned,
                warnings=page.warnings,
            )
            left = len(ids) - number - (not page.more)
            full = pages == budget.pages or (
                budget.mentions is not None and mentions >= budget.mentions
            )
            if full and left:
                raise BudgetSpent(
                    f"{source}: the budget ended after {pages} pages; {left} conversations are "
                    "not read to their end"
                )


def look_up(
    api: YouTubeApi, channels: Sequence[str], videos: Sequence[str], *, now: datetime
) -> list[str]:
    """Those of `channels` and `videos` that YouTube does not know."""
    missing = []
    for name in channels:
        wanted = "forHandle" if name.startswith("@") else "id"
        if not api.get("channels", {"part": "id", wanted: name}, now=now).get("items"):
            missing.append(name)
    for start in range(0, len(videos), _LARGEST_LOOKUP):
        batch = videos[start : start + _LARGEST_LOOKUP]
        items = api.get("videos", {"part": "id", "id": ",".join(batch)}, now=now).get("items") or []
        found = {read_id(one.get("id")) for one in items if isinstance(one, dict)}
        missing += [one for one in batch if one not in found]
    return missing


def spent_since(before: Cost, api: YouTubeApi) -> Cost:
    """What `api` has spent after it stood at `before`."""
    return Cost(
        requests=api.cost.requests - before.requests,
        resources=api.cost.resources - before.resources,
    )


def _comments(api: YouTubeApi, ids: Sequence[str], now: datetime) -> list[object]:
    params = {"part": "snippet", "id": ",".join(ids), "textFormat": "html"}
    return api.get("comments", params, now=now).get("items") or []


def _thread(api: YouTubeApi, source: str, root: str, now: datetime) -> Iterator[Page]:
    params: dict[str, str | int] = {"id": root, "part": "snippet,replies", "textFormat": "html"}
    try:
        items = api.get("commentThreads", params, now=now).get("items") or []
    except Missing:
        items = []
    threads = []
    for item in items:
        try:
            threads.append(read_thread(item))
        except OddRecord:
            continue
    thread = next((one for one in threads if one.id == root), None)
    if thread is None:
        yield Page(updates=(_tombstone(source, root, now),), returned=len(items))
        return
    found = map_thread(thread, source)
    more = thread.replies > len(thread.included)
    yield _page(source, found.mentions, found.skipped, returned=1, more=more)
    params = {"parentId": root, "part": "snippet", "textFormat": "html"}
    params["maxResults"] = _LARGEST_PAGE
    met: set[str] = set()
    pages = 0
    while more:
        pages += 1
        try:
            body = api.get("comments", params, now=now)
        except (Missing, BadToken):
            yield _page(source, (), ("some answers cannot be read",), returned=0, more=False)
            return
        answers = body.get("items") or []
        mapped = map_comments(answers, source, thread_id=root, video=thread.video)
        fresh = tuple(one for one in mapped.mentions if one.native_id not in met)
        met.update(one.native_id for one in fresh)
        token = read_id(body.get("nextPageToken"))
        more = token is not None and bool(fresh) and pages < _REPLY_PAGES
        endless = ("answers without end are left out",) if token and not more else ()
        params["pageToken"] = token or ""
        yield _page(source, fresh, (*mapped.skipped, *endless), returned=len(answers), more=more)


def _page(
    source: str, mentions: Sequence[Mention], faults: Sequence[str], *, returned: int, more: bool
) -> Page:
    told = Counter(faults)
    return Page(
        mentions=tuple(mentions),
        more=more,
        returned=returned,
        warnings=tuple(f"{source}: a thread: skipped, {why} ({n})" for why, n in told.items()),
    )


def _tombstone(source: str, native_id: str, now: datetime) -> Update:
    return Update(
        source=source,
        native_id=native_id,
        kind="tombstone",
        at=now,
        reason="deleted at the source",
    )
