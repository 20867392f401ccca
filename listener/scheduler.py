"""The daemon: collection, analysis, delivery and retention on their own clocks.

APScheduler keeps the times in memory; what must happen exactly once for a day is in our own ledger
(`job_runs`), so that a day missed while the daemon was down is made up at the next start, once.

APScheduler trusts the clock of the machine: when it is set back, its jobs wait until the old time
has come again, and when it is set forward, it counts every run in between one by one. So jobs run
by `_Often`, which counts from now, and the watch of the main thread moves their times along when
the clock is set back. The same watch ends the daemon when the scheduler's thread has died.
"""

from __future__ import annotations

import json
import logging
import os
import signal
import threading
import time as clocks
from collections.abc import Callable, Sequence
from contextlib import suppress
from dataclasses import dataclass, field
from datetime import UTC, date, datetime, time, timedelta
from queue import Empty, SimpleQueue
from typing import Any
from zoneinfo import ZoneInfo

from apscheduler.executors.pool import ThreadPoolExecutor
from apscheduler.schedulers.background import BackgroundScheduler
from apscheduler.triggers.base import BaseTrigger

from .errors import explained
from .logs import of_job
from .slots import due_day
from .steps import Stopped
from .store import Store, StoreError, stamp

log = logging.getLogger(__name__)
HEARTBEAT_SECONDS = 30.0
RETRY_MINUTES = 15.0
"""How often a daily job looks whether a slot is to do, and how soon at the latest a job that failed
is tried again."""
WATCH_SECONDS = 1.0
DEAD_SECONDS = 300.0
"""Without a sign of life for so long the scheduler counts as dead."""
GRACE_SECONDS = 20.0
"""How long the end waits for what is running; a page takes less, a site that hangs may not."""
_JUMP = timedelta(seconds=30)
"""A smaller step of the clock is left alone."""


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


@dataclass(frozen=True, slots=True, kw_only=True)
class Ending:
    """How the daemon ended: whether its scheduler had `died`, and the jobs that were `left` behind.

    What these had stored is stored; they hang in a request, in a thread that cannot be ended.
    """

    died: bool = False
    left: tuple[str, ...] = ()


@dataclass(kw_only=True)
class Pulse:
    """What the threads of the daemon tell each other: signs of life, what runs, when to stop.

    `running` holds, for each running job, when it began and when it last got on.
    """

    stop: threading.Event = field(default_factory=threading.Event)
    running: dict[str, tuple[datetime, datetime]] = field(default_factory=dict)
    changed: threading.Condition = field(default_factory=threading.Condition)
    beat: float = field(default_factory=clocks.monotonic)

    def went_on(self, job: str, *, began: datetime | None = None) -> None:
        """Note that a job begins, or is getting on."""
        now = datetime.now(UTC)
        with self.changed:
            self.running[job] = (began or self.running.get(job, (now, now))[0], now)

    def ended(self, job: str) -> None:
        """Note that a job has ended."""
        with self.changed:
            self.running.pop(job, None)
            self.changed.notify_all()

    def wait(self, seconds: float) -> tuple[str, ...]:
        """Wait until no job runs; returns those that still do."""
        with self.changed:
            self.changed.wait_for(lambda: not self.running, seconds)
            return tuple(sorted(self.running))


# APScheduler has no type hints.
class _Often(BaseTrigger):  # type: ignore[misc]
    """Due `seconds` after it was due last; what was missed is due once, from now."""

    def __init__(self, seconds: float) -> None:
        self.interval = timedelta(seconds=max(seconds, 0.001))

    def get_next_fire_time(self, previous: datetime | None, now: datetime) -> datetime:
        if previous is None:
            return now
        due_at = previous + self.interval
        return due_at if due_at > now else now + self.interval


def next_due(daily: Daily, *, now: datetime) -> datetime:
    """When the slot after the latest due one comes, UTC."""
    day = due_day(daily.at, daily.zone, now) + timedelta(days=1)
    # One that DST skips is due when it has passed: an hour later by the wall, which this gives.
    return datetime.combine(day, daily.at, daily.zone).astimezone(UTC)


