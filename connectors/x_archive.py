"""The posts in an archive that X gives its users: `data/tweets.js`, or the whole zip file.

The file is JavaScript, `window.YTD.tweets.part0 = [...]`; its posts look like those of the old API,
without an author. Who that is stands in `account.js` beside it.
"""

from __future__ import annotations

import json
import re
import zipfile
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import replace
from datetime import datetime
from functools import cached_property, partial
from pathlib import Path, PurePosixPath
from typing import IO, Any

from .base import Author, BadConfig, Capabilities, Counts, Mention
from .files import FileConnector
from .mapping import NO_DATE, Mapped, OddRecord
from .records import DAMAGE, Place, Record, guarded, json_values, open_bytes, read_head
from .text import web_url
from .twarc import SHORT_LINK, id_time
from .values import is_number, read_count, read_id, read_lang, read_text, read_time, unescape

_START = re.compile(rb"\s*window\.YTD\.(?:tweets?|account)\.part\d+\s*=\s*(?=\[)")
_LONGEST_START = 200
_POSTS = re.compile(r"tweets?(?:-part\d+)?\.js")
# An account is told in a few hundred bytes; what is longer is another file of that name.
_LONGEST_ACCOUNT = 1_000_000
# What a zip file may raise beside its own error: RuntimeError for a password, a packing that Python
# does not know (and JSON nested too deep), ValueError for odd names and places.
_ZIP_FAULTS = (OSError, RuntimeError, ValueError, *DAMAGE)


class XArchive(FileConnector):
    """Posts of one account of X, out of the archive that it downloaded."""

    def __init__(
        self,
        path: str | Path,
        mapping: Mapping[str, str] | None = None,
        source: str | None = None,
        page_size: int = 1000,
    ) -> None:
        if mapping:
            raise BadConfig("--map does not apply to an archive of X, whose fields are known")
        super().__init__(path, None, source or "x", page_size)

    def capabilities(self) -> Capabilities:
        """What this connector can do; makes no request."""
        return Capabilities(
            by_query=False,
            prefiltered=True,
            gives="posts of one account of X",
            needs="tweets.js of its archive, or the whole zip file",
        )

    def _open(self) -> IO[bytes]:
        return self._path.open("rb") if _is_zip(self._path) else open_bytes(self._path)

    def _grows(self, stream: IO[bytes]) -> bool:
        return False

    def _records(self, stream: IO[bytes], start: Place) -> Iterator[Record]:
        count = 0
        for part in _parts(self._path, stream):
            for record in json_values(part, Place(), skip=_start_of(part)):
                count += 1
                if count > start.at:
                    yield replace(record, after=Place(count, record.line))

    def _mentions(self, value: object, now: datetime) -> Mapped:
        return archive_mentions(value, author=self._author, source=self.source, now=now)

    @cached_property
    def _author(self) -> Author | None:
        """The owner of the archive; None without a readable `account.js`."""
        try:
            with _account(self._path) as stream:
                text = _START.sub(b"", stream.read(_LONGEST_ACCOUNT), count=1)
            account = json.loads(text)[0]["account"]
            native_id = read_id(account["accountId"])
            if native_id is None:
                return None
            return Author(
                source=self.source,
                native_id=native_id,
                handle=read_text(account.get("username")),
                name=read_text(account.get("accountDisplayName")),
            )
        except (*_ZIP_FAULTS, LookupError, TypeError, AttributeError):
            return None


def is_archive(path: Path) -> bool:
    """Whether a file, which may be a zip file, holds posts of an archive of X."""
    if not _is_zip(path):
        head = read_head(path, _LONGEST_START)
        return bool(_START.match(head)) and not head.lstrip().startswith(b"window.YTD.account")
    try:
        with zipfile.ZipFile(path) as archive:
            return bool(_posts_in(archive))
    except _ZIP_FAULTS:
        return False


