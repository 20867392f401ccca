"""Damaged payloads and files through every mapping and through the path of `listener import`.

    python -m benchmarks.fuzz_imports --cases 100000 --payloads ../shared/data/payloads --write
    python -m benchmarks.fuzz_imports --only 4711 --keep case.bin --payloads ../shared/data/payloads

A case is a number: it names the format, the file that is damaged and the damage. Allowed are
mentions, warnings, and a ConnectorError that says what to do; each mention must be whole, and is
stored. All else is a fault: another exception, more than 5 s of processor time, more than 2 GB of
address space, a row that is not whole, a text of a post in an error, warning or log line.
"""

from __future__ import annotations

import argparse
import json
import logging
import os
import random
import resource
import signal
import subprocess
import sys
import tempfile
import time
import traceback
from collections import Counter, defaultdict
from collections.abc import Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from datetime import UTC, datetime
from functools import cache
from pathlib import Path
from typing import Any

from connectors.base import Budget, ConnectorError, Mention, Update
from connectors.mapping import OddRecord
from connectors.opening import open_file
from listener.ingest import Place, clean, save_page
from listener.store import Store

from .fuzz_cases import FORMATS, Format
from .fuzz_mutate import MARK
from .fuzz_seams import SEAMS, says_what_to_do

NOW = datetime(2026, 3, 1, 12, tzinfo=UTC)
CPU_SECONDS = 5.0
_WALL_SECONDS = 120
_ADDRESS_SPACE = 2 * 2**30
_CHUNK = 500
_PAGE = Path(__file__).parents[1] / "docs" / "reliability.md"
_MARKERS = ("<!-- fuzzing: written by benchmarks/fuzz_imports.py -->", "<!-- end of fuzzing -->")
_PARTIAL = """
SELECT count(*) FROM mentions m WHERE source = '' OR native_id = ''
    OR (text = '' AND title IS NULL AND NOT EXISTS (SELECT 1 FROM tombstones t
        WHERE t.source = m.source AND t.native_id = m.native_id))
    OR published_at NOT GLOB
        '[0-9][0-9][0-9][0-9]-[0-9][0-9]-[0-9][0-9]T[0-9][0-9]:[0-9][0-9]:[0-9][0-9]Z'
    OR (raw IS NOT NULL AND NOT json_valid(raw))
"""  # fmt: skip


class Hang(BaseException):
    """A case took too long; no `except Exception` may swallow it."""


class Fault(Exception):
    """What a case must not do; the text names it."""


@dataclass(slots=True)
class Tally:
    """What the cases of one format gave."""

    cases: int = 0
    mentions: int = 0
    warnings: int = 0
    refused: int = 0
    faults: int = 0
    slowest: float = 0.0

    def add(self, other: Sequence[float]) -> None:
        """Take in the figures of another one, as `astuple` gives them."""
        names = ("cases", "mentions", "warnings", "refused", "faults")
        for name, value in zip(names, other, strict=False):
            setattr(self, name, getattr(self, name) + value)
        self.slowest = max(self.slowest, other[-1])


class Heard(logging.Handler):
    """The log lines of a case, whatever their level."""

    def __init__(self) -> None:
        super().__init__(logging.DEBUG)
        self.lines: list[str] = []

    def emit(self, record: logging.LogRecord) -> None:
        """Keep a line."""
        self.lines.append(record.getMessage())


def make(number: int, payloads: Path | None) -> tuple[Format, bytes]:
    """The format and the bytes of a case."""
    chance = random.Random(f"fuzz {number}")
    one = chance.choices(FORMATS, [each.weight for each in FORMATS])[0]
    return one, one.damage(chance.choice(_seeds(one.name, payloads)), chance)


@cache
def _seeds(name: str, payloads: Path | None) -> list[bytes]:
    return next(one for one in FORMATS if one.name == name).seeds(payloads)


def run_case(
    one: Format, data: bytes, folder: Path, store: Store
) -> tuple[int, list[str], str | None]:
    """Mentions, warnings, and the text of the error that ended it; raises what is not allowed."""
    said: list[str] = []
    mentions = 0
    place = Place("import:fuzz", "")
    try:
        for found, updates, cursor, warnings in _pages(one, data, folder):
            said += warnings
            for mention in found:
                _check(mention)
            save_page(store, place, found, updates=updates, cursor=cursor, now=NOW)
            mentions += len(found)
            _stored(store, found)
    except ConnectorError as error:
        if not says_what_to_do(str(error)):
            raise Fault(f"{type(error).__name__} without a fix: {error}") from None
        return mentions, said, str(error)
    return mentions, said, None


def _pages(
    one: Format, data: bytes, folder: Path
) -> Iterator[tuple[Sequence[Mention], Sequence[Update], Any, Sequence[str]]]:
    if one.seam:
        try:
            found, updates, told = SEAMS[one.seam](data, NOW)
        except OddRecord as odd:
            found, updates, told = [], [], [odd.reason]
        yield found, updates, None, told
        return
    path = folder / one.file
    path.write_bytes(data)
    for page in open_file(path).collect(None, None, budget=Budget(), now=NOW):
        json.dumps(page.cursor, allow_nan=False)
        yield page.mentions, page.updates, page.cursor, page.warnings


