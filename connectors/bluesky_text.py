"""The text of a Bluesky post with its links written out, and its facets by code points.

Facets mark parts of a text by offsets into its UTF-8 bytes, and apps shorten links in the text
("shop.example/products/..."), so the whole address stands only in the facet.
"""

from __future__ import annotations

from bisect import bisect_left
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from itertools import accumulate
from typing import Any
from urllib.parse import urlsplit

from .text import clean_text, web_url

# Hosts of moving pictures, whose titles are nobody's words.
_PICTURES = frozenset({"media.tenor.com", "media1.tenor.com", "static.klipy.com"})
_MOST_FACETS = 200


@dataclass(frozen=True, slots=True)
class Facet:
    """A part of a text, `start` to `end` in code points: a link, the mention of a DID, or a tag."""

    start: int
    end: int
    kind: str
    value: str


_VALUES = {
    "app.bsky.richtext.facet#link": ("link", "uri"),
    "app.bsky.richtext.facet#mention": ("mention", "did"),
    "app.bsky.richtext.facet#tag": ("tag", "tag"),
}


def read_facets(text: str, facets: object) -> tuple[Facet, ...]:
    """The facets of `text` in its order; those that cut a character or overlap are left out."""
    given = facets[:_MOST_FACETS] if isinstance(facets, list) else []
    if not given:
        return ()
    # Where each code point begins, and where the last one ends.
    starts = [0, *accumulate(len(sign.encode("utf-8", "surrogatepass")) for sign in text)]
    found: list[Facet] = []
    for facet in given:
        index = facet.get("index") if isinstance(facet, Mapping) else None
        if not isinstance(index, Mapping):
            continue
        start, end = (_place(starts, index.get(name)) for name in ("byteStart", "byteEnd"))
        if start is not None and end is not None and start < end:
            found += [Facet(start, end, kind, value) for kind, value in _features(facet)][:1]
    found.sort(key=lambda one: (one.start, one.end))
    kept: list[Facet] = []
    for one in found:
        if not kept or one.start >= kept[-1].end:
            kept.append(one)
    return tuple(kept)


def written_out(text: str, facets: Sequence[Facet]) -> str:
    """`text` with the whole address of each link.

    It takes the place of its short form, and stands in brackets behind words that are a link.
    """
    pieces: list[str] = []
    done = 0
    for facet in facets:
        link = web_url(facet.value) if facet.kind == "link" else None
        if link is None:
            continue
        shown = text[facet.start : facet.end]
        words = shown.rstrip()
        whole = link if _shortens(words, link) else f"{words} ({link})"
        pieces += [text[done : facet.start], whole, shown[len(words) :]]
        done = facet.end
    return clean_text("".join([*pieces, text[done:]]))


def card(embed: object) -> tuple[str, str] | None:
    """Title and address of the link card of a post's embed; None without one.

    Cards of moving pictures are none.
    """
    external = _inner(embed, "external")
    link = web_url(external.get("uri"))
    if link is None or urlsplit(link).hostname in _PICTURES:
        return None
    title = external.get("title")
    return clean_text(title) if isinstance(title, str) else "", link


def descriptions(embed: object) -> tuple[str, ...]:
    """What the author wrote to describe the pictures or the video of a post's embed."""
    images = _inner(embed, "images").get("list")
    media = [*images] if isinstance(images, list) else []
    media.append(_inner(embed, "video"))
    texts = (one.get("alt") for one in media if isinstance(one, Mapping))
    return tuple(cleaned for one in texts if isinstance(one, str) and (cleaned := clean_text(one)))


def _inner(embed: object, kind: str) -> Mapping[str, Any]:
    """The card, pictures (as "list") or video of an embed, also of one beside a quoted post."""
    if isinstance(embed, Mapping) and isinstance(embed.get("media"), Mapping):
        embed = embed["media"]
    if not isinstance(embed, Mapping):
        return {}
    if kind == "images":
        return {"list": embed.get("images")}
    if kind == "video":
        return embed if str(embed.get("$type")).startswith("app.bsky.embed.video") else {}
    value = embed.get(kind)
    return value if isinstance(value, Mapping) else {}


def _features(facet: Mapping[str, Any]) -> Iterator[tuple[str, str]]:
    features = facet.get("features")
    for feature in features if isinstance(features, list) else ():
        if isinstance(feature, Mapping) and (known := _VALUES.get(str(feature.get("$type")))):
            kind, name = known
            if isinstance(value := feature.get(name), str):
                yield kind, value


def _place(starts: Sequence[int], offset: object) -> int | None:
    """The code point that begins at a byte; None inside of one and outside of the text."""
    if not isinstance(offset, int) or isinstance(offset, bool):
        return None
    place = bisect_left(starts, offset)
    return place if place < len(starts) and starts[place] == offset else None


def _shortens(shown: str, link: str) -> bool:
    """Whether `shown` is an address as apps shorten it, or the whole one."""
    stem = shown.strip().removesuffix("...").removesuffix("…").casefold()
    whole = link.casefold()
    bare = whole.partition("://")[2]
    return bool(stem) and any(
        one.startswith(stem) for one in (whole, bare, bare.removeprefix("www."))
    )
