"""What `listener doctor` shows: this machine, the files, and what the daemon left behind.

Rows of what, status and note; status is "ok", "warning" (worth a look) or "failed".
"""

from __future__ import annotations

import os
import shutil
import sqlite3
import stat
import sys
import tempfile
from collections.abc import Callable, Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any
from zoneinfo import ZoneInfo

from pydantic import BaseModel

from . import __version__
from .backup import LAST, beside
from .config import Config
from .config_fields import Secret
from .errors import explained
from .health import health
from .pipeline import Parts
from .session import lock_holder
from .store import Store, StoreError, moment
from .troubles import ROOM

_FIXED_SQLITE = (3, 51, 3)
_LARGEST_LOG = 500_000_000
_OLD_BACKUP = timedelta(days=7)
_SKEW = timedelta(seconds=5)
_AHEAD = timedelta(minutes=5)
_TIMES = (
    ("heartbeat", "SELECT value FROM state WHERE key = 'heartbeat'"),
    ("latest collection", "SELECT max(started_at) FROM runs"),
    ("latest post", "SELECT max(first_seen_at) FROM mentions"),
)
Found = tuple[str, str]
"""Status and note."""


def examine_machine(parts: Parts, database: Path, *, now: datetime) -> list[dict[str, Any]]:
    """Everything that can be looked at without asking a source; channels are asked once."""
    config = parts.config
    rows = [
        _row("listener", lambda: ("ok", f"version {__version__}")),
        _row("python", lambda: ("ok", sys.version.split()[0])),
        _row("sqlite", _sqlite),
        _row("disk", lambda: _disk(database)),
        _row("clock", lambda: _clock(database, now)),
        _row("time zones", lambda: _zones(config, now)),
        _row("credentials", lambda: _credentials(config)),
        _row("model", lambda: ("ok", _model(parts))),
        _row("channels", lambda: ("ok", _channels(parts))),
        _row("private files", lambda: _private(config, database)),
        _row("lock", lambda: _lock(database)),
        _row("database", lambda: _database(database)),
    ]
    if database.is_file():
        rows += [
            _row("write-ahead log", lambda: _wal(database)),
            _row("daemon", lambda: _daemon(config, database, now)),
            _row("backup", lambda: _backup(database, now)),
        ]
    return rows


def _row(what: str, look: Callable[[], Found]) -> dict[str, Any]:
    try:
        status, note = look()
    except explained() as error:
        status, note = "failed", str(error)
    return {"what": what, "status": status, "note": note}


def _model(parts: Parts) -> str:
    (tags,) = parts.tagger.tag(["Which coffee machine should I buy?"], ["en"])
    runtime = parts.models.encoder.model.runtime
    return f"version {parts.tagger.version}, {runtime}, {len(tags)} tags for a test sentence"


def _channels(parts: Parts) -> str:
    return "; ".join(channel.check() for channel in parts.channels.values()) or "none enabled"


def _sqlite() -> Found:
    note = sqlite3.sqlite_version
    if sqlite3.sqlite_version_info < _FIXED_SQLITE:
        note += (
            "; below 3.51.3 two writing programs at once can damage a WAL database: "
            "Listener's lock keeps to one, do not write to the file with other tools meanwhile"
        )
    return "ok", note


def _disk(database: Path) -> Found:
    folder = database.absolute().parent
    if not folder.is_dir():
        return "failed", f"{folder} does not exist: create it"
    free = shutil.disk_usage(folder).free
    told = f"{free / 1e9:.1f} GB free"
    return ("ok", told) if free >= ROOM else ("failed", f"{told}: free at least 0.5 GB")


