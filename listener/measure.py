"""The model against labelled rows, beside the baselines, for `listener evaluate`."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import nlp
from nlp.base import SENTIMENTS, SIGNALS, STAGES
from nlp.baselines import RegexBaseline, TfidfBaseline
from nlp.evaluation import (
    Predictor,
    Probabilities,
    Report,
    check_minimums,
    evaluate,
    read_labels,
    render,
)
from nlp.evaluation_tables import wrong_rows

from .pipeline import Parts

Rows = list[dict[str, Any]]

_FIGURES = ("precision", "recall", "f1", "macro_f1", "average_precision", "ece")
_WITH_INTERVAL = ("f1", "average_precision")
_WORST_OF_A_HEAD = 2
_BY_SOURCE = ("early", "stage")
_TFIDF = Path(nlp.__file__).parent / "models" / "baseline.npz"


@dataclass(frozen=True, kw_only=True)
class Measured:
    """What `listener evaluate` found.

    `faults` are lines of the file that were left out, `failures` minimums that were missed, `wrong`
    the rows with a wrong head (see `wrong_rows`), texts and all. `seen` counts rows on which own
    heads were fitted: the figures of those heads flatter.
    """

    report: Report
    faults: tuple[str, ...]
    failures: list[str]
    wrong: Rows
    seen: int


def measure(parts: Parts, labels: Path, minimum: Sequence[str] = ()) -> Measured:
    """Figures of what tags posts, beside regex, TF-IDF and, where heads are replaced, the shipped.

    Raises NlpError for a file without usable rows or a minimum that names no figure.
    """
    found = read_labels(labels)
    baselines: dict[str, Predictor] = {
        "regex": RegexBaseline(),
        "tfidf": TfidfBaseline.load(_TFIDF),
    }
    models = parts.models
    if parts.tagger is not models.shipped:
        baselines["shipped"] = models.shipped
    if models.own_predictor is not None:
        baselines["own"] = models.own_predictor
    tagger = _Remembering(parts.tagger)
    report = evaluate(found.rows, tagger, baselines)
    return Measured(
        report=report,
        faults=found.faults,
        failures=check_minimums(report, minimum),
        wrong=list(wrong_rows(found.rows, tagger.known, tagger)),
        seen=models.own.count_seen([row.text for row in found.rows]) if models.own else 0,
    )


class _Remembering:
    """A predictor whose answers are kept, so that the wrong rows cost no second pass."""

    def __init__(self, predictor: Predictor) -> None:
        self._predictor = predictor
        self.threshold = predictor.threshold
        self.known: list[Probabilities] = []

    def probabilities(self, texts: Sequence[str], langs: Sequence[str]) -> list[Probabilities]:
        self.known = self._predictor.probabilities(texts, langs)
        return self.known


def flat(report: Report) -> Rows:
    """One row for each head, language and system, for --csv."""
    return [_shown(row) for row in render(report)]


def sections(report: Report) -> list[tuple[str, Rows]]:
    """Headings and tables for people; --json has everything."""
    made = [
        ("F1 with its 95 % interval, and the F1 of other systems on the same rows", _heads(report))
    ]
    if "signals" in report:
        made.append(("Signals", _signals(report["signals"])))
    for head, labels in (("stage", STAGES), ("sentiment", SENTIMENTS)):
        if head in report:
            title = f"{head.capitalize()}: labelled (rows), said (columns)"
            made.append((title, _confusion(report[head]["all"]["confusion"], labels)))
    sources = [row for head in _BY_SOURCE if head in report for row in _sources(head, report[head])]
    if sources:
        made.append(("Sources", sources))
    worst = [row for head, tables in report.items() for row in _worst(head, tables["all"])]
    if worst:
        made.append(("Worst slices", worst))
    yes_no = [head for head in ("early", "intent", "promo") if head in report]
    if yes_no:
        made.append(
            ("Reliability: mean probability, share that is so, rows", _bins(report, yes_no))
        )
    return made


def _heads(report: Report) -> Rows:
    others = dict.fromkeys(
        name
        for tables in report.values()
        for table in tables.values()
        for name in table["baselines"]
    )
    rows = []
    for head, tables in report.items():
        for lang, table in tables.items():
            if lang == "all" and len(tables) == 2:
                continue  # one language only: the same rows again
            rows.append(
                {
                    "head": head,
                    "lang": lang,
                    "n": table["n"],
                    "f1": _with_interval(table, "f1"),
                    "prec.": _figure(table["precision"]),
                    "recall": _figure(table["recall"]),
                    "macro f1": _figure(table["macro_f1"]),
                    "avg. prec.": _figure(table["average_precision"]),
                    "ece": _figure(table.get("ece")),
                }
                | {name: _figure(table["baselines"].get(name, {}).get("f1")) for name in others}
            )
    return rows


def _signals(tables: Mapping[str, Mapping[str, Any]]) -> Rows:
    rows = []
    for signal in SIGNALS:
        own = tables["all"]["labels"][signal]
        rows.append(
            {
                "signal": signal,
                "n": own["n"],
                "prec.": _figure(own["precision"]),
                "recall": _figure(own["recall"]),
                "avg. prec.": _figure(own["average_precision"]),
                "f1": _figure(own["f1"]),
            }
            | {
                f"f1 {lang}": _figure(table["labels"][signal]["f1"])
                for lang, table in tables.items()
                if lang != "all"
            }
        )
    return rows


def _confusion(counts: Sequence[Sequence[int]], labels: Sequence[str]) -> Rows:
    return [
        {"": label} | dict(zip(labels, row, strict=True))
        for label, row in zip(labels, counts, strict=True)
    ]


def _sources(head: str, tables: Mapping[str, Mapping[str, Any]]) -> Iterable[dict[str, Any]]:
    """By language; "all" only for a source that has too few rows in each of them."""
    told = set()
    for lang, table in tables.items():
        for source, one in table["sources"].items():
            if lang == "all" and source in told:
                continue
            told.add(source)
            yield {
                "head": head,
                "lang": lang,
                "source": source,
                "n": one["n"],
                "positives": one["positives"],
                "f1": _with_interval(one, "f1"),
                "avg. prec.": _figure(one["average_precision"]),
            }


def _worst(head: str, table: Mapping[str, Any]) -> Iterable[dict[str, Any]]:
    for one in table["slices"][:_WORST_OF_A_HEAD]:
        yield {
            "head": head,
            "lang": one["lang"],
            "of": one.get("source") or f"{one['length']} characters",
            "n": one["n"],
            "positives": one["positives"],
            "f1": _with_interval(one, "f1"),
        }


def _bins(report: Report, heads: Sequence[str]) -> Rows:
    every = {
        head: {round(one["low"], 1): one for one in report[head]["all"]["reliability"]}
        for head in heads
    }
    rows = []
    for low in sorted({low for bins in every.values() for low in bins}):
        row = {"probability": f"{low:.1f} to {low + 0.1:.1f}"}
        for head, bins in every.items():
            one = bins.get(low)
            row[head] = f"{one['score']:.2f}  {one['share']:.2f}  {one['n']}" if one else ""
        rows.append(row)
    return rows


def _shown(row: Mapping[str, Any]) -> dict[str, Any]:
    """A row as people read it: figures as `.812`, or with their interval as `.812 (.790-.834)`."""
    shown = {name: row[name] for name in ("head", "lang", "system", "n")}
    for name in _FIGURES:
        shown[name] = _with_interval(row, name) if name in _WITH_INTERVAL else _figure(row[name])
    return shown


def _with_interval(row: Mapping[str, Any], name: str) -> str:
    interval = row.get(f"{name}_ci")
    return _figure(row[name]) + (f" ({'-'.join(map(_figure, interval))})" if interval else "")


def _figure(value: float | None) -> str:
    return "" if value is None else f"{value:.3f}".removeprefix("0")