def run_job(job: Job, open_store: Callable[[], Store], pulse: Pulse) -> bool:
    """Run one job now and write down how it went; its failure is logged, never raised.

    Returns whether it failed.
    """

    def go_on(_: int) -> None:
        pulse.went_on(job.name)
        if pulse.stop.is_set():
            raise Stopped

    if pulse.stop.is_set():
        return False
    now = datetime.now(UTC)
    pulse.went_on(job.name, began=now)
    try:
        with of_job(job.name), open_store() as store:
            slot = None
            if isinstance(job.when, Daily):
                slot = _slot(job, job.when, store, now)
                if slot is None:
                    return False
            error = _attempt(job, store, now, go_on, slot)
            _record(store, job, now, slot, error)
            return error is not None
    except Exception as error:
        # The store itself failed; the next run of this job tries again and the others go on.
        with of_job(job.name):
            log.error("%s could not run: %s", job.name, _told(error))
        return True
    finally:
        pulse.ended(job.name)


def _told(error: Exception) -> str:
    """The text of an error of ours; the text of any other may hold a post: its type."""
    return str(error) if isinstance(error, explained()) else type(error).__name__


def _slot(job: Job, daily: Daily, store: Store, now: datetime) -> date | None:
    """The slot that is to be done; None when it is done, or was never promised."""
    slot = due_day(daily.at, daily.zone, now)
    status = store.value(
        "SELECT status FROM job_runs WHERE job = ? AND slot = ?", (job.name, slot.isoformat())
    )
    if store.value("SELECT 1 FROM job_runs WHERE job = ?", (job.name,)) is None:
        # Nothing was promised for a time before the first start.
        _record(store, job, now, slot, None)
        return None
    return None if status == "done" else slot


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
    """Keep how a run went; one that was stopped on the way out is neither success nor failure."""
    finished = datetime.now(UTC)
    key = f"job:{job.name}"
    found = json.loads(store.value("SELECT value FROM state WHERE key = ?", (key,)) or "{}")
    failures = found.get("failures", 0)
    if error is None:
        failures = 0
    elif error != "stopped":
        failures += 1
    told = {
        "started": stamp(started),
        "finished": stamp(finished),
        "error": error,
        "succeeded": found.get("succeeded") if error else stamp(finished),
        "failures": failures,
        "next": stamp(_next(job, started, finished, error)),
        "minutes": job.when.minutes if isinstance(job.when, Every) else 24 * 60,
    }
    with store.write() as connection:
        connection.execute("INSERT OR REPLACE INTO state VALUES (?, ?)", (key, json.dumps(told)))
        if slot is not None:
            connection.execute(
                "INSERT OR REPLACE INTO job_runs VALUES (?, ?, ?, ?, ?, ?)",
                (
                    job.name,
                    slot.isoformat(),
                    stamp(started),
                    stamp(finished),
                    "failed" if error else "done",
                    error,
                ),
            )


def _next(job: Job, started: datetime, finished: datetime, error: str | None) -> datetime:
    """When the job runs again, as far as that is known after this run."""
    retry = finished + timedelta(minutes=RETRY_MINUTES)
    if isinstance(job.when, Daily):
        return retry if error else next_due(job.when, now=finished)
    at = max(started + timedelta(minutes=job.when.minutes), finished)
    return min(at, retry) if error else at


def _beat(open_store: Callable[[], Store], pulse: Pulse) -> None:
    """A sign of life of the scheduler: in memory for the watch, in the database for others."""
    pulse.beat = clocks.monotonic()
    with pulse.changed:
        running = {
            name: {"since": stamp(began), "progress": stamp(progress)}
            for name, (began, progress) in pulse.running.items()
        }
    try:
        with open_store() as store, store.write() as connection:
            connection.executemany(
                "INSERT OR REPLACE INTO state VALUES (?, ?)",
                [("heartbeat", stamp(datetime.now(UTC))), ("running", json.dumps(running))],
            )
    except StoreError as error:
        log.error("the heartbeat could not be written: %s", error)


def _begin(open_store: Callable[[], Store], jobs: Sequence[Job]) -> None:
    """Note the start, and forget jobs that the configuration has no more: they are not late."""
    names = json.dumps([f"job:{job.name}" for job in jobs])
    with open_store() as store, store.write() as connection:
        connection.execute(
            "INSERT OR REPLACE INTO state VALUES ('started', ?)", (stamp(datetime.now(UTC)),)
        )
        connection.execute(
            "DELETE FROM state WHERE key GLOB 'job:*' "
            "AND key NOT IN (SELECT value FROM json_each(?))",
            (names,),
        )


