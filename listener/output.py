"""Rows on stdout as a table, JSON or CSV, and talk on stderr."""

from __future__ import annotations

import csv
import json
import sys
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
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


def emit(rows: Iterable[Any], form: Form) -> None:
    """Print rows (mappings or `sqlite3.Row`); only a table shortens values, for the eye."""
    found = [dict(row) for row in rows]
    if form == "json":
        sys.stdout.write(json.dumps(found, ensure_ascii=False, indent=2) + "\n")
    elif not found:
        talk.print("Nothing to show.")
    elif form == "csv":
        writer = csv.DictWriter(sys.stdout, fieldnames=list(found[0]))
        writer.writeheader()
        writer.writerows(found)
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
