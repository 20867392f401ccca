"""Any JSON object or table row to mentions: field names tried in order, wrong types survived.

Shapes of Hacker News and Reddit are recognised; threads nested under `comments`, `replies` or
`children` give the post and its answers.
"""

from __future__ import annotations

import difflib
import hashlib
import re
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, replace
from datetime import datetime
from typing import Any, Literal, TypeVar

from .base import Author, BadConfig, Counts, Mention
from .text import clean_text, html_to_text, web_url
from .values import plain, read_count, read_id, read_lang, read_text, read_time, unescape

# Names as `plain` spells them: lower case, without accents, blanks and punctuation.
_NAMES = {
    "text": "text body selftext fulltext content contenttext textoriginal message comment "
    "commenttext storytext review reviewtext tweet post description texto comentario mensaje "
    "contenido resena opinion",
    "title": "title headline subject titulo asunto",
    "native_id": "nativeid id idstr commentid objectid reviewid tweetid messageid postid guid uuid",
    "url": "url permalink link permalinkurl href enlace",
    "published_at": "publishedat createdat createdutc createdati created published pubdate date "
    "datetime time timestamp fecha fechapublicacion fechahora",
    "author": "author user username screenname handle by authorname account autor usuario",
    "author_id": "authorid userid authorfullname idautor",
    "author_name": "authordisplayname displayname fullname nombre",
    "followers": "followers followerscount followercount authorfollowers userfollowers seguidores",
    "lang": "lang language langcode idioma lengua",
    "parent_id": "parentid parent inreplytoid inreplytostatusidstr inreplytostatusid inreplyto "
    "replyto",
    "root_id": "rootid conversationid linkid storyid threadid topicid postid",
    "likes": "likes likecount favoritecount favouritescount score points ups upvotes megusta",
    "replies": "replies replycount numcomments commentcount comments descendants respuestas",
    "shares": "shares sharecount retweetcount retweets reposts repostcount compartidos",
    "views": "views viewcount impressioncount impressions vistas visitas",
    "source": "platform source red plataforma fuente",
}
ALIASES: Mapping[str, tuple[str, ...]] = {
    name: tuple(words.split()) for name, words in _NAMES.items()
}
FIELDS = tuple(ALIASES)

_NESTED = ("comments", "replies", "children")
_NOBODY = frozenset({"", "[deleted]", "[removed]"})
_HANDLES = ("username", "screen_name", "handle", "login", "acct", "nickname")
_SHORT_NAME = re.compile(r"[a-z0-9][a-z0-9._-]{0,31}")
_SAME_SITE = {"twitter": "x", "hn": "hackernews"}
_FULLNAME = re.compile(r"t[1-6]_[0-9a-z]+")
_HN_TYPES = frozenset({"story", "comment", "job", "poll", "pollopt"})

NO_DATE = "without a readable date, set to the time of import"
NO_ZONE = "with a date without zone, read as UTC"

_T = TypeVar("_T")
Shape = Literal["", "reddit", "hackernews"]


class OddRecord(Exception):
    """A record that cannot become a mention; `reason` never holds its text."""

    def __init__(self, reason: str) -> None:
        super().__init__(reason)
        self.reason = reason


@dataclass(frozen=True, slots=True)
class Mapped:
    """What a record gave: mentions, why answers inside it were skipped, and notes on the rest."""

    mentions: tuple[Mention, ...] = ()
    skipped: tuple[str, ...] = ()
    notes: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class _Place:
    """Where a record stands: nothing for a post of its own, otherwise what it answers.

    `prefix` goes before the ids of its mention; the ids here are without it.
    """

    source: str | None = None
    shape: Shape = ""
    parent_id: str | None = None
    root_id: str | None = None
    prefix: str = ""


@dataclass(frozen=True, slots=True)
class _Fields:
    """A record with its columns by plain name; `columns` says which column to take for a field."""

    record: Mapping[str, Any]
    columns: Mapping[str, str]
    by_name: Mapping[str, Any]

    def read(self, name: str, convert: Callable[[object], _T | None]) -> _T | None:
        """The first value for the field `name` that `convert` accepts."""
        if name in self.columns:
            return convert(_at(self.record, self.columns[name]))
        for alias in ALIASES[name]:
            if alias in self.by_name:
                value = convert(self.by_name[alias])
                if value is not None:
                    return value
        return None

    def has(self, *names: str) -> bool:
        return any(name in self.by_name for name in names)


def check_columns(columns: Mapping[str, str] | None) -> dict[str, str]:
    """The explicit mapping {field: column} as given; BadConfig when a field is unknown."""
    for name in columns or {}:
        if name not in ALIASES:
            near = difflib.get_close_matches(name, FIELDS, n=1)
            hint = f"; did you mean {near[0]}?" if near else ""
            raise BadConfig(
                f"--map {clean_text(name)[:40]}: no such field{hint} (fields: {', '.join(FIELDS)})"
            )
    return dict(columns or {})


