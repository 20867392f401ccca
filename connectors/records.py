"""Records out of text files, streamed: lines of JSON, one JSON array or object, tables.

A record that cannot be read is given with its problem and its line; reading goes on after it.
"""

from __future__ import annotations

import codecs
import csv
import gzip
import io
import json
import lzma
import re
import zipfile
import zlib
from collections import deque
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import IO, TypeVar, cast

import zstandard

from .base import BadConfig, Transient
from .values import finite
from .zstd import ZstdFile

MAX_RECORD = 20 * 2**20
"""Bytes of one record; a longer line is skipped."""
MAX_BLANK = 100_000
"""Blank lines one after the other; nobody writes more, and millions would only take time."""
MAX_FIELD = 1_000_000
"""Characters of one value of a table; more means that a quote was never closed."""

NOT_UTF8 = "with bytes that are not UTF-8, replaced (save the file as UTF-8)"
TOO_LONG = "longer than 20 MB"
NOT_JSON = "not valid JSON"
TOO_DEEP = "nested too deep"
BROKEN_ROW = "not a valid row (a quote that is never closed?)"
RAGGED = "with more or fewer columns than the header"

# Python can read JSON that it cannot write again: both count levels, the writer starts deeper.
MAX_DEPTH = 200
_CHUNK = 2**16
_HEAD = 4096
# Lines that rows with an open quote may swallow before each is read again: a table with one in each
# line would take time that grows with the square of its lines.
_MOST_AGAIN = 200_000
_FOREIGN = (
    (b"\xff\xfe", "is UTF-16; save it as UTF-8"),
    (b"\xfe\xff", "is UTF-16; save it as UTF-8"),
    (b"PK\x03\x04", "is a zip archive; unpack it and name the file in it"),
    (b"\x28\xb5\x2f\xfd", "is packed twice; unpack it once with `zstd -d`"),
)
_PACKERS = {b"\x1f\x8b\x08": "gzip", b"\x28\xb5\x2f\xfd": "zstd"}
DAMAGE = (
    *(EOFError, zlib.error, gzip.BadGzipFile, zstandard.ZstdError),
    *(zipfile.BadZipFile, lzma.LZMAError),
)
_DECODER = json.JSONDecoder(parse_constant=lambda _: None, parse_float=finite)
_BETWEEN = re.compile(r"[\s,\[\]]*")
_T = TypeVar("_T")
_BLANK = (b"\n", b"\r\n")
_CONTROL = bytes(set(range(32)) - set(b"\t\n\r\f"))


@dataclass(frozen=True, slots=True)
class Place:
    """A place between two records: bytes (or, in an array, records) and lines before it."""

    at: int = 0
    line: int = 0


@dataclass(frozen=True, slots=True, kw_only=True)
class Record:
    """One value and where it stands. `problem` says why there is no value, `notes` what was mended.

    `line` counts from 1, `size` is in bytes, `after` is the place to go on from. `whole` is False
    for a last line without line feed, which another program may still be writing.
    """

    line: int
    size: int
    after: Place
    value: object = None
    problem: str | None = None
    notes: tuple[str, ...] = ()
    whole: bool = True


@dataclass(frozen=True, slots=True)
class _Line:
    number: int
    size: int
    after: Place
    text: str | None
    notes: tuple[str, ...]
    whole: bool


def read_head(path: Path, size: int = _HEAD) -> bytes:
    """The first bytes of a regular file; BadConfig when there is none that can be read."""
    try:
        if path.is_dir():
            raise BadConfig(f"{path} is a folder; name the files in it")
        if path.exists() and not path.is_file():
            raise BadConfig(f"{path} is not a regular file; save what it gives and name that file")
        with path.open("rb") as start:
            return start.read(size)
    except FileNotFoundError:
        raise BadConfig(f"{path} does not exist; check the path") from None
    except OSError as error:
        raise BadConfig(f"{path} cannot be read: {error.strerror}") from None


def open_bytes(path: Path) -> IO[bytes]:
    """The bytes of a file, unpacked when it is gzip or zstd; BadConfig when it holds no text."""
    head = read_head(path, 4)
    packer = next((name for magic, name in _PACKERS.items() if head.startswith(magic)), "")
    try:
        with _opened(path, packer) as stream:
            head = stream.read(_HEAD)
    except DAMAGE:
        raise BadConfig(f"{path} is a damaged {packer} archive; fetch it again") from None
    except OSError as error:
        raise BadConfig(f"{path} cannot be read: {error.strerror}") from None
    for magic, what in _FOREIGN:
        if head.startswith(magic):
            raise BadConfig(f"{path} {what}")
    if len(head) - len(head.translate(None, _CONTROL)) > len(head) / 20:
        raise BadConfig(f"{path} looks like a binary file; JSON lines or CSV in UTF-8 is needed")
    return _opened(path, packer)


