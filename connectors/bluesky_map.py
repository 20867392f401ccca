"""Posts of Bluesky as mentions: views of the AppView, notifications, threads and bare records.

Read from JSON, not through the models of atproto: those are strict, and one odd record in a page
would fail the whole page.
- text: links written out (see `bluesky_text`); the title and address of a link card follow on lines
  of their own, as readers see them. Descriptions of pictures stand in `raw` under "alt", and are
  the text of a post without words. Hashtags that are kept beside the text follow it. A quoted
  post stands in `raw` under "quoted", like on X.
- published_at: when its app says it was written, unless that is later than when it was indexed or
  before the year 2000; then when it was indexed.
- lang: the one language that was declared; where there are several, the text has to tell.
- shares: reposts and quotes together.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from datetime import UTC, datetime
from typing import Any

from .base import Author, Counts, Mention
from .bluesky_text import card, descriptions, read_facets, written_out
from .mapping import NO_DATE, Mapped, OddRecord
from .text import clean_text
from .values import read_count, read_lang, read_text, read_time

POSTS = "app.bsky.feed.post"
"""The collection that posts are in."""

_URI = re.compile(
    rf"at://(did:[a-z]+:[A-Za-z0-9._:%-]{{1,2000}})/{re.escape(POSTS)}/([A-Za-z0-9._~:-]{{1,512}})"
)
_KIND = re.compile(r"[A-Za-z]+(?:\.[A-Za-z]+)+(?:#[A-Za-z]+)?")
_EARLIEST = datetime(2000, 1, 1, tzinfo=UTC)
_MOST_TAGS = 8
_LISTS = ("posts", "feed", "notifications", "records", "likes", "repostedBy")
_UNKNOWN_HANDLE = "handle.invalid"
_ABSENT = {
    "app.bsky.feed.defs#notFoundPost": "a post that is not there",
    "app.bsky.feed.defs#blockedPost": "a post behind a block",
}


def map_payload(value: object, *, source: str = "bluesky", now: datetime) -> Mapped:
    """The posts in an answer of Bluesky of any kind, or in one record, in their order.

    A repost gives the post itself. Whatever is no post is counted under `skipped`.
    """
    mentions: dict[str, Mention] = {}
    skipped: list[str] = []
    notes: list[str] = []
    for item in records(value):
        try:
            mention, note = to_mention(item, source=source, now=now)
        except OddRecord as odd:
            skipped.append(odd.reason)
            continue
        mentions.setdefault(mention.native_id, mention)
        notes += note
    return Mapped(tuple(mentions.values()), tuple(skipped), tuple(notes))


def records(value: object) -> list[object]:
    """The records of an answer; a thread gives all of its nodes."""
    found: list[object] = []
    # A loop, not recursion: whatever can be read may be deeper than Python's stack.
    waiting = [value]
    while waiting:
        one = waiting.pop()
        if isinstance(one, list):
            waiting += reversed(one)
        elif not isinstance(one, Mapping):
            found.append(one)
        elif "thread" in one or _kind(one).endswith("#threadViewPost"):
            found += (node for node, _ in thread_nodes(one.get("thread", one)))
        elif lists := [one[name] for name in _LISTS if isinstance(one.get(name), list)]:
            waiting += reversed(lists[0])
        else:
            found.append(one["post"] if isinstance(one.get("post"), Mapping) else one)
    return found


def _kind(item: Mapping[str, Any]) -> str:
    return kind if isinstance(kind := item.get("$type"), str) else ""


def thread_nodes(thread: object) -> Iterator[tuple[object, bool]]:
    """The posts of a thread, and whether the answers of each were cut off.

    A loop, not recursion: threads may be deeper than Python's stack.
    """
    waiting = [thread]
    while waiting:
        node = waiting.pop()
        if not isinstance(node, Mapping) or "post" not in node:
            yield node, False
            continue
        replies, post = node.get("replies"), node["post"]
        counted = read_count(post.get("replyCount")) if isinstance(post, Mapping) else None
        yield post, replies is None and bool(counted)
        waiting += reversed(replies) if isinstance(replies, list) else []
        if "parent" in node:
            waiting.append(node["parent"])


def to_mention(item: object, *, source: str, now: datetime) -> tuple[Mention, list[str]]:
    """The mention of a view, notification or stored record, and notes on it.

    Raises OddRecord for what is no post, has no id or no text.
    """
    if not isinstance(item, Mapping):
        raise OddRecord("not an object")
    if (kind := _kind(item)) in _ABSENT:
        raise OddRecord(_ABSENT[kind])
    inner = (item.get(name) for name in ("record", "value"))
    record = next((one for one in inner if isinstance(one, Mapping)), item)
    given = "$type" in record or "text" not in record
    kind = _kind(record) if given else POSTS
    if kind != POSTS:
        told = kind if _KIND.fullmatch(kind) and len(kind) <= 60 else "of an unknown kind"
        raise OddRecord(f"no post ({told if kind else 'without a kind'})")
    identity = _URI.fullmatch(uri) if isinstance(uri := item.get("uri"), str) else None
    if identity is None:
        raise OddRecord("a post without id")
    return record_mention(identity[1], identity[2], record, item, source=source, now=now)


def record_mention(
    did: str,
    rkey: str,
    record: Mapping[str, Any],
    view: Mapping[str, Any],
    *,
    source: str,
    now: datetime,
) -> tuple[Mention, list[str]]:
    """The mention of a record; `view` is what a server adds, such as "indexedAt" and figures."""
    text = _text(record)
    if not text:
        raise OddRecord("no text")
    published_at = _published_at(record.get("createdAt"), view.get("indexedAt"))
    mention = Mention(
        source=source,
        native_id=post_uri(did, rkey),
        url=f"https://bsky.app/profile/{did}/post/{rkey}",
        text=text,
        published_at=published_at or now,
        author=_author(view.get("author"), did, source),
        lang=_lang(record.get("langs")),
        parent_id=_answered(record, "parent"),
        root_id=_answered(record, "root"),
        counts=read_counts(view),
        raw=_raw(record, view, text),
    )
    return mention, [] if published_at else [NO_DATE]


def read_counts(view: Mapping[str, Any]) -> Counts:
    """The figures of a view; a quote counts as a share."""
    shares = [read_count(view.get(name)) for name in ("repostCount", "quoteCount")]
    known = [count for count in shares if count is not None]
    return Counts(
        likes=read_count(view.get("likeCount")),
        replies=read_count(view.get("replyCount")),
        shares=sum(known) if known else None,
    )


def sort_time(item: object) -> datetime | None:
    """By which Bluesky orders an item: notifications by their arrival, posts by the earlier of when
    they were written and indexed."""
    if not isinstance(item, Mapping):
        return None
    times = [read_time(item.get("indexedAt"))]
    record = item.get("record")
    if "reason" not in item and isinstance(record, Mapping):
        times.append(read_time(record.get("createdAt")))
    return min((time for time, _ in filter(None, times)), default=None)


def post_uri(did: str, rkey: str) -> str:
    """The id of a post by its author and record key."""
    return f"at://{did}/{POSTS}/{rkey}"


def split_uri(uri: str) -> tuple[str, str] | None:
    """Author and record key of a post's id; None for anything else."""
    found = _URI.fullmatch(uri)
    return (found[1], found[2]) if found else None


