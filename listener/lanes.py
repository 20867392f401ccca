"""Work side by side: each lane in a thread with a connection of its own."""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterable, Sequence
from contextlib import suppress
from pathlib import Path
from queue import Empty, SimpleQueue
from typing import TypeVar

from .store import Store

T = TypeVar("T")
_LINGER_SECONDS = 5.0
"""How long an interrupted round waits for what is being stored."""


def side_by_side(
    path: Path,
    lanes: Sequence[Iterable[T]],
    work: Callable[[Store, T], None],
    stop: threading.Event,
) -> None:
    """Do the work of each lane one after the other, and the lanes at the same time.

    The first that raises sets `stop`, which ends every lane after the piece it is at, and what it
    raised is raised here. So does Ctrl-C; a lane that hangs in a request is then left behind.
    """
    # Not `Thread.join`: one that Ctrl-C interrupts takes its thread for ended.
    ended: SimpleQueue[BaseException | None] = SimpleQueue()

    def run(lane: Iterable[T]) -> None:
        error: BaseException | None = None
        try:
            with Store(path) as own:
                for piece in lane:
                    if stop.is_set():
                        break
                    work(own, piece)
        except BaseException as raised:  # it is raised again in the thread that waits
            error = raised
            stop.set()
        ended.put(error)

    errors: list[BaseException | None] = []
    try:
        for lane in lanes:
            threading.Thread(target=run, args=(lane,), daemon=True).start()
        while len(errors) < len(lanes):
            errors.append(ended.get())
    except BaseException:
        stop.set()
        with suppress(Empty):
            for _ in range(len(lanes) - len(errors)):
                ended.get(timeout=_LINGER_SECONDS)
        raise
    for error in errors:
        if error is not None:
            raise error
