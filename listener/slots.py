"""When digests are due: for whom, of which day, and what span of time each one tells of.

A digest belongs to a person and a day of that person's zone. `job_runs` keeps which days are done
(job `digest:ADDRESS`), so that each is made once even when its delivery is no longer on record.
"""

from __future__ import annotations

from datetime import date, datetime, time, timedelta
from zoneinfo import ZoneInfo

from .config import Config, Recipient
from .digest import Period
from .outbox import enqueue
from .recipients import digest_time, zone_of
from .store import Store, moment, stamp

_DAY = timedelta(days=1)
_LONGEST = timedelta(days=7)


def due_day(at: time, zone: ZoneInfo, now: datetime) -> date:
    """The latest day of `zone` whose time `at` has come; older ones are not made up."""
    local = now.astimezone(zone)
    # Wall-clock comparison, so that a time which a DST change skips or repeats is due once a day.
    return local.date() if local.time() >= at else local.date() - _DAY


def next_digest(config: Config, person: Recipient, now: datetime) -> datetime:
    """When the next digest of a person is due, in the person's zone."""
    zone, at = zone_of(config, person), digest_time(config, person)
    return datetime.combine(due_day(at, zone, now) + _DAY, at, zone)


def enqueue_due_digests(store: Store, config: Config, *, now: datetime, ready: bool = True) -> int:
    """Put the digest of each person whose hour has come into the outbox; returns how many.

    Each day is made once; of days that were missed only the latest, late. Whoever is seen for the
    first time is owed nothing for a time before. A suppressed person's days pass without a digest.
    As long as it is not `ready` what is due waits.
    """
    if not config.digest.enabled:
        return 0
    added = 0
    for person in config.receiving("digest"):
        job = f"digest:{person.email.lower()}"
        day = due_day(digest_time(config, person), zone_of(config, person), now)
        # The day after counts, too: whoever moves westward has had this day in the old zone. But
        # not one that a clock made which stood ahead and was set back.
        if store.value(
            "SELECT 1 FROM job_runs WHERE job = ? AND (slot = ? OR (slot = ? AND started_at <= ?))",
            (job, day.isoformat(), (day + _DAY).isoformat(), stamp(now)),
        ):
            continue
        known = store.value("SELECT 1 FROM job_runs WHERE job = ?", (job,))
        if known and not ready:
            continue
        with store.write() as connection:
            if known:
                added += enqueue(connection, "digest", day.isoformat(), person, now=now)
            connection.execute(
                "INSERT OR IGNORE INTO job_runs VALUES (?, ?, ?, ?, 'done', NULL)",
                (job, day.isoformat(), stamp(now), stamp(now)),
            )
    return added


def enqueue_digest(store: Store, config: Config, day: date | None, *, now: datetime) -> int:
    """Put the digest of `day` into each recipient's outbox, once; returns how many were added.

    Without a day that of each person's today.
    """
    with store.write() as connection:
        return sum(
            enqueue(
                connection,
                "digest",
                (day or local_day(config, now, person)).isoformat(),
                person,
                now=now,
            )
            for person in config.receiving("digest")
        )


def local_day(config: Config, now: datetime, person: Recipient | None = None) -> date:
    """The day at `now` where the person is, or without one in the zone of the digest."""
    zone = zone_of(config, person) if person else ZoneInfo(config.digest.timezone)
    return now.astimezone(zone).date()


def digest_end(
    config: Config, day: date, made: datetime, person: Recipient | None = None
) -> datetime:
    """Up to when the digest of `day` tells: until it was made, or its hour if the day is over."""
    if day == local_day(config, made, person):
        return made
    if person is None:
        at, zone = time(config.digest.hour, config.digest.minute), ZoneInfo(config.digest.timezone)
    else:
        at, zone = digest_time(config, person), zone_of(config, person)
    return min(datetime.combine(day, at, zone), made)


def digest_period(
    store: Store, config: Config, day: date, person: Recipient, until: datetime
) -> Period:
    """From where the person's last digest ended, at most 7 days back; at first from a day back.

    A digest that was never delivered counts as none. After a first digest, posts that came late
    are counted up to 7 days after their publication.
    """
    ends = [
        digest_end(config, date.fromisoformat(row["ref"]), moment(row["created_at"]), person)
        for row in store.rows(
            "SELECT ref, created_at FROM deliveries WHERE kind = 'digest' AND recipient = ? "
            "AND ref < ? AND status <> 'refused' ORDER BY ref DESC LIMIT 7",
            (person.email, day.isoformat()),
        )
    ]
    last = max((end for end in ends if end < until), default=None)
    if last is None:
        since = oldest = until - _DAY
    else:
        since = max(last, until - _LONGEST)
        oldest = since - _LONGEST
    return Period(since=since, until=until, oldest=oldest, live=True)
