"""What `listener check`, `doctor` and `sources` show: rows of what, status and note."""

from __future__ import annotations

import shutil
import sqlite3
import sys
from collections.abc import Callable
from datetime import datetime
from functools import partial
from pathlib import Path
from typing import Any

from .config import Config
from .errors import explained
from .pipeline import Parts
from .sources import build, catalogue
from .store import Store, StoreError
from .vocabulary import terms

_ROOM = 200_000_000
_FIXED_SQLITE = (3, 51, 3)


def _row(what: str, run: Callable[[], str]) -> dict[str, Any]:
    try:
        return {"what": what, "status": "ok", "note": run()}
    except explained() as error:
        return {"what": what, "status": "failed", "note": str(error)}


def check_all(parts: Parts, *, now: datetime) -> list[dict[str, Any]]:
    """The configuration (already valid), each enabled source and channel: one cheap call each."""
    config = parts.config
    rows = [
        {
            "what": "configuration",
            "status": "ok",
            "note": f"{len(config.products)} products, {len(config.competitors)} competitors, "
            f"{len(config.categories)} categories",
        }
    ]
    rows.append(_row("terms", partial(_terms, parts)))
    sources, failed = build(config)
    if not sources and not failed:
        note = "none is enabled: nothing will be collected; see [sources] in the configuration"
        rows.append({"what": "sources", "status": "failed", "note": note})
    rows += [
        {"what": f"source {one.source}", "status": "failed", "note": one.error or ""}
        for one in failed
    ]
    rows += [
        _row(f"source {source.name}", partial(source.connector.check, now=now))
        for source in sources
    ]
    rows.append(_row("channels", partial(_channels, parts)))
    return rows


def _channels(parts: Parts) -> str:
    return "; ".join(channel.check() for channel in parts.channels.values()) or "none enabled"


def _terms(parts: Parts) -> str:
    count = len(terms(parts.config))
    parts.matcher.match(["one text"])
    return f"{count} terms"


def source_rows(config: Config) -> list[dict[str, Any]]:
    """The table of sources: where it is set, whether it is enabled, what it gives, needs, costs."""
    enabled = {name for name, _ in config.sources.enabled()}
    return [
        {
            "source": name,
            "enabled": "yes" if name.partition(" ")[0] in enabled else "no",
            "gives": can.gives,
            "needs": can.needs,
            "cost": can.cost,
        }
        for name, can in catalogue()
    ]


def examine_machine(parts: Parts, database: Path) -> list[dict[str, Any]]:
    """Python, SQLite, disk, model and database."""
    return [
        {"what": "python", "status": "ok", "note": sys.version.split()[0]},
        _sqlite(),
        _disk(database),
        _row("model", lambda: f"version {parts.tagger.version}, {_tries(parts)}"),
        _row("database", lambda: _database(database)),
    ]


def _tries(parts: Parts) -> str:
    (tags,) = parts.tagger.tag(["Which coffee machine should I buy?"], ["en"])
    return f"{len(tags)} tags for a test sentence"


def _sqlite() -> dict[str, Any]:
    note = sqlite3.sqlite_version
    if sqlite3.sqlite_version_info < _FIXED_SQLITE:
        note += (
            "; below 3.51.3 two writing programs at once can damage a WAL database: "
            "Listener's lock keeps to one, do not write to the file with other tools meanwhile"
        )
    return {"what": "sqlite", "status": "ok", "note": note}


def _disk(database: Path) -> dict[str, Any]:
    folder = database.absolute().parent
    if not folder.is_dir():
        return {"what": "disk", "status": "failed", "note": f"{folder} does not exist: create it"}
    free = shutil.disk_usage(folder).free
    return {
        "what": "disk",
        "status": "ok" if free >= _ROOM else "failed",
        "note": f"{free / 1e9:.1f} GB free" + ("" if free >= _ROOM else ": free at least 0.2 GB"),
    }


def _database(path: Path) -> str:
    if not path.exists():
        return f"{path} is made at the first run"
    with Store(path) as store:
        found = store.value("PRAGMA quick_check(1)")
        if found != "ok":
            raise StoreError(f"{path} is damaged ({found}): restore a backup, or move it away")
        return f"{store.value('SELECT count(*) FROM mentions')} mentions, quick_check ok"
