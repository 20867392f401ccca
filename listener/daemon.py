"""The jobs of `listener run`: each source, the analysis, the delivery and the daily work."""

from __future__ import annotations

import threading
from datetime import date, datetime, time
from pathlib import Path
from zoneinfo import ZoneInfo

from .deliver import deliver, enqueue_digest
from .pipeline import Parts, gather, understand, watch
from .retention import prune
from .scheduler import Daily, Every, Job, run_forever
from .steps import Progress, ProgressOf, Stopped
from .store import Store


def _each(tick: Progress) -> ProgressOf:
    """The same callback for every step: it ends the job when the daemon is asked to stop."""
    return lambda _name, _total: tick


def jobs(parts: Parts) -> list[Job]:
    """What the configuration asks for; collection, analysis and delivery never wait for each other.

    The first digest after a start waits until every source was asked once and that was analysed.
    """
    config = parts.config
    names = {name for name, _ in config.sources.enabled()}
    asked: set[str] = set()
    caught_up = threading.Event()

    def collecting(name: str, every: float) -> Job:
        # A matcher of its own: sources are collected side by side, and spaCy's is not for threads.
        own = Parts(config)

        def run(store: Store, now: datetime, tick: Progress, _: date | None) -> None:
            try:
                gather(store, own, only=[name], now=now, progress=_each(tick))
            finally:
                asked.add(name)

        return Job(name=f"collect:{name}", when=Every(minutes=every), run=run)

    def analyse(store: Store, now: datetime, tick: Progress, _: date | None) -> None:
        complete = asked >= names
        understand(store, parts, progress=_each(tick))
        watch(store, parts, now=now, progress=_each(tick))
        if complete:
            caught_up.set()

    def send(store: Store, now: datetime, tick: Progress, _: date | None) -> None:
        deliver(store, config, parts.channels, now=now, progress=_each(tick))

    def digest(store: Store, now: datetime, _: Progress, day: date | None) -> None:
        if not caught_up.is_set():
            raise Stopped("waits for the first collection and analysis")
        if day is not None:
            enqueue_digest(store, config, day, now=now)

    def retain(store: Store, now: datetime, tick: Progress, _: date | None) -> None:
        prune(store, config.retention, now=now, tick=tick)

    found = [collecting(name, one.every_minutes) for name, one in config.sources.enabled()]
    found.append(
        Job(name="analyse", when=Every(minutes=config.schedule.analyse_minutes), run=analyse)
    )
    found.append(Job(name="deliver", when=Every(minutes=config.schedule.deliver_minutes), run=send))
    if config.digest.enabled:
        at = time(config.digest.hour, config.digest.minute)
        zone = ZoneInfo(config.digest.timezone)
        found.append(Job(name="digest", when=Daily(at=at, zone=zone), run=digest))
    at = time(config.schedule.retention_hour)
    zone = ZoneInfo(config.schedule.timezone)
    found.append(Job(name="retention", when=Daily(at=at, zone=zone), run=retain))
    return found


def serve(parts: Parts, database: Path) -> None:
    """Run until SIGINT or SIGTERM. Raises ConfigError when a channel cannot be opened."""
    parts.channels  # noqa: B018 - opened now, so that what is wrong ends the start
    run_forever(jobs(parts), lambda: Store(database))
