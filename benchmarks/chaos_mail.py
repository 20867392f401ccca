"""The mail server of the fault campaign: takes, refuses, hangs, hangs up, and writes down.

It runs in a process of its own, so that what it took is known whatever happens to the sender. What
it does to a recipient is a plan: one behaviour for each try, then "ok".
"""

from __future__ import annotations

import asyncio
import hashlib
import json
import logging
import multiprocessing
import os
import socket
import time
from collections import Counter, defaultdict
from collections.abc import Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass
from email import message_from_bytes, policy
from pathlib import Path
from typing import Any

from aiosmtpd.smtp import SMTP, Envelope, Session

from benchmarks.chaos_world import Board

BEHAVIOURS = ("421", "450", "451 data", "550", "554 data", "hang", "hang data", "cut", "unsaid")
"""421, 450 and 550 answer the recipient, "451 data" and "554 data" the content, "hang" gives no
answer to the recipient and "hang data" none to the content, which is not taken; "cut" hangs up in
the middle of the content, "unsaid" takes the message and hangs up without saying so."""
FOR_GOOD = frozenset({"550", "554 data"})
_HANG_SECONDS = 30.0


@dataclass(frozen=True, slots=True, kw_only=True)
class Taken:
    """A message that the server took. `digest` is that of its plain text, `at` simulated seconds.

    `life` is the process that sent it.
    """

    message_id: str
    recipient: str
    digest: str
    subject: str
    text: str
    at: int
    life: int


class _Handler:
    def __init__(self, record: Path, board: Board, plans: Mapping[str, Sequence[str]]) -> None:
        self._record = record
        self._board = board
        self._plans = plans
        self._tries: Counter[str] = Counter()

    def plan(self, recipient: str) -> str:
        """What happens to the try that is under way."""
        steps = self._plans.get(recipient, ())
        place = self._tries[recipient] - 1
        return steps[place] if place < len(steps) else "ok"

    async def handle_RCPT(  # noqa: N802 - named by aiosmtpd
        self, server: SMTP, session: Session, envelope: Envelope, address: str, _: list[str]
    ) -> str:
        self._tries[address] += 1
        answer = self.plan(address)
        if answer == "421":
            await server.push("421 4.3.2 closing")
            _hang_up(server)
            return "421 4.3.2 closing"
        if answer == "hang":
            await asyncio.sleep(_HANG_SECONDS)
        if answer == "450":
            return "450 4.2.1 mailbox busy"
        if answer == "550":
            return "550 5.1.1 no such user"
        envelope.rcpt_tos.append(address)
        return "250 OK"

    async def handle_DATA(  # noqa: N802 - named by aiosmtpd
        self, server: SMTP, session: Session, envelope: Envelope
    ) -> str:
        answer = self.plan(envelope.rcpt_tos[0])
        if answer == "451 data":
            return "451 4.3.0 try later"
        if answer == "554 data":
            return "554 5.6.0 not wanted"
        if answer == "hang data":
            await asyncio.sleep(_HANG_SECONDS)
            return "451 4.3.0 try later"
        self._write(envelope)
        if answer == "unsaid":
            _hang_up(server)
        return "250 OK"

    def _write(self, envelope: Envelope) -> None:
        content = envelope.content or b""
        parsed = message_from_bytes(
            content if isinstance(content, bytes) else content.encode(), policy=policy.default
        )
        body = parsed.get_body(("plain",))
        text = body.get_content() if body is not None else ""
        row = {
            "message_id": str(parsed["Message-ID"]),
            "recipient": envelope.rcpt_tos[0],
            "digest": hashlib.sha256(text.encode()).hexdigest(),
            "subject": str(parsed["Subject"]),
            "text": text,
            "at": self._board.get("now"),
            "life": self._board.get("life"),
        }
        line = json.dumps(row).encode() + b"\n"
        handle = os.open(self._record, os.O_WRONLY | os.O_CREAT | os.O_APPEND, 0o600)
        try:
            os.write(handle, line)
        finally:
            os.close(handle)


def _hang_up(server: SMTP) -> None:
    if server.transport is not None:
        server.transport.close()


class _Server(SMTP):
    """Hangs up in the middle of the content where the plan says so."""

    async def smtp_DATA(self, arg: str) -> None:  # noqa: N802 - named by aiosmtpd
        envelope, handler = self.envelope, self.event_handler
        to = envelope.rcpt_tos if envelope is not None else []
        if to and handler.plan(to[0]) == "cut":
            await self.push("354 go on")
            with suppress(asyncio.IncompleteReadError):
                await self._reader.readexactly(200)
            _hang_up(self)
            return
        await super().smtp_DATA(arg)


def _serve(port: int, record: Path, board: Board, plans: Mapping[str, Sequence[str]]) -> None:
    # What a hung-up client has left unsaid is not worth a line.
    logging.getLogger("mail").setLevel(logging.CRITICAL)

    async def run() -> None:
        handler = _Handler(record, board, plans)
        loop = asyncio.get_running_loop()
        server = await loop.create_server(
            lambda: _Server(handler, hostname="localhost", loop=loop), "127.0.0.1", port
        )
        await server.serve_forever()

    asyncio.run(run())


class MailServer:
    """The server on `port` of 127.0.0.1, in a process of its own."""

    def __init__(
        self,
        port: int,
        record: Path,
        board: Board,
        plans: Mapping[str, Sequence[str]] | None = None,
    ) -> None:
        self._port = port
        self._arguments: tuple[Any, ...] = (port, record, board, plans or {})
        self._record = record
        self._process: multiprocessing.process.BaseProcess | None = None

    def __enter__(self) -> MailServer:
        self.start()
        return self

    def __exit__(self, *_: object) -> None:
        self.stop()

    def start(self) -> None:
        """Begin to listen."""
        context = multiprocessing.get_context("fork")
        self._process = context.Process(target=_serve, args=self._arguments, daemon=True)
        self._process.start()
        wait_for(self._port)

    def stop(self) -> None:
        """Be dead: connections are refused."""
        if self._process is not None:
            self._process.kill()
            self._process.join()
            self._process = None

    def taken(self) -> list[Taken]:
        """What was taken so far, in that order."""
        if not self._record.exists():
            return []
        return [Taken(**json.loads(line)) for line in self._record.read_text().splitlines()]


def wait_for(port: int) -> None:
    """Return when something listens on the port; raises `TimeoutError` after ten seconds."""
    until = time.monotonic() + 10
    while time.monotonic() < until:
        with suppress(OSError), socket.create_connection(("127.0.0.1", port), timeout=1):
            return
        time.sleep(0.02)  # a port that opens tells nobody
    raise TimeoutError(f"nothing listens on port {port}")


def copies(taken: Sequence[Taken]) -> dict[str, list[Taken]]:
    """What was taken, by Message-ID."""
    found: dict[str, list[Taken]] = defaultdict(list)
    for one in taken:
        found[one.message_id].append(one)
    return found
