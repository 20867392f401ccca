"""The daemon: collection, analysis, delivery, digest and retention on their own clocks.

APScheduler keeps the times in memory; what must happen exactly once for a day is in our own ledger
(`job_runs`), so that a day missed while the daemon was down is made up at the next start, once.
"""

from __future__ import annotations

import json
import logging
import signal
import threading
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from datetime import UTC, date, datetime, time, timedelta
from zoneinfo import ZoneInfo

from apscheduler.schedulers.background import BackgroundScheduler
from apscheduler.triggers.combining import OrTrigger
from apscheduler.triggers.cron import CronTrigger
from apscheduler.triggers.interval import IntervalTrigger

from .errors import explained
from .steps import Stopped
from .store import Store, stamp

log = logging.getLogger(__name__)
HEARTBEAT_SECONDS = 30
RETRY_MINUTES = 15
"""How long after a failure a daily job looks again whether its slot is still to do."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Every:
    """Run again and again, `minutes` apart, the first time at once."""

    minutes: float


@dataclass(frozen=True, slots=True, kw_only=True)
class Daily:
    """Run once for each day at `at` in `zone`; the latest day that was missed is made up."""

    at: time
    zone: ZoneInfo


@dataclass(frozen=True, slots=True, kw_only=True)
class Job:
    """A named piece of work. `run` gets an open store, the time, and a callable that ends it early.

    A daily job also learns its slot: the local day it is for.
    """

    name: str
    when: Every | Daily
    run: Callable[[Store, datetime, Callable[[int], None], date | None], None]


def due(daily: Daily, *, now: datetime) -> date:
    """The latest day whose time has come; older ones are not made up, one tells of the gap."""
    local = now.astimezone(daily.zone)
    today = local.date()
    # Wall-clock comparison, so that a time which a DST change skips or repeats is due once a day.
    return today if local.time() >= daily.at else today - timedelta(days=1)


def run_job(job: Job, open_store: Callable[[], Store], stop: threading.Event) -> None:
    """Run one job now and write down how it went; its failure is logged, never raised."""

    def go_on(_: int) -> None:
        if stop.is_set():
            raise Stopped

    now = datetime.now(UTC)
    try:
        with open_store() as store:
            slot = None
            if isinstance(job.when, Daily):
                slot = due(job.when, now=now)
                status = store.value(
                    "SELECT status FROM job_runs WHERE job = ? AND slot = ?",
                    (job.name, slot.isoformat()),
                )
                known = store.value("SELECT 1 FROM job_runs WHERE job = ?", (job.name,))
                if known is None:
                    # Nothing was promised for a time before the first start.
                    _record(store, job, now, slot, None)
                if known is None or status == "done":
                    return
            error = _attempt(job, store, now, go_on, slot)
            _record(store, job, now, slot, error)
    except Exception as error:
        # The store itself failed; the next run of this job tries again and the others go on.
        log.error("%s could not run: %s", job.name, error)


def _attempt(
    job: Job, store: Store, now: datetime, go_on: Callable[[int], None], slot: date | None
) -> str | None:
    try:
        job.run(store, now, go_on, slot)
    except Stopped as pause:
        return str(pause) or "stopped"
    except explained() as error:
        log.error("%s failed: %s", job.name, error)
        return str(error)
    except Exception as error:
        # A job must not take the daemon with it. The text of the error may hold a post: type only.
        log.error("%s failed: %s", job.name, type(error).__name__)
        log.debug("%s", job.name, exc_info=True)
        return type(error).__name__
    return None


def _record(
    store: Store, job: Job, started: datetime, slot: date | None, error: str | None
) -> None:
    finished = stamp(datetime.now(UTC))
    with store.write() as connection:
        connection.execute(
            "INSERT OR REPLACE INTO state VALUES (?, ?)",
            (
                f"job:{job.name}",
                json.dumps({"started": stamp(started), "finished": finished, "error": error}),
            ),
        )
        if slot is not None:
            connection.execute(
                "INSERT OR REPLACE INTO job_runs VALUES (?, ?, ?, ?, ?, ?)",
                (
                    job.name,
                    slot.isoformat(),
                    stamp(started),
                    finished,
                    "failed" if error else "done",
                    error,
                ),
            )


def _beat(open_store: Callable[[], Store]) -> None:
    with open_store() as store, store.write() as connection:
        connection.execute(
            "INSERT OR REPLACE INTO state VALUES ('heartbeat', ?)", (stamp(datetime.now(UTC)),)
        )


def run_forever(
    jobs: Sequence[Job], open_store: Callable[[], Store], *, stop: threading.Event | None = None
) -> None:
    """Run jobs until SIGINT, SIGTERM or `stop`, then let running ones end cleanly.

    Raises `StoreError` at once when the database cannot be used.
    """
    # Of two that make a new file at once, SQLite refuses one without waiting: make it before.
    open_store().close()
    stop = stop or threading.Event()
    if threading.current_thread() is threading.main_thread():
        for signum in (signal.SIGINT, signal.SIGTERM):
            signal.signal(signum, lambda *_: stop.set())
    # The defaults would drop a job that is a second late, and run missed ones in a burst.
    scheduler = BackgroundScheduler(
        timezone=UTC,
        job_defaults={"coalesce": True, "max_instances": 1, "misfire_grace_time": None},
    )
    start = datetime.now(UTC)
    for job in jobs:
        arguments = (job, open_store, stop)
        if isinstance(job.when, Every):
            trigger = IntervalTrigger(minutes=job.when.minutes, timezone=UTC)
        else:
            at = job.when.at
            trigger = OrTrigger(
                [
                    CronTrigger(hour=at.hour, minute=at.minute, timezone=job.when.zone),
                    IntervalTrigger(minutes=RETRY_MINUTES, timezone=UTC),
                ]
            )
        # Everything runs once at the start: daily jobs then see whether they missed their time.
        scheduler.add_job(run_job, trigger, args=arguments, id=job.name, next_run_time=start)
    scheduler.add_job(
        _beat,
        IntervalTrigger(seconds=HEARTBEAT_SECONDS, timezone=UTC),
        args=(open_store,),
        id="heartbeat",
        next_run_time=start,
    )
    scheduler.start()
    try:
        stop.wait()
    finally:
        stop.set()
        scheduler.shutdown(wait=True)
        with open_store() as store, store.write() as connection:
            connection.execute("DELETE FROM state WHERE key = 'heartbeat'")
