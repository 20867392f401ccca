"""One full round on the built-in sample, as a new user gets it, with the shipped model."""

from __future__ import annotations

import email
import json
import os
import signal
import sqlite3
import subprocess
import sys
from contextlib import closing
from dataclasses import dataclass
from email import policy
from importlib.resources import files
from pathlib import Path
from urllib.parse import urlsplit

import pytest
from click.testing import CliRunner, Result
from selectolax.lexbor import LexborHTMLParser

from listener.cli import main
from listener.store import Store

ROOT = Path(__file__).parents[1]


@dataclass(frozen=True)
class Folder:
    """A folder in which rounds were run."""

    path: Path
    first: Result
    second: Result

    def store(self) -> Store:
        return Store(self.path / "listener.db")


def listener(folder: Path, *words: str) -> Result:
    """`listener WORDS` with `folder` as the working directory."""
    before = Path.cwd()
    os.chdir(folder)
    try:
        return CliRunner().invoke(main, list(words), catch_exceptions=False)
    finally:
        os.chdir(before)


@pytest.fixture(scope="module")
def ran(tmp_path_factory: pytest.TempPathFactory) -> Folder:
    folder = tmp_path_factory.mktemp("ran")
    first = listener(folder, "run", "--once")
    return Folder(folder, first, listener(folder, "run", "--once"))


def labels() -> dict[str, dict[str, object]]:
    text = files("connectors").joinpath("data/sample_labels.jsonl").read_text("utf-8")
    return {row["id"]: row for row in map(json.loads, text.splitlines())}


def test_first_round_collects_the_sample_and_says_what_to_open(ran: Folder) -> None:
    assert ran.first.exit_code == 0
    assert f"new posts: {len(labels())}" in ran.first.stdout
    for words in (
        "Stages",
        "New alerts",
        "Digests",
        "Alert e-mails",
        "SQLite file",
        "listener sql",
    ):
        assert words in ran.first.stdout


def test_second_round_collects_and_sends_nothing_twice(ran: Folder) -> None:
    assert ran.second.exit_code == 0
    assert "new posts: 0" in ran.second.stdout
    assert "Messages: none due" in ran.second.stdout
    with ran.store() as store:
        assert store.value("SELECT count(*) FROM mentions") == len(labels())
        assert store.value("SELECT max(attempts) FROM deliveries") == 1
        assert store.value("SELECT count(*) FROM work") == 0


def test_early_conversations_of_the_sample_are_found(ran: Folder) -> None:
    """At least two in three, and at least four in five of those found are right, per language."""
    truth = {
        row["id"]: row["conversation"]["early"]
        for row in labels().values()
        if "conversation" in row
    }
    with ran.store() as store:
        rows = store.rows("SELECT root_id, language, state FROM conversations")
    for language in ("en", "es"):
        wanted = {r["root_id"] for r in rows if r["language"] == language and truth[r["root_id"]]}
        found = {r["root_id"] for r in rows if r["language"] == language and r["state"] == "early"}
        assert len(wanted) >= 15
        assert len(found & wanted) / len(wanted) >= 2 / 3, language
        assert len(found & wanted) / len(found) >= 0.8, language


def test_every_message_in_the_outbox_is_whole(ran: Folder) -> None:
    with ran.store() as store:
        sent = store.value("SELECT count(*) FROM deliveries WHERE status = 'sent'")
    found = sorted((ran.path / "outbox").glob("*.eml"))
    assert len(found) == sent > 5
    for path in found:
        message = email.message_from_bytes(path.read_bytes(), policy=policy.default)
        kinds = [part.get_content_type() for part in message.walk()]
        assert kinds[:2] == ["multipart/alternative", "text/plain"]
        # Beside the page stand its charts.
        page = kinds[2:] if "image/png" not in kinds else kinds[3:]
        assert page[0] == "text/html"
        assert set(page[1:]) <= {"image/png"}
        assert not message.defects
        assert path.with_suffix(".html").is_file()
        assert path.stat().st_size < 100_000


def test_nothing_hostile_reaches_header_or_markup(ran: Folder) -> None:
    for path in (ran.path / "outbox").glob("*.eml"):
        message = email.message_from_bytes(path.read_bytes(), policy=policy.default)
        assert message["Bcc"] is None
        assert message["To"] in ("alex@example.com", "marta@example.com")
        page = message.get_body(("html",))
        assert page is not None
        tree = LexborHTMLParser(page.get_content())
        assert not tree.css("script, iframe, object, form, img[onerror]")
        scripted = [n for n in tree.css("*") if any(k.startswith("on") for k in n.attributes)]
        assert not scripted
        hosts = {urlsplit(link.attributes["href"] or "").hostname for link in tree.css("a")}
        assert hosts <= {"sample.example"}


def test_stored_spans_are_literal(ran: Folder) -> None:
    with ran.store() as store:
        rows = store.rows(
            "SELECT coalesce(m.title || char(10), '') || m.text AS document, "
            "x.span_start AS start, x.span_end AS stop "
            "FROM matches x JOIN mentions m ON m.id = x.mention_id"
        )
    assert len(rows) > 100
    assert all(row["document"][row["start"] : row["stop"]].strip() for row in rows)


