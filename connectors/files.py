"""Files of posts as connectors: JSON lines and arrays, CSV, TSV; plain, gzip or zstd, streamed."""

from __future__ import annotations

import difflib
import hashlib
import logging
import os
import re
from abc import ABC, abstractmethod
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from pathlib import Path
from typing import IO

from .base import (
    BadConfig,
    Budget,
    BudgetSpent,
    Capabilities,
    Cursor,
    Mention,
    Page,
    Query,
    Transient,
)
from .mapping import FIELDS, Mapped, OddRecord, check_columns, names_field, to_mentions
from .records import (
    Place,
    Record,
    csv_rows,
    is_lines,
    is_packed,
    json_lines,
    json_values,
    open_bytes,
)
from .values import require_aware

logger = logging.getLogger(__name__)

PAGE_SIZE = 1000
# A page also ends here, so that few huge records do not fill the memory.
_PAGE_BYTES = 8 * 2**20
_HEAD = 65_536
_TAIL = 4_096
_SHOWN_LINES = 10
_PACKED = (".gz", ".zst")
TABLES = (".csv", ".tsv", ".tab")
JSON = (".json", ".jsonl", ".ndjson")
SHEETS = (".xlsx", ".xlsm", ".xlsb", ".xls", ".ods")
_ENDINGS = re.compile(rf"({'|'.join(map(re.escape, (*_PACKED, *TABLES, *JSON, *SHEETS)))})+$")
# What is surely the name of a column; a table without header starts with a post.
_NAME = re.compile(r"[^\W\d]\w*(?:[ ._:/-]\w+){0,2}")
_REPEATED = "with an id that came before"
# Ids in which repeats are looked for; those of a whole dump would fill the memory.
_REMEMBERED = 1_000_000


class FileConnector(ABC):
    """A file whose records become mentions, page by page.

    The cursor holds a fingerprint of the file: a finished file gives nothing again, one that grew
    goes on where it ended, and one that changed is read from its start. A last line without line
    feed is given, and given again when the file has grown.
    """

    unit = "line"
    """What places are counted in when people are told of them."""

    def __init__(
        self,
        path: str | Path,
        mapping: Mapping[str, str] | None = None,
        source: str | None = None,
        page_size: int = PAGE_SIZE,
    ) -> None:
        self._path = Path(path)
        self._columns = check_columns(mapping)
        self._source = source
        self._page_size = page_size
        digest = hashlib.sha256(os.fsencode(os.path.realpath(self._path)))
        self._prefix = f"{digest.hexdigest()[:8]}:"

    @property
    def source(self) -> str:
        """The source given, else the one of records that do not name theirs: the file's name.

        Ids of two exports are not those of one site, so ids of such records begin with 8 hex digits
        of the SHA-256 of the file's path: two files of one name do not share ids.
        """
        return self._source or _source_of(self._path)

    @abstractmethod
    def capabilities(self) -> Capabilities:
        """What this connector can do; makes no request."""

    @abstractmethod
    def _records(self, stream: IO[bytes], start: Place) -> Iterator[Record]:
        """What stands in the file after `start`; errors do not name the file."""

    def _mentions(self, value: object, now: datetime) -> Mapped:
        """What one record gives; raises OddRecord."""
        return to_mentions(
            value,
            columns=self._columns,
            source=self._source,
            unnamed=self.source,
            prefix=self._prefix,
            now=now,
        )

    def _open(self) -> IO[bytes]:
        """The bytes that `_records` reads; BadConfig when the file cannot be one of its kind."""
        return open_bytes(self._path)

    def _grows(self, stream: IO[bytes]) -> bool:
        """Whether a longer file only has more at its end, so that reading can go on there."""
        return not is_packed(stream)

    def collect(
        self, query: Query | None, cursor: Cursor | None, *, budget: Budget, now: datetime
    ) -> Iterator[Page]:
        """Pages of the file after `cursor`; `query` is not looked at.

        A record is never split, so a thread of many answers may exceed `budget.mentions`. Raises
        BadConfig for a file that cannot be read, Transient or BudgetSpent.
        """
        now = require_aware(now)
        with self._open() as stream:
            mark = _Mark.of(self._path, self._grows(stream), self._columns, self._source)
            start = mark.resume(cursor)
            if start is not None:
                yield from self._pages(stream, mark, start, budget, now)

    def check(self, *, now: datetime) -> str:
        """One line about the file: its name and what its first record gives."""
        now = require_aware(now)
        name = self._path.name
        with self._open() as stream:
            record = next(self._read(stream, Place()), None)
        if record is None:
            return f"{name}: empty"
        if record.problem:
            return f"{name}: readable; its first record is skipped, {record.problem}"
        try:
            found = len(self._mentions(record.value, now).mentions)
        except OddRecord as odd:
            return f"{name}: readable; its first record is skipped, {odd.reason}"
        return (
            f"{name}: readable; its first record gives {found} mention{'' if found == 1 else 's'}"
        )

    def _read(self, stream: IO[bytes], start: Place) -> Iterator[Record]:
        try:
            yield from self._records(stream, start)
        except (BadConfig, Transient) as error:
            raise type(error)(f"{self._path}: {error}") from None

    def _pages(
        self, stream: IO[bytes], mark: _Mark, start: Place, budget: Budget, now: datetime
    ) -> Iterator[Page]:
        pages = given = 0
        draft = _Draft(start)
        # The first record opens a page like any other, so that a spent budget gives none.
        full = True
        try:
            for record in self._read(stream, start):
                if full and draft.records:
                    yield draft.page(mark, self.unit, more=True)
                    pages, given = pages + 1, given + len(draft.mentions)
                if full:
                    left = self._page_size if budget.mentions is None else budget.mentions - given
                    if left <= 0 or pages == budget.pages:
                        raise BudgetSpent(
                            f"{self._path.name}: the budget is used up; the file goes on after "
                            f"{self.unit} {draft.after.line}"
                        )
                    draft = _Draft(draft.after, draft.seen, limit=min(self._page_size, left))
                draft.add(record, self._mentions, now)
                full = draft.full
        except (BadConfig, Transient):
            if draft.records:
                yield draft.page(mark, self.unit, more=True)
            raise
        yield draft.page(mark, self.unit, more=False, empty=start == Place() and not pages)
        given += len(draft.mentions)
        logger.info("%s: read to the end, %d mentions", self._path.name, given)


