"""What is mutated: recorded payloads, and small files of every format written for this."""
# ruff: noqa: E501  records and documents stand here as they come, one in a line

from __future__ import annotations

import gzip
import io
import json
import random
import warnings
import zipfile
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

import zstandard

from .fuzz_mutate import MARK, dump, marked, mutate_bytes, mutate_json

WORDS = f"¿Alguien sabe qué cafetera comprar? I love the Lumora, {MARK} 👩‍👩‍👧 &amp; https://t.co/a"
_TIME = "2024-05-06T07:08:09Z"
_MAIN = "http://schemas.openxmlformats.org/spreadsheetml/2006/main"
_OFFICE = "http://schemas.openxmlformats.org/officeDocument/2006/relationships"
_PACKAGE = "http://schemas.openxmlformats.org/package/2006/relationships"
# Beyond, a case takes long for what it shows.
_LARGEST = 300_000


@dataclass(frozen=True, slots=True, kw_only=True)
class Format:
    """One way in. `seam` names a mapping, None is a file called `name`.

    `seeds` are read when asked for; `damage` makes the bytes of a case out of one of them.
    """

    name: str
    weight: int
    file: str
    seam: str | None
    seeds: Callable[[Path | None], list[bytes]]
    damage: Callable[[bytes, random.Random], bytes]


def of_json(data: bytes, chance: random.Random) -> bytes:
    """One JSON value: mostly its structure is damaged, else its bytes."""
    if chance.random() < 0.7:
        try:
            return dump(mutate_json(json.loads(data), chance), chance)
        except (ValueError, RecursionError):  # damaged already; one deep value in another
            return mutate_bytes(data, chance)
    return mutate_bytes(data, chance)


def of_lines(data: bytes, chance: random.Random) -> bytes:
    """JSON lines: some of them damaged, some moved."""
    lines = data.splitlines()
    for _ in range(chance.randint(1, 4)):
        at = chance.randrange(len(lines))
        lines[at] = of_json(lines[at], chance).replace(b"\n", b" ")
    if chance.random() < 0.3:
        chance.shuffle(lines)
    end = chance.choice((b"\n", b"\n", b"\n", b"\r\n", b"\n\n", b"\r"))
    found = end.join(lines) + chance.choice((b"", end))
    return mutate_bytes(found, chance) if chance.random() < 0.3 else found


def of_script(data: bytes, chance: random.Random) -> bytes:
    """A file of an archive of X: a line of JavaScript around JSON."""
    start, _, value = data.partition(b"= ")
    if chance.random() < 0.2:
        return mutate_bytes(data, chance)
    return start + b"= " + of_json(value, chance)


def packed(
    pack: Callable[[bytes], bytes],
    inner: Callable[[bytes, random.Random], bytes],
    data: bytes,
    chance: random.Random,
) -> bytes:
    """A packed file: damaged before or after it is packed."""
    if chance.random() < 0.5:
        return pack(inner(data, chance))
    return mutate_bytes(pack(data), chance)


