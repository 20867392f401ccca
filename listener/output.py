"""Rows on stdout as a table, JSON or CSV, and talk on stderr."""

from __future__ import annotations

import csv
import json
import sys
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from itertools import chain
from typing import Any, Literal

from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn
from rich.table import Table
from rich.text import Text

from .hostile import clean
from .steps import Progress as Tick
from .steps import ProgressOf

Form = Literal["table", "json", "csv"]
talk = Console(stderr=True, highlight=False)
_CELL = 300
_FORMULA = ("=", "+", "-", "@", "\t", "\r")


def emit(rows: Iterable[Any], form: Form) -> None:
    """Print rows (mappings or `sqlite3.Row`); only a table shortens values, for the eye.

    Bytes are shown as hex. CSV rows are written as they come; a text in them that a spreadsheet
    would take for a formula gets an apostrophe in front.
    """
    coming = ({name: _plain(value) for name, value in dict(row).items()} for row in rows)
    if form == "csv":
        _write_csv(coming)
        return
    found = list(coming)
    if form == "json":
        sys.stdout.write(json.dumps(found, ensure_ascii=False, indent=2) + "\n")
    elif not found:
        talk.print("Nothing to show.")
    else:
        table = Table(box=None, pad_edge=False, header_style="bold")
        for name in found[0]:
            table.add_column(name, overflow="fold")
        for row in found:
            # Text, not markup: a post must not colour the terminal or move its cursor.
            table.add_row(*(Text(clean("" if v is None else str(v), _CELL)) for v in row.values()))
        # Piped output has no width of its own; tables there are for people too.
        width = None if sys.stdout.isatty() else 120
        Console(highlight=False, width=width).print(table)


def _write_csv(rows: Iterator[dict[str, Any]]) -> None:
    first = next(rows, None)
    if first is None:
        talk.print("Nothing to show.")
        return
    writer = csv.writer(sys.stdout)
    writer.writerow(first)
    for row in chain([first], rows):
        writer.writerow(_no_formula(value) for value in row.values())


def _plain(value: Any) -> Any:
    return value.hex() if isinstance(value, bytes) else value


def _no_formula(value: Any) -> Any:
    return f"'{value}" if isinstance(value, str) and value.startswith(_FORMULA) else value


def named(names: Iterable[str]) -> list[str]:
    """`names` made unique: the second `name` becomes `name_2`, and so on."""
    made: list[str] = []
    for name in names:
        shown, number = name, 1
        while shown in made:
            number += 1
            shown = f"{name}_{number}"
        made.append(shown)
    return made


@contextmanager
def shown_progress() -> Iterator[ProgressOf]:
    """Progress bars on stderr, one for each step that has something to do."""
    with Progress(
        TextColumn("{task.description:>8}"),
        BarColumn(),
        MofNCompleteColumn(),
        TimeRemainingColumn(),
        console=talk,
    ) as bars:

        def open_step(name: str, total: int | None) -> Tick:
            if total == 0:
                return lambda _: None
            task = bars.add_task(name, total=total)
            return lambda count: bars.advance(task, count)

        yield open_step
