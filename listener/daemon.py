"""The jobs of `listener run`: each source, the analysis, the delivery and the care of itself."""

from __future__ import annotations

import logging
import os
import threading
from collections import defaultdict
from collections.abc import Mapping
from contextlib import nullcontext
from datetime import date, datetime, time
from pathlib import Path
from zoneinfo import ZoneInfo

from .collect import Source
from .config import Config
from .deliver import deliver
from .erase import clean_outbox
from .followups import readers
from .pipeline import Parts, gather, look_up, revisit, understand, watch
from .recipients import unheard
from .retention import prune
from .scheduler import Daily, Ending, Every, Job, run_forever
from .slots import enqueue_due_digests
from .sources import build
from .steps import Progress, ProgressOf
from .store import Store
from .troubles import find, note_refusals, tell
from .upkeep import refreshers

log = logging.getLogger(__name__)
_CARE_MINUTES = 10.0
_MESSAGES = 500
"""Most messages of one round of deliveries."""


def _each(tick: Progress) -> ProgressOf:
    """The same callback for every step: it ends the job when the daemon is asked to stop."""
    return lambda _name, _total: tick


def jobs(parts: Parts) -> list[Job]:
    """What the configuration asks for; collection, analysis and delivery never wait for each other.

    The first digests after a start wait until every source was asked once and that was analysed.
    """
    config = parts.config
    names = {name for name, _ in config.sources.enabled()}
    asked: set[str] = set()
    caught_up = threading.Event()
    # Two jobs of one source would both spend what is left of its cap.
    busy: defaultdict[str, threading.Lock] = defaultdict(threading.Lock)

    def collecting(name: str, every: float) -> Job:
        # A matcher of its own: sources are collected side by side, and spaCy's is not for threads.
        own = Parts(config)

        def run(store: Store, now: datetime, tick: Progress, _: date | None) -> None:
            try:
                with busy[name]:
                    found = gather(store, own, only=[name], now=now, progress=_each(tick))
                note_refusals(store, found)
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
        enqueue_due_digests(store, config, now=now, ready=caught_up.is_set())
        # A fresh alert does not wait for a backlog: alerts go first in each round.
        deliver(store, config, parts.channels, now=now, progress=_each(tick), most=_MESSAGES)

    def care(store: Store, now: datetime, _: Progress, __: date | None) -> None:
        tell(store, config, find(store, config, now=now), now=now)

    def retain(store: Store, now: datetime, tick: Progress, _: date | None) -> None:
        prune(store, config.retention, outbox=config.channels.outbox.folder, now=now, tick=tick)

    found = [collecting(name, one.every_minutes) for name, one in config.sources.enabled()]
    built, _ = build(config)
    if config.upkeep.enabled:
        found += [_looking_up(config, source, busy) for source, _ in refreshers(built)]
    if config.followups.enabled:
        found += [_reading_again(config, source, busy) for source, _ in readers(built)]
    found.append(
        Job(name="analyse", when=Every(minutes=config.schedule.analyse_minutes), run=analyse)
    )
    found.append(Job(name="deliver", when=Every(minutes=config.schedule.deliver_minutes), run=send))
    found.append(Job(name="troubles", when=Every(minutes=_CARE_MINUTES), run=care))
    at, zone = time(config.schedule.retention_hour), ZoneInfo(config.schedule.timezone)
    found.append(Job(name="retention", when=Daily(at=at, zone=zone), run=retain))
    return found


def _reading_again(config: Config, source: Source, busy: Mapping[str, threading.Lock]) -> Job:
    name = source.name.partition(":")[0]
    own = Parts(config)

    def run(store: Store, now: datetime, tick: Progress, _: date | None) -> None:
        with nullcontext() if source.monthly_cap is None else busy[name]:
            revisit(store, own, only=[name], now=now, progress=_each(tick))

    return Job(name=f"threads:{name}", when=Every(minutes=config.followups.every_minutes), run=run)


def _looking_up(config: Config, source: Source, busy: Mapping[str, threading.Lock]) -> Job:
    name = source.name.partition(":")[0]

    def run(store: Store, now: datetime, tick: Progress, _: date | None) -> None:
        # Where nothing is paid, collecting need not wait for what may be many look-ups.
        with nullcontext() if source.monthly_cap is None else busy[name]:
            look_up(store, config, only=[name], now=now, progress=_each(tick))
        clean_outbox(store, config.channels.outbox.folder)

    return Job(name=f"lookups:{name}", when=Every(minutes=config.upkeep.every_minutes), run=run)


def serve(parts: Parts, database: Path) -> Ending:
    """Run until SIGINT or SIGTERM. Raises ConfigError when a channel cannot be opened."""
    parts.channels  # noqa: B018 - opened now, so that what is wrong ends the start
    with Store(database) as store:
        for rule in unheard(store, parts.config):
            log.warning("%s reaches nobody: everybody who would get it is suppressed", rule)
    return run_forever(jobs(parts), lambda: Store(database))


def leave(ending: Ending) -> None:
    """End the process when the daemon has not ended by itself: with 1 when its scheduler died.

    Python would wait for ever for a thread that hangs. What it had stored is stored.
    """
    if ending.died or ending.left:
        logging.shutdown()
        os._exit(1 if ending.died else 0)
