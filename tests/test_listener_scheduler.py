from __future__ import annotations

import json
import logging
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from datetime import UTC, date, datetime, time, timedelta
from pathlib import Path
from typing import Any
from zoneinfo import ZoneInfo

import pytest
import time_machine
from apscheduler.schedulers.background import BackgroundScheduler

from listener import scheduler
from listener.scheduler import (
    Daily,
    Ending,
    Every,
    Job,
    Pulse,
    move,
    next_due,
    run_forever,
    run_job,
)
from listener.slots import due_day
from listener.store import Store, StoreError

MADRID = ZoneInfo("Europe/Madrid")
SPRING, AUTUMN = date(2026, 3, 29), date(2026, 10, 25)
PATIENCE = 20.0
"""Seconds after which a thread that should have ended has failed."""


def daily(hour: int = 8, minute: int = 0, *, zone: ZoneInfo = MADRID) -> Daily:
    return Daily(at=time(hour, minute), zone=zone)


def due(when: Daily, *, now: datetime) -> date:
    return due_day(when.at, when.zone, now)


def utc(text: str) -> datetime:
    return datetime.fromisoformat(text).replace(tzinfo=UTC)


# -- slots


@pytest.mark.parametrize(
    ("now", "slot"),
    [
        ("2026-03-10 06:59:59", date(2026, 3, 9)),
        ("2026-03-10 07:00:00", date(2026, 3, 10)),
        ("2026-03-10 22:59:59", date(2026, 3, 10)),
        ("2026-03-10 23:00:00", date(2026, 3, 10)),
    ],
)
def test_the_slot_that_is_due(now: str, slot: date) -> None:
    assert due(daily(), now=utc(now)) == slot


def test_the_day_is_that_of_the_zone() -> None:
    now = utc("2026-03-10 20:00:00")
    auckland = daily(8, zone=ZoneInfo("Pacific/Auckland"))
    bogota = daily(8, zone=ZoneInfo("America/Bogota"))
    assert due(auckland, now=now) == date(2026, 3, 11)
    assert due(bogota, now=now) == date(2026, 3, 10)


def walk(when: Daily, start: str, hours: int) -> dict[date, list[str]]:
    """Ask every ten minutes; what is due is done. Returns the UTC time of each but the first."""
    begin, told = utc(start), dict[date, list[str]]()
    for step in range(hours * 6):
        now = begin + timedelta(minutes=10 * step)
        slot = due(when, now=now)
        if slot not in told:
            told[slot] = [f"{now:%d %H:%M}"]
    return dict([*told.items()][1:])


def test_a_time_that_the_clock_skips_is_due_when_it_has_passed() -> None:
    """On 2026-03-29 Madrid goes from 02:00 to 03:00, which is 01:00 UTC."""
    told = walk(daily(2, 30), "2026-03-28 01:00:00", 72)
    assert told == {
        date(2026, 3, 28): ["28 01:30"],
        SPRING: ["29 01:00"],
        date(2026, 3, 30): ["30 00:30"],
        date(2026, 3, 31): ["31 00:30"],
    }


def test_a_time_that_comes_twice_is_due_once() -> None:
    """On 2026-10-25 Madrid goes from 03:00 back to 02:00, which is 01:00 UTC."""
    told = walk(daily(2, 30), "2026-10-24 00:00:00", 72)
    assert told == {
        date(2026, 10, 24): ["24 00:30"],
        AUTUMN: ["25 00:30"],
        date(2026, 10, 26): ["26 01:30"],
    }


@pytest.mark.parametrize("day", [SPRING, AUTUMN])
def test_the_next_time_that_is_told_is_one_at_which_the_slot_is_due(day: date) -> None:
    now = datetime.combine(day, time(0), MADRID).astimezone(UTC) - timedelta(days=1)
    told = []
    for _ in range(4):
        now = next_due(daily(2, 30), now=now)
        told.append(due(daily(2, 30), now=now))
    assert told == [day + timedelta(days=n) for n in (-1, 0, 1, 2)]


# -- one job


