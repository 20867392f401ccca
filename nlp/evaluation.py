"""Labelled rows in, a report of a predictor beside its baselines out.

The report is JSON-ready: {head: {lang: table}}, heads "stage", "intent", "early", "signals",
"sentiment", "promo" (those that have labels), langs as they occur plus "all". What a table holds is
said in nlp/metrics.py; `table["baselines"][name]` is the same table for each baseline that has the
head, `table["sources"]` has short tables of the sources, and `report[head]["all"]["slices"]` lists
the slices with the lowest F1.
"""

from __future__ import annotations

import gzip
import json
import re
import zlib
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, Protocol

from .base import BINARY_HEADS, SIGNALS, NlpError
from .evaluation_tables import LABELS, by_source, head_table, key, worst_slices
from .language import detect, normalise
from .metrics import Table

HEADS = ("stage", "intent", "early", "signals", "sentiment", "promo")

Probabilities = dict[str, dict[str, float]]
"""head -> label -> probability; yes/no heads have the label "1", signals the head "signal"."""
Report = dict[str, dict[str, Table]]

_RENDERED = (
    "n", "positives", "precision", "recall", "f1", "f1_ci", "macro_f1", "macro_f1_ci",
    "average_precision", "average_precision_ci", "ece", "brier",
)  # fmt: skip
_MINIMUM = re.compile(r"\s*([\w-]+(?:\.[\w-]+){2,})\s*=\s*(-?\d+(?:\.\d+)?|-?\.\d+)\s*")


class BadLabels(NlpError):
    """A file of labelled rows that cannot be used; the text says why."""


class BadMinimum(NlpError):
    """A minimum that cannot be understood or names a figure that the report does not have."""


class Predictor(Protocol):
    """What can be evaluated."""

    def probabilities(self, texts: Sequence[str], langs: Sequence[str]) -> list[Probabilities]:
        """For each text, in order, the probabilities of the heads this predictor has."""
        ...

    def threshold(self, head: str, lang: str, label: str) -> float:
        """From which probability on `label` is said to hold, for a yes/no head or a signal."""
        ...


@dataclass(frozen=True, slots=True, kw_only=True)
class Row:
    """One labelled text; None where a head was not labelled. `lang` is ISO 639-1 or "und"."""

    text: str
    lang: str
    stage: str | None = None
    sentiment: str | None = None
    intent: bool | None = None
    early: bool | None = None
    promo: bool | None = None
    signals: tuple[str, ...] | None = None
    source: str = ""


@dataclass(frozen=True, slots=True)
class Labels:
    """What a file of labelled rows holds; `faults` say of each line left out its number and why."""

    rows: tuple[Row, ...]
    faults: tuple[str, ...] = ()


def read_labels(path: Path) -> Labels:
    """Rows of a JSON Lines file (also gzipped): {text, lang, stage, intent, early, signals, ...}.

    Any subset of the labels will do; `signals` is a list or "a|b"; a missing `lang` is detected.
    Lines that cannot be used are left out and told. Raises BadLabels where the file cannot be read
    or no row is left.
    """
    rows: list[Row] = []
    faults: list[str] = []
    for number, line in enumerate(_lines(path), start=1):
        if not line.strip():
            continue
        try:
            rows.append(_row(json.loads(line.decode())))
        except UnicodeDecodeError:
            faults.append(f"line {number}: not UTF-8")
        except (json.JSONDecodeError, RecursionError):
            faults.append(f"line {number}: not JSON")
        except BadLabels as fault:
            faults.append(f"line {number}: {fault}")
    if not rows:
        reason = f"first fault: {faults[0]}" if faults else "the file is empty"
        raise BadLabels(f"{path}: no labelled row to use ({reason})")
    return Labels(_with_languages(rows), tuple(faults))


def evaluate(
    rows: Sequence[Row], predictor: Predictor, baselines: Mapping[str, Predictor] | None = None
) -> Report:
    """Figures of the predictor per labelled head and language, beside those of the baselines.

    A system stands in a table only if it gives the head for every row of it.
    """
    texts, langs = [row.text for row in rows], [row.lang for row in rows]
    systems = {"": predictor, **(baselines or {})}
    given = {name: one.probabilities(texts, langs) for name, one in systems.items()}
    report: Report = {}
    for head in HEADS:
        labelled = [at for at, row in enumerate(rows) if getattr(row, head) is not None]
        subsets = {lang: [at for at in labelled if rows[at].lang == lang] for lang in set(langs)}
        subsets = dict(sorted(subsets.items())) | {"all": labelled}
        tables = {}
        for lang, places in subsets.items():
            if not places:
                continue
            chosen = [rows[at] for at in places]
            known = {name: [every[at] for at in places] for name, every in given.items()}
            own = {
                name: head_table(head, chosen, known[name], one)
                for name, one in systems.items()
                if all(key(head) in each for each in known[name])
            }
            if "" not in own:
                continue
            tables[lang] = own.pop("") | {
                "sources": by_source(head, chosen, known[""], predictor),
                "baselines": own,
            }
            if lang == "all":
                tables[lang]["slices"] = worst_slices(head, chosen, known[""], predictor)
        if tables:
            report[head] = tables
    return report


