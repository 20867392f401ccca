"""What is wrong with the installation itself, and telling its operator: once, until it is over.

A source that asks for a person at once (its sign-in or settings are refused), one that failed again
and again, one that has gone quiet although it answers, a job that keeps failing, a disk that is
nearly full. Each is a row of `troubles` from its beginning to its end.
"""

from __future__ import annotations

import itertools
import json
import logging
import math
import shutil
import sqlite3
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any, Literal

from .collect import Collected
from .config import Config
from .coverage import KEPT, aside, listens
from .outbox import enqueue
from .store import Store, moment, stamp

log = logging.getLogger(__name__)
Kind = Literal["quiet", "failing", "refused", "job", "disk"]

ROOM = 500_000_000
"""Bytes of free disk below which it counts as nearly full."""
OFTEN = 5
"""Failures in a row that are told of."""
HISTORY = timedelta(days=28)
"""How far back the usual activity of a source is looked up."""
_LEAST_HISTORY = timedelta(days=7)
_LEAST_ACTIVE_HOURS = 20
_LEAST_SILENCE_HOURS = 3
_UNUSUAL = 0.001
_LONGER = 1.5
_HOUR = timedelta(hours=1)
_REFUSED = "refused:"


@dataclass(frozen=True, slots=True, kw_only=True)
class Trouble:
    """Something that is wrong now; `subject` is a source or job, `detail` is ready for JSON."""

    kind: Kind
    subject: str
    detail: Mapping[str, Any] = field(default_factory=dict, compare=False, hash=False)


def silence(active: Sequence[datetime], *, since: datetime, now: datetime) -> tuple[int, float]:
    """Hours since the last active one, and how likely so many are without a post.

    `active` are the starts of hours (UTC, any order) that brought new posts, `since` when the
    history begins. Each hour is taken to be active with the share of the past hours of the same
    weekday and hour that were, smoothed by the share of all hours, which counts as one more week.
    Hours, not posts: posts come in bursts, so that a Poisson distribution of their number would
    cry wolf. (0, 1.0) without any active hour.
    """
    start, end = _floor(since), _floor(now)
    hours = sorted({_floor(hour) for hour in active if start <= hour < end})
    if not hours:
        return 0, 1.0
    last = hours[-1]
    silent = round((end - last) / _HOUR) - 1
    overall = len(hours) / max(round((last + _HOUR - start) / _HOUR), 1)
    had: dict[int, int] = {}
    for hour in hours:
        had[_slot(hour)] = had.get(_slot(hour), 0) + 1
    logarithm = 0.0
    for n in range(1, silent + 1):
        slot = _slot(last + n * _HOUR)
        weeks = _weeks(slot, start, last)
        share = (had.get(slot, 0) + overall) / (weeks + 1)
        logarithm += math.log1p(-min(share, 0.999))
    return silent, math.exp(logarithm)


def is_quiet(active: Sequence[datetime], *, since: datetime, now: datetime) -> bool:
    """Whether a silence is unlike the source.

    That is: at least 3 hours, expected less than once in a thousand times (see `silence`), and
    half as long again as the longest before it. Nothing is said with less than a week of history or
    20 active hours.
    """
    hours = sorted({_floor(hour) for hour in active})
    if len(hours) < _LEAST_ACTIVE_HOURS or hours[-1] - since < _LEAST_HISTORY:
        return False
    silent, probability = silence(hours, since=since, now=now)
    longest = max(
        round((later - earlier) / _HOUR) - 1 for earlier, later in itertools.pairwise(hours)
    )
    return silent >= _LEAST_SILENCE_HOURS and probability < _UNUSUAL and silent > _LONGER * longest


def _floor(when: datetime) -> datetime:
    return when.astimezone(UTC).replace(minute=0, second=0, microsecond=0)


def _slot(hour: datetime) -> int:
    return hour.weekday() * 24 + hour.hour


def _weeks(slot: int, start: datetime, last: datetime) -> int:
    """How often an hour of the week came from `start` to `last`, both included."""
    first = start + ((slot - _slot(start)) % 168) * _HOUR
    return 0 if first > last else 1 + (last - first) // timedelta(days=7)


def note_refusals(store: Store, results: Sequence[Collected]) -> None:
    """Remember which sources need a person, so that `find` tells of it, or need none any more."""
    for name in {_name(one.source) for one in results}:
        errors = [
            one.error
            for one in results
            if _name(one.source) == name
            and one.status == "failed"
            and not one.passing
            and not (one.error or "").startswith("unexpected ")
        ]
        key = _REFUSED + name
        known = store.value("SELECT value FROM state WHERE key = ?", (key,))
        if known == (errors[0] if errors else None):
            continue
        with store.write() as connection:
            connection.execute("DELETE FROM state WHERE key = ?", (key,))
            if errors:
                connection.execute("INSERT INTO state VALUES (?, ?)", (key, errors[0] or ""))


def find(store: Store, config: Config, *, now: datetime) -> list[Trouble]:
    """What is wrong now, of enabled sources, jobs and the disk of the database."""
    enabled = dict(config.sources.enabled())
    found = _disk(store.path)
    for name, settings in enabled.items():
        refused = store.value("SELECT value FROM state WHERE key = ?", (_REFUSED + name,))
        if refused is not None:
            found.append(Trouble(kind="refused", subject=name, detail={"error": refused}))
            continue
        failing = _failing(store, name)
        if failing is not None:
            found.append(failing)
        elif listens(name) and (quiet := _quiet(store, name, settings.every_minutes, now)):
            found.append(quiet)
    for row in store.rows("SELECT key, value FROM state WHERE key GLOB 'job:*' ORDER BY key"):
        told = json.loads(row["value"])
        if told.get("failures", 0) >= OFTEN:
            detail = {"error": told["error"], "times": told["failures"]}
            subject = row["key"].removeprefix("job:")
            found.append(Trouble(kind="job", subject=subject, detail=detail))
    return found


