"""How an e-mail leaves: a folder of files, or a mail server.

A channel sends one composed message or says what to do next: `Later` is worth another try,
`Refused` is not. Nothing of a message reaches a log or an error text.
"""

from __future__ import annotations

import hashlib
import logging
import os
import re
import smtplib
import ssl
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from email.message import EmailMessage
from importlib.metadata import entry_points
from pathlib import Path
from pkgutil import resolve_name
from typing import Any, Literal, Protocol, runtime_checkable

from .envelope import Rendered, preview_html

log = logging.getLogger(__name__)

BUILT_IN = {"outbox": "listener.channels:OutboxFolder", "smtp": "listener.channels:Smtp"}
ENTRY_POINTS = "listener.channels"
_NAME_LENGTH = 120
_NOT_PLAIN = re.compile(r"[^A-Za-z0-9@._+-]")
_ENHANCED = re.compile(r"\b[245]\.\d{1,3}\.\d{1,3}\b")
"""Status code of RFC 3463, such as 5.1.1."""


class ChannelError(Exception):
    """Base of channel errors; the text says why and is free of addresses and content."""


class Later(ChannelError):
    """A passing fault: no connection, a timeout, a 4xx reply, a full disk. Try again."""


class Refused(ChannelError):
    """The server will never take this message for this recipient (5xx)."""


@runtime_checkable
class Channel(Protocol):
    """A way for e-mails to leave."""

    @property
    def name(self) -> str:
        """Name in the configuration."""
        ...

    def send(self, message: EmailMessage, *, key: str) -> None:
        """Send `message`; `key` is the same whenever this delivery is tried.

        Raises `Later` or `Refused`.
        """
        ...

    def check(self) -> str:
        """See whether the channel works without sending; returns one line about it.

        Raises `Later` or `Refused`.
        """
        ...


class OutboxFolder:
    """Writes each message as `<key>.eml` and, to look at in a browser, `<key>.html`."""

    name = "outbox"

    def __init__(self, *, folder: Path) -> None:
        self._folder = folder

    def send(self, message: EmailMessage, *, key: str) -> None:
        """Write the files, each at once; the same key writes the same files again."""
        stem = _file_name(key)
        content = message.as_bytes()
        page = message.get_body(("html",))
        try:
            self._folder.mkdir(parents=True, exist_ok=True)
            if page is not None:
                rendered = Rendered(
                    subject=str(message["Subject"]), text="", html=page.get_content()
                )
                self._write(f"{stem}.html", preview_html(rendered).encode())
            self._write(f"{stem}.eml", content)
        except OSError as error:
            raise self._cannot_write(error) from error
        log.debug("wrote a message of %d bytes into the outbox folder", len(content))

    def check(self) -> str:
        """Create the folder if need be and write a file that is removed again."""
        try:
            self._folder.mkdir(parents=True, exist_ok=True)
            with tempfile.TemporaryFile(dir=self._folder) as probe:
                probe.write(b"x")
        except OSError as error:
            raise self._cannot_write(error) from error
        return f"folder {self._folder} can be written"

    def _write(self, name: str, content: bytes) -> None:
        handle, path = tempfile.mkstemp(dir=self._folder, prefix=".", suffix=".part")
        try:
            with os.fdopen(handle, "wb") as file:
                file.write(content)
                file.flush()
                os.fsync(file.fileno())
            Path(path).replace(self._folder / name)
        except OSError:
            Path(path).unlink(missing_ok=True)
            raise

    def _cannot_write(self, error: OSError) -> Later:
        return Later(
            f"cannot write into {self._folder} ({error.strerror}); free space there, give write "
            "permission or set another folder in [channels.outbox]"
        )


