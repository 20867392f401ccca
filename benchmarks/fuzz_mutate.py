"""Mutations of files and JSON values: a number in, the same damage out."""

from __future__ import annotations

import copy
import json
import random
from collections.abc import Callable
from typing import Any

MARK = "zqcanary"
"""Stands in each text and name that is mutated; no error, warning or log line may show it."""

_TOKENS = (
    *(b"\xef\xbb\xbf", b"\xff\xfe", b"\x00", b"\xed\xa0\x80", b"\xc3", b"\xf0\x9f", b"\r", b"\r\n"),
    *(
        b"\n\n",
        b'"',
        b"'",
        b",",
        b"{",
        b"}",
        b"[",
        b"]",
        b"<",
        b"&",
        b"]]>",
        b"<!--",
        b"-->",
        b"\\",
    ),
    *(
        b"\\ud800",
        b"NaN",
        b"-Infinity",
        b"1e999",
        b"null",
        b"9" * 5_000,
        b"\x1b[31m",
        b"\xe2\x80\xae",
    ),
    *(
        b"[" * 300,
        b'{"a":' * 300,
        b"<b>" * 2_000,
        b"<!DOCTYPE a>",
        b"<!-- a -->" * 40,
        b'x"y,"z\n' * 400,
    ),
)
_TEXTS = (
    *(
        "",
        " ",
        "\x00",
        "\ud800",
        "\r\n",
        "\u202e",
        "9" * 5_000,
        "9" * 30,
        "-1",
        "1e999",
        "NaN",
        "und",
    ),
    *(
        "[deleted]",
        "0001-01-01T00:00:00+14:00",
        "9999-12-31T23:59:59-14:00",
        "Mon, 99 Xxx 0000 99:99",
    ),
    *("2024-05-06", "1714979289000000000", "at://did:plc:a/app.bsky.feed.post/a", "t3_", "@", "#"),
    *("javascript:alert(1)", "http://[::1", "https://a.example/" + "a" * 5_000, "e\u0301" * 500),
    *(
        "\U0001f469\u200d\U0001f469\u200d\U0001f467" * 50,
        "[quote]" * 300,
        "<div>" * 3_000,
        "&#x110000;",
    ),
)
_OTHERS: tuple[Any, ...] = (
    *(None, True, False, 0, -1, 2**63, -(2**63) - 1, 10**30, 10**60, 1.5, -0.0, 1e308),
    *(float("inf"), float("nan"), 253402300800, -62135596801, [], {}, [None], [[]], {"": None}),
)
_TEXT_KEYS = frozenset(
    {
        *("author", "body", "comment_text", "content", "cooked", "description", "displayName"),
        *("display_name", "full_text", "handle", "label", "name", "note", "raw", "selftext"),
        *("spoiler_text", "story_text", "text", "textDisplay", "textOriginal", "title"),
        "username",
    }
)


def marked(value: Any, key: str = "") -> Any:
    """A copy of a JSON value with `MARK` behind each text and name in it."""
    if isinstance(value, dict):
        return {name: marked(one, name) for name, one in value.items()}
    if isinstance(value, list):
        return [marked(one, key) for one in value]
    plain = isinstance(value, str) and key in _TEXT_KEYS and " " in value
    return f"{value} {MARK}" if plain else value


def mutate_bytes(data: bytes, chance: random.Random) -> bytes:
    """`data` with one to four pieces of damage; one time in a thousand 10 MB longer."""
    found = bytearray(data)
    for _ in range(chance.randint(1, 4)):
        chance.choice(_DAMAGES)(found, chance)
    if chance.random() < 0.001:
        at = _place(found, chance)
        found[at:at] = chance.choice((b"a", b"9", b"\n", b'"', b"<p>", b"\xff")) * 10_000_000
    return bytes(found)


def mutate_json(value: Any, chance: random.Random) -> Any:
    """A copy of `value` with one to six changes: keys, types, sizes, depth, order."""
    root = [copy.deepcopy(value)]
    for _ in range(chance.randint(1, 6)):
        holder, key = _spot(root, chance)
        holder[key] = chance.choice(_CHANGES)(holder[key], root, chance)
        if isinstance(holder, dict) and chance.random() < 0.2:
            name = str(chance.choice(list(holder)))
            old = holder.pop(name, None)
            if chance.random() < 0.6:
                holder[chance.choice([name.upper(), f"{name}s", "", "\ud800", "id", "text"])] = old
    return root[0]


