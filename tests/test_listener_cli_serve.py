"""`listener serve`: where it listens, what it refuses, and that it ends cleanly."""

from __future__ import annotations

import re
import signal
import socket
import sqlite3
import subprocess
import sys
from collections.abc import Iterator
from contextlib import closing, contextmanager
from datetime import UTC, datetime
from pathlib import Path

import httpx
import pytest
from builders import RECIPIENTS, VOCABULARY, config
from click.testing import CliRunner, Result

from listener.cli import main
from listener.cli_serve import refuse_unprotected
from listener.links import open_signer, verdict_links
from listener.store import Store, stamp

ROOT = Path(__file__).parents[1]
HTTPS = '[web]\nbase_url = "https://listener.example.com"\n'
HTTP = '[web]\nbase_url = "http://localhost:8347"\n'


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.chdir(tmp_path)
    (tmp_path / "config.toml").write_text(VOCABULARY + RECIPIENTS + HTTP, "utf-8")
    return tmp_path


def serve(*words: str) -> Result:
    return CliRunner().invoke(main, ["serve", *words])


@contextmanager
def serving(folder: Path) -> Iterator[tuple[subprocess.Popen[str], str]]:
    """The command as a process of its own, and the address that it says it serves on."""
    process = subprocess.Popen(
        [sys.executable, "-m", "listener", "-v", "serve", "--port", "0"],
        cwd=folder,
        env={"PYTHONPATH": str(ROOT)},
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )
    try:
        assert process.stderr is not None
        found = re.match(r"Serving on (http://127\.0\.0\.1:\d+)\.", process.stderr.readline())
        assert found, process.stderr.read()
        yield process, found[1]
    finally:
        process.kill()
        process.communicate()


def test_it_serves_until_it_is_asked_to_end_and_logs_no_links(folder: Path) -> None:
    now = datetime.now(UTC)
    with Store(folder / "listener.db") as store, store.write() as connection:
        connection.execute(
            "INSERT INTO conversations (id, source, root_id, started_at, last_at, mentions, "
            "authors, stage, state, early) VALUES (1, 'x', 'r', ?, ?, 1, 1, 'none', 'early', 0.9)",
            (stamp(now), stamp(now)),
        )
        connection.execute(
            "INSERT INTO mentions (id, source, native_id, text, published_at, first_seen_at) "
            "VALUES (1, 'x', 'r', 'Which one?', ?, ?)",
            (stamp(now), stamp(now)),
        )
        connection.execute(
            "INSERT INTO alerts (id, key, rule, conversation_id, mention_id, probability, reasons, "
            "created_at) VALUES (1, 'k', 'early-funnel', 1, 1, 0.9, '[]', ?)",
            (stamp(now),),
        )
    with serving(folder) as (process, address):
        settings = config(RECIPIENTS + HTTP)
        # The page made the key; mails are signed by another process with the same file.
        signer = open_signer(settings, folder / "listener.db", {})
        links = verdict_links(settings, signer, "feedback", 1, "ben@example.com", now=now)
        url = links["late"].replace("http://localhost:8347", address)
        page = httpx.get(url)
        assert page.status_code == 200
        form = re.search('name="form" value="([^"]+)"', page.text)
        assert form
        sent = httpx.post(url, data={"form": form[1], "choice": "late"})
        assert sent.status_code == 200
        assert "server" not in sent.headers
        process.send_signal(signal.SIGTERM)
        out, err = process.communicate(timeout=60)
    assert process.returncode == 0, err
    assert "Traceback" not in err
    for private in (url.rpartition("/")[2].partition("?")[0], form[1], "ben@example.com", "Which"):
        assert private not in out + err
    with closing(sqlite3.connect(folder / "listener.db")) as database:
        rows = database.execute("SELECT verdict, given_by FROM feedback").fetchall()
    assert rows == [("late", "ben@example.com")]


@pytest.mark.parametrize("settings", ["", HTTP])
@pytest.mark.parametrize("host", ["0.0.0.0", "::", "192.0.2.1", "listener.example.com"])
def test_other_machines_are_kept_out_without_https(folder: Path, host: str, settings: str) -> None:
    (folder / "config.toml").write_text(VOCABULARY + settings, "utf-8")
    result = serve("--host", host)
    assert result.exit_code == 1
    assert 'base_url = "https://listener.example.com"' in result.output
    assert not (folder / "listener.db.key").exists()


@pytest.mark.parametrize(
    ("host", "settings"),
    [("127.0.0.1", ""), ("127.9.9.9", ""), ("::1", HTTP), ("localhost", ""), ("0.0.0.0", HTTPS)],
)
def test_loopback_and_what_stands_behind_https_are_let_in(host: str, settings: str) -> None:
    refuse_unprotected(host, config(settings).web)


def test_the_address_of_the_configuration_is_checked_too(folder: Path) -> None:
    (folder / "config.toml").write_text(VOCABULARY + '[web]\nhost = "0.0.0.0"\n', "utf-8")
    result = serve()
    assert result.exit_code == 1
    assert "0.0.0.0 can be reached from other machines" in result.output


def test_without_a_database_it_says_how_to_make_one(folder: Path) -> None:
    result = serve()
    assert result.exit_code == 1
    assert "run `listener run --once` first" in result.output
    assert not (folder / "listener.db").exists()


def test_a_port_that_is_taken_is_named_with_the_fix(folder: Path) -> None:
    Store(folder / "listener.db").close()
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = str(taken.getsockname()[1])
        result = serve("--port", port)
    assert result.exit_code == 1
    assert f"port {port}" in result.output
    assert "--port" in result.output


def test_a_bad_key_ends_the_start_with_the_fix(folder: Path) -> None:
    Store(folder / "listener.db").close()
    (folder / "listener.db.key").touch(mode=0o644)
    result = serve()
    assert result.exit_code == 2
    assert "chmod 600" in result.output
