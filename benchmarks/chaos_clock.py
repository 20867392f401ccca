"""Clocks that jump, days of 23 and 25 hours, days off: each digest once."""

from __future__ import annotations

import random
import sqlite3
from collections import Counter
from collections.abc import Mapping, Sequence
from contextlib import closing
from dataclasses import dataclass, field
from datetime import UTC, date, datetime, time, timedelta
from functools import cached_property
from pathlib import Path
from zoneinfo import ZoneInfo

import time_machine

from benchmarks.chaos_life import run_due
from benchmarks.chaos_month import Report
from benchmarks.chaos_world import CampaignParts
from listener import config as configuration
from listener import daemon
from listener.channels import Channel, Parcel
from listener.scheduler import Job
from listener.store import Store

_SETTINGS = """
[database]
path = "{folder}/listener.db"
[brand]
name = "Lumora"
[digest]
hour = {at.hour}
minute = {at.minute}
timezone = "{zone}"
[[recipients]]
name = "Here"
email = "here@example.com"
[[recipients]]
name = "Bogotá"
email = "there@example.com"
timezone = "America/Bogota"
digest_hour = 7
[upkeep]
enabled = false
[followups]
enabled = false
"""
_TEN = timedelta(minutes=10)


@dataclass(frozen=True, slots=True, kw_only=True)
class Case:
    """A zone, the time of the digest, and the noon (UTC) between two days in which it is odd."""

    zone: str
    at: time
    around: datetime


CASES = (
    Case(zone="Europe/Madrid", at=time(2, 30), around=datetime(2026, 3, 29, 1, tzinfo=UTC)),
    Case(zone="Europe/Madrid", at=time(2, 30), around=datetime(2026, 10, 25, 1, tzinfo=UTC)),
    Case(zone="America/New_York", at=time(2, 30), around=datetime(2026, 3, 8, 7, tzinfo=UTC)),
    Case(zone="America/New_York", at=time(1, 30), around=datetime(2026, 11, 1, 6, tzinfo=UTC)),
    # Its clocks change at midnight, into and out of the day before.
    Case(zone="America/Santiago", at=time(0, 30), around=datetime(2026, 9, 6, 4, tzinfo=UTC)),
    Case(zone="America/Santiago", at=time(23, 30), around=datetime(2026, 4, 5, 3, tzinfo=UTC)),
    # Half an hour.
    Case(zone="Australia/Lord_Howe", at=time(1, 45), around=datetime(2026, 4, 4, 15, tzinfo=UTC)),
    # No change any more since 2022, but the week in which it was.
    Case(zone="America/Mexico_City", at=time(2, 30), around=datetime(2026, 4, 5, 8, tzinfo=UTC)),
)
"""02:30 that comes never or twice, and its like elsewhere."""


@dataclass
class _Sent:
    """A channel that counts."""

    name: str = "outbox"
    sent: Counter[tuple[str, str]] = field(default_factory=Counter)

    def send(self, parcel: Parcel) -> None:
        """Count it."""
        self.sent[str(parcel.message["To"]), parcel.ref] += 1

    def check(self) -> str:
        """Never asked."""
        return "works"

    def close(self) -> None:
        """Nothing to close."""


@dataclass(frozen=True)
class _Parts(CampaignParts):
    counting: _Sent = field(default_factory=_Sent)

    @cached_property
    def channels(self) -> Mapping[str, Channel]:
        """The one that counts."""
        return {"outbox": self.counting}


def clocks(folder: Path, seed: int, *, cases: Sequence[Case] = CASES) -> Report:
    """Each case three times: plain, with jumps and restarts, and with three days off."""
    dice = random.Random(seed)
    report = Report()
    figures = Counter[str]()
    for number, case in enumerate(cases):
        for trial in ("plain", "jumps", "days off"):
            walked = _walk(folder / f"{number}-{trial.replace(' ', '-')}", case, trial, dice)
            name = f"{case.zone} {case.at:%H:%M}, {trial}"
            report.wrong += [f"{name}: {text}" for text in walked.wrong]
            figures.update(walked.figures)
    report.figures = {"cases": len(cases), **figures}
    return report


@dataclass(kw_only=True)
class _Walked:
    wrong: list[str]
    figures: Counter[str]


def _walk(folder: Path, case: Case, trial: str, dice: random.Random) -> _Walked:
    folder.mkdir(parents=True)
    text = _SETTINGS.format(folder=folder, at=case.at, zone=case.zone)
    config = configuration.parse(text, file="config.toml")
    parts = _Parts(config)
    start, end = case.around - timedelta(days=2), case.around + timedelta(days=3)
    figures = Counter[str]()
    seen: list[datetime] = []
    found: list[Job] = []
    now, skew = start, timedelta()
    off = dice.uniform(6, 36) if trial == "days off" else 1e9
    while now < end:
        if now - start > timedelta(hours=off):
            # The machine is off, and the daemon starts when it is on again.
            now, off, found = now + timedelta(days=3), 1e9, []
            end += timedelta(days=3)
            figures["days off"] += 3
        if trial == "jumps" and dice.random() < 0.04:
            if skew:
                skew = timedelta()
            else:
                minutes = dice.choice((-180, -61, -20, 25, 61, 180, 36 * 60))
                skew = timedelta(minutes=minutes)
            figures["jumps"] += 1
        if not found or (trial == "jumps" and dice.random() < 0.02):
            found = [job for job in daemon.jobs(parts) if job.name in ("analyse", "deliver")]
            figures["starts"] += 1
        with time_machine.travel(now + skew, tick=False):
            run_due(found, 0, lambda: Store(config.database.path))
        # There is nothing to analyse: once after a start, for which digests wait, is enough.
        found = [job for job in found if job.name == "deliver"]
        seen.append(now + skew)
        figures["times"] += 1
        # Near the change and near the digest time nothing is left out.
        near = abs(now - case.around) < timedelta(hours=3)
        now += _TEN if near else timedelta(minutes=dice.choice((30, 60, 100)))
    wrong: list[str] = []
    for email, zone, at in (
        ("here@example.com", case.zone, case.at),
        ("there@example.com", "America/Bogota", time(7)),
    ):
        days = _days(seen, ZoneInfo(zone), at)
        got = {ref: count for (to, ref), count in parts.counting.sent.items() if to == email}
        wrong += [f"{email}: {ref} came {count} times" for ref, count in got.items() if count > 1]
        wrong += [f"{email}: {day} never came" for day in days if day.isoformat() not in got]
        expected = {day.isoformat() for day in days}
        wrong += [f"{email}: {ref} came for nothing" for ref in got.keys() - expected]
        figures["digests"] += len(got)
    with closing(sqlite3.connect(config.database.path)) as connection:
        if connection.execute("SELECT 1 FROM deliveries WHERE status <> 'sent'").fetchone():
            wrong.append("a digest still waits")
    return _Walked(wrong=wrong, figures=figures)


def _days(seen: Sequence[datetime], zone: ZoneInfo, at: time) -> list[date]:
    """The days whose digest is owed: those that were the latest due one at a time that was seen.

    The first one was due before the first start, and nobody was promised it.
    """
    found: dict[date, None] = {}
    for moment in seen:
        local = moment.astimezone(zone)
        day = local.date() if local.time() >= at else local.date() - timedelta(days=1)
        found[day] = None
    first, *owed = found
    return [day for day in owed if day > first]
