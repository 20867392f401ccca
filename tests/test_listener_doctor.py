from __future__ import annotations

import os
import shutil
from collections.abc import Callable
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from pathlib import Path
from types import SimpleNamespace
from typing import Any, NamedTuple

import pytest
from builders import MemoryChannel, config

from listener import doctor
from listener.backup import back_up
from listener.channels import Later
from listener.config import Config
from listener.doctor import examine_machine
from listener.session import Session
from listener.store import Store, stamp
from nlp.base import Tag

SECRETS = """
[sources.x]
enabled = true
bearer_token = { env = "DOCTOR_X_TOKEN" }
[sources.reddit]
client_id = { env = "DOCTOR_REDDIT_ID" }
client_secret = { env = "DOCTOR_REDDIT_SECRET" }
[channels.smtp]
enabled = true
host = "smtp.example.com"
username = "a"
password = { env = "DOCTOR_SMTP" }
[web]
secret = { env = "DOCTOR_LINKS" }
"""


class Tagger:
    version = "1"

    def tag(self, texts: list[str], langs: list[str]) -> list[tuple[Tag, ...]]:
        return [() for _ in texts]


def models() -> SimpleNamespace:
    opened = SimpleNamespace(runtime="onnxruntime 1.0 (OpenVINO is not installed)")
    return SimpleNamespace(encoder=SimpleNamespace(model=opened))


class Broken(MemoryChannel):
    def check(self) -> str:
        raise Later("smtp.example.com cannot be reached")


@dataclass
class FakeParts:
    """What doctor asks of the parts."""

    config: Config
    tagger: Tagger = field(default_factory=Tagger)
    models: SimpleNamespace = field(default_factory=models)
    channels: dict[str, Any] = field(default_factory=lambda: {"outbox": MemoryChannel()})


def looked(database: Path, settings: str = "", **more: Any) -> dict[str, tuple[str, str]]:
    parts: Any = FakeParts(config(settings), **more)
    rows = examine_machine(parts, database, now=datetime.now(UTC))
    return {row["what"]: (row["status"], row["note"]) for row in rows}


@pytest.fixture
def database(tmp_path: Path) -> Path:
    path = tmp_path / "listener.db"
    Store(path).close()
    return path


def test_a_new_installation_has_nothing_that_failed(tmp_path: Path) -> None:
    rows = looked(tmp_path / "listener.db")
    assert {status for status, _ in rows.values()} == {"ok"}
    assert "daemon" not in rows
    assert "version 1, onnxruntime 1.0 (OpenVINO is not installed)" in rows["model"][1]


def test_what_is_worth_a_look_is_a_warning(database: Path) -> None:
    rows = looked(database)
    assert rows["daemon"][0] == rows["backup"][0] == "warning"
    assert "listener backup" in rows["backup"][1]
    assert {status for status, _ in rows.values()} == {"ok", "warning"}


@pytest.mark.parametrize(("days", "status"), [(6, "ok"), (8, "warning")])
def test_the_age_of_the_backup(database: Path, tmp_path: Path, days: int, status: str) -> None:
    made = datetime.now(UTC) - timedelta(days=days)
    back_up(database, tmp_path / "b.db", files={}, now=made, tick=lambda _: None)
    assert looked(database)["backup"] == (status, f"last made at {stamp(made)}")


def test_missing_variables_of_what_is_in_use_are_named(
    database: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    assert looked(database)["credentials"][0] == "ok"
    monkeypatch.setenv("DOCTOR_SMTP", "private")
    status, note = looked(database, SECRETS)["credentials"]
    assert status == "failed"
    assert note.startswith("not set: DOCTOR_LINKS, DOCTOR_X_TOKEN:")
    for name in ("DOCTOR_LINKS", "DOCTOR_X_TOKEN"):
        monkeypatch.setenv(name, "private")
    status, note = looked(database, SECRETS)["credentials"]
    assert (status, "private" in note, "DOCTOR_SMTP" in note) == ("ok", False, True)


def test_keys_that_others_can_read(database: Path) -> None:
    key = database.with_name("listener.db.key")
    key.write_text("k" * 40)
    key.chmod(0o600)
    assert looked(database)["private files"] == ("ok", "listener.db.key")
    key.chmod(0o640)
    status, note = looked(database)["private files"]
    assert status == "failed"
    assert f"chmod 600 {key}" in note


def test_a_clock_that_is_behind_the_database(database: Path) -> None:
    for hours, status in ((-1, "ok"), (1, "failed")):
        at = datetime.now(UTC) + timedelta(hours=hours)
        with Store(database) as store, store.write() as connection:
            connection.execute("DELETE FROM runs")
            connection.execute(
                "INSERT INTO runs (source, query, started_at, status, pages, returned, kept, new, "
                "warnings) VALUES ('x', '', ?, 'ok', 0, 0, 0, 0, 0)",
                (stamp(at),),
            )
        found = looked(database)["clock"]
        assert found[0] == status
    assert "latest collection" in found[1]
    assert "NTP" in found[1]


class Usage(NamedTuple):
    free: int = 10_000_000


def fill(_: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(shutil, "disk_usage", lambda _: Usage())


def harm(path: Path, _: pytest.MonkeyPatch) -> None:
    path.write_bytes(b"not a database at all" * 100)


@pytest.mark.parametrize(
    ("change", "what", "status", "words"),
    [
        (fill, "disk", "failed", "free at least"),
        (harm, "database", "failed", "not an SQLite database"),
    ],
)
def test_what_is_wrong_with_disk_and_files(
    database: Path,
    monkeypatch: pytest.MonkeyPatch,
    change: Callable[[Path, pytest.MonkeyPatch], None],
    what: str,
    status: str,
    words: str,
) -> None:
    change(database, monkeypatch)
    found = looked(database)[what]
    assert found[0] == status
    assert words in found[1]


def test_a_write_ahead_log_that_grows(database: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    with Store(database) as reader, reader.write() as connection:
        connection.execute("INSERT INTO state VALUES ('k', 'v')")
    assert looked(database)["write-ahead log"] == ("ok", "0.0 MB")
    monkeypatch.setattr(doctor, "_LARGEST_LOG", 10)
    with Store(database) as reader:
        with reader.write() as connection:
            connection.execute("INSERT INTO state VALUES ('l', 'v')")
        status, note = looked(database)["write-ahead log"]
    assert status == "warning"
    assert "keeps on reading" in note


def test_a_mailbox_that_cannot_be_reached(database: Path) -> None:
    found = looked(database, channels={"smtp": Broken()})
    assert found["channels"] == ("failed", "smtp.example.com cannot be reached")


def test_who_holds_the_lock(database: Path) -> None:
    assert looked(database)["lock"] == ("ok", "free")
    with Session(db=database).locked():
        status, note = looked(database)["lock"]
    assert status == "ok"
    assert note.startswith(f"held by process {os.getpid()} on ")