def names_field(column: str, name: str) -> bool:
    """Whether a column called `column` is taken for the field `name` without being told."""
    return plain(column) in ALIASES[name]


def to_mentions(
    record: object,
    *,
    columns: Mapping[str, str] | None = None,
    source: str | None = None,
    unnamed: str = "file",
    prefix: str = "",
    now: datetime,
) -> Mapped:
    """The mentions in one record: the post first, then the answers nested in it.

    `columns` ({field: column, or dotted path}) goes before the names in ALIASES; answers that lack
    such a column are read by those names. `source` names the source of all of them; without it a
    platform or source column, the recognised site or `unnamed` does. `prefix` goes before the ids
    of `unnamed`, which no site keeps unique. A missing date becomes `now` with a note. Raises
    OddRecord when there is no mention in it.
    """
    if not isinstance(record, Mapping):
        raise OddRecord("not an object")
    mentions: list[Mention] = []
    skipped: list[str] = []
    notes: list[str] = []
    todo: list[tuple[Mapping[str, Any], _Place]] = [(record, _Place(source=source))]
    while todo:
        item, place = todo.pop()
        fields = _fields(item, columns or {}, top=item is record)
        place = _settle(fields, place, unnamed, prefix)
        native_id, root_id = _native_id(fields, place), place.root_id
        try:
            mention = _mention(fields, place, native_id, notes, now)
        except OddRecord as odd:
            skipped.append(odd.reason)
        else:
            mentions.append(_prefixed(mention, place.prefix))
            native_id, root_id = mention.native_id, mention.root_id
        below = replace(place, parent_id=native_id, root_id=root_id or native_id)
        todo += reversed([(child, below) for child in _children(item)])
    if not mentions:
        raise OddRecord(skipped[0])
    return Mapped(tuple(mentions), tuple(skipped), tuple(notes))


def content_id(source: str, published_at: datetime | None, title: str, text: str) -> str:
    """A stable id for a post that came without one: 24 hex digits of a SHA-256 of its content."""
    date = published_at.isoformat() if published_at else ""
    parts = (source, date, title, text) if title else (source, date, text)
    return hashlib.sha256("\x1f".join(parts).encode()).hexdigest()[:24]


def _at(record: Mapping[str, Any], path: str) -> object:
    """The value at a column name, else along a dotted path; None where there is none."""
    if path in record:
        return record[path]
    value: object = record
    for key in path.split("."):
        if not isinstance(value, Mapping) or key not in value:
            return None
        value = value[key]
    return value


def _fields(record: Mapping[str, Any], columns: Mapping[str, str], *, top: bool) -> _Fields:
    by_name = {plain(key): record[key] for key in reversed([*record]) if len(key) <= 64}
    if not top:
        columns = {name: c for name, c in columns.items() if _at(record, c) is not None}
    return _Fields(record, columns, by_name)


def _children(record: Mapping[str, Any]) -> Iterator[Mapping[str, Any]]:
    """Answers nested in a record; entries that are not objects (ids of answers) are left out."""
    for key in _NESTED:
        if isinstance(found := record.get(key), list):
            yield from (child for child in found if isinstance(child, Mapping))


def _settle(fields: _Fields, place: _Place, unnamed: str, prefix: str) -> _Place:
    """`place` with source, shape and prefix known."""
    named = fields.read("source", _source_name)
    shape = place.shape or _shape(fields, {named, place.source})
    if source := place.source or named or shape:
        return replace(place, source=source, shape=shape)
    return replace(place, source=unnamed, shape=shape, prefix=prefix)


def _source_name(value: object) -> str | None:
    name = value.strip().lower() if isinstance(value, str) else ""
    name = _SAME_SITE.get(name, name)
    return name if _SHORT_NAME.fullmatch(name) else None


def _shape(fields: _Fields, named: set[str | None]) -> Shape:
    ids = (fields.by_name.get(name) for name in ("id", "name", "linkid", "parentid"))
    if (
        "reddit" in named
        or fields.has("subreddit", "selftext")
        or any(isinstance(value, str) and _FULLNAME.fullmatch(value) for value in ids)
    ):
        return "reddit"
    kind = fields.by_name.get("type")
    item = isinstance(kind, str) and kind in _HN_TYPES and fields.has("by", "storyid", "kids")
    hit = fields.has("objectid") and fields.has("storytext", "commenttext", "storyid")
    return "hackernews" if "hackernews" in named or item or hit else ""


def _native_id(fields: _Fields, place: _Place) -> str | None:
    native_id = fields.read("native_id", read_id)
    if native_id is None or place.shape != "reddit":
        return native_id
    answer = place.parent_id is not None or fields.has("body", "linkid", "commentid")
    return _fullname(native_id, "t1" if answer else "t3")