class JsonLines(FileConnector):
    """Posts as JSON: one object a line, one array, or one object; see `mapping` for its fields."""

    def capabilities(self) -> Capabilities:
        """What this connector can do; makes no request."""
        return Capabilities(
            by_query=False,
            prefiltered=True,
            gives="posts and nested threads of any JSON lines or JSON export",
            needs="a .jsonl or .json file, also .gz or .zst (dumps of Reddit)",
        )

    def _grows(self, stream: IO[bytes]) -> bool:
        # An array is written anew when it grows.
        return super()._grows(stream) and is_lines(stream)

    def _records(self, stream: IO[bytes], start: Place) -> Iterator[Record]:
        return (json_lines if is_lines(stream) else json_values)(stream, start)


class Csv(FileConnector):
    """Posts as a table with a header: comma, semicolon or tab between the columns."""

    def capabilities(self) -> Capabilities:
        """What this connector can do; makes no request."""
        return Capabilities(
            by_query=False,
            prefiltered=True,
            gives="posts of any table with a column of texts",
            needs="a .csv or .tsv file with a header, also .gz or .zst",
        )

    def _records(self, stream: IO[bytes], start: Place) -> Iterator[Record]:
        delimiter = "\t" if suffix_of(self._path) in (".tsv", ".tab") else None
        columns, rows = csv_rows(stream, start, delimiter)
        if columns:
            check_header(columns, self._columns)
        return rows


def _source_of(path: Path) -> str:
    """The name of a file without its endings as a source name: `Mi export.csv` is mi-export."""
    name = _ENDINGS.sub("", path.name.lower())
    return re.sub(r"[^a-z0-9_-]+", "-", name).strip("-_")[:32] or "file"


def suffix_of(path: Path) -> str:
    """The ending of a file's name in lower case, before that of a packer: `A.CSV.gz` is .csv."""
    name = path.name.lower()
    for packed in _PACKED:
        name = name.removesuffix(packed)
    return Path(name).suffix


def check_header(columns: Sequence[str], mapping: Mapping[str, str]) -> None:
    """BadConfig when a mapped column is missing, or none is known to hold the text."""
    # A first line that is a post is not repeated in an error.
    if any(len(column) > 40 for column in columns):
        raise BadConfig("the first line is not a header; put the names of the columns there")
    named = f"columns: {', '.join(_shown(*one) for one in enumerate(columns, start=1) if one[1])}"
    if not all(map(_NAME.fullmatch, filter(None, columns))):
        named = f"{len(columns)} columns, named in the first line"
    for name, column in mapping.items():
        if column not in columns:
            near = difflib.get_close_matches(column, filter(_is_name, columns), n=1)
            hint = f"; did you mean {near[0]}?" if near else ""
            raise BadConfig(f"--map {name}={column}: no such column{hint} ({named})")
    readable = any(names_field(column, name) for column in columns for name in ("text", "title"))
    if not readable and not {"text", "title"} & mapping.keys():
        raise BadConfig(f"no column is known to hold the text; add --map text=COLUMN ({named})")


