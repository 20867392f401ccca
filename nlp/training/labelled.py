"""The posts from which a baseline learns, so that it stands beside the encoder fairly."""

from __future__ import annotations

from pathlib import Path

from nlp import evaluation
from nlp.base import BINARY_HEADS, SENTIMENTS, SIGNALS, STAGES
from nlp.baselines import balanced

from .data import NO_LABEL, Row, read_labels, read_sentiment, split, without
from .own import SHORT, read_own, read_tones

HELD_SHARE = 0.09
"""Share that is held out of train.jsonl, and of labels.tsv."""


def learned(labels: Path, data: Path | None = None) -> list[evaluation.Row]:
    """Rows of `labels` and of this package, and a balanced sample of those with a sentiment only.

    In the order of their files, where posts of a thread stand together; each text once; none of
    dev.jsonl, and none that the training of the encoder holds out. Without the folder `data` there
    are only the rows whose texts are in `labels` and here.
    """
    train = read_labels(labels / "train.jsonl")
    own = read_own(data)[0] if data else []
    held = [row for rows in (train, own) for row in split(rows, HELD_SHARE)[1]]
    barred = [row.text for row in (*read_labels(labels / "dev.jsonl"), *held)]
    written = [*read_labels(labels / "written.jsonl"), *read_labels(SHORT)]
    tones = []
    if data:
        general = read_sentiment(data / "sentiment" / "sentiment.jsonl.gz", "train")
        tones = [*general, *read_tones(data)]
    rows = [_plain(row) for row in without([*train, *own, *written], barred)]
    return rows + balanced([_plain(row) for row in without(tones, barred)])


def _plain(row: Row) -> evaluation.Row:
    """A row as evaluations and baselines take it."""
    heads = len(BINARY_HEADS)
    intent, early, promo = map(bool, row.flags[:heads]) if row.flags else (None,) * heads
    flagged = zip(SIGNALS, row.flags[heads:], strict=False)
    return evaluation.Row(
        text=row.text,
        lang=row.lang,
        source=row.source,
        stage=None if row.stage == NO_LABEL else STAGES[row.stage],
        sentiment=None if row.sentiment == NO_LABEL else SENTIMENTS[row.sentiment],
        intent=intent,
        early=early,
        promo=promo,
        signals=tuple(name for name, flag in flagged if flag) if row.flags else None,
    )
