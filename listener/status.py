"""What `listener status` shows, read from the database."""

from __future__ import annotations

import shutil
import sqlite3
from collections.abc import Iterator
from datetime import datetime, timedelta
from typing import Any

from . import __version__
from .backup import LAST
from .candidates import OPEN
from .config import Config
from .coverage import listens
from .health import LATE, job_rows, stuck_messages
from .recipients import unheard
from .statement import SourceCoverage, statement
from .store import Store, moment, stamp
from .troubles import OFTEN, ROOM, open_troubles

_DAY = timedelta(days=1)


def status_rows(store: Store, *, now: datetime) -> list[dict[str, Any]]:
    """Rows of what, value and note: counts, queues, the scheduler, each source and each job."""
    rows = [
        {"what": what, "value": store.value(sql), "note": note}
        for what, sql, note in (
            ("mentions", "SELECT count(*) FROM mentions", ""),
            ("waiting for analysis", "SELECT count(*) FROM work", "steps times mentions"),
            (
                "early conversations",
                "SELECT count(*) FROM conversations WHERE state = 'early'",
                "the choice is still open",
            ),
            ("alerts", "SELECT count(*) FROM alerts", "`listener alerts list` shows the open ones"),
            (
                "alerts held back",
                "SELECT count(DISTINCT a.id) FROM alert_recipients r "
                "JOIN alerts a ON a.id = r.alert_id JOIN mentions m ON m.id = a.mention_id "
                "JOIN conversations c ON c.id = a.conversation_id "
                f"WHERE r.fate = 'held' AND a.acknowledged_at IS NULL AND {OPEN}",
                "by the limit of a day, quiet hours or a cooldown",
            ),
            (
                "messages waiting",
                "SELECT count(*) FROM deliveries WHERE status = 'waiting'",
                store.value(
                    "SELECT error FROM deliveries WHERE status = 'waiting' AND error IS NOT NULL "
                    "ORDER BY id DESC LIMIT 1"
                )
                or "",
            ),
            ("messages refused", "SELECT count(*) FROM deliveries WHERE status = 'refused'", ""),
        )
    ]
    rows.append({"what": "scheduler", **_scheduler(store, now)})
    rows += [
        {
            "what": f"source {row['source']}",
            "value": row["status"],
            "note": _failing(store, row)
            + (row["error"] or f"{row['new']} new at {row['started_at']}"),
        }
        for row in store.rows(
            "SELECT source, query, status, error, new, started_at FROM runs "
            "WHERE id IN (SELECT max(id) FROM runs GROUP BY source) ORDER BY source"
        )
    ]
    rows += [
        {"what": f"job {job['job']}", "value": _went(job), "note": _times(job)}
        for job in job_rows(store, now=now)
    ]
    rows += [
        {
            "what": f"trouble {row['subject'] or row['kind']}",
            "value": row["kind"],
            "note": f"since {row['began_at']}",
        }
        for row in open_troubles(store)
    ]
    return rows


def operation_rows(store: Store, config: Config, *, now: datetime) -> list[dict[str, Any]]:
    """Rows of what, value and note: version, disk, last backup, and mail that nobody gets."""
    free = shutil.disk_usage(store.path.absolute().parent).free
    rows = [
        {"what": "version", "value": __version__, "note": ""},
        {
            "what": "disk",
            "value": f"{free / 1e9:.1f} GB free",
            "note": "nearly full" if free < ROOM else "",
        },
        {
            "what": "last backup",
            "value": store.value("SELECT value FROM state WHERE key = ?", (LAST,)) or "never",
            "note": "`listener backup FILE` makes one",
        },
    ]
    if stuck := stuck_messages(store, now=now):
        note = "`listener channels` shows where they go"
        rows.append({"what": "messages stuck", "value": stuck, "note": note})
    rows += [
        {"what": f"unheard {name}", "value": "nobody", "note": "`listener recipients` shows why"}
        for name in unheard(store, config)
    ]
    return rows


def _went(job: dict[str, Any]) -> str:
    if job["running"]:
        return "running"
    return job["error"] or "done"


