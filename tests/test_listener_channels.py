from __future__ import annotations

import logging
import shutil
import socket
import ssl
import subprocess
from collections.abc import Callable, Iterator
from contextlib import closing
from datetime import UTC, datetime
from email import message_from_bytes
from email.message import EmailMessage
from email.policy import default
from importlib.metadata import EntryPoint
from pathlib import Path
from typing import Any

import pytest
from aiosmtpd.controller import Controller
from aiosmtpd.smtp import SMTP, AuthResult, Envelope, LoginPassword, Session

from listener.channels import Channel, ChannelError, Later, OutboxFolder, Refused, Smtp, load
from listener.envelope import Rendered, compose

RECIPIENT = "ana@example.org"
SECRET = "words of a post"


def mail(recipient: str = RECIPIENT, subject: str = "Lumora: 3 menciones") -> EmailMessage:
    return compose(
        Rendered(
            subject=subject,
            text=f"{SECRET}\nñandú\n",
            html=f"<html><head></head><body><p>{SECRET}</p></body></html>",
        ),
        sender="Listener <listener@example.org>",
        recipient=f"Ana <{recipient}>",
        message_id="<1@example.org>",
        date=datetime(2026, 11, 21, 17, 40, tzinfo=UTC),
    )


class Mailbox:
    """An aiosmtpd handler that answers as told and keeps what it takes."""

    def __init__(self) -> None:
        self.taken: list[bytes] = []
        self.sender_reply = self.recipient_reply = self.data_reply = "250 OK"
        self.quit_reply = "221 Bye"
        self.hang_up = False

    async def handle_MAIL(  # noqa: N802  # the name is aiosmtpd's
        self, server: SMTP, session: Session, envelope: Envelope, address: str, options: list[str]
    ) -> str:
        envelope.mail_from = address
        return self.sender_reply

    async def handle_RCPT(  # noqa: N802  # the name is aiosmtpd's
        self, server: SMTP, session: Session, envelope: Envelope, address: str, options: list[str]
    ) -> str:
        if self.recipient_reply.startswith("250"):
            envelope.rcpt_tos.append(address)
        return self.recipient_reply

    async def handle_DATA(  # noqa: N802  # the name is aiosmtpd's
        self, server: SMTP, session: Session, envelope: Envelope
    ) -> str:
        if self.hang_up:
            assert server.transport is not None
            server.transport.close()
        assert isinstance(envelope.content, bytes)
        if self.data_reply.startswith("250"):
            self.taken.append(envelope.content)
        return self.data_reply

    async def handle_QUIT(  # noqa: N802  # the name is aiosmtpd's
        self, server: SMTP, session: Session, envelope: Envelope
    ) -> str:
        return self.quit_reply


Serve = Callable[..., tuple[Mailbox, int]]


@pytest.fixture
def serve() -> Iterator[Serve]:
    running: list[Controller] = []

    def start(**settings: Any) -> tuple[Mailbox, int]:
        mailbox = Mailbox()
        with closing(socket.create_server(("127.0.0.1", 0))) as probe:
            port = probe.getsockname()[1]
        controller = Controller(mailbox, hostname="127.0.0.1", port=port, **settings)
        controller.start()
        running.append(controller)
        return mailbox, port

    yield start
    for controller in running:
        controller.stop()


def smtp(port: int, **settings: Any) -> Smtp:
    chosen: dict[str, Any] = {"security": "none", "timeout": 5} | settings
    return Smtp(host="127.0.0.1", port=port, **chosen)


def authenticate(
    server: SMTP, session: Session, envelope: Envelope, mechanism: str, data: Any
) -> AuthResult:
    assert isinstance(data, LoginPassword)
    right = (data.login, data.password) == (b"listener", b"right")
    return AuthResult(success=right, handled=False)


def test_a_message_arrives_as_it_was_composed(serve: Serve) -> None:
    mailbox, port = serve()
    channel = smtp(port)
    channel.send(mail(), key="digest-1")
    (raw,) = mailbox.taken
    parsed = message_from_bytes(raw, policy=default)
    assert isinstance(parsed, EmailMessage)
    assert parsed["Message-ID"] == "<1@example.org>"
    assert parsed["Subject"] == "Lumora: 3 menciones"
    plain = parsed.get_body(("plain",))
    assert plain is not None
    assert plain.get_content().splitlines() == [SECRET, "ñandú"]
    assert channel.check() == f"127.0.0.1:{port} answers"


