"""Rows a second through import, store, match and tag, the share of each, and peak memory.

    python benchmarks/pipeline.py 5000 50000

Each size runs in a process of its own, so that its peak memory is its own. The posts are made from
the built-in sample (short ones as they are, each with a number so that no two are alike).
"""

from __future__ import annotations

import json
import random
import resource
import subprocess
import sys
import tempfile
import time
from datetime import UTC, datetime, timedelta
from importlib.resources import files
from pathlib import Path

from connectors.opening import open_file
from listener import analyse, conversations, rollup
from listener.collect import Source, collect
from listener.config import default
from listener.pipeline import Parts
from listener.store import Store


def write_posts(path: Path, count: int) -> None:
    """A JSON Lines file of `count` posts."""
    chance = random.Random(7)
    sample = files("connectors").joinpath("data/sample.jsonl").read_text("utf-8").splitlines()
    texts = [text for row in map(json.loads, sample) if len(text := row["text"]) < 2000]
    start = datetime(2026, 1, 1, tzinfo=UTC)
    with path.open("w", encoding="utf-8") as out:
        for number in range(count):
            row = {
                "id": f"b{number}",
                "text": f"{chance.choice(texts)} {number}",
                "created_at": (start + timedelta(minutes=number)).isoformat(),
                "author": f"author{chance.randrange(count // 3 + 1)}",
            }
            out.write(json.dumps(row, ensure_ascii=False) + "\n")


def measure(count: int) -> None:
    """Run one size and print its row."""
    now = datetime(2026, 6, 1, tzinfo=UTC)
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder, "posts.jsonl")
        write_posts(path, count)
        parts = Parts(default(Path(folder)))
        parts.tagger.tag(["warm up"], ["en"])
        parts.matcher.match(["warm up"])
        seconds = {}
        with Store(Path(folder, "bench.db")) as store:
            steps = {
                "import+store": lambda: collect(
                    store, [Source(name="b", connector=open_file(path))], (), parts.matcher, now=now
                ),
                "match": lambda: analyse.match(store, parts.matcher, "1"),
                "tag": lambda: analyse.tag(store, parts.tagger),
                "watch": lambda: conversations.watch(store, parts.rules, "1"),
                "roll-up": lambda: rollup.refresh(store, brand="Lumora"),
            }
            for name, step in steps.items():
                began = time.perf_counter()
                step()
                seconds[name] = time.perf_counter() - began
    total = sum(seconds.values())
    shares = "  ".join(
        f"{name} {spent:.1f}s ({spent / total:.0%})" for name, spent in seconds.items()
    )
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024
    print(
        f"{count:>7} posts  {count / total:6.0f} posts/s  peak {peak:4.0f} MB  {shares}", flush=True
    )


if __name__ == "__main__":
    if sys.argv[1] == "--one":
        measure(int(sys.argv[2]))
    else:
        for size in sys.argv[1:]:
            subprocess.run([sys.executable, __file__, "--one", size], check=True)