def _text(record: Mapping[str, Any]) -> str:
    given = record.get("text")
    given = given if isinstance(given, str) else ""
    lines = [written_out(given, read_facets(given, record.get("facets")))]
    if shared := card(record.get("embed")):
        title, link = shared
        lines += [one for one in (title, link) if one not in lines[0]]
    lines = [one for one in lines if one] or [*descriptions(record.get("embed"))]
    if tags := _tags(record.get("tags"), given):
        lines.append(tags)
    return "\n".join(lines)


def _tags(tags: object, text: str) -> str:
    """Hashtags that an app keeps beside the text, without those that are in it."""
    given = tags[:_MOST_TAGS] if isinstance(tags, list) else []
    found = [clean_text(one) for one in given if isinstance(one, str)]
    return " ".join(f"#{one}" for one in found if one and f"#{one}".lower() not in text.lower())


def _published_at(created: object, indexed: object) -> datetime | None:
    written, seen = read_time(created), read_time(indexed)
    if written is None or seen is None:
        found = written or seen
        return found[0] if found else None
    return written[0] if _EARLIEST <= written[0] <= seen[0] else seen[0]


def _author(value: object, did: str, source: str) -> Author:
    author = value if isinstance(value, Mapping) else {}
    handle = read_text(author.get("handle"))
    return Author(
        source=source,
        native_id=did,
        handle=None if handle == _UNKNOWN_HANDLE else handle,
        name=read_text(author.get("displayName")),
        followers=read_count(author.get("followersCount")),
    )


