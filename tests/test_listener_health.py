from __future__ import annotations

import json
import shutil
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any, NamedTuple

import pytest
from builders import NOW, at, config, store_in
from click.testing import CliRunner

from listener import __version__, health
from listener.cli import main
from listener.health import job_rows
from listener.status import operation_rows, status_rows
from listener.store import Store, stamp
from listener.troubles import Trouble, tell


class Usage(NamedTuple):
    """What shutil says of a disk."""

    free: int


@pytest.fixture
def store(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Store]:
    monkeypatch.setattr(shutil, "disk_usage", lambda _: Usage(10**10))
    yield from store_in(tmp_path)


def put(store: Store, key: str, value: object) -> None:
    text = value if isinstance(value, str) else json.dumps(value)
    with store.write() as connection:
        connection.execute("INSERT OR REPLACE INTO state VALUES (?, ?)", (key, text))


def job(succeeded: float | None, **more: Any) -> dict[str, Any]:
    return {
        "started": stamp(at(-0.1)),
        "finished": stamp(at(-0.1)),
        "error": None if succeeded == -0.1 else "KeyError",
        "succeeded": None if succeeded is None else stamp(at(succeeded)),
        "failures": 0,
        "next": stamp(at(1)),
        "minutes": 60,
        **more,
    }


def running(store: Store, *, since: float = -100) -> None:
    put(store, "heartbeat", stamp(NOW - timedelta(seconds=30)))
    put(store, "started", stamp(at(since)))
    put(store, "job:analyse", job(-0.1, minutes=5))


def message(store: Store, *, next_try: float, attempts: int = 0) -> None:
    with store.write() as connection:
        connection.execute(
            "INSERT INTO deliveries (kind, ref, recipient, message_id, attempts, created_at, "
            "next_try_at) VALUES ('alert', '1', 'a@example.com', '<a>', ?, ?, ?)",
            (attempts, stamp(at(-9)), stamp(at(next_try))),
        )


def faults(store: Store) -> list[str]:
    found = health.health(store, config(), now=NOW)
    assert found.ok == (found.told["status"] == "ok") == (not found.told["faults"])
    json.dumps(found.told)
    return [one["what"] for one in found.told["faults"]]


def test_all_is_well(store: Store) -> None:
    running(store)
    assert faults(store) == []
    told = health.health(store, config(), now=NOW).told
    assert told["status"] == "ok"
    assert told["version"] == __version__
    assert told["jobs"]["analyse"] == {
        "succeeded": stamp(at(-0.1)),
        "next": stamp(at(1)),
        "failures": 0,
        "running": None,
    }
    assert told["waiting"] == {"analysis": 0, "messages": 0}


def test_an_old_heartbeat_or_none_is_a_daemon_that_stopped(store: Store) -> None:
    assert faults(store) == ["scheduler"]
    running(store)
    put(store, "heartbeat", stamp(NOW - timedelta(minutes=3)))
    put(store, "job:old", job(-50))
    assert faults(store) == ["scheduler"], "jobs of a daemon that stopped are not late besides"
    assert health.health(store, config(), now=NOW).told["status"] == "stopped"


@pytest.mark.parametrize(
    ("succeeded", "minutes", "late"),
    [(-2.9, 60, False), (-3.1, 60, True), (-0.4, 1, False), (-0.6, 1, True), (None, 60, True)],
)
def test_a_job_is_late_after_three_intervals(
    store: Store, succeeded: float | None, minutes: float, late: bool
) -> None:
    running(store)
    put(store, "job:collect:x", job(succeeded, minutes=minutes))
    assert faults(store) == (["job collect:x"] if late else [])


def test_time_counts_from_the_start_and_from_progress(store: Store) -> None:
    running(store, since=-1)
    put(store, "job:collect:x", job(-50))
    assert faults(store) == [], "it was down; nothing could be done"
    running(store)
    assert faults(store) == ["job collect:x"]
    progress = {"collect:x": {"since": stamp(at(-40)), "progress": stamp(at(-1))}}
    put(store, "running", progress)
    put(store, "job:collect:x", job(-50, started=stamp(at(-51)), finished=stamp(at(-50))))
    assert faults(store) == [], "it is long, and gets on"
    (row,) = [row for row in job_rows(store, now=NOW) if row["job"] == "collect:x"]
    assert row["running"] == stamp(at(-40))
    progress["collect:x"]["progress"] = stamp(at(-4))
    put(store, "running", progress)
    assert faults(store) == ["job collect:x"]