def is_packed(stream: IO[bytes]) -> bool:
    """Whether what `open_bytes` gave is unpacked on the way."""
    return isinstance(stream, gzip.GzipFile) or _is_zstd(stream)


def _is_zstd(stream: IO[bytes]) -> bool:
    return isinstance(stream, io.BufferedReader) and isinstance(stream.raw, ZstdFile)


def _opened(path: Path, packer: str) -> IO[bytes]:
    match packer:
        case "gzip":
            return cast(IO[bytes], gzip.GzipFile(path))
        case "zstd":
            return io.BufferedReader(ZstdFile(path), _CHUNK)
    return path.open("rb")


def is_lines(stream: IO[bytes]) -> bool:
    """Whether a JSON file holds one value a line, rather than one array or object over many."""
    try:
        stream.seek(0)
        if stream.read(_HEAD).removeprefix(codecs.BOM_UTF8).lstrip().startswith(b"["):
            return False
        stream.seek(0)
        head = stream.readline(MAX_RECORD).removeprefix(codecs.BOM_UTF8)
        while head and not head.strip():
            head = stream.readline(MAX_RECORD)
        if _parse(head.decode("utf-8", "replace"))[1] is None:
            return True
        rest = stream.read(MAX_RECORD - len(head))
        _DECODER.raw_decode((head + rest).decode("utf-8", "replace").lstrip())
    except (ValueError, RecursionError, *DAMAGE, OSError):
        return True  # whoever reads the lines is told what is wrong with them
    return False


def json_lines(stream: IO[bytes], start: Place) -> Iterator[Record]:
    """The value of each line after `start`; blank lines are left out."""
    for line in _lines(stream, start):
        if line.text is not None and not line.text.strip():
            continue
        value, problem = (None, TOO_LONG) if line.text is None else _parse(line.text)
        yield Record(
            line=line.number,
            size=line.size,
            after=line.after,
            value=value,
            problem=problem,
            notes=line.notes,
            whole=line.whole,
        )


def json_values(stream: IO[bytes], start: Place, skip: int = 0) -> Iterator[Record]:
    """The elements of an array, or values written one after another, but the first `start.at`.

    The first `skip` bytes are not read. Only the values being read are in memory. BadConfig at the
    first place that is not JSON.
    """
    stream.seek(skip)
    decode = codecs.getincrementaldecoder("utf-8-sig")("replace").decode
    text, pos, line, count, chunk, ended = "", 0, 1, 0, _CHUNK, False
    while True:
        gap, pos = pos, _skip(text, pos)
        line += text.count("\n", gap, pos)
        try:
            value, end = _DECODER.raw_decode(text, pos)
            complete = end < len(text) or ended
        except (ValueError, RecursionError):
            complete = False
        if complete:
            count += 1
            if count > start.at:
                deep = _too_deep(value)
                yield Record(
                    line=line,
                    size=end - pos,
                    after=Place(count, line),
                    value=None if deep else value,
                    problem=TOO_DEEP if deep else None,
                    notes=(NOT_UTF8,) if "\ufffd" in text[pos:end] else (),
                )
            line += text.count("\n", pos, end)
            pos, chunk = end, _CHUNK
            continue
        if ended and pos == len(text):
            return
        if ended or len(text) - pos > MAX_RECORD:
            raise BadConfig(
                f"not valid JSON in the value that starts in line {line}, record {count + 1}; what "
                "stands before it was read. Mend it, or write one object a line (.jsonl)"
            )
        data = _guarded(partial(stream.read, chunk), line)
        ended = not data
        text, pos, chunk = text[pos:] + decode(data, final=ended), 0, chunk * 2


def csv_rows(
    stream: IO[bytes], start: Place, delimiter: str | None = None
) -> tuple[list[str], Iterator[Record]]:
    """The columns of a table, and its rows after `start` as {column: value}, empty values None.

    Without `delimiter` it is the one of comma, semicolon and tab that splits the header most. An
    empty file has no columns. BadConfig when the first line cannot be a header.
    """
    # The limit is one for the whole process; it is only ever raised.
    csv.field_size_limit(max(csv.field_size_limit(), MAX_FIELD))
    lines = _lines(stream, Place())
    header = next((line for line in lines if line.text is None or line.text.strip()), None)
    if header is None:
        return [], iter(())
    columns, delimiter = _header(header.text or "", delimiter)
    if start.at > header.after.at:
        lines = _lines(stream, start)
    return columns, _rows(lines, columns, delimiter)


