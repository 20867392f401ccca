"""kill -9 of `listener run` itself: the real clock, threads, lock file and model, on the sample."""

from __future__ import annotations

import os
import random
import sqlite3
import subprocess
import sys
import time
from contextlib import closing
from pathlib import Path

from benchmarks.chaos_checks import sound
from benchmarks.chaos_month import Report

ROOT = Path(__file__).parents[1]
_COMMAND = (sys.executable, "-m", "listener")
_COUNTS = (
    ("mentions", "SELECT count(*) FROM mentions"),
    ("sent", "SELECT count(*) FROM deliveries WHERE status = 'sent'"),
    (
        "left",
        "SELECT (SELECT count(*) FROM work) + count(*) FROM deliveries WHERE status <> 'sent'",
    ),
)


def command(folder: Path, seed: int, *, kills: int) -> Report:
    """Kill the daemon at random moments, then let one full round end what it left."""
    folder.mkdir(parents=True)
    environment = os.environ | {"PYTHONPATH": str(ROOT)}
    subprocess.run([*_COMMAND, "init", "--yes"], cwd=folder, env=environment, check=True)
    dice = random.Random(seed)
    early = 0
    with (folder / "log.txt").open("wb") as log:
        for _ in range(kills):
            daemon = subprocess.Popen([*_COMMAND, "run"], cwd=folder, env=environment, stderr=log)
            # How long it lives before it is killed.
            time.sleep(dice.uniform(1, 15))
            early += daemon.poll() is not None
            daemon.kill()
            daemon.wait()
        last = subprocess.run(
            [*_COMMAND, "run", "--once"],
            cwd=folder,
            env=environment,
            stdout=subprocess.DEVNULL,
            stderr=log,
            check=False,
        )
    path = folder / "listener.db"
    report = Report(wrong=sound(path))
    with closing(sqlite3.connect(path)) as connection:
        found = {name: connection.execute(query).fetchone()[0] for name, query in _COUNTS}
    files = len([*(folder / "outbox").glob("*.eml")])
    if early:
        report.wrong.append(f"the daemon ended by itself {early} times: see {folder / 'log.txt'}")
    if last.returncode:
        report.wrong.append(f"the round after it ended with exit code {last.returncode}")
    if found["left"]:
        report.wrong.append(f"{found['left']} posts or messages were left")
    if files != found["sent"] or not files:
        report.wrong.append(f"{files} mails for {found['sent']} that are noted as sent")
    sample = (ROOT / "connectors" / "data" / "sample_labels.jsonl").read_text("utf-8")
    if found["mentions"] != len(sample.splitlines()):
        report.wrong.append(f"{found['mentions']} of {len(sample.splitlines())} posts are stored")
    report.figures = {"kills": kills, "mentions": found["mentions"], "mails": files}
    return report