def _times(job: dict[str, Any]) -> str:
    told = [f"since {job['running']}" if job["running"] else f"ended {job['finished']}"]
    if job["error"]:
        told.append(f"last success {job['succeeded'] or 'never'}")
    if job["failures"] > 1:
        told.append(f"failed {job['failures']} times in a row")
    if job["next"]:
        told.append(f"next {job['next']}")
    if job["late"]:
        told.append("late")
    return "; ".join(told)


def coverage_rows(
    store: Store, config: Config, *, now: datetime, by_query: bool = False
) -> list[dict[str, Any]]:
    """Rows of what, value and note on what each source (or query) heard in the last 24 hours.

    Behind them the figures: see `SourceCoverage`. Money is that of the month (UTC), in dollars.
    """
    return [
        {
            "what": f"coverage {row.source}{f': {row.query}' if row.query else ''}",
            "value": _heard(row),
            "note": "; ".join(_notes(row)),
            "source": row.source,
            "query": row.query,
            "covered_until": stamp(row.covered_until) if row.covered_until else None,
            "waits_until": stamp(row.waits_until) if row.waits_until else None,
            "blind_minutes": row.blind_minutes,
            "lost_minutes": row.lost_minutes,
            "searches": row.searches,
            "blind_searches": row.blind_searches,
            "fetched": row.fetched,
            "kept": row.kept,
            "new": row.new,
            "truncated": row.truncated,
            "limited": row.limited,
            "failed": row.failures,
            "spent_dollars": row.spent / 1e6,
            "cap_dollars": None if row.cap is None else row.cap / 1e6,
            "reserved_dollars": row.reserved / 1e6,
        }
        for row in statement(store, config, since=now - _DAY, until=now, by_query=by_query)
    ]


def _heard(row: SourceCoverage) -> str:
    if not row.searches:
        # Files have no span of time that they cover.
        return "never asked" if listens(row.source) else f"{row.fetched} read"
    return f"blind {row.blind_minutes} min" if row.blind_minutes else "no gap"


def _notes(row: SourceCoverage) -> Iterator[str]:
    if row.searches:
        until = row.covered_until
        yield f"covered until {stamp(until)}" if until else "no complete collection yet"
    if 0 < row.blind_searches < row.searches:
        yield f"{row.blind_searches} of {row.searches} searches are blind"
    if row.lost_minutes:
        yield f"{row.lost_minutes} min lost for good"
    for count, words in (
        (row.truncated, "cut short"),
        (row.limited, "asked to wait"),
        (row.failures, "failed"),
    ):
        if count:
            yield f"{count} {words}"
    if row.waits_until:
        yield f"waits until {stamp(row.waits_until)}"
    if row.cap is not None or row.spent:
        cap = "" if row.cap is None else f" of {row.cap / 1e6:.2f}"
        kept = f", {row.reserved / 1e6:.2f} reserved for deletions" if row.reserved else ""
        yield f"{row.spent / 1e6:.2f}{cap} dollars this month{kept}"


def _failing(store: Store, row: sqlite3.Row) -> str:
    """Since when a source has failed every time, once that is more than bad luck."""
    if row["status"] != "failed":
        return ""
    (found,) = store.rows(
        "SELECT count(*) AS times, min(started_at) AS since FROM runs "
        "WHERE source = :source AND query = :query AND id > (SELECT coalesce(max(id), 0) "
        "FROM runs WHERE source = :source AND query = :query AND status <> 'failed')",
        {"source": row["source"], "query": row["query"]},
    )
    if found["times"] < OFTEN:
        return ""
    return f"failed {found['times']} times in a row since {found['since']}: "


def _scheduler(store: Store, now: datetime) -> dict[str, str]:
    beat = store.value("SELECT value FROM state WHERE key = 'heartbeat'")
    if beat is None and store.value("SELECT 1 FROM state WHERE key LIKE 'job:%' LIMIT 1"):
        return {"value": "stopped", "note": "`listener run` starts it"}
    if beat is None:
        return {"value": "never started", "note": "`listener run` starts it"}
    if now - moment(beat) > LATE:
        return {"value": "stopped", "note": f"last heard of at {beat}"}
    return {"value": "running", "note": f"heard of at {beat}"}
