"""The daemon as a process: signals, the lock, and what its jobs are."""

from __future__ import annotations

import json
import os
import signal
import sqlite3
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import closing, contextmanager
from pathlib import Path
from typing import Any

import pytest
from builders import NOW, config
from click.testing import CliRunner

from listener import daemon
from listener.cli import main
from listener.collect import Collected
from listener.daemon import jobs
from listener.pipeline import Parts
from listener.scheduler import Daily, Every
from listener.store import Store

ROOT = Path(__file__).parents[1]
PATIENCE = 30.0
SLOW = """
import sys, time
from pathlib import Path
from builders import FakeConnector, mention, page
from listener import scheduler
from listener.collect import Source, collect
from listener.daemon import leave
from listener.scheduler import Every, Job, run_forever
from listener.store import Store

path, seconds, grace = Path(sys.argv[1]), float(sys.argv[2]), float(sys.argv[3])
scheduler.GRACE_SECONDS = grace

class Slow(FakeConnector):
    def collect(self, query, cursor, *, budget, now):
        first = int(cursor["last"]) + 1 if cursor else 0
        for n in range(first, 1000):
            yield page(mention(str(n)))
            time.sleep(seconds)

def work(store, now, tick, _):
    source = Source(name="slow", connector=Slow())
    collect(store, [source], (), None, now=now, progress=lambda *_: tick)  # it has no terms

leave(run_forever([Job(name="work", when=Every(minutes=60), run=work)], lambda: Store(path)))
"""


@contextmanager
def started(command: list[str], folder: Path) -> Iterator[subprocess.Popen[str]]:
    path = os.pathsep.join([str(ROOT), str(ROOT / "tests")])
    process = subprocess.Popen(
        [sys.executable, *command],
        cwd=folder,
        env=os.environ | {"PYTHONPATH": path},
        stdout=subprocess.DEVNULL,
        stderr=subprocess.PIPE,
        text=True,
    )
    try:
        yield process
    finally:
        process.kill()
        process.communicate()


def value(path: Path, sql: str) -> Any:
    """Read so that it costs the other process nothing; None as long as there is nothing."""
    try:
        with closing(sqlite3.connect(f"{path.as_uri()}?mode=ro", uri=True)) as connection:
            row = connection.execute(sql).fetchone()
    except sqlite3.OperationalError:
        return None
    return row[0] if row else None


def until(process: subprocess.Popen[str], there: Callable[[], object]) -> None:
    end = time.monotonic() + PATIENCE
    while not there():
        assert process.poll() is None, process.communicate()[1]
        assert time.monotonic() < end, "it did not get there"


def pages(path: Path) -> int:
    return int(value(path, "SELECT count(*) FROM mentions") or 0)


@pytest.mark.parametrize("sent", [signal.SIGTERM, signal.SIGINT])
def test_a_signal_ends_it_after_the_current_page(tmp_path: Path, sent: signal.Signals) -> None:
    path = tmp_path / "listener.db"
    for _ in range(2):
        before = pages(path)
        with started(["-c", SLOW, str(path), "0.05", "20"], tmp_path) as process:
            until(process, lambda: pages(path) > before + 2)  # noqa: B023 - used at once
            process.send_signal(sent)
            _, talk = process.communicate(timeout=PATIENCE)
        assert process.returncode == 0, talk
        assert "Traceback" not in talk
        with Store(path) as store:
            stored = pages(path)
            cursor = json.loads(store.value("SELECT cursor FROM cursors"))
            assert cursor == {"last": str(stored - 1)}, "the next run would skip or repeat a page"
            assert store.value("SELECT count(DISTINCT native_id) FROM mentions") == stored
            assert store.value("SELECT error FROM runs ORDER BY id DESC LIMIT 1") == "stopped"
            assert store.value("SELECT 1 FROM state WHERE key = 'heartbeat'") is None


def test_a_second_signal_ends_it_at_once(tmp_path: Path) -> None:
    path = tmp_path / "listener.db"
    with started(["-c", SLOW, str(path), "600", "600"], tmp_path) as process:
        until(process, lambda: pages(path))
        process.send_signal(signal.SIGTERM)
        with pytest.raises(subprocess.TimeoutExpired):
            process.wait(timeout=2)
        process.send_signal(signal.SIGTERM)
        assert process.wait(timeout=PATIENCE) == 128 + signal.SIGTERM
    assert pages(path) == 1


def test_a_source_that_hangs_is_left_behind(tmp_path: Path) -> None:
    path = tmp_path / "listener.db"
    with started(["-c", SLOW, str(path), "600", "0.2"], tmp_path) as process:
        until(process, lambda: pages(path))
        process.send_signal(signal.SIGTERM)
        _, talk = process.communicate(timeout=PATIENCE)
    assert process.returncode == 0
    assert "left behind" in talk
    assert pages(path) == 1
    assert value(path, "PRAGMA integrity_check") == "ok"


def test_a_second_daemon_is_told_who_is_there(tmp_path: Path) -> None:
    settings = tmp_path / "config.toml"
    settings.write_text(
        '[brand]\nname = "Lumora"\n[log]\nfile = "log.jsonl"\nlevel = "info"\n', "utf-8"
    )
    path = tmp_path / "listener.db"
    command = ["-m", "listener", "--log-json", "-c", str(settings), "run"]
    with started(command, tmp_path) as process:
        until(process, lambda: value(path, "SELECT 1 FROM state WHERE key = 'heartbeat'"))
        second = CliRunner().invoke(main, ["-c", str(settings), "run"])
        assert second.exit_code == 1
        assert f"(process {process.pid} on " in second.output
        process.send_signal(signal.SIGTERM)
        _, talk = process.communicate(timeout=PATIENCE)
    assert process.returncode == 0, talk
    lines = [json.loads(line) for line in (tmp_path / "log.jsonl").read_text("utf-8").splitlines()]
    assert any(line["message"].startswith("SIGTERM") for line in lines)
    assert not (tmp_path / "listener.db.holder").exists()


# -- the jobs


def test_each_source_and_task_is_a_job_of_its_own() -> None:
    settings = """
    [sources.sample]
    enabled = true
    every_minutes = 7
    [followups]
    enabled = false
    [schedule]
    deliver_minutes = 2
    """
    found = {job.name: job.when for job in jobs(Parts(config(settings)))}
    assert list(found) == ["collect:sample", "analyse", "deliver", "troubles", "retention"]
    assert found["collect:sample"] == Every(minutes=7)
    assert found["deliver"] == Every(minutes=2)
    assert isinstance(found["retention"], Daily)


def test_a_source_that_needs_a_person_is_told_of_by_the_next_care(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    settings = config(
        '[[recipients]]\nname = "Olga"\nemail = "o@example.com"\nreceives = ["operator"]\n'
        "[sources.sample]\nenabled = true\n"
    )
    failed = Collected(source="sample", query="", status="failed", error="sign in again")
    monkeypatch.setattr(daemon, "gather", lambda *_, **__: [failed])
    found = {job.name: job for job in jobs(Parts(settings))}
    with Store(tmp_path / "listener.db") as store:
        for name in ("collect:sample", "troubles", "troubles"):
            found[name].run(store, NOW, lambda _: None, None)
        rows = store.rows("SELECT kind, ref, recipient FROM deliveries")
    assert [tuple(row) for row in rows] == [("operator", "1:began", "o@example.com")]
