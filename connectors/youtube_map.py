"""Comments of the YouTube Data API to mentions and updates; names of channels and videos."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from functools import partial
from typing import Any
from urllib.parse import parse_qs, urlsplit

from .base import Author, BadConfig, Counts, Mention, Update
from .mapping import Mapped, OddRecord
from .text import clean_text, html_to_text
from .values import read_count, read_id, read_text, read_time

_COMMENT = re.compile(r"[\w.-]{1,200}", re.ASCII)
_VIDEO = re.compile(r"[\w-]{11}", re.ASCII)
_CHANNEL = re.compile(r"UC[\w-]{22}", re.ASCII)
_HANDLE = re.compile(r"@[\w.\u00b7-]{3,30}")
_HOSTS = frozenset({"youtube.com", "www.youtube.com", "m.youtube.com", "youtu.be"})


@dataclass(frozen=True, slots=True)
class Thread:
    """A first comment with the answers that came with it; `replies` is how many there are."""

    id: str
    video: str | None
    top: Mapping[str, Any]
    included: tuple[Mapping[str, Any], ...]
    replies: int


def read_thread(record: object) -> Thread:
    """The thread in a record of `commentThreads`; OddRecord for anything else."""
    thread = _object(record)
    snippet = _object(thread.get("snippet"))
    top = _object(snippet.get("topLevelComment"))
    if not top:
        raise OddRecord("no thread of comments")
    thread_id = _id(thread.get("id")) or _id(top.get("id"))
    if thread_id is None:
        raise OddRecord("without an id")
    comments = _object(thread.get("replies")).get("comments")
    included = tuple(map(_object, comments)) if isinstance(comments, list) else ()
    return Thread(
        id=thread_id,
        video=_video(snippet) or _video(_object(top.get("snippet"))),
        top=top,
        included=included,
        replies=max(read_count(snippet.get("totalReplyCount")) or 0, len(included)),
    )


def to_mention(
    record: object,
    source: str,
    *,
    thread_id: str | None = None,
    video: str | None = None,
    replies: int | None = None,
) -> Mention:
    """The mention of a comment; OddRecord when it has no id, date or text.

    `thread_id` and `video` are for comments that do not name theirs; `replies` for first comments.
    """
    comment = _object(record)
    snippet = _object(comment.get("snippet"))
    # Videos and channels have a snippet with a date too, but no text to display.
    if not snippet.keys() & {"textDisplay", "textOriginal"}:
        raise OddRecord("no comment")
    native_id = _id(comment.get("id"))
    time = read_time(snippet.get("publishedAt"))
    if native_id is None or time is None:
        raise OddRecord("without an id" if native_id is None else "without a date")
    text = _text(snippet)
    if not text:
        raise OddRecord("without text")
    root = _id(snippet.get("parentId")) or thread_id
    root = None if root == native_id else root
    video = _video(snippet) or video
    return Mention(
        source=source,
        native_id=native_id,
        text=text,
        published_at=time[0],
        url=f"https://www.youtube.com/watch?v={video}&lc={native_id}" if video else None,
        author=_author(snippet, source),
        parent_id=root,
        root_id=root,
        counts=Counts(likes=read_count(snippet.get("likeCount")), replies=replies),
        raw=_raw(snippet, video),
    )


def to_edit(mention: Mention, now: datetime) -> Iterator[Update]:
    """An edit when the comment was changed after it was written."""
    changed = read_time((mention.raw or {}).get("updated_at"))
    if changed and changed[0] > mention.published_at:
        yield Update(
            source=mention.source,
            native_id=mention.native_id,
            kind="edit",
            at=min(changed[0], now),
            text=mention.text,
        )


def map_thread(thread: Thread, source: str) -> Mapped:
    """The first comment of a thread and the answers that came with it, and what was skipped."""
    return _mapped(
        [
            partial(to_mention, thread.top, source, video=thread.video, replies=thread.replies),
            *(
                partial(to_mention, one, source, thread_id=thread.id, video=thread.video)
                for one in thread.included
            ),
        ]
    )


def map_comments(
    records: Sequence[object],
    source: str,
    *,
    thread_id: str | None = None,
    video: str | None = None,
) -> Mapped:
    """The mentions of a list of comments, and why others were skipped."""
    return _mapped(
        [partial(to_mention, one, source, thread_id=thread_id, video=video) for one in records]
    )


def map_payload(body: object, *, source: str = "youtube") -> Mapped:
    """The comments in any answer of the API, and why other records of it were skipped."""
    answer = _object(body)
    items = answer.get("items")
    parts: list[Mapped] = []
    for record in items if isinstance(items, list) else [answer]:
        try:
            parts.append(map_thread(read_thread(record), source))
        except OddRecord:
            parts.append(map_comments([record], source))
    return Mapped(
        tuple(mention for part in parts for mention in part.mentions),
        tuple(reason for part in parts for reason in part.skipped),
    )


def _mapped(makers: Sequence[Callable[[], Mention]]) -> Mapped:
    mentions: list[Mention] = []
    skipped: list[str] = []
    for make in makers:
        try:
            mentions.append(make())
        except OddRecord as odd:
            skipped.append(odd.reason)
    return Mapped(tuple(mentions), tuple(skipped))


def read_channel(name: str) -> str:
    """The id ("UC...") or handle ("@...") in what people write for a channel, addresses included.

    Raises BadConfig for anything else.
    """
    name = name.strip()
    parts = [part for part in _path(name).split("/") if part]
    for part in [name, *parts]:
        if _CHANNEL.fullmatch(part):
            return part
        if _HANDLE.fullmatch(part):
            return part.lower()
    raise BadConfig(
        f"{clean_text(name)[:60]!r} is no channel of YouTube; write its handle, such as "
        '"@lumora", or its id, which begins with UC'
    )


def read_video(name: str) -> str:
    """The id in what people write for a video, addresses included; BadConfig for anything else."""
    name = name.strip()
    candidates = [name]
    if path := _path(name):
        candidates = [*parse_qs(urlsplit(name).query).get("v", ()), path.rpartition("/")[2]]
    for one in candidates:
        if _VIDEO.fullmatch(one):
            return one
    raise BadConfig(
        f"{clean_text(name)[:60]!r} is no video of YouTube; write its address or its id"
    )


def is_channel(name: str) -> bool:
    """Whether `name` is the id of a channel."""
    return _CHANNEL.fullmatch(name) is not None


def is_comment_id(value: str) -> bool:
    """Whether `value` can be the id of a comment."""
    return _COMMENT.fullmatch(value) is not None


def _path(name: str) -> str:
    """The path of an address on YouTube; empty for anything else."""
    try:
        parts = urlsplit(name if "//" in name else f"https://{name}")
        return parts.path if parts.hostname in _HOSTS else ""
    except ValueError:
        return ""


def _object(value: object) -> Mapping[str, Any]:
    return value if isinstance(value, dict) else {}


def _id(value: object) -> str | None:
    found = read_id(value)
    return found if found and is_comment_id(found) else None


def _video(snippet: Mapping[str, Any]) -> str | None:
    value = snippet.get("videoId")
    return value if isinstance(value, str) and _VIDEO.fullmatch(value) else None


def _text(snippet: Mapping[str, Any]) -> str:
    """The text as it was written; YouTube may give only what it shows, which is HTML."""
    written = read_text(snippet.get("textOriginal"))
    shown = snippet.get("textDisplay")
    return written or (html_to_text(shown) if isinstance(shown, str) else "")


def _author(snippet: Mapping[str, Any], source: str) -> Author | None:
    channel = snippet.get("authorChannelId")
    native_id = read_id(channel.get("value") if isinstance(channel, Mapping) else None)
    if native_id is None:
        return None
    name = read_text(snippet.get("authorDisplayName"))
    handle = name if name and name.startswith("@") else None
    return Author(source=source, native_id=native_id, handle=handle, name=name)


def _raw(snippet: Mapping[str, Any], video: str | None) -> dict[str, Any]:
    """Where a comment stands; nothing of its text and author, or of who reads it."""
    values = {
        "video_id": video,
        "channel_id": read_id(snippet.get("channelId")),
        "updated_at": read_text(snippet.get("updatedAt")),
    }
    return {name: value for name, value in values.items() if value is not None}