def _rows(lines: Iterator[_Line], columns: list[str], delimiter: str) -> Iterator[Record]:
    ahead: deque[_Line] = deque()
    again = 0
    while True:
        used: list[_Line] = []
        fields, problem = _row(_feed(ahead, lines, used), delimiter)
        if not used:
            return
        if any(line.text is None for line in used):
            problem = TOO_LONG
        if problem:
            # Only the first line of the row is given up; what it swallowed is read again.
            ahead.extendleft(reversed(used[1:]))
            again += len(used)
            used = used[:1]
            if again > _MOST_AGAIN + 10 * used[0].number:
                raise BadConfig(
                    f"quotes are opened again and again and never closed, in line "
                    f"{used[0].number} too; what stands before it was read. Save it as CSV with "
                    'each quote in a text doubled ("")'
                )
        elif not any(fields):
            continue
        notes = {note for line in used for note in line.notes}
        if not problem and len(fields) != len(columns):
            notes.add(RAGGED)
        values = (value.strip() or None for value in fields)
        yield Record(
            line=used[0].number,
            size=sum(line.size for line in used),
            after=used[-1].after,
            value=None if problem else dict(zip(columns, values, strict=False)),
            problem=problem,
            notes=tuple(sorted(notes)),
            whole=used[-1].whole,
        )


def _header(text: str, delimiter: str | None) -> tuple[list[str], str]:
    def split(by: str) -> list[str]:
        return [name.strip() for name in next(csv.reader([text.rstrip("\r\n")], delimiter=by), [])]

    try:
        by = delimiter or max(",;\t", key=lambda candidate: len(split(candidate)))
        return split(by), by
    except csv.Error:
        raise BadConfig("the first line is not a header; save as CSV with line feeds") from None


def _row(texts: Iterable[str], delimiter: str) -> tuple[list[str], str | None]:
    """The next row and no problem, or no row and what is wrong with it."""
    try:
        return next(csv.reader(texts, delimiter=delimiter), []), None
    except csv.Error:
        return [], BROKEN_ROW


class _OpenQuote(csv.Error):
    """A row wants more lines than the file has."""


def _feed(ahead: deque[_Line], lines: Iterator[_Line], used: list[_Line]) -> Iterator[str]:
    """Lines for one row, kept in `used`: first those read ahead."""
    while (line := ahead.popleft() if ahead else next(lines, None)) is not None:
        used.append(line)
        # A line without text was too long, and a NUL would end the field for some readers.
        yield (line.text or "").replace("\x00", "")
    if used:
        raise _OpenQuote


def _lines(stream: IO[bytes], start: Place) -> Iterator[_Line]:
    stream.seek(start.at)
    at, number = start.at, start.line
    blank = 0
    while data := _read_line(stream, number):
        number += 1
        size = len(data)
        blank = blank + 1 if data in _BLANK else 0
        if blank > MAX_BLANK:
            raise BadConfig(
                f"more than {MAX_BLANK:,} blank lines before line {number}; what stands before "
                "them was read. Remove them"
            )
        text: str | None = None
        notes: tuple[str, ...] = ()
        if size > MAX_RECORD:
            while not data.endswith(b"\n") and (data := _read_line(stream, number)):
                size += len(data)
        else:
            text, notes = _decode(data if at else data.removeprefix(codecs.BOM_UTF8))
        at += size
        yield _Line(number, size, Place(at, number), text, notes, data.endswith(b"\n"))


def _decode(data: bytes) -> tuple[str, tuple[str, ...]]:
    try:
        return data.decode("utf-8"), ()
    except UnicodeDecodeError:
        return data.decode("utf-8", "replace"), (NOT_UTF8,)


def _parse(text: str) -> tuple[object, str | None]:
    """The value of one line of JSON (NaN and infinity become None), or what is wrong with it."""
    try:
        value = _DECODER.decode(text)
    except ValueError:
        return None, NOT_JSON
    except RecursionError:
        return None, TOO_DEEP
    deep = text.count("{") + text.count("[") > MAX_DEPTH and _too_deep(value)
    return (None, TOO_DEEP) if deep else (value, None)


def _too_deep(value: object) -> bool:
    level = [value] if isinstance(value, dict | list) else []
    for _ in range(MAX_DEPTH):
        inner = (item.values() if isinstance(item, dict) else item for item in level)
        level = [one for values in inner for one in values if isinstance(one, dict | list)]
        if not level:
            return False
    return True


def _skip(text: str, pos: int) -> int:
    """Where the next value starts: past blanks, commas and the brackets of the array."""
    match = _BETWEEN.match(text, pos)
    return match.end() if match else pos


def _read_line(stream: IO[bytes], line: int) -> bytes:
    return _guarded(partial(stream.readline, MAX_RECORD + 1), line)


def _guarded(read: Callable[[], bytes], line: int) -> bytes:
    return guarded(read, f"line {line}")


def guarded(read: Callable[[], _T], place: str) -> _T:
    """What `read` gives; BadConfig when the archive is damaged behind `place`, or Transient."""
    try:
        return read()
    except DAMAGE:
        raise BadConfig(
            f"the archive is damaged after {place}; what stands before it was read. Fetch the "
            "file again"
        ) from None
    except OSError as error:
        reason = error.strerror or "damaged data"
        raise Transient(f"reading stopped after {place}: {reason}; try again") from None
