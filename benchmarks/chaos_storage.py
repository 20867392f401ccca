"""A full disk, and a database that another process locks, at one write after the other."""

from __future__ import annotations

import logging
import multiprocessing
import shutil
import sqlite3
import subprocess
import sys
import threading
import time
from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from multiprocessing.connection import Connection
from pathlib import Path
from types import FrameType
from typing import Any, Literal, Protocol
from unittest.mock import patch

from benchmarks.chaos_checks import delivered, differences, sound, stored
from benchmarks.chaos_life import Stage, at_step, at_the_site, run_due
from benchmarks.chaos_mail import MailServer
from benchmarks.chaos_month import Report, run, site
from benchmarks.chaos_world import Board, CampaignParts, World, free_port, settings, wanted
from listener import daemon
from listener import store as store_module
from listener.store import Store, StoreError

Trouble = Literal["full", "locked"]
_CLEAR = {
    "full": "the disk is full: free some space",
    "locked": "another program holds the database: stop it",
}
# A digest that went out while a collection had failed shows figures as they were before it.
_NOT_THE_SAME = ("shown",)
_PATIENCE = 0.2
"""Seconds to wait for the lock in place of the usual thirty."""


class Trap(Protocol):
    """Makes writing impossible, and possible again."""

    def spring(self) -> None:
        """From now on nothing can be written."""
        ...

    def release(self) -> None:
        """Writing works again."""
        ...


class FullDisk:
    """A file that takes all that is free of a small file system."""

    def __init__(self, folder: Path) -> None:
        self._filler = folder / "filler"

    def spring(self) -> None:
        """Fill it."""
        with self._filler.open("wb", buffering=0) as file, suppress(OSError):
            while True:
                file.write(bytes(4096))

    def release(self) -> None:
        """Free it."""
        self._filler.unlink(missing_ok=True)


class Lock:
    """Another process that begins to write and does not end."""

    def __init__(self, path: Path) -> None:
        context = multiprocessing.get_context("fork")
        self._here, there = context.Pipe()
        self._process = context.Process(target=_hold, args=(path, there), daemon=True)
        self._process.start()

    def spring(self) -> None:
        """Take the lock."""
        self._here.send("lock")
        self._here.recv()

    def release(self) -> None:
        """Give it back."""
        self._here.send("free")
        self._here.recv()

    def stop(self) -> None:
        """End the process."""
        self._process.kill()
        self._process.join()


def _hold(path: Path, line: Connection) -> None:
    connection = None
    while True:
        if line.recv() == "lock":
            connection = sqlite3.connect(path, timeout=10, isolation_level=None)
            connection.execute("BEGIN IMMEDIATE")
        elif connection is not None:
            connection.close()
            connection = None
        line.send("done")


@contextmanager
def small_disk(folder: Path, megabytes: int) -> Iterator[bool]:
    """Mount a file system of that size at `folder`; False where that is not allowed."""
    folder.mkdir(parents=True)
    command = ["mount", "-t", "tmpfs", "-o", f"size={megabytes}m", "tmpfs", str(folder)]
    try:
        mounted = subprocess.run(command, capture_output=True, check=False).returncode == 0
    except FileNotFoundError:
        mounted = False
    try:
        yield mounted
    finally:
        if mounted:
            subprocess.run(["umount", "-l", str(folder)], check=False)


def trouble(folder: Path, seed: int, what: Trouble, *, days: float) -> Report:
    """At each step another write is hit; the step is repeated as the daemon would, and goes on."""
    world = World(seed=seed, days=days)
    calm = run(folder / "calm", world, [])
    path = calm.config.database.path
    if what == "locked":
        (folder / what).mkdir()
        return _troubled(folder / what, world, path, what)
    with small_disk(folder / what, 12) as mounted:
        if mounted:
            report = _troubled(folder / what, world, path, what)
            shutil.copy(folder / what / "listener.db", folder / "full.db")
            return report
    return Report(figures={"skipped": "a small file system cannot be mounted here"})