@pytest.mark.parametrize("place", ["recipient_reply", "data_reply"])
@pytest.mark.parametrize(
    ("reply", "error"),
    [
        ("421 4.3.2 closing", Later),
        ("450 4.2.1 <ana@example.org> busy", Later),
        ("550 5.1.1 <ana@example.org> unknown", Refused),
        ("554 5.7.1 refused", Refused),
    ],
)
def test_replies_are_told_apart_without_the_address(
    serve: Serve, place: str, reply: str, error: type[ChannelError]
) -> None:
    mailbox, port = serve()
    setattr(mailbox, place, reply)
    with pytest.raises(error) as caught:
        smtp(port).send(mail(), key="digest-1")
    assert " ".join(reply.split()[:2]) in str(caught.value)
    assert "ana" not in str(caught.value)
    assert mailbox.taken == []


def test_a_refused_sender_is_not_the_recipients_fault(serve: Serve) -> None:
    mailbox, port = serve()
    mailbox.sender_reply = "553 5.1.8 listener@example.org not allowed"
    with pytest.raises(Later, match=r"sender \(553\); see sender in \[channels\]"):
        smtp(port).send(mail(), key="digest-1")


def test_a_fault_after_the_message_was_taken_does_not_send_it_again(serve: Serve) -> None:
    mailbox, port = serve()
    mailbox.quit_reply = "451 cannot say goodbye"
    smtp(port).send(mail(), key="digest-1")
    assert len(mailbox.taken) == 1


def test_a_server_that_hangs_up_is_tried_again(serve: Serve) -> None:
    mailbox, port = serve()
    mailbox.hang_up = True
    with pytest.raises(Later, match="hung up"):
        smtp(port).send(mail(), key="digest-1")


def test_a_server_that_is_not_there_is_tried_again() -> None:
    with closing(socket.create_server(("127.0.0.1", 0))) as free:
        port = free.getsockname()[1]
    channel = smtp(port)
    with pytest.raises(Later, match=r"cannot be reached.*see host and port"):
        channel.send(mail(), key="digest-1")
    with pytest.raises(Later, match="ConnectionRefusedError"):
        channel.check()


def test_a_silent_server_does_not_hold_us() -> None:
    with (
        closing(socket.create_server(("127.0.0.1", 0))) as silent,
        pytest.raises(Later, match="cannot be reached or hung up"),
    ):
        smtp(silent.getsockname()[1], timeout=0.05).send(mail(), key="digest-1")


@pytest.mark.filterwarnings("ignore:Requiring AUTH while not requiring TLS")
def test_login(serve: Serve) -> None:
    mailbox, port = serve(authenticator=authenticate, auth_require_tls=False, auth_required=True)
    smtp(port, username="listener", password="right").send(mail(), key="digest-1")
    assert len(mailbox.taken) == 1
    with pytest.raises(Later, match=r"does not accept the login \(535\)") as caught:
        smtp(port, username="listener", password="wrong").send(mail(), key="digest-1")
    assert "wrong" not in str(caught.value)
    with pytest.raises(Later, match=r"\(530\)"):
        smtp(port).send(mail(), key="digest-1")


def test_starttls_is_never_left_out(serve: Serve) -> None:
    mailbox, port = serve()
    with pytest.raises(Later, match="STARTTLS extension not supported"):
        smtp(port, security="starttls").send(mail(), key="digest-1")
    assert mailbox.taken == []


@pytest.fixture(scope="module")
def certificate(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, Path]:
    program = shutil.which("openssl")
    if program is None:
        pytest.skip("needs the openssl program to make a certificate")
    folder = tmp_path_factory.mktemp("tls")
    key, cert = folder / "key.pem", folder / "cert.pem"
    subject = ["-subj", "/CN=127.0.0.1", "-addext", "subjectAltName=IP:127.0.0.1"]
    files = ["-keyout", str(key), "-out", str(cert)]
    subprocess.run(
        [program, "req", "-x509", "-newkey", "rsa:2048", "-nodes", "-days", "2", *subject, *files],
        check=True,
        capture_output=True,
    )
    return cert, key


def test_starttls(serve: Serve, certificate: tuple[Path, Path]) -> None:
    cert, key = certificate
    own = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH)
    own.load_cert_chain(cert, key)
    mailbox, port = serve(tls_context=own, require_starttls=True)
    trusting = ssl.create_default_context(cafile=cert)
    smtp(port, security="starttls", context=trusting).send(mail(), key="digest-1")
    assert len(mailbox.taken) == 1
    with pytest.raises(Later, match="CERTIFICATE_VERIFY_FAILED"):
        smtp(port, security="starttls").send(mail(), key="digest-1")
    with pytest.raises(Later, match=r"see port and security|cannot be reached or hung up"):
        smtp(port, security="ssl", context=trusting).check()


