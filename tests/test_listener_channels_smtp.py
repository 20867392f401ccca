from __future__ import annotations

import shutil
import smtplib
import socket
import ssl
import subprocess
from collections.abc import Callable, Iterator
from contextlib import ExitStack, closing
from email import message_from_bytes
from email.message import EmailMessage
from email.policy import default
from pathlib import Path
from typing import Any

import pytest
from aiosmtpd.smtp import SMTP, AuthResult, Envelope, LoginPassword, Session
from mailboxes import Mailbox, free_port, mail_server, misbehaving
from parcels import WORDS, note

from listener.channels import ChannelError, Later, Refused
from listener.channels_smtp import Smtp

Serve = Callable[..., tuple[Mailbox, int]]
Connect = Callable[..., Smtp]


@pytest.fixture
def serve() -> Iterator[Serve]:
    with ExitStack() as running:
        yield lambda **settings: running.enter_context(mail_server(**settings))


@pytest.fixture
def smtp() -> Iterator[Connect]:
    with ExitStack() as opened:

        def connect(port: int, **settings: Any) -> Smtp:
            chosen: dict[str, Any] = {"security": "none", "timeout": 5} | settings
            return opened.enter_context(closing(Smtp(host="127.0.0.1", port=port, **chosen)))

        yield connect


def authenticate(
    server: SMTP, session: Session, envelope: Envelope, mechanism: str, data: Any
) -> AuthResult:
    assert isinstance(data, LoginPassword)
    right = (data.login, data.password) == (b"listener", b"right")
    return AuthResult(success=right, handled=False)


def test_a_message_arrives_as_it_was_composed(serve: Serve, smtp: Connect) -> None:
    mailbox, port = serve()
    channel = smtp(port)
    channel.send(note())
    (raw,) = mailbox.taken
    parsed = message_from_bytes(raw, policy=default)
    assert isinstance(parsed, EmailMessage)
    assert parsed["Message-ID"] == "<digest-2026-11-21@example.org>"
    assert parsed["Subject"] == "Lumora: 3 menciones"
    plain = parsed.get_body(("plain",))
    assert plain is not None
    assert plain.get_content().splitlines() == [WORDS, "ñandú"]
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
    serve: Serve, smtp: Connect, place: str, reply: str, error: type[ChannelError]
) -> None:
    mailbox, port = serve()
    setattr(mailbox, place, reply)
    with pytest.raises(error) as caught:
        smtp(port).send(note())
    assert " ".join(reply.split()[:2]) in str(caught.value)
    assert "ana" not in str(caught.value)
    assert mailbox.taken == []


def test_a_refused_sender_is_not_the_recipients_fault(serve: Serve, smtp: Connect) -> None:
    mailbox, port = serve()
    mailbox.sender_reply = "553 5.1.8 listener@example.org not allowed"
    with pytest.raises(Later, match=r"sender \(553\); see sender in \[channels\]"):
        smtp(port).send(note())


def test_a_fault_after_the_message_was_taken_does_not_send_it_again(
    serve: Serve, smtp: Connect
) -> None:
    mailbox, port = serve()
    mailbox.quit_reply = "451 cannot say goodbye"
    smtp(port).send(note())
    assert len(mailbox.taken) == 1


def test_a_server_that_hangs_up_is_tried_again(serve: Serve, smtp: Connect) -> None:
    mailbox, port = serve()
    mailbox.hang_up = True
    with pytest.raises(Later, match="hung up"):
        smtp(port).send(note())


def test_a_server_that_is_not_there_is_tried_again(smtp: Connect) -> None:
    channel = smtp(free_port())
    with pytest.raises(Later, match=r"cannot be reached.*see host and port"):
        channel.send(note())
    with pytest.raises(Later, match="ConnectionRefusedError"):
        channel.check()


def test_a_silent_server_does_not_hold_us(smtp: Connect) -> None:
    with (
        closing(socket.create_server(("127.0.0.1", 0))) as silent,
        pytest.raises(Later, match="cannot be reached or hung up"),
    ):
        smtp(silent.getsockname()[1], timeout=0.05).send(note())


@pytest.mark.filterwarnings("ignore:Requiring AUTH while not requiring TLS")
def test_login(serve: Serve, smtp: Connect) -> None:
    mailbox, port = serve(authenticator=authenticate, auth_require_tls=False, auth_required=True)
    smtp(port, username="listener", password="right").send(note())
    assert len(mailbox.taken) == 1
    with pytest.raises(Later, match=r"does not accept the login \(535\)") as caught:
        smtp(port, username="listener", password="wrong").send(note())
    assert "wrong" not in str(caught.value)
    with pytest.raises(Later, match=r"\(530\)"):
        smtp(port).send(note())
    with pytest.raises(Later, match="beyond ASCII") as caught:
        smtp(port, username="listener", password="contraseña").send(note())
    assert "contrase" not in str(caught.value)


def test_starttls_is_never_left_out(serve: Serve, smtp: Connect) -> None:
    mailbox, port = serve()
    with pytest.raises(Later, match="STARTTLS extension not supported"):
        smtp(port, security="starttls").send(note())
    assert mailbox.taken == []


# -- every stage of a conversation


STAGES = ("greeting", "EHLO", "MAIL", "RCPT", "DATA", "body")
TEMPORARY = ("421 4.3.2 <ana@example.org> closing", "450 4.2.1 <ana@example.org> busy")
PERMANENT = "550 5.1.1 <ana@example.org> unknown"
SILENT = ("close", "half", "hang")