@dataclass
class Ledger:
    """Runs that were made, and what a run does."""

    path: Path
    slots: list[date | None] = field(default_factory=list)
    fault: BaseException | None = None
    meanwhile: Callable[[], None] = lambda: None
    pulse: Pulse = field(default_factory=Pulse)

    def run(
        self, store: Store, now: datetime, go_on: Callable[[int], None], slot: date | None
    ) -> None:
        assert now.utcoffset() == timedelta(0)
        self.slots.append(slot)
        self.meanwhile()
        go_on(1)
        if self.fault is not None:
            raise self.fault

    def job(self, when: Every | Daily) -> Job:
        return Job(name="work", when=when, run=self.run)

    def start(self, text: str) -> None:
        """The first start of all, after which missed slots are made up."""
        with clock(text):
            self.once(daily())
        assert self.slots == []

    def once(self, when: Every | Daily) -> bool:
        return run_job(self.job(when), lambda: Store(self.path), self.pulse)

    def state(self) -> Any:
        with Store(self.path) as store:
            return json.loads(store.value("SELECT value FROM state WHERE key = 'job:work'"))

    def rows(self) -> list[tuple[Any, ...]]:
        with Store(self.path) as store:
            rows = store.rows("SELECT slot, status, error FROM job_runs ORDER BY slot")
        return [tuple(row) for row in rows]


@pytest.fixture
def ledger(tmp_path: Path) -> Ledger:
    return Ledger(tmp_path / "listener.db")


@contextmanager
def clock(text: str) -> Iterator[None]:
    with time_machine.travel(utc(text), tick=False):
        yield


def test_a_job_is_written_down(ledger: Ledger) -> None:
    with clock("2026-03-10 12:00:00"):
        ledger.once(Every(minutes=5))
    stamped = "2026-03-10T12:00:00Z"
    assert ledger.state() == {
        "started": stamped,
        "finished": stamped,
        "error": None,
        "succeeded": stamped,
        "failures": 0,
        "next": "2026-03-10T12:05:00Z",
        "minutes": 5,
    }
    assert ledger.slots == [None]
    assert ledger.rows() == []


def test_failures_in_a_row_are_counted_and_tried_again_soon(ledger: Ledger) -> None:
    with clock("2026-03-10 12:00:00"):
        assert not ledger.once(Every(minutes=600))
    ledger.fault = StoreError("the disk is full")
    for minute in (10, 20):
        with clock(f"2026-03-10 12:{minute}:00"):
            assert ledger.once(Every(minutes=600))
    state = ledger.state()
    assert (state["error"], state["failures"]) == ("the disk is full", 2)
    assert state["succeeded"] == "2026-03-10T12:00:00Z"
    assert state["next"] == "2026-03-10T12:35:00Z"
    ledger.fault = None
    with clock("2026-03-10 12:35:00"):
        ledger.once(Every(minutes=600))
    assert ledger.state()["failures"] == 0


@pytest.mark.parametrize("back", [1, 25, 24 * 40])
def test_a_clock_that_is_set_back_brings_no_slot_twice(ledger: Ledger, back: int) -> None:
    ledger.start("2026-03-08 12:00:00")
    now = utc("2026-03-10 07:00:00")
    for moment in (now, now - timedelta(hours=back), now, now + timedelta(hours=24)):
        with time_machine.travel(moment, tick=False):
            ledger.once(daily())
            ledger.once(daily())
    assert len(ledger.slots) == len(set(ledger.slots))
    assert {date(2026, 3, 10), date(2026, 3, 11)} <= set(ledger.slots)


def test_nothing_is_made_up_from_before_the_first_start(ledger: Ledger) -> None:
    ledger.start("2026-03-10 12:00:00")
    with clock("2026-03-11 06:59:00"):
        ledger.once(daily())
    assert ledger.slots == []
    with clock("2026-03-11 07:00:00"):
        ledger.once(daily())
    assert ledger.slots == [date(2026, 3, 11)]


