"""`listener channels`: the table, and a test message through each channel."""

from __future__ import annotations

import json
from collections.abc import Iterator
from email import message_from_bytes
from email.message import EmailMessage
from email.policy import default
from pathlib import Path

import pytest
from click.testing import CliRunner, Result
from loopback import Answer, Loopback, loopback
from mailboxes import free_port, mail_server

from listener.channels import Later, Parcel
from listener.cli import main

SETTINGS = """
[brand]
name = "Lumora"
[[recipients]]
name = "Ana"
email = "ana@example.com"
language = "es"
[[recipients]]
name = "Ben"
email = "ben@example.com"
receives = ["digest", "alerts"]
"""
WEBHOOK = """
[channels.webhook]
enabled = true
url = { env = "HOOK_URL" }
secret = { env = "HOOK_SECRET" }
allow_private_addresses = true
"""
SLACK = """
[channels.slack]
enabled = true
url = { env = "SLACK_URL" }
allow_private_addresses = true
"""
KEY = "TGlzdGVuZXIncyBvd24ga2V5IGZvciB0ZXN0cyBvbmx5"


@pytest.fixture
def site() -> Iterator[Loopback]:
    with loopback() as running:
        yield running


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.chdir(tmp_path)
    return tmp_path


def run(folder: Path, settings: str, *words: str) -> Result:
    (folder / "config.toml").write_text(SETTINGS + settings, "utf-8")
    return CliRunner().invoke(main, ["channels", *words])


def rows(result: Result) -> dict[str, dict[str, object]]:
    assert result.exit_code == 0, result.output
    return {row["channel"]: row for row in json.loads(result.stdout)}


def mail(folder: Path) -> EmailMessage:
    (path,) = (folder / "outbox").glob("*.eml")
    message = message_from_bytes(path.read_bytes(), policy=default)
    assert isinstance(message, EmailMessage)
    return message


# -- the table


