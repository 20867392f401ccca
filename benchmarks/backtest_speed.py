"""Seconds and peak memory of a backtest over a store with made-up tags, no model run.

    python benchmarks/backtest_speed.py 100000

Most posts are noise; some thousand conversations are about something followed, one of them with
10,000 replies, and one author wrote 5,000 posts. The load of the machine is printed beside.
"""

from __future__ import annotations

import json
import os
import random
import resource
import sqlite3
import sys
import tempfile
import time
from collections.abc import Iterator
from contextlib import closing
from datetime import UTC, datetime, timedelta
from pathlib import Path

from listener import conversations
from listener.backtest import BASELINES, backtest, systems
from listener.config import default
from listener.store import Store, open_read_only, stamp
from listener.walk import Setting

START = datetime(2026, 1, 1, tzinfo=UTC)
REPLIES, POSTS_OF_ONE = 10_000, 5_000
TEXT = "Which is the best espresso machine for a small kitchen?"
THRESHOLDS = {"en": 0.5, "es": 0.5, "*": 2.0}
Row = tuple[str, str | None, int, float, bool]


def posts(count: int, chance: random.Random) -> Iterator[Row]:
    """Native id, root, author, minutes after the start, and whether it is about something."""
    span = 90 * 24 * 60
    for number in range(REPLIES):
        root = None if not number else "long0"
        yield f"long{number}", root, chance.randrange(4000), number * span / REPLIES, True
    for number in range(POSTS_OF_ONE):
        yield f"busy{number}", None, 10**6, number * span / POSTS_OF_ONE, True
    left = count - REPLIES - POSTS_OF_ONE
    talks = left // 25
    for number in range(left):
        at = chance.random() * span
        if number < talks * 5:
            talk = number // 5
            root = None if number % 5 == 0 else f"talk{talk * 5}"
            asker = 10**5 + talk
            author = asker if number % 5 in {0, 4} else chance.randrange(4000)
            at = (talk * span / talks) + number % 5 * 60
            yield f"talk{number}", root, author, at, True
        else:
            yield f"noise{number}", None, chance.randrange(20_000), at, False


def fill(store: Store, count: int) -> None:
    """Mentions, matches and tags as the steps would have written them."""
    chance = random.Random(7)
    with store.write() as connection:
        for number, (native, root, author, minutes, about) in enumerate(
            sorted(posts(count, chance), key=lambda row: row[3]), start=1
        ):
            connection.execute(
                "INSERT OR IGNORE INTO authors (id, source, native_id) VALUES (?, 'b', ?)",
                (author + 1, str(author)),
            )
            at = START + timedelta(minutes=minutes)
            connection.execute(
                "INSERT INTO mentions (id, source, native_id, text, language, author_id, root_id, "
                "published_at, first_seen_at) VALUES (?, 'b', ?, ?, 'en', ?, ?, ?, ?)",
                (
                    number,
                    native,
                    f"{TEXT} {number}",
                    author + 1,
                    root,
                    stamp(at),
                    stamp(at + timedelta(minutes=5)),
                ),
            )
            _tag(connection, number, chance, asks=root is None and about, about=about)


def _tag(
    connection: sqlite3.Connection, number: int, chance: random.Random, *, asks: bool, about: bool
) -> None:
    stage = "consideration" if asks else chance.choice(["none", "none", "decision", "awareness"])
    early = chance.random() if asks else 0.6 * chance.random()
    tags = [("stage", stage, 0.9), ("early", "1", early), ("promo", "1", 0.1)]
    tags += [("sentiment", chance.choice(["neg", "neu", "pos"]), 0.8), ("intent", "1", early)]
    connection.executemany(
        "INSERT INTO tags (mention_id, tagger, kind, label, score) VALUES (?, 'funnel', ?, ?, ?)",
        [(number, *tag) for tag in tags],
    )
    if about and (asks or chance.random() < 0.5):
        name = chance.choice(["espresso machine", "grinder", "kettle"])
        connection.execute(
            "INSERT INTO matches VALUES (?, 'category', ?, 'x', 6, 22)", (number, name)
        )


def main(count: int) -> None:
    """Make a store of so many mentions, replay it, and print what that took."""
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder, "bench.db")
        setting = Setting(file="sample", config=default(Path(folder)), thresholds=THRESHOLDS)
        with Store(path) as store:
            fill(store, count)
            began = time.perf_counter()
            conversations.watch(store, setting.judging(), "1")
            print(f"{count} mentions stored; watch took {time.perf_counter() - began:.1f} s")
            for name, baselines in (("early-funnel", ()), ("with baselines", BASELINES)):
                with closing(open_read_only(path)) as connection:
                    began, cpu = time.perf_counter(), time.process_time()
                    report = backtest(
                        connection,
                        systems(setting, None, baselines=baselines),
                        since=START,
                        until=START + timedelta(days=91),
                    )
                seconds, cpu = time.perf_counter() - began, time.process_time() - cpu
                peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024
                load = os.getloadavg()[0]
                print(
                    f"{name}: {seconds:.1f} s ({cpu:.1f} s of one core)  peak {peak:.0f} MB  "
                    f"load {load:.1f}  {json.dumps(report['extent'])}  "
                    f"alerts {[row['alerts'] for row in report['systems']]}"
                )


if __name__ == "__main__":
    main(int(sys.argv[1]) if len(sys.argv) > 1 else 100_000)
