"""The posts that were labelled for this project: labels here, texts found again in the shared data.

The project keeps ids and labels only. An id is the first 12 hex digits of the SHA-1 of the source,
a NUL and the text, so whoever has the data finds the same posts, and nobody else can. tones.tsv
has the overall sentiment of general posts alone. short.jsonl and targets.jsonl were written for
this project.
"""

from __future__ import annotations

import gzip
import hashlib
import json
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

from nlp.base import SENTIMENTS
from nlp.encoder import prepare

from .data import NO_LABEL, Row, labelled

LABELS = Path(__file__).with_name("labels.tsv")
TONES = LABELS.with_name("tones.tsv")
SHORT = LABELS.with_name("short.jsonl")
TARGETS = LABELS.with_name("targets.jsonl")
_LONGEST = 700


def read_own(data: Path, labels: Path = LABELS) -> tuple[list[Row], int]:
    """The labelled rows whose texts are in the folder `data`, and how many were not found.

    A line of `labels` is id, stage, intent, early, signals joined by | or -, sentiment and promo,
    with tabs between them.
    """
    known: dict[str, dict[str, Any]] = {}
    for line in labels.read_text("utf-8").splitlines():
        given, stage, intent, early, signals, sentiment, promo = line.split("\t")
        known[given] = {
            "id": given,
            "stage": stage,
            "intent": int(intent),
            "early": int(early),
            "signals": [] if signals == "-" else signals.split("|"),
            "sentiment": sentiment,
            "promo": int(promo),
        }
    rows = [
        labelled(known.pop(given) | {"text": text, "lang": lang, "source": source})
        for given, text, lang, source in _found(data, known)
    ]
    return rows, len(known)


def read_tones(data: Path, tones: Path = TONES) -> list[Row]:
    """Rows that have a sentiment only; a line of `tones` is id and sentiment."""
    known = dict(line.split("\t") for line in tones.read_text("utf-8").splitlines())
    return [
        Row(given, prepare(text), lang, source, NO_LABEL, (), SENTIMENTS.index(known.pop(given)))
        for given, text, lang, source in _found(data, known)
    ]


def _found(data: Path, known: Mapping[str, Any]) -> Iterator[tuple[str, str, str, str]]:
    """Id, text, language and source of the posts in `data` whose ids are (still) in `known`."""
    for text, lang, source in _posts(data):
        given = post_id(source, text)
        if given in known:
            yield given, text, lang, source


def post_id(source: str, text: str) -> str:
    """The id under which a post is labelled."""
    content = f"{source}\0{text}".encode()
    return hashlib.sha1(content, usedforsecurity=False).hexdigest()[:12]


def _posts(data: Path) -> Iterator[tuple[str, str, str]]:
    for row in _lines(data / "raw" / "es" / "posts.jsonl.gz"):
        yield row["text"], row["lang"], row["source"]
    for row in _lines(data / "sentiment" / "sentiment.jsonl.gz"):
        yield row["text"], row["lang"], row["source"]
    for row in _lines(data / "raw" / "reddit" / "posts.jsonl.gz"):
        text = f"{row['title']}\n{row.get('selftext') or ''}".strip()
        if len(text) > _LONGEST:
            text = text[: _LONGEST - 1].rstrip() + "…"
        yield text, "en", f"reddit_top_2013/{row['subreddit']}"


def _lines(path: Path) -> Iterator[dict[str, Any]]:
    with gzip.open(path, "rt", encoding="utf-8") as lines:
        for line in lines:
            yield json.loads(line)