def _lang(langs: object) -> str | None:
    known = {read_lang(one) for one in langs} if isinstance(langs, list) else set()
    return known.pop() if len(known) == 1 else None


def _answered(record: Mapping[str, Any], which: str) -> str | None:
    reply = record.get("reply")
    ref = reply.get(which) if isinstance(reply, Mapping) else None
    uri = ref.get("uri") if isinstance(ref, Mapping) else None
    return uri if isinstance(uri, str) and _URI.fullmatch(uri) else None


def _raw(record: Mapping[str, Any], view: Mapping[str, Any], text: str) -> dict[str, Any]:
    """What a mention has no place for; facets are by code points of the text as it was written."""
    raw: dict[str, Any] = {}
    given = record.get("text")
    if isinstance(given, str) and (written := clean_text(given)) != text:
        raw["text"] = written
    if isinstance(given, str) and (facets := read_facets(given, record.get("facets"))):
        raw["facets"] = [[one.start, one.end, one.kind, clean_text(one.value)] for one in facets]
    langs = record.get("langs")
    if isinstance(langs, list) and len(langs) > 1:
        raw["langs"] = [clean_text(one) for one in langs[:10] if isinstance(one, str)]
    for name, value in (
        ("cid", view.get("cid")),
        ("created_at", record.get("createdAt")),
        ("indexed_at", view.get("indexedAt")),
    ):
        if found := read_text(value):
            raw[name] = found
    if alt := descriptions(record.get("embed")):
        raw["alt"] = list(alt)
    if labels := _labels(view.get("labels")) or _labels(record.get("labels")):
        raw["labels"] = labels
    if quoted := _quoted(record.get("embed"), view.get("embed")):
        raw["quoted"] = quoted
    return raw


def _labels(labels: object) -> list[str]:
    """Values of labels, those of moderators or those that the author gave (under "values")."""
    given = labels.get("values") if isinstance(labels, Mapping) else labels
    objects = given if isinstance(given, list) else []
    values = (one.get("val") for one in objects if isinstance(one, Mapping))
    return sorted({found for one in values if (found := read_text(one))})


def _quoted(embed: object, shown: object) -> dict[str, str]:
    """Id of the quoted post, and its author and text when the server shows them."""
    uri = read_text(_reference(embed).get("uri"))
    view = _reference(shown)
    author, value = view.get("author"), view.get("value")
    handle = author.get("handle") if isinstance(author, Mapping) else None
    text = value.get("text") if isinstance(value, Mapping) else None
    found = {"id": uri, "author": read_text(handle), "text": read_text(text)}
    return {name: one for name, one in found.items() if one}


def _reference(embed: object) -> Mapping[str, Any]:
    """The record in an embed; beside media it lies one level deeper."""
    found: object = embed
    while isinstance(found, Mapping) and isinstance(found.get("record"), Mapping):
        found = found["record"]
    return found if isinstance(found, Mapping) and found is not embed else {}
