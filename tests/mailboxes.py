"""Mail servers on 127.0.0.1 for tests: one that keeps what it takes, and one that misbehaves."""

from __future__ import annotations

import socket
import threading
from collections.abc import Iterator, Mapping
from contextlib import closing, contextmanager, suppress
from typing import Any

from aiosmtpd.controller import Controller
from aiosmtpd.smtp import SMTP, Envelope, Session


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


@contextmanager
def mail_server(handler: Mailbox | None = None, **settings: Any) -> Iterator[tuple[Mailbox, int]]:
    """A running server with `settings` of aiosmtpd: its mailbox and its port."""
    mailbox = handler or Mailbox()
    controller = Controller(mailbox, hostname="127.0.0.1", port=free_port(), **settings)
    controller.start()
    try:
        yield mailbox, controller.port
    finally:
        controller.stop()


def free_port() -> int:
    """A port on which nobody listens."""
    with closing(socket.create_server(("127.0.0.1", 0))) as probe:
        port: int = probe.getsockname()[1]
        return port


@contextmanager
def misbehaving(answers: Mapping[str, str]) -> Iterator[int]:
    """The port of a server that answers as told at each stage, and properly at the others.

    Stages: greeting, EHLO, MAIL, RCPT, DATA, body (what stands behind DATA). An answer is a reply,
    "close" (hang up), "half" (hang up in the middle of a line) or "hang" (say nothing any more).
    """
    over = threading.Event()
    proper = {
        "greeting": "220 hello",
        "EHLO": "250 hello",
        "MAIL": "250 ok",
        "RCPT": "250 ok",
        "DATA": "354 go on",
        "body": "250 taken",
        "RSET": "250 ok",
        "NOOP": "250 ok",
        "QUIT": "221 bye",
    }

    def talk(connection: socket.socket) -> None:
        with closing(connection), connection.makefile("rb") as lines, suppress(OSError):
            stage = "greeting"
            while True:
                answer = answers.get(stage) or proper.get(stage, "500 what?")
                if answer == "hang":
                    over.wait()
                if answer in ("close", "hang"):
                    return
                if answer == "half":
                    connection.sendall(b"25")
                    return
                connection.sendall(answer.encode() + b"\r\n")
                if answer.startswith("354"):
                    while (line := lines.readline()) not in (b".\r\n", b""):
                        pass
                    stage = "body"
                    continue
                line = lines.readline()
                if not line:
                    return
                stage = line[:4].decode("ascii", "replace").strip().upper()

    def serve() -> None:
        with suppress(OSError):
            while True:
                connection, _ = server.accept()
                threading.Thread(target=talk, args=(connection,), daemon=True).start()

    server = socket.create_server(("127.0.0.1", 0))
    thread = threading.Thread(target=serve, daemon=True)
    thread.start()
    try:
        yield server.getsockname()[1]
    finally:
        over.set()
        # closing alone does not wake the thread that accepts
        with suppress(OSError):
            server.shutdown(socket.SHUT_RDWR)
        server.close()
        thread.join()