def _troubled(folder: Path, world: World, calm: Path, what: Trouble) -> Report:
    board, port = Board(), free_port()
    report = Report()
    errors: list[str] = []
    told = _Told()
    places = Counter[str]()
    logging.getLogger("listener").addHandler(told)
    logging.getLogger("listener").propagate = False
    former, store_module.BUSY_SECONDS = store_module.BUSY_SECONDS, _PATIENCE
    try:
        with site(world, board) as web, MailServer(port, folder / "mail.jsonl", board) as server:
            config = settings(folder, web, port)
            path = config.database.path
            with Store(path):
                pass
            trap: Trap = FullDisk(folder) if what == "full" else Lock(path)
            stage = Stage(world=world, board=board, config=config, site=web, log=folder / "log.txt")
            with at_the_site(stage) as parts:
                found = daemon.jobs(parts)
                for step in range(world.steps):
                    with at_step(stage, step):
                        with _hit(trap, step + 1, errors, places):
                            run_due(found, step, lambda: Store(path))
                        run_due(found, step, lambda: Store(path))
            if isinstance(trap, Lock):
                trap.stop()
    finally:
        store_module.BUSY_SECONDS = former
        logging.getLogger("listener").removeHandler(told)
    expected = wanted(world, CampaignParts(config).matcher)
    report.wrong += sound(path) + stored(path, expected)
    # Not even where the note that a message went is the write that fails: the process remembers.
    wrong, _ = delivered(path, server.taken(), {})
    report.wrong += wrong
    report.wrong += [
        f"{name}: {only} rows only without trouble, {other} only with it"
        for name, (only, other) in differences(calm, path, but=_NOT_THE_SAME).items()
    ]
    report.wrong += [f"not clear: {one}" for one in errors if _CLEAR[what] not in one]
    if not errors:
        report.wrong.append("nothing failed: the trouble proves nothing")
    if not any(_CLEAR[what] in line for line in told.lines):
        report.wrong.append("the log of the daemon does not say what was wrong")
    report.figures = {
        "steps": world.steps,
        "failed": len(errors),
        "places": len(places),
        "mentions": len(expected),
    }
    return report


class _Told(logging.Handler):
    """Keeps the lines of a log."""

    def __init__(self) -> None:
        super().__init__(logging.WARNING)
        self.lines: list[str] = []

    def emit(self, record: logging.LogRecord) -> None:
        """Keep the line."""
        self.lines.append(record.getMessage())


@contextmanager
def _hit(
    trap: Trap,
    number: int,
    errors: list[str],
    places: Counter[str],
) -> Iterator[None]:
    """Spring the trap at the write of that number, and release it when a write has failed."""
    plain = Store.write
    count, sprung = 0, False

    @contextmanager
    def write(store: Store) -> Iterator[Any]:
        nonlocal count, sprung
        count += 1
        if count == number:
            trap.spring()
            sprung = True
        try:
            with plain(store) as connection:
                yield connection
        except StoreError as error:
            if sprung:
                errors.append(str(error))
                places[_place()] += 1
                trap.release()
                sprung = False
            raise

    try:
        with patch.object(Store, "write", write):
            yield
    finally:
        if sprung:
            trap.release()


def _place() -> str:
    """The function of the product that was writing."""
    frame: FrameType | None = sys._getframe(2)
    while frame is not None:
        name = frame.f_globals.get("__name__", "")
        if name.startswith("listener.") and name != "listener.store":
            return f"{name}.{frame.f_code.co_name}"
        frame = frame.f_back
    return ""


def long_lock(folder: Path) -> Report:
    """A lock of five seconds is waited for; one of more than thirty is an error that says so."""
    folder.mkdir(parents=True)
    path = folder / "listener.db"
    report = Report()
    with Store(path) as store:
        lock = Lock(path)
        waited = []
        for seconds in (5.0, store_module.BUSY_SECONDS + 5):
            lock.spring()
            timer = threading.Timer(seconds, lock.release)
            timer.start()
            begun = time.monotonic()
            error = ""
            try:
                with store.write() as connection:
                    connection.execute("INSERT OR REPLACE INTO state VALUES ('chaos', '1')")
            except StoreError as raised:
                error = str(raised)
            waited.append(round(time.monotonic() - begun, 1))
            timer.join()
            expected = _CLEAR["locked"] if seconds > store_module.BUSY_SECONDS else ""
            if (expected == "") != (error == "") or expected not in error:
                report.wrong.append(f"a lock of {seconds:.0f} s: {error or 'no error'}")
        lock.stop()
        with store.write() as connection:
            connection.execute("DELETE FROM state WHERE key = 'chaos'")
    report.figures = {"waited": waited}
    return report
