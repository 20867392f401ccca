"""Tables in spreadsheets (.xlsx, .xlsm, .xls, .ods), each sheet with its names in the first row."""

from __future__ import annotations

import zipfile
from collections.abc import Iterator, Sequence
from datetime import date, datetime, time, timedelta
from pathlib import Path
from typing import IO

from python_calamine import CalamineError, CalamineWorkbook

from .base import BadConfig, Capabilities
from .files import FileConnector, check_header
from .records import RAGGED, Place, Record, read_head

ROUNDED = "with a number of over 15 digits, rounded by the sheet; left out (store it as text)"

_LARGEST = 200 * 2**20
_UNPACKED = 1_000 * 2**20
_EXACT = 10**15
_Cell = int | float | str | bool | time | date | datetime | timedelta


class Excel(FileConnector):
    """Posts in the rows of spreadsheets. The whole book is in memory while it is read."""

    unit = "row"

    def capabilities(self) -> Capabilities:
        """What this connector can do; makes no request."""
        return Capabilities(
            by_query=False,
            prefiltered=True,
            gives="posts of any spreadsheet with a column of texts",
            needs="an .xlsx, .xls or .ods file with names in its first row",
        )

    def _open(self) -> IO[bytes]:
        head = read_head(self._path, 4)
        size = self._path.stat().st_size
        if head == b"PK\x03\x04":
            size = _unpacked(self._path)
        if size > _UNPACKED or self._path.stat().st_size > _LARGEST:
            raise BadConfig(f"{self._path} is too large for a spreadsheet; export it as CSV")
        return self._path.open("rb")

    def _grows(self, stream: IO[bytes]) -> bool:
        return False

    def _records(self, stream: IO[bytes], start: Place) -> Iterator[Record]:
        stream.seek(0)
        try:
            book = CalamineWorkbook.from_object(stream)
        except CalamineError:
            raise BadConfig("it is no readable spreadsheet; export it as CSV in UTF-8") from None
        count, refused, readable = 0, None, False
        for name in book.sheet_names:
            # A book may have a sheet that cannot be read, such as one that holds only a chart.
            try:
                rows = book.get_sheet_by_name(name).to_python(skip_empty_area=False)
            except CalamineError:
                continue
            at = next((n for n, row in enumerate(rows) if any(map(_text, row))), None)
            if at is None:
                continue
            columns = [_text(cell) or "" for cell in rows[at]]
            try:
                check_header(columns, self._columns)
            except BadConfig as error:
                refused = error
                continue
            readable = True
            for number, row in enumerate(rows[at + 1 :], start=at + 2):
                if any(map(_text, row)):
                    count += 1
                    if count > start.at:
                        yield _record(columns, row, number, Place(count, number))
        if refused is not None and not readable:
            raise refused


def _record(columns: Sequence[str], row: Sequence[_Cell], number: int, after: Place) -> Record:
    cells = [_text(cell) for cell in row]
    notes = [ROUNDED] if any(map(_rounded, row)) else []
    if len(columns) < len(row) and any(cells[len(columns) :]):
        notes.append(RAGGED)
    value = {name: cell for name, cell in zip(columns, cells, strict=False) if name}
    size = sum(map(len, filter(None, cells)))
    return Record(line=number, size=size, after=after, value=value, notes=tuple(notes))


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


def _unpacked(path: Path) -> int:
    try:
        with zipfile.ZipFile(path) as archive:
            return sum(one.file_size for one in archive.infolist())
    except (zipfile.BadZipFile, OSError):
        return 0  # whoever reads the book says what is wrong with it
