"""Tables of one head (all rows, the rows of a source, the worst slices), and the wrong rows.

Rows and what a predictor knows of them stand side by side, in the same order.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable, Iterator, Sequence
from typing import TYPE_CHECKING, Any, TypeVar

import numpy as np

from .base import BINARY_HEADS, SENTIMENTS, SIGNALS, STAGES
from .metrics import Floats, Table, binary_table, multiclass_table, multilabel_table

if TYPE_CHECKING:
    from .evaluation import Predictor, Probabilities, Row

Value = TypeVar("Value", str, tuple[str, str])

SLICE_ROWS = 20
SLICE_POSITIVES = 5
WORST = 10
LABELS = {"stage": STAGES, "sentiment": SENTIMENTS}
"""Heads with exactly one label, and their labels."""

_REST = {"stage": "none", "sentiment": "neu"}
_BANDS = ((60, "under 60"), (140, "60 to 139"), (280, "140 to 279"), (1_000, "280 to 999"))
_OF_A_SLICE = ("n", "positives", "precision", "recall", "f1", "f1_ci")
_OF_A_SOURCE = (*_OF_A_SLICE, "macro_f1", "average_precision")


def key(head: str) -> str:
    """What a predictor calls the head."""
    return "signal" if head == "signals" else head


def head_table(
    head: str, rows: Sequence[Row], known: Sequence[Probabilities], predictor: Predictor
) -> Table:
    """The figures of one head over rows that have its label; see nlp/metrics.py."""
    if head == "signals":
        scores = _scores(known, "signal", SIGNALS)
        truth = np.array([[label in (row.signals or ()) for label in SIGNALS] for row in rows])
        least = _thresholds(rows, predictor, "signal", SIGNALS)
        return multilabel_table(truth, scores >= least, scores, SIGNALS)
    if head in LABELS:
        labels = LABELS[head]
        places = np.array([labels.index(getattr(row, head)) for row in rows])
        return multiclass_table(places, _scores(known, head, labels), labels, _REST[head])
    scores = _scores(known, head, ("1",))
    truth = np.array([getattr(row, head) for row in rows])
    least = _thresholds(rows, predictor, head, ("1",))
    return binary_table(truth, (scores >= least)[:, 0], scores[:, 0])


def by_source(
    head: str, rows: Sequence[Row], known: Sequence[Probabilities], predictor: Predictor
) -> dict[str, Table]:
    """Short tables of the sources that have at least `SLICE_ROWS` of the rows."""
    tables = {}
    for source, own in _grouped(row.source for row in rows).items():
        if source and len(own) >= SLICE_ROWS:
            table = _of(head, own, rows, known, predictor)
            tables[source] = {name: table[name] for name in _OF_A_SOURCE}
    return tables


def worst_slices(
    head: str, rows: Sequence[Row], known: Sequence[Probabilities], predictor: Predictor
) -> list[dict[str, Any]]:
    """Slices by language with source or length, lowest F1 first.

    Only slices with at least `SLICE_ROWS` rows and `SLICE_POSITIVES` positives; at most `WORST`.
    """
    ways = {
        "source": [(row.lang, row.source) for row in rows],
        "length": [(row.lang, _band(row)) for row in rows],
    }
    tables = []
    for way, values in ways.items():
        for (lang, which), own in _grouped(values).items():
            if len(own) < SLICE_ROWS or not which:
                continue
            table = _of(head, own, rows, known, predictor)
            if table["positives"] >= SLICE_POSITIVES:
                tables.append({"lang": lang, way: which} | {n: table[n] for n in _OF_A_SLICE})
    return sorted(tables, key=lambda table: table["f1"])[:WORST]


def wrong_rows(
    rows: Sequence[Row], known: Sequence[Probabilities], predictor: Predictor
) -> Iterator[dict[str, Any]]:
    """The rows of which the predictor says something else than their labels, in their order.

    Each has text, lang, source and `wrong`: for each wrong head the label, what was predicted, and
    the probability of every label. Signals are lists; the yes/no heads are 0 or 1.
    """
    for row, one in zip(rows, known, strict=True):
        wrong = {}
        for head in (*LABELS, *BINARY_HEADS, "signals"):
            if getattr(row, head) is None or key(head) not in one:
                continue
            label, said = _label(row, head), _said(row, one, head, predictor)
            if label != said:
                wrong[head] = {"label": label, "predicted": said, "probabilities": one[key(head)]}
        if wrong:
            yield {"text": row.text, "lang": row.lang, "source": row.source, "wrong": wrong}


def _label(row: Row, head: str) -> str | int | list[str]:
    value = getattr(row, head)
    if head == "signals":
        return [label for label in SIGNALS if label in value]
    return value if isinstance(value, str) else int(value)


def _said(row: Row, known: Probabilities, head: str, predictor: Predictor) -> str | int | list[str]:
    """What the predictor takes for right, in the form of `_label`."""
    scores = known[key(head)]
    if head in LABELS:
        return max(LABELS[head], key=lambda label: scores.get(label, 0.0))
    labels = SIGNALS if head == "signals" else ("1",)
    holds = [
        label
        for label in labels
        if scores.get(label, 0.0) >= predictor.threshold(key(head), row.lang, label)
    ]
    return holds if head == "signals" else len(holds)


def _of(
    head: str,
    places: Sequence[int],
    rows: Sequence[Row],
    known: Sequence[Probabilities],
    predictor: Predictor,
) -> Table:
    return head_table(head, [rows[at] for at in places], [known[at] for at in places], predictor)


def _grouped(values: Iterable[Value]) -> dict[Value, list[int]]:
    """The places at which each value stands, smallest value first."""
    places: dict[Value, list[int]] = defaultdict(list)
    for at, value in enumerate(values):
        places[value].append(at)
    return dict(sorted(places.items()))


def _scores(known: Sequence[Probabilities], head: str, labels: Sequence[str]) -> Floats:
    """(rows, labels); a label that the predictor does not give has probability 0."""
    return np.array([[one[head].get(label, 0.0) for label in labels] for one in known], dtype=float)


def _thresholds(
    rows: Sequence[Row], predictor: Predictor, head: str, labels: Sequence[str]
) -> Floats:
    by_lang = {
        lang: [predictor.threshold(head, lang, label) for label in labels]
        for lang in {row.lang for row in rows}
    }
    return np.array([by_lang[row.lang] for row in rows])


def _band(row: Row) -> str:
    return next((name for limit, name in _BANDS if len(row.text) < limit), "1,000 or more")
