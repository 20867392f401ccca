"""Whether the daemon is well: what /-/health says, cheap to ask and free of personal data."""

from __future__ import annotations

import json
import shutil
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any

from . import __version__
from .config import Config
from .recipients import unheard
from .store import Store, moment, stamp
from .troubles import ROOM

LATE = timedelta(minutes=2)
"""Age of a heartbeat from which on the daemon counts as stopped."""
_INTERVALS = 3
_LEAST_PATIENCE = timedelta(minutes=30)
_UNTRIED = timedelta(minutes=30)
_TRIES = 5
_MOST_COUNTED = 100_000


@dataclass(frozen=True, slots=True, kw_only=True)
class Health:
    """`ok`: nothing needs a person now. `told` is ready for JSON: state, faults and figures."""

    ok: bool
    told: dict[str, Any]


def health(store: Store, config: Config, *, now: datetime) -> Health:
    """What `listener run` has left in the database, without texts of errors or of people.

    `told["status"]` is "ok", "stopped" (the daemon does not run) or "failing": the disk is nearly
    full, the outbox is stuck, a job has neither succeeded nor got on for three times its interval
    (30 minutes at least). Other troubles, such as a source that is quiet, are told of alone.
    """
    beat = store.value("SELECT value FROM state WHERE key = 'heartbeat'")
    stopped = beat is None or now - moment(beat) > LATE
    jobs = job_rows(store, now=now)
    free = shutil.disk_usage(store.path.absolute().parent).free
    faults = []
    if stopped:
        faults.append({"what": "scheduler", "note": "no heartbeat: `listener run` does not run"})
    else:
        faults += [
            {"what": f"job {job['job']}", "note": "has not succeeded for too long"}
            for job in jobs
            if job["late"]
        ]
    if free < ROOM:
        faults.append({"what": "disk", "note": f"{free // 1_000_000} MB free"})
    if stuck := stuck_messages(store, now=now):
        faults.append({"what": "outbox", "note": f"{stuck} messages do not get out"})
    status = "stopped" if stopped else "failing" if faults else "ok"
    told = {
        "status": status,
        "version": __version__,
        "time": stamp(now),
        "heartbeat": beat,
        "faults": faults,
        "jobs": {
            job["job"]: {key: job[key] for key in ("succeeded", "next", "failures", "running")}
            for job in jobs
        },
        "waiting": {
            "analysis": store.value(
                f"SELECT count(*) FROM (SELECT 1 FROM work LIMIT {_MOST_COUNTED})"
            ),
            "messages": store.value("SELECT count(*) FROM deliveries WHERE status = 'waiting'"),
        },
        "troubles": [
            {"kind": row["kind"], "subject": row["subject"], "since": row["began_at"]}
            for row in store.rows(
                "SELECT kind, subject, began_at FROM troubles WHERE ended_at IS NULL ORDER BY id"
            )
        ],
        "unheard": list(unheard(store, config)),
        "disk_free_mb": free // 1_000_000,
    }
    return Health(ok=not faults, told=told)


def job_rows(store: Store, *, now: datetime) -> list[dict[str, Any]]:
    """One row for each job of the daemon: how it last went, when it runs again, whether late.

    `running` is since when it runs, or None; a job that gets on is not late. Times are stamps.
    """
    running = json.loads(store.value("SELECT value FROM state WHERE key = 'running'") or "{}")
    started = store.value("SELECT value FROM state WHERE key = 'started'")
    rows = []
    for row in store.rows("SELECT key, value FROM state WHERE key GLOB 'job:*' ORDER BY key"):
        name, told = row["key"].removeprefix("job:"), json.loads(row["value"])
        # What an older version wrote has no more than these three.
        found = {"failures": 0, "next": None, "minutes": 0.0, **told}
        succeeded = found.get("succeeded", None if told["error"] else told["finished"])
        now_running = running.get(name, {})
        if now_running and told["started"] >= now_running["since"]:
            now_running = {}  # it has ended since the last heartbeat
        # Nobody was late while the daemon was down.
        signs = [moment(one) for one in (succeeded, started, now_running.get("progress")) if one]
        patience = max(timedelta(minutes=_INTERVALS * found["minutes"]), _LEAST_PATIENCE)
        rows.append(
            {
                "job": name,
                "error": told["error"],
                "finished": told["finished"],
                "succeeded": succeeded,
                "failures": found["failures"],
                "next": found["next"],
                "running": now_running.get("since"),
                "late": bool(signs) and now - max(signs) > patience,
            }
        )
    return rows


def stuck_messages(store: Store, *, now: datetime) -> int:
    """Messages that were due half an hour ago and not tried, or failed five times and more."""
    return int(
        store.value(
            "SELECT count(*) FROM deliveries WHERE status = 'waiting' "
            "AND (next_try_at < ? OR attempts >= ?)",
            (stamp(now - _UNTRIED), _TRIES),
        )
    )