def render(report: Report) -> list[dict[str, Any]]:
    """The report as flat rows for printing: one for each head, language and system.

    The model's own rows have the system "model". Figures are floats or None, `*_ci` [low, high] or
    None.
    """
    return [
        {"head": head, "lang": lang, "system": system}
        | {figure: figures_of.get(figure) for figure in _RENDERED}
        for head, tables in report.items()
        for lang, table in tables.items()
        for system, figures_of in ({"model": table} | table["baselines"]).items()
    ]


def check_minimums(report: Report, expressions: Iterable[str]) -> list[str]:
    """Sentences about the figures that lie below their minimum, such as "early.es.f1=0.7".

    A path may go deeper ("signals.es.labels.comparison.f1=0.5"). A figure that is not defined
    fails. Raises BadMinimum with everything wrong with the expressions at once.
    """
    failures, mistakes = [], []
    for expression in expressions:
        found = _MINIMUM.fullmatch(expression)
        if found is None:
            mistakes.append(f"{expression!r} is not of the form head.lang.figure=number")
            continue
        path, least = found[1], float(found[2])
        value: Any = report
        for part in path.split("."):
            if not isinstance(value, Mapping) or part not in value:
                known = ", ".join(value) if isinstance(value, Mapping) else "nothing below it"
                mistakes.append(f"{path}: the report has no {part!r} there; it has {known}")
                break
            value = value[part]
        else:
            if value is None:
                failures.append(f"{path} is not defined (no positives), wanted at least {least:g}")
            elif not isinstance(value, (int, float)):
                mistakes.append(f"{path} is not a figure")
            elif value < least:
                failures.append(f"{path} is {value:.3f}, wanted at least {least:g}")
    if mistakes:
        raise BadMinimum("; ".join(mistakes))
    return failures


def _lines(path: Path) -> list[bytes]:
    try:
        content = path.read_bytes()
        if content.startswith(b"\x1f\x8b"):
            content = gzip.decompress(content)
    except (OSError, EOFError, zlib.error) as error:
        raise BadLabels(f"cannot read {path}: {error}") from error
    return content.removeprefix(b"\xef\xbb\xbf").split(b"\n")


def _row(given: object) -> Row:
    if not isinstance(given, dict):
        raise BadLabels("not an object")
    text = given.get("text")
    if not isinstance(text, str) or not text.strip():
        raise BadLabels("no text")
    labels: dict[str, Any] = {}
    for head, allowed in LABELS.items():
        value = given.get(head)
        if value is not None and value not in allowed:
            raise BadLabels(f"unknown {head} {_short(value)}; use one of {', '.join(allowed)}")
        labels[head] = value
    for head in BINARY_HEADS:
        value = given.get(head)
        if value is not None and str(value).lower() not in {"0", "1", "true", "false"}:
            raise BadLabels(f"{head} is {_short(value)}; use 0 or 1")
        labels[head] = None if value is None else str(value).lower() in {"1", "true"}
    labels["signals"] = _signals(given.get("signals"))
    if all(value is None for value in labels.values()):
        raise BadLabels(f"no label; give at least one of {', '.join(HEADS)}")
    source = given.get("source")
    lang = normalise(given.get("lang")) or ""
    return Row(text=text, lang=lang, source=source if isinstance(source, str) else "", **labels)


def _signals(value: object) -> tuple[str, ...] | None:
    if value is None:
        return None
    if isinstance(value, str):
        value = [] if value.strip() in {"", "-"} else [part.strip() for part in value.split("|")]
    if not isinstance(value, list):
        raise BadLabels('signals is neither a list nor "a|b"')
    unknown = [one for one in value if one not in SIGNALS]
    if unknown:
        raise BadLabels(f"unknown signal {_short(unknown[0])}; use {', '.join(SIGNALS)}")
    return tuple(dict.fromkeys(value))


def _short(value: object) -> str:
    """A wrong value as shown in a fault: enough to find it, too little to quote a post."""
    return repr(value)[:24]


def _with_languages(rows: Sequence[Row]) -> tuple[Row, ...]:
    """The rows, with the language detected where it was not given."""
    found = iter(detect([row.text for row in rows if not row.lang]))
    return tuple(row if row.lang else replace(row, lang=next(found).code) for row in rows)