def _check(mention: Mention) -> None:
    if not (mention.source and mention.native_id and (mention.text or mention.title)):
        raise Fault("a mention without source, id or text")
    if mention.published_at.utcoffset() is None:
        raise Fault("a mention without a zone")
    counts = mention.counts
    for count in (counts.likes, counts.replies, counts.shares, counts.views):
        if not (count is None or (type(count) is int and abs(count) < 2**63)):
            raise Fault("a count that SQLite cannot hold")
    try:
        json.dumps(mention.raw, allow_nan=False)
    except (ValueError, TypeError) as error:
        raise Fault(f"raw is not ready for JSON ({type(error).__name__})") from None


def _stored(store: Store, mentions: Sequence[Mention]) -> None:
    gone = {row[0] for row in store.rows("SELECT native_id FROM tombstones")}
    for mention in mentions[:20]:
        native_id = clean(mention.native_id)
        known = store.value(
            "SELECT 1 FROM mentions WHERE source = ? AND native_id = ?", (mention.source, native_id)
        )
        if not known and native_id not in gone:
            raise Fault("a mention was not stored")


def _look(store: Store) -> None:
    if store.rows("PRAGMA foreign_key_check") or store.value("PRAGMA integrity_check") != "ok":
        raise Fault("the database is damaged")
    if store.value(_PARTIAL):
        raise Fault("a stored row is not whole")


def _hang(*_: object) -> None:
    raise Hang


def _where(error: BaseException) -> str:
    """The class of an error and the last line of ours that it came from."""
    frames = [
        one for one in traceback.extract_tb(error.__traceback__) if "fuzz_" not in one.filename
    ]
    ours = [one for one in frames if "/connectors/" in one.filename or "/listener/" in one.filename]
    last = (ours or frames or traceback.extract_tb(error.__traceback__))[-1]
    text = str(error) if isinstance(error, Fault) else type(error).__name__
    return f"{text} at {Path(last.filename).name}:{last.lineno}"


def judge(
    number: int, payloads: Path | None, folder: Path, store: Store, heard: Heard
) -> tuple[str, list[float], str | None]:
    """Format, figures (see `Tally.add`) and fault of a case."""
    one, data = make(number, payloads)
    heard.lines.clear()
    fault, refused, mentions = None, None, 0
    said: list[str] = []
    began = time.process_time()
    signal.setitimer(signal.ITIMER_PROF, CPU_SECONDS)
    signal.alarm(_WALL_SECONDS)
    try:
        mentions, said, refused = run_case(one, data, folder, store)
    except BaseException as error:  # whatever it is, it is what is looked for
        fault = _where(error)
        if isinstance(error, KeyboardInterrupt):
            raise
    finally:
        signal.setitimer(signal.ITIMER_PROF, 0)
        signal.alarm(0)
    spent = time.process_time() - began
    if any(MARK in line for line in (*said, *heard.lines, refused or "")):
        fault = fault or "a piece of a post in a warning, error or log line"
    return one.name, [1, mentions, len(said), refused is not None, fault is not None, spent], fault


def work(first: int, last: int, payloads: Path | None) -> None:
    """Run cases in this process; the number of the one that runs goes to stderr."""
    for one in (signal.SIGALRM, signal.SIGPROF):
        signal.signal(one, _hang)
    resource.setrlimit(resource.RLIMIT_AS, (_ADDRESS_SPACE, _ADDRESS_SPACE))
    heard = Heard()
    logging.getLogger().addHandler(heard)
    logging.getLogger().setLevel(logging.DEBUG)
    tallies: dict[str, Tally] = defaultdict(Tally)
    faults: list[tuple[int, str, str]] = []
    with tempfile.TemporaryDirectory() as name, Store(Path(name, "fuzz.db")) as store:
        for number in range(first, last):
            os.write(2, f"\ncase {number}\n".encode())
            kind, figures, fault = judge(number, payloads, Path(name), store, heard)
            tallies[kind].add(figures)
            if fault:
                faults.append((number, kind, fault))
        try:
            _look(store)
        except Fault as fault:
            faults.append((last - 1, "database", f"{fault} after cases {first} to {last - 1}"))
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    rows = {
        name: [t.cases, t.mentions, t.warnings, t.refused, t.faults, t.slowest]
        for name, t in tallies.items()
    }
    sys.stdout.write(json.dumps({"rows": rows, "faults": faults, "peak": peak}) + "\n")


