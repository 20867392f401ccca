"""The real posts of the shared data, each as text, language and source."""

from __future__ import annotations

import gzip
import hashlib
import html
import json
import re
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

_LONGEST = 700

Read = Callable[[dict[str, Any]], tuple[str, str, str]]


def post_id(source: str, text: str) -> str:
    """The id under which a post is labelled."""
    content = f"{source}\0{text}".encode()
    return hashlib.sha1(content, usedforsecurity=False).hexdigest()[:12]


def posts(data: Path) -> Iterator[tuple[str, str, str]]:
    """Text, language and source of every post in the folder `data`."""
    for name, read in FILES:
        for raw in lines(data / name):
            yield read(raw)


def lines(path: Path) -> Iterator[dict[str, Any]]:
    """The objects of a gzipped JSON Lines file."""
    with gzip.open(path, "rt", encoding="utf-8") as found:
        for line in found:
            yield json.loads(line)


def _plain(raw: dict[str, Any]) -> tuple[str, str, str]:
    return raw["text"], raw["lang"], raw["source"]


def _reddit(raw: dict[str, Any]) -> tuple[str, str, str]:
    text = f"{raw['title']}\n{raw.get('selftext') or ''}".strip()
    return _shorter(text), "en", f"reddit_top_2013/{raw['subreddit']}"


def _hackernews(raw: dict[str, Any]) -> tuple[str, str, str]:
    body = re.sub(r"<[^>]+>", "", (raw.get("text") or "").replace("<p>", "\n"))
    text = f"{raw.get('title') or ''}\n{html.unescape(body).strip()}".strip()
    return _shorter(text), "en", "hackernews_ask"


def _shorter(text: str) -> str:
    return text if len(text) <= _LONGEST else text[: _LONGEST - 1].rstrip() + "…"


FILES: tuple[tuple[str, Read], ...] = (
    ("raw/es/posts.jsonl.gz", _plain),
    ("sentiment/sentiment.jsonl.gz", _plain),
    ("raw/reddit/posts.jsonl.gz", _reddit),
    ("raw/hackernews/ask_hn.jsonl.gz", _hackernews),
)
