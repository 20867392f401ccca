"""Tables in spreadsheets (.xlsx, .xlsm, .xls, .ods), each sheet with its names in the first row."""

from __future__ import annotations

import json
import subprocess
import sys
import zipfile
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import IO

from .base import BadConfig, Capabilities
from .files import FileConnector, check_header
from .records import RAGGED, TOO_LONG, Place, Record, read_head

ROUNDED = "with a number of over 15 digits, rounded by the sheet; left out (store it as text)"

UNREADABLE = "it is no readable spreadsheet; export it as CSV in UTF-8"

_LARGEST = 200 * 2**20
_UNPACKED = 1_000 * 2**20


class Excel(FileConnector):
    """Posts in the rows of spreadsheets. Another process has the whole book in its memory."""

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
        count, sheet = 0, -1
        columns: list[str] | None = None
        refused, readable = None, False
        for number, at, cells, rounded in _rows(self._path):
            # A book may have a sheet that cannot be read, such as one that holds only a chart.
            if at == 0:
                refused = refused or BadConfig(UNREADABLE)
            elif number != sheet:
                sheet, columns = number, [cell or "" for cell in cells or ()]
                try:
                    check_header(columns, self._columns)
                    readable = True
                except BadConfig as error:
                    refused, columns = error, None
            elif columns is not None:
                count += 1
                if count > start.at:
                    yield _record(columns, cells, at, Place(count, at), rounded=rounded)
        if refused is not None and not readable:
            raise refused


def _rows(path: Path) -> Iterator[tuple[int, int, list[str | None] | None, bool]]:
    """What `sheet_rows` writes; BadConfig when it breaks off."""
    command = [sys.executable, "-P", str(Path(__file__).with_name("sheet_rows.py")), str(path)]
    with subprocess.Popen(  # noqa: S603  our own program; the name of the file is one argument
        command, stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL
    ) as process:
        try:
            for line in process.stdout or ():
                row = json.loads(line)
                if row is None:
                    return
                yield row
        finally:
            process.kill()
    raise BadConfig(UNREADABLE)


def _record(
    columns: Sequence[str],
    cells: Sequence[str | None] | None,
    number: int,
    after: Place,
    *,
    rounded: bool,
) -> Record:
    if cells is None:
        return Record(line=number, size=0, after=after, problem=TOO_LONG)
    notes = [ROUNDED] if rounded else []
    if any(cells[len(columns) :]):
        notes.append(RAGGED)
    value = {name: cell for name, cell in zip(columns, cells, strict=False) if name}
    size = sum(map(len, filter(None, cells)))
    return Record(line=number, size=size, after=after, value=value, notes=tuple(notes))


def _unpacked(path: Path) -> int:
    try:
        with zipfile.ZipFile(path) as archive:
            return sum(one.file_size for one in archive.infolist())
    except (zipfile.BadZipFile, OSError, RuntimeError, ValueError):
        return 0  # whoever reads the book says what is wrong with it
