"""The cells of a spreadsheet as lines of JSON, read in a process of its own.

    python -P sheet_rows.py FILE

One cell far to the right and below makes the library ask for more memory than there is, which ends
the process, and so may its other faults in odd files. A line is [number of the sheet, number of the
row from 1, its cells as texts, whether one was rounded]. Row 0 says that a sheet cannot be read,
cells that are null stand for too long ones. The last line is null; without it the book is broken.
"""

from __future__ import annotations

import json
import sys
from collections.abc import Iterator, Sequence
from contextlib import suppress
from datetime import date, time, timedelta

from python_calamine import CalamineError, CalamineSheet, CalamineWorkbook

_MEMORY = 4 * 2**30
_CPU_SECONDS = 900
_MOST_CELLS = 20_000_000
_LONGEST_ROW = 5_000_000
_EXACT = 10**15
_Cell = int | float | str | bool | date | time | timedelta
_Line = tuple[int, int, list[str | None] | None, bool]


def read_rows(path: str) -> Iterator[_Line]:
    """The rows of all sheets that are not empty; raises CalamineError for what is no book."""
    book = CalamineWorkbook.from_path(path)
    for number, name in enumerate(book.sheet_names):
        try:
            sheet = book.get_sheet_by_name(name)
        except CalamineError:
            yield number, 0, None, False
            continue
        if sheet.height * sheet.width > _MOST_CELLS:
            yield number, 0, None, False
            continue
        yield from _rows(number, sheet)


def _rows(number: int, sheet: CalamineSheet) -> Iterator[_Line]:
    for at, row in enumerate(sheet.iter_rows(), start=1):
        cells = _texts(row)
        size = sum(map(len, filter(None, cells)))
        rounded = any(map(_rounded, row))
        if size or rounded:
            yield number, at, cells if size <= _LONGEST_ROW else None, rounded


def _texts(row: Sequence[_Cell]) -> list[str | None]:
    return [_text(cell) for cell in row]


def _text(cell: _Cell) -> str | None:
    """A cell as the text that a person sees; None for an empty one and a rounded number."""
    if _rounded(cell):
        return None
    if isinstance(cell, float) and cell.is_integer():
        cell = int(cell)
    if isinstance(cell, date | time):
        return cell.isoformat()
    return str(cell).strip() or None


def _rounded(cell: _Cell) -> bool:
    return isinstance(cell, int | float) and not isinstance(cell, bool) and abs(cell) >= _EXACT


def _bound() -> None:
    """Keep this process from taking the memory and the time of others, where the system can."""
    with suppress(ImportError, ValueError, OSError):
        import resource

        resource.setrlimit(resource.RLIMIT_AS, (_MEMORY, _MEMORY))
        resource.setrlimit(resource.RLIMIT_CPU, (_CPU_SECONDS, _CPU_SECONDS))


if __name__ == "__main__":
    _bound()
    for line in read_rows(sys.argv[1]):
        sys.stdout.write(f"{json.dumps(line)}\n")
    sys.stdout.write("null\n")