def test_every_channel_is_listed_and_those_that_are_on_are_checked(
    folder: Path, site: Loopback, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("HOOK_URL", site.url + "/hook")
    monkeypatch.setenv("HOOK_SECRET", KEY)
    monkeypatch.delenv("SLACK_URL", raising=False)
    found = rows(run(folder, WEBHOOK + SLACK, "--json"))
    assert list(found) == ["outbox", "smtp", "webhook", "slack"]
    assert found["outbox"]["recipients"] == "Ana, Ben"
    assert "can be written" in str(found["outbox"]["check"])
    assert found["smtp"] | {"recipients": ""} == {
        "channel": "smtp",
        "enabled": False,
        "recipients": "",
        "check": "",
    }
    assert found["webhook"]["check"] == "127.0.0.1 answers"
    assert "SLACK_URL: this environment variable is not set" in str(found["slack"]["check"])
    assert [seen.method for seen in site.seen] == ["HEAD"]


def test_a_channel_that_does_not_work_says_why_in_the_table(folder: Path) -> None:
    settings = f'[channels.smtp]\nenabled = true\nhost = "127.0.0.1"\nport = {free_port()}\n'
    found = rows(run(folder, settings, "--json"))
    assert "cannot be reached" in str(found["smtp"]["check"])


def test_a_form_is_for_the_table_alone(folder: Path) -> None:
    result = run(folder, "", "--json", "test", "outbox")
    assert result.exit_code == 2
    assert "--json is for the table alone" in result.stderr


# -- a test message


def test_a_test_message_is_in_the_language_of_its_recipient(folder: Path) -> None:
    result = run(folder, "", "test", "outbox")
    assert result.exit_code == 0, result.output
    assert result.stderr == "outbox took a test message for ana@example.com.\n"
    message = mail(folder)
    assert message["To"] == "ana@example.com"
    assert message["Subject"].startswith("[Prueba] ")
    body = message.get_body(("plain",))
    assert body is not None
    assert "Un mensaje de prueba de Listener" in body.get_content()


@pytest.mark.parametrize("address", ["ben@example.com", "somebody@else.example"])
def test_a_test_message_goes_where_it_is_told_to(folder: Path, address: str) -> None:
    assert run(folder, "", "test", "outbox", "--to", address).exit_code == 0
    message = mail(folder)
    assert message["To"] == address
    assert message["Subject"].startswith("[Test] ")


def test_each_test_message_is_a_new_one(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    from datetime import UTC, datetime

    hours = iter((10, 11))
    monkeypatch.setattr(
        "listener.cli.clock", lambda: datetime(2026, 11, 21, next(hours), tzinfo=UTC)
    )
    for _ in range(2):
        assert run(folder, "", "test", "outbox").exit_code == 0
    mails = [path.read_bytes() for path in (folder / "outbox").glob("*.eml")]
    assert len({message_from_bytes(one)["Message-ID"] for one in mails}) == 2


def test_a_test_message_by_smtp(folder: Path) -> None:
    with mail_server() as (mailbox, port):
        settings = (
            f'[channels]\nsender = "Listener <listener@lumora.example>"\n[channels.smtp]\n'
            f'enabled = true\nhost = "127.0.0.1"\nport = {port}\nsecurity = "none"\n'
        )
        result = run(folder, settings, "test", "smtp")
        assert result.exit_code == 0, result.output
        # Nobody is reached through it yet: it goes to where all mail comes from.
        assert "for listener@lumora.example" in result.stderr
        assert len(mailbox.taken) == 1
        mailbox.recipient_reply = "550 5.1.1 <ana@example.com> unknown"
        refused = run(folder, settings, "test", "smtp", "--to", "ana@example.com")
    assert refused.exit_code == 1
    assert "smtp refused the message: the mail server answers 550 5.1.1" in refused.stderr


@pytest.mark.parametrize("name", ["webhook", "slack"])
def test_a_test_message_to_a_web_address(
    folder: Path, site: Loopback, monkeypatch: pytest.MonkeyPatch, name: str
) -> None:
    monkeypatch.setenv("HOOK_URL", site.route("/hook", Answer()))
    monkeypatch.setenv("SLACK_URL", site.url + "/hook")
    monkeypatch.setenv("HOOK_SECRET", KEY)
    assert run(folder, WEBHOOK + SLACK, "test", name).exit_code == 0
    (seen,) = site.seen
    body = json.loads(seen.body)
    if name == "webhook":
        assert body["data"]["test"] is True
    else:
        assert body["text"].startswith("*[Test]\u200b ")
    site.route("/hook", Answer(503))
    busy = run(folder, WEBHOOK + SLACK, "test", name)
    assert busy.exit_code == 1
    assert "may do so later: 127.0.0.1 answers 503" in busy.stderr


@pytest.mark.parametrize(
    ("words", "says"),
    [
        (["smtp"], "smtp is off: set enabled = true in [channels.smtp]"),
        (["pigeon"], "no channel pigeon: choose one of outbox, smtp, webhook, slack, mine"),
        (["slak"], "did you mean `slack`?"),
        (["mine"], "mine is off: set enabled = true in [channels.plugins.mine]"),
        (["outbox", "--to", "nobody"], "nobody is not an address"),
    ],
)
def test_what_cannot_be_tested_says_what_to_do(folder: Path, words: list[str], says: str) -> None:
    result = run(folder, "[channels.plugins.mine]\n", "test", *words)
    assert result.exit_code == 1
    assert says in result.stderr


# -- plug-ins


class Pigeon:
    """A channel from another distribution."""

    name = "pigeon"

    def __init__(self, *, loft: str, password: str) -> None:
        self.loft = loft
        self.password = password

    def send(self, parcel: Parcel) -> None:
        raise Later(f"the pigeon of {self.loft} sleeps")

    def check(self) -> str:
        return f"{self.loft} stands, {len(self.password)} letters"

    def close(self) -> None:
        """The loft stays open."""


PIGEON = """
[channels.plugins.pigeon]
enabled = true
[channels.plugins.pigeon.options]
loft = "roof"
password = { env = "PIGEON_PASSWORD" }
"""


@pytest.fixture
def pigeon(monkeypatch: pytest.MonkeyPatch) -> None:
    from importlib.metadata import EntryPoint

    point = EntryPoint("pigeon", f"{__name__}:Pigeon", "listener.channels")
    monkeypatch.setattr("listener.channels.entry_points", lambda group: [point])
    monkeypatch.setenv("PIGEON_PASSWORD", "hunter2")


@pytest.mark.usefixtures("pigeon")
def test_a_plug_in_is_a_channel_like_the_others(folder: Path) -> None:
    reader = '[[recipients]]\nname = "Cleo"\nemail = "c@example.com"\nchannel = "pigeon"\n'
    found = rows(run(folder, reader + PIGEON, "--json"))
    assert found["pigeon"] == {
        "channel": "pigeon",
        "enabled": True,
        "recipients": "Cleo",
        "check": "roof stands, 7 letters",
    }
    result = run(folder, reader + PIGEON, "test", "pigeon")
    assert "the pigeon of roof sleeps" in result.stderr


@pytest.mark.usefixtures("pigeon")
@pytest.mark.parametrize(
    "settings", [PIGEON + 'ring = "hunter2"\n', PIGEON.replace(".pigeon", ".dove")]
)
def test_a_plug_in_that_cannot_be_made_is_told_without_its_options(
    folder: Path, settings: str
) -> None:
    name = "dove" if "dove" in settings else "pigeon"
    result = run(folder, settings, "test", name)
    assert result.exit_code == 2
    assert f"channels.plugins.{name}: cannot be made" in result.stderr
    assert "hunter2" not in result.output