def of_zip(data: bytes, chance: random.Random) -> bytes:
    """A zip file: its entries and their names, or its bytes."""
    with zipfile.ZipFile(io.BytesIO(data)) as given:
        entries = [(one.filename, given.read(one)) for one in given.infolist()]
    kind = chance.random()
    if kind < 0.4:
        return mutate_bytes(data, chance)
    if kind < 0.8:
        at = chance.randrange(len(entries))
        name, content = entries[at]
        inner = of_script if name.endswith(".js") else mutate_bytes
        entries[at] = name, inner(content, chance)
    for _ in range(chance.randint(0, 3)):
        at = chance.randrange(len(entries))
        name, content = entries[at]
        change = chance.choice(("drop", "twice", "rename", "many", "folder"))
        if change == "drop" and len(entries) > 1:
            del entries[at]
        elif change == "twice":
            entries.append((name, content[: len(content) // 2]))
        elif change == "rename":
            prefix = chance.choice(
                ("./", "a/b/c/", "../", "/", "data//", "é/", "\ud800"[:0] + "ñ" * 200)
            )
            entries[at] = prefix + name, content
        elif change == "many":
            entries += [
                (f"data/tweets-part{n}.js", content) for n in range(chance.choice((3, 300)))
            ]
        else:
            entries.append((f"{name}/", b""))
    method = chance.choice(
        (zipfile.ZIP_STORED, zipfile.ZIP_DEFLATED, zipfile.ZIP_BZIP2, zipfile.ZIP_LZMA)
    )
    found = zipped(entries, method)
    if chance.random() < 0.1:  # the mark of a password, in both headers
        found = found.replace(b"PK\x03\x04\x14\x00\x00", b"PK\x03\x04\x14\x00\x01")
        found = found.replace(b"PK\x01\x02\x14\x03\x14\x00\x00", b"PK\x01\x02\x14\x03\x14\x00\x01")
    return found


def zipped(entries: list[tuple[str, bytes]], method: int = zipfile.ZIP_DEFLATED) -> bytes:
    """A zip file with the same bytes each time it is made."""
    out = io.BytesIO()
    with warnings.catch_warnings(), zipfile.ZipFile(out, "w") as archive:
        warnings.simplefilter("ignore", UserWarning)  # names that come twice are meant
        for name, content in entries:
            info = zipfile.ZipInfo(name.encode("utf-8", "replace").decode())
            info.compress_type = zipfile.ZIP_STORED if name.endswith("/") else method
            archive.writestr(info, content)
    return out.getvalue()


def post(number: int, **fields: Any) -> dict[str, Any]:
    """A post as many programs export it."""
    return {
        "id": f"p{number}", "text": f"{WORDS} {number}", "title": f"A title {MARK}", "author": f"ana {MARK}",
        "created_at": _TIME, "url": "https://a.example/1", "likes": 3, "lang": "es", **fields,
    }  # fmt: skip


def _csv(_: Path | None) -> list[bytes]:
    rows = [f'p{n},"{WORDS} {n}, ""sí"", no",2024-05-06 07:08,{n},ana {MARK}' for n in range(6)]
    table = "id,text,date,likes,author\n" + "\n".join(rows) + "\n"
    return [table.encode(), table.replace(",", ";").encode(), table.replace(",", "\t").encode()]


def _jsonl(_: Path | None) -> list[bytes]:
    thread = post(9, comments=[post(10, replies=[post(11)]), post(12)], subreddit="a")
    return ["\n".join(json.dumps(one) for one in (*map(post, range(5)), thread)).encode()]


def _json(_: Path | None) -> list[bytes]:
    return [json.dumps([*map(post, range(5))]).encode(), json.dumps(post(1), indent=1).encode()]


def _tweets() -> list[dict[str, Any]]:
    link = {"url": "https://t.co/a", "expanded_url": "https://lumora.example"}
    base = {
        "created_at": "Mon May 06 07:08:09 +0000 2024",
        "entities": {"urls": [link]},
        "lang": "es",
    }
    ids = [str(1_500_000_000_000_000_000 + n) for n in range(5)]
    edits = {"initial": {"editTweetIds": ids[:2]}}
    return [
        {
            "tweet": {
                **base,
                "id_str": one,
                "full_text": WORDS,
                "favorite_count": "3",
                "edit_info": edits,
            }
        }
        for one in ids
    ]


def _script(name: str, value: Any) -> bytes:
    return f"window.YTD.{name}.part0 = {json.dumps(value)}".encode()


def _x_archive(_: Path | None) -> list[bytes]:
    return [_script("tweets", _tweets())]


def _x_zip(_: Path | None) -> list[bytes]:
    account = [
        {"account": {"accountId": "7", "username": f"ana{MARK}", "accountDisplayName": "Ana"}}
    ]
    return [
        zipped([("data/account.js", _script("account", account)), ("data/tweets.js", _x_archive(None)[0]),
                ("data/tweets-part1.js", _x_archive(None)[0]), ("assets/a.png", b"\x89PNG")])
    ]  # fmt: skip


def _telegram(_: Path | None) -> list[bytes]:
    parts = [f"{WORDS} ", {"type": "text_link", "text": "here", "href": "https://lumora.example"}]
    messages = [
        {"id": n, "type": "message", "date": "2024-05-06T07:08:09", "date_unixtime": "1714979289",
         "from": f"Ana {MARK}", "from_id": "user7", "text": parts if n % 2 else WORDS, "reply_to_message_id": n - 1,
         "reactions": [{"type": "emoji", "count": 2, "emoji": "👍"}],
         "poll": {"question": WORDS, "answers": [{"text": "sí", "voters": 1}]}}
        for n in range(1, 7)
    ]  # fmt: skip
    chat = {"name": "Café", "type": "public_channel", "id": 42, "messages": messages}
    return [
        json.dumps(chat, indent=1).encode(),
        json.dumps({"about": "Telegram", "chats": {"list": [chat, chat]}}).encode(),
    ]


def _excel(_: Path | None) -> list[bytes]:
    def cell(at: str, value: str | int) -> str:
        if isinstance(value, int):
            return f'<c r="{at}"><v>{value}</v></c>'
        return f'<c r="{at}" t="inlineStr"><is><t>{value}</t></is></c>'

    rows: list[tuple[str | int, ...]] = [
        ("id", "text", "likes"),
        *((f"p{n}", WORDS, n) for n in range(5)),
    ]
    lines = "".join(
        f'<row r="{n}">{"".join(cell(f"{letter}{n}", one) for letter, one in zip("ABC", row, strict=True))}</row>'
        for n, row in enumerate(rows, 1)
    )
    book = f'<workbook xmlns="{_MAIN}" xmlns:r="{_OFFICE}"><sheets><sheet name="S" sheetId="1" r:id="rId1"/></sheets></workbook>'
    parts = {
        "_rels/.rels": f'<Relationships xmlns="{_PACKAGE}"><Relationship Id="rId1" Type="{_OFFICE}/officeDocument" Target="xl/workbook.xml"/></Relationships>',
        "xl/workbook.xml": book,
        "xl/_rels/workbook.xml.rels": f'<Relationships xmlns="{_PACKAGE}"><Relationship Id="rId1" Type="{_OFFICE}/worksheet" Target="worksheets/sheet1.xml"/></Relationships>',
        "xl/worksheets/sheet1.xml": f'<worksheet xmlns="{_MAIN}"><sheetData>{lines}</sheetData></worksheet>',
    }
    return [zipped([(name, text.encode()) for name, text in parts.items()])]


def _feeds(payloads: Path | None) -> list[bytes]:
    item = f"<title>{WORDS}</title><description>{WORDS}</description><guid>%d</guid><pubDate>Mon, 06 May 2024 07:08:09 GMT</pubDate>"
    items = "".join(f"<item>{item % n}</item>" for n in range(4)).replace("?I", "&lt;b&gt;I")
    own = f'<?xml version="1.0"?><rss version="2.0"><channel><title>t</title>{items}</channel></rss>'.encode()
    end = f" {MARK}</title>".encode()
    return [own, *(data.replace(b"</title>", end) for data in _read(payloads, "rss", "*.xml"))]


def _appstore(_: Path | None) -> list[bytes]:
    def entry(number: int) -> dict[str, Any]:
        labels = {"updated": _TIME, "im:rating": "4", "im:version": "3.4", "im:voteSum": "2", "id": str(number),
                  "title": f"Good {MARK}", "content": WORDS}  # fmt: skip
        author = {
            "uri": {"label": "https://itunes.apple.com/us/reviews/id77"},
            "name": {"label": f"ana {MARK}"},
        }
        return {**{name: {"label": one} for name, one in labels.items()}, "author": author}

    return [json.dumps({"feed": {"entry": [entry(n) for n in range(1, 6)]}}).encode()]


def _hackernews(payloads: Path | None) -> list[bytes]:
    hit = {
        "objectID": "41",
        "created_at_i": 1_714_979_289,
        "author": f"ana{MARK}",
        "points": 3,
        "num_comments": 1,
    }
    story = {
        **hit,
        "title": f"Ask HN {MARK}",
        "story_text": f"<p>{WORDS}",
        "url": "https://a.example",
        "_tags": ["story"],
    }
    comment = {**hit, "comment_text": f"<i>{WORDS}</i>", "parent_id": 40, "story_id": 40}
    item = {"id": 40, "type": "story", "time": 1_714_979_289, "title": f"T {MARK}", "by": "ana", "children": [
        {"id": 41, "type": "comment", "text": WORDS, "created_at_i": 1_714_979_289, "children": []}]}  # fmt: skip
    own = [{"hits": [story, comment]}, item]
    return [*(json.dumps(one).encode() for one in own), *_bodies(payloads, "hackernews")]


def _jetstream(payloads: Path | None) -> list[bytes]:
    record = {"$type": "app.bsky.feed.post", "text": WORDS, "createdAt": _TIME, "langs": ["es", "en"], "facets": [
        {"index": {"byteStart": 0, "byteEnd": 9}, "features": [{"$type": "app.bsky.richtext.facet#link", "uri": "https://a.example"}]}],
        "embed": {"$type": "app.bsky.embed.external", "external": {"uri": "https://a.example", "title": f"T {MARK}"}}}  # fmt: skip
    records = [
        record,
        *(one for data in _bodies(payloads, "bluesky") for one in _records(json.loads(data))),
    ]
    return [
        json.dumps({"did": "did:plc:abc", "time_us": 1_772_366_000_000_000, "kind": "commit", "commit": {
            "operation": operation, "collection": "app.bsky.feed.post", "rkey": "3k", "cid": "c", "record": one}}).encode()
        for one in records[:200] for operation in ("create", "update", "delete")[: 3 if one is record else 1]
    ]  # fmt: skip


def _records(value: Any) -> Iterator[dict[str, Any]]:
    waiting = [value]
    while waiting:
        one = waiting.pop()
        if isinstance(one, dict):
            if one.get("$type") == "app.bsky.feed.post":
                yield one
            waiting += one.values()
        elif isinstance(one, list):
            waiting += one


def _read(payloads: Path | None, folder: str, pattern: str = "*.json*") -> list[bytes]:
    paths = sorted(payloads.joinpath(folder).rglob(pattern)) if payloads else []
    return [path.read_bytes() for path in paths if 0 < path.stat().st_size <= _LARGEST]


def _bodies(payloads: Path | None, folder: str, *, whole: bool = False) -> list[bytes]:
    """Recorded answers with a mark in each text; without their envelope unless `whole`."""
    found = []
    for data in _read(payloads, folder):
        try:
            value = json.loads(data)
        except ValueError:
            continue
        body = value.get("body") if isinstance(value, Mapping) and "_source" in value else value
        if isinstance(body, dict | list) and body:
            envelope = {"status": 200, "headers": {}, "body": body}
            found.append(json.dumps(marked(envelope if whole else body)).encode())
    return found


def _twarc(payloads: Path | None) -> list[bytes]:
    lines = [
        line
        for data in _read(payloads, "x/twarc")
        for line in data.splitlines()[:3]
        if len(line) < _LARGEST
    ]
    page = {"data": [{"id": "1500000000000000001", "text": WORDS, "author_id": "7", "edit_history_tweet_ids": ["1500000000000000001", "1500000000000000002"]}],
            "includes": {"users": [{"id": "7", "username": "ana", "name": f"Ana {MARK}"}]}, "meta": {}}  # fmt: skip
    return [
        json.dumps(page).encode(),
        *(json.dumps(marked(json.loads(line))).encode() for line in lines if line[-1:] == b"}"),
    ]


def _own(platform: str, value: Any) -> Callable[[Path | None], list[bytes]]:
    return lambda payloads: [
        json.dumps(value).encode(),
        *_bodies(payloads, platform, whole=platform == "mastodon"),
    ]


_STATUS = {"id": "1", "uri": "https://a.example/1", "content": f"<p>{WORDS}</p>", "visibility": "public", "created_at": _TIME,
           "account": {"acct": "ana", "url": "https://a.example/@ana", "display_name": f"Ana {MARK}"}, "language": "es",
           "poll": {"options": [{"title": "sí"}]}, "media_attachments": [{"description": WORDS}], "spoiler_text": f"cw {MARK}"}  # fmt: skip
_THING = {"kind": "t3", "data": {"id": "abc", "title": f"T {MARK}", "selftext": WORDS, "author": "ana", "created_utc": 1_714_979_289.0, "edited": 1_714_979_300.0,
          "subreddit": "coffee", "score": 3, "num_comments": 1, "replies": ""}}  # fmt: skip
_VIEW = {"uri": "at://did:plc:abc/app.bsky.feed.post/3k", "cid": "c", "indexedAt": _TIME, "likeCount": 3, "author": {"did": "did:plc:abc", "handle": "ana.example", "displayName": f"Ana {MARK}"},
         "record": {"$type": "app.bsky.feed.post", "text": WORDS, "createdAt": _TIME, "langs": ["es"]}}  # fmt: skip
_SNIPPET = {
    "videoId": "abcdefghijk",
    "textOriginal": WORDS,
    "textDisplay": WORDS,
    "publishedAt": _TIME,
    "likeCount": 3,
    "authorDisplayName": f"@ana{MARK}",
    "authorChannelId": {"value": "UC1"},
}
_COOKED = {
    "id": 12,
    "username": "ana",
    "cooked": f"<p>{WORDS}</p>",
    "raw": f"[quote=a]b[/quote]{WORDS}",
    "created_at": _TIME,
    "post_number": 1,
    "topic_id": 5,
    "topic_title": f"T {MARK}",
}

_LZ = zstandard.ZstdCompressor()

FORMATS: tuple[Format, ...] = tuple(
    Format(name=name, weight=weight, file=file, seam=seam, seeds=seeds, damage=damage)
    for name, weight, file, seam, seeds, damage in (
        ("x pages", 9, "", "x", lambda p: [*_twarc(p), *_bodies(p, "x")], of_json),
        ("reddit", 9, "", "reddit", _own("reddit", {"kind": "Listing", "data": {"children": [_THING], "after": "t3_b"}}), of_json),
        ("mastodon", 9, "", "mastodon", _own("mastodon", {"status": 200, "headers": {}, "body": [_STATUS]}), of_json),
        ("bluesky", 8, "", "bluesky", _own("bluesky", {"posts": [_VIEW], "cursor": "a"}), of_json),
        ("jetstream", 6, "", "jetstream", _jetstream, of_json),
        ("youtube", 6, "", "youtube", _own("youtube", {"items": [{"id": "t1", "snippet": {"topLevelComment": {"id": "t1", "snippet": _SNIPPET}, "totalReplyCount": 1}}]}), of_json),
        ("discourse", 5, "", "discourse", _own("discourse", {"post_stream": {"posts": [_COOKED], "stream": [12]}, "title": "T"}), of_json),
        ("app store", 3, "", "appstore", _appstore, of_json),
        ("hacker news", 4, "", "hackernews", _hackernews, of_json),
        ("any JSON", 6, "", "mapping", lambda p: [*(json.dumps(post(n)).encode() for n in range(3)), *_bodies(p, "reddit"), *_bodies(p, "youtube")], of_json),
        ("csv", 5, "posts.csv", None, _csv, mutate_bytes),
        ("jsonl", 5, "posts.jsonl", None, _jsonl, of_lines),
        ("json", 3, "posts.json", None, _json, of_json),
        ("twarc", 4, "tweets.jsonl", None, _twarc, of_lines),
        ("x-archive", 3, "tweets.js", None, _x_archive, of_script),
        ("x-archive zip", 3, "twitter.zip", None, _x_zip, of_zip),
        ("telegram", 5, "result.json", None, _telegram, of_json),
        ("excel", 1, "book.xlsx", None, _excel, of_zip),
        ("feed", 6, "feed.xml", None, _feeds, mutate_bytes),
        ("gzip", 2, "posts.jsonl.gz", None, _jsonl, partial(packed, partial(gzip.compress, mtime=0), of_lines)),
        ("gzip telegram", 1, "result.json.gz", None, _telegram, partial(packed, partial(gzip.compress, mtime=0), of_json)),
        ("zstd", 2, "posts.jsonl.zst", None, _jsonl, partial(packed, _LZ.compress, of_lines)),
    )
)  # fmt: skip
"""Every way in, by weight; weights add up to about 100."""