def _schedule(
    jobs: Sequence[Job], open_store: Callable[[], Store], pulse: Pulse
) -> BackgroundScheduler:
    """A scheduler with these jobs, not started; everything runs once at the start."""
    # The defaults would drop a job that is a second late, run missed ones in a burst, and let ten
    # sources that hang keep all others from running.
    scheduler = BackgroundScheduler(
        timezone=UTC,
        executors={"default": ThreadPoolExecutor(len(jobs) + 1)},
        job_defaults={"coalesce": True, "max_instances": 1, "misfire_grace_time": None},
    )

    def work(job: Job) -> None:
        failed = run_job(job, open_store, pulse)
        rarely = isinstance(job.when, Every) and job.when.minutes > RETRY_MINUTES
        if failed and rarely and not pulse.stop.is_set():
            again = datetime.now(UTC) + timedelta(minutes=RETRY_MINUTES)
            scheduler.modify_job(job.name, next_run_time=again)

    start = datetime.now(UTC)
    for job in jobs:
        # A daily job asks again and again whether its slot has come, or failed: whatever the clock
        # of the machine does, it is asked for.
        minutes = job.when.minutes if isinstance(job.when, Every) else RETRY_MINUTES
        scheduler.add_job(work, _Often(60 * minutes), args=(job,), id=job.name, next_run_time=start)
    scheduler.add_job(
        _beat,
        _Often(HEARTBEAT_SECONDS),
        args=(open_store, pulse),
        id="heartbeat",
        next_run_time=start,
    )
    return scheduler


def move(scheduler: Any, jump: timedelta) -> None:
    """Move the next run of every job along with a clock that was set back by `-jump`."""
    for job in scheduler.get_jobs():
        job.modify(next_run_time=job.next_run_time + jump)


def _watch(scheduler: Any, pulse: Pulse, signals: SimpleQueue[int]) -> bool:
    """Wait until the daemon is to end; returns whether that is since the scheduler has died."""
    wall, steady = datetime.now(UTC), clocks.monotonic()
    while not pulse.stop.is_set():
        with suppress(Empty):
            signum = signals.get(timeout=WATCH_SECONDS)
            log.info("%s: ending after what is being stored", signal.Signals(signum).name)
            pulse.stop.set()
        before, wall = wall, datetime.now(UTC)
        passed, steady = clocks.monotonic() - steady, clocks.monotonic()
        jump = wall - before - timedelta(seconds=passed)
        if abs(jump) > _JUMP:
            log.warning("the clock was set by %d seconds", jump.total_seconds())
            if jump < timedelta():
                move(scheduler, jump)
        if steady - pulse.beat > DEAD_SECONDS:
            log.critical("the scheduler has given no sign of life for %d s", steady - pulse.beat)
            return True
    return False


def _heed(signals: SimpleQueue[int]) -> None:
    """Let the first SIGINT or SIGTERM end the daemon, and the second one at once.

    A queue, not an event: an event's lock may be held by the thread that the signal interrupts.
    """
    received: list[int] = []

    def handle(signum: int, _: object) -> None:
        received.append(signum)
        if len(received) > 1:
            os._exit(128 + signum)
        signals.put(signum)

    for signum in (signal.SIGINT, signal.SIGTERM):
        signal.signal(signum, handle)


def run_forever(
    jobs: Sequence[Job], open_store: Callable[[], Store], *, stop: threading.Event | None = None
) -> Ending:
    """Run jobs until SIGINT, SIGTERM or `stop`, then let running ones end cleanly.

    Raises `StoreError` at once when the database cannot be used.
    """
    # Of two that make a new file at once, SQLite refuses one without waiting: make it before.
    _begin(open_store, jobs)
    pulse = Pulse() if stop is None else Pulse(stop=stop)
    signals: SimpleQueue[int] = SimpleQueue()
    if threading.current_thread() is threading.main_thread():
        _heed(signals)
    scheduler = _schedule(jobs, open_store, pulse)
    scheduler.start()
    died = _watch(scheduler, pulse, signals)
    pulse.stop.set()
    if not died:
        # What waits for a thread sees that it is to stop; one that died would be waited for.
        scheduler.shutdown(wait=False)
    left = pulse.wait(GRACE_SECONDS)
    if left:
        log.warning("left behind, since they did not end: %s", ", ".join(left))
    try:
        with open_store() as store, store.write() as connection:
            connection.execute("DELETE FROM state WHERE key IN ('heartbeat', 'running')")
    except StoreError as error:
        log.error("the end could not be written down: %s", error)
    return Ending(died=died, left=left)