class Smtp:
    """Hands each message to a mail server.

    `security` "starttls" upgrades the connection and never goes on without, "ssl" speaks TLS from
    the start, "none" is for a server on this machine. `timeout` is in seconds and bounds each
    single wait for the server. `context` is the TLS context; the default one checks certificates.
    """

    name = "smtp"

    def __init__(
        self,
        *,
        host: str,
        port: int,
        security: Literal["starttls", "ssl", "none"] = "starttls",
        username: str | None = None,
        password: str | None = None,
        timeout: float = 30,
        context: ssl.SSLContext | None = None,
    ) -> None:
        self._host = host
        self._port = port
        self._security = security
        self._username = username
        self._password = password
        self._timeout = timeout
        self._context = context or ssl.create_default_context()

    def send(self, message: EmailMessage, *, key: str) -> None:
        """Send `message` to its one recipient; `key` is not needed, the Message-ID is stable.

        Raises `Refused` when the server says 5xx to the recipient or the content, `Later` for all
        else: a fault of the server, the login or the sender is not the recipient's.
        """
        with self._connection() as server:
            try:
                server.send_message(message)
            except smtplib.SMTPRecipientsRefused as error:
                for code, text in error.recipients.values():
                    raise _verdict(code, text) from error
            except smtplib.SMTPDataError as error:
                raise _verdict(error.smtp_code, error.smtp_error) from error
        log.debug("the mail server took a message")

    def check(self) -> str:
        """Connect, log in and send NOOP."""
        with self._connection() as server:
            server.noop()
        return f"{self._host}:{self._port} answers"

    @contextmanager
    def _connection(self) -> Iterator[smtplib.SMTP]:
        place = f"mail server {self._host}:{self._port}"
        try:
            server = self._connect()
            try:
                self._greet(server)
                yield server
                # the message is taken by now: a fault while saying goodbye must not send it again
                with suppress(smtplib.SMTPException, OSError):
                    server.quit()
            finally:
                server.close()
        except smtplib.SMTPAuthenticationError as error:
            raise Later(
                f"{place} does not accept the login ({error.smtp_code}); see username and "
                "password in [channels.smtp]"
            ) from error
        except smtplib.SMTPNotSupportedError as error:
            raise Later(
                f"{place} cannot do what is asked of it ({error}); see security, username and "
                "password in [channels.smtp]"
            ) from error
        except smtplib.SMTPSenderRefused as error:
            raise Later(
                f"{place} does not take mail from this sender ({error.smtp_code}); see sender in "
                "[channels] and username in [channels.smtp]"
            ) from error
        except smtplib.SMTPResponseException as error:
            raise Later(f"{place} answers {error.smtp_code} and takes no mail") from error
        except ssl.SSLError as error:
            raise Later(
                f"no secure connection to {place} ({error.reason}); see port and security in "
                "[channels.smtp]"
            ) from error
        except (smtplib.SMTPException, OSError) as error:
            raise Later(
                f"{place} cannot be reached or hung up ({type(error).__name__}); see host and "
                "port in [channels.smtp]"
            ) from error

    def _connect(self) -> smtplib.SMTP:
        if self._security == "ssl":
            return smtplib.SMTP_SSL(
                self._host, self._port, timeout=self._timeout, context=self._context
            )
        return smtplib.SMTP(self._host, self._port, timeout=self._timeout)

    def _greet(self, server: smtplib.SMTP) -> None:
        if self._security == "starttls":
            server.starttls(context=self._context)
        if self._username is not None and self._password is not None:
            server.login(self._username, self._password)


def load(name: str, **settings: Any) -> Channel:
    """The channel `name`, built in or from the entry points `listener.channels`, with `settings`.

    Raises `ValueError` with the known names when there is none.
    """
    targets = {point.name: point.value for point in entry_points(group=ENTRY_POINTS)} | BUILT_IN
    if name not in targets:
        known = ", ".join(sorted(targets))
        raise ValueError(f"there is no channel {name!r}; choose one of {known}")
    channel: Channel = resolve_name(targets[name])(**settings)
    return channel


def _verdict(code: int, text: bytes | str) -> ChannelError:
    """The error for a reply; the words of the reply may hold addresses and stay out."""
    words = text.decode("ascii", "replace") if isinstance(text, bytes) else text
    detail = _ENHANCED.search(words)
    reason = f"the mail server answers {code}" + (f" {detail[0]}" if detail else "")
    return Refused(reason) if code >= 500 else Later(reason)


def _file_name(key: str) -> str:
    """`key` where it is a plain file name; otherwise what is plain in it and a hash of it all."""
    plain = _NOT_PLAIN.sub("-", key).lstrip(".-")[:_NAME_LENGTH]
    return plain if plain == key else f"{plain}-{hashlib.sha256(key.encode()).hexdigest()[:10]}"