def _name(source: str) -> str:
    return source.partition(":")[0]


def _disk(database: Path) -> list[Trouble]:
    free = shutil.disk_usage(database.absolute().parent).free
    if free >= ROOM:
        return []
    return [Trouble(kind="disk", subject="", detail={"free_mb": free // 1_000_000})]


def _failing(store: Store, name: str) -> Trouble | None:
    """The part of a source that failed most often in a row, when that is more than bad luck."""
    worst: Trouble | None = None
    most = OFTEN - 1
    for row in store.rows(
        "SELECT source, query, max(id) AS last, "
        "coalesce(max(id) FILTER (WHERE status <> 'failed'), 0) AS fine FROM runs "
        "WHERE source = :name OR source GLOB :name || ':*' GROUP BY source, query",
        {"name": name},
    ):
        if aside(row["source"]) or row["last"] == row["fine"]:
            continue
        (failed,) = store.rows(
            "SELECT count(*) AS times, min(started_at) AS since, max(error) AS error FROM runs "
            "WHERE source = ? AND query = ? AND id > ?",
            (row["source"], row["query"], row["fine"]),
        )
        if failed["times"] > most:
            most = failed["times"]
            detail = {key: failed[key] for key in ("times", "since", "error")}
            worst = Trouble(kind="failing", subject=name, detail=detail)
    return worst


def _quiet(store: Store, name: str, every_minutes: float, now: datetime) -> Trouble | None:
    """A source that was asked and answered lately, yet brings nothing."""
    recent = now - max(3 * timedelta(minutes=every_minutes), 3 * _HOUR)
    parts = {"name": name, "recent": stamp(recent), "since": stamp(now - HISTORY)[:13]}
    own = "(source = :name OR source GLOB :name || ':*')"
    answered = store.value(
        f"SELECT 1 FROM runs WHERE {own} AND started_at >= :recent "
        "AND status IN ('ok', 'partial') LIMIT 1",
        parts,
    )
    if answered is None:
        return None
    rows = store.rows(
        f"SELECT source, hour, sum(new) AS new FROM coverage WHERE {own} AND hour >= :since "
        "GROUP BY source, hour ORDER BY hour",
        parts,
    )
    rows = [row for row in rows if not aside(row["source"])]
    active = [_hour(row["hour"]) for row in rows if row["new"]]
    if not active or not is_quiet(active, since=_hour(rows[0]["hour"]), now=now):
        return None
    silent, _ = silence(active, since=_hour(rows[0]["hour"]), now=now)
    detail = {"hours": silent, "last": stamp(max(active))}
    return Trouble(kind="quiet", subject=name, detail=detail)


def _hour(text: str) -> datetime:
    return moment(text + ":00:00Z")


def tell(store: Store, config: Config, found: Sequence[Trouble], *, now: datetime) -> int:
    """Keep what began and ended, and write the mails about it down; returns how many mails.

    What is about a source or job that is no longer there ends without a word.
    """
    current = {(one.kind, one.subject): one for one in found}
    there = {name for name, _ in config.sources.enabled()}
    people = config.receiving("operator")
    mails = 0
    with store.write() as connection:
        known = {
            (row["kind"], row["subject"]): row
            for row in connection.execute("SELECT * FROM troubles WHERE ended_at IS NULL")
        }
        for key, row in known.items():
            gone = _gone(connection, row, there)
            if key in current or not (gone or _over(connection, row)):
                continue
            connection.execute(
                "UPDATE troubles SET ended_at = ? WHERE id = ?", (stamp(now), row["id"])
            )
            log.info("over: %s %s", *key)
            # It may have become another trouble, which is told of instead.
            if gone or (row["subject"] and any(row["subject"] == one.subject for one in found)):
                continue
            ref = f"{row['id']}:ended"
            mails += sum(enqueue(connection, "operator", ref, person, now=now) for person in people)
        for key, one in current.items():
            if key in known:
                continue
            detail = json.dumps(dict(one.detail), ensure_ascii=False)
            number = connection.execute(
                "INSERT INTO troubles (kind, subject, detail, began_at) VALUES (?, ?, ?, ?)",
                (*key, detail, stamp(now)),
            ).lastrowid
            log.warning("trouble: %s %s", *key)
            ref = f"{number}:began"
            mails += sum(enqueue(connection, "operator", ref, person, now=now) for person in people)
        connection.execute("DELETE FROM troubles WHERE ended_at < ?", (stamp(now - KEPT),))
    return mails


def _gone(connection: sqlite3.Connection, row: sqlite3.Row, sources: set[str]) -> bool:
    if row["kind"] == "job":
        key = f"job:{row['subject']}"
        return connection.execute("SELECT 1 FROM state WHERE key = ?", (key,)).fetchone() is None
    return row["kind"] != "disk" and row["subject"] not in sources


def _over(connection: sqlite3.Connection, row: sqlite3.Row) -> bool:
    """Whether what is not found any more has ended: silence ends with a post, not by itself."""
    if row["kind"] != "quiet":
        return True
    found = connection.execute(
        "SELECT 1 FROM coverage WHERE (source = :name OR source GLOB :name || ':*') "
        "AND new > 0 AND hour >= :began LIMIT 1",
        {"name": row["subject"], "began": row["began_at"][:13]},
    )
    return found.fetchone() is not None


def open_troubles(store: Store) -> list[sqlite3.Row]:
    """The rows of what is wrong now: kind, subject, detail (JSON), began_at."""
    return store.rows("SELECT * FROM troubles WHERE ended_at IS NULL ORDER BY id")