@pytest.mark.parametrize(
    "words",
    [
        ["alerts", "list", "--json"],
        ["search", "cafetera", "--json"],
        ["search", 'X-200? "', "--json"],
        ["sql", "SELECT * FROM mentions_tagged LIMIT 3", "--json"],
        ["export", "early_conversations", "--json"],
        ["status", "--json"],
        ["doctor", "--json"],
        ["sources", "--json"],
        ["channels", "--json"],
        ["check", "--json"],
    ],
)
def test_looking_commands_print_json_rows(ran: Folder, words: list[str]) -> None:
    result = listener(ran.path, *words)
    assert result.exit_code == 0, result.output
    rows = json.loads(result.stdout)
    assert rows == [] if "X-200" in " ".join(words) else rows


def test_alert_can_be_shown_as_the_mail_tells_it(ran: Folder) -> None:
    (first, *_) = json.loads(listener(ran.path, "alerts", "list", "--json").stdout)
    shown = listener(ran.path, "alerts", "show", str(first["id"]), "--language", "es")
    assert shown.exit_code == 0
    assert len(shown.stdout) > 200
    missing = listener(ran.path, "alerts", "show", "987654")
    assert missing.exit_code == 1
    assert "listener alerts list" in missing.output


def test_digest_can_be_previewed(ran: Folder, tmp_path: Path) -> None:
    page = tmp_path / "digest.html"
    assert listener(ran.path, "digest", "--preview", str(page), "--language", "en").exit_code == 0
    assert "Lumora" in page.read_text("utf-8")


def test_try_shows_probabilities_and_spans(tmp_path: Path) -> None:
    text = "¿Qué cafetera superautomática me recomendáis por menos de 500 €?"
    result = json.loads(listener(tmp_path, "try", text, "--json").stdout)
    best = {row["head"]: row for row in reversed(result["tags"])}
    assert result["lang"] == "es"
    assert best["stage"]["label"] == "consideration"
    assert best["early"]["probability"] > 0.5
    assert {match["quote"] for match in result["matches"]} >= {"cafetera superautomática"}
    assert not (tmp_path / "listener.db").exists()


def test_a_source_that_cannot_be_reached_does_not_stop_the_round(tmp_path: Path) -> None:
    text = (ROOT / "config.toml").read_text("utf-8")
    broken = text.replace(
        "[sources.hackernews]     # needs no key; set enabled = true\nenabled = false",
        '[sources.hackernews]\nbase_url = "http://127.0.0.1:9"\nenabled = true',
    )
    assert broken != text
    (tmp_path / "config.toml").write_text(broken, "utf-8")
    result = listener(tmp_path, "collect", "--json")
    rows = {row["source"]: row for row in json.loads(result.stdout)}
    assert result.exit_code == 0
    assert rows["sample"]["status"] == "ok"
    assert rows["hackernews"]["status"] == "failed"
    assert "hackernews" in result.stderr


@pytest.mark.parametrize(("sent", "code"), [(signal.SIGKILL, -9), (signal.SIGINT, 130)])
def test_an_interrupted_round_is_finished_by_the_next(
    tmp_path: Path, sent: signal.Signals, code: int
) -> None:
    process = subprocess.Popen(
        [sys.executable, "-m", "listener", "run", "--once"],
        cwd=tmp_path,
        env=os.environ | {"PYTHONPATH": str(ROOT)},
        stdout=subprocess.DEVNULL,
        stderr=subprocess.PIPE,
        text=True,
        # Tests that run in the background of a shell have been told to ignore it.
        preexec_fn=lambda: signal.signal(signal.SIGINT, signal.SIG_DFL),  # noqa: PLW1509 one thread
    )
    database = tmp_path / "listener.db"
    while process.poll() is None:
        if _count(database) > 0:
            process.send_signal(sent)
            break
    _, talk = process.communicate()
    assert process.returncode == code
    assert "Traceback" not in talk
    assert listener(tmp_path, "run", "--once").exit_code == 0
    with Store(database) as store:
        assert store.value("SELECT count(*) FROM mentions") == len(labels())
        assert store.value("SELECT count(*) FROM work") == 0
        assert store.value("PRAGMA integrity_check") == "ok"


def _count(path: Path) -> int:
    """Posts that are stored, read so that it costs the other process nothing."""
    try:
        with closing(sqlite3.connect(f"{path.as_uri()}?mode=ro", uri=True)) as connection:
            return int(connection.execute("SELECT count(*) FROM mentions").fetchone()[0])
    except sqlite3.OperationalError:
        return 0  # not made yet, or without tables


def test_help_loads_no_model_library() -> None:
    heavy = "{'onnxruntime', 'tokenizers', 'spacy', 'transformers', 'sklearn', 'numpy', 'mjml'}"
    code = (
        "import sys\nfrom listener.cli import main\n"
        "main(['--help'], standalone_mode=False)\n"
        f"print('loaded:', sorted({heavy} & set(sys.modules)))"
    )
    result = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, check=True, cwd=ROOT
    )
    assert "Usage" in result.stdout
    assert "loaded: []" in result.stdout