def _fullname(native_id: str, kind: str) -> str:
    """A Reddit id with its kind, without which a post and a comment may have the same id."""
    return native_id if _FULLNAME.fullmatch(native_id) else f"{kind}_{native_id}"


def _mention(
    fields: _Fields, place: _Place, native_id: str | None, notes: list[str], now: datetime
) -> Mention:
    convert = html_to_text if place.shape == "hackernews" else _identity
    title = convert(fields.read("title", read_text) or "")
    text = convert(fields.read("text", read_text) or "")
    if place.shape == "reddit":
        title, text = unescape(title), unescape(text)
        text = "" if text in _NOBODY else text
    if not text and not title:
        raise OddRecord("no text and no title")
    time = fields.read("published_at", read_time)
    if time is None:
        notes.append(NO_DATE)
    elif not time[1]:
        notes.append(NO_ZONE)
    published_at = time[0] if time else None
    native_id = native_id or content_id(place.source or "", published_at, title, text)
    parent_id, root_id = _thread(fields, place, native_id)
    return Mention(
        source=place.source or "",
        native_id=native_id,
        url=_url(fields, place, native_id, root_id),
        title=title or None,
        text=text,
        published_at=published_at or now,
        author=_author(fields, place),
        lang=fields.read("lang", read_lang),
        parent_id=parent_id,
        root_id=root_id,
        counts=Counts(
            likes=fields.read("likes", read_count),
            replies=fields.read("replies", read_count),
            shares=fields.read("shares", read_count),
            views=fields.read("views", read_count),
        ),
        raw={key: value for key, value in fields.record.items() if not _is_thread(key, value)},
    )


def _prefixed(mention: Mention, prefix: str) -> Mention:
    return replace(
        mention,
        native_id=prefix + mention.native_id,
        parent_id=mention.parent_id and prefix + mention.parent_id,
        root_id=mention.root_id and prefix + mention.root_id,
    )


def _identity(text: str) -> str:
    return text


def _is_thread(key: str, value: object) -> bool:
    return key in _NESTED and isinstance(value, list)


def _thread(fields: _Fields, place: _Place, native_id: str) -> tuple[str | None, str | None]:
    """Ids of the post answered and of the first post of the thread; own columns go first."""
    parent_id = fields.read("parent_id", read_id)
    root_id = fields.read("root_id", read_id)
    if place.shape == "reddit":
        if root_id:
            root_id = _fullname(root_id, "t3")
        if parent_id:
            parent_id = _fullname(parent_id, "t3" if f"t3_{parent_id}" == root_id else "t1")
    parent_id = None if parent_id == native_id else parent_id
    root_id = None if root_id == native_id else root_id
    return parent_id or place.parent_id, root_id or place.root_id


def _url(fields: _Fields, place: _Place, native_id: str, root_id: str | None) -> str | None:
    """Where to read the post itself (on both sites `url` is what a post links to)."""
    if place.shape == "hackernews":
        return f"https://news.ycombinator.com/item?id={native_id}" if native_id.isdigit() else None
    if place.shape != "reddit":
        return fields.read("url", web_url)
    link = fields.by_name.get("permalink")
    if isinstance(link, str) and link.startswith("/"):
        link = f"https://www.reddit.com{link}"
    if found := web_url(link):
        return found
    kind, _, short = native_id.partition("_")
    if kind == "t3":
        return f"https://www.reddit.com/comments/{short}/"
    if kind == "t1" and root_id and root_id.startswith("t3_"):
        return f"https://www.reddit.com/comments/{root_id[3:]}/_/{short}/"
    return fields.read("url", web_url)


def _author(fields: _Fields, place: _Place) -> Author | None:
    given = fields.read("author", _given_author)
    native_id = fields.read("author_id", read_id)
    name = fields.read("author_name", read_text)
    followers = fields.read("followers", read_count)
    handle = given if isinstance(given, str) else None
    if isinstance(given, Mapping):
        inner = _fields(given, {}, top=True)
        handle = next(filter(None, (read_id(given.get(key)) for key in _HANDLES)), None)
        native_id = native_id or inner.read("native_id", read_id)
        name = name or read_text(given.get("name"))
        followers = inner.read("followers", read_count) if followers is None else followers
    handle = handle.removeprefix("@") if handle else None
    if handle in _NOBODY:
        return None
    native_id = native_id or handle or name
    if not native_id:
        return None
    return Author(
        source=place.source or "",
        native_id=native_id,
        handle=handle,
        name=name,
        followers=followers,
    )


def _given_author(value: object) -> Mapping[str, Any] | str | None:
    return value if isinstance(value, Mapping) else read_id(value)
