"""Mail servers: one connection for many messages, and every answer in the right class."""

from __future__ import annotations

import logging
import re
import smtplib
import ssl
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from email.message import EmailMessage
from typing import Literal

from .channels import ChannelError, Later, Parcel, Refused

log = logging.getLogger(__name__)

_ENHANCED = re.compile(r"\b[245]\.\d{1,3}\.\d{1,3}\b")
"""Status code of RFC 3463, such as 5.1.1."""
_CLOSING = 421
_POLICY = "5.7."
"""Enhanced codes of refusals that are about the sender or the content, not about the mailbox."""


class Smtp:
    """Hands each message to a mail server.

    `security` "starttls" upgrades the connection and never goes on without, "ssl" speaks TLS from
    the start, "none" is for a server on this machine. `timeout` is in seconds and bounds each
    single wait for the server. `context` is the TLS context; the default one checks certificates.
    The connection stays open until `close`; one that the server closed meanwhile is opened again.
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
        self._server: smtplib.SMTP | None = None

    def send(self, parcel: Parcel) -> None:
        """Send the e-mail to its one recipient; its Message-ID is stable, so that no key is needed.

        Raises `Refused` when the server says 5xx to the recipient (then `gone`, unless it names a
        policy) or to the content, `Later` for all else: a fault of the server, the login or the
        sender is not the recipient's.
        """
        with self._faults():
            kept = self._still_open()
            try:
                self._hand_over(kept or self._open(), parcel.message)
            except smtplib.SMTPSenderRefused as error:
                # Servers end a connection after so many messages; nothing was accepted yet.
                if kept is None or error.smtp_code != _CLOSING:
                    raise
                self.close()
                self._hand_over(self._open(), parcel.message)
        log.debug("the mail server took a message")

    def check(self) -> str:
        """Connect, log in, send NOOP and hang up."""
        with self._faults():
            code, text = self._open().noop()
            if code >= 400:
                raise smtplib.SMTPResponseException(code, text)
        self.close()
        return f"{self._host}:{self._port} answers"

    def close(self) -> None:
        """Say goodbye, if there is a connection; faults while doing so are nobody's concern."""
        server, self._server = self._server, None
        if server is not None:
            with suppress(smtplib.SMTPException, OSError):
                server.quit()
            server.close()

    def _hand_over(self, server: smtplib.SMTP, message: EmailMessage) -> None:
        # Replies hold addresses: they are no cause of our errors, lest a traceback shows them.
        try:
            server.send_message(message)
        except smtplib.SMTPRecipientsRefused as error:
            for code, text in error.recipients.values():
                raise _verdict(code, text, recipient=True) from None
        except smtplib.SMTPDataError as error:
            raise _verdict(error.smtp_code, error.smtp_error) from None

    def _still_open(self) -> smtplib.SMTP | None:
        """The connection of the message before, if the server still listens."""
        if self._server is not None:
            with suppress(smtplib.SMTPException, OSError):
                if self._server.rset()[0] < 400:
                    return self._server
            self._drop()
        return None

    def _open(self) -> smtplib.SMTP:
        self._drop()
        if self._security == "ssl":
            self._server = smtplib.SMTP_SSL(
                self._host, self._port, timeout=self._timeout, context=self._context
            )
        else:
            self._server = smtplib.SMTP(self._host, self._port, timeout=self._timeout)
        if self._security == "starttls":
            self._server.starttls(context=self._context)
        if self._username is not None and self._password is not None:
            try:
                self._server.login(self._username, self._password)
            except UnicodeEncodeError:
                # smtplib sends plain letters only; its error holds the password
                raise Later(
                    "username or password in [channels.smtp] has letters beyond ASCII, which "
                    "cannot be sent; use an app password of the mail provider",
                    down=True,
                ) from None
        return self._server

    def _drop(self) -> None:
        server, self._server = self._server, None
        if server is not None:
            server.close()

    @contextmanager
    def _faults(self) -> Iterator[None]:
        """Faults in our words; a connection that had one is not used again."""
        try:
            yield
        except (smtplib.SMTPException, OSError) as error:
            self._drop()
            raise Later(self._told(error), down=True) from None
        except ChannelError as error:
            if isinstance(error, Later) and error.down:
                self._drop()
            raise
        except BaseException:
            # Perhaps in the middle of a message, where the server takes commands for its lines.
            self._drop()
            raise

    def _told(self, error: Exception) -> str:
        place = f"mail server {self._host}:{self._port}"
        match error:
            case smtplib.SMTPAuthenticationError():
                return (
                    f"{place} does not accept the login ({error.smtp_code}); see username and "
                    "password in [channels.smtp]"
                )
            case smtplib.SMTPNotSupportedError():
                return (
                    f"{place} cannot do what is asked of it ({error}); see security, username and "
                    "password in [channels.smtp]"
                )
            case smtplib.SMTPSenderRefused():
                return (
                    f"{place} does not take mail from this sender ({error.smtp_code}); see sender "
                    "in [channels] and username in [channels.smtp]"
                )
            case smtplib.SMTPResponseException():
                return f"{place} answers {error.smtp_code} and takes no mail"
            case ssl.SSLError():
                return (
                    f"no secure connection to {place} ({error.reason}); see port and security in "
                    "[channels.smtp]"
                )
        return (
            f"{place} cannot be reached or hung up ({type(error).__name__}); see host and port in "
            "[channels.smtp]"
        )


def _verdict(code: int, text: bytes | str, *, recipient: bool = False) -> ChannelError:
    """The error for a reply; the words of the reply may hold addresses and stay out."""
    words = text.decode("ascii", "replace") if isinstance(text, bytes) else text
    found = _ENHANCED.search(words)
    detail = found[0] if found else ""
    answer = f"{code} {detail}".strip()
    reason = f"the mail server answers {answer}"
    if not 500 <= code < 600:
        # What is no code of an answer comes from a server that broke off.
        return Later(reason, down=code == _CLOSING or not 400 <= code < 500)
    gone = recipient and not detail.startswith(_POLICY)
    return Refused(reason, gone=gone, code=answer)
