"""Records of the Reddit API, as the dumps hold them too: to mentions, to updates, out of trees."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, replace
from datetime import datetime
from typing import Any

from .base import Counts, Mention, Update
from .mapping import OddRecord, to_mentions
from .text import clean_text
from .values import read_count, read_id, read_time, unescape

_FULLNAME = re.compile(r"t[13]_[0-9a-z]{1,13}")
_REMOVED = re.compile(r"\[ ?(?:deleted|removed)(?: by [a-z ]{1,40})?\]", re.IGNORECASE)
# What a mention is made of; whole records hold a hundred more, the answers among them.
_READ = (
    *("author", "author_fullname", "body", "created_utc", "link_id", "num_comments", "parent_id"),
    *("permalink", "score", "selftext", "subreddit", "title"),
)
_RAW = (
    *("crosspost_parent", "distinguished", "domain", "edited", "is_self", "link_flair_text"),
    *("over_18", "stickied", "subreddit", "subreddit_id", "upvote_ratio", "url"),
)


@dataclass(frozen=True, slots=True)
class Thing:
    """One post or comment of the API; `fullname` is its id with its kind, such as "t3_abc"."""

    fullname: str
    data: Mapping[str, Any]

    @property
    def second(self) -> int | None:
        """When it was written, in seconds of the epoch, or None."""
        time = read_time(self.data.get("created_utc"))
        return int(time[0].timestamp()) if time else None

    @property
    def removed(self) -> str | None:
        """Why its text is gone, or None while it is there."""
        texts = [self.data.get(name) for name in ("body", "selftext", "title")]
        marks = [text for text in texts if isinstance(text, str) and _REMOVED.fullmatch(text)]
        if marks:
            return "deleted" if "deleted" in marks[0].lower() else "removed"
        return "removed" if self.data.get("removed_by_category") else None

    @property
    def nobodys(self) -> bool:
        """Whether its author is gone."""
        return read_id(self.data.get("author")) in (None, "[deleted]")


@dataclass(frozen=True, slots=True)
class More:
    """Comments that a tree leaves out: their ids, or none when all answers to `parent` are."""

    parent: str
    ids: tuple[str, ...] = ()


def read_thing(record: object) -> Thing:
    """The post or comment in a record of the API; raises OddRecord for anything else."""
    match record:
        case {"kind": "t1" | "t3" as kind, "data": dict(data)}:
            given = read_id(data.get("id")) or read_id(data.get("name")) or ""
            fullname = given if given.startswith(f"{kind}_") else f"{kind}_{given}"
            if _FULLNAME.fullmatch(fullname):
                return Thing(fullname, data)
            raise OddRecord("without an id")
    raise OddRecord("neither post nor comment")


def to_mention(thing: Thing, source: str, now: datetime) -> tuple[Mention, tuple[str, ...]]:
    """The mention of a post or comment, and notes on it; OddRecord when it has no text."""
    if thing.removed:
        raise OddRecord("deleted or removed")
    record = {name: thing.data[name] for name in _READ if name in thing.data}
    if thing.nobodys:
        # The id of an account that is gone must not be kept.
        record.pop("author_fullname", None)
    mapped = to_mentions({**record, "id": thing.fullname}, source=source, now=now)
    return replace(mapped.mentions[0], raw=_raw(thing.data)), mapped.notes


def to_updates(thing: Thing, source: str, now: datetime) -> list[Update]:
    """What is new about a known post or comment: its figures and edit, or that it is gone."""
    reason = thing.removed or ("author deleted" if thing.nobodys else None)
    if reason:
        return [to_tombstone(thing.fullname, source, reason, now)]
    figures = Counts(
        likes=read_count(thing.data.get("score")),
        replies=read_count(thing.data.get("num_comments")),
    )
    updates = [
        Update(source=source, native_id=thing.fullname, kind="metrics", at=now, counts=figures)
    ]
    edited = read_time(thing.data.get("edited"))  # False, or the time
    text = thing.data.get("body", thing.data.get("selftext"))
    if edited and isinstance(text, str):
        updates.append(
            Update(
                source=source,
                native_id=thing.fullname,
                kind="edit",
                at=edited[0],
                text=clean_text(unescape(text)),
            )
        )
    return updates


def to_tombstone(fullname: str, source: str, reason: str, now: datetime) -> Update:
    """Word that the text of a post or comment is gone."""
    return Update(source=source, native_id=fullname, kind="tombstone", at=now, reason=reason)


def listed(body: object) -> tuple[list[object], str | None] | None:
    """The records of a listing and whether there are more (its token), None for anything else."""
    match body:
        case {"kind": "Listing", "data": {"children": list(children), **rest}}:
            return children, read_id(rest.get("after"))
        case {"json": {"data": {"things": list(things)}}}:
            return things, None
    return None


def walk_tree(records: list[object]) -> Iterator[object | More]:
    """Every record of a tree of comments, a parent before its answers; gaps come as `More`."""
    todo = records[::-1]
    while todo:
        record = todo.pop()
        match record:
            case {"kind": "more", "data": {"children": list(ids), "parent_id": str(parent)}}:
                known = tuple(one for one in map(read_id, ids) if one and one.isalnum())
                yield More(parent, known)
                continue
            case {"data": {"replies": replies}} if found := listed(replies):
                todo += found[0][::-1]
        yield record


def _raw(data: Mapping[str, Any]) -> dict[str, Any]:
    """The plain facts of a record, without text and author."""
    raw: dict[str, Any] = {}
    for name in _RAW:
        value = data.get(name)
        if isinstance(value, str):
            raw[name] = clean_text(value)
        elif isinstance(value, int | float) and abs(value) < 2**63:  # NaN is not
            raw[name] = value
    return raw
