"""The shipped model against labelled rows, beside the baselines, for `listener evaluate`."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import nlp
from nlp.baselines import RegexBaseline, TfidfBaseline
from nlp.evaluation import Report, check_minimums, evaluate, read_labels, render

from .pipeline import Parts

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
    rows = [{key: _shown(value) for key, value in row.items()} for row in render(report)]
    return report, rows, found.faults, check_minimums(report, minimum)


def _shown(value: Any) -> Any:
    """Figures as people read them: three decimals, intervals as `low-high`."""
    if isinstance(value, float):
        return f"{value:.3f}"
    if isinstance(value, list | tuple):
        return "-".join(f"{bound:.3f}" for bound in value)
    return value
