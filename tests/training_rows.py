"""Rows, pieces and data files that the tests of the training are made with."""

from __future__ import annotations

import gzip
import json
from pathlib import Path

from nlp.training.data import (
    Row,
)

SPECIALS = [("<s>", 0.0), ("<pad>", 0.0), ("</s>", 0.0), ("<unk>", 0.0)]


PIECES = [
    *SPECIALS,
    ("▁", -2.0),
    ("a", -5.0),
    ("ñ", -6.0),
    ("👍", -9.0),
    ("▁casa", -7.0),
    ("▁дом", -7.5),
    ("▁house", -8.0),
    ("家", -6.0),
    ("▁2024", -9.0),
]


def row(at: int, **changes: object) -> Row:
    values = {
        "id": f"id{at}",
        "text": f"text {at}",
        "lang": "en" if at % 3 else "es",
        "source": "made",
        "stage": at % 5,
        "flags": (at % 2,) * 12,
        "sentiment": at % 3,
    }
    return Row(**{**values, **changes})  # type: ignore[arg-type]  # a mixed dict of right values


DATA_FILES = (
    "raw/es/posts.jsonl.gz",
    "sentiment/sentiment.jsonl.gz",
    "raw/reddit/posts.jsonl.gz",
    "raw/hackernews/ask_hn.jsonl.gz",
)


def write_data(folder: Path, files: dict[str, list[dict[str, str]]]) -> None:
    for name in DATA_FILES:
        path = folder / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(gzip.compress("\n".join(map(json.dumps, files.get(name, []))).encode()))