def test_ssl(serve: Serve, certificate: tuple[Path, Path]) -> None:
    cert, key = certificate
    own = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH)
    own.load_cert_chain(cert, key)
    mailbox, port = serve(ssl_context=own)
    trusting = ssl.create_default_context(cafile=cert)
    smtp(port, security="ssl", context=trusting).send(mail(), key="digest-1")
    assert len(mailbox.taken) == 1


def test_nothing_of_a_message_is_logged(
    serve: Serve, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.DEBUG, "listener")
    _, port = serve()
    smtp(port).send(mail(), key="digest-1")
    OutboxFolder(folder=tmp_path).send(mail(), key=f"digest-1-{RECIPIENT}")
    assert "took a message" in caplog.text
    for words in (RECIPIENT, SECRET, "menciones"):
        assert words not in caplog.text


def test_the_folder_gets_a_mail_and_a_page(tmp_path: Path) -> None:
    folder = tmp_path / "new" / "outbox"
    channel = OutboxFolder(folder=folder)
    channel.send(mail(subject="<b>one</b>"), key="digest-2026-11-21-ana@example.org")
    stem = "digest-2026-11-21-ana@example.org"
    assert sorted(path.name for path in folder.iterdir()) == [f"{stem}.eml", f"{stem}.html"]
    parsed = message_from_bytes((folder / f"{stem}.eml").read_bytes(), policy=default)
    assert parsed["Subject"] == "<b>one</b>"
    page = (folder / f"{stem}.html").read_text("utf-8")
    assert "&lt;b&gt;one&lt;/b&gt;" in page
    assert SECRET in page


def test_the_same_key_writes_the_same_files_again(tmp_path: Path) -> None:
    channel = OutboxFolder(folder=tmp_path)
    channel.send(mail(subject="first"), key="alert-1")
    channel.send(mail(subject="second"), key="alert-1")
    assert len(list(tmp_path.iterdir())) == 2
    assert b"Subject: second" in (tmp_path / "alert-1.eml").read_bytes()


@pytest.mark.parametrize(
    "key", ["../../escape", "/etc/passwd", ".hidden", "", "a\x00b", "ñ/Ana <a@b>", "x" * 400]
)
def test_any_key_gives_a_safe_name(tmp_path: Path, key: str) -> None:
    folder = tmp_path / "outbox"
    channel = OutboxFolder(folder=folder)
    channel.send(mail(), key=key)
    channel.send(mail(), key=key + "!")
    assert len(list(folder.glob("*.eml"))) == 2
    assert len(list(folder.iterdir())) == 4
    assert [path.name for path in tmp_path.iterdir()] == ["outbox"]


def test_a_folder_that_cannot_be_written_is_tried_again(tmp_path: Path) -> None:
    blocked = tmp_path / "file"
    blocked.write_text("not a folder")
    channel = OutboxFolder(folder=blocked)
    with pytest.raises(Later, match=r"cannot write into .*; free space there"):
        channel.send(mail(), key="alert-1")
    with pytest.raises(Later, match=r"\[channels.outbox\]"):
        channel.check()


def test_a_failed_write_leaves_nothing(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def full(handle: int) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr("listener.channels.os.fsync", full)
    with pytest.raises(Later, match="No space left on device"):
        OutboxFolder(folder=tmp_path).send(mail(), key="alert-1")
    assert list(tmp_path.iterdir()) == []


def test_check_of_a_folder_leaves_nothing(tmp_path: Path) -> None:
    assert "can be written" in OutboxFolder(folder=tmp_path).check()
    assert list(tmp_path.iterdir()) == []


def test_channels_are_found_by_name(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    outbox = load("outbox", folder=tmp_path)
    server = load("smtp", host="localhost", port=25)
    assert isinstance(outbox, Channel)
    assert isinstance(server, Channel)
    assert (outbox.name, server.name) == ("outbox", "smtp")
    point = EntryPoint("mine", "listener.channels:OutboxFolder", "listener.channels")
    monkeypatch.setattr("listener.channels.entry_points", lambda group: [point])
    assert isinstance(load("mine", folder=tmp_path), OutboxFolder)
    with pytest.raises(ValueError, match=r"no channel 'pigeon'; choose one of mine, outbox, smtp"):
        load("pigeon")