def _clock(database: Path, now: datetime) -> Found:
    """Without a network a clock can be compared with the disk and with what it said before."""
    folder = database.absolute().parent
    if folder.is_dir() and os.access(folder, os.W_OK):
        with tempfile.NamedTemporaryFile(dir=folder) as file:
            written = datetime.fromtimestamp(Path(file.name).stat().st_mtime, UTC)
        skew = written - datetime.now(UTC)
        if abs(skew) > _SKEW:
            told = f"the disk's clock differs by {skew.total_seconds():.0f} s"
            return "failed", f"{told}: set both machines' clocks by NTP"
    if database.is_file():
        with Store(database) as store:
            for what, sql in _TIMES:
                at = store.value(sql)
                if at and moment(at) > now + _AHEAD:
                    return "failed", (
                        f"the {what} is of {at}, which is in the future: the clock was wrong then "
                        "or is wrong now; set it by NTP"
                    )
    told = f"{now:%Y-%m-%d %H:%M:%S} UTC, neither behind the database nor the disk"
    return "ok", f"{told} (compared without a network)"


def _zones(config: Config, now: datetime) -> Found:
    names = {config.digest.timezone, config.schedule.timezone}
    names |= {person.timezone for person in config.recipients if person.timezone}
    return "ok", ", ".join(
        f"{name} {now.astimezone(ZoneInfo(name)):%H:%M}" for name in sorted(names)
    )


def _credentials(config: Config) -> Found:
    """Environment variables by name; whether they are right is what `listener check` asks."""
    wanted = sorted({name for part in _in_use(config) for name in _variables(part)})
    missing = [name for name in wanted if not os.environ.get(name)]
    if missing:
        return "failed", f"not set: {', '.join(missing)}: set them before Listener starts"
    return "ok", f"{', '.join(wanted) or 'none needed'}; `listener check` tries them"


def _in_use(config: Config) -> Iterator[BaseModel]:
    yield from (one for _, one in config.sources.enabled())
    yield from (one for _, one in config.channels if getattr(one, "enabled", False))
    yield config.web


def _variables(value: object) -> Iterator[str]:
    if isinstance(value, Secret):
        yield value.env
    elif isinstance(value, BaseModel):
        for _, inner in value:
            yield from _variables(inner)
    elif isinstance(value, dict):
        for inner in value.values():
            yield from _variables(inner)
    elif isinstance(value, tuple):
        for inner in value:
            yield from _variables(inner)


def _private(config: Config, database: Path) -> Found:
    found = [path for path in beside(config, database).values() if path.is_file()]
    open_ones = [path for path in found if stat.S_IMODE(path.stat().st_mode) & 0o077]
    if open_ones:
        names = " ".join(map(str, open_ones))
        return "failed", f"others can read keys: run `chmod 600 {names}`"
    return "ok", ", ".join(path.name for path in found) or "none yet"


def _lock(database: Path) -> Found:
    holder = lock_holder(database)
    return "ok", f"held by {holder}" if holder else "free"


def _wal(database: Path) -> Found:
    path = database.with_name(database.name + "-wal")
    size = path.stat().st_size if path.exists() else 0
    told = f"{size / 1e6:.1f} MB"
    if size <= _LARGEST_LOG:
        return "ok", told
    return "warning", f"{told}: another program keeps on reading the database; end it"


def _daemon(config: Config, database: Path, now: datetime) -> Found:
    with Store(database) as store:
        told = health(store, config, now=now).told
    if told["status"] == "ok":
        return "ok", f"heard of at {told['heartbeat']}"
    faults = "; ".join(f"{one['what']}: {one['note']}" for one in told["faults"])
    return "warning", f"{told['status']}: {faults}"


def _backup(database: Path, now: datetime) -> Found:
    with Store(database) as store:
        at = store.value("SELECT value FROM state WHERE key = ?", (LAST,))
    if at is None:
        return "warning", "never made: `listener backup FILE`"
    old = now - moment(at) > _OLD_BACKUP
    return ("warning" if old else "ok"), f"last made at {at}"


def _database(path: Path) -> Found:
    if not path.exists():
        return "ok", f"{path} is made at the first run"
    with Store(path) as store:
        found = store.value("PRAGMA quick_check(1)")
        if found != "ok":
            raise StoreError(f"{path} is damaged ({found}): `listener restore` a backup")
        return "ok", f"{store.value('SELECT count(*) FROM mentions')} mentions, quick_check ok"
