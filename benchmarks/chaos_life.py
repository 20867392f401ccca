"""Lives of the daemon in the fault campaign: forked, driven by a simulated clock, and killed.

A life runs the jobs of `listener run` in their order, through the functions that the daemon calls
(`daemon.jobs`, `scheduler.run_job`), at one simulated time after the other, until the last step or
until SIGKILL. It is forked from a process that has loaded everything and opened nothing: what it
knows of earlier lives is in the files.
"""

from __future__ import annotations

import logging
import os
import random
import signal
import smtplib
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import timedelta
from email.message import EmailMessage
from pathlib import Path
from typing import Any, Literal
from unittest.mock import patch
from zlib import crc32

import time_machine

from benchmarks.chaos_world import STEP, Board, CampaignParts, World, sources_at
from listener import daemon, pipeline
from listener.config import Config
from listener.scheduler import Daily, Job, Pulse, run_job
from listener.store import Store

_LOOKS = (5, 20)

Way = Literal["delay", "before", "inside", "after", "asked", "answered"]
WAYS: tuple[Way, ...] = ("delay", "before", "inside", "after", "asked", "answered")
"""After a random time; before, inside (uncommitted) and after the n-th write transaction; before
and after the n-th answer of the mail server is read."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Kill:
    """When a life ends: from the beginning of `step` on, after `count` milliseconds or events."""

    step: int
    way: Way
    count: int


@dataclass(frozen=True, slots=True, kw_only=True)
class Ended:
    """How a life ended: killed or not, and the message that was under way (a checksum, or 0)."""

    killed: bool
    code: int
    busy: int


@dataclass(frozen=True, kw_only=True)
class Stage:
    """What all lives of one run share."""

    world: World
    board: Board
    config: Config
    site: int
    log: Path
    real: bool = False

    @property
    def path(self) -> Path:
        """The database."""
        return self.config.database.path


def plan(dice: random.Random, kills: int, steps: int, *, writes: int, delay: int) -> list[Kill]:
    """`kills` kills, spread over the steps, all ways alike.

    `writes` and `delay` (milliseconds) are about what a step takes. The last steps are left out,
    and for kills that wait for a mail more of them, so that each comes about.
    """
    most = {"delay": delay, "asked": 8, "answered": 8}
    last = {way: int(steps * 0.85) - (10 if way in ("asked", "answered") else 0) for way in WAYS}
    found = []
    for place in range(kills):
        way = WAYS[place % len(WAYS)]
        found.append(
            Kill(
                step=dice.randrange(last[way]),
                way=way,
                count=dice.randint(1, max(most.get(way, writes), 1)),
            )
        )
    return sorted(found, key=lambda one: one.step)


@contextmanager
def at_the_site(stage: Stage) -> Iterator[CampaignParts]:
    """The parts of a life, with the sources of the invented site in place of the real ones."""

    def build(_: Config, only: Sequence[str] = ()) -> Any:
        sources, failed = sources_at(stage.site)
        return [one for one in sources if not only or one.name in only], failed

    def parts(config: Config) -> CampaignParts:
        return CampaignParts(config, real=stage.real)

    with (
        patch.object(pipeline, "build_sources", build),
        patch.object(daemon, "build", build),
        patch.object(daemon, "Parts", parts),
    ):
        yield parts(stage.config)


def steps_of(
    stage: Stage, jobs: Sequence[Job], first: int, last: int, *, opened: Callable[[], Store]
) -> None:
    """Run what is due at the steps from `first` up to `last`, which is left out.

    Each is followed by two looks into the outbox, minutes later, for what was under way at a kill:
    it is not tried again at once.
    """
    sending = [job for job in jobs if job.name == "deliver"]
    for step in range(first, last):
        with at_step(stage, step):
            run_due(jobs, step, opened)
        for minutes in _LOOKS:
            with at_step(stage, step, minutes):
                run_due(sending, step, opened)


@contextmanager
def at_step(stage: Stage, step: int, minutes: int = 0) -> Iterator[None]:
    """The clock stands at a step, or so many minutes later, for this process and on the board."""
    now = stage.world.at(step) + timedelta(minutes=minutes)
    stage.board.put("step", step)
    stage.board.put("now", int(now.timestamp()))
    with time_machine.travel(now, tick=False):
        yield


def run_due(jobs: Sequence[Job], step: int, opened: Callable[[], Store]) -> None:
    """Run the jobs that are due at a step, one after the other."""
    pulse = Pulse()
    for job in jobs:
        if isinstance(job.when, Daily) or step % _every(job.when.minutes) == 0:
            run_job(job, opened, pulse)


def _every(minutes: float) -> int:
    return max(round(timedelta(minutes=minutes) / STEP), 1)


def live(
    stage: Stage, number: int, first: int, kill: Kill | None, *, last: int | None = None
) -> Ended:
    """Fork a life from step `first` to `last`, or the end of the world; returns when it is over."""
    board = stage.board
    board.put("step", first)
    board.put("busy", 0)
    board.put("life", number)
    child = os.fork()
    if child == 0:
        _be(stage, first, stage.world.steps if last is None else last, kill)
    if kill is not None and kill.way == "delay":
        _kill_later(child, board, kill)
    _, status = os.waitpid(child, 0)
    return Ended(
        killed=os.WIFSIGNALED(status) and os.WTERMSIG(status) == signal.SIGKILL,
        code=os.waitstatus_to_exitcode(status),
        busy=board.get("busy"),
    )


def _kill_later(child: int, board: Board, kill: Kill) -> None:
    while board.get("step") < kill.step:
        if _gone(child):
            return
        # The step is in shared memory, on which nothing can wait; the child ends it, too.
        time.sleep(0.001)
    until = time.monotonic() + kill.count / 1000
    while time.monotonic() < until:
        if _gone(child):
            return
        time.sleep(0.0005)  # the kill comes at a set time, the end of the child at any
    os.kill(child, signal.SIGKILL)


def _gone(child: int) -> bool:
    """Whether the child has ended; it is left to be waited for."""
    return os.waitid(os.P_PID, child, os.WEXITED | os.WNOHANG | os.WNOWAIT) is not None


def _be(stage: Stage, first: int, last: int, kill: Kill | None) -> None:
    """The child: never returns."""
    code = 1
    try:
        logging.basicConfig(
            filename=stage.log, level=logging.WARNING, format="%(name)s %(message)s", force=True
        )
        with watched(stage.board), at_the_site(stage) as parts:
            if kill is not None and kill.way != "delay":
                _arm(stage.board, kill)
            found = daemon.jobs(parts)
            steps_of(stage, found, first, last, opened=lambda: Store(stage.path))
        code = 0
    except BaseException:
        logging.exception("the life broke")
    finally:
        os._exit(code)


def die() -> None:
    """End at once, as the out-of-memory killer would."""
    os.kill(os.getpid(), signal.SIGKILL)


def _arm(board: Board, kill: Kill) -> None:
    left = kill.count

    def now() -> bool:
        """Whether this is the event at which to die."""
        nonlocal left
        if board.get("step") < kill.step:
            return False
        left -= 1
        return left == 0

    if kill.way in ("asked", "answered"):
        _on_replies(now, before=kill.way == "asked")
    else:
        _on_writes(now, kill.way)


def _on_replies(now: Callable[[], bool], *, before: bool) -> None:
    plain = smtplib.SMTP.getreply

    def getreply(server: smtplib.SMTP) -> tuple[int, bytes]:
        chosen = now()
        if chosen and before:
            die()
        answer = plain(server)
        if chosen:
            die()
        return answer

    patch.object(smtplib.SMTP, "getreply", getreply).start()


def _on_writes(now: Callable[[], bool], way: Way) -> None:
    plain = Store.write

    @contextmanager
    def write(store: Store) -> Iterator[Any]:
        chosen = now()
        if chosen and way == "before":
            die()
        with plain(store) as connection:
            yield connection
            if chosen and way == "inside":
                die()
        if chosen:
            die()

    patch.object(Store, "write", write).start()


@contextmanager
def watched(board: Board) -> Iterator[None]:
    """Keep on the board which message is under way: from its content to the note that it went."""
    send, write = smtplib.SMTP.send_message, Store.write

    def send_message(server: smtplib.SMTP, msg: EmailMessage, *rest: Any, **more: Any) -> Any:
        board.put("busy", checksum(str(msg["Message-ID"])))
        return send(server, msg, *rest, **more)

    @contextmanager
    def noted(store: Store) -> Iterator[Any]:
        with write(store) as connection:
            yield connection
        board.put("writes", board.get("writes") + 1)
        board.put("busy", 0)

    with (
        patch.object(smtplib.SMTP, "send_message", send_message),
        patch.object(Store, "write", noted),
    ):
        yield


def checksum(message_id: str) -> int:
    """A number for a Message-ID, as the board holds numbers."""
    return crc32(message_id.encode()) + 1
