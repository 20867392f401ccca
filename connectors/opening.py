"""Files of posts by what they are: by their name, their content, or as the user says."""

from __future__ import annotations

import codecs
import pkgutil
from collections.abc import Mapping
from itertools import islice
from pathlib import Path

from . import feed_file, telegram, twarc, x_archive
from .base import BadConfig, Connector, ConnectorError
from .files import JSON, SHEETS, TABLES, suffix_of
from .records import Place, is_lines, json_lines, json_values, open_bytes

_HEAD = 4_096

FORMATS = {
    "csv": "connectors.files:Csv",
    "excel": "connectors.excel:Excel",
    "feed": "connectors.feed_file:FeedFile",
    "jsonl": "connectors.files:JsonLines",
    "telegram": "connectors.telegram:Telegram",
    "twarc": "connectors.twarc:Twarc",
    "x-archive": "connectors.x_archive:XArchive",
}
"""What a file can be."""


def open_file(
    path: str | Path,
    format: str = "auto",  # noqa: A002  the word of the command line
    mapping: Mapping[str, str] | None = None,
    source: str | None = None,
) -> Connector:
    """The connector for a file: `format` is one of FORMATS, or auto (by name and content).

    Raises BadConfig for an unknown format or field and, with auto, for a file that cannot be read.
    """
    path = Path(path)
    if format != "auto" and format not in FORMATS:
        raise BadConfig(f"--format {format}: no such format (auto, {', '.join(FORMATS)})")
    kind = _detect(path) if format == "auto" else format
    opened: Connector = pkgutil.resolve_name(FORMATS[kind])(path, mapping, source)
    return opened


def _detect(path: Path) -> str:
    if path.name.lower().endswith(SHEETS):
        return "excel"
    if x_archive.is_archive(path):
        return "x-archive"
    with open_bytes(path) as stream:
        suffix = suffix_of(path)
        head = stream.read(_HEAD)
        if feed_file.is_feed(head):
            return "feed"
        is_json = head.removeprefix(codecs.BOM_UTF8).lstrip()[:1] in (b"{", b"[")
        if suffix in TABLES or (suffix not in JSON and not is_json):
            return "csv"
        if telegram.is_export(head):
            return "telegram"
        read = json_lines if is_lines(stream) else json_values
        try:
            records = [record for record in islice(read(stream, Place()), 3) if not record.problem]
        except ConnectorError:
            return "jsonl"  # which says what is wrong with it
    return "twarc" if any(twarc.is_twarc(record.value) for record in records) else "jsonl"