@pytest.mark.parametrize("stage", STAGES)
@pytest.mark.parametrize("answer", [*TEMPORARY, PERMANENT, *SILENT])
def test_every_fault_at_every_stage_is_of_the_right_kind(
    smtp: Connect, stage: str, answer: str
) -> None:
    asked = stage in ("RCPT", "DATA", "body")
    # What refuses EHLO is asked with HELO, as RFC 5321 wants; here both are refused.
    answers = {stage: answer, "HELO": answer} if stage == "EHLO" else {stage: answer}
    with misbehaving(answers) as port, pytest.raises(ChannelError) as caught:
        smtp(port, timeout=0.2).send(note())
    error = caught.value
    assert "ana" not in str(error)
    if answer == PERMANENT and asked:
        assert isinstance(error, Refused)
        assert error.code == "550 5.1.1"
        assert error.gone == (stage == "RCPT")
    else:
        assert isinstance(error, Later)
        assert error.down == (not asked or not answer.startswith("450"))
        assert error.when is None


@pytest.mark.parametrize(
    ("reply", "gone"),
    [
        ("550 no such user", True),
        ("552 5.2.2 the mailbox is full", True),
        ("550 5.7.1 your address is on a list", False),
        ("554 5.7.26 not signed", False),
    ],
)
def test_a_policy_of_a_server_does_not_mean_that_a_mailbox_is_gone(
    smtp: Connect, reply: str, gone: bool
) -> None:
    with misbehaving({"RCPT": reply}) as port, pytest.raises(Refused) as caught:
        smtp(port).send(note())
    assert caught.value.gone == gone


def test_a_server_that_refuses_noop_does_not_pass_a_check(smtp: Connect) -> None:
    with misbehaving({"NOOP": "421 busy"}) as port, pytest.raises(Later, match="answers 421"):
        smtp(port).check()


# -- one connection for many messages


class Counting(Mailbox):
    """Counts connections, and ends each after so many messages."""

    def __init__(self, most: int) -> None:
        super().__init__()
        self.most = most
        self.sessions: dict[int, int] = {}

    async def handle_MAIL(  # noqa: N802  # the name is aiosmtpd's
        self, server: SMTP, session: Session, envelope: Envelope, address: str, options: list[str]
    ) -> str:
        count = self.sessions[id(server)] = self.sessions.get(id(server), 0) + 1
        if count > self.most:
            return "421 4.7.0 too many messages, try again"
        envelope.mail_from = address
        return "250 OK"


def test_many_messages_take_one_connection_until_it_is_closed(smtp: Connect) -> None:
    mailbox = Counting(most=10)
    with mail_server(handler=mailbox) as (_, port):
        channel = smtp(port)
        for _ in range(3):
            channel.send(note())
        assert list(mailbox.sessions.values()) == [3]
        channel.close()
        channel.close()
        channel.send(note())
    assert len(mailbox.taken) == 4
    assert sorted(mailbox.sessions.values()) == [1, 3]


def test_a_server_that_wants_a_new_connection_gets_one(smtp: Connect) -> None:
    mailbox = Counting(most=2)
    with mail_server(handler=mailbox) as (_, port):
        channel = smtp(port)
        for _ in range(5):
            channel.send(note())
    assert len(mailbox.taken) == 5
    assert len(mailbox.sessions) == 3


@pytest.mark.parametrize("answer", ["421 idle for too long", "close", "hang"])
def test_a_connection_that_has_died_is_opened_again(smtp: Connect, answer: str) -> None:
    with misbehaving({"RSET": answer}) as port:
        channel = smtp(port, timeout=0.2)
        channel.send(note())
        channel.send(note())


def test_a_refused_recipient_does_not_end_the_connection(smtp: Connect) -> None:
    mailbox = Counting(most=10)
    with mail_server(handler=mailbox) as (_, port):
        channel = smtp(port)
        mailbox.recipient_reply = PERMANENT
        with pytest.raises(Refused):
            channel.send(note())
        mailbox.recipient_reply = "250 OK"
        channel.send(note())
    assert list(mailbox.sessions.values()) == [2]
    assert len(mailbox.taken) == 1


def test_a_message_that_breaks_off_leaves_nothing_for_the_next_one(
    smtp: Connect, serve: Serve, monkeypatch: pytest.MonkeyPatch
) -> None:
    mailbox, port = serve()
    channel = smtp(port)

    def interrupted(server: smtplib.SMTP, _: object) -> None:
        server.docmd("DATA")
        raise KeyboardInterrupt

    channel.send(note())
    with monkeypatch.context() as patched:
        patched.setattr(smtplib.SMTP, "data", interrupted)
        with pytest.raises(KeyboardInterrupt):
            channel.send(note())
    channel.send(note())
    assert len(mailbox.taken) == 2
    assert all(b"RSET" not in one for one in mailbox.taken)


# -- TLS


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


def test_starttls(serve: Serve, smtp: Connect, certificate: tuple[Path, Path]) -> None:
    cert, key = certificate
    own = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH)
    own.load_cert_chain(cert, key)
    mailbox, port = serve(tls_context=own, require_starttls=True)
    trusting = ssl.create_default_context(cafile=cert)
    smtp(port, security="starttls", context=trusting).send(note())
    assert len(mailbox.taken) == 1
    with pytest.raises(Later, match="CERTIFICATE_VERIFY_FAILED"):
        smtp(port, security="starttls").send(note())
    with pytest.raises(Later, match=r"see port and security|cannot be reached or hung up"):
        smtp(port, security="ssl", context=trusting).check()


def test_ssl(serve: Serve, smtp: Connect, certificate: tuple[Path, Path]) -> None:
    cert, key = certificate
    own = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH)
    own.load_cert_chain(cert, key)
    mailbox, port = serve(ssl_context=own)
    trusting = ssl.create_default_context(cafile=cert)
    smtp(port, security="ssl", context=trusting).send(note())
    assert len(mailbox.taken) == 1
