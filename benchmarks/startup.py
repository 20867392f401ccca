"""Median start-up time of `listener --help` as a whole process, beside a bare `python -c pass`.

python benchmarks/startup.py
"""

from __future__ import annotations

import statistics
import subprocess
import sys
import time

COMMANDS = {
    "python -c pass": [sys.executable, "-c", "pass"],
    "listener --help": [sys.executable, "-m", "listener", "--help"],
}
RUNS = 15

if __name__ == "__main__":
    seconds: dict[str, list[float]] = {name: [] for name in COMMANDS}
    for _ in range(RUNS):
        # Taken in turns, so that a noisy moment meets both.
        for name, command in COMMANDS.items():
            began = time.perf_counter()
            subprocess.run(command, check=True, stdout=subprocess.DEVNULL)
            seconds[name].append(time.perf_counter() - began)
    for name, times in seconds.items():
        print(f"{name:<16} median {statistics.median(times) * 1000:.0f} ms of {RUNS} runs")
