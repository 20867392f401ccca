"""Pages of the X API v2 as twarc2 writes them: a page or a flattened post a line, or one page.

Authors and the full text of retweets come from `includes`. A retweet's text is "RT @user: " and the
whole original; a quote keeps its own text, the quoted one stands in `raw` under "quoted". Posts
that are only in `includes` give no mention of their own.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import IO, Any

from .base import Author, BadConfig, Capabilities, Counts, Mention
from .files import FileConnector
from .mapping import NO_DATE, Mapped, OddRecord
from .records import Place, Record, is_lines, json_lines, json_values
from .text import clean_text, web_url
from .values import is_number, read_count, read_id, read_lang, read_text, read_time, unescape

# Milliseconds of the first id that holds its own time (X's Snowflake: id >> 22 is the time since).
_SNOWFLAKE_EPOCH = datetime.fromtimestamp(0, UTC) + timedelta(milliseconds=1_288_834_974_657)
_FIRST_SNOWFLAKE = 29_700_859_247
SHORT_LINK = re.compile(r"https?://t\.co/\w+")
_RETWEET = re.compile(r"RT @(\w+): ")
_TITLE = re.compile(r"[A-Za-z -]{1,40}")
_CUT_RETWEET = "retweet cut off, its original is not in the file"

_Post = Mapping[str, Any]


class Twarc(FileConnector):
    """Posts of X in files written by twarc2 (search, stream, timeline, conversation, flatten)."""

    def __init__(
        self,
        path: str | Path,
        mapping: Mapping[str, str] | None = None,
        source: str | None = None,
        page_size: int = 100,
    ) -> None:
        if mapping:
            raise BadConfig(
                "--map does not apply to pages of X, whose fields are known; leave it out"
            )
        super().__init__(path, None, source or "x", page_size)

    def capabilities(self) -> Capabilities:
        """What this connector can do; makes no request."""
        return Capabilities(
            by_query=False,
            prefiltered=True,
            gives="posts of X with authors, threads, full retweets and figures",
            needs="a file written by twarc2, also .gz",
        )

    def _grows(self, stream: IO[bytes]) -> bool:
        return super()._grows(stream) and is_lines(stream)

    def _records(self, stream: IO[bytes], start: Place) -> Iterator[Record]:
        return (json_lines if is_lines(stream) else json_values)(stream, start)

    def _mentions(self, value: object, now: datetime) -> Mapped:
        return page_mentions(value, source=self.source, now=now)


def is_twarc(value: object) -> bool:
    """Whether a JSON value is a page of the X API v2 or a post flattened out of one."""
    if not isinstance(value, Mapping):
        return False
    page = "data" in value and ("includes" in value or "__twarc" in value or "meta" in value)
    return page or {"text", "author_id", "conversation_id"} <= value.keys()


def page_mentions(value: object, *, source: str = "x", now: datetime) -> Mapped:
    """The posts of one page (or one flattened post) as mentions, in the order of the page.

    A post that was edited has the id of its first version, which no edit changes, and the text of
    its newest one when the page has it. Raises OddRecord for what is no page.
    """
    if not isinstance(value, Mapping):
        raise OddRecord("not an object")
    page = _Page.of(value)
    if page is None:
        raise OddRecord("not a page of the X API")
    mentions: dict[str, Mention] = {}
    skipped: list[str] = []
    notes = [f"partial error, {title}" for title in _error_titles(value)]
    for post in page.posts:
        try:
            mention = _mention(post, page, source, notes, now)
        except OddRecord as odd:
            skipped.append(odd.reason)
        else:
            mentions[mention.native_id] = mention
    return Mapped(tuple(mentions.values()), tuple(skipped), tuple(notes))


def id_time(native_id: str) -> datetime | None:
    """When the post of this id was posted; None for ids of before November 2010."""
    if not native_id.isdecimal() or len(native_id) > 19:
        return None
    if not _FIRST_SNOWFLAKE <= int(native_id) < 2**63:
        return None
    return _SNOWFLAKE_EPOCH + timedelta(milliseconds=int(native_id) >> 22)


def first_id(time: datetime) -> int:
    """The lowest id that a post of this millisecond (aware UTC) can have."""
    return max((time - _SNOWFLAKE_EPOCH) // timedelta(milliseconds=1), 0) << 22


@dataclass(frozen=True, slots=True)
class _Page:
    """The posts of a page, all users and posts it knows by id, and the versions of edited ones.

    `first` and `newest` map the id of any version to that of the first and of the newest one.
    """

    posts: Sequence[_Post]
    users: Mapping[str, Mapping[str, Any]]
    known: Mapping[str, _Post]
    first: Mapping[str, str]
    newest: Mapping[str, str]

    @classmethod
    def of(cls, value: Mapping[str, Any]) -> _Page | None:
        data = value.get("data")
        if "text" in value and "data" not in value:
            posts = [value]
        elif value.keys() & {"data", "includes", "meta", "errors"}:
            posts = _objects(data if isinstance(data, list) else [data])
        else:
            return None
        includes = value.get("includes")
        includes = includes if isinstance(includes, Mapping) else {}
        inner = [ref for post in posts for ref in _references(post) if "text" in ref]
        known = _by_id([*inner, *_objects(includes.get("tweets")), *posts])
        authors = _objects([post.get("author") for post in (*inner, *posts)])
        users = _by_id([*authors, *_objects(includes.get("users"))])
        histories = [_versions(post) for post in known.values()]
        first = {one: min(ids, key=int) for ids in histories for one in ids}
        newest = {one: max(ids, key=int) for ids in histories for one in ids}
        return cls(posts, users, known, first, newest)

    def handle(self, post: _Post) -> str | None:
        user = self.users.get(read_id(post.get("author_id")) or "", {})
        return read_text(user.get("username"))


def _mention(post: _Post, page: _Page, source: str, notes: list[str], now: datetime) -> Mention:
    given_id = read_id(post.get("id"))
    if given_id is None:
        raise OddRecord("a post without id")
    native_id, newest_id = page.first.get(given_id, given_id), page.newest.get(given_id, given_id)
    post = page.known.get(newest_id, post)
    text = _text(post, page)
    if not text:
        raise OddRecord("no text, so not a post")
    if text.endswith("…") and _referenced(post, "retweeted"):
        notes.append(_CUT_RETWEET)
    published_at = _published_at(post, native_id)
    if published_at is None:
        notes.append(NO_DATE)
    parent_id = _referenced(post, "replied_to")
    root_id = read_id(post.get("conversation_id"))
    return Mention(
        source=source,
        native_id=native_id,
        url=f"https://x.com/{page.handle(post) or 'i'}/status/{newest_id}",
        text=text,
        published_at=published_at or now,
        author=_author(post, page, source),
        lang=read_lang(post.get("lang")),
        parent_id=page.first.get(parent_id, parent_id) if parent_id else None,
        root_id=page.first.get(root_id, root_id) if root_id else None,
        counts=_counts(post),
        raw=_raw(post, page),
    )


def _text(post: _Post, page: _Page) -> str:
    original = page.known.get(_referenced(post, "retweeted") or "")
    own = _own_text(post)
    if original is None:
        return own
    prefix = _RETWEET.match(own)
    handle = page.handle(original) or (prefix[1] if prefix else None)
    whole = _own_text(original)
    return f"RT @{handle}: {whole}" if handle and whole else own


def _own_text(post: _Post) -> str:
    """The whole text with short links written out.

    Links are found by their text, not their offsets, which do not fit a long or a retweeted post.
    """
    note = post.get("note_tweet")
    note = note if isinstance(note, Mapping) else {}
    links: dict[str, str] = {}
    for part in (post, note):
        entities = part.get("entities")
        for link in _objects(entities.get("urls") if isinstance(entities, Mapping) else None):
            short, full = link.get("url"), web_url(link.get("expanded_url"))
            if isinstance(short, str) and full:
                links[short] = full
    text = unescape(read_text(note.get("text")) or read_text(post.get("text")) or "")
    return clean_text(SHORT_LINK.sub(lambda found: links.get(found[0], found[0]), text))


def _published_at(post: _Post, native_id: str) -> datetime | None:
    """When it was first posted; the id says so too, and not every file has `created_at`."""
    time = read_time(post.get("created_at"))
    if time and native_id == read_id(post.get("id")):
        return time[0]
    return id_time(native_id) or (time[0] if time else None)


def _author(post: _Post, page: _Page, source: str) -> Author | None:
    native_id = read_id(post.get("author_id"))
    if native_id is None:
        return None
    user = page.users.get(native_id, {})
    figures = user.get("public_metrics")
    followers = figures.get("followers_count") if isinstance(figures, Mapping) else None
    return Author(
        source=source,
        native_id=native_id,
        handle=read_text(user.get("username")),
        name=read_text(user.get("name")),
        followers=read_count(followers),
    )


def _counts(post: _Post) -> Counts:
    """Figures of a post. X gives a retweet the shares of its original, which are not its own."""
    figures = post.get("public_metrics")
    if not isinstance(figures, Mapping):
        return Counts()
    shares = [read_count(figures.get(name)) for name in ("retweet_count", "quote_count")]
    known = [count for count in shares if count is not None]
    return Counts(
        likes=read_count(figures.get("like_count")),
        replies=read_count(figures.get("reply_count")),
        shares=sum(known) if known and not _referenced(post, "retweeted") else None,
        views=read_count(figures.get("impression_count")),
    )


def _raw(post: _Post, page: _Page) -> dict[str, Any]:
    raw = {**post}
    quoted = page.known.get(_referenced(post, "quoted") or "")
    if quoted is not None:
        raw["quoted"] = {
            "id": quoted.get("id"),
            "author": page.handle(quoted),
            "text": _own_text(quoted),
        }
    return raw


def _referenced(post: _Post, kind: str) -> str | None:
    found = (ref for ref in _references(post) if ref.get("type") == kind)
    return next((read_id(ref.get("id")) for ref in found), None)


def _references(post: _Post) -> list[Mapping[str, Any]]:
    return _objects(post.get("referenced_tweets"))


def _versions(post: _Post) -> list[str]:
    """Ids of all versions of a post; empty when it was never edited."""
    history = post.get("edit_history_tweet_ids")
    ids = [read_id(value) or "" for value in history] if isinstance(history, list) else []
    return ids if len(ids) > 1 and all(map(is_number, ids)) else []


def _error_titles(value: Mapping[str, Any]) -> Iterator[str]:
    """The kind of each error beside the data; the rest of an error may name a person."""
    for error in _objects(value.get("errors")):
        title = error.get("title")
        yield title if isinstance(title, str) and _TITLE.fullmatch(title) else "without title"


def _by_id(found: Sequence[Mapping[str, Any]]) -> dict[str, Mapping[str, Any]]:
    return {key: item for item in found if (key := read_id(item.get("id")))}


def _objects(value: object) -> list[Mapping[str, Any]]:
    return [item for item in value if isinstance(item, Mapping)] if isinstance(value, list) else []
