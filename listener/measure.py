"""The shipped model against labelled rows, beside the baselines, for `listener evaluate`."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import nlp
from nlp.baselines import RegexBaseline, TfidfBaseline
from nlp.evaluation import Report, check_minimums, evaluate, read_labels, render

from .pipeline import Parts

_FIGURES = ("precision", "recall", "f1", "macro_f1", "average_precision", "ece")
_WITH_INTERVAL = ("f1", "average_precision")
_TFIDF = Path(nlp.__file__).parent / "models" / "baseline.npz"


def measure(
    parts: Parts, labels: Path, minimum: Sequence[str]
) -> tuple[Report, list[dict[str, Any]], tuple[str, ...], list[str]]:
    """The report, its printed rows, lines that were left out, and minimums that were missed.

    Raises `NlpError` for a file without usable rows or a minimum that names no figure.
    """
    found = read_labels(labels)
    report = evaluate(
        found.rows,
        parts.tagger,
        {"regex": RegexBaseline(), "tfidf": TfidfBaseline.load(_TFIDF)},
    )
    rows = [_shown(row) for row in render(report)]
    return report, rows, found.faults, check_minimums(report, minimum)


def _shown(row: Mapping[str, Any]) -> dict[str, Any]:
    """A row as people read it: figures as `.812`, or with their interval as `.812 (.790-.834)`."""
    shown = {name: row[name] for name in ("head", "lang", "system", "n")}
    for name in _FIGURES:
        shown[name] = _figure(row[name])
        if interval := row.get(f"{name}_ci") if name in _WITH_INTERVAL else None:
            shown[name] += f" ({'-'.join(map(_figure, interval))})"
    return shown


def _figure(value: float | None) -> str:
    return "" if value is None else f"{value:.3f}".removeprefix("0")
