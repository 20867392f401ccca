"""Posts of Discourse to mentions and updates; ids have the forum in front: "forum.example/12"."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from selectolax.lexbor import LexborHTMLParser

from .base import Author, Counts, Mention, Update
from .discourse_api import Forum
from .mapping import Mapped, OddRecord
from .text import clean_text, html_to_text
from .values import read_count, read_id, read_lang, read_text, read_time

# Parsing is slow beyond (see `text`); such a post keeps what it quotes.
_MOST_TAGS = 10_000
_QUOTE = re.compile(r"\[(/?)quote\b[^\[\]]{0,200}\]", re.IGNORECASE)
_LIKE = 2
_REGULAR = 1


@dataclass(frozen=True, slots=True, kw_only=True)
class Topic:
    """What posts of a topic do not say themselves; `root` is the id of its first post."""

    title: str | None = None
    root: str | None = None
    views: int | None = None
    posts: int | None = None


def read_topic(body: object) -> Topic:
    """The topic in the answer to t/ID.json; all None for anything else."""
    topic = body if isinstance(body, Mapping) else {}
    stream = read_stream(body)
    return Topic(
        title=read_text(topic.get("title")),
        root=stream[0] if stream else None,
        views=read_count(topic.get("views")),
        posts=read_count(topic.get("posts_count")),
    )


def read_stream(body: object) -> list[str]:
    """The ids of all posts of a topic, the first one first; empty when the answer has none."""
    match body:
        case {"post_stream": {"stream": list(ids)}}:
            return [one for one in map(read_number, ids) if one]
    return []


def map_posts(
    records: Sequence[object],
    forum: Forum,
    source: str,
    topic: Topic = Topic(),
    numbers: dict[int, str] | None = None,
) -> Mapped:
    """The mentions in `records`, posts of one topic, and why others were skipped.

    `numbers` has the ids of posts by their number in the topic; those of `records` are added.
    """
    numbers = {} if numbers is None else numbers
    for record in records:
        number, native_id = post_number(record), post_id(record)
        if number is not None and native_id:
            numbers[number] = native_id
    mentions: list[Mention] = []
    skipped: list[str] = []
    for record in records:
        try:
            mentions.append(to_mention(record, forum, source, topic, numbers))
        except OddRecord as odd:
            skipped.append(odd.reason)
    return Mapped(tuple(mentions), tuple(skipped))


def to_mention(
    record: object, forum: Forum, source: str, topic: Topic, numbers: Mapping[int, str]
) -> Mention:
    """The mention of a post; OddRecord when it is removed, no post of a person, or has no text."""
    native_id = post_id(record)
    if not isinstance(record, Mapping) or native_id is None or "username" not in record:
        raise OddRecord("no post")
    if "cooked" not in record and "blurb" in record:
        raise OddRecord("only the beginning of a post")
    if removed(record):
        raise OddRecord("deleted or hidden")
    if record.get("post_type", _REGULAR) != _REGULAR:
        raise OddRecord("a notice of the forum")
    time = read_time(record.get("created_at"))
    if time is None:
        raise OddRecord("without a date")
    text = _text(record)
    first = post_number(record) == 1
    title = (topic.title or read_text(record.get("topic_title"))) if first else None
    if not (text or title):
        raise OddRecord("without text")
    root = None if first else (topic.root or numbers.get(1))
    answered = post_number(record, "reply_to_post_number")
    parent = root if answered is None else numbers.get(answered)
    return Mention(
        source=source,
        native_id=scoped(forum, native_id),
        text=text,
        published_at=time[0],
        url=_url(record, forum),
        title=title,
        author=_author(record, forum, source),
        lang=read_lang(record.get("locale")),
        parent_id=scoped(forum, parent) if parent and not first else None,
        root_id=scoped(forum, root) if root else None,
        counts=_counts(record, topic, first=first),
        raw={"forum": forum.name, **_raw(record)},
    )


def to_updates(record: object, forum: Forum, source: str, now: datetime) -> Iterator[Update]:
    """What is new about a known post: that it is gone, or its figures and its last edit."""
    native_id = post_id(record)
    if not isinstance(record, Mapping) or native_id is None:
        return
    scoped_id = scoped(forum, native_id)
    if reason := removed(record):
        yield Update(source=source, native_id=scoped_id, kind="tombstone", at=now, reason=reason)
        return
    counts = _counts(record, Topic(), first=False)
    yield Update(source=source, native_id=scoped_id, kind="metrics", at=now, counts=counts)
    version, time = read_count(record.get("version")), read_time(record.get("updated_at"))
    text = _text(record)
    if version is not None and version > 1 and time and text:
        yield Update(
            source=source, native_id=scoped_id, kind="edit", at=min(time[0], now), text=text
        )


def map_payload(
    body: object, *, url: str = "https://forum.example", source: str = "discourse"
) -> Mapped:
    """The posts in any answer of a forum, and why other records of it were skipped."""
    forum = Forum(url=url)
    match body:
        case {"latest_posts": list(records)} | {"posts": list(records)}:
            # Of several topics: post numbers of one mean nothing in another.
            parts = [map_posts([one], forum, source) for one in records]
            return Mapped(
                tuple(mention for part in parts for mention in part.mentions),
                tuple(reason for part in parts for reason in part.skipped),
            )
        case {"post_stream": {"posts": list(records)}}:
            return map_posts(records, forum, source, read_topic(body))
        case {"topic_list": {"topics": list(topics)}}:
            return Mapped(skipped=("a topic without its posts",) * len(topics))
        case list(records):
            return map_posts(records, forum, source)
    return map_posts([body], forum, source)


def scoped(forum: Forum, native_id: str) -> str:
    """The id of a post as mentions have it."""
    return f"{forum.key}/{native_id}"


def post_id(record: object) -> str | None:
    """The id of a post in its forum."""
    return read_number(record.get("id")) if isinstance(record, Mapping) else None


def post_number(record: object, name: str = "post_number") -> int | None:
    """The number of a post in its topic, from 1 on."""
    number = read_count(record.get(name)) if isinstance(record, Mapping) else None
    return number if number is not None and number > 0 else None


def read_number(value: object) -> str | None:
    """An id of Discourse, which is a whole number, as text; None for anything else."""
    found = read_id(value)
    return found if found and found.isascii() and found.isdecimal() and len(found) < 20 else None


def removed(record: Mapping[str, Any]) -> str | None:
    """Why a post cannot be read any more, or None while it can."""
    if record.get("deleted_at") or record.get("user_deleted"):
        return "deleted at the source"
    return "hidden by the forum" if record.get("hidden") else None


def _text(record: Mapping[str, Any]) -> str:
    """What the author wrote; what the post quotes is by others."""
    cooked, raw = record.get("cooked"), record.get("raw")
    if isinstance(cooked, str) and cooked:
        if "quote" in cooked and cooked.count("<") <= _MOST_TAGS:
            tree = LexborHTMLParser(clean_text(cooked), is_fragment=True)
            for node in tree.css("aside.quote"):
                node.decompose()
            cooked = tree.html or ""
        return html_to_text(cooked)
    return clean_text(_own_words(raw)) if isinstance(raw, str) else ""


def _own_words(raw: str) -> str:
    """What stands outside of [quote]...[/quote], in one pass; one never closed is no quote."""
    kept: list[str] = []
    done, opened = 0, None
    for mark in _QUOTE.finditer(raw):
        if not mark[1] and opened is None:
            opened = mark.start()
        elif mark[1] and opened is not None:
            kept.append(raw[done:opened])
            done, opened = mark.end(), None
    return "".join([*kept, raw[done:]])


def _url(record: Mapping[str, Any], forum: Forum) -> str | None:
    topic, number = read_number(record.get("topic_id")), post_number(record)
    return f"{forum.url}/t/{topic}/{number}" if topic and number else None


def _author(record: Mapping[str, Any], forum: Forum, source: str) -> Author | None:
    handle = read_text(record.get("username"))
    if handle is None:
        return None
    user = read_id(record.get("user_id")) or handle
    return Author(
        source=source,
        native_id=scoped(forum, user),
        handle=handle,
        name=read_text(record.get("name")),
    )


def _counts(record: Mapping[str, Any], topic: Topic, *, first: bool) -> Counts:
    actions = record.get("actions_summary")
    likes = [
        read_count(action.get("count"))
        for action in (actions if isinstance(actions, list) else ())
        if isinstance(action, Mapping) and action.get("id") == _LIKE
    ]
    answers = topic.posts - 1 if first and topic.posts else read_count(record.get("reply_count"))
    return Counts(
        # An action that nobody has taken is left out.
        likes=next(iter(likes), None) or (0 if isinstance(actions, list) else None),
        replies=answers,
        views=topic.views if first else None,
    )


def _raw(record: Mapping[str, Any]) -> dict[str, Any]:
    """Where a post stands, without its text and author."""
    names = ("topic_id", "post_number", "category_id", "version")
    raw: dict[str, Any] = {
        name: number for name in names if (number := read_count(record.get(name))) is not None
    }
    if record.get("accepted_answer") is True:
        raw["accepted_answer"] = True
    if updated := read_text(record.get("updated_at")):
        raw["updated_at"] = updated
    return raw