def test_what_has_ended_since_the_last_heartbeat_does_not_run(store: Store) -> None:
    running(store)
    put(store, "running", {"analyse": {"since": stamp(at(-0.1)), "progress": stamp(at(-0.1))}})
    (row,) = job_rows(store, now=NOW)
    assert row["running"] is None


@pytest.mark.parametrize(
    ("next_try", "attempts", "stuck"),
    [(-0.4, 0, False), (-0.6, 0, True), (5, 4, False), (5, 5, True)],
)
def test_an_outbox_that_is_stuck(store: Store, next_try: float, attempts: int, stuck: bool) -> None:
    running(store)
    message(store, next_try=next_try, attempts=attempts)
    assert faults(store) == (["outbox"] if stuck else [])
    assert health.health(store, config(), now=NOW).told["waiting"]["messages"] == 1


def test_a_disk_that_is_nearly_full(store: Store, monkeypatch: pytest.MonkeyPatch) -> None:
    running(store)
    monkeypatch.setattr(shutil, "disk_usage", lambda _: Usage(499_000_000))
    assert faults(store) == ["disk"]


def test_nothing_personal_is_told(store: Store) -> None:
    running(store)
    put(store, "job:collect:x", job(-50, error="private words of ana@example.com"))
    message(store, next_try=-9)
    trouble = Trouble(kind="failing", subject="x", detail={"error": "private words"})
    tell(store, config(), [trouble], now=NOW)
    told = json.dumps(health.health(store, config(), now=NOW).told)
    assert "private" not in told
    assert "@" not in told
    assert '"subject": "x"' in told


def test_what_an_older_version_wrote_is_read(store: Store) -> None:
    running(store)
    old = {"started": stamp(at(-9)), "finished": stamp(at(-9)), "error": None}
    put(store, "job:digest", old)
    (row,) = [row for row in job_rows(store, now=NOW) if row["job"] == "digest"]
    assert (row["succeeded"], row["next"], row["late"]) == (stamp(at(-9)), None, True)


def test_it_can_be_asked_of_a_database_that_is_only_read(store: Store) -> None:
    running(store)
    with Store(store.path) as other:
        other.rows("PRAGMA query_only = ON")
        assert health.health(other, config(), now=NOW).ok


def test_status_tells_of_jobs_troubles_and_the_installation(store: Store) -> None:
    running(store)
    failing = job(-2, failures=3, error="the disk is full")
    put(store, "job:collect:x", failing)
    tell(store, config(), [Trouble(kind="quiet", subject="x", detail={})], now=NOW)
    rows = {row["what"]: row for row in status_rows(store, now=NOW)}
    assert rows["job collect:x"]["value"] == "the disk is full"
    assert rows["job collect:x"]["note"] == (
        f"ended {stamp(at(-0.1))}; last success {stamp(at(-2))}; failed 3 times in a row; "
        f"next {stamp(at(1))}"
    )
    assert rows["job analyse"]["value"] == "done"
    assert rows["trouble x"] == {
        "what": "trouble x",
        "value": "quiet",
        "note": f"since {stamp(NOW)}",
    }
    message(store, next_try=-9)
    rows = {row["what"]: row for row in operation_rows(store, config(), now=NOW)}
    assert rows["version"]["value"] == __version__
    assert rows["last backup"]["value"] == "never"
    assert rows["messages stuck"]["value"] == 1


def test_the_command_says_it_as_json_and_by_its_code(tmp_path: Path) -> None:
    settings = tmp_path / "config.toml"
    settings.write_text('[brand]\nname = "Lumora"\n', "utf-8")
    now = datetime.now(UTC)
    with Store(tmp_path / "listener.db") as store:
        for heartbeat, code in ((now - timedelta(hours=1), 1), (now, 0)):
            put(store, "heartbeat", stamp(heartbeat))
            result = CliRunner().invoke(main, ["-c", str(settings), "status", "--health"])
            assert result.exit_code == code, result.output
            assert json.loads(result.stdout)["status"] == ("stopped" if code else "ok")
