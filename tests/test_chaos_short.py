"""The fault campaign, shortened: what it breaks comes out whole, and its checks find faults."""

from __future__ import annotations

import importlib
import json
import os
import sqlite3
import subprocess
import sys
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path
from types import ModuleType

import pytest

from listener.store import Store

ROOT = Path(__file__).parents[1]
SEED = 7

pytestmark = pytest.mark.skipif(not hasattr(os, "fork"), reason="lives are forked")


@pytest.fixture(scope="module")
def checks() -> Iterator[ModuleType]:
    with pytest.MonkeyPatch.context() as patch:
        patch.syspath_prepend(ROOT)
        yield importlib.import_module("benchmarks.chaos_checks")


@pytest.fixture(scope="module")
def mail() -> Iterator[ModuleType]:
    with pytest.MonkeyPatch.context() as patch:
        patch.syspath_prepend(ROOT)
        yield importlib.import_module("benchmarks.chaos_mail")


@pytest.fixture(scope="module")
def campaign(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The folder in which the quick campaign ran, in processes of its own."""
    folder = tmp_path_factory.mktemp("chaos")
    command = [sys.executable, "-m", "benchmarks.chaos", "--quick", "--seed", str(SEED)]
    subprocess.run([*command, "--keep", str(folder)], cwd=ROOT, check=False, capture_output=True)
    return folder


@pytest.mark.parametrize("part", ["kill", "moody", "full", "locked", "clock", "backlog"])
def test_what_was_broken_came_out_whole(campaign: Path, part: str) -> None:
    result = json.loads((campaign / f"{part}.json").read_text())
    if "skipped" in result["figures"]:
        pytest.skip(result["figures"]["skipped"])
    assert result["wrong"] == []


def test_the_kills_were_kills(campaign: Path) -> None:
    figures = json.loads((campaign / "kill.json").read_text())["figures"]
    assert figures["kills"] == 10
    assert figures["lives"] == figures["kills"] + 1
    assert figures["mentions"] > 10
    assert figures["alerts"] > 0
    assert figures["digests"] > 0


# -- the checks find what they are for


@pytest.fixture
def pair(campaign: Path, tmp_path: Path) -> tuple[Path, Path]:
    """The database of the run without kills, and one of which a test may take something away."""
    calm = campaign / "kill" / "calm" / "listener.db"
    other = tmp_path / "other.db"
    with closing(sqlite3.connect(calm)) as source, closing(sqlite3.connect(other)) as target:
        source.backup(target)
    return calm, other


def change(path: Path, statement: str) -> None:
    with Store(path) as store, store.write() as connection:
        assert connection.execute(statement).rowcount > 0


@pytest.mark.parametrize(
    ("table", "statement"),
    [
        ("mentions", "DELETE FROM mentions WHERE id = (SELECT min(id) FROM mentions)"),
        ("tags", "DELETE FROM tags WHERE kind = 'stage'"),
        ("alerts", "UPDATE alerts SET score = score + 1"),
        ("deliveries", "UPDATE deliveries SET status = 'waiting' WHERE kind = 'alert'"),
        ("readers", "UPDATE alert_recipients SET fate = 'held' WHERE fate = 'mailed'"),
    ],
)
def test_a_difference_is_found(
    checks: ModuleType, pair: tuple[Path, Path], table: str, statement: str
) -> None:
    calm, other = pair
    assert checks.differences(calm, other) == {}
    change(other, statement)
    assert table in checks.differences(calm, other)


def test_a_lost_and_a_doubled_message_are_found(
    checks: ModuleType, mail: ModuleType, campaign: Path, pair: tuple[Path, Path]
) -> None:
    calm, _ = pair
    lines = (campaign / "kill" / "calm" / "mail.jsonl").read_text().splitlines()
    taken = [mail.Taken(**json.loads(line)) for line in lines]
    assert checks.delivered(calm, taken, {}) == ([], 0)
    lost, _ = checks.delivered(calm, taken[1:], {})
    assert [line for line in lost if "never taken" in line]
    doubled, twice = checks.delivered(calm, [*taken, taken[0]], {})
    assert [line for line in doubled if "taken 2 times" in line]
    assert twice == 1
    assert checks.delivered(calm, [*taken, taken[0]], {taken[0].message_id: 1}) == ([], 1)


def test_a_missing_and_a_strange_post_are_found(
    checks: ModuleType, pair: tuple[Path, Path]
) -> None:
    calm, _ = pair
    with closing(sqlite3.connect(calm)) as connection:
        rows = connection.execute("SELECT source, native_id, text FROM mentions").fetchall()
    expected = {(source, native_id): text for source, native_id, text in rows}
    assert checks.stored(calm, expected) == []
    first = next(iter(expected))
    fewer = {key: text for key, text in expected.items() if key != first}
    assert checks.stored(calm, fewer) == [f"not expected: {first}"]
    more = expected | {("forum", "1"): "x"}
    assert checks.stored(calm, more) == ["missing: ('forum', '1')"]


def test_a_broken_reference_is_found(checks: ModuleType, pair: tuple[Path, Path]) -> None:
    _, other = pair
    assert checks.sound(other) == []
    with closing(sqlite3.connect(other)) as connection, connection:
        connection.execute("PRAGMA foreign_keys = OFF")
        connection.execute("DELETE FROM authors")
    assert [line for line in checks.sound(other) if line.startswith("foreign key")]