def archive_mentions(value: object, *, author: Author | None, source: str, now: datetime) -> Mapped:
    """The post in one record of `tweets.js`; raises OddRecord for what is none.

    An edited post has the id of its first version, like those that the API gives.
    """
    post = value.get("tweet", value) if isinstance(value, Mapping) else None
    if not isinstance(post, Mapping):
        raise OddRecord("not an object")
    newest = read_id(post.get("id_str")) or read_id(post.get("id"))
    if newest is None:
        raise OddRecord("no id")
    text = _text(post)
    if not text:
        raise OddRecord("no text")
    native_id = _first_version(post) or newest
    time = read_time(post.get("created_at"))
    published_at = time[0] if time else id_time(native_id)
    handle = author.handle if author else None
    parent_id = read_id(post.get("in_reply_to_status_id_str"))
    mention = Mention(
        source=source,
        native_id=native_id,
        text=text,
        published_at=published_at or now,
        url=f"https://x.com/{handle or 'i/web'}/status/{newest}" if newest.isdecimal() else None,
        author=author,
        lang=read_lang(post.get("lang")) if post.get("lang") != "und" else None,
        parent_id=parent_id if parent_id != native_id else None,
        counts=Counts(
            likes=read_count(post.get("favorite_count")),
            shares=read_count(post.get("retweet_count")),
        ),
        raw=dict(post),
    )
    return Mapped((mention,), (), () if published_at else (NO_DATE,))


def _text(post: Mapping[str, Any]) -> str:
    """The text with the addresses that its short links stand for."""
    text = unescape(read_text(post.get("full_text")) or read_text(post.get("text")) or "")
    entities = post.get("entities")
    urls = entities.get("urls") if isinstance(entities, Mapping) else None
    links: dict[str, str] = {}
    for link in urls if isinstance(urls, list) else ():
        if isinstance(link, Mapping):
            short, whole = read_text(link.get("url")), web_url(link.get("expanded_url"))
            if short and whole:
                links[short] = whole
    return SHORT_LINK.sub(lambda found: links.get(found[0], found[0]), text)


def _first_version(post: Mapping[str, Any]) -> str | None:
    info = post.get("edit_info")
    for part in info.values() if isinstance(info, Mapping) else ():
        ids = part.get("editTweetIds") if isinstance(part, Mapping) else None
        found = [one for one in map(read_id, ids if isinstance(ids, list) else ()) if one]
        if found and all(map(is_number, found)):
            return min(found, key=int)
    return None


def _is_zip(path: Path) -> bool:
    return read_head(path, 4) == b"PK\x03\x04"


def _posts_in(archive: zipfile.ZipFile) -> list[zipfile.ZipInfo]:
    # The entries themselves: two of them may have the same name.
    entries = [(PurePosixPath(one.filename), one) for one in archive.infolist() if not one.is_dir()]
    found = [
        (path, one)
        for path, one in entries
        if _POSTS.fullmatch(path.name) and path.parent.name == "data"
    ]
    return [one for _, one in sorted(found, key=lambda pair: pair[0].stem)]


def _parts(path: Path, stream: IO[bytes]) -> Iterator[IO[bytes]]:
    if not _is_zip(path):
        yield stream
        return
    try:
        with zipfile.ZipFile(stream) as archive:
            entries = _posts_in(archive)
            if not entries:
                raise BadConfig("there is no data/tweets.js in it; take the archive of X")
            for entry in entries:
                with archive.open(entry) as part:
                    yield part
    except _ZIP_FAULTS:
        raise BadConfig("the zip file cannot be read; unpack it and name tweets.js") from None


def _start_of(stream: IO[bytes]) -> int:
    """Bytes before the array; BadConfig when the file does not start like one of X."""
    stream.seek(0)
    start = _START.match(guarded(partial(stream.read, _LONGEST_START), "its start"))
    if start is None:
        raise BadConfig("it does not start like tweets.js of an archive of X; take it as X gave it")
    return start.end()


@contextmanager
def _account(path: Path) -> Iterator[IO[bytes]]:
    if not _is_zip(path):
        with path.with_name("account.js").open("rb") as stream:
            yield stream
        return
    with zipfile.ZipFile(path) as archive:
        beside = PurePosixPath(_posts_in(archive)[0].filename).with_name("account.js")
        found = (one for one in archive.infolist() if PurePosixPath(one.filename) == beside)
        with archive.open(next(found, str(beside))) as stream:
            yield stream
