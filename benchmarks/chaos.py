"""The fault campaign: kills, dead and moody mail servers, full disks, locks, odd clocks, a backlog.

Run from the root of the project: `python -m benchmarks.chaos`, or with `--quick` (about a minute).
Everything follows from `--seed`, which is printed: what failed fails again with it, though a kill
after a delay also depends on how fast the machine is. `--only` runs chosen parts, `--keep DIR`
keeps the databases, the mails that were taken, the logs and the results, `--write` puts all results
in that folder into docs/reliability.md. Exit code 1 when something did not hold.
"""

from __future__ import annotations

import argparse
import json
import logging
import os
import platform
import random
import shutil
import sqlite3
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from benchmarks.chaos_clock import CASES, clocks
from benchmarks.chaos_command import command
from benchmarks.chaos_month import Report, month
from benchmarks.chaos_post import backlog, dead_server, moody_server
from benchmarks.chaos_storage import long_lock, trouble

PAGE = Path(__file__).parents[1] / "docs" / "reliability.md"
OPENING, CLOSING = "<!-- chaos -->", "<!-- /chaos -->"


@dataclass(frozen=True, slots=True, kw_only=True)
class Part:
    """A part of the campaign: what it is, and how it runs whole and quickly.

    `say` tells its figures in one sentence.
    """

    title: str
    whole: Callable[[Path, int], Report]
    quick: Callable[[Path, int], Report] | None
    say: str


PARTS: Mapping[str, Part] = {
    "kill": Part(
        title="kill -9 over a month",
        whole=lambda folder, seed: month(folder, seed, days=30, kills=200),
        quick=lambda folder, seed: month(folder, seed, days=1, kills=10),
        say="{kills} kills and {lives} lives over {days} days: {mentions} mentions, each once; "
        "{messages} messages ({alerts} alerts, {digests} digests), of which the mail server took "
        "{twice} twice with the same Message-ID, {same} of these with the same text, none more "
        "than {most} times; {under_way} kills fell while a message was under way; {writes} write "
        "transactions in {seconds} s, without kills {calm_writes} in {calm_seconds} s. Kills by "
        "where they fell: {ways}",
    ),
    "model": Part(
        title="kill -9 with the shipped model",
        whole=lambda folder, seed: month(folder, seed, days=1, kills=12, real=True),
        quick=None,
        say="{kills} kills over {days} day: {mentions} mentions, {messages} messages, {twice} "
        "taken twice; {seconds} s",
    ),
    "command": Part(
        title="kill -9 of `listener run`",
        whole=lambda folder, seed: command(folder, seed, kills=10),
        quick=None,
        say="{kills} kills within 15 s of the start, with the clock, threads, lock and model that "
        "users have, on the built-in sample: {mentions} posts, {mails} mails in the outbox folder, "
        "nothing left to do after one more round",
    ),
    "dead": Part(
        title="mail server dead for two days",
        whole=dead_server,
        quick=None,
        say="{hours} hours without a mail server in six days: {messages} messages, {twice} of them "
        "taken twice; {stale} alerts had become too old or were closed and were not mailed, of "
        "which {folded} went to readers of digests and were told of there",
    ),
    "moody": Part(
        title="mail server with moods",
        whole=lambda folder, seed: moody_server(folder, seed, people=60),
        quick=lambda folder, seed: moody_server(folder, seed, people=12),
        say="{messages} messages met {met}: {sent} sent, {refused} refused, {twice} taken more "
        "than once (taken, but never said so); done after {hours} simulated hours",
    ),
    "full": Part(
        title="disk full",
        whole=lambda folder, seed: trouble(folder, seed, "full", days=3),
        quick=lambda folder, seed: trouble(folder, seed, "full", days=0.5),
        say="the disk filled up before another write at each of {steps} steps: {failed} writes "
        "failed, at {places} places of the code; {mentions} mentions, all as without",
    ),
    "locked": Part(
        title="database locked",
        whole=lambda folder, seed: trouble(folder, seed, "locked", days=3),
        quick=lambda folder, seed: trouble(folder, seed, "locked", days=0.5),
        say="another process took the lock before another write at each of {steps} steps (waiting "
        "cut to 0.2 s): {failed} writes failed, at {places} places of the code; {mentions} "
        "mentions, all as without",
    ),
    "long lock": Part(
        title="database locked for more than 30 s",
        whole=lambda folder, _: long_lock(folder),
        quick=None,
        say="with the usual waiting a lock of 5 and one of 35 s ended after {waited} s: written, "
        "and refused with the reason",
    ),
    "clock": Part(
        title="clocks and days off",
        whole=clocks,
        quick=lambda folder, seed: clocks(folder, seed, cases=CASES[:1]),
        say="{cases} zones and times around a change of the clocks, each plain, with jumps and "
        "with three days off: {times} looks at the clock, {jumps} jumps, {starts} starts, "
        "{digests} digests, each once",
    ),
    "backlog": Part(
        title="backlog",
        whole=lambda folder, seed: backlog(folder, seed, messages=10_000),
        quick=lambda folder, seed: backlog(folder, seed, messages=100, timed=False),
        say="{messages} messages in {seconds} s; {transactions} write transactions, the longest "
        "{longest_ms} ms ({over} above 100 ms; 99.9 % below {p999_ms}, half below {median_ms}; "
        "at most {work_ms} ms of processor time); another process asked for the lock {polls} "
        "times and waited for it at most {longest_wait_ms} ms; the machine itself kept it "
        "waiting for up to {stall_ms} ms",
    ),
}


def run_part(name: str, folder: Path, seed: int, *, quick: bool) -> Report:
    """Run one part in this process; what breaks is a finding as well."""
    part = PARTS[name]
    chosen = part.quick if quick else part.whole
    if chosen is None:
        raise ValueError(f"{name} has no quick form")
    return chosen(folder, seed)