def test_a_daily_job_runs_once_a_slot_over_restarts(ledger: Ledger) -> None:
    ledger.start("2026-03-10 06:00:00")
    for text in ("2026-03-10 07:00:00", "2026-03-10 07:00:01", "2026-03-10 23:30:00"):
        with clock(text):
            ledger.once(daily())
    assert ledger.slots == [date(2026, 3, 10)]
    with clock("2026-03-14 05:00:00"):
        ledger.once(daily())
        ledger.once(daily())
    assert ledger.slots == [date(2026, 3, 10), date(2026, 3, 13)]
    assert {row[1:] for row in ledger.rows()} == {("done", None)}


@pytest.mark.parametrize("fault", [ValueError("private words"), RecursionError("private words")])
def test_a_job_that_fails_is_written_down_and_tried_again(
    ledger: Ledger, fault: Exception, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.INFO)
    ledger.start("2026-03-10 06:00:00")
    ledger.fault = fault
    name = type(fault).__name__
    with clock("2026-03-10 07:00:00"):
        ledger.once(daily())
        assert ledger.state()["error"] == name
        assert ledger.rows()[1:] == [("2026-03-10", "failed", name)]
        ledger.fault = None
        ledger.once(daily())
    assert ledger.slots == [date(2026, 3, 10)] * 2
    assert ledger.rows()[1:] == [("2026-03-10", "done", None)]
    assert ledger.state()["error"] is None
    assert f"work failed: {name}" in caplog.text
    assert "private" not in caplog.text


def test_a_job_that_is_stopped_is_tried_again(ledger: Ledger) -> None:
    ledger.start("2026-03-10 06:00:00")
    with clock("2026-03-10 07:00:00"):
        stop = ledger.pulse.stop
        ledger.meanwhile = stop.set
        ledger.once(daily())
        assert ledger.rows()[1:] == [("2026-03-10", "failed", "stopped")]
        assert ledger.state()["failures"] == 0
        ledger.once(daily())
        assert ledger.slots == [date(2026, 3, 10)], "it began although the daemon ends"
        stop.clear()
        ledger.meanwhile = lambda: None
        ledger.once(daily())
    assert ledger.rows()[1:] == [("2026-03-10", "done", None)]


def test_a_store_that_cannot_be_opened_is_logged(
    ledger: Ledger, caplog: pytest.LogCaptureFixture
) -> None:
    def broken() -> Store:
        raise StoreError("the disk is full")

    run_job(ledger.job(Every(minutes=1)), broken, ledger.pulse)
    assert "work could not run: the disk is full" in caplog.text
    assert ledger.slots == []


# -- the daemon


