from __future__ import annotations

import json
from datetime import UTC, datetime
from pathlib import Path

import pytest
from builders import RECIPIENTS, VOCABULARY
from click.testing import CliRunner, Result

from listener import cli
from listener.cli_recipients import recipients
from listener.recipients import suppress, suppressions
from listener.store import Store

NOW = datetime(2026, 3, 10, 12, tzinfo=UTC)
PEOPLE = RECIPIENTS.replace(
    'name = "Ana"',
    'name = "Ana"\nrole = "community manager"\ntimezone = "America/Bogota"\ndigest_hour = 7',
)


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    (tmp_path / "config.toml").write_text(VOCABULARY + PEOPLE, encoding="utf-8")
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(cli, "clock", lambda: NOW)
    Store(tmp_path / "listener.db").close()
    return tmp_path


def run(*words: str) -> Result:
    return CliRunner().invoke(recipients, list(words))


def rows() -> dict[str, dict[str, str]]:
    result = run("--json")
    assert result.exit_code == 0, result.output
    return {row["name"]: row for row in json.loads(result.stdout)}


@pytest.mark.usefixtures("folder")
def test_the_table_says_who_gets_what_and_when() -> None:
    assert rows()["Ana"] == {
        "name": "Ana",
        "email": "ana@example.com",
        "role": "community manager",
        "language": "es",
        "zone": "America/Bogota",
        "receives": "alerts, digest",
        "rules": "all",
        "channel": "outbox",
        "next_digest": "2026-03-11 07:00",
        "state": "active",
    }
    assert rows()["Ben"]["next_digest"] == ""
    assert rows()["Cleo"]["rules"] == ""
    assert "Cleo" in run().stdout


def test_it_needs_no_database(folder: Path) -> None:
    (folder / "listener.db").unlink()
    assert [row["state"] for row in rows().values()] == ["active"] * 3
    assert not (folder / "listener.db").exists()


@pytest.mark.usefixtures("folder")
def test_pause_and_resume() -> None:
    assert run("pause", "ANA@example.com", "--what", "digest").exit_code == 0
    ana = rows()["Ana"]
    assert (ana["state"], ana["next_digest"]) == ("digest paused since 2026-03-10", "")
    assert run("pause", "ana").exit_code == 0
    assert rows()["Ana"]["state"] == ("all paused since 2026-03-10; digest paused since 2026-03-10")
    partly = run("resume", "ana@example.com", "--what", "digest")
    assert partly.exit_code == 0
    assert "Still: all paused since 2026-03-10." in partly.stderr
    assert run("resume", "ana@example.com").exit_code == 0
    assert rows()["Ana"]["state"] == "active"


def test_resume_ends_what_a_server_or_the_person_said(folder: Path) -> None:
    with Store(folder / "listener.db") as store:
        with store.write() as connection:
            suppress(connection, "ben@example.com", "all", "refused", "550 5.1.1", now=NOW)
        assert rows()["Ben"]["state"] == "all refused (550 5.1.1) since 2026-03-10"
        assert run("resume", "Ben", "--what", "alerts").exit_code == 1
        assert suppressions(store).keys() == {"ben@example.com"}
        assert run("resume", "Ben").exit_code == 0
        assert suppressions(store) == {}


@pytest.mark.usefixtures("folder")
def test_it_says_when_nobody_is_left() -> None:
    assert "Nobody is mailed" not in run().stderr
    for name in ("ana", "ben"):
        run("pause", name, "--what", "alerts")
    assert "Nobody is mailed early-funnel any more" in run().stderr


@pytest.mark.usefixtures("folder")
@pytest.mark.parametrize(
    ("words", "code", "said"),
    [
        (("pause", "ana@exmple.com"), 1, "did you mean"),
        (("pause", "zoe"), 1, "recipients: ana@example.com, ben@example.com"),
        (("resume", "cleo"), 1, "cleo@example.com is not suppressed"),
        (("--json", "pause", "ana"), 2, "--json is for the table alone"),
        (("pause", "ana", "--what", "everything"), 2, "'digest', 'alerts', 'all'"),
    ],
)
def test_what_cannot_be_done_is_said(words: tuple[str, ...], code: int, said: str) -> None:
    result = run(*words)
    assert result.exit_code == code
    assert said in result.output
