"""What the shipped model reads of a text, and where that stands in the text as given."""

from __future__ import annotations

import html
import re
from bisect import bisect_left, bisect_right
from collections.abc import Sequence
from typing import TypeVar

Span = tuple[int, int]
Item = TypeVar("Item")

# 192 tokens are about 800 characters of prose; the rest of a longer cut only costs time.
_HEAD_CHARS, _TAIL_CHARS = 2_000, 1_000
_URL = re.compile(r"(?:https?://|www\.)(?:www\.)?([^\s/?#]+)\S*", re.IGNORECASE)
_ENTITY = re.compile(r"&(?:#\d+;?|#[xX][0-9a-fA-F]+;?|[^\t\n\f <&#;]{1,32};?)")
_SHORTENER = "t.co"


def prepare(text: str) -> str:
    """The text as the model reads it: bounded, valid Unicode, entities decoded, URLs as hosts."""
    if len(text) > _HEAD_CHARS + _TAIL_CHARS:
        text = f"{text[:_HEAD_CHARS]} {text[-_TAIL_CHARS:]}"
    try:
        text.encode()
    except UnicodeEncodeError:  # lone surrogates; halves of one pair are joined
        text = text.encode("utf-16-le", "surrogatepass").decode("utf-16-le", "replace")
    return _URL.sub(_host, html.unescape(text)).strip()


def aligned(text: str) -> tuple[str, list[int]]:
    """`prepare(text)`, and for each of its characters the offset in `text` that it comes from.

    Slower than `prepare`; for texts in which places matter.
    """
    if len(text) > _HEAD_CHARS + _TAIL_CHARS:
        cut = len(text) - _TAIL_CHARS
        origins = [*range(_HEAD_CHARS), _HEAD_CHARS, *range(cut, len(text))]
        text = f"{text[:_HEAD_CHARS]} {text[cut:]}"
    else:
        origins = list(range(len(text)))
    signs = [sign if not "\ud800" <= sign <= "\udfff" else "\ufffd" for sign in text]
    text = "".join(signs)
    for pattern, change in ((_ENTITY, _unescaped), (_URL, _host)):
        parts: list[str] = []
        places: list[int] = []
        done = 0
        for match in pattern.finditer(text):
            new = change(match)
            parts += (text[done : match.start()], new)
            places += origins[done : match.start()]
            places += [origins[match.start()]] * len(new)
            done = match.end()
        text, origins = "".join((*parts, text[done:])), [*places, *origins[done:]]
    start = len(text) - len(text.lstrip())
    text = text.strip()
    return text, origins[start : start + len(text)]


def moved(origins: Sequence[int], start: int, end: int) -> Span:
    """Bounds in a prepared text (see `aligned`) of start..end in the text as given."""
    before = max(bisect_right(origins, start) - 1, 0)
    first = bisect_left(origins, origins[before]) if origins else 0
    return first, max(bisect_left(origins, end), first + 1)


def _unescaped(match: re.Match[str]) -> str:
    return html.unescape(match[0])


def _host(match: re.Match[str]) -> str:
    host = match[1].lower()
    return "http" if host == _SHORTENER else host


def shorten(ids: list[Item], max_tokens: int, head_tokens: int) -> list[Item]:
    """At most `max_tokens` ids: the first `head_tokens` and the last of the rest.

    Requests stand in the title or at the end of long posts, seldom in the middle.
    """
    if len(ids) <= max_tokens:
        return ids
    return ids[:head_tokens] + ids[head_tokens - max_tokens :]


def covered(spans: Sequence[tuple[int, int]], start: int, end: int) -> list[int]:
    """Places of the tokens (bounds in `spans`) that share a character with start..end."""
    return [at for at, (a, b) in enumerate(spans) if a < end and start < b]


def is_seen(text: str, start: int, end: int) -> bool:
    """Whether start..end are characters of a text, one of them outside of its unread middle."""
    if not 0 <= start < end <= len(text):
        return False
    short = len(text) <= _HEAD_CHARS + _TAIL_CHARS
    return short or start < _HEAD_CHARS or end > len(text) - _TAIL_CHARS