@pytest.fixture(autouse=True)
def quick(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(scheduler, "WATCH_SECONDS", 0.01)


@contextmanager
def running(jobs: list[Job], path: Path) -> Iterator[list[Ending]]:
    """The daemon in a thread of its own, stopped at the end; yields a list for how it ended."""
    stop, endings = threading.Event(), list[Ending]()
    thread = threading.Thread(
        target=lambda: endings.append(run_forever(jobs, lambda: Store(path), stop=stop))
    )
    thread.start()
    try:
        yield endings
    finally:
        stop.set()
        thread.join(PATIENCE)
    assert not thread.is_alive()


def announcing(name: str, when: Every | Daily) -> tuple[Job, threading.Event, list[date | None]]:
    """A job that tells when it ran."""
    ran, slots = threading.Event(), list[date | None]()

    def run(_: Store, __: datetime, ___: Callable[[int], None], slot: date | None) -> None:
        slots.append(slot)
        ran.set()

    return Job(name=name, when=when, run=run), ran, slots


def started_before(path: Path, job: str) -> None:
    """As if the daemon had been started long ago."""
    with Store(path) as store, store.write() as connection:
        connection.execute(
            "INSERT INTO job_runs VALUES (?, '2000-01-01', '', '', 'done', NULL)",
            (job,),
        )


def test_everything_runs_at_once_and_ends_on_stop(tmp_path: Path) -> None:
    path = tmp_path / "listener.db"
    # Due at any time of any day, and the job is known from the day before yesterday.
    started_before(path, "once")
    often, first, _ = announcing("often", Every(minutes=1000))
    once, second, slots = announcing("once", daily(0, zone=ZoneInfo("UTC")))
    for _ in range(2):
        first.clear()
        with running([often, once], path):
            assert first.wait(PATIENCE)
            assert second.wait(PATIENCE)
    assert len(slots) >= 1
    assert len(slots) == len(set(slots))
    with Store(path) as store:
        keys = [row["key"] for row in store.rows("SELECT key FROM state ORDER BY key")]
        assert keys == ["job:often", "job:once", "started"], "a heartbeat outlives the daemon"
        assert store.value("SELECT count(*) FROM job_runs WHERE status = 'done'") == len(slots) + 1


def test_a_database_that_cannot_be_used_ends_the_daemon_at_once() -> None:
    job, ran, _ = announcing("work", Every(minutes=1))

    def broken() -> Store:
        raise StoreError("written by a newer version")

    with pytest.raises(StoreError, match="newer version"):
        run_forever([job], broken)
    assert not ran.is_set()


def test_a_job_that_fails_stops_no_other(tmp_path: Path) -> None:
    path = tmp_path / "listener.db"
    failed = threading.Event()

    def fail(_: Store, __: datetime, ___: Callable[[int], None], ____: date | None) -> None:
        failed.set()
        raise ValueError

    good, ran, _ = announcing("good", Every(minutes=0.0001))
    with running([Job(name="bad", when=Every(minutes=1000), run=fail), good], path):
        assert failed.wait(PATIENCE)
        ran.clear()
        assert ran.wait(PATIENCE)
    with Store(path) as store:
        state = json.loads(store.value("SELECT value FROM state WHERE key = 'job:bad'"))
    assert state["error"] == "ValueError"


def test_a_daily_job_that_failed_is_tried_again_the_same_day(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(scheduler, "RETRY_MINUTES", 0.0001)
    path = tmp_path / "listener.db"
    started_before(path, "digest")
    tried: list[date | None] = []
    twice = threading.Event()

    def run(_: Store, __: datetime, ___: Callable[[int], None], slot: date | None) -> None:
        tried.append(slot)
        if len(tried) == 1:
            raise StoreError("the disk is full")
        twice.set()

    with running([Job(name="digest", when=daily(0, zone=ZoneInfo("UTC")), run=run)], path):
        assert twice.wait(PATIENCE)
    with Store(path) as store:
        rows = store.rows("SELECT slot, status FROM job_runs ORDER BY slot DESC LIMIT 1")
    assert [tuple(row) for row in rows] == [(str(tried[-1]), "done")]


def test_a_long_job_ends_early_on_stop(tmp_path: Path) -> None:
    path = tmp_path / "listener.db"
    started = threading.Event()

    def run(_: Store, __: datetime, go_on: Callable[[int], None], ___: date | None) -> None:
        started.set()
        while True:
            go_on(1)

    with running([Job(name="long", when=Every(minutes=1000), run=run)], path):
        assert started.wait(PATIENCE)
    with Store(path) as store:
        state = json.loads(store.value("SELECT value FROM state WHERE key = 'job:long'"))
    assert state["error"] == "stopped"


def test_jobs_of_an_older_configuration_are_forgotten(tmp_path: Path) -> None:
    path = tmp_path / "listener.db"
    with Store(path) as store, store.write() as connection:
        connection.execute("INSERT INTO state VALUES ('job:collect:gone', '{}')")
    job, ran, _ = announcing("work", Every(minutes=1000))
    with running([job], path):
        assert ran.wait(PATIENCE)
    with Store(path) as store:
        keys = [row["key"] for row in store.rows("SELECT key FROM state WHERE key GLOB 'job:*'")]
    assert keys == ["job:work"]


def test_jobs_that_hang_hold_up_no_other(tmp_path: Path) -> None:
    """Not even more of them than a pool of threads usually has."""
    release = threading.Event()

    def hang(_: Store, __: datetime, ___: Callable[[int], None], ____: date | None) -> None:
        release.wait(PATIENCE)

    good, ran, _ = announcing("good", Every(minutes=1000))
    jobs = [Job(name=f"hangs {n}", when=Every(minutes=1000), run=hang) for n in range(15)]
    with running([*jobs, good], tmp_path / "listener.db"):
        assert ran.wait(PATIENCE)
        release.set()


def test_a_job_that_never_ends_is_left_behind(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(scheduler, "GRACE_SECONDS", 0.05)
    began, release = threading.Event(), threading.Event()

    def hang(_: Store, __: datetime, ___: Callable[[int], None], ____: date | None) -> None:
        began.set()
        release.wait(PATIENCE)

    with running([Job(name="hangs", when=Every(minutes=1000), run=hang)], tmp_path / "a.db") as end:
        assert began.wait(PATIENCE)
    release.set()
    assert end == [Ending(left=("hangs",))]


def test_a_scheduler_that_dies_ends_the_daemon(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.setattr(scheduler, "DEAD_SECONDS", 0.2)

    job, ran, _ = announcing("work", Every(minutes=1000))
    # Its thread ends without a word, as it does when its store of jobs raises something odd.
    monkeypatch.setattr(BackgroundScheduler, "_main_loop", lambda _: None)
    stop = threading.Event()
    monkeypatch.setattr(scheduler, "_heed", lambda _: None)
    ending = run_forever([job], lambda: Store(tmp_path / "listener.db"), stop=stop)
    assert ending == Ending(died=True)
    assert stop.is_set()
    assert not ran.is_set()
    assert "no sign of life" in caplog.text


def test_a_heartbeat_that_cannot_be_written_is_not_the_death_of_the_scheduler(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    pulse = Pulse(beat=0.0)

    def full() -> Store:
        raise StoreError("the disk is full")

    scheduler._beat(full, pulse)
    assert pulse.beat > 0
    assert "heartbeat could not be written: the disk is full" in caplog.text


# -- clocks that jump


def test_what_was_missed_is_due_once_and_from_now() -> None:
    often = scheduler._Often(60)
    now = utc("2026-03-10 12:00:00")
    assert often.get_next_fire_time(None, now) == now
    assert often.get_next_fire_time(now, now) == now + timedelta(seconds=60)
    years = now + timedelta(days=366 * 30)
    assert often.get_next_fire_time(now, years) == years + timedelta(seconds=60)


@pytest.mark.parametrize("hours", [-1, 1, 24 * 365 * 50])
def test_a_clock_that_jumps_makes_jobs_neither_starve_nor_burst(
    tmp_path: Path, hours: int, caplog: pytest.LogCaptureFixture
) -> None:
    """The job of 3 s goes on within seconds; that of 10 minutes runs at most once more."""
    ticks, rare = threading.Semaphore(0), list[datetime]()

    def tick(_: Store, __: datetime, ___: Callable[[int], None], ____: date | None) -> None:
        ticks.release()

    def seldom(_: Store, now: datetime, ___: Callable[[int], None], ____: date | None) -> None:
        rare.append(now)

    jobs = [
        Job(name="often", when=Every(minutes=0.01), run=tick),
        Job(name="seldom", when=Every(minutes=10), run=seldom),
    ]
    with (
        time_machine.travel(utc("2026-03-10 12:00:00")) as traveller,
        running(jobs, tmp_path / "listener.db"),
    ):
        assert ticks.acquire(timeout=PATIENCE)
        traveller.shift(timedelta(hours=hours))
        for _ in range(4):
            assert ticks.acquire(timeout=PATIENCE), "it waits for the old time to come again"
    assert 1 <= len(rare) <= 2
    assert "the clock was set" in caplog.text


def test_times_move_along_with_a_clock_that_was_set_back() -> None:
    plan = BackgroundScheduler(timezone=UTC)
    now = utc("2026-03-10 12:00:00")
    plan.add_job(print, scheduler._Often(600), id="a", next_run_time=now + timedelta(minutes=5))
    plan.start(paused=True)
    move(plan, timedelta(hours=-1))
    (job,) = plan.get_jobs()
    assert job.next_run_time == now + timedelta(minutes=-55)
    plan.shutdown()