def _is_name(column: str) -> bool:
    """Whether a cell of the header is one word or a name we know: no piece of a post."""
    if _NAME.fullmatch(column) is None:
        return False
    return " " not in column or any(names_field(column, name) for name in FIELDS)


def _shown(number: int, column: str) -> str:
    """A column as an error calls it: a header that lost its end may go on with a post."""
    return column if _is_name(column) else f"column {number} ({len(column)} characters)"


@dataclass(frozen=True, slots=True)
class _Mark:
    """What a file looks like now: enough to see on the next run whether it is the same."""

    path: Path
    grows: bool
    size: int
    head: str
    options: str

    @classmethod
    def of(cls, path: Path, grows: bool, columns: Mapping[str, str], source: str | None) -> _Mark:
        size = path.stat().st_size
        options = hashlib.sha256(repr((sorted(columns.items()), source)).encode()).hexdigest()
        return cls(path, grows, size, _digest(path, 0, min(size, _HEAD)), options[:16])

    def cursor(self, after: Place, *, done: bool) -> Cursor:
        return {
            "fingerprint": {"size": self.size, "head": self.head, "options": self.options},
            "at": after.at,
            "line": after.line,
            "tail": self._tail(after.at),
            "done": done,
        }

    def resume(self, cursor: Cursor | None) -> Place | None:
        """Where to go on, None when the file was read to its end. Whatever does not fit: at 0."""
        match cursor:
            case {
                "fingerprint": {"size": int(size), "head": str(head), "options": self.options},
                "at": int(at),
                "line": int(line),
                "tail": tail,
                "done": bool(done),
            } if 0 <= size <= self.size and head == _digest(self.path, 0, min(size, _HEAD)):
                if tail != self._tail(at) or (size < self.size and not self.grows):
                    return Place()
                return None if done and size == self.size else Place(at, line)
        return Place()

    def _tail(self, at: int) -> str | None:
        return _digest(self.path, max(0, at - _TAIL), at) if self.grows else None


def _digest(path: Path, start: int, end: int) -> str:
    with path.open("rb") as file:
        file.seek(start)
        return hashlib.sha256(file.read(end - start)).hexdigest()[:32]


@dataclass(slots=True)
class _Draft:
    """A page in the making. `seen` are the hashes of the first ids given, on all pages."""

    after: Place
    seen: set[int] = field(default_factory=set)
    limit: int = PAGE_SIZE
    mentions: list[Mention] = field(default_factory=list)
    lines: dict[str, list[int]] = field(default_factory=dict)
    records: int = 0
    returned: int = 0
    size: int = 0

    @property
    def full(self) -> bool:
        return max(len(self.mentions), self.records) >= self.limit or self.size >= _PAGE_BYTES

    def add(
        self, record: Record, read: Callable[[object, datetime], Mapped], now: datetime
    ) -> None:
        mapped = Mapped(skipped=(record.problem,)) if record.problem else Mapped()
        if not record.problem:
            try:
                mapped = read(record.value, now)
            except OddRecord as odd:
                mapped = Mapped(skipped=(odd.reason,))
        self.records += 1
        self.mentions += mapped.mentions
        self.returned += len(mapped.mentions) + len(mapped.skipped)
        self.size += record.size
        for skipped in mapped.skipped:
            self.lines.setdefault(f"skipped, {skipped}", []).append(record.line)
        for note in (*record.notes, *mapped.notes):
            self.lines.setdefault(note, []).append(record.line)
        for mention in mapped.mentions:
            # The ids themselves would fill the memory.
            key = hash((mention.source, mention.native_id))
            if key in self.seen:
                self.lines.setdefault(_REPEATED, []).append(record.line)
            if len(self.seen) < _REMEMBERED:
                self.seen.add(key)
        if record.whole:
            self.after = record.after

    def page(self, mark: _Mark, unit: str, *, more: bool, empty: bool = False) -> Page:
        name = mark.path.name
        warnings = [f"{name}: {why}: {_where(lines, unit)}" for why, lines in self.lines.items()]
        if empty and not self.records:
            warnings.append(f"{name}: empty, there is no record in it")
        return Page(
            mentions=tuple(self.mentions),
            cursor=mark.cursor(self.after, done=not more),
            more=more,
            returned=self.returned,
            warnings=tuple(warnings),
        )


def _where(lines: Sequence[int], unit: str) -> str:
    """How often, and in which lines: "3 (lines 2, 5, 9)"."""
    places = list(dict.fromkeys(lines))
    shown = ", ".join(str(line) for line in places[:_SHOWN_LINES])
    more = f" and {len(places) - _SHOWN_LINES} more" if len(places) > _SHOWN_LINES else ""
    return f"{len(lines)} ({unit}{'s' * (len(places) > 1)} {shown}{more})"
