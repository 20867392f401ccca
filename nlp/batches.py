"""Batches of texts of like length, each made when a thread is free to run it."""

from __future__ import annotations

from collections.abc import Callable, Generator, Sequence
from concurrent.futures import ThreadPoolExecutor, as_completed
from dataclasses import dataclass
from threading import Lock
from typing import TypeVar

import numpy as np
from numpy.typing import NDArray

Ids = NDArray[np.int64]
Item = TypeVar("Item")

_PAD = 1


@dataclass(frozen=True, slots=True)
class Tokens:
    """Ids of a text, and where it matters the bounds of each in the text with its prefix."""

    ids: list[int]
    spans: Sequence[tuple[int, int]] = ()


Batch = dict[int, Tokens]
"""Texts that run together, by their places."""


def grouped(tokens: Batch, *, budget: int, most: int) -> list[Batch]:
    """Batches of at most `most` texts and `budget` tokens with padding, longest texts first.

    A text of more tokens than `budget` is alone.
    """
    batches: list[Batch] = []
    longest = 0
    for at, one in sorted(tokens.items(), key=lambda pair: (-len(pair[1].ids), pair[1].ids)):
        if not batches or len(batches[-1]) == most or (len(batches[-1]) + 1) * longest > budget:
            batches.append({})
            longest = len(one.ids)
        batches[-1][at] = one
    return batches


def padded(rows: Sequence[Sequence[int]]) -> tuple[Ids, Ids]:
    """Ids and mask [n, longest] of rows of ids."""
    shape = (len(rows), max(map(len, rows)))
    ids = np.full(shape, _PAD, np.int64)
    mask = np.zeros(shape, np.int64)
    for at, row in enumerate(rows):
        ids[at, : len(row)] = row
        mask[at, : len(row)] = 1
    return ids, mask


def each(work: Callable[[Item], None], items: Generator[Item, None, None], *, threads: int) -> None:
    """Calls `work` with every item, in so many threads.

    Each thread fetches its next item by itself: making one goes on beside the work on others, and
    no more items exist than threads. The first error ends it and is raised.
    """
    lock = Lock()

    def drain() -> None:
        while True:
            with lock:
                item = next(items, None)
            if item is None:
                return
            work(item)

    if threads < 2:
        drain()
        return
    with ThreadPoolExecutor(threads) as pool:
        running = [pool.submit(drain) for _ in range(threads)]
        try:
            for one in as_completed(running):
                one.result()
        finally:
            with lock:
                items.close()