def _chunk(first: int, last: int, payloads: Path | None) -> dict[str, Any]:
    """The result of `work` in a process of its own; a case that ends the process is a fault."""
    total: dict[str, Any] = {"rows": [], "faults": [], "peak": 0}
    while first < last:
        command = [sys.executable, "-m", "benchmarks.fuzz_imports", "--work", str(first), str(last)]
        command += ["--payloads", str(payloads)] if payloads else []
        done = subprocess.run(command, capture_output=True, check=False)
        told = done.stderr.decode("utf-8", "replace")
        if MARK in told:
            total["faults"].append((first, "stderr", "a piece of a post on stderr"))
        if done.returncode == 0:
            result = json.loads(done.stdout.splitlines()[-1])
            total["rows"].append(result["rows"])
            total["faults"] += result["faults"]
            total["peak"] = max(total["peak"], result["peak"])
            return total
        numbers = [line.split()[1] for line in told.splitlines() if line.startswith("case ")]
        if not numbers:
            raise SystemExit(told)
        ended = int(numbers[-1])
        total["faults"].append(
            (ended, make(ended, payloads)[0].name, f"the process ended with {done.returncode}")
        )
        if ended > first:
            total["rows"] += _chunk(first, ended, payloads)["rows"]
        first = ended + 1
    return total


def run(
    first: int, cases: int, payloads: Path | None, processes: int
) -> tuple[dict[str, Tally], list[Any], int]:
    """All cases by format, faults and the highest peak of memory in kB."""
    tallies: dict[str, Tally] = {one.name: Tally() for one in FORMATS}
    faults: list[Any] = []
    peak, began, done = 0, time.monotonic(), 0
    starts = range(first, first + cases, _CHUNK)
    with ThreadPoolExecutor(processes) as pool:
        jobs = [
            pool.submit(_chunk, start, min(start + _CHUNK, first + cases), payloads)
            for start in starts
        ]
        for job in jobs:
            result = job.result()
            for rows in result["rows"]:
                for name, figures in rows.items():
                    tallies[name].add(figures)
                    done += figures[0]
            for number, kind, fault in result["faults"]:
                print(f"case {number} ({kind}): {fault}", flush=True)
            faults += result["faults"]
            peak = max(peak, result["peak"])
            pace = done / (time.monotonic() - began)
            print(
                f"{done:,} of {cases:,} cases, {len(faults)} faults, {pace:.0f} a second",
                flush=True,
            )
    return tallies, faults, peak


def table(tallies: dict[str, Tally], faults: Sequence[Any], peak: int, command: str) -> str:
    """The section for docs/reliability.md."""
    rows = [
        f"| {name} | {t.cases:,} | {t.mentions:,} | {t.warnings:,} | {t.refused:,} | {t.faults} "
        f"| {t.slowest:.1f} s |"
        for name, t in tallies.items()
        if t.cases
    ]
    whole = sum(t.cases for t in tallies.values())
    stored, refused = (
        sum(t.mentions for t in tallies.values()),
        sum(t.refused for t in tallies.values()),
    )
    return "\n".join(
        [
            "## Fuzzing",
            "",
            f"`{command}`: {whole:,} damaged payloads and files through the mappings and through "
            f"the path of `listener import`; {stored:,} mentions stored, {refused:,} files refused "
            f"with the fix in the text, {len(faults)} faults. Peak memory of a process: "
            f"{peak / 1024:,.0f} MB.",
            "",
            "| what | cases | mentions | warnings | refused | faults | slowest case (processor) |",
            "|---|--:|--:|--:|--:|--:|--:|",
            *rows,
        ]
    )


def write(section: str) -> None:
    """Put the section between its markers, at the end when there are none, if there is a page."""
    if not _PAGE.is_file():
        return
    text = _PAGE.read_text("utf-8")
    start, end = _MARKERS
    before, found, rest = text.partition(start)
    after = rest.partition(end)[2] if found else "\n"
    _PAGE.write_text(f"{before.rstrip()}\n\n{start}\n{section}\n{end}{after}", "utf-8")


def main() -> None:
    """Read the options and run."""
    options = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    options.add_argument("--cases", type=int, default=100_000)
    options.add_argument("--first", type=int, default=0)
    options.add_argument("--processes", type=int, default=2)
    options.add_argument(
        "--payloads", type=Path, help="recorded answers, a folder for each platform"
    )
    options.add_argument("--nice", type=int, default=10, help="how far to step back for others")
    options.add_argument("--only", type=int, help="run one case here and show what it raises")
    options.add_argument("--keep", type=Path, help="with --only: write the damaged bytes here")
    options.add_argument(
        "--write", action="store_true", help="put the table into docs/reliability.md"
    )
    options.add_argument("--work", type=int, nargs=2, help=argparse.SUPPRESS)
    given = options.parse_args()
    if given.work:
        work(given.work[0], given.work[1], given.payloads)
        return
    if given.only is not None:
        one, data = make(given.only, given.payloads)
        if given.keep:
            given.keep.write_bytes(data)
        print(f"{one.name}, {len(data):,} bytes, {Counter(data).most_common(1)}")
        with tempfile.TemporaryDirectory() as name, Store(Path(name, "fuzz.db")) as store:
            print(run_case(one, data, Path(name), store))
            _look(store)
        return
    os.nice(given.nice)
    tallies, faults, peak = run(given.first, given.cases, given.payloads, given.processes)
    section = table(
        tallies, faults, peak, f"python -m benchmarks.fuzz_imports --cases {given.cases}"
    )
    print(section)
    if given.write:
        write(section)
    sys.exit(1 if faults else 0)


if __name__ == "__main__":
    main()