def dump(value: Any, chance: random.Random) -> bytes:
    """`value` as JSON in one of the spellings that programs write."""
    text = json.dumps(
        value, ensure_ascii=chance.random() < 0.5, indent=chance.choice([None, None, 1])
    )
    return text.encode("utf-8", "surrogatepass")


def nested(depth: int, chance: random.Random) -> Any:
    """Lists or objects, one in the other."""
    found: Any = "deep"
    key = chance.choice(["", "replies", "children", "data", "status", "record", "parent"])
    for _ in range(depth):
        found = {key: found} if key else [found]
    return found


def _place(data: bytearray, chance: random.Random) -> int:
    return chance.randint(0, len(data))


def _span(data: bytearray, chance: random.Random) -> slice:
    start = _place(data, chance)
    return slice(start, start + chance.choice((1, 2, 8, 64, 1024, max(len(data) // 3, 1))))


def _flip(data: bytearray, chance: random.Random) -> None:
    for _ in range(min(chance.choice((1, 1, 2, 8, 64)), len(data))):
        data[chance.randrange(len(data))] ^= 1 << chance.randrange(8)


def _cut(data: bytearray, chance: random.Random) -> None:
    del data[_place(data, chance) :]


def _remove(data: bytearray, chance: random.Random) -> None:
    del data[_span(data, chance)]


def _repeat(data: bytearray, chance: random.Random) -> None:
    piece = bytes(data[_span(data, chance)])
    at = _place(data, chance)
    data[at:at] = piece * chance.choice((1, 1, 2, 30))


def _insert(data: bytearray, chance: random.Random) -> None:
    at = chance.choice((0, _place(data, chance), len(data)))
    data[at:at] = chance.choice(_TOKENS)


def _swap(data: bytearray, chance: random.Random) -> None:
    piece = bytes(data[_span(data, chance)])
    data[_span(data, chance)] = piece


def _line_ends(data: bytearray, chance: random.Random) -> None:
    data[:] = data.replace(b"\n", chance.choice((b"\r\n", b"\r", b"\n\r", b"\n\n", b"")))


def _coding(data: bytearray, chance: random.Random) -> None:
    coding = chance.choice(("utf-16", "utf-16-le", "utf-32", "latin-1", "cp1252"))
    data[:] = bytes(data).decode("utf-8", "replace").encode(coding, "replace")


_DAMAGES: tuple[Callable[[bytearray, random.Random], None], ...] = (
    *(_flip, _flip, _flip, _cut, _remove, _remove, _repeat, _repeat, _insert, _insert, _insert),
    *(_swap, _line_ends, _coding),
)


def _spot(root: list[Any], chance: random.Random) -> tuple[Any, Any]:
    """A container and a key or index in it, at any depth."""
    holder: Any = root
    key: Any = 0
    while isinstance(holder[key], dict | list) and holder[key] and chance.random() < 0.85:
        holder = holder[key]
        key = (
            chance.choice(list(holder))
            if isinstance(holder, dict)
            else chance.randrange(len(holder))
        )
    return holder, key


def _retype(old: Any, root: list[Any], chance: random.Random) -> Any:
    return copy.deepcopy(chance.choice(_OTHERS))


def _retext(old: Any, root: list[Any], chance: random.Random) -> Any:
    text = chance.choice(_TEXTS)
    return f"{old}{text}" if isinstance(old, str) and chance.random() < 0.5 else text


def _wrap(old: Any, root: list[Any], chance: random.Random) -> Any:
    return chance.choice(([old], {"a": old}, {"id": old, "text": old}, str(old)[:1_000]))


def _multiply(old: Any, root: list[Any], chance: random.Random) -> Any:
    times = chance.choice((2, 2, 3, 50))
    if isinstance(old, list):
        return old * times if len(old) < 200 else old[::-1]
    return old * times if isinstance(old, str) and len(old) < 10_000 else old


def _elsewhere(old: Any, root: list[Any], chance: random.Random) -> Any:
    holder, key = _spot(root, chance)
    return copy.deepcopy(holder[key])


def _deepen(old: Any, root: list[Any], chance: random.Random) -> Any:
    return nested(chance.choice((5, 60, 190, 210)), chance)


_CHANGES: tuple[Callable[[Any, list[Any], random.Random], Any], ...] = (
    *(_retype, _retype, _retype, _retext, _retext, _retext, _wrap, _multiply, _elsewhere, _deepen),
)
