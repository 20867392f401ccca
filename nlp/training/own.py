"""The posts that were labelled for this project: labels here, texts found again in the shared data.

The project keeps ids and labels only. An id is the first 12 hex digits of the SHA-1 of the source,
a NUL and the text, so whoever has the data finds the same posts, and nobody else can. tones.tsv
has the overall sentiment of general posts alone. short.jsonl, targets.jsonl and slots.tsv were
written for this project; names.tsv has names of makers for the slots.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

from nlp.base import SENTIMENTS
from nlp.reading import prepare

from .data import NO_LABEL, Row, labelled
from .posts import post_id, posts

LABELS = Path(__file__).with_name("labels.tsv")
TONES = LABELS.with_name("tones.tsv")
SHORT = LABELS.with_name("short.jsonl")
TARGETS = LABELS.with_name("targets.jsonl")
SLOTS = LABELS.with_name("slots.tsv")
NAMES = LABELS.with_name("names.tsv")


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
    for text, lang, source in posts(data):
        given = post_id(source, text)
        if given in known:
            yield given, text, lang, source
