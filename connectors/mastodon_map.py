"""Posts of Mastodon and its kin as mentions and updates.

A post has another id on each server, but one `uri` everywhere: that is its native id, so that a
post seen through two servers is stored once. An author is known by the address of the profile,
which is the same everywhere too.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from datetime import datetime
from typing import Any
from urllib.parse import urlsplit

from .base import Author, Counts, Mention, Update
from .mapping import Mapped, OddRecord
from .mastodon_api import explain
from .text import clean_text, html_to_text, web_url
from .values import read_count, read_id, read_lang, read_text, read_time

_PUBLIC = ("public", "unlisted")
_LONGEST_URI = 2_000
_RAW = ("id", "in_reply_to_id", "visibility", "edited_at", "sensitive")


@dataclass(frozen=True, slots=True)
class Status:
    """A post that anybody may read, as the API gives it; `uri` is its native id."""

    uri: str
    data: Mapping[str, Any]

    @property
    def local_id(self) -> str | None:
        """Its id on the server that gave it."""
        return read_id(self.data.get("id"))

    @property
    def answers(self) -> str | None:
        """The id, on that server, of the post that it answers."""
        return read_id(self.data.get("in_reply_to_id"))


@dataclass(frozen=True, slots=True)
class Statuses:
    """What some records hold: posts, each once, and why others were skipped (counted)."""

    found: tuple[Status, ...]
    skipped: Counter[str]


def read_status(record: object) -> Status:
    """The post in a record, the original of a boosted one.

    Raises OddRecord for anything else, and for a post that is not for everybody.
    """
    if isinstance(record, Mapping) and isinstance(record.get("reblog"), Mapping):
        record = record["reblog"]
    if not isinstance(record, Mapping):
        raise OddRecord("not a post")
    if record.get("visibility") not in _PUBLIC:
        raise OddRecord("not public")
    account = record.get("account")
    if isinstance(account, Mapping) and account.get("suspended") is True:
        raise OddRecord("account suspended")
    uri = uri_of(record)
    if uri is None:
        raise OddRecord("without a uri")
    return Status(uri, record)


def uri_of(record: Mapping[str, Any]) -> str | None:
    """What a record says about which post it is; None when that can be no native id."""
    uri = read_id(record.get("uri")) or web_url(record.get("url"))
    return uri if uri and len(uri) <= _LONGEST_URI else None


def read_statuses(records: Iterable[object]) -> Statuses:
    """The posts in `records`, each once."""
    found: dict[str, Status] = {}
    skipped: Counter[str] = Counter()
    for record in records:
        try:
            status = read_status(record)
        except OddRecord as odd:
            skipped[odd.reason] += 1
        else:
            found.setdefault(status.uri, status)
    return Statuses(tuple(found.values()), skipped)


def to_mention(
    status: Status, source: str, *, parent: str | None = None, root: str | None = None
) -> Mention:
    """The mention of a post; `parent` and `root` are native ids.

    The content warning is the title. Choices of a poll and descriptions of pictures are the
    author's words too, and follow the text. Raises OddRecord without a date or any text.
    """
    data = status.data
    time = read_time(data.get("created_at"))
    if time is None:
        raise OddRecord("without a date")
    title, text = read_text(data.get("spoiler_text")), _text(data)
    if not (title or text):
        raise OddRecord("without text")
    return Mention(
        source=source,
        native_id=status.uri,
        url=web_url(data.get("url")) or web_url(status.uri),
        title=title,
        text=text,
        published_at=time[0],
        author=_author(data.get("account"), source),
        lang=read_lang(data.get("language")),
        parent_id=parent,
        root_id=root,
        counts=_counts(data),
        raw=_raw(data),
    )


def to_updates(status: Status, source: str, now: datetime) -> list[Update]:
    """What is new about a known post: its figures, and its text when it was edited."""
    figures = Update(
        source=source, native_id=status.uri, kind="metrics", at=now, counts=_counts(status.data)
    )
    edited = read_time(status.data.get("edited_at"))
    if edited is None:
        return [figures]
    text = _text(status.data)
    edit = Update(source=source, native_id=status.uri, kind="edit", at=edited[0], text=text)
    return [figures, edit]


def to_tombstone(uri: str, source: str, reason: str, now: datetime) -> Update:
    """Word that a post is no longer there for everybody."""
    return Update(source=source, native_id=uri, kind="tombstone", at=now, reason=reason)


def map_payload(payload: Mapping[str, Any], *, source: str = "mastodon", now: datetime) -> Mapped:
    """The mentions in a recorded answer {status, headers, body} of any endpoint of the API.

    `skipped` says why posts in it became none. Raises the ConnectorError that its status means.
    """
    status, body = payload["status"], payload["body"]
    if not 200 <= status < 300:
        problem = body if isinstance(body, dict) else {}
        raise explain(
            status, payload["headers"], problem, place="the server", has_token=True, now=now
        )
    statuses = read_statuses(_posts_in(body))
    mentions: list[Mention] = []
    skipped = list(statuses.skipped.elements())
    known = {one.local_id: one.uri for one in statuses.found}
    for one in statuses.found:
        parent = known.get(one.answers) if one.answers else None
        try:
            mentions.append(to_mention(one, source, parent=parent))
        except OddRecord as odd:
            skipped.append(odd.reason)
    return Mapped(tuple(mentions), tuple(skipped))


def _posts_in(body: object) -> Iterator[object]:
    """The posts of timelines, notifications (grouped ones too), searches and conversations."""
    # A loop, not recursion: whatever can be read may be deeper than Python's stack.
    waiting = [body]
    while waiting:
        match waiting.pop():
            case {"content": _, "visibility": _, "uri": _} as record:
                yield record
            case {"status": Mapping() as status}:
                waiting.append(status)
            case {"statuses": list(records)} | list(records):
                waiting += (one for one in reversed(records) if isinstance(one, Mapping))
            case {"ancestors": list(above), "descendants": list(below)}:
                waiting += (one for one in [*below[::-1], *above[::-1]] if isinstance(one, Mapping))


def _text(data: Mapping[str, Any]) -> str:
    content = data.get("content")
    parts = [html_to_text(content)] if isinstance(content, str) else []
    match data.get("poll"):
        case {"options": list(options)}:
            parts += [f"- {choice}" for one in options if (choice := _at(one, "title"))]
    media = data.get("media_attachments")
    for one in media if isinstance(media, list) else ():
        if description := _at(one, "description"):
            parts.append(f"[{description}]")
    return "\n".join(filter(None, parts))


def _at(record: object, name: str) -> str | None:
    return read_text(record.get(name)) if isinstance(record, Mapping) else None


def _author(account: object, source: str) -> Author | None:
    if not isinstance(account, Mapping):
        return None
    url = web_url(account.get("url")) or web_url(account.get("uri"))
    acct = _at(account, "acct") or _at(account, "username")
    if acct and "@" not in acct and url:
        # Accounts of the server that was asked are given without it.
        acct = f"{acct}@{urlsplit(url).netloc.lower()}"
    native_id = url or acct
    if native_id is None:
        return None
    return Author(
        source=source,
        native_id=native_id,
        handle=acct,
        name=_at(account, "display_name"),
        followers=_figure(account.get("followers_count")),
    )


def _counts(data: Mapping[str, Any]) -> Counts:
    return Counts(
        likes=_figure(data.get("favourites_count")),
        replies=_figure(data.get("replies_count")),
        shares=_figure(data.get("reblogs_count")),
    )


def _figure(value: object) -> int | None:
    """A count; some servers write -1 for those that they hide."""
    count = read_count(value)
    return count if count is not None and count >= 0 else None


def _raw(data: Mapping[str, Any]) -> dict[str, Any]:
    """The plain facts of a post, without text and author."""
    raw: dict[str, Any] = {}
    for name in _RAW:
        value = data.get(name)
        if isinstance(value, str):
            raw[name] = clean_text(value)
        elif isinstance(value, bool):
            raw[name] = value
    account = data.get("account")
    if isinstance(account, Mapping) and isinstance(account.get("bot"), bool):
        raw["bot"] = account["bot"]
    match data.get("quote"):
        case {"quoted_status": {"uri": str(uri)}}:
            raw["quote"] = clean_text(uri)
    match data.get("card"):
        case {"url": str(url)} if web_url(url):
            raw["card"] = url
    return raw