def told(name: str, figures: Mapping[str, Any]) -> str:
    """The figures of a part as a sentence."""
    if "skipped" in figures:
        return str(figures["skipped"])
    plain = {
        key: ", ".join(f"{count} {one}" for one, count in value.items())
        if isinstance(value, dict)
        else " and ".join(map(str, value))
        if isinstance(value, list)
        else f"{value:,}"
        if isinstance(value, int)
        else f"{value:,g}"
        if isinstance(value, float)
        else value
        for key, value in figures.items()
    }
    return PARTS[name].say.format(**plain)


def campaign(
    names: Sequence[str], folder: Path, seed: int, *, quick: bool, side_by_side: int
) -> dict[str, dict[str, Any]]:
    """Run parts in processes of their own, some at a time; returns figures and faults by name.

    Each has its own process since lives are forked, which only a process without threads may.
    """
    waiting, running = list(names), dict[str, tuple[subprocess.Popen[bytes], float]]()
    results: dict[str, dict[str, Any]] = {}
    while waiting or running:
        while waiting and len(running) < side_by_side:
            name = waiting.pop(0)
            command = [sys.executable, "-m", "benchmarks.chaos", "--part", name]
            command += ["--keep", str(folder), "--seed", str(seed)] + ["--quick"] * quick
            running[name] = (subprocess.Popen(command), time.monotonic())
        for name, (process, begun) in list(running.items()):
            if process.poll() is None:
                continue
            del running[name]
            if process.returncode:
                broke = f"broke with exit code {process.returncode}"
                _keep(folder, name, Report(wrong=[broke]), seed, time.monotonic() - begun)
            results[name] = json.loads(_kept(folder, name).read_text())
            _show(name, results[name])
        time.sleep(0.2)  # which process ends first is not known, so none is waited for
    return results


def _kept(folder: Path, name: str) -> Path:
    return folder / f"{name}.json"


def _keep(folder: Path, name: str, report: Report, seed: int, seconds: float) -> None:
    result = {
        "seed": seed,
        "took": round(seconds),
        "figures": report.figures,
        "wrong": report.wrong,
    }
    _kept(folder, name).write_text(json.dumps(result))


def _show(name: str, result: Mapping[str, Any]) -> None:
    held = "does not hold" if result["wrong"] else "holds"
    print(f"{name}: {held} ({result['took']} s)")
    if result["figures"]:
        print(f"  {told(name, result['figures'])}")
    for line in result["wrong"][:20]:
        print(f"  ! {line}")
    sys.stdout.flush()


def page(folder: Path) -> str:
    """The figures of the parts whose results are in the folder, as Markdown."""
    results = {
        name: json.loads(_kept(folder, name).read_text())
        for name in PARTS
        if _kept(folder, name).exists()
    }
    lines = [
        f"Python {platform.python_version()}, SQLite {sqlite3.sqlite_version}, a shared machine "
        f"with {os.cpu_count()} cores that did other work: {os.getloadavg()[2]:.0f} processes "
        "wanted to run, on average, at the end.",
        "",
        "| part | what happened | holds | seed | took |",
        "|---|---|---|--:|--:|",
    ]
    for name, result in results.items():
        said = told(name, result["figures"]) if result["figures"] else "broke"
        held = f"no: {result['wrong'][0]}" if result["wrong"] else "yes"
        lines.append(
            f"| {PARTS[name].title} | {said} | {held} | {result['seed']} | {result['took']} s |"
        )
    return "\n".join(lines)


def main() -> int:
    """The command; returns its exit code."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--seed", type=int, help="repeat a campaign [a new one]")
    parser.add_argument("--quick", action="store_true", help="a shorter one")
    parser.add_argument("--only", nargs="+", choices=PARTS, help="only these parts")
    parser.add_argument("--write", action="store_true", help="figures into docs/reliability.md")
    parser.add_argument("--keep", type=Path, help="keep what the runs wrote in this folder")
    parser.add_argument("--processes", type=int, default=min(os.cpu_count() or 1, 2))
    parser.add_argument("--part", choices=PARTS, help=argparse.SUPPRESS)
    chosen = parser.parse_args()
    seed = chosen.seed if chosen.seed is not None else random.SystemRandom().randrange(10**6)
    folder = chosen.keep or Path(tempfile.mkdtemp(prefix="chaos-"))
    if chosen.part:
        # What goes wrong is meant to; the reports say whether it was told of.
        logging.getLogger("listener").addHandler(logging.NullHandler())
        begun = time.monotonic()
        report = run_part(chosen.part, folder / chosen.part, seed, quick=chosen.quick)
        _keep(folder, chosen.part, report, seed, time.monotonic() - begun)
        return 0
    folder.mkdir(parents=True, exist_ok=True)
    names = [name for name in PARTS if not chosen.only or name in chosen.only]
    if chosen.quick:
        names = [name for name in names if PARTS[name].quick]
    print(f"seed {seed}")
    results = campaign(names, folder, seed, quick=chosen.quick, side_by_side=chosen.processes)
    if chosen.write:
        before, _, rest = PAGE.read_text("utf-8").partition(OPENING)
        _, _, after = rest.partition(CLOSING)
        PAGE.write_text(f"{before}{OPENING}\n{page(folder)}\n{CLOSING}{after}", "utf-8")
    failed = [name for name, result in results.items() if result["wrong"]]
    if failed:
        again = " ".join(f"'{name}'" if " " in name else name for name in failed)
        print(f"again: python -m benchmarks.chaos --seed {seed} --only {again}")
    elif not chosen.keep:
        shutil.rmtree(folder)
    return 1 if failed else 0


if __name__ == "__main__":
    sys.exit(main())
